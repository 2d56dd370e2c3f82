import numpy as np
import pytest

from fcis.data.scenes.shape_distances import Silhouette
from fcis.data.scenes.shape_layout import Layout, Placed, draw_layout


@pytest.fixture(scope="module")
def layouts():
    return [draw_layout(np.random.default_rng([7, i]), 200, 160) for i in range(60)]


def block(h, w, top, left, label=1):
    silhouette = Silhouette(bits=np.ones((h, w), bool), cover=np.ones((h, w), np.float32))
    return Placed(label=label, silhouette=silhouette, diameter=float(h), top=top, left=left)


def test_windows_are_cut_by_the_image():
    assert block(4, 5, -1, 2).window(10, 6) == (slice(0, 3), slice(2, 6))
    assert block(4, 5, 8, 0).window(10, 6) == (slice(8, 10), slice(0, 5))


def test_the_visible_part_is_a_tight_crop_in_the_frame_of_the_image():
    owner = np.full((6, 8), -1, dtype=np.int16)
    owner[1:5, 2:7] = 0
    owner[1:5, 2:4] = 1
    layout = Layout(objects=(block(4, 5, 1, 2), block(4, 2, 1, 2)), owner=owner)
    crop = layout.visible(0)
    assert (crop.top, crop.left, crop.bits.shape, crop.area) == (1, 4, (4, 3), 12)


def test_counts_and_sides_before_occlusion(layouts):
    counts = [len(layout.objects) for layout in layouts]
    sides = np.array([o.silhouette.sides for layout in layouts for o in layout.objects])
    assert min(counts) >= 3 and max(counts) <= 15
    assert set(range(4, 15)) <= set(counts)  # the whole range occurs
    assert sides.min() >= 16 and sides.max() <= 80
    assert (sides.max(axis=1) < 24).any() and (sides.max(axis=1) > 70).any()


def test_owners_follow_from_painting_the_objects_one_after_the_other(layouts):
    for layout in layouts[:20]:
        canvas = np.full((600, 600), -1)
        for index, o in enumerate(layout.objects):
            h, w = o.silhouette.sides
            canvas[200 + o.top :, 200 + o.left :][:h, :w][o.silhouette.bits] = index
        np.testing.assert_array_equal(layout.owner, canvas[200:400, 200:360])


def test_enough_of_every_object_is_visible(layouts):
    hidden = cut = 0
    for layout in layouts:
        for index, o in enumerate(layout.objects):
            seen, full = int((layout.owner == index).sum()), int(o.silhouette.bits.sum())
            assert seen >= 48 and seen >= 0.6 * full
            assert layout.visible(index).area == seen
            h, w = o.silhouette.sides
            is_cut = o.top < 0 or o.left < 0 or o.top + h > 200 or o.left + w > 160
            assert o.top >= -h // 4 and o.left >= -w // 4
            assert o.top + h <= 200 + h // 4 and o.left + w <= 160 + w // 4
            cut += is_cut
            hidden += seen < full and not is_cut
    assert hidden > 60 and cut > 20  # occlusion and cuts by the border are common


def test_the_stream_decides():
    first = draw_layout(np.random.default_rng(1), 128, 128)
    again = draw_layout(np.random.default_rng(1), 128, 128)
    other = draw_layout(np.random.default_rng(2), 128, 128)
    np.testing.assert_array_equal(first.owner, again.owner)
    assert not np.array_equal(first.owner, other.owner)


@pytest.mark.parametrize("size", [(63, 256), (256, 40)])
def test_images_without_room_are_refused(size):
    with pytest.raises(ValueError, match="size: expected sides of 64 px or more, got"):
        draw_layout(np.random.default_rng(0), *size)
