"""Annotated objects -> polygons: those they have, or such along the edges of their pixels."""

import numpy as np
from jaxtyping import Float64

from fcis.core.masks import crop_from_rle
from fcis.core.outlines import outline, pieces_of
from fcis.data.dataset import Annotation, Polygons
from fcis.data.formats.bounds import is_within


def one_outline(annotation: Annotation) -> Float64[np.ndarray, " coordinate"]:
    """Return a single polygon for an object that has a pixel, with all its pieces and holes.

    An object that is one polygon within the image keeps it.
    """
    mask = annotation.mask
    if isinstance(mask, Polygons) and len(mask.parts) == 1 and is_within(mask):
        return mask.parts[0]
    return outline(crop_from_rle(annotation.rle))


def outlines(annotation: Annotation) -> list[Float64[np.ndarray, " coordinate"]]:
    """Return polygons whose union is the object, with its holes; none if it has no pixel.

    An object that is polygons within the image keeps them; otherwise there is one for each piece
    whose pixels share edges.
    """
    mask = annotation.mask
    if isinstance(mask, Polygons) and is_within(mask):
        return list(mask.parts)
    return [outline(piece) for piece in pieces_of(crop_from_rle(annotation.rle))]
