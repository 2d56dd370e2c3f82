"""Small sets of images in every format, and what is compared between them."""

import json
from dataclasses import replace

import numpy as np
import pytest
import scipy.io
from PIL import Image

from fcis.core.masks import mask_from_rle, rle_area, rle_box, rle_from_mask
from fcis.data.dataset import Annotation, Category, Dataset, FileSource, ImageRecord
from fcis.data.scenes.shape_scenes import scene_dataset

CITYSCAPES_IDS = (24, 25, 26, 27, 28, 31, 32, 33)


@pytest.fixture(scope="session")
def scenes():
    """Return two scenes of a seed, small ones by default."""

    def build(count=2, seed=5, size=(64, 80)):
        return scene_dataset(count, seed, size=size)

    return build


@pytest.fixture(scope="session")
def objects():
    """Return, for each image, the (label, pixels) of its objects in an order that is the same."""

    def listed(dataset):
        label_of = dataset.label_of
        return [
            sorted((label_of[a.category_id], a.is_crowd, a.rle["counts"]) for a in i.annotations)
            for i in dataset.images
        ]

    return listed


@pytest.fixture
def difficult(tmp_path):
    """A set of two images, one without objects, with holes, pieces, overlaps and a crowd."""
    masks = np.zeros((5, 20, 30), dtype=bool)
    masks[0, 2:12, 3:15] = True
    masks[0, 4:7, 5:9] = masks[0, 9, 9:12] = False  # two holes
    masks[1, 8:18, 10:20] = True  # over the first
    masks[1, 0:2, 25:30] = True  # a second piece, at the border
    masks[2, 15, 2] = masks[2, 16, 3] = True  # a diagonal
    masks[3, 10:20, 20:30] = np.random.default_rng(0).random((10, 10)) < 0.5
    masks[4, 14:20, 22:30] = True
    annotations = []
    for number, mask in enumerate(masks):
        rle = rle_from_mask(mask)
        annotations.append(
            Annotation(
                id=number + 1,
                category_id=(7, 7, 90, 3, 7)[number],
                box=rle_box(rle),
                mask=rle,
                area=float(rle_area(rle)),
                is_crowd=number == 4,
            )
        )
    folder = tmp_path / "difficult"
    (folder / "sub").mkdir(parents=True)
    names = ("sub/a b.png", "c.jpg")
    for name in names:
        noise = np.random.default_rng(1).integers(0, 256, (20, 30, 3), dtype=np.uint8)
        Image.fromarray(noise).save(folder / name)
    return Dataset(
        name="difficult",
        categories=(
            Category(id=3, name="no"),  # which YAML takes for false
            Category(id=7, name="traffic light"),
            Category(id=90, name="a/b: \u00fc"),
        ),
        images=tuple(
            ImageRecord(
                id=id,
                file_name=name,
                height=20,
                width=30,
                source=FileSource(path=folder / name),
                annotations=found,
            )
            for id, name, found in zip((17, 4), names, (tuple(annotations), ()), strict=True)
        ),
    )


@pytest.fixture
def without_crowds():
    def change(dataset):
        return replace(
            dataset,
            images=tuple(
                replace(i, annotations=tuple(a for a in i.annotations if not a.is_crowd))
                for i in dataset.images
            ),
        )

    return change


def maps(record, category_ids):
    """Return the map of objects, numbered from 1, and that of their categories."""
    numbers = np.zeros((record.height, record.width), dtype=np.uint8)
    classes = np.zeros_like(numbers)
    for number, annotation in enumerate(record.annotations, start=1):
        mask = mask_from_rle(annotation.rle)
        numbers[mask], classes[mask] = number, category_ids[annotation.category_id - 1]
    return numbers, classes


def names_of(dataset, start):
    return [f"2008_{start + n:06d}" for n in range(len(dataset))]


@pytest.fixture(scope="session")
def make_sbd():
    """Write scenes as SBD; the names of the splits go with them."""

    def write(root, **splits):
        for folder in ("img", "cls", "inst"):
            (root / folder).mkdir(parents=True, exist_ok=True)
        start = 0
        for split, dataset in splits.items():
            names = names_of(dataset, start)
            start += len(names)
            (root / f"{split}.txt").write_text("\n".join(names) + "\n")
            for name, record in zip(names, dataset.images, strict=True):
                Image.fromarray(record.read()).save(
                    root / "img" / f"{name}.jpg", quality=95, subsampling=0
                )
                numbers, classes = maps(record, range(1, 9))
                write_mat(root / "inst" / f"{name}.mat", "GTinst", numbers)
                write_mat(root / "cls" / f"{name}.mat", "GTcls", classes)
        return root

    return write


def write_mat(path, variable, values):
    content = {"Segmentation": values, "Boundaries": np.zeros((1, 1)), "CategoriesPresent": [1]}
    scipy.io.savemat(path, {variable: content}, do_compression=True)


@pytest.fixture(scope="session")
def make_mat():
    return write_mat


@pytest.fixture(scope="session")
def make_voc():
    """Write scenes as VOC, with palettes."""

    def write(root, **splits):
        for folder in ("JPEGImages", "SegmentationClass", "SegmentationObject"):
            (root / folder).mkdir(parents=True, exist_ok=True)
        (root / "ImageSets" / "Segmentation").mkdir(parents=True)
        start = 0
        for split, dataset in splits.items():
            names = names_of(dataset, start)
            start += len(names)
            lists = root / "ImageSets" / "Segmentation"
            (lists / f"{split}.txt").write_text("\n".join(names) + "\n")
            for name, record in zip(names, dataset.images, strict=True):
                Image.fromarray(record.read()).save(
                    root / "JPEGImages" / f"{name}.jpg", quality=95, subsampling=0
                )
                numbers, classes = maps(record, range(1, 9))
                for folder, values in (("Object", numbers), ("Class", classes)):
                    picture = Image.fromarray(values).convert("P")
                    picture.putpalette(np.random.default_rng(0).bytes(768))
                    picture.putdata(values.ravel().tolist())
                    picture.save(root / f"Segmentation{folder}" / f"{name}.png")
        return root

    return write


@pytest.fixture(scope="session")
def make_cityscapes():
    """Write scenes as Cityscapes."""

    def write(root, **splits):
        for split, dataset in splits.items():
            for number, record in enumerate(dataset.images):
                stem = f"ulm_{number:06d}_000019"
                image = root / "leftImg8bit" / split / "ulm" / f"{stem}_leftImg8bit.png"
                label = root / "gtFine" / split / "ulm" / f"{stem}_gtFine_instanceIds.png"
                for path in (image, label):
                    path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(record.read()).save(image)
                numbers, classes = maps(record, CITYSCAPES_IDS)
                values = np.where(numbers > 0, classes.astype(np.uint16) * 1000 + numbers, 4)
                Image.fromarray(values.astype(np.uint16)).save(label)
        return root

    return write


@pytest.fixture(scope="session")
def make_coco_root():
    """Write scenes laid out like COCO's downloads."""

    def write(root, **splits):
        (root / "annotations").mkdir(parents=True)
        for split, dataset in splits.items():
            (root / split).mkdir()
            for record in dataset.images:
                Image.fromarray(record.read()).save(root / split / record.file_name)
            path = root / "annotations" / f"instances_{split}.json"
            path.write_text(json.dumps(dataset.to_coco()))
        return root

    return write
