"""What all scripts have in common: command line, folders, the time left, results, state."""

import argparse
import os
import shutil
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from processes import FCIS, GRACE, Job, Outcome, run_inside, run_jobs
from results import KEYS, Bar, Key, carried_commit, table_text
from travel import pack, restore

from fcis.cli.parser import Parser
from fcis.core.devices import choose_device
from fcis.core.errors import InputError
from fcis.lab.environment import environment
from fcis.lab.journal import Journal, Line

GPU = Path(__file__).resolve().parent
ROOT = GPU.parent
RECORD = ROOT / "benchmarks" / "results" / "gpu"
SECONDS = 540
"""Of one call, packing included: calls of rented machines often end after ten minutes."""

LEFT_OVER = 3
"""Exit code when the time was up: call again, and it goes on."""

_PACKING = 20  # seconds, for what comes after the last command was stopped
_LOG_CHARACTERS = 200_000  # of each log that is brought back


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call of one script.

    Attributes:
        script: its name, without suffix.
        options: as given on the command line.
        end: when commands are stopped, as `time.monotonic` counts.
        results: the lines of this script.
        notes: what is said below the table.
        failed: names of commands that failed.
        left_over: what is left for another call.
    """

    script: str
    options: argparse.Namespace
    end: float
    results: Journal
    notes: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    left_over: list[str] = field(default_factory=list)

    @property
    def device(self) -> str:
        """Return where networks run, as torch names it."""
        return self.options.device

    @property
    def quick(self) -> bool:
        """Tell whether everything is to be tiny, to see that it runs."""
        return self.options.quick

    @property
    def carry(self) -> Path:
        """Return the folder that travelled with the working tree."""
        return self.options.root / "carry"

    @property
    def work(self) -> Path:
        """Return the folder of this script's runs, relative to where it is called.

        `fcis reproduce` keeps the addresses of its data, which must be the same at every place.
        """
        return Path(os.path.relpath(self.options.root / "work" / self.script))

    @property
    def nuclei(self) -> Path:
        """Return the folder of the nuclei, which must have travelled.

        Raises:
            InputError: it is not there.
        """
        folder = Path(os.path.relpath(self.carry / "nuclei"))
        if not (folder / "train.json").is_file() or not (folder / "val.json").is_file():
            raise InputError(
                f"{folder}: no train.json and val.json; make the folder with gpu/prepare.py, and "
                "let it travel"
            )
        return folder

    def left(self) -> float:
        """Return the seconds that are left for commands."""
        return max(0.0, self.end - time.monotonic())

    def known(self, key: Key) -> Line | None:
        """Return the result that a run has already, None if it is to be made."""
        if self.options.again:
            return None
        return self.results.find({"key": dict(key), "quick": self.quick})

    def run(self, *jobs: Job, parallel: int = 1, limit: float | None = None) -> dict[str, Outcome]:
        """Run commands until the time is up, and note those that failed or have no result.

        Args:
            jobs: commands, by the order in which they begin.
            parallel: how many at a time.
            limit: seconds, where they have less than all that is left.
        """
        logs = self.work / "logs"
        if self.options.inside and all(job.command[: len(FCIS)] == FCIS for job in jobs):
            found = {job.name: run_inside(job, logs) for job in jobs}
        else:
            end = self.end if limit is None else min(self.end, time.monotonic() + limit)
            found = run_jobs(jobs, parallel=parallel, end=end, logs=logs, tell=tell)
        self.failed.extend(name for name, outcome in found.items() if outcome.code)
        self.left_over.extend(name for name, outcome in found.items() if outcome.code is None)
        return found

    def record(
        self,
        key: Key,
        *,
        figures: Mapping[str, object],
        shown: Mapping[str, float | str | None],
        bars: Sequence[Bar] = (),
        seconds: float,
    ) -> Line:
        """Write the line of a finished run, and return it.

        Args:
            key: what tells it from other runs of the script.
            figures: all of them.
            shown: those that the table shows besides the bars.
            bars: what it should reach.
            seconds: that its command took.
        """
        facts = environment(self.device)
        facts = replace(facts, commit=facts.commit or carried_commit(self.carry))
        line = {
            "script": self.script,
            "key": dict(key),
            "quick": self.quick,
            "environment": facts.to_json(),
            "seconds": round(seconds, 1),
            "shown": dict(shown),
            "bars": {bar.name: bar.to_json() for bar in bars},
            "figures": dict(figures),
        }
        return self.results.add(line)


def run(
    file: str,
    doc: str,
    work: Callable[[Call], None],
    *,
    add: Callable[[argparse.ArgumentParser], None] | None = None,
    has_state: bool = False,
    arguments: Sequence[str] | None = None,
) -> int:
    """Do what is missing, print a table, leave results and state for the way home.

    Args:
        file: of the script, whose name is that of its results.
        doc: its description; the first line is the help.
        work: what it does.
        add: adds options of its own.
        has_state: do its runs go on in another call, with what this one leaves.
        arguments: of the command line; None: those of the process.

    Returns:
        The exit code: 0 all is done, 1 a command failed, 2 bad input, 3 the time was up.
    """
    script = Path(file).stem
    try:
        call = open_call(script, doc, add, arguments)
        try:
            work(call)
        finally:
            close(call, has_state=has_state)
    except InputError as error:
        print(f"{script}: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"{script}: interrupted", file=sys.stderr)
        return 130
    return 1 if call.failed else LEFT_OVER if call.left_over else 0


def open_call(
    script: str,
    doc: str,
    add: Callable[[argparse.ArgumentParser], None] | None,
    arguments: Sequence[str] | None,
) -> Call:
    """Return a call as its command line wants it, with the state that travelled restored.

    Raises:
        InputError: an option makes no sense, or results are damaged.
    """
    parser = Parser(prog=f"gpu/{script}.py", description=doc.partition("\n")[0])
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, ... (default: auto)")
    parser.add_argument(
        "--seconds",
        type=float,
        default=SECONDS,
        help=f"when to stop and to leave the rest to another call (default: {SECONDS})",
    )
    parser.add_argument("--again", action="store_true", help="do too what has a result")
    parser.add_argument("--quick", action="store_true", help="tiny, to see that it runs")
    parser.add_argument("--inside", action="store_true", help="run fcis in this very process")
    parser.add_argument(
        "--root", type=Path, default=GPU, help="folder of carry/ and work/ (default: gpu)"
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path(os.environ.get("OUT") or GPU / "out"),
        help="folder that is brought back (default: $OUT, else gpu/out)",
    )
    parser.add_argument(
        "--results", type=Path, help="folder of the results (default: benchmarks/results/gpu)"
    )
    if add is not None:
        add(parser)
    options = parser.parse_args(arguments)
    if options.seconds <= 0:
        raise InputError(f"--seconds {options.seconds:g}: expected a number above 0")
    if options.quick and options.results is None:
        options.results = options.root / "results"
    options.device = choose_device(options.device)
    call = Call(
        script=script,
        options=options,
        end=time.monotonic() + max(options.seconds - _PACKING - GRACE, options.seconds / 2),
        results=Journal((options.results or RECORD) / f"{script}.jsonl", KEYS),
    )
    if restored := restore(script, call.carry / "state", call.work):
        tell(f"{script}: {restored} files of an earlier call restored")
    return call


def close(call: Call, *, has_state: bool) -> None:
    """Leave results, logs and state in the folder that is brought back, and print the table."""
    out: Path = call.options.out
    out.mkdir(parents=True, exist_ok=True)
    if call.results.path.is_file():
        shutil.copyfile(call.results.path, out / call.results.path.name)
    with (out / "log.txt").open("a", encoding="utf-8") as file:
        for path in sorted((call.work / "logs").glob("*.log")):
            text = path.read_text(encoding="utf-8", errors="replace")[-_LOG_CHARACTERS:]
            file.write(f"==> {call.script}: {path.name}\n{text}\n")
    if has_state:
        call.notes.extend(pack(call.script, call.work, out))
    newest = {str(line["key"]): line for line in call.results.lines}
    lines = [line for line in newest.values() if line["quick"] == call.quick]
    where = f", {lines[-1]['environment']['device_name']}" if lines else ""
    print(f"\n{table_text(call.script + where, lines)}\n")
    for name in call.failed:
        print(f"FAILED: {name}; its log is in {out / 'log.txt'}")
    for name in call.left_over:
        print(f"not finished: {name}; call again, and it goes on")
    for note in call.notes:
        print(note)


def tell(text: str) -> None:
    """Say how far it is."""
    print(text, file=sys.stderr, flush=True)
