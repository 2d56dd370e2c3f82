"""Commands in processes of their own, several at a time, until the time is up.

One small training leaves a GPU idle most of the time: it waits for the processor that gives out
its kernels. Several side by side use it.
"""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fcis.cli.main import main

FCIS = (sys.executable, "-m", "fcis")
GRACE = 15.0
"""Seconds that an interrupted command has before it is killed."""

_POLL = 0.1  # seconds
_SHOWN = 30  # last lines of the log of a command that failed


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A command.

    Attributes:
        name: of the log, and in messages.
        environment: variables that it has besides those of this process.
    """

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of a command.

    Attributes:
        code: its exit code; None if the time was up before it ended, or before it began.
        seconds: that it took.
    """

    code: int | None
    seconds: float

    @property
    def done(self) -> bool:
        """Tell whether it ended well."""
        return self.code == 0


def fcis_job(name: str, *arguments: object) -> Job:
    """Return a command line of `fcis`."""
    return Job(name=name, command=(*FCIS, *(str(argument) for argument in arguments)))


def run_inside(job: Job, logs: Path) -> Outcome:
    """Run a command line of `fcis` in this process, which saves loading everything again."""
    started = time.monotonic()
    logs.mkdir(parents=True, exist_ok=True)
    path = logs / f"{job.name}.log"
    with (
        path.open("w", encoding="utf-8") as log,
        contextlib.redirect_stdout(log),
        contextlib.redirect_stderr(log),
    ):
        code = main(job.command[len(FCIS) :])
    if code:
        _show(job.name, code, path)
    return Outcome(code=code, seconds=time.monotonic() - started)


def run_jobs(
    jobs: Sequence[Job], *, parallel: int, end: float, logs: Path, tell: Callable[[str], None]
) -> dict[str, Outcome]:
    """Return what became of commands, by name.

    Args:
        jobs: in the order in which they begin.
        parallel: how many at a time.
        end: when they are interrupted, as `time.monotonic` counts.
        logs: folder for what they print.
        tell: takes a line of text.
    """
    logs.mkdir(parents=True, exist_ok=True)
    waiting, running = list(jobs), list[_Running]()
    found: dict[str, Outcome] = {}
    try:
        while waiting or running:
            if time.monotonic() >= end:
                found |= {job.name: Outcome(code=None, seconds=0.0) for job in waiting}
                found |= _stop(running)
                break
            while waiting and len(running) < parallel:
                job = waiting.pop(0)
                tell(f"{job.name}: begins, {end - time.monotonic():.0f} s left")
                running.append(_Running(job, logs / f"{job.name}.log"))
            for one in [r for r in running if r.process.poll() is not None]:
                running.remove(one)
                found[one.job.name] = one.outcome()
                tell(f"{one.job.name}: ended after {found[one.job.name].seconds:.0f} s")
            time.sleep(_POLL)
    finally:
        _stop(running)
    return found


class _Running:
    """A process with all that it starts."""

    def __init__(self, job: Job, log: Path) -> None:
        self.job = job
        self.log = log
        self.started = time.monotonic()
        with log.open("w", encoding="utf-8") as file:
            self.process = subprocess.Popen(
                job.command,
                stdout=file,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                env={**os.environ, **job.environment},
                start_new_session=True,
            )

    def outcome(self) -> Outcome:
        """Return what became of it, and show what it said if it failed."""
        code = self.process.returncode
        if code:
            _show(self.job.name, code, self.log)
        return Outcome(code=code, seconds=time.monotonic() - self.started)


def _stop(running: list[_Running]) -> dict[str, Outcome]:
    """Interrupt processes as Ctrl-C does, and kill those that stay; empties the list."""
    for one in running:
        if one.process.poll() is None:
            one.process.send_signal(signal.SIGINT)
    found = {}
    end = time.monotonic() + GRACE
    for one in running:
        with contextlib.suppress(subprocess.TimeoutExpired):
            one.process.wait(timeout=max(0.1, end - time.monotonic()))
        # what it started may have outlived it
        with contextlib.suppress(ProcessLookupError):
            os.killpg(one.process.pid, signal.SIGKILL)
        code = one.process.wait()
        seconds = time.monotonic() - one.started
        found[one.job.name] = Outcome(code=0 if code == 0 else None, seconds=seconds)
    running.clear()
    return found


def _show(name: str, code: int, log: Path) -> None:
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-_SHOWN:]
    print(f"{name}: failed with code {code}; {log} ends in", file=sys.stderr)
    print("\n".join(f"    {line}" for line in lines), file=sys.stderr)
