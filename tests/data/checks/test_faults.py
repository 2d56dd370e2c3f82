"""Kinds of faults, and how a finding is named."""

from fcis.data.checks import faults
from fcis.data.checks.faults import (
    Changed,
    Dropped,
    Finding,
    Kept,
    Kind,
    Problem,
    place_of,
)

KINDS = [value for value in vars(faults).values() if isinstance(value, Kind)]


def test_kinds_have_names_of_their_own():
    assert len(KINDS) == 38 and len({kind.name for kind in KINDS}) == 38
    assert {kind.severity for kind in KINDS} == set(faults.SEVERITIES)
    assert all(kind.meaning and kind.remedy for kind in KINDS)


def test_names_of_findings():
    assert place_of(3, "a.png") == "image 3 (a.png)" and place_of("x", "") == "image 'x'"
    finding = Finding(where="image 3 (a.png)", problem=Problem(faults.MISSING_FILE, "has no file"))
    assert str(finding) == "image 3 (a.png) has no file"
    assert (finding.kind, finding.fix) == (faults.MISSING_FILE, Dropped())
    assert finding.refusal == f"{finding}; {faults.MISSING_FILE.remedy}"
    told = Problem(faults.MISSING_FILE, "has no file", "restore it", Kept())
    assert Finding(where="it", problem=told).refusal == "it has no file; restore it"


def test_what_a_copy_does():
    assert [str(fix) for fix in (Kept(), Changed("cut"), Dropped(), Dropped(" with it"))] == [
        "left as it is", "cut", "dropped", "dropped with it"
    ]  # fmt: skip
