"""Kinds of faults, and how a finding is named."""

from fcis.data.checks import faults
from fcis.data.checks.faults import Issue, Kind, annotation_finding, image_finding

KINDS = [value for value in vars(faults).values() if isinstance(value, Kind)]


def test_kinds_have_names_of_their_own():
    assert len(KINDS) == 38 and len({kind.name for kind in KINDS}) == 38
    assert {kind.severity for kind in KINDS} == set(faults.SEVERITIES)
    assert all(kind.meaning and kind.remedy for kind in KINDS)


def test_names_of_findings():
    issue = Issue(faults.MISSING_FILE, "has no file", "dropped with its 2 annotations")
    assert str(image_finding(issue, 3, "a.png")) == "image 3 (a.png) has no file"
    assert str(image_finding(issue, None, None)) == "image None has no file"
    found = image_finding(issue, [1], "a.png")
    assert (found.image_id, found.file_name, found.annotation_id) == (None, "a.png", None)
    found = annotation_finding(issue, 7, "x", "a.png")
    assert str(found) == "annotation 7 (image 'x', a.png) has no file"
    assert (found.image_id, found.annotation_id, found.is_loss) == ("x", 7, True)
    assert str(annotation_finding(issue, 7, 9, "")) == "annotation 7 has no file"
    assert not image_finding(issue._replace(repair="left as it is"), 3, "a.png").is_loss
