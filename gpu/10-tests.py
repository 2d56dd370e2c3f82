"""Tests on a GPU: those marked `gpu`, the errors of the Triton kernels, a check of their memory.

Three parts: pytest; `kernels.py`, which compares the kernels in float32 and bfloat16 with the
definition; and the same, small, under compute-sanitizer where that is installed.
"""

import json
import shutil
import sys
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from common import GPU, ROOT, Call, run
from processes import Job
from results import Bar, Key

_MARK = "mark.gpu"
_SANITIZER = "compute-sanitizer"
_SANITIZER_SECONDS = 150
_ERRORS = 99  # exit code of the sanitizer when it finds something


def work(call: Call) -> None:
    """Do the three parts that have no result yet."""
    call.work.mkdir(parents=True, exist_ok=True)
    for name, part in (("pytest", _pytest), ("kernels", _kernels), (_SANITIZER, _sanitizer)):
        if not call.known({"part": name}):
            part(call, {"part": name})


def places() -> list[str]:
    """Return the test files that mark tests `gpu`; of a conftest its whole folder."""
    tests = ROOT / "tests"
    found = [path for path in sorted(tests.rglob("*.py")) if _MARK in path.read_text("utf-8")]
    folders = [path.parent for path in found if path.name == "conftest.py"]
    files = [
        path
        for path in found
        if path.name.startswith("test_") and not any(f in path.parents for f in folders)
    ]
    return [path.relative_to(ROOT).as_posix() for path in (*folders, *files)]


def _pytest(call: Call, key: Key) -> None:
    report = (call.work / "pytest.xml").resolve()
    report.unlink(missing_ok=True)
    command = (sys.executable, "-m", "pytest", "-q", "-m", "gpu", "-p", "no:cacheprovider")
    files = [str(ROOT / place) for place in places()]
    where = ("--rootdir", str(ROOT), "-c", str(ROOT / "pyproject.toml"))
    job = Job(name="pytest", command=(*command, *where, f"--junitxml={report}", *files))
    outcome = call.run(job)["pytest"]
    if outcome.code is None or not report.is_file():
        return
    counts, failures = read_report(report)
    bars = [Bar(name="failed", wanted=0, found=counts["failed"], at_most=True)]
    if not call.quick:
        bars.append(Bar(name="passed", wanted=1, found=counts["passed"]))
    figures = {**counts, "failures": failures}
    call.record(key, figures=figures, shown=counts, bars=bars, seconds=outcome.seconds)


def read_report(path: Path) -> tuple[dict[str, int], list[str]]:
    """Return how many tests passed, failed and were skipped, and the names of those that failed."""
    cases = list(ElementTree.parse(path).getroot().iter("testcase"))

    def having(*tags: str) -> list[str]:
        return [
            f"{case.get('classname')}::{case.get('name')}"
            for case in cases
            if any(case.find(tag) is not None for tag in tags)
        ]

    failed, skipped = having("failure", "error"), having("skipped")
    passed = len(cases) - len(failed) - len(skipped)
    return {"passed": passed, "failed": len(failed), "skipped": len(skipped)}, failed


def _kernels(call: Call, key: Key) -> None:
    job, path = _kernel_job(call, "kernels", small=call.quick)
    outcome = call.run(job)["kernels"]
    if not outcome.done:
        return
    rows = json.loads(path.read_text(encoding="utf-8"))
    bars = []
    for dtype in sorted({row["dtype"] for row in rows}):
        # what is not a number is the largest of all
        worst = np.max([row["over_limit"] for row in rows if row["dtype"] == dtype])
        name = f"{dtype}: error / allowed"
        bars.append(Bar(name=name, wanted=1.0, found=float(worst), at_most=True))
    shown = {"comparisons": len(rows)}
    call.record(key, figures={"rows": rows}, shown=shown, bars=bars, seconds=outcome.seconds)


def _sanitizer(call: Call, key: Key) -> None:
    if shutil.which(_SANITIZER) is None or not call.device.startswith("cuda"):
        call.notes.append(f"skipped: {_SANITIZER} is not installed, or the device is no GPU")
        return
    job, _ = _kernel_job(call, _SANITIZER, small=True)
    tool = (_SANITIZER, "--tool", "memcheck", "--error-exitcode", str(_ERRORS))
    job = Job(
        name=job.name,
        command=(*tool, *job.command),
        # each tensor has memory of its own, so that what lies beyond it belongs to no other
        environment={**job.environment, "PYTORCH_NO_CUDA_MEMORY_CACHING": "1"},
    )
    outcome = call.run(job, limit=_SANITIZER_SECONDS)[_SANITIZER]
    if outcome.code not in (0, _ERRORS):
        return
    bars = [Bar(name="errors", wanted=0, found=float(not outcome.done), at_most=True)]
    call.record(key, figures={}, shown={}, bars=bars, seconds=outcome.seconds)


def _kernel_job(call: Call, name: str, *, small: bool) -> tuple[Job, Path]:
    path = (call.work / f"{name}.json").resolve()
    words = [str(GPU / "kernels.py"), "--device", call.device, "--json", str(path)]
    command = (sys.executable, *words, *(("--small",) if small else ()))
    # without a GPU the kernels are interpreted
    interpreted = {} if call.device.startswith("cuda") else {"TRITON_INTERPRET": "1"}
    return Job(name=name, command=command, environment=interpreted), path


if __name__ == "__main__":
    sys.exit(run(__file__, __doc__, work))
