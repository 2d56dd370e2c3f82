"""A very large image in tiles against its parts one by one: memory, time, AP50, double counts.

Nuclei images are laid out in random order and orientation until a square is full, those of one
shape in a row, a few dark pixels between them, and their annotations with them. The square is a
PNG file that goes through the network in tiles, read row by row, as `fcis predict --tile` does;
then each part alone, as `fcis predict` does without tiles.

What makes the two comparable: each part's levels are stretched before anything else, so that the
percentiles of the square and of its parts agree, as in a slide of one exposure. Both are judged
by the same code on the same truth, part by part: a detection in the square belongs to the part
that holds most of its mask, and is cut to it. All detections count, however many. What is left
is the seams between tiles, and that a tile's `max_detections` are not a part's.

A double count is an annotated nucleus that holds most of two or more detections above the
operating threshold; those that more than one tile sees are counted by themselves.

    python benchmarks/tiling.py path/to/nuclei --weights runs/nuclei --side 12000
"""

import argparse
import os
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from records import add_record

from fcis.core.coco_types import CocoDetection
from fcis.core.masks import (
    MaskCrop,
    crop_box,
    crop_from_mask,
    mask_from_rle,
    pixels_in,
    pixels_in_both,
)
from fcis.data.dataset import ImageRecord
from fcis.data.formats.coco import read_coco
from fcis.evaluation.report import evaluate
from fcis.imaging.instances import Instances
from fcis.imaging.strips.picture import open_picture
from fcis.inference.load_predictor import load_any
from fcis.inference.predictor import Predictor
from fcis.inference.preprocess import stretch_levels
from fcis.inference.tiling.tile_grid import TileGrid, make_tiling, plan_tiles

NAME = "tiling"
GAP = 8  # dark pixels between parts, so that nuclei of two parts never touch
STRETCH = (0.1, 99.8)
PAGE = os.sysconf("SC_PAGE_SIZE")
COVERED = 0.5  # of a detection, to be counted as one of a nucleus


@dataclass
class Part:
    """An image at a place in the square."""

    top: int
    left: int
    image: np.ndarray
    truth: list[MaskCrop]
    found: list[tuple[MaskCrop, float]] = field(default_factory=list)

    @property
    def box(self) -> tuple[int, int, int, int]:
        """Return (top, left, bottom, right) in the square."""
        height, width = self.image.shape[:2]
        return self.top, self.left, self.top + height, self.left + width


def oriented(array: np.ndarray, turn: int) -> np.ndarray:
    """Return one of the eight orientations of an image or a mask."""
    array = np.rot90(array, turn % 4)
    return np.ascontiguousarray(array[:, ::-1] if turn >= 4 else array)


def compose(folder: Path, split: str, side: int, seed: int) -> list[Part]:
    """Return parts that fill a square, row by row; the last of each row and column are cut.

    A row holds images of one shape, so that little between them stays empty, and each shape gets
    the share of the square that it has of the split.
    """
    rng = np.random.default_rng(seed)
    shapes: dict[tuple[int, int], list[ImageRecord]] = defaultdict(list)
    for record in read_coco(folder / f"{split}.json").images:
        low, high = sorted((record.height, record.width))
        shapes[low, high].append(record)
    queues: dict[tuple[int, int], list[ImageRecord]] = {shape: [] for shape in shapes}
    filled = dict.fromkeys(shapes, 0.0)
    parts: list[Part] = []
    top = 0
    while top < side:
        # the shape that is furthest behind its share
        shape = min(shapes, key=lambda s: filled[s] / (len(shapes[s]) * s[0] * s[1]))
        height = shape[int(rng.integers(2))]
        left = 0
        while left < side:
            queue = queues[shape]
            if not queue:
                queue += [shapes[shape][i] for i in rng.permutation(len(shapes[shape]))]
            part = _place(queue.pop(), height, (top, left), side, rng)
            parts.append(part)
            left += part.image.shape[1] + GAP
        filled[shape] += (min(top + height, side) - top) * side
        top += height + GAP
    return parts


def _place(
    record: ImageRecord, height: int, corner: tuple[int, int], side: int, rng: np.random.Generator
) -> Part:
    """Return an image in a random one of the orientations that have this height."""
    top, left = corner
    turn = int(rng.integers(4)) * 2
    if record.height != height or (record.height == record.width and rng.integers(2)):
        turn += 1
    image = stretch_levels(record.read(), STRETCH).round().astype(np.uint8)
    image = oriented(image, turn)[: side - top, : side - left]
    truth = []
    for annotation in record.annotations:
        mask = oriented(mask_from_rle(annotation.rle), turn)[: image.shape[0], : image.shape[1]]
        if mask.any():
            truth.append(crop_from_mask(mask))
    return Part(top, left, np.ascontiguousarray(image), truth)


def write_square(parts: list[Part], side: int, path: Path) -> None:
    """Write the image of all parts."""
    square = np.zeros((side, side, 3), dtype=np.uint8)
    for part in parts:
        top, left, bottom, right = part.box
        square[top:bottom, left:right] = part.image
    Image.fromarray(square).save(path, compress_level=1)


@contextmanager
def peak_memory() -> Iterator[list[int]]:
    """Measure the most resident memory beyond what there was; its list holds bytes at the end."""

    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE

    start, done, peak = resident(), threading.Event(), [0]

    def watch() -> None:
        while not done.wait(0.02):
            peak[0] = max(peak[0], resident() - start)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield peak
    finally:
        done.set()
        thread.join()


