"""Enlarging masks, storing them on a grid, cutting them out."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from fcis.model.pasting import enlarge, foreground, through_grid, tight_crop
from fcis.recipe.types import DetectionRecipe
from fcis.structures import MaskGrids

DETECTION = DetectionRecipe(mask_threshold=0.5)


def test_bilinear_is_opencv_s(shared):
    with np.load(shared / "golden" / "unit" / "unit_resize.npz") as file:
        values = torch.from_numpy(file["mask21"])
        for size in ((5, 8), (21, 21), (40, 13), (63, 90), (1, 1), (1, 30)):
            window = torch.tensor([[2, 3, 2 + size[1], 3 + size[0]]])
            grids = MaskGrids(
                values=values,
                shapes=torch.tensor([[21, 21]]),
                extents=window.float(),
            )
            canvas = (size[0] + 6, size[1] + 4)
            index, corner = torch.tensor([0]), torch.tensor([[0, 0]])
            found = enlarge(grids, window, index, corner, canvas)[0].numpy()
            golden = file[f"mask21_{size[0]}x{size[1]}_cv2"][0]
            # seen: 1.3e-6
            np.testing.assert_allclose(found[3:-3, 2:-2], golden, atol=2e-6)
            found[3:-3, 2:-2] = 0
            assert not found.any()


def test_box_without_width_is_harmless():
    grids = MaskGrids(
        values=torch.ones(2, 2, 2),
        shapes=torch.full((2, 2), 2),
        extents=torch.tensor([[3.0, 3, 3, 3], [0, 0, 8, 8]]),
    )
    windows = torch.tensor([[3, 3, 4, 4], [0, 0, 8, 8]])
    index, corner = torch.tensor([0, 1]), torch.tensor([[0, 0], [0, 0]])
    found = enlarge(grids, windows, index, corner, (8, 8))
    assert found.isfinite().all()
    assert found[0].nonzero().tolist() == [[3, 3]]


def test_no_grids_and_no_pixels():
    grids = MaskGrids(
        values=torch.ones(1, 2, 2),
        shapes=torch.full((1, 2), 2),
        extents=torch.tensor([[0.0, 0, 8, 8]]),
    )
    windows, none = torch.tensor([[0, 0, 8, 8]]), torch.zeros(0, dtype=torch.int64)
    assert enlarge(grids, windows, none, none.reshape(0, 2), (8, 8)).shape == (0, 8, 8)
    one, corner = torch.tensor([0]), torch.tensor([[0, 0]])
    assert enlarge(grids, windows, one, corner, (0, 3)).shape == (1, 0, 3)


@pytest.mark.parametrize("make", [torch.tensor, np.array])
def test_foreground(make):
    values = make([0.4, 0.5, 0.6])
    assert foreground(values, DETECTION, at_equal=True).tolist() == [False, True, True]
    assert foreground(values, DETECTION, at_equal=False).tolist() == [False, False, True]


def test_a_mask_stored_as_finely_as_its_pixels_comes_back():
    mean = torch.zeros(2, 8, 9)
    mean[0, 2:5, 3:6] = torch.tensor([[0.9, 0.1, 0.6], [0.7, 0.8, 0.2], [0.0, 0.6, 0.9]])
    bits = foreground(mean, DETECTION, at_equal=True)
    assert torch.equal(through_grid(mean, bits, 3, DETECTION), bits)
    # where nothing reaches the threshold nothing is stored
    assert not bits[1].any()


def test_what_lies_around_the_tight_box_does_not_matter():
    """Storing a mask that was cut to its foreground gives the same pixels."""
    generator = torch.Generator().manual_seed(0)
    mean = torch.rand(1, 30, 40, generator=generator)
    mean[:, :4], mean[:, 25:], mean[:, :, :7], mean[:, :, 31:] = 0.1, 0.4, 0.3, 0.2
    bits = foreground(mean, DETECTION, at_equal=True)
    cut = (slice(None), slice(4, 25), slice(7, 31))
    assert bits[cut][0].any(dim=0)[[0, -1]].all() and bits[cut][0].any(dim=1)[[0, -1]].all()
    for at_equal in (False, True):
        recipe = replace(DETECTION, stored_at_equal=at_equal)
        whole = through_grid(mean, bits, 21, recipe)
        assert torch.equal(whole[cut], through_grid(mean[cut], bits[cut], 21, recipe))
        assert whole.sum() == whole[cut].sum() > 50


def test_tight_crop():
    bits = np.zeros((5, 6), dtype=bool)
    assert tight_crop(bits, left=3, top=4) is None
    assert tight_crop(np.zeros((0, 0), dtype=bool), left=3, top=4) is None
    bits[1, 2] = bits[3, 4] = True
    crop = tight_crop(bits, left=10, top=20)
    assert crop is not None and (crop.top, crop.left) == (21, 12)
    assert crop.bits.tolist() == [[True, False, False], [False, False, False], [False, False, True]]
    bits[1, 2] = False
    assert crop.bits[0, 0], "a crop keeps its own pixels"
