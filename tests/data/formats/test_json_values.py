"""Values as JSON holds them."""

from fcis.data.formats.json_values import (
    image_size_of,
    is_flat,
    is_id,
    is_number,
    short,
    whole_number,
)


def test_numbers():
    assert [whole_number(v) for v in (3, 3.0, -1, 0)] == [3, 3, -1, 0]
    assert [whole_number(v) for v in (3.5, "3", None, True, float("nan"))] == [None] * 5
    assert all(map(is_number, (0, -2.5, 1e9)))
    assert not any(map(is_number, ("1", None, [], float("nan"), float("inf"), 10**400)))


def test_ids():
    assert [is_id(v) for v in (1, "a", True, None, 1.0, [1])] == [True, True, *[False] * 4]


def test_lists():
    assert [is_flat(v) for v in ([], [1, 2.5], [True], ["1"], [[1]], "text")] == [
        True, True, False, False, False, False
    ]  # fmt: skip


def test_long_values():
    assert short("a") == "'a'" and len(short("a" * 50)) == 40


def test_short_texts_of_endless_values():
    value: list = []
    for _ in range(40):
        value = [value] * 40
    assert short(value).endswith("...") and len(short(value)) == 40
    assert short(1 << 20_000) == "int"


def test_sizes_that_an_image_can_have():
    assert image_size_of(16, 20.0) == (16, 20)
    assert image_size_of(2, 2**20) == (2, 2**20)
    for height, width in ((0, 5), (5, -1), (2, 10**8), (10**5, 10**5), (10**30, 10**30), ("5", 5)):
        assert image_size_of(height, width) is None
