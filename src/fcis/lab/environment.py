"""On what something was measured: versions, hardware, threads, commit, date."""

import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

_PACKAGES = ("torchvision", "timm", "lightning", "triton")


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """What figures depend on besides the code.

    Attributes:
        date: UTC, to the second.
        commit: of the clone that runs, with a `+` if files differ from it; empty outside a clone.
        device: as asked for.
        device_name: of the accelerator; the processor's on a CPU.
        driver: version of the GPU's; empty without one, or if its tool does not tell.
        threads: of one operation of torch.
        processors: that the machine has.
        load: processes that wanted to run in the last minute, before the benchmark; None where
            the system does not tell. Far above zero, others were measured too.
        tensor_cores: do float32 convolutions and matrix products lose bits (TF32) to be faster.
    """

    date: str
    commit: str
    versions: dict[str, str]
    system: str
    device: str
    device_name: str
    driver: str
    processor: str
    processors: int
    threads: int
    load: float | None
    tensor_cores: dict[str, bool]

    def to_json(self) -> dict[str, object]:
        """Return the facts by name."""
        return asdict(self)

    def text(self) -> str:
        """Return the facts in two lines."""
        versions = ", ".join(f"{name} {number}" for name, number in self.versions.items())
        load = "" if self.load is None else f", load {self.load:.1f}"
        return (
            f"{self.date}, commit {self.commit or 'unknown'}, {versions}\n"
            f"{self.device}: {self.device_name}, {self.threads} threads of {self.processors} "
            f"processors{load}"
        )


@contextmanager
def threads(count: int | None) -> Iterator[None]:
    """Let torch use so many threads for one operation, for a while."""
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def environment(device: str) -> Environment:
    """Return the facts of this process."""
    processor = _processor()
    is_cuda = torch.device(device).type == "cuda"
    versions = {
        "python": platform.python_version(),
        "fcis": version("fcis-torch"),
        "torch": str(torch.__version__),  # says too what it was built for
        **{name: number for name in _PACKAGES if (number := _version(name))},
    }
    if is_cuda and torch.version.cuda:
        versions["cuda"] = torch.version.cuda
    return Environment(
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        commit=commit(Path(__file__).resolve()),
        versions=versions,
        system=platform.platform(),
        device=device,
        device_name=torch.cuda.get_device_name(device) if is_cuda else processor,
        driver=_driver() if is_cuda else "",
        processor=processor,
        processors=os.cpu_count() or 1,
        threads=torch.get_num_threads(),
        load=os.getloadavg()[0] if sys.platform != "win32" else None,
        tensor_cores={
            "convolutions": is_cuda and bool(torch.backends.cudnn.allow_tf32),
            "products": is_cuda and bool(torch.backends.cuda.matmul.allow_tf32),
        },
    )


def commit(file: Path) -> str:
    """Return the commit of the clone that a file belongs to, or nothing.

    A package that is installed below a clone of something else has no commit.
    """
    folder = file.parent
    if _printed("git", "ls-files", "--error-unmatch", file.name, folder=folder) is None:
        return ""
    head = _printed("git", "rev-parse", "--short", "HEAD", folder=folder) or ""
    changed = _printed("git", "status", "--porcelain", "--untracked-files=no", folder=folder)
    return head + ("+" if changed else "")


def _driver() -> str:
    query = ("--query-gpu=driver_version", "--format=csv,noheader")
    return (_printed("nvidia-smi", *query) or "").partition("\n")[0]


def _printed(*command: str, folder: Path | None = None) -> str | None:
    """Return what a program prints, None if it fails, hangs or is not installed."""
    try:
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, check=False, timeout=60
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _version(package: str) -> str:
    """Return the version of a package, empty if it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass  # no Linux
    return platform.processor() or platform.machine()
