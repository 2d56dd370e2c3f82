"""What every metric reads: a COCO ground truth and a COCO results list, checked and decoded once.

Nothing here knows a model or how a data set is read; ids are the data set's own.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from fcis.core.coco_types import (
    CocoCategory,
    CocoDataset,
    CocoDetection,
    CocoMask,
    ImageId,
    Number,
)
from fcis.core.errors import InputError
from fcis.core.masks import RLE, rle_from_counts, rle_from_polygons

# Detections below are left out of every figure but the operating threshold's.
MIN_SCORE = 0.001
# The operating threshold of a category for which none has been found.
DEFAULT_THRESHOLD = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class TrueInstance:
    """An annotated instance; the box is (x, y, width, height), the area the annotation's own."""

    image_id: ImageId
    category_id: int
    mask: RLE
    box: tuple[float, float, float, float]
    area: float
    is_crowd: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredInstance:
    """A detected instance; the box is (x, y, width, height)."""

    image_id: ImageId
    category_id: int
    mask: RLE
    box: tuple[float, float, float, float]
    score: float


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationSet:
    """A ground truth and the detections on it.

    Attributes:
        image_sizes: (height, width) of each image id.
        category_names: name of each category id, in the order of the data set.
        truth: all annotations, crowd regions among them.
        detections: in the order of the results list.
    """

    image_sizes: Mapping[ImageId, tuple[int, int]]
    category_names: Mapping[int, str]
    truth: tuple[TrueInstance, ...]
    detections: tuple[ScoredInstance, ...]


def read_evaluation_set(
    ground_truth: CocoDataset, detections: Sequence[CocoDetection]
) -> EvaluationSet:
    """Return both sides with every mask as a compressed RLE of its image's size.

    Raises:
        InputError: an instance names an image or a category that the ground truth does not have,
            or its segmentation does not fit its image.
    """
    sizes = {
        image["id"]: (int(image["height"]), int(image["width"])) for image in ground_truth["images"]
    }
    names = _unique_names(ground_truth["categories"])
    truth = []
    for annotation in ground_truth["annotations"]:
        who = f"annotation {annotation['id']}"
        image_id = _image_of(who, annotation["image_id"], sizes)
        _check_category(who, annotation["category_id"], names)
        truth.append(
            TrueInstance(
                image_id=image_id,
                category_id=annotation["category_id"],
                mask=_mask(who, annotation["segmentation"], sizes[image_id]),
                box=_box(annotation["bbox"]),
                area=float(annotation["area"]),
                is_crowd=bool(annotation.get("iscrowd", 0)),
            )
        )
    found = []
    for index, detection in enumerate(detections):
        who = f"detection {index}"
        image_id = _image_of(who, detection["image_id"], sizes)
        _check_category(who, detection["category_id"], names)
        found.append(
            ScoredInstance(
                image_id=image_id,
                category_id=detection["category_id"],
                mask=_mask(who, detection["segmentation"], sizes[image_id]),
                box=_box(detection["bbox"]),
                score=float(detection["score"]),
            )
        )
    return EvaluationSet(
        image_sizes=sizes, category_names=names, truth=tuple(truth), detections=tuple(found)
    )


def strongest(
    evaluation_set: EvaluationSet, max_detections: int, min_score: float = MIN_SCORE
) -> EvaluationSet:
    """Return the same ground truth with the detections that count, in their own order.

    Those are the ones with a score of at least `min_score`, and of each image, over all its
    categories, the `max_detections` highest; of equal scores the earlier one stays.
    """
    detections = evaluation_set.detections
    by_image: defaultdict[ImageId, list[int]] = defaultdict(list)
    for index, detection in enumerate(detections):
        if detection.score >= min_score:
            by_image[detection.image_id].append(index)
    kept: list[int] = []
    for indices in by_image.values():
        kept += sorted(indices, key=lambda index: -detections[index].score)[:max_detections]
    return replace(evaluation_set, detections=tuple(detections[index] for index in sorted(kept)))


def _unique_names(categories: Sequence[CocoCategory]) -> dict[int, str]:
    """Return the name of each id; names that occur twice get their id appended."""
    counts: defaultdict[str, int] = defaultdict(int)
    for category in categories:
        counts[category["name"]] += 1
    return {
        category["id"]: category["name"]
        if counts[category["name"]] == 1
        else f"{category['name']} (id {category['id']})"
        for category in categories
    }


def _image_of(
    who: str, image_id: ImageId | None, sizes: Mapping[ImageId, tuple[int, int]]
) -> ImageId:
    """Return the id, which must be that of an image of the ground truth."""
    if image_id is None or image_id not in sizes:
        raise InputError(
            f"{who}: image_id {image_id!r} is not among the {len(sizes)} images of the ground "
            "truth; evaluate predictions of the same data set"
        )
    return image_id


def _check_category(who: str, category_id: int, names: Mapping[int, str]) -> None:
    if category_id not in names:
        known = ", ".join(map(str, list(names)[:10])) + (", ..." if len(names) > 10 else "")
        raise InputError(
            f"{who}: category_id {category_id!r} is not a category of the ground truth ({known}); "
            "evaluate weights that were trained on the same categories"
        )


def _mask(
    who: str, segmentation: Sequence[Sequence[Number]] | CocoMask, size: tuple[int, int]
) -> RLE:
    if not isinstance(segmentation, Mapping):
        # Fewer than three points enclose nothing, and the COCO API reads two points as a box.
        polygons = [list(map(float, polygon)) for polygon in segmentation if len(polygon) >= 6]
        if not polygons:
            raise InputError(
                f"{who}: segmentation has no polygon of three points; remove it or draw its outline"
            )
        return rle_from_polygons(polygons, *size)
    counts = segmentation["counts"]
    if tuple(segmentation["size"]) != size:
        raise InputError(
            f"{who}: segmentation is {list(segmentation['size'])}, its image {list(size)} (height, "
            "width); both must be of the same image"
        )
    if isinstance(counts, str):
        return {"size": list(size), "counts": counts.encode("ascii")}
    if isinstance(counts, bytes):
        return {"size": list(size), "counts": counts}
    return rle_from_counts(counts, *size)


def _box(bbox: Sequence[Number]) -> tuple[float, float, float, float]:
    x, y, width, height = map(float, bbox)
    return x, y, width, height
