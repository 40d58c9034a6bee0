# ruff: noqa: PLC0415 - an SDK is imported where it is started, so that missing ones can be said
"""Python flag SDKs started offline, each with the same experiment, as ``assignment.py`` needs them.

The experiment: half of the units whose platform is ios or android and whose order_value is at
least 20 get ``treatment``, the other half ``control``; everybody else gets ``control``. Files
in ``sdks/`` say that in each SDK's own words. Each maker returns a function from an id and a
mapping of attributes to the variant's name.
"""

import json
import logging
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

Attributes = Mapping[str, Any]
Decide = Callable[[str, Attributes], str]

FLAG = "cancel-page"
PLATFORMS = ("ios", "android")
LEAST = 20
ARMS = ("control", "treatment")
HERE = Path(__file__).parent / "sdks"
NOWHERE = "http://127.0.0.1:9"


@dataclass(frozen=True)
class Sdk:
    """One way to ask an SDK.

    Attributes:
        name: What it is and how it is asked.
        package: Distribution that must be installed.
        make: Starts it.
        reasons: Whether the answer that is asked for says why.
        logs: What becomes of the note that a unit was evaluated.
    """

    name: str
    package: str
    make: Callable[[], Decide]
    reasons: bool
    logs: str


def document(name: str) -> Any:
    return json.loads((HERE / name).read_text())


def launchdarkly() -> Decide:
    import ldclient
    from ldclient.config import Config
    from ldclient.integrations import Files

    source = Files.new_data_source(paths=[str(HERE / "launchdarkly.json")])
    client = ldclient.LDClient(Config("key", update_processor_class=source, send_events=False))

    def decide(unit: str, attributes: Attributes) -> str:
        context = ldclient.Context.from_dict({"kind": "user", "key": unit, **attributes})
        return client.variation_detail(FLAG, context, "none").value

    return decide


def unleash() -> Decide:
    from UnleashClient import UnleashClient
    from UnleashClient.cache import FileCache

    cache = FileCache("benchmark", directory=tempfile.mkdtemp())
    cache.bootstrap_from_dict(document("unleash.json"))
    client = UnleashClient(
        url=f"{NOWHERE}/api",
        app_name="benchmark",
        cache=cache,
        disable_metrics=True,
        disable_registration=True,
    )
    client.initialize_client(fetch_toggles=False)

    def decide(unit: str, attributes: Attributes) -> str:
        found = client.get_variant(FLAG, {"userId": unit, "properties": attributes})["name"]
        return "control" if found == "disabled" else found

    return decide


def configcat() -> Decide:
    import configcatclient
    from configcatclient.configcatoptions import ConfigCatOptions
    from configcatclient.localfiledatasource import LocalFileFlagOverrides
    from configcatclient.overridedatasource import OverrideBehaviour
    from configcatclient.user import User

    path = str(HERE / "configcat.json")
    overrides = LocalFileFlagOverrides(path, OverrideBehaviour.LocalOnly)
    client = configcatclient.get("localonly", ConfigCatOptions(flag_overrides=overrides))

    def decide(unit: str, attributes: Attributes) -> str:
        return client.get_value_details(FLAG, "none", User(unit, custom=dict(attributes))).value

    return decide


def split() -> Decide:
    from splitio import get_factory

    factory = get_factory("localhost", config={"splitFile": str(HERE / "split.json")})
    factory.block_until_ready(5)
    client = factory.client()

    def decide(unit: str, attributes: Attributes) -> str:
        found = client.get_treatment(unit, FLAG, attributes)
        return "control" if found == "off" else found  # there `control` is a reserved word

    return decide


def flagsmith() -> Decide:
    from flagsmith import Flagsmith
    from flagsmith.offline_handlers import LocalFileHandler

    handler = LocalFileHandler(str(HERE / "flagsmith.json"))
    client = Flagsmith(offline_mode=True, offline_handler=handler)

    def decide(unit: str, attributes: Attributes) -> str:
        return client.get_identity_flags(unit, traits=dict(attributes)).get_feature_value(FLAG)

    return decide


def optimizely() -> Decide:
    from optimizely import optimizely as sdk
    from optimizely.decision.optimizely_decide_option import OptimizelyDecideOption as Option
    from optimizely.event_dispatcher import EventDispatcher
    from optimizely.logger import NoOpLogger

    class Nowhere(EventDispatcher):
        @staticmethod
        def dispatch_event(event: Any) -> None:
            del event

    datafile = json.dumps(document("optimizely.json"))
    client = sdk.Optimizely(datafile, event_dispatcher=Nowhere, logger=NoOpLogger())
    quiet = [Option.DISABLE_DECISION_EVENT]

    def decide(unit: str, attributes: Attributes) -> str:
        user = client.create_user_context(unit, attributes)
        return user.decide(FLAG, quiet).variation_key or "control"

    return decide


def statsig() -> Decide:
    from statsig_python_core import DataStore, Statsig, StatsigOptions, StatsigUser
    from statsig_python_core.data_store import DataStoreResponse

    specs = json.dumps(document("statsig.json"))

    class Store(DataStore):
        def get(self, key: str) -> DataStoreResponse:
            del key
            return DataStoreResponse(result=specs, time=1)

    options = StatsigOptions()
    options.data_store = Store()
    options.disable_network = True
    options.disable_all_logging = True
    options.enable_id_lists = False
    client = Statsig("secret-key", options)
    client.initialize().wait()

    def decide(unit: str, attributes: Attributes) -> str:
        user = StatsigUser(user_id=unit, custom=attributes)
        return client.get_experiment(user, FLAG).get_string("arm", "none")

    return decide


