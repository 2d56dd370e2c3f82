"""What the package supervision makes of instances; a script, for an environment that has it."""

import numpy as np
import supervision as sv

from fcis.core.masks import crop_from_mask
from fcis.imaging.instances import Instances

NAMES = ("background", "cat", "dog")
SIDE = 96


def made(masks: np.ndarray, labels: list[int], scores: list[float]) -> Instances:
    """Return instances with these masks."""
    return Instances(
        size=(SIDE, SIDE),
        scores=np.array(scores, dtype=np.float32),
        labels=np.array(labels, dtype=np.int64),
        crops=tuple(crop_from_mask(mask) for mask in masks),
        class_names=NAMES,
        category_ids=(0, 5, 9),
    )


def some() -> tuple[Instances, np.ndarray]:
    """Return a disc with a hole, a square and two pieces, and their masks."""
    rows, columns = np.mgrid[:SIDE, :SIDE]
    distance = np.hypot(rows - 30.5, columns - 24.5)
    masks = np.zeros((3, SIDE, SIDE), dtype=bool)
    masks[0] = (distance < 20) & (distance > 5)
    masks[1, 60:90, 60:84] = True
    masks[2, 50:60, 4:20] = masks[2, 70:80, 10:30] = True
    return made(masks, [2, 1, 2], [0.75, 0.5, 0.25]), masks


def check_values() -> None:
    """Every value is at its place, in the types that the package works with."""
    instances, masks = some()
    found = instances.to_supervision()
    assert type(found) is sv.Detections and len(found) == 3 and not found.is_empty()
    np.testing.assert_array_equal(found.mask, masks)
    assert np.asarray(found.mask).dtype == bool
    np.testing.assert_array_equal(found.xyxy, instances.boxes)
    assert found.xyxy.tolist()[1] == [60, 60, 84, 90]
    np.testing.assert_array_equal(found.class_id, [2, 1, 2])
    np.testing.assert_array_equal(found.confidence, instances.scores)
    assert found.data["class_name"].tolist() == ["dog", "cat", "dog"]
    # what the package computes of them
    np.testing.assert_array_equal(found.area, instances.areas)
    # boxes of its own end with the last pixel
    np.testing.assert_array_equal(sv.mask_to_xyxy(masks), instances.boxes - [0, 0, 1, 1])
    best = found[found.confidence > 0.4]
    assert best.data["class_name"].tolist() == ["dog", "cat"] and len(best.mask) == 2
    # the square and the lower piece are apart, so each instance overlaps itself alone
    assert len(found.with_nms(threshold=0.1, class_agnostic=True)) == 3


def check_an_empty_result() -> None:
    """Nothing is a result too, and can be put together with others."""
    nothing = made(np.zeros((0, SIDE, SIDE), dtype=bool), [], []).to_supervision()
    assert len(nothing) == 0 and nothing.is_empty() and list(nothing) == []
    assert nothing.xyxy.shape == (0, 4) and nothing.mask is None
    both = sv.Detections.merge([nothing, some()[0].to_supervision()])
    assert len(both) == 3 and list(both.data["class_name"]) == ["dog", "cat", "dog"]
    for annotator in (sv.MaskAnnotator(), sv.LabelAnnotator()):
        picture = annotator.annotate(scene=grey(), detections=nothing)
        np.testing.assert_array_equal(picture, grey())


def check_drawing() -> None:
    """Masks are coloured where they are and nowhere else; labels say the classes."""
    instances, masks = some()
    found = instances.to_supervision()
    picture = sv.MaskAnnotator().annotate(scene=grey(), detections=found)
    np.testing.assert_array_equal((picture != grey()).any(axis=2), masks.any(axis=0))
    named = sv.LabelAnnotator().annotate(scene=grey(), detections=found)
    words = list(found.data["class_name"])
    written = sv.LabelAnnotator().annotate(scene=grey(), detections=found, labels=words)
    np.testing.assert_array_equal(named, written)
    numbers = sv.LabelAnnotator().annotate(scene=grey(), detections=found, labels=["1", "2", "3"])
    assert (named != grey()).any() and (named != numbers).any()


def grey() -> np.ndarray:
    """Return an image to draw on."""
    return np.full((SIDE, SIDE, 3), 128, dtype=np.uint8)


if __name__ == "__main__":
    check_values()
    check_an_empty_result()
    check_drawing()
    print("supervision", sv.__version__)
