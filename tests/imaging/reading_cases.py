"""Images of every kind, and how they are written."""

import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

RNG = np.random.default_rng(0)
COLOUR = RNG.integers(0, 256, (5, 7, 3), dtype=np.uint8)
GREY = RNG.integers(0, 256, (5, 7), dtype=np.uint8)
ALPHA = RNG.integers(0, 256, (5, 7), dtype=np.uint8)
ON_BLACK = COLOUR * (ALPHA / 255.0)[:, :, None]
DEEP = RNG.integers(300, 60000, (40, 50)).astype(np.uint16)  # more than 8 bits


def save(folder: Path, name: str, image: Image.Image, **options) -> Path:
    path = folder / name
    image.save(path, **options)
    return path


def png(header: tuple[int, int, int, int], stream: bytes, *before: bytes) -> bytes:
    """Return a PNG of (width, height, depth, colour type), pixels as the stream has them."""
    chunks = [_chunk(b"IHDR", struct.pack(">IIBBBBB", *header, 0, 0, 0)), *before]
    return b"".join([b"\x89PNG\r\n\x1a\n", *chunks, _chunk(b"IDAT", stream), _chunk(b"IEND", b"")])


def _chunk(kind: bytes, body: bytes) -> bytes:
    checksum = zlib.crc32(kind + body)
    return struct.pack(">I4s", len(body), kind) + body + struct.pack(">I", checksum)
