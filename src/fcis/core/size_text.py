"""Sizes of files for people."""

_KIB, _MIB = 2**10, 2**20  # bytes


def size_text(size: int) -> str:
    """Return a number of bytes for people, rounded."""
    return f"{size / _MIB:.1f} MiB" if size >= _MIB else f"{size / _KIB:.0f} KiB"
