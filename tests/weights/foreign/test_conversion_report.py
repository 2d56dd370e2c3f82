"""What is said of a conversion; whole outputs are tested with `fcis convert`."""

from pathlib import Path

import pytest

from fcis.weights.foreign.conversion import convert_file
from fcis.weights.foreign.conversion_report import next_step, report_json, report_text, summary

from .networks import release_arrays
from .params_writer import write_params

TARGET = Path("x.safetensors")


@pytest.fixture(scope="module")
def converted(tmp_path_factory):
    """Return a source and what became of it."""
    source = tmp_path_factory.mktemp("weights") / "e2e.params"
    write_params(source, release_arrays(data={"anchors": 12, "classes": 2}, folded=True))
    return source, convert_file(source, source.with_suffix(".safetensors"))


def test_every_array_is_in_every_report(converted):
    source, conversion = converted
    names = [record.source for record in conversion.arrays]
    data = report_json(conversion, source, TARGET)
    assert [row["source"] for row in data["arrays"]] == names
    rows = report_text(conversion, source, TARGET).splitlines()
    assert [row.split(" | ")[0] for row in rows[-len(names) :]] == [f"| {name}" for name in names]


def test_a_summary_counts_what_was_taken(converted):
    source, conversion = converted
    lines = summary(conversion, source, TARGET).splitlines()
    assert (lines[0], lines[-1]) == (str(source), f"weights: {TARGET}")
    left_out = sum(bool(record.reason) for record in conversion.arrays)
    total = len(conversion.arrays)
    assert left_out == 2 and f"  taken        {total - left_out} of {total} arrays" in lines
    assert next_step(conversion, TARGET) == f"try it:  fcis predict IMAGES --weights {TARGET}"
