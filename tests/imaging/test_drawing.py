import itertools

import numpy as np
import pytest
from PIL import Image

from fcis.core.masks import MaskCrop
from fcis.imaging.drawing import FILL_OPACITY, class_color, contact_sheet, draw_instances

TWO_CLASSES = ("background", "cat", "dog")
ONE_CLASS = ("background", "nucleus")


def grey(level, height=400, width=400):
    return np.full((height, width, 3), level, dtype=np.uint8)


def rectangle(top, left, rows, columns):
    return MaskCrop(top=top, left=left, bits=np.ones((rows, columns), dtype=bool))


def draw(image, crops, labels=None, names=TWO_CLASSES, scores=None, **options):
    labels = np.array([1] * len(crops) if labels is None else labels, dtype=np.int64)
    options = {"text": False, "scale": 1, **options}
    return np.asarray(draw_instances(image, crops, labels, scores, names, **options))


def luminance(color):
    value = np.asarray(color) / 255
    linear = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
    return linear @ [0.2126, 0.7152, 0.0722]


def contrast(first, second):
    """The contrast ratio of the WCAG 2: 1 for equal colours, 21 for black on white."""
    low, high = sorted((luminance(first), luminance(second)))
    return (high + 0.05) / (low + 0.05)


class TestMasksAndContours:
    def test_fill_contour_halo_and_background_of_a_square(self):
        picture = draw(grey(100), [rectangle(100, 100, 80, 80)]).astype(int)
        color = np.array(class_color(1))
        # 400 pixels give lines of 2 pixels inside the mask and a halo of 1 outside
        middle = picture[140, 90:110]
        assert np.allclose(middle[10:12], color, atol=8)
        assert np.allclose(middle[13:], (1 - FILL_OPACITY) * 100 + FILL_OPACITY * color, atol=3)
        assert (middle[9] < 60).all()
        assert (middle[:8] == 100).all()

    def test_a_hole_has_a_contour_and_keeps_the_image(self):
        bits = np.ones((90, 90), dtype=bool)
        bits[30:60, 30:60] = False
        picture = draw(grey(200), [MaskCrop(top=50, left=50, bits=bits)]).astype(int)
        assert (picture[95, 95] == 200).all()
        assert np.allclose(picture[95, 78:80], class_color(1), atol=8)
        assert (picture[95, 80] < 120).all()

    def test_small_masks_are_painted_over_large_ones(self):
        crops = [rectangle(150, 150, 20, 20), rectangle(100, 100, 150, 150)]
        picture = draw(grey(0), crops, [2, 1]).astype(int)
        under = FILL_OPACITY * np.array(class_color(1))
        over = (1 - FILL_OPACITY) * under + FILL_OPACITY * np.array(class_color(2))
        assert np.allclose(picture[160, 160], over, atol=4)

    def test_contours_stay_visible_under_later_masks(self):
        # The small one lies across the large one's border
        crops = [rectangle(100, 100, 150, 150), rectangle(160, 80, 40, 40)]
        picture = draw(grey(0), crops, [1, 2]).astype(int)
        assert np.allclose(picture[180, 100:102], class_color(1), atol=8)

    def test_opacity_of_masks_can_be_chosen(self):
        crops = [rectangle(100, 100, 80, 80)]
        assert (draw(grey(90), crops, fill=0.0)[140, 140] == 90).all()
        assert np.allclose(draw(grey(90), crops, fill=1.0)[140, 140], class_color(1), atol=1)

    def test_empty_margins_of_a_crop_do_not_matter(self):
        bits = np.pad(np.ones((30, 20), dtype=bool), 15)
        loose = draw(grey(50), [MaskCrop(top=85, left=85, bits=bits)], scale=2)
        assert np.array_equal(loose, draw(grey(50), [rectangle(100, 100, 30, 20)], scale=2))

    @pytest.mark.parametrize("scale", [1, 2, 3])
    def test_thin_and_single_pixels_are_seen(self, scale):
        thin = MaskCrop(top=20, left=20, bits=np.eye(30, dtype=bool))
        crops = [thin, rectangle(10, 70, 1, 1), rectangle(80, 10, 1, 60)]
        change = np.abs(draw(grey(0, 100, 100), crops, scale=scale).astype(int)).max(axis=2)
        pixels = (
            [(20 + i, 20 + i) for i in range(30)] + [(10, 70)] + [(80, 10 + i) for i in range(60)]
        )
        for row, column in pixels:
            square = change[row * scale : (row + 1) * scale, column * scale : (column + 1) * scale]
            assert square.max() > 140

    def test_the_image_itself_is_not_changed(self):
        image = grey(10)
        draw(image, [rectangle(0, 0, 100, 100)], text=True)
        assert (image == 10).all()

    @pytest.mark.parametrize("level", [0, 64, 128, 192, 255])
    def test_contours_are_legible_on_any_grey(self, level):
        labels = range(1, 37)  # the palette, and some of the colours beyond
        crops = [rectangle(20 + 60 * i, 20 + 60 * j, 40, 40) for i in range(6) for j in range(6)]
        picture = draw(grey(level), crops, labels, ["class"] * 37)
        for crop in crops:
            row, column = crop.top + 20, crop.left
            background, halo, line = (picture[row, column + step] for step in (-5, -1, 1))
            assert max(contrast(background, halo), contrast(halo, line)) > 3

    def test_contours_are_legible_on_their_own_colour(self):
        for label in range(1, 25):
            image = np.full((60, 60, 3), class_color(label), dtype=np.uint8)
            picture = draw(image, [rectangle(20, 20, 20, 20)], [label], ["class"] * 25)
            assert contrast(picture[30, 19], picture[30, 20]) > 2.5


