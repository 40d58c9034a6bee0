"""Take pictures of every page from a demo that is left running, and those of the README.

Every page in light and dark, at 360 and at 1440 pixels, goes to ``build/screenshots``, in English
and some of them in Chinese; then experiments in every state. Whatever a page complained about is
told at the end. The README's pictures go to ``docs/images``.

Needs the test requirements and a Chromium at ``/usr/bin/chromium`` (or ``CHROMIUM``).
Usage: ``make screenshots``
"""

import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Collection, Generator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx
from playwright.sync_api import Browser, Page, sync_playwright

from console.child import MARKER

ROOT = Path(__file__).parent
IMAGES = ROOT / "images"
EXAMPLES = ROOT.parent / "examples"
APPLIED = ("concrete-loss", "guided-cancel", "discover-unused", "personal-offers")
BUILD = ROOT.parent / "build" / "screenshots"
CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")
QUIET = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
KEY = "three-step-cancel"
EXPERIMENT = f"/experiments/{KEY}"
PAGES = {
    "overview": "/",
    "experiment": EXPERIMENT,
    "report": f"{EXPERIMENT}/report",
    "rollback": "{rollback}",
    "replay": "{rollback}/replay",
    "resume": f"{EXPERIMENT}/actions/resume/three_step",
    "extend": f"{EXPERIMENT}/actions/extend",
    "stop": f"{EXPERIMENT}/actions/stop",
    "kpis": "/kpis",
    "events": "/events",
    "audit": "/audit",
    "health": "/health",
    "runbooks": "/runbooks",
    "session": "/session",
    "api": "/docs",
    "missing": "/experiments/no-such",
}
STATES = {
    "many": "/",
    "state-ramp": "/experiments/concrete-loss",
    "state-turn-back": "/experiments/concrete-loss/actions/roll_back/map",
    "state-paused": "/experiments/discover-unused",
    "state-draft": "/experiments/personal-offers",
    "state-stopped": "/experiments/another-one",
    "state-suspended": "/health",
}
"""Pages of experiments that are neither running alone nor turned back."""

LATER = {"late": "/", "state-finished": EXPERIMENT, "state-blind": "/experiments/concrete-loss"}
"""Pages once the clock stands after the end of the demo's run."""

SIZES = {"360": (360, 780), "1440": (1440, 900)}
THEMES = ("light", "dark")
README = {"rollback": (1100, 932)}
"""Pictures of the README, by page, and the size of the window they are taken in."""

REFUSED = [
    {
        "id": "rating-of-an-app-release",
        "name": "satisfaction_rated",
        "happened_at": "2026-01-06T09:00:00Z",
        "units": {"order_id": "order-1"},
        "fields": {"score": "five"},
    },
    {"id": "without-a-name", "happened_at": "2026-01-06T09:00:00Z"},
]


def free_port() -> int:
    """Return a TCP port nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def end_service(data: Path) -> None:
    """End the service that the demo left running; its folder says which process it is."""
    pid = int((data / MARKER).read_text(encoding="ascii"))
    os.kill(pid, signal.SIGTERM)
    while Path(f"/proc/{pid}").exists():
        time.sleep(0.05)


@contextmanager
def demo() -> Generator[tuple[str, str, str]]:
    """Run a demo; yield where its service goes on, its rollback's page and its admin key."""
    turnback = Path(sys.executable).with_name("turnback")
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "turnback-data"
        port = str(free_port())
        command = [turnback, "demo", "--keep", "--no-view", "--port", port, "--data", data]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        try:
            page = re.search(r"open (http\S+)", done.stdout)
            key = re.search(r"TURNBACK_ADMIN_KEY=(\S+)", done.stdout)
            if page is None or key is None:
                raise SystemExit(f"the demo did not say where its service is:\n{done.stdout}")
            url, _, path = page[1].partition("/experiments/")
            yield url, f"/experiments/{path}", key[1]
        finally:
            end_service(data)


def complaints_of(page: Page, width: int) -> list[str]:
    """Return what is wrong with a page that is open: whatever is wider than the window."""
    wide = page.evaluate("document.documentElement.scrollWidth")
    return [f"is {wide} px wide"] if wide > width else []


