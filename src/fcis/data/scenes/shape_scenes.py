"""Synthetic scenes of overlapping shapes: as many as wanted, of any size, drawn when read.

The arrow from (seed, index, size) to an image with exact masks, and to a `Dataset` of such
images. A scene is a pure function of those numbers, on every machine and in every process.
Shape alone tells the category; in most scenes two objects of one category touch or overlap, the
case that a map without positions cannot separate.

Paper: figure 2.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int64, UInt8

from fcis.core.errors import InputError
from fcis.core.masks import rle_from_crop
from fcis.data.dataset import Annotation, Category, Dataset, ImageRecord
from fcis.data.scenes.shape_distances import SHAPES
from fcis.data.scenes.shape_layout import MIN_IMAGE_SIDE, Layout, draw_layout
from fcis.data.scenes.shape_paint import paint

CATEGORIES: tuple[Category, ...] = tuple(
    Category(id=label, name=shape.name) for label, shape in enumerate(SHAPES, start=1)
)
"""The categories of every scene; id and label are the same number."""

SIZE = (256, 256)
"""Height and width of a scene unless another size is asked for."""

# Streams of random numbers of a scene: masks do not depend on how the scene is painted.
_GEOMETRY, _APPEARANCE = 0, 1
# Ids of annotations: those of scene i start at this many times i (a scene has up to 15 objects).
_IDS_PER_SCENE = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """A drawn scene; objects are ordered from the hindmost to the foremost.

    Attributes:
        image: RGB.
        masks: the visible pixels of each object; no pixel belongs to two.
        category_ids: the category of each object, 1..8.
        full_sides: (height, width) in pixels of each object's box before others hide parts of
            it or the border cuts it.
    """

    image: UInt8[np.ndarray, "height width 3"]
    masks: Bool[np.ndarray, "object height width"]
    category_ids: Int64[np.ndarray, " object"]
    full_sides: Int64[np.ndarray, "object 2"]


def _stream(seed: int, index: int, size: tuple[int, int], purpose: int) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64([seed, index, *size, purpose]))


def _layout(seed: int, index: int, size: tuple[int, int], *, apart: bool = False) -> Layout:
    if seed < 0 or index < 0:
        raise ValueError(f"seed, index: expected numbers from 0 on, got {seed}, {index}")
    return draw_layout(_stream(seed, index, size, _GEOMETRY), *size, apart=apart)


def render_scene(seed: int, index: int, size: tuple[int, int] = SIZE) -> Scene:
    """Return scene number `index` of a seed; `size` is (height, width) in pixels.

    Raises:
        ValueError: the seed or the index is negative, or a side is under 64 px.
    """
    layout = _layout(seed, index, size)
    count = len(layout.objects)
    return Scene(
        image=paint(layout, _stream(seed, index, size, _APPEARANCE)),
        masks=layout.owner[None] == np.arange(count, dtype=np.int16)[:, None, None],
        category_ids=np.array([placed.label for placed in layout.objects], dtype=np.int64),
        full_sides=np.array([o.silhouette.sides for o in layout.objects], dtype=np.int64),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class SceneSource:
    """The pixels of a scene, drawn at each read; `apart` as in `scene_dataset`."""

    seed: int
    index: int
    size: tuple[int, int]
    apart: bool = False

    def read(self) -> UInt8[np.ndarray, "height width 3"]:
        """Return the RGB image."""
        layout = _layout(self.seed, self.index, self.size, apart=self.apart)
        return paint(layout, _stream(self.seed, self.index, self.size, _APPEARANCE))

    def __str__(self) -> str:
        return f"scene {self.index} of seed {self.seed}"


def scene_record(
    seed: int, index: int, size: tuple[int, int] = SIZE, *, apart: bool = False
) -> ImageRecord:
    """Return a scene as an image of a dataset, with its annotations but without its pixels.

    The image's id is `index + 1`. Objects are ordered from the hindmost to the foremost; boxes
    are the tight boxes of the masks.

    Raises:
        ValueError: the seed or the index is negative, or a side is under 64 px.
    """
    layout = _layout(seed, index, size, apart=apart)
    return ImageRecord(
        id=index + 1,
        file_name=f"scene-{seed}-{index:06d}.png",
        height=size[0],
        width=size[1],
        source=SceneSource(seed=seed, index=index, size=size, apart=apart),
        annotations=annotations_of(layout, first_id=_IDS_PER_SCENE * index + 1),
    )


def annotations_of(layout: Layout, *, first_id: int) -> tuple[Annotation, ...]:
    """Return the objects of a layout as annotations: their visible pixels, tight boxes of these.

    Args:
        layout: its labels become category ids.
        first_id: of the annotations, which count from there.
    """
    height, width = layout.owner.shape
    annotations: list[Annotation] = []
    for number, placed in enumerate(layout.objects):
        crop = layout.visible(number)
        rows, columns = crop.bits.shape
        box = (crop.left, crop.top, crop.left + columns, crop.top + rows)
        annotations.append(
            Annotation(
                id=first_id + number,
                category_id=placed.label,
                box=(float(box[0]), float(box[1]), float(box[2]), float(box[3])),
                mask=rle_from_crop(crop, height, width),
                area=float(crop.area),
            )
        )
    return tuple(annotations)


def scene_dataset(
    count: int, seed: int, *, size: tuple[int, int] = SIZE, apart: bool = False
) -> Dataset:
    """Return the first `count` scenes of a seed; `size` is (height, width) in pixels.

    Masks are computed at once, a few milliseconds a scene of the usual size; pixels are drawn
    whenever an image is read. A longer dataset of the same seed and size begins with the shorter.

    With `apart` the scenes are others, in which no two objects of one category touch: a method
    that does not depend on the place in a RoI can learn these, and fails where they touch.

    Raises:
        InputError: the count is under 1, the seed is negative, or a side is under 64 px.
    """
    if count < 1:
        raise InputError(f"scenes: {count} images asked for; give 1 or more, as in scenes:100")
    if seed < 0:
        raise InputError(f"scenes: the seed is {seed}; give 0 or more, as in scenes:100:7")
    if min(size) < MIN_IMAGE_SIDE:
        raise InputError(
            f"scenes: images of {size[0]} x {size[1]} pixels (height x width) are too small; "
            f"give sides of {MIN_IMAGE_SIDE} or more"
        )
    return Dataset(
        name=f"scenes:{count}:{seed}" + (":apart" if apart else ""),
        categories=CATEGORIES,
        images=tuple(scene_record(seed, index, size, apart=apart) for index in range(count)),
    )
