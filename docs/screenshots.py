"""Take the pictures of the README from a demo that is left running.

Needs the test requirements and a Chromium at ``/usr/bin/chromium`` (or ``CHROMIUM``).
Usage: ``make screenshots``
"""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx
from playwright.sync_api import sync_playwright

from console.child import MARKER

IMAGES = Path(__file__).parent / "images"
CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")
QUIET = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PAGES = {"rollback": "/experiments/three-step-cancel"}


def free_port() -> int:
    """Return a TCP port nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for_rollback(url: str, process: subprocess.Popen[bytes]) -> None:
    """Wait until the demo shows a verified rollback."""
    for _ in range(240):
        time.sleep(1)
        if process.poll() is not None:
            raise SystemExit("the demo ended before its page could be pictured")
        try:
            view = httpx.get(f"{url}/api/v1/experiments/three-step-cancel", timeout=5).json()
        except httpx.HTTPError:
            continue
        if any(r["effective"] for r in view.get("rollbacks", ())):
            return
    raise SystemExit("no verified rollback within four minutes")


def end_service(data: Path) -> None:
    """End the service that the demo left running; its folder says which process it is."""
    pid = int((data / MARKER).read_text(encoding="ascii"))
    os.kill(pid, signal.SIGTERM)
    while Path(f"/proc/{pid}").exists():
        time.sleep(0.05)


def main() -> None:
    """Take every picture."""
    IMAGES.mkdir(exist_ok=True)
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    turnback = Path(sys.executable).with_name("turnback")
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "turnback-data"
        command = [turnback, "demo", "--keep", "--no-view", "--port", str(port), "--data", data]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        try:
            wait_for_rollback(url, process)
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
                page = browser.new_page(
                    viewport={"width": 1100, "height": 1010}, device_scale_factor=1.5
                )
                for name, path in PAGES.items():
                    page.goto(url + path)
                    page.screenshot(path=IMAGES / f"{name}.png")
                browser.close()
        finally:
            process.terminate()
            process.wait(timeout=30)
            end_service(data)


if __name__ == "__main__":
    main()