def settle(page: Page) -> None:
    """Wait until every picture of a page is there, those below the window as well."""
    page.evaluate("""() => Promise.all([...document.images].map((image) => {
        image.loading = "eager";
        return image.decode().catch(() => {});
    }))""")


def change_states(url: str, headers: Mapping[str, str]) -> None:
    """Apply more experiments to a demo, and leave them in different states."""

    def send(path: str, **sent: object) -> None:
        asked = httpx.post(f"{url}/api/v1/{path}", headers=headers, timeout=60, **sent)  # pyright: ignore[reportArgumentType] - passed on as it is
        asked.raise_for_status()

    def apply(text: str) -> None:
        send("experiments?source=examples", content=text)

    for name in APPLIED:
        apply((EXAMPLES / f"{name}.yaml").read_text("utf-8"))
    apply((EXAMPLES / f"{KEY}.yaml").read_text("utf-8").replace(KEY, "another-one"))
    for key, action in (("discover-unused", "pause"), ("another-one", "stop")):
        body = {"action": action, "reason": "The app's release 3.2 comes first."}
        send(f"experiments/{key}/actions", json=body)
    send("suspension", json={"suspended": True, "reason": "Release night."})


def picture(
    browser: Browser,
    url: str,
    paths: Mapping[str, str],
    *,
    language: str = "en",
    themes: Collection[str] = THEMES,
    sizes: Collection[str] = tuple(SIZES),
) -> list[str]:
    """Take every page in themes and widths; return what they complained about."""
    told: list[str] = []
    named = "" if language == "en" else f"-{language}"
    for theme in themes:
        for size in sizes:
            width, height = SIZES[size]
            context = browser.new_context(
                viewport={"width": width, "height": height},
                color_scheme="dark" if theme == "dark" else "light",
                locale=language,
            )
            page = context.new_page()
            errors: list[str] = []
            page.on("pageerror", lambda error, errors=errors: errors.append(str(error)))
            for name, path in paths.items():
                page.goto(url + path)
                settle(page)
                taken = BUILD / f"{name}{named}-{theme}-{size}.png"
                page.screenshot(path=taken, full_page=True)
                found = [*errors, *complaints_of(page, width)]
                told += [f"{name}, {theme}, {size}: {words}" for words in found]
                errors.clear()
            context.close()
    return told


def main() -> None:
    """Take every picture."""
    IMAGES.mkdir(exist_ok=True)
    BUILD.mkdir(parents=True, exist_ok=True)
    with demo() as (url, rollback, key):
        headers = {"Authorization": f"Bearer {key}"}
        httpx.post(f"{url}/api/v1/events", json=REFUSED, headers=headers, timeout=30)
        note = {"text": "The app's release 3.2 reaches everybody."}
        httpx.post(f"{url}/api/v1{EXPERIMENT}/notes", json=note, headers=headers, timeout=30)
        paths = {name: path.format(rollback=rollback) for name, path in PAGES.items()}
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
            told = picture(browser, url, paths)
            told += picture(browser, url, paths, language="zh", themes=["light"], sizes=["1440"])
            told += picture(browser, url, paths, language="zh", themes=["dark"], sizes=["360"])
            for name, (width, height) in README.items():
                page = browser.new_page(
                    viewport={"width": width, "height": height}, device_scale_factor=1.5
                )
                page.goto(url + paths[name])
                settle(page)
                page.screenshot(path=IMAGES / f"{name}.png")
            change_states(url, headers)
            told += picture(browser, url, STATES, themes=["light"])
            again = {"suspended": False, "reason": "The release is out."}
            httpx.post(f"{url}/api/v1/suspension", json=again, headers=headers, timeout=30)
            clock = {"to": "2026-01-16T00:00:00Z"}
            httpx.post(f"{url}/api/v1/demo/clock", json=clock, headers=headers, timeout=120)
            told += picture(browser, url, LATER, themes=["light"])
            browser.close()
    if told:
        raise SystemExit("\n".join(told))


if __name__ == "__main__":
    main()
