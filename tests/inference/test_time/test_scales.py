import pytest

from fcis.core.errors import InputError
from fcis.inference.test_time.scales import MOST_SCALES, PAPER_SCALES, Scale, pyramid, read_scales
from fcis.recipe.types import Preprocessing

RELEASE = Preprocessing()
ZOOMED = Preprocessing(short_side=0, long_side=0, zoom=2.0)


def sides(own, *items):
    return [(p.short_side, p.long_side, p.zoom) for p in pyramid(own, read_scales(items))]


def test_sides_and_factors_are_told_apart():
    found = read_scales([480, "576", " 0.5x", "2x"])
    assert found == (Scale(side=480), Scale(side=576), Scale(factor=0.5), Scale(factor=2.0))
    assert read_scales([]) == ()


def test_the_bound_on_the_longer_side_grows_in_proportion():
    assert sides(RELEASE, *PAPER_SCALES) == [
        (480, 800, 1.0),
        (576, 960, 1.0),
        (688, 1147, 1.0),
        (864, 1440, 1.0),
        (1200, 2000, 1.0),
        (1400, 2333, 1.0),
    ]
    assert sides(RELEASE, "0.5x", "1.5x") == [(300, 500, 1.0), (900, 1500, 1.0)]
    # no bound stays none
    assert sides(Preprocessing(short_side=600, long_side=0), "2x") == [(1200, 0, 1.0)]


def test_where_the_weights_have_a_zoom_factors_multiply_it_and_sides_replace_it():
    assert sides(ZOOMED, "0.5x", "1.5x") == [(0, 0, 1.0), (0, 0, 3.0)]
    assert sides(ZOOMED, 512) == [(512, 0, 2.0)]


def test_the_weights_own_size_is_itself_and_each_size_comes_once():
    assert pyramid(RELEASE, ()) == (RELEASE,)
    assert pyramid(RELEASE, read_scales(["1x", 600, "1.0x"])) == (RELEASE,)
    assert pyramid(ZOOMED, read_scales(["1x"])) == (ZOOMED,)


@pytest.mark.parametrize(
    "item", [0, -480, 15, "", "x", "0x", "-1x", "1e9x", "infx", "nanx", "big", "480.5", "17x"]
)
def test_other_scales_are_refused(item):
    with pytest.raises(InputError, match=rf"^scales {item}: expected up to 16 shorter sides"):
        read_scales([item])


def test_too_many_scales_are_refused():
    assert len(read_scales([480] * MOST_SCALES)) == 16
    with pytest.raises(InputError, match=r"^scales: 17 of them; expected up to 16 shorter sides"):
        read_scales([480] * (MOST_SCALES + 1))


def test_a_factor_that_leaves_nothing_is_refused():
    with pytest.raises(InputError, match=r"^scales 0\.02x: .* of 600 pixels becomes less than 16;"):
        pyramid(RELEASE, read_scales(["0.02x"]))
