"""What a prediction is: the instances of one image, in its own pixels, as numpy on the CPU.

The end of the pipeline, and all that users see of it. Masks stay crops until somebody asks for
full-size ones.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from importlib import import_module
from typing import TYPE_CHECKING, Literal, overload

import numpy as np
from jaxtyping import Bool, Float, Float32, Float64, Int, Int64, UInt8, UInt16, UInt32
from PIL import Image

from fcis.core.coco_types import CocoDetection, ImageId
from fcis.core.errors import InputError
from fcis.core.masks import MaskCrop, crop_from_mask, rle_from_crop
from fcis.imaging.drawing import contact_sheet, draw_instances

if TYPE_CHECKING:
    import supervision  # pyright: ignore[reportMissingImports]

_MAX_MASK_BYTES = 8 * 2**30
_MOST_16_BITS = 2**16 - 1


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Instance:
    """One of the instances of an image.

    Attributes:
        label: 1..C.
        class_name: of the label.
        score: its confidence.
        box: (x0, y0, x1, y1) around its mask, right and bottom exclusive.
        crop: its mask, in pixels of the image.
    """

    label: int
    class_name: str
    score: float
    box: tuple[float, float, float, float]
    crop: MaskCrop

    @property
    def area(self) -> int:
        """Return the pixels of the mask."""
        return self.crop.area


# No equality: comparing arrays has no single answer
@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class Instances:
    """The instances found in one image; `len()` counts them, none are fine everywhere.

    Attributes:
        size: (height, width) of the original image.
        scores: confidence of each instance, in the order of the predictor (best first).
        labels: 1..C, indices into `class_names`.
        crops: the masks, in pixels of the original image.
        class_names: by label; index 0 is "background".
        category_ids: the dataset's ids by label; index 0 is 0.
        image: RGB, the original image; None where it was not kept.
        image_id: the dataset's id of the image; None if there is no dataset.
        file_name: where the image came from; empty for an array.

    Raises:
        ValueError: lengths differ, labels are out of range, or a crop or the image does not fit
            the size.
    """

    size: tuple[int, int]
    scores: Float32[np.ndarray, " n"]
    labels: Int64[np.ndarray, " n"]
    crops: tuple[MaskCrop, ...]
    class_names: tuple[str, ...]
    category_ids: tuple[int, ...]
    image: UInt8[np.ndarray, "height width 3"] | None = None
    image_id: ImageId | None = None
    file_name: str = ""

    def __post_init__(self) -> None:
        lengths = {"scores": len(self.scores), "labels": len(self.labels), "crops": len(self.crops)}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"instances: expected equal lengths, got {lengths}")
        if len(self.category_ids) != len(self.class_names):
            raise ValueError(
                f"category_ids: expected one for each of {len(self.class_names)} class names, "
                f"background included, got {len(self.category_ids)}"
            )
        last = len(self.class_names) - 1
        if len(self) and not 1 <= self.labels.min() <= self.labels.max() <= last:
            raise ValueError(
                f"labels: expected 1..{last}, got {self.labels.min()}..{self.labels.max()}"
            )
        height, width = self.size
        for index, crop in enumerate(self.crops):
            rows, columns = crop.bits.shape
            bottom, right = crop.top + rows, crop.left + columns
            if min(crop.top, crop.left) < 0 or bottom > height or right > width:
                raise ValueError(
                    f"crops: number {index}, {rows} x {columns} at ({crop.top}, {crop.left}), is "
                    f"not inside an image of {height} x {width}"
                )
        if self.image is not None and self.image.shape[:2] != self.size:
            raise ValueError(f"image: expected {height} x {width}, got {self.image.shape[:2]}")

    def __len__(self) -> int:
        """Return the number of instances."""
        return len(self.scores)

    def __iter__(self) -> Iterator[Instance]:
        """Yield one instance after the other, best first."""
        return (self[index] for index in range(len(self)))

    @overload
    def __getitem__(self, index: int) -> Instance: ...

    @overload
    def __getitem__(self, index: slice) -> "Instances": ...

    def __getitem__(self, index: int | slice) -> "Instance | Instances":
        """Return one instance, or some of them, as a list does.

        Raises:
            IndexError: there is none of that number.
        """
        if isinstance(index, slice):
            return self.select(np.arange(len(self))[index])
        number = range(len(self))[index]
        one = self.select(np.array([number]))
        x0, y0, x1, y1 = one.boxes[0].tolist()
        label = int(self.labels[number])
        return Instance(
            label=label,
            class_name=self.class_names[label],
            score=float(self.scores[number]),
            box=(x0, y0, x1, y1),
            crop=self.crops[number],
        )

    def __repr__(self) -> str:
        """Return one line: how many of which class in what."""
        counts = np.bincount(self.labels, minlength=len(self.class_names))
        parts = [f"{counts[i]} {self.class_names[i]}" for i in np.argsort(-counts, kind="stable")]
        shown = ", ".join(parts[: min(3, np.count_nonzero(counts))])
        more = ", ..." if np.count_nonzero(counts) > 3 else ""
        name = f" {self.file_name!r}" if self.file_name else ""
        found = f": {shown}{more}" if len(self) else ""
        return f"<Instances{name} {self.size[0]} x {self.size[1]}, {len(self)}{found}>"

    @property
    def boxes(self) -> Float32[np.ndarray, "n 4"]:
        """Return the enclosing boxes (x0, y0, x1, y1) of the masks, right and bottom exclusive.

        In pixels of the original image; all zero for a mask without pixels. Computed at each
        call.
        """
        boxes = np.zeros((len(self), 4), dtype=np.float32)
        for box, crop in zip(boxes, self.crops, strict=True):
            inner = crop_from_mask(crop.bits)
            if inner.area:
                top, left = crop.top + inner.top, crop.left + inner.left
                rows, columns = inner.bits.shape
                box[:] = left, top, left + columns, top + rows
        return boxes

    @property
    def masks(self) -> Bool[np.ndarray, "n height width"]:
        """Return the full-size masks, unpacked at each call.

        Raises:
            ValueError: they would need more than 8 GiB.
        """
        shape = (len(self), *self.size)
        needed = len(self) * self.size[0] * self.size[1]
        if needed > _MAX_MASK_BYTES:
            raise ValueError(
                f"masks: {len(self)} of {self.size[0]} x {self.size[1]} would need "
                f"{needed / 2**30:.0f} GiB; use crops, or to_coco() for run lengths"
            )
        masks = np.zeros(shape, dtype=bool)
        for mask, crop in zip(masks, self.crops, strict=True):
            rows, columns = crop.bits.shape
            mask[crop.top : crop.top + rows, crop.left : crop.left + columns] = crop.bits
        return masks

    @property
    def areas(self) -> Int64[np.ndarray, " n"]:
        """Return the pixels of each mask."""
        return np.array([crop.area for crop in self.crops], dtype=np.int64)

    def label_image(self) -> UInt16[np.ndarray, "h w"] | UInt32[np.ndarray, "h w"]:
        """Return an image whose pixels are 0 or the number of their instance, from 1 on.

        Instance i of the list has the number i + 1. Where several have a pixel, it is that of the
        highest score, of equal ones the first. 16 bits, 32 for more than 65,535 instances.
        """
        kind = np.uint16 if len(self) <= _MOST_16_BITS else np.uint32
        image = np.zeros(self.size, dtype=kind)
        for number in np.argsort(-self.scores, kind="stable")[::-1].tolist():
            crop = self.crops[number]
            rows, columns = crop.bits.shape
            window = image[crop.top : crop.top + rows, crop.left : crop.left + columns]
            window[crop.bits] = number + 1
        return image

    def polygons(self) -> list[list[Float64[np.ndarray, "corner 2"]]]:
        """Return the outlines of each instance as (x, y) corners, along the edges of its pixels.

        One polygon for each piece whose pixels share edges, in pixels of the image. A hole is
        joined to the outside by a cut of no width, so that filling by the even-odd rule gives the
        mask again.
        """
        from fcis.core.outlines import outline, pieces_of  # brings scipy

        return [[outline(p).reshape(-1, 2) for p in pieces_of(crop)] for crop in self.crops]

    def to_supervision(self) -> "supervision.Detections":
        """Return the instances as `supervision.Detections`, names of the classes in `data`.

        Where there are none there are no masks either, as in the package's own empty ones.

        Raises:
            InputError: the package supervision is not there.
            ValueError: the masks would need more than 8 GiB.
        """
        try:
            package = import_module("supervision")
        except ImportError:
            raise InputError(
                "to_supervision: needs the package supervision; pip install "
                "'fcis-torch[supervision]'"
            ) from None
        return package.Detections(
            xyxy=self.boxes,
            mask=self.masks if len(self) else None,
            confidence=self.scores,
            class_id=self.labels,
            data={"class_name": np.array([self.class_names[label] for label in self.labels])},
        )

    def select(self, keep: Bool[np.ndarray, " n"] | Int[np.ndarray, " m"]) -> "Instances":
        """Return some of the instances: those where `keep` is true, or of these indices in order.

        Raises:
            ValueError: a boolean `keep` has another length.
        """
        if keep.dtype == bool and len(keep) != len(self):
            raise ValueError(f"keep: expected {len(self)} booleans, got {len(keep)}")
        index = np.flatnonzero(keep) if keep.dtype == bool else keep
        return replace(
            self,
            scores=self.scores[index],
            labels=self.labels[index],
            crops=tuple(self.crops[i] for i in index.tolist()),
        )

    def above(
        self, threshold: float | Mapping[str, float] | Float[np.ndarray, " label"]
    ) -> "Instances":
        """Return the instances with a score of at least `threshold`.

        Args:
            threshold: one for all classes, or one a class: a mapping from class names, or an
                array by label whose entry 0 is not used.

        Raises:
            ValueError: a class has no threshold, or the array has another length than
                `class_names`.
        """
        if isinstance(threshold, Mapping):
            missing = [name for name in self.class_names[1:] if name not in threshold]
            if missing:
                raise ValueError(f"threshold: no value for class {missing[0]!r}")
            threshold = np.array([0.0] + [threshold[name] for name in self.class_names[1:]])
        # In the precision of the scores: a score equal to the threshold must pass
        limits = np.asarray(threshold, dtype=np.float32)
        if limits.ndim == 1:
            if len(limits) != len(self.class_names):
                raise ValueError(
                    f"threshold: expected {len(self.class_names)} values, background included, "
                    f"got {len(limits)}"
                )
            limits = limits[self.labels]
        return self.select(self.scores >= limits)

    def to_coco(self, image_id: ImageId | None = None) -> list[CocoDetection]:
        """Return the instances as entries of a COCO results list, ready for `json.dump`.

        Categories carry the dataset's ids, boxes are (x, y, width, height), masks compressed run
        lengths of the whole image. Full-size masks are never built.

        Args:
            image_id: what to write as the image's id; None: the instances' own, which is None
                too (`null` in JSON) where the image came from no dataset.
        """
        image_id = self.image_id if image_id is None else image_id
        results: list[CocoDetection] = []
        for crop, box, label, score in zip(
            self.crops, self.boxes.tolist(), self.labels.tolist(), self.scores.tolist(), strict=True
        ):
            rle = rle_from_crop(crop, *self.size)
            x0, y0, x1, y1 = box
            results.append(
                {
                    "image_id": image_id,
                    "category_id": int(self.category_ids[label]),
                    "bbox": [x0, y0, x1 - x0, y1 - y0],
                    "segmentation": {"size": list(self.size), "counts": rle["counts"].decode()},
                    "score": score,
                    "file_name": self.file_name,
                }
            )
        return results

    def draw(
        self,
        *,
        color_by: Literal["class", "instance"] | None = None,
        text: bool | None = None,
        scale: int | None = None,
        fill: float | None = None,
    ) -> Image.Image:
        """Return a picture of the instances on their image, by `drawing.draw_instances`.

        Args:
            color_by: what a colour stands for; None: the instance if there is one class only.
            text: whether to write names and scores; None: where there is room.
            scale: how many times as large as the image the picture is; None: 1, more for small
                images.
            fill: opacity of the masks, 0..1.

        Raises:
            ValueError: the image was not kept.
        """
        if self.image is None:
            raise ValueError(
                "draw: these instances were made without their image; give it by "
                "dataclasses.replace(instances, image=...)"
            )
        return draw_instances(
            self.image,
            self.crops,
            self.labels,
            self.scores,
            self.class_names,
            color_by=color_by,
            text=text,
            scale=scale,
            fill=fill,
        )


def side_by_side(truth: Instances, prediction: Instances) -> Image.Image:
    """Return the annotated and the predicted instances of one image beside each other.

    Colours are those of `Instances.draw`; where they follow the instances, not the classes, they
    do not correspond between the two.

    Raises:
        ValueError: one of them was made without its image.
    """
    titles = [f"annotated: {len(truth)}", f"predicted: {len(prediction)}"]
    return contact_sheet([truth.draw(text=False), prediction.draw()], 2, titles)
