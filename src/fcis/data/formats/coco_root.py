"""A folder laid out like COCO's downloads -> `RawDataset`, one split of it.

`annotations/instances_SPLIT.json`, or `image_info_SPLIT.json` where COCO keeps the annotations to
itself, and images in `SPLIT/` or `images/SPLIT/`. Exports with `SPLIT/_annotations.coco.json`
beside the images are read, too.
"""

import re
from dataclasses import replace
from pathlib import Path

from fcis.core.errors import InputError
from fcis.data.checks.raw import RawDataset
from fcis.data.formats.coco import raw_coco
from fcis.data.formats.folders import choose_split

_NAME = re.compile(r"(instances|image_info)_(?P<split>.+)\.json")
_EXPORT = "_annotations.coco.json"

# Splits that have been put together from the images of another (reference: 7.2).
_IMAGES = {
    "minival2014": "val2014",
    "valminusminival2014": "val2014",
    "test-dev2015": "test2015",
    "test-dev2017": "test2017",
}
_UNION = "trainval35k"
_UNITED = ("train2014", "valminusminival2014")


def coco_splits(path: Path) -> dict[str, tuple[Path, ...]]:
    """Return the annotation files of every split of a folder, in alphabetical order.

    `trainval35k`, which the release trains on, is `train2014` and `valminusminival2014` together.
    """
    splits: dict[str, tuple[Path, ...]] = {}
    files = (path / "annotations").glob("*.json")
    # those with annotations come last, and win
    for file in sorted(files, key=lambda f: (not f.name.startswith("image_info_"), f.name)):
        match = _NAME.fullmatch(file.name)
        if match is not None:  # other tasks have files of other names
            splits[match["split"]] = (file,)
    for file in path.glob(f"*/{_EXPORT}"):
        splits.setdefault(file.parent.name, (file,))
    if all(name in splits for name in _UNITED):
        united = tuple(file for name in _UNITED for file in splits[name])
        splits.setdefault(_UNION, united)
    return dict(sorted(splits.items()))


def raw_coco_root(
    path: Path,
    split: str | None,
    images_dir: str | Path | None = None,
    *,
    require_annotations: bool = True,
) -> RawDataset:
    """Read a split of a COCO root as `raw_coco` does its annotation file.

    Args:
        path: the root.
        split: the end of a file's name, or None if there is only one.
        images_dir: where the images lie, or the folders of the splits; if not given, in the root.
        require_annotations: refuse files without annotations.

    Raises:
        InputError: no such split, or its files cannot be read or do not belong together.
    """
    splits = coco_splits(path)
    if not splits:
        raise InputError(
            f"{path}: no annotations/instances_*.json in it; name a COCO root or a .json"
        )
    split = choose_split(path, split, list(splits))
    names = _UNITED if len(splits[split]) > 1 else (split,)
    parts = [
        raw_coco(file, _images_dir(path, name, images_dir), require_annotations=require_annotations)
        for name, file in zip(names, splits[split], strict=True)
    ]
    return replace(_united(parts), name=f"{path.name}:{split}")


def _images_dir(path: Path, split: str, given: str | Path | None) -> Path | None:
    """Return the folder of a split's images, None if it is left to `raw_coco` to find it."""
    folder = _IMAGES.get(split, split)
    bases = [path, path / "images"] if given is None else [Path(given)]
    for base in bases:
        if (base / folder).is_dir():
            return base / folder
    return None if given is None else Path(given)


def _united(parts: list[RawDataset]) -> RawDataset:
    """Return the images of datasets that share their categories, and no image."""
    first = parts[0]
    if len(parts) == 1:
        return first
    parts = [replace(part, images=tuple(part.images)) for part in parts]
    ids = {image.id for image in parts[0].images}
    for part in parts[1:]:
        if part.categories != first.categories:
            raise InputError(
                f"{part.name}: its categories are not those of {first.name}; use the files of one "
                "release"
            )
        common = ids & {image.id for image in part.images}
        if common:
            raise InputError(
                f"{part.name}: {len(common)} of its images are in {first.name}, too, the first is "
                f"{min(map(str, common))}; use the files of one release"
            )
    counts = [part.counts for part in parts if part.counts]
    return replace(
        first,
        prefix="",
        images=tuple(image for part in parts for image in part.images),
        findings=tuple(finding for part in parts for finding in part.findings),
        counts=(sum(c[0] for c in counts), sum(c[1] for c in counts), counts[0][2]),
    )