class TestBorders:
    @pytest.mark.parametrize(("top", "left"), [*itertools.product([0, 180, 360], repeat=2)])
    def test_objects_and_names_at_every_border_stay_inside(self, top, left):
        crop = rectangle(top, left, 40, 40)
        scores = np.array([0.5], dtype=np.float32)
        picture = draw(grey(0), [crop], [1], scores=scores, text=True)
        assert picture.shape == (400, 400, 3)
        # The whole name is there: as many of its pixels as in the middle of the picture
        name = (picture == class_color(1)).all(axis=2).sum()
        middle = draw(grey(0), [rectangle(180, 180, 40, 40)], [1], scores=scores, text=True)
        assert name >= 0.6 * (middle == class_color(1)).all(axis=2).sum()

    def test_an_object_that_fills_the_image(self):
        picture = draw(grey(0), [rectangle(0, 0, 400, 400)], fill=0.0)
        assert np.allclose(picture[0, 5:-5], class_color(1), atol=8)
        assert (picture[10:-10, 10:-10] == 0).all()

    def test_names_on_an_image_of_one_pixel(self):
        picture = draw(grey(0, 1, 1), [rectangle(0, 0, 1, 1)], text=True)
        assert picture.shape == (1, 1, 3)


class TestEmpty:
    @pytest.mark.parametrize("names", [ONE_CLASS, TWO_CLASSES, ("background",)])
    def test_no_instances_give_the_image(self, names):
        image = np.random.default_rng(0).integers(0, 256, (330, 340, 3), dtype=np.uint8)
        picture = draw(image, [], [], names, scores=np.zeros(0), scale=None, text=None)
        assert np.array_equal(picture, image)

    def test_an_instance_without_pixels_is_left_out(self):
        empty = MaskCrop(top=0, left=0, bits=np.zeros((1, 1), dtype=bool))
        crops = [empty, rectangle(100, 100, 50, 50)]
        scores = np.array([0.9, 0.8])
        both = draw(grey(0), crops, [1, 2], scores=scores, text=True)
        one = draw(grey(0), crops[1:], [2], scores=scores[1:], text=True)
        assert np.array_equal(both, one)


