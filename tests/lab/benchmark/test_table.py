"""What tables and numbers look like."""

import pytest

from fcis.lab.benchmark import table
from fcis.lab.benchmark.table import Table
from fcis.lab.benchmark.timing import Spread


def test_text_is_markdown_with_even_columns():
    text = Table(
        title="Speed", columns=("work", "ms"), rows=(("forward", "1.50"), ("b", "12345"))
    ).text()
    assert text.splitlines() == [
        "Speed",
        "",
        "| work    |    ms |",
        "| ------- | ----: |",
        "| forward |  1.50 |",
        "| b       | 12345 |",
    ]


def test_a_table_without_rows_has_its_heading():
    assert Table(title="", columns=("a", "b"), rows=()).text().endswith("| --- | --: |")


def test_rows_must_fit():
    with pytest.raises(ValueError, match=r"row \('a',\): expected 2 entries"):
        Table(title="", columns=("x", "y"), rows=(("a",),)).text()


def test_numbers_have_three_digits():
    assert [table.number(v) for v in (0.004, 1.234, 12.34, 123.4, 0.0)] == [
        "0.00",
        "1.23",
        "12.3",
        "123",
        "0.00",
    ]
    assert table.milliseconds(0.0123) == "12.3 ms"
    assert table.times(Spread(median=2.0, low=1.5, high=20.0)) == "2.00 (1.50 to 20.0)"
    assert table.percent(0.1234) == "12.3 %"


def test_bytes_have_decimal_units():
    counts = (0, 999, 1000, 86_000_000, 2_500_000_000, 10**13)
    assert [table.byte_count(n) for n in counts] == [
        "0 B",
        "999 B",
        "1.00 KB",
        "86.0 MB",
        "2.50 GB",
        "10000 GB",
    ]
    assert table.byte_count(None) == "-"
