"""Raw datasets in memory, for tests."""

import numpy as np

from fcis.data.checks import faults
from fcis.data.checks.check import check
from fcis.data.checks.raw import RawDataset, RawImage, RawObject
from fcis.data.dataset import Category

CELL, DOT = Category(id=1, name="cell"), Category(id=2, name="dot")


class Drawn:
    """An image of 20 x 30 without a file."""

    def read(self):
        return np.zeros((20, 30, 3), dtype=np.uint8)


def square(x, **changes):
    outline = [x, 3, x + 5, 3, x + 5, 13, x, 13]
    raw = RawObject(f"object {x}", x, 1, [outline], [x, 3, 5, 10], 50)
    return raw._replace(**changes)


def image(*objects, id=1, **changes):
    values = {"source": Drawn(), "stated": (20, 30), **changes}
    return RawImage(id=id, file_name=f"{id}.png", objects=lambda size: objects, **values)


def raw_with(*images, categories=(CELL,), **changes):
    return RawDataset(name="x", categories=categories, images=images, **changes)


def found_in(raw, **options):
    """Return the check, and (kind, sentence, fix) of each finding of a notable size."""
    checked = check(raw, **options)
    found = [(f.kind, str(f), f.fix) for f in checked.findings]
    return checked, [item for item in found if item[0] is not faults.SMALL_OBJECTS]


def ids(checked):
    return [a.id for record in checked.dataset.images for a in record.annotations]