class TestColors:
    def test_classes_are_told_apart(self):
        colors = np.array([class_color(label) for label in range(1, 25)], dtype=int)
        for first, second in itertools.combinations(colors, 2):
            assert np.abs(first - second).max() >= 30

    def test_more_classes_than_the_palette_has(self):
        colors = [class_color(label) for label in range(1, 366)]
        assert len(set(colors)) >= 0.95 * 365
        assert all(0 <= value <= 255 for color in colors for value in color)

    def test_dark_names_are_legible_on_every_colour(self):
        for label in range(1, 366):
            assert contrast(class_color(label), (0, 0, 0)) > 4.5

    def test_a_class_has_its_colour_whatever_else_is_there(self):
        names = [f"class {i}" for i in range(10)]
        alone = draw(grey(0), [rectangle(100, 100, 50, 50)], [7], names)
        crops = [rectangle(10, 10, 30, 30), rectangle(100, 100, 50, 50), rectangle(200, 9, 70, 20)]
        among = draw(grey(0), crops, [3, 7, 1], names)
        assert np.array_equal(alone[90:160, 90:160], among[90:160, 90:160])

    @pytest.mark.parametrize("color_by", ["class", "instance"])
    def test_order_of_instances_does_not_matter(self, color_by):
        rng = np.random.default_rng(3)
        places = rng.integers(0, 330, (40, 2))
        sizes = rng.integers(5, 60, (40, 2))
        crops = [rectangle(*map(int, (*p, *s))) for p, s in zip(places, sizes, strict=True)]
        labels, scores = rng.integers(1, 3, 40), rng.random(40)
        options = {"color_by": color_by, "text": None}
        first = draw(grey(80), crops, labels, scores=scores, **options)
        order = rng.permutation(40)
        again = [crops[i] for i in order]
        second = draw(grey(80), again, labels[order], scores=scores[order], **options)
        assert np.array_equal(first, second)
        assert np.array_equal(first, draw(grey(80), crops, labels, scores=scores, **options))

    def test_order_of_classes_on_one_mask_does_not_matter(self):
        crops = [rectangle(100, 100, 50, 50)] * 2
        assert np.array_equal(draw(grey(0), crops, [1, 2]), draw(grey(0), crops, [2, 1]))

    def test_neighbours_of_one_class_have_contours_of_different_shades(self):
        crops = [rectangle(100, 100, 50, 100), rectangle(150, 100, 50, 50)]
        crops += [rectangle(150, 150, 50, 50), rectangle(300, 300, 50, 50)]
        picture = draw(grey(0), crops)
        lines = [tuple(picture[c.top + 25, c.left + 1].tolist()) for c in crops]
        fills = [tuple(picture[c.top + 25, c.left + 25].tolist()) for c in crops]
        assert len(set(lines)) == 3
        assert len(set(fills)) == 1
        assert lines[3] == lines[0]  # alone, it has the colour of its class

    def test_one_class_is_coloured_by_instance(self):
        crops = [rectangle(10 + 40 * i, 10 + 40 * j, 39, 39) for i in range(8) for j in range(8)]
        picture = draw(grey(0), crops, names=ONE_CLASS)
        fills = picture[29 : 29 + 320 : 40, 29 : 29 + 320 : 40].astype(int)
        assert (np.abs(fills[1:] - fills[:-1]).max(axis=2) > 8).all()
        assert (np.abs(fills[:, 1:] - fills[:, :-1]).max(axis=2) > 8).all()

    def test_colouring_can_be_chosen(self):
        crops = [rectangle(100, 100, 50, 50), rectangle(250, 250, 50, 50)]
        by_class = draw(grey(0), crops, names=ONE_CLASS, color_by="class")
        assert (by_class[125, 125] == by_class[275, 275]).all()
        by_instance = draw(grey(0), crops, names=TWO_CLASSES, color_by="instance")
        assert (by_instance[125, 125] != by_instance[275, 275]).any()


