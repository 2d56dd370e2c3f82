import pytest

from fcis.core.size_text import size_text


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 KiB"), (1500, "1 KiB"), (2**20 - 600, "1023 KiB"), (2**20, "1.0 MiB")],
)
def test_sizes(size, text):
    assert size_text(size) == text
