"""The state of a script, from one machine to the next: packed, brought back, carried, restored.

What is brought back may not exceed a few files of some megabytes, so the most useful things go
first: small files, the weights of finished runs, then checkpoints of runs that are not finished.
"""

import io
import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path

from results import KEYS

from fcis.lab.journal import Journal

FINISHED = "finished"
"""An empty file in the folder of a run that has come to its last step."""

PART_BYTES = 15 * 2**20
MOST_BYTES = 56 * 2**20
MOST_FILES = 8
"""Limits of what one call brings back; those of the machine that this was written for are 16 MiB a
file, 64 MiB and 8 files."""

_SMALL = 2**20  # bytes
_LEFT = ("tensorboard", "logs", "pictures")  # folders that stay
_CHECKPOINTS = ("last.ckpt", "last.pt")


def pack(script: str, work: Path, out: Path) -> list[str]:
    """Write as much of a script's folder as may travel, in parts; return what there is to say."""
    for old in out.glob(f"{_prefix(script)}*"):
        old.unlink()
    files = list(_by_worth(work))
    if not files:
        return []
    used = sum(path.stat().st_size for path in out.iterdir())
    room, places = MOST_BYTES - used, MOST_FILES - len(list(out.iterdir()))
    kept, left, total = [], [], 0
    for path in files:
        size = path.stat().st_size
        fits = total + size <= min(room, places * PART_BYTES)
        total += size if fits else 0
        (kept if fits else left).append(path)
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:gz", compresslevel=1) as tar:
        for path in kept:
            tar.add(path, arcname=path.relative_to(work).as_posix())
    data = archive.getbuffer()
    for number in range(0, -(-len(data) // PART_BYTES)):
        part = data[number * PART_BYTES : (number + 1) * PART_BYTES]
        (out / f"{_prefix(script)}{number:02d}").write_bytes(part)
    notes = [f"state of {script}: {len(kept)} files, {len(data) / 2**20:.1f} MiB, in {out}"]
    for path in left:
        size = path.stat().st_size / 2**20
        notes.append(f"does not fit, stays behind, {size:.1f} MiB: {path.relative_to(work)}")
    return notes


def restore(script: str, state: Path, work: Path) -> int:
    """Unpack the state of a script where files are missing, and return how many that were.

    What a machine still has is newer, so it stays.
    """
    parts = sorted(state.glob(f"{_prefix(script)}*"))
    if not parts:
        return 0
    data = io.BytesIO(b"".join(part.read_bytes() for part in parts))
    with tarfile.open(fileobj=data, mode="r:gz") as tar:
        missing = [m for m in tar.getmembers() if m.isfile() and not (work / m.name).exists()]
        work.mkdir(parents=True, exist_ok=True)
        tar.extractall(work, members=missing, filter="data")
    return len(missing)


def collect(folder: Path, results: Path, state: Path) -> list[str]:
    """Put what a call brought back where it belongs; return what was done.

    New lines go to the results, unless they are of `--quick`; the state of a script takes the
    place of its previous one.

    Raises:
        InputError: a line is damaged.
    """
    told = []
    for path in sorted(folder.rglob("*.jsonl")):
        target = Journal(results / path.name)
        lines = [line for line in Journal(path, KEYS).lines if not line["quick"]]
        new = [target.add(line) for line in lines if line not in target.lines]
        told.append(f"{target.path}: {len(new)} new results")
    parts = sorted(folder.rglob("state-*.tar.gz.*"))
    for script in sorted({part.name.partition(".tar.gz.")[0] for part in parts}):
        state.mkdir(parents=True, exist_ok=True)
        for old in state.glob(f"{script}.tar.gz.*"):
            old.unlink()
        mine = [part for part in parts if part.name.startswith(f"{script}.tar.gz.")]
        for part in mine:
            shutil.copyfile(part, state / part.name)
        size = sum(part.stat().st_size for part in mine) / 2**20
        told.append(f"{state / script}: {size:.1f} MiB, to be carried to the next call")
    return told


def _prefix(script: str) -> str:
    return f"state-{script}.tar.gz."


def _by_worth(work: Path) -> Iterator[Path]:
    """Yield the files of a script's folder, the most useful ones first.

    The checkpoint of a finished run serves nothing any more.
    """
    files = [
        path
        for path in sorted(work.rglob("*"))
        if path.is_file()
        and not set(_LEFT) & set(path.relative_to(work).parts)
        and not (path.name in _CHECKPOINTS and (path.parent / FINISHED).is_file())
    ]
    large = [path for path in files if path.stat().st_size > _SMALL or path.name in _CHECKPOINTS]
    yield from (path for path in files if path not in large)
    yield from sorted(large, key=lambda path: not (path.parent / FINISHED).is_file())