class TestNames:
    def test_a_name_stands_above_its_instance_on_its_colour(self):
        crop, scores = rectangle(200, 150, 100, 100), np.array([0.75])
        plain = draw(grey(0), [crop], scores=scores)
        named = draw(grey(0), [crop], scores=scores, text=True)
        rows, columns = np.nonzero((plain != named).any(axis=2))
        assert 175 < rows.min() <= rows.max() < 200
        assert abs((columns.min() + columns.max()) / 2 - 199.5) < 2
        box = named[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
        assert (box == class_color(1)).all(axis=2).mean() > 0.5
        assert (box.max(axis=2) < 60).sum() > 30  # the letters

    def test_scores_are_written_where_given(self):
        crop = [rectangle(200, 150, 100, 100)]
        first, second, none = (
            draw(grey(0), crop, scores=scores, text=True)
            for scores in (np.array([0.75]), np.array([0.25]), None)
        )
        assert (first != second).any()
        assert (first != none).any()

    def test_dense_nuclei_get_no_names(self):
        crops = [rectangle(10 + 20 * i, 10 + 20 * j, 15, 15) for i in range(12) for j in range(12)]
        plain = draw(grey(0), crops, names=ONE_CLASS)
        assert np.array_equal(plain, draw(grey(0), crops, names=ONE_CLASS, text=None))
        assert not np.array_equal(plain, draw(grey(0), crops, names=ONE_CLASS, text=True))

    def test_few_large_instances_get_names(self):
        crops = [rectangle(50, 50, 100, 100), rectangle(250, 250, 100, 100)]
        automatic = draw(grey(0), crops, [1, 2], text=None)
        assert np.array_equal(automatic, draw(grey(0), crops, [1, 2], text=True))
        assert not np.array_equal(automatic, draw(grey(0), crops, [1, 2]))

    def test_names_avoid_each_other(self):
        # Narrow neighbours, whose names would overlap if all stood above
        crops = [rectangle(200, 150 + 20 * i, 40, 20) for i in range(3)]
        plain = draw(grey(0), crops, fill=0.0)

        def written(some):
            scores = np.ones(len(some))
            named = draw(grey(0), some, scores=scores, text=True, fill=0.0)
            blank = draw(grey(0), some, fill=0.0) if len(some) < 3 else plain
            return (named != blank).any(axis=2)

        alone = sum(written([crop]).sum() for crop in crops)
        assert written(crops).sum() > 0.97 * alone

    def test_names_do_not_hide_small_instances(self):
        # The place above the large one is taken by a small one
        crops = [rectangle(200, 150, 100, 100), rectangle(188, 195, 8, 10)]
        named, plain = (draw(grey(0), crops, [1, 2], text=text) for text in (True, False))
        assert np.array_equal(named[188:196, 195:205], plain[188:196, 195:205])

    @pytest.mark.parametrize(
        ("squares", "lengths", "places"),  # cells of the picture, of which the square is (1, 1)
        [  # 4 / 90 < 0.05 < 4 / 60, 4 / 50 < 0.1 < 4 / 33, 0.1 + 4 / 33 < 0.25 < 0.1 + 4 / 22
            (1, (90, 0, 0, 0, 0), {(0, 1)}), (1, (60, 0, 0, 0, 0), {(1, 1)}),
            (1, (50, 4, 0, 0, 0), {(0, 1)}), (1, (33, 4, 0, 0, 0), {(2, 1)}),
            (1, (4, 4, 33, 0, 0), {(2, 1)}), (1, (4, 4, 22, 0, 0), {(1, 2)}),
            (1, (4, 4, 16, 4, 0), {(1, 0)}), (1, (4, 4, 11, 4, 4), {(2, 1)}),
            (1, (4, 4, 9, 4, 4), set()), (2, (0, 4, 4, 4, 4) * 2, {(0, 1), (1, 1)}),
            (2, (0, 4, 4, 4, 4) * 3, {(0, 1)}),
        ],
    )  # fmt: skip
    def test_a_name_hides_the_least(self, squares, lengths, places):
        """Above, on, below, right, left: objects of such lengths, each with 4 pixels hidden."""
        crops = [rectangle(80, 80, 240, 240)] * squares
        for i, n in enumerate(lengths):
            corners = [(75, 198), (198, 198), (325 - n, 198), (198, 322), (198, 78 - n)]
            crops.append(rectangle(*corners[i % 5], *((n, 4) if i % 5 < 3 else (4, n))))
        labels, text = [1] * squares + [2] * len(lengths), squares > 1 or None
        plain, named = (draw(grey(0), crops, labels, text=t, fill=0.0) for t in (False, text))
        written = (named != plain).any(axis=2) & (named == class_color(1)).all(axis=2)
        cells = np.stack([np.digitize(pixels, [80, 320]) for pixels in np.nonzero(written)], axis=1)
        assert {tuple(cell) for cell in cells.tolist()} == places

    def test_a_name_wider_than_the_image_is_shortened(self):
        names = ("background", "w" * 500, "dog")
        picture = draw(grey(0), [rectangle(200, 150, 100, 100)], names=names, text=True)
        _, columns = np.nonzero((picture == class_color(1)).all(axis=2))
        assert columns.max() - columns.min() > 300
        same = ("background", "w" * 400, "dog")
        again = draw(grey(0), [rectangle(200, 150, 100, 100)], names=same, text=True)
        assert np.array_equal(picture, again)

    def test_line_breaks_in_names_are_spaces(self):
        crop = [rectangle(200, 150, 100, 100)]
        broken = draw(grey(0), crop, names=("background", "hot\n dog", "x"), text=True)
        assert np.array_equal(
            broken, draw(grey(0), crop, names=("background", "hot dog", "x"), text=True)
        )


class TestScale:
    @pytest.mark.parametrize(
        ("size", "expected"),
        [
            ((480, 640), (480, 640)),
            ((320, 320), (320, 320)),
            ((256, 300), (512, 600)),
            ((10, 20), (510, 1020)),
            ((100, 8000), (100, 8000)),
        ],
    )
    def test_small_images_are_enlarged(self, size, expected):
        assert draw(grey(0, *size), [], scale=None).shape[:2] == expected

    def test_masks_are_enlarged_with_the_image(self):
        picture = draw(grey(0, 50, 60), [rectangle(10, 20, 20, 30)], scale=4, fill=1.0)
        painted = (picture > 100).any(axis=2)
        expected = np.zeros((200, 240), dtype=bool)
        expected[40:120, 80:200] = True
        different = painted != expected  # corners are rounded off
        assert different.sum() < 30
        assert painted[41, 100] and painted[118, 198 - 10] and not painted[38, 100]


class TestErrors:
    def test_lengths(self, no_shape_checks):
        image, crops = grey(0, 9, 9), [rectangle(0, 0, 2, 2)]
        text = "labels and scores: expected one for each of 1 crops, got 2 labels$"
        with pytest.raises(ValueError, match=text):
            draw_instances(image, crops, np.array([1, 1]), None, TWO_CLASSES)
        with pytest.raises(ValueError, match="1 crops, got 1 labels, 0 scores"):
            draw_instances(image, crops, np.array([1]), np.zeros(0), TWO_CLASSES)

    @pytest.mark.parametrize("label", [0, 3, -1])
    def test_label_without_name(self, label):
        with pytest.raises(ValueError, match=rf"labels: expected 1..2, got \[{label}\]"):
            draw(grey(0, 9, 9), [rectangle(0, 0, 2, 2)], [label])

    @pytest.mark.parametrize("scale", [0, -2])
    def test_scale(self, scale):
        with pytest.raises(ValueError, match=f"scale: expected a whole number >= 1, got {scale}"):
            draw(grey(0, 9, 9), [], scale=scale)

    @pytest.mark.parametrize("fill", [-0.1, 1.5])
    def test_opacity(self, fill):
        with pytest.raises(ValueError, match=f"fill: expected an opacity from 0 to 1, got {fill}"):
            draw(grey(0, 9, 9), [], fill=fill)


class TestContactSheet:
    def test_pictures_stand_in_rows_unchanged(self):
        pictures = [Image.new("RGB", (60, 40), color) for color in ("red", "lime", "blue")]
        sheet = contact_sheet(pictures, 2)
        pixels = np.asarray(sheet)
        areas = [(pixels == color).all(axis=2) for color in ((255, 0, 0), (0, 255, 0), (0, 0, 255))]
        corners = [tuple(int(axis.min()) for axis in np.nonzero(area)) for area in areas]
        assert [int(area.sum()) for area in areas] == [2400] * 3
        assert corners[0][0] == corners[1][0] < corners[2][0]
        assert corners[0][1] == corners[2][1] < corners[1][1]

    def test_titles_take_room_above(self):
        pictures = [Image.new("RGB", (200, 100), "red")]
        plain, titled = contact_sheet(pictures, 1), contact_sheet(pictures, 1, ["a title"])
        assert titled.height > plain.height + 10
        assert titled.width == plain.width
        top = np.asarray(titled)[: titled.height - 104]
        assert (top.max(axis=2) < 100).any()

    def test_smaller_pictures_and_other_modes_are_centred(self):
        pictures = [Image.new("RGB", (60, 60), "red"), Image.new("L", (20, 20), 0)]
        pixels = np.asarray(contact_sheet(pictures, 2))
        rows, columns = np.nonzero((pixels == 0).all(axis=2))
        red_rows, red_columns = np.nonzero((pixels == (255, 0, 0)).all(axis=2))
        assert rows.min() == red_rows.min() + 20
        assert columns.min() == red_columns.max() + 1 + 4 + 20
        assert len(rows) == 400

    def test_no_pictures(self):
        assert contact_sheet([], 3).size == (1, 1)

    def test_errors(self):
        picture = Image.new("RGB", (9, 9))
        with pytest.raises(ValueError, match="columns: expected a whole number >= 1, got 0"):
            contact_sheet([picture], 0)
        with pytest.raises(ValueError, match="titles: expected 1, got 2"):
            contact_sheet([picture], 1, ["a", "b"])
