"""The demo: a simulated shop, the real service, and a clock that is stepped by the hour."""

import asyncio
import secrets
import signal
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

import msgspec

import console
from console.child import (
    ServiceProcess,
    fresh_folder,
    hold,
    interrupt,
    require_free_port,
    terminated,
)
from console.driver import Answer, Driver
from console.output import CommandError
from guardrails.spec_file import SpecFile, load_spec
from metrics.simulate import (
    LATE_HARM_HOUR,
    OUTAGE_HOUR,
    SILENCE_HOUR,
    Order,
    Scenario,
    Shop,
)

START = datetime(2026, 1, 5, tzinfo=UTC)
"""Simulated hour 0: a Monday."""

SPEC = "three-step-cancel.yaml"
HOUR = timedelta(hours=1)
AFTERMATH = 3
"""Hours shown after a rollback, so that clients' answers and its verification are seen."""

_VERIFY_WITHIN = 6
HORIZON: Mapping[Scenario, int] = {
    Scenario.SATISFACTION_DROP: 168,
    Scenario.HARMLESS: 120,
    Scenario.TOLERATED: 120,
    Scenario.OUTAGE: OUTAGE_HOUR + 24,
    Scenario.LATE_HARM: LATE_HARM_HOUR + 48,
    Scenario.NO_DATA: SILENCE_HOUR + 12,
}
"""Simulated hours after which a scenario ends when nothing was turned back; the file has 168."""

TREATMENT = "three_step"


@dataclass(frozen=True, slots=True)
class DemoResult:
    """How a run ended: the object ``--json`` prints.

    Attributes:
        scenario: What was planted.
        seed: Of the simulated shop.
        rolled_back: Whether the treatment was turned back.
        variant: Which one, ``None`` when none was.
        kpi: The KPI whose harm was proven.
        at: Simulated instant of the rollback.
        effective: Whether the service verified that its exposures fell away.
        looks: Looks of the comparison that took most.
        wall_seconds: From start to end, on the machine's clock.
    """

    scenario: str
    seed: int
    rolled_back: bool
    variant: str | None
    kpi: str | None
    at: datetime | None
    effective: bool | None
    looks: int
    wall_seconds: float


@dataclass(frozen=True, slots=True)
class Kept:
    """A service that goes on after its demo: where, which process, and the key of the run.

    ``page`` is where the page of its rollback is, or of its experiment where there was none.
    """

    url: str
    pid: int
    key: str
    page: str


@dataclass(frozen=True, slots=True)
class Hour:
    """What happened in one simulated hour.

    Attributes:
        index: From 0.
        now: The service's clock after the hour.
        evaluated: Evaluations so far.
        sent: Events sent so far.
        view: Everything shown of the experiment, ``None`` where nobody asked for it.
        transitions: Changes of state of this hour.
        served: Answers of this hour by (variant, reason).
    """

    index: int
    now: datetime
    evaluated: int
    sent: int
    view: dict[str, Any] | None
    transitions: Sequence[Mapping[str, Any]]
    served: Mapping[tuple[str, str], int]


class Watcher(Protocol):
    """Whoever shows a run."""

    wants_view: bool

    def begin(self, scenario: Scenario, seed: int, spec: SpecFile, url: str) -> None:
        """The service is ready and the file applied."""
        ...

    def hour(self, hour: Hour) -> None:
        """A simulated hour is over."""
        ...

    def end(self, run: "Run", verdict: str) -> None:
        """The run is over; an empty ``verdict`` means that it ended as it should."""
        ...


@dataclass
class Run:
    """What a run has seen so far.

    Attributes:
        before: What one client of the treatment was served while it was live.
        after: What the same client was served after the rollback.
        no_data: Guardrails that were seen without data after the stream had stopped.
    """

    scenario: Scenario
    seed: int
    rollback: Mapping[str, Any] | None = None
    view: dict[str, Any] = field(default_factory=dict[str, Any])
    before: Answer | None = None
    after: Answer | None = None
    no_data: set[str] = field(default_factory=set[str])

    def result(self, wall_seconds: float) -> DemoResult:
        """Return the object that is printed."""
        back = self.rollback
        finding = ((back or {}).get("evidence") or {}).get("finding") or {}
        rollbacks = [r for r in self.view["rollbacks"] if back and r["variant"] == back["variant"]]
        windows = [w for g in self.view["guardrails"] for w in g["windows"]]
        return DemoResult(
            scenario=self.scenario.value,
            seed=self.seed,
            rolled_back=back is not None,
            variant=back["variant"] if back else None,
            kpi=finding.get("kpi"),
            at=datetime.fromisoformat(back["at"]) if back else None,
            effective=rollbacks[0]["effective"] if rollbacks else None,
            looks=max((int(w["look"]) for w in windows), default=0),
            wall_seconds=round(wall_seconds, 2),
        )


