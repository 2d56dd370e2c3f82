"""Read damaged copies of a file where memory is limited; run as a script by the tests of readers.

Arguments: reader as module:function, the file, the number of copies. Prints the number of copies
that were read, and by how many KiB the memory in use grew.
"""

import importlib
import random
import resource
import subprocess
import sys
import warnings
from pathlib import Path

EXTREMES = (0, 1, 2, 0x7F, 0xFF, 0xFFFF, 2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**63 - 1, 2**64 - 1)
GIB = 2**30


def damaged(data, rng):
    """One copy: bits turned over, cut short, numbers overwritten, or pieces moved."""
    data = bytearray(data)
    kind = rng.choice(("bits", "cut", "number", "number", "number", "piece"))
    # most of what can go wrong is near the ends
    near = min(120, len(data) - 1)
    place = rng.choice((rng.randrange(near), rng.randrange(len(data)), len(data) - 1 - near))
    if kind == "bits":
        for _ in range(rng.choice((1, 1, 2, 8))):
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    elif kind == "cut":
        del data[rng.randrange(len(data)) :]
    elif kind == "number":
        width = rng.choice((1, 2, 4, 8))
        value = rng.choice((*EXTREMES, rng.randrange(1 << 8 * width))) % (1 << 8 * width)
        start = place + rng.randrange(near)
        data[start : start + width] = value.to_bytes(width, "little")
    else:
        piece = data[place : place + rng.randrange(1, 40)]
        start = rng.randrange(len(data))
        data[start : start + rng.choice((0, len(piece)))] = piece
    return bytes(data)


def survive(reader, path, count):
    """Run this script; returns how many copies were read and the growth of memory in bytes."""
    done = subprocess.run(
        [sys.executable, __file__, reader, path, str(count)],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    read, grown = map(int, done.stdout.split())
    return read, grown * 1024


def main(reader, path, count):
    from fcis.core.errors import InputError

    module, function = reader.split(":")
    read = getattr(importlib.import_module(module), function)
    data, target, rng = (
        path.read_bytes(),
        path.with_suffix(f".damaged{path.suffix}"),
        random.Random(7),
    )
    read(path)  # whatever is loaded the first time counts as before
    statm = Path("/proc/self/statm")
    if statm.is_file():
        used = int(statm.read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + GIB, used + GIB))
    before, successes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, 0
    for number in range(count):
        target.write_bytes(damaged(data, rng))
        try:
            arrays = read(target)
        except InputError as error:
            text = str(error)
            if not text.startswith(f"{target}: ") or "\n" in text or "; " not in text:
                raise SystemExit(f"copy {number}: {text!r}") from None
            continue
        except Exception:
            print(f"copy {number} of {path}", file=sys.stderr)
            raise
        successes += 1
        for name, array in arrays.items():
            array.sum()  # all of it is there
            assert isinstance(name, str)
    print(successes, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)


if __name__ == "__main__":
    warnings.simplefilter("ignore", RuntimeWarning)  # sums of damaged numbers overflow
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