def in_tiles(
    predictor: Predictor, path: Path, tile: int, overlap: int | None
) -> tuple[Instances, float, int, int]:
    """Return the instances of the square, seconds, additional bytes, and how many are shown."""
    tiling = make_tiling(tile, overlap)
    with peak_memory() as peak:
        started = time.perf_counter()
        found = predictor.detect_picture(open_picture(path), tiling)
        results = predictor.shown(found).to_coco("square")
        seconds = time.perf_counter() - started
    return found, seconds, peak[0], len(results)


def assign(parts: list[Part], found: Instances) -> None:
    """Give each detection to the part that holds most of it, cut to that part."""
    tops, lefts, bottoms, rights = np.array([part.box for part in parts]).T
    for crop, score in zip(found.crops, found.scores.tolist(), strict=True):
        top, left, bottom, right = crop_box(crop)
        touched = (tops < bottom) & (lefts < right) & (bottoms > top) & (rights > left)
        near = [parts[i] for i in np.flatnonzero(touched)]
        part = max(near, key=lambda part: pixels_in(crop, part.box), default=None)
        if part is None or not pixels_in(crop, part.box):
            continue  # between two parts
        y, x = max(top, part.top), max(left, part.left)
        end_y, end_x = min(bottom, part.box[2]), min(right, part.box[3])
        bits = crop.bits[y - top : end_y - top, x - left : end_x - left]
        part.found.append((MaskCrop(top=y - part.top, left=x - part.left, bits=bits), score))


def one_by_one(predictor: Predictor, parts: list[Part]) -> float:
    """Look at each part alone; return seconds."""
    started = time.perf_counter()
    for part in parts:
        (found,) = predictor.detect([part.image])
        part.found = list(zip(found.crops, found.scores.tolist(), strict=True))
    return time.perf_counter() - started


def entries(part: Part, number: int, found: list[tuple[MaskCrop, float]]) -> list[CocoDetection]:
    """Return masks with scores in a part, which is an image with this number."""
    return Instances(
        size=part.image.shape[:2],
        scores=np.array([score for _, score in found], dtype=np.float32),
        labels=np.ones(len(found), dtype=np.int64),
        crops=tuple(crop for crop, _ in found),
        class_names=("background", "nucleus"),
        category_ids=(0, 1),
    ).to_coco(number)


def figures(parts: list[Part], threshold: float, grid: TileGrid) -> dict[str, float | None]:
    """Return the mask figures of what was found in the parts, and the double counts."""
    images, annotations, detections = [], [], list[CocoDetection]()
    for number, part in enumerate(parts, start=1):
        height, width = part.image.shape[:2]
        images.append({"id": number, "height": height, "width": width})
        detections += entries(part, number, part.found)
        annotated = entries(part, number, [(crop, 1.0) for crop in part.truth])
        for crop, entry in zip(part.truth, annotated, strict=True):
            annotations.append(entry | {"id": len(annotations) + 1, "area": crop.area})
    truth = {
        "images": images,
        "annotations": annotations,
        "categories": [{"id": 1, "name": "nucleus"}],
    }
    report = evaluate(truth, detections, max_detections=100_000, thresholds={1: threshold})
    segm = report.segm.to_json()
    at_seams, elsewhere = double_counts(parts, threshold, grid)
    return {
        **{name: segm[name] for name in ("AP", "AP50", "AP75")},
        "dsb": report.dsb["0.50"],
        "double_at_seams": at_seams,
        "double_elsewhere": elsewhere,
    }


def double_counts(parts: list[Part], threshold: float, grid: TileGrid) -> tuple[int, int]:
    """Return how many nuclei were counted more than once: those at seams, and others."""

    def is_seen_twice(spans: tuple[tuple[int, int], ...], start: int, end: int) -> bool:
        return sum(start < high and low < end for low, high in spans) > 1

    at_seams = others = 0
    for part in parts:
        shown = [crop for crop, score in part.found if score >= threshold]
        for truth in part.truth:
            count = sum(pixels_in_both(crop, truth) >= COVERED * crop.area for crop in shown)
            if count < 2:
                continue
            top, left, bottom, right = crop_box(truth)
            if is_seen_twice(grid.rows, part.top + top, part.top + bottom) or is_seen_twice(
                grid.columns, part.left + left, part.left + right
            ):
                at_seams += 1
            else:
                others += 1
    return at_seams, others


def main() -> None:
    """Compose, detect both ways, and write one line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("nuclei", type=Path, help="folder with val.json and images/")
    parser.add_argument("--weights", required=True)
    parser.add_argument("--split", default="val")
    parser.add_argument("--side", type=int, default=12_000)
    parser.add_argument("--tile", type=int, default=512)
    parser.add_argument("--overlap", type=int)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int)
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    parts = compose(options.nuclei, options.split, options.side, options.seed)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "square.png"
        write_square(parts, options.side, path)
        predictor = load_any(options.weights, device=options.device)
        found, seconds, peak, shown = in_tiles(predictor, path, options.tile, options.overlap)
    threshold = float(predictor.info.threshold_of()[1])
    tiling = make_tiling(options.tile, options.overlap)
    grid = plan_tiles((options.side, options.side), tiling)
    assign(parts, replace(found, image=None))
    tiled = figures(parts, threshold, grid) | {"seconds": round(seconds, 1), "shown": shown}
    alone = one_by_one(predictor, parts)
    plain = figures(parts, threshold, grid) | {"seconds": round(alone, 1)}
    told = {
        "side": options.side,
        "tile": tiling.size,
        "overlap": tiling.overlap,
        "tiles": len(grid),
        "parts": len(parts),
        "nuclei": sum(len(part.truth) for part in parts),
        "split": options.split,
        "additional_mib": round(peak / 2**20),
        "tiled": tiled,
        "one_by_one": plain,
    }
    add_record(NAME, told, device=options.device)


if __name__ == "__main__":
    main()