_QUIET = frozenset({Scenario.HARMLESS, Scenario.TOLERATED, Scenario.NO_DATA})
_BEGINS = {Scenario.OUTAGE: OUTAGE_HOUR, Scenario.LATE_HARM: LATE_HARM_HOUR}


def verdict(run: Run, result: DemoResult) -> str:
    """Return why a scenario did not end as it should; empty when it did."""
    if run.scenario not in _QUIET:
        return _harm_verdict(run, result)
    if result.rolled_back:
        return f"{result.variant} was turned back although it did no harm"
    if run.scenario is Scenario.NO_DATA and not run.no_data:
        return "events stopped and no guardrail said no_data"
    return ""


def _harm_verdict(run: Run, result: DemoResult) -> str:
    begins = START + HOUR * _BEGINS.get(run.scenario, 0)
    if result.at is None:
        return "the harm was not found"
    wrong_kpi = run.scenario is Scenario.SATISFACTION_DROP and result.kpi != "satisfaction"
    objections = {
        f"{result.variant} was turned back, not {TREATMENT}": result.variant != TREATMENT,
        f"turned back for {result.kpi}, not for satisfaction": wrong_kpi,
        f"turned back at {result.at:%Y-%m-%d %H:%M}, before the harm began": result.at < begins,
        "the rollback could not be verified": not result.effective,
    }
    return next((words for words, applies in objections.items() if applies), "")


def example(name: str) -> Path:
    """Return an example spec, from the repository or the installed package.

    Raises:
        CommandError: It is in neither.
    """
    package = Path(console.__file__).resolve().parent
    for folder in (package.parent / "examples", package / "examples", Path("examples")):
        if (folder / name).is_file():
            return folder / name
    raise CommandError(
        f"examples/{name} was not found",
        hint="run the demo from a clone of the repository",
        code="no_example",
    )


def run(
    *,
    scenario: Scenario,
    seed: int,
    port: int,
    data: Path,
    keep: bool,
    watcher: Watcher,
    held: Callable[[DemoResult, Kept], None] | None = None,
) -> tuple[DemoResult, str, Kept | None]:
    """Run a scenario to its end; the service is ended whatever happens, unless it is kept.

    Args:
        scenario: What is planted.
        seed: Of the simulated shop.
        port: Where the service listens.
        data: Folder of the run.
        keep: Whether the service goes on when this returns.
        watcher: Whoever shows the run.
        held: Called when the story is over; the service then answers until Ctrl-C.

    Returns:
        The result, why it is not as it should be (empty when it is), and the service if kept.
    """
    begun = time.monotonic()
    path = example(SPEC)
    text = path.read_text(encoding="utf-8")
    spec = load_spec(text, source=f"examples/{SPEC}")
    require_free_port(port)
    fresh_folder(data)
    key = secrets.token_urlsafe(24)
    environment = _environment(key, port)
    with terminated():
        service = ServiceProcess(data=data, port=port, environment=environment)
        kept = False
        try:
            service.wait_ready()
            story = _Story(Shop(seed, scenario, START), spec, watcher, Run(scenario, seed))
            seen = _played(story, service.url, key, text)
            result = seen.result(time.monotonic() - begun)
            words = verdict(seen, result)
            watcher.end(seen, words)
            page = f"{service.url}{_page_of(seen, spec.experiment.key)}"
            shown = Kept(service.url, service.pid, key, page)
            if held is not None:
                hold(service, lambda: held(result, shown))
            kept = keep
        except CommandError as error:
            raise _with_log(error, service) from error
        finally:
            if not kept:
                service.end()
    return result, words, shown if kept else None


def _page_of(seen: Run, key: str) -> str:
    """Return where the page of a run's rollback is, of its experiment where there was none."""
    back = f"/rollbacks/t{seen.rollback['id']}" if seen.rollback is not None else ""
    return f"/experiments/{key}{back}"


def _environment(key: str, port: int) -> dict[str, str]:
    return {
        "TURNBACK_ADMIN_KEY": key,
        "TURNBACK_DEMO": "true",
        "TURNBACK_DEMO_START": START.isoformat(),
        "TURNBACK_PUBLIC_URL": f"http://127.0.0.1:{port}",
    }


