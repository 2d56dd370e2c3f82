"""Images of every kind, and how they are written."""

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
