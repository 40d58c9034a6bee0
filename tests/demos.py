"""``turnback demo`` as a process, forked from one that has everything imported, its service too."""

import contextlib
import gc
import os
import signal
import sys
from multiprocessing import get_context

import service
from console import child, cli, dashboard, demo
from console.commands import demo as command

_ = (command, dashboard, demo, service)  # imported once for every run
_fork = get_context("fork")


class Forked:
    """What the demo asks of the process of its service, here a fork of its own."""

    def __init__(self, command, *, stdout, env, **_others):
        assert command[:3] == [sys.executable, "-m", "console.cli"]
        self._process = _fork.Process(target=_served, args=(command[3:], env, stdout.fileno()))
        self._process.start()
        self.pid = self._process.pid

    def poll(self):
        return self._process.exitcode

    def wait(self, timeout=None):
        self._process.join(timeout)
        if self._process.is_alive():
            raise child.subprocess.TimeoutExpired("serve", timeout)

    def send_signal(self, number):
        os.kill(self.pid, number)

    def kill(self):
        self._process.kill()


def _served(arguments, environment, log):
    os.setsid()
    _says_to(log, log)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    _run(arguments, environment)


def _says_to(out, words):
    sys.stdout.flush()
    sys.stderr.flush()
    os.dup2(out, 1)
    os.dup2(words, 2)


def _run(arguments, environment):
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["turnback", *arguments]
    sys.exit(cli.main())


def _demo(arguments, out, words):
    with out.open("wb") as one, words.open("wb") as other:
        _says_to(one.fileno(), other.fileno())
    child.subprocess.Popen = Forked
    _run(arguments, dict(os.environ))


def played(arguments, folder):
    """Run ``turnback demo`` in a fork; return (exit code, what it printed, its error output).

    Call it in a process without threads of its own.
    """
    out, words = folder / "out", folder / "words"
    process = _fork.Process(target=_demo, args=(["demo", *arguments], out, words))
    process.start()
    process.join(600)
    if process.exitcode is None:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        raise AssertionError(f"the demo did not end: {words.read_text()}")
    return process.exitcode, out.read_text(), words.read_text()


def warm():
    """Prepare a process for many runs: what was imported is neither searched nor copied by them."""
    gc.freeze()
