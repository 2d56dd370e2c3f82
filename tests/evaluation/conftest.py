"""Predictions made from a ground truth by spoiling it, and data sets drawn by hand."""

import json
import warnings

import numpy as np
import pytest
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from scipy import ndimage


def encode(mask):
    """A results list's form of a mask, as JSON holds it."""
    rle = coco_mask.encode(np.asfortranarray(mask, dtype=np.uint8))
    return {"size": list(map(int, rle["size"])), "counts": rle["counts"].decode()}


def decode(annotation, size):
    """The dense mask of an annotation or detection, by pycocotools."""
    segmentation = annotation["segmentation"]
    if isinstance(segmentation, list):
        segmentation = coco_mask.merge(coco_mask.frPyObjects(segmentation, *size))
    elif isinstance(segmentation["counts"], list):
        segmentation = coco_mask.frPyObjects(segmentation, *size)
    with warnings.catch_warnings():  # its compiled part is older than the NumPy here
        warnings.simplefilter("ignore", DeprecationWarning)
        return coco_mask.decode(segmentation).astype(bool)


def detection(mask, *, image_id=1, category_id=1, score=0.9):
    rle = encode(mask)
    return {
        "image_id": image_id,
        "category_id": category_id,
        "bbox": [float(v) for v in coco_mask.toBbox(rle)],
        "segmentation": rle,
        "score": score,
    }


def dataset(instances, *, num_images=1, categories=(1,), size=(40, 60)):
    """A ground truth from (image id, category id, mask) or (..., mask, is crowd)."""
    annotations = []
    for number, (image_id, category_id, mask, *is_crowd) in enumerate(instances):
        rle = encode(mask)
        annotations.append(
            {
                "id": number,
                "image_id": image_id,
                "category_id": category_id,
                "bbox": [float(v) for v in coco_mask.toBbox(rle)],
                "segmentation": rle,
                "area": int(mask.sum()),
                "iscrowd": int(bool(is_crowd and is_crowd[0])),
            }
        )
    return {
        "images": [{"id": i + 1, "height": size[0], "width": size[1]} for i in range(num_images)],
        "annotations": annotations,
        "categories": [{"id": i, "name": f"thing {i}"} for i in categories],
    }


def rectangle(x, y, w, h, size=(40, 60)):
    mask = np.zeros(size, dtype=bool)
    mask[y : y + h, x : x + w] = True
    return mask


def _spoil(mask, rng):
    """Shift, and dilate or erode a mask by up to two pixels and a twelfth of its size."""
    rows, columns = np.nonzero(mask)
    limit = int(min(2, len(rows) ** 0.5 / 6))
    limit += int(len(rows) ** 0.5 / 12)
    down, right = rng.integers(-limit, limit + 1, size=2)
    change = rng.integers(-limit, limit + 1) // 2
    height, width = mask.shape
    margin = 2 * limit + 2
    canvas = np.pad(mask, margin)
    top, left = rows.min(), columns.min()
    window = canvas[top : rows.max() + 1 + 2 * margin, left : columns.max() + 1 + 2 * margin].copy()
    if change > 0:
        window = ndimage.binary_dilation(window, iterations=int(change))
    if change < 0:
        window = ndimage.binary_erosion(window, iterations=int(-change))
    canvas[:] = False
    rows, columns = np.nonzero(window)
    canvas[rows + top + down, columns + left + right] = True
    return canvas[margin : margin + height, margin : margin + width]


def spoiled(truth, *, seed, extra=20):
    """Detections from annotations: moved, resized, dropped, doubled, mislabelled, invented.

    Scores have two decimals, so that many are equal, also across images.
    """
    rng = np.random.default_rng(seed)
    sizes = {image["id"]: (image["height"], image["width"]) for image in truth["images"]}
    categories = [category["id"] for category in truth["categories"]]
    detections = []
    for annotation in truth["annotations"]:
        mask = decode(annotation, sizes[annotation["image_id"]])
        if not mask.any():
            continue
        for _ in range(rng.choice([0, 1, 2], p=[0.15, 0.7, 0.15])):
            label = rng.choice(categories) if rng.random() < 0.1 else annotation["category_id"]
            changed = _spoil(mask, rng)
            if changed.any():
                score = round(float(rng.beta(4, 2)), 2)
                place = {"image_id": annotation["image_id"], "category_id": int(label)}
                detections.append(detection(changed, **place, score=score))
    present = sorted({annotation["category_id"] for annotation in truth["annotations"]})
    for image_id, (height, width) in sizes.items():
        for _ in range(rng.integers(0, extra + 1)):
            x, y = rng.integers(0, width - 5), rng.integers(0, height - 5)
            w, h = rng.integers(3, 60, size=2)
            mask = rectangle(x, y, w, h, (height, width))
            place = {"image_id": image_id, "category_id": int(rng.choice(present))}
            score = round(float(rng.beta(2, 4)) + 0.001, 2)
            detections.append(detection(mask, **place, score=score))
    order = rng.permutation(len(detections))
    return [detections[i] for i in order]


@pytest.fixture(scope="session")
def all_nuclei(shared):
    """The nuclei validation images, up to 313 instances in one, and detections on them."""
    truth = json.loads((shared / "data/nuclei/val.json").read_text())
    return truth, spoiled(truth, seed=1)


@pytest.fixture(scope="session")
def nuclei(shared):
    """The first twelve of those images, the densest one among them."""
    truth = json.loads((shared / "data/nuclei/val.json").read_text())
    first = {image["id"] for image in truth["images"][:12]}
    truth["images"] = [image for image in truth["images"] if image["id"] in first]
    truth["annotations"] = [a for a in truth["annotations"] if a["image_id"] in first]
    return truth, spoiled(truth, seed=1)


@pytest.fixture(scope="session")
def coco_mini(shared):
    """Fifty COCO images, crowd regions and images without instances among them."""
    path = shared / "data/coco-mini/annotations/instances_val2017.json"
    truth = json.loads(path.read_text())
    return truth, spoiled(truth, seed=2)


@pytest.fixture(scope="session")
def make():
    """The functions that draw a data set by hand."""

    class Make:
        dataset = staticmethod(dataset)
        decode = staticmethod(decode)
        detection = staticmethod(detection)
        encode = staticmethod(encode)
        rectangle = staticmethod(rectangle)
        spoiled = staticmethod(spoiled)

    return Make


@pytest.fixture(scope="session")
def crowded_street():
    """A small random data set of two categories, crowd regions, and an image without instances."""
    rng = np.random.default_rng(5)
    instances = []
    for image_id in (1, 2, 3, 4):
        for _ in range(7):
            x, y, w, h = (int(v) for v in rng.integers((0, 0, 8, 8), (46, 28, 26, 22)))
            mask = rectangle(x, y, w, h)
            instances.append((image_id, int(rng.integers(1, 3)), mask, rng.random() < 0.15))
    truth = dataset(instances, num_images=5, categories=(1, 2))
    return truth, spoiled(truth, seed=6, extra=4)


@pytest.fixture(scope="session")
def quiet_api():
    """Build pycocotools' index of a ground truth without its printing."""
    import contextlib
    import copy
    import io

    def build(truth):
        api = COCO()
        api.dataset = copy.deepcopy(truth)
        with contextlib.redirect_stdout(io.StringIO()):
            api.createIndex()
        return api

    return build
