"""The figures of the paper's Tables 1 to 4, as printed: per cent, and seconds an image.

Keys are the rows and columns of the plans. Table 1 is of VOC 2012 val, the others of COCO
test-dev; times are of an Nvidia K40 (Paper: 4.1, 4.2, 4.3; reference: 7.4).
"""

from collections.abc import Mapping

TEST_SECONDS, TRAIN_SECONDS = "test seconds", "training seconds"

_COCO = ("AP", "AP50", "AP_small", "AP_medium", "AP_large")

PAPER: Mapping[str, Mapping[str, Mapping[str, float]]] = {
    "table1": {
        "naive-mnc": {"mAP_r@0.5": 59.1, "mAP_r@0.7": 36.0},
        # its time stands in the text of section 4.1
        "instfcn-rfcn": {"mAP_r@0.5": 62.7, "mAP_r@0.7": 41.5, TEST_SECONDS: 1.27},
        "fcis-k1": {"mAP_r@0.5": 52.5, "mAP_r@0.7": 38.5},
        "fcis-separate": {"mAP_r@0.5": 63.9, "mAP_r@0.7": 49.7},
        "fcis": {"mAP_r@0.5": 65.7, "mAP_r@0.7": 52.1},
    },
    "table2": {
        # the text has one MNC with 10 layers a RoI; its five stages are those of the MNC paper
        "mnc": dict(zip(_COCO, (24.6, 44.3, 4.7, 25.9, 43.6), strict=True))
        | {TRAIN_SECONDS: 2.05, TEST_SECONDS: 1.37},
        "fcis": dict(zip(_COCO, (28.8, 48.7, 6.8, 30.8, 49.5), strict=True))
        | {TRAIN_SECONDS: 0.53, TEST_SECONDS: 0.24},
        "mnc-ohem": {TRAIN_SECONDS: 3.22, TEST_SECONDS: 1.37},
        "fcis-ohem": dict(zip(_COCO, (29.2, 49.5, 7.1, 31.3, 50.0), strict=True))
        | {TRAIN_SECONDS: 0.54, TEST_SECONDS: 0.24},
    },
    "table3": {
        "resnet50": {"AP": 27.1, "AP50": 46.7, TEST_SECONDS: 0.16},
        "resnet101": {"AP": 29.2, "AP50": 49.5, TEST_SECONDS: 0.24},
        "resnet152": {"AP": 29.5, "AP50": 49.8, TEST_SECONDS: 0.27},
    },
    "table4": {
        "baseline": {"AP": 29.2, "AP50": 49.5},
        "multi-scale-testing": {"AP": 32.0, "AP50": 51.9},
        "horizontal-flip": {"AP": 32.7, "AP50": 52.7},
        "multi-scale-training": {"AP": 33.6, "AP50": 54.5},
        "ensemble": {"AP": 37.6, "AP50": 59.9},
    },
}
"""Table, row, column; columns that the paper leaves out are not there."""
