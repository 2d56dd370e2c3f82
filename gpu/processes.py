"""Commands in processes of their own, several at a time, until the time is up.

One small training leaves a GPU idle most of the time: it waits for the processor that gives out
its kernels. Several side by side use it.
"""

import asyncio
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
    places = asyncio.Semaphore(parallel)

    async def run_all() -> list[Outcome]:
        return await asyncio.gather(*(_run(job, places, end, logs, tell) for job in jobs))

    return dict(zip((job.name for job in jobs), asyncio.run(run_all()), strict=True))


async def _run(
    job: Job, places: asyncio.Semaphore, end: float, logs: Path, tell: Callable[[str], None]
) -> Outcome:
    """Run a command once there is a place for it, if there is still time then."""
    async with places:
        started = time.monotonic()
        if started >= end:
            return Outcome(code=None, seconds=0.0)
        tell(f"{job.name}: begins, {end - started:.0f} s left")
        path = logs / f"{job.name}.log"
        with path.open("w", encoding="utf-8") as log:
            process = await asyncio.create_subprocess_exec(
                *job.command,
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                env={**os.environ, **job.environment},
                start_new_session=True,
            )
        try:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), end - started)
        finally:
            code = process.returncode
            if code is None:  # the time is up, or the user stopped
                code = 0 if await _stop(process) == 0 else None
        seconds = time.monotonic() - started
        tell(f"{job.name}: ended after {seconds:.0f} s")
        if code:
            _show(job.name, code, path)
        return Outcome(code=code, seconds=seconds)


async def _stop(process: asyncio.subprocess.Process) -> int:
    """Interrupt a process as Ctrl-C does, and kill it if it stays."""
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(signal.SIGINT)
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(process.wait(), GRACE)
    # what it started may have outlived it
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    return await process.wait()


def _show(name: str, code: int, log: Path) -> None:
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-_SHOWN:]
    print(f"{name}: failed with code {code}; {log} ends in", file=sys.stderr)
    print("\n".join(f"    {line}" for line in lines), file=sys.stderr)
