"""Categories that files of arrays do not name: those of the data sets of the release."""

COCO_NAMES = (
    "person", "bicycle", "car", "motorcycle", "airplane", "bus", "train", "truck", "boat",
    "traffic light", "fire hydrant", "stop sign", "parking meter", "bench", "bird", "cat", "dog",
    "horse", "sheep", "cow", "elephant", "bear", "zebra", "giraffe", "backpack", "umbrella",
    "handbag", "tie", "suitcase", "frisbee", "skis", "snowboard", "sports ball", "kite",
    "baseball bat", "baseball glove", "skateboard", "surfboard", "tennis racket", "bottle",
    "wine glass", "cup", "fork", "knife", "spoon", "bowl", "banana", "apple", "sandwich", "orange",
    "broccoli", "carrot", "hot dog", "pizza", "donut", "cake", "chair", "couch", "potted plant",
    "bed", "dining table", "toilet", "tv", "laptop", "mouse", "remote", "keyboard", "cell phone",
    "microwave", "oven", "toaster", "sink", "refrigerator", "book", "clock", "vase", "scissors",
    "teddy bear", "hair drier", "toothbrush",
)  # fmt: skip

_COCO_GAPS = frozenset((12, 26, 29, 30, 45, 66, 68, 69, 71, 83))
COCO_IDS = tuple(number for number in range(1, 91) if number not in _COCO_GAPS)

VOC_NAMES = (
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow",
    "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train",
    "tvmonitor",
)  # fmt: skip


def categories_of(count: int) -> tuple[str, tuple[str, ...], tuple[int, ...]]:
    """Return the data set that has so many categories, and their names and ids in label order.

    80 are COCO's and 20 VOC's; of others the set is '' and the names are `class 1`, ...

    Official: lib/dataset/coco.py:108-114, lib/dataset/pascal_voc.py:45-50 @309f6c9
    (reference: 7.3).
    """
    if count == len(COCO_NAMES):
        return "COCO", COCO_NAMES, COCO_IDS
    ids = tuple(range(1, count + 1))
    if count == len(VOC_NAMES):
        return "VOC", VOC_NAMES, ids
    return "", tuple(f"class {number}" for number in ids), ids