def _eppo_client() -> Any:
    import eppo_client
    from eppo_client._eppo_client import Configuration
    from eppo_client.config import AssignmentLogger, Config

    class Nowhere(AssignmentLogger):
        def log_assignment(self, event: dict[str, Any]) -> None:
            del event

    flags = json.dumps(document("eppo.json")).encode()
    return eppo_client.init(
        Config(
            api_key="key",
            assignment_logger=Nowhere(),
            poll_interval_seconds=None,
            initial_configuration=Configuration(flags_configuration=flags),
        )
    )


def eppo() -> Decide:
    client = _eppo_client()

    def decide(unit: str, attributes: Attributes) -> str:
        return client.get_string_assignment(FLAG, unit, attributes, "control")

    return decide


def eppo_details() -> Decide:
    client = _eppo_client()

    def decide(unit: str, attributes: Attributes) -> str:
        return client.get_string_assignment_details(FLAG, unit, attributes, "control").variation

    return decide


def posthog() -> Decide:
    from posthog import Posthog

    client = Posthog("key", send=False)
    client.feature_flags = document("posthog.json")

    def decide(unit: str, attributes: Attributes) -> str:
        found = client.get_feature_flag(
            FLAG,
            unit,
            person_properties=attributes,
            only_evaluate_locally=True,
            send_feature_flag_events=False,
        )
        return found or "control"

    return decide


def flagd_core() -> Decide:
    from openfeature.contrib.tools.flagd.core import FlagdCore
    from openfeature.evaluation_context import EvaluationContext

    core = FlagdCore()
    core.set_flags(document("flagd.json"))

    def decide(unit: str, attributes: Attributes) -> str:
        context = EvaluationContext(unit, attributes)
        return core.resolve_string_value(FLAG, "none", context).value

    return decide


def flagd_openfeature() -> Decide:
    from openfeature import api
    from openfeature.contrib.provider.flagd import FlagdProvider
    from openfeature.contrib.provider.flagd.config import ResolverType
    from openfeature.evaluation_context import EvaluationContext

    path = str(HERE / "flagd.json")
    api.set_provider(FlagdProvider(resolver_type=ResolverType.FILE, offline_flag_source_path=path))
    client = api.get_client()

    def decide(unit: str, attributes: Attributes) -> str:
        context = EvaluationContext(unit, attributes)
        return client.get_string_details(FLAG, "none", context).value

    return decide


def flipt() -> Decide:
    from flipt_client import FliptClient
    from flipt_client.models import ClientOptions

    client = FliptClient(ClientOptions(url=_server(document("flipt.json"))))

    def decide(unit: str, attributes: Attributes) -> str:
        context = {name: str(value) for name, value in attributes.items()}
        return client.evaluate_variant(FLAG, unit, context).variant_key or "control"

    return decide


def amplitude() -> Decide:
    from amplitude_experiment import Experiment, User
    from amplitude_experiment.evaluation.types import EvaluationFlag

    client = Experiment.initialize_local("server-key")
    client.flag_config_storage.put_flag_config(EvaluationFlag.from_dict(document("amplitude.json")))

    def decide(unit: str, attributes: Attributes) -> str:
        user = User(user_id=unit, user_properties=attributes)
        return client.evaluate_v2(user, {FLAG})[FLAG].key

    return decide


def featbit() -> Decide:
    from fbclient.client import FBClient
    from fbclient.config import Config

    client = FBClient(Config("c2VjcmV0", event_url=NOWHERE, streaming_url=NOWHERE, offline=True))
    client.initialize_from_external_json(json.dumps(document("featbit.json")))

    def decide(unit: str, attributes: Attributes) -> str:
        user = {"key": unit, "name": unit, **attributes}
        return client.variation_detail(FLAG, user, default="none").variation

    return decide


def _server(content: Any) -> str:
    """Serve one JSON document to the SDK that fetches it when it starts."""
    body = json.dumps(content).encode()

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_args: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_port}"


SDKS = [
    Sdk("LaunchDarkly, file", "launchdarkly-server-sdk", launchdarkly, True, "events off"),
    Sdk("Unleash, bootstrap", "UnleashClient", unleash, False, "counts"),
    Sdk("ConfigCat, local file", "configcat-client", configcat, True, "nothing"),
    Sdk("Split, localhost file", "splitio-client", split, False, "impressions dropped"),
    Sdk("Flagsmith, offline", "flagsmith", flagsmith, False, "nothing"),
    Sdk("Optimizely, datafile", "optimizely-sdk", optimizely, True, "events off"),
    Sdk("Statsig core, local specs", "statsig-python-core", statsig, True, "off"),
    Sdk("Eppo, local", "eppo-server-sdk", eppo, False, "each, to a callback"),
    Sdk("Eppo, local, details", "eppo-server-sdk", eppo_details, True, "each, to a callback"),
    Sdk("PostHog, local", "posthog", posthog, False, "events off"),
    Sdk("flagd core", "openfeature-flagd-core", flagd_core, True, "nothing"),
    Sdk("flagd, OpenFeature, file", "openfeature-provider-flagd", flagd_openfeature, True, "hooks"),
    Sdk("Flipt, local snapshot", "flipt-client", flipt, True, "nothing"),
    Sdk("Amplitude, local", "amplitude-experiment", amplitude, False, "nothing"),
    Sdk("FeatBit, offline", "fb-python-sdk", featbit, True, "events dropped"),
]
NOT_OFFLINE = (
    "not compared, for want of a known way to start them offline: Harness, Kameleoon, DevCycle, "
    "VWO, GO Feature Flag"
)

logging.disable(logging.WARNING)  # some tell of every evaluation
