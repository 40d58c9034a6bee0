"""The official Python clients as they are, each behind the same few words."""

import asyncio
import warnings
from threading import Thread

from growthbook import GrowthBook, GrowthBookClient
from growthbook.common_types import FeatureRefreshStrategy, Options, UserContext
from growthbook.growthbook import feature_repo
from growthbook.plugins.growthbook_tracking import GrowthBookTrackingPlugin

from tests.clients.contexts import KEY, NOBODY, soon, targeting_key

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from openfeature import api
    from openfeature.contrib.provider.ofrep import OFREPProvider
    from openfeature.evaluation_context import EvaluationContext


class _Client:
    exposes = True

    def arms(self, contexts):
        return [self.arm(context) for context in contexts]

    def until(self, context, arm):
        """Return the time of day at which the client itself answered ``arm``."""
        return soon(lambda: self.arm(context) == arm)


class Sync(_Client):
    """``GrowthBook``: polls with a time to live of a second, or streams."""

    def __init__(self, url, *, streaming, **settings):
        feature_repo.clear_cache()
        self._streaming = streaming
        self._plugin = GrowthBookTrackingPlugin(url, batch_size=50, batch_timeout=0.1)
        self._gb = GrowthBook(
            api_host=url,
            client_key=f"sdk-python-{streaming}",
            streaming=streaming,
            cache_ttl=1,
            plugins=[self._plugin],
            **settings,
        )
        self._gb.load_features()

    def arm(self, context):
        self._gb.set_attributes(dict(context))
        return self._gb.get_feature_value(KEY, NOBODY)["arm"]

    def log(self, context, name, properties):
        self._gb.set_attributes(dict(context))
        self._gb.log_event(name, properties)

    def close(self):
        if self._streaming:
            self._gb.stop_auto_refresh()
            feature_repo.stopAutoRefresh()
        self._gb.destroy()
        feature_repo.clear_cache()


class Async(_Client):
    """``GrowthBookClient``, streaming, in an event loop of its own."""

    def __init__(self, url):
        self._loop = asyncio.new_event_loop()
        self._thread = Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        plugin = GrowthBookTrackingPlugin(url, batch_size=50, batch_timeout=0.1)
        self._gb = GrowthBookClient(
            Options(
                api_host=url,
                client_key="sdk-async",
                refresh_strategy=FeatureRefreshStrategy.SERVER_SENT_EVENTS,
                tracking_plugins=[plugin],
            )
        )
        assert self._run(self._gb.initialize())

    def _run(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(60)

    async def _arms(self, contexts):
        users = [UserContext(attributes=dict(context)) for context in contexts]
        return [(await self._gb.get_feature_value(KEY, NOBODY, user))["arm"] for user in users]

    def arm(self, context):
        return self._run(self._arms([context]))[0]

    def arms(self, contexts):
        return self._run(self._arms(contexts))

    def close(self):
        self._run(self._gb.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()


class Ofrep(_Client):
    """``openfeature-provider-ofrep``: every evaluation is a request."""

    def __init__(self, url):
        self._provider = OFREPProvider(url)
        api.set_provider(self._provider, KEY)
        self._client = api.get_client(KEY)

    def arm(self, context):
        return self.details(context).value["arm"]

    def details(self, context):
        given = EvaluationContext(targeting_key(context), dict(context))
        return self._client.get_object_details(KEY, NOBODY, given)

    def close(self):
        api.clear_providers()
        self._provider.session.close()


CLIENTS = {
    "growthbook": lambda url: Sync(url, streaming=False),
    "growthbook, streaming": lambda url: Sync(url, streaming=True),
    "growthbook, asynchronous": Async,
    "openfeature-provider-ofrep": Ofrep,
}