@dataclass
class _Story:
    """One run, hour by hour: the events until then, the new evaluations, then the next hour."""

    shop: Shop
    spec: SpecFile
    watcher: Watcher
    run: Run
    waiting: dict[int, list[bytes]] = field(
        default_factory=lambda: defaultdict[int, list[bytes]](list)
    )
    evaluated: int = 0
    sent: int = 0
    client: Order | None = None

    async def play(self, url: str, key: str, text: str) -> Run:
        async with Driver(url, key, self.spec.experiment.key) as driver:
            await driver.apply(text, source=f"examples/{SPEC}")
            self.watcher.begin(self.shop.scenario, self.shop.seed, self.spec, url)
            index = 0
            while not self._over(index):
                await self._hour(driver, index)
                index += 1
            if self.run.rollback is not None and self.client is not None:
                self.run.after = await driver.answer(self.client)
            self.run.view = await driver.experiment()
        return self.run

    def _over(self, index: int) -> bool:
        if self.run.rollback is None:
            return index >= HORIZON[self.shop.scenario]
        since = index - self._hours(self.run.rollback["at"])
        verified = any(r["effective"] is not None for r in self.run.view["rollbacks"])
        return since >= (AFTERMATH if verified else _VERIFY_WITHIN)

    def _hours(self, at: str) -> int:
        return (datetime.fromisoformat(at) - self.shop.start) // HOUR

    async def _hour(self, driver: Driver, index: int) -> None:
        now = self.shop.start + index * HOUR
        orders = self.shop.orders(index)
        # neither waits for the other: what counts is that both are there before the clock moves
        sent, answers = await asyncio.gather(
            driver.send(self.waiting.pop(index - 1, [])), driver.evaluate(orders)
        )
        self.sent += sent
        self.evaluated += len(answers)
        step = asyncio.create_task(driver.step(now + HOUR))
        await asyncio.sleep(0.001)  # let the request go out: the service checks while we draw
        for order, answer in zip(orders, answers, strict=True):
            self._happens(order, answer, now)
        stepped = await step
        self._note(stepped["transitions"])
        view = await driver.experiment() if self._wants_view() else None
        if view is not None:
            self._look(view, index)
        served = Counter((answer.variant, answer.reason) for answer in answers)
        self.watcher.hour(
            Hour(index, now + HOUR, self.evaluated, self.sent, view, stepped["transitions"], served)
        )

    def _happens(self, order: Order, answer: Answer, now: datetime) -> None:
        """Let the order's events wait for the hour after the one in which they happen."""
        if self.client is None and answer.variant == TREATMENT:
            self.client, self.run.before = order, answer
        for event in self.shop.events(order, variant=answer.variant, exposed_at=now):
            hour = self._hours(event["happened_at"])
            if hour < HORIZON[self.shop.scenario]:
                self.waiting[hour].append(msgspec.json.encode(event))

    def _note(self, transitions: Sequence[Mapping[str, Any]]) -> None:
        for transition in transitions:
            if transition["after"] == "rolled_back" and self.run.rollback is None:
                self.run.rollback = transition

    def _wants_view(self) -> bool:
        """Reading costs time: only whoever looks, or must know, reads every hour."""
        silent = self.shop.scenario is Scenario.NO_DATA
        return self.watcher.wants_view or silent or self.run.rollback is not None

    def _look(self, view: dict[str, Any], index: int) -> None:
        self.run.view = view
        if self.shop.scenario is Scenario.NO_DATA and index >= SILENCE_HOUR:
            blind = {g["guardrail"] for g in view["guardrails"] if g["outcome"] == "no_data"}
            self.run.no_data |= blind


def _with_log(error: CommandError, service: ServiceProcess) -> CommandError:
    if error.hint:
        return error
    return CommandError(
        error.message,
        hint=f"the service's log is {service.log}; its end:\n{service.last_words()}",
        code=error.code,
        exit_code=error.exit_code,
    )


def _played(story: _Story, url: str, key: str, text: str) -> Run:
    """Play a story; SIGTERM cancels it as Ctrl-C does.

    An exception raised by a signal handler in the middle of a callback may be swallowed by
    whoever called it, so inside the loop the task is cancelled instead.
    """

    async def play() -> Run:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        if task is not None:
            loop.add_signal_handler(signal.SIGTERM, task.cancel)
        try:
            return await story.play(url, key, text)
        finally:
            loop.remove_signal_handler(signal.SIGTERM)
            signal.signal(signal.SIGTERM, interrupt)

    try:
        return asyncio.run(play())
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None
