"""Weights that others have published: names, addresses and figures; data alone.

Names and addresses are those of ChainerCV's `FCISResNet101`. It published no checksums and no
sizes; the arrays of the COCO model are 221 MiB, of the VOC model 198 MiB.

ChainerCV: experimental/links/model/fcis/fcis_resnet101.py:83-108, examples/fcis/README.md:5-15
@7159616. Official: README.md:49-58, 129-134, 159-162 @309f6c9 (reference: 7.4).
"""

import os
from dataclasses import dataclass

from fcis.core.errors import InputError

BASE = "https://chainercv-models.preferred.jp"
BASE_VARIABLE = "FCIS_WEIGHTS_URL"

# What the authors have published; there is no file of their VOC model.
RELEASED_COCO = "fcis_coco-0000.params"
RELEASED_COCO_ADDRESS = "https://1drv.ms/u/s!Am-5JzdW2XHzhqMJZmVOEDgfde8_tg"
RELEASED_IMAGENET = "resnet_v1_101-0000.params"
RELEASED_IMAGENET_ADDRESS = "https://1drv.ms/u/s!Am-5JzdW2XHzhqMEtxf1Ciym8uZ8sg"


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """One published file.

    Attributes:
        name: what users call it.
        file: its name at the address and in the cache.
        about: what it is.
        accuracy: as published, saying by whom and on what.
        conventions: under which it is meant to run.
        instead: what a user may convert who cannot have this file; empty where there is nothing.
        limit: bytes beyond which a file under its name is not the one.
        sha256: of the file, where its publisher states one.
    """

    name: str
    file: str
    about: str
    accuracy: str
    conventions: str
    instead: str = ""
    limit: int = 512 * 2**20
    sha256: str = ""


_TABLE = (
    Published(
        name="coco",
        file="fcis_resnet101_coco_converted_2019_01_30.npz",
        about="the release's COCO model, converted by ChainerCV",
        accuracy="minival: mask AP 29.2, AP50 50.8 by the release; 27.9, 46.3 by ChainerCV",
        conventions="release",
        instead=RELEASED_COCO,
    ),
    Published(
        name="voc",
        file="fcis_resnet101_sbd_converted_2018_07_02.npz",
        about="a VOC (SBD) model of the release's code, converted by ChainerCV",
        accuracy="SBD val: mAP^r 64.2 at IoU 0.5, 51.2 at 0.7 by ChainerCV",
        conventions="release",
    ),
    Published(
        name="coco-chainercv",
        file="fcis_resnet101_coco_trained_2019_01_30.npz",
        about="ChainerCV's own COCO model, random sampling instead of OHEM",
        accuracy="minival: mask AP 24.3, AP50 42.6 by ChainerCV",
        conventions="chainercv",
    ),
    Published(
        name="voc-chainercv",
        file="fcis_resnet101_sbd_trained_2018_06_22.npz",
        about="ChainerCV's own VOC (SBD) model",
        accuracy="SBD val: mAP^r 64.1 at IoU 0.5, 51.2 at 0.7 by ChainerCV",
        conventions="chainercv",
    ),
)

PUBLISHED: dict[str, Published] = {entry.name: entry for entry in _TABLE}


def address_of(entry: Published) -> str:
    """Return where a file is fetched from; `FCIS_WEIGHTS_URL` names a mirror of the folder.

    Raises:
        InputError: the variable is no http or https address.
    """
    base = os.environ.get(BASE_VARIABLE) or BASE
    if not base.startswith(("http://", "https://")):
        raise InputError(
            f"{BASE_VARIABLE}={base}: expected the http or https address of a folder, e.g. {BASE}"
        )
    return f"{base.rstrip('/')}/{entry.file}"
