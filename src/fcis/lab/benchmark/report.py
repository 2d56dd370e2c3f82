"""What a benchmark has found: the same for a file, for people and for a picture."""

from dataclasses import asdict, dataclass

from fcis.lab.benchmark.stages import StageTimes
from fcis.lab.benchmark.table import Table
from fcis.lab.benchmark.timing import Spread


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """The cost of one size.

    Attributes:
        axis: what grows, `rois` or `classes`.
        count: of it.
        seconds: of our forward pass.
        of_linear: its time over that of the smallest count, divided by the ratio of the counts:
            1 is linear, less is better.
    """

    sampling: str
    axis: str
    count: int
    seconds: Spread
    of_linear: Spread


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What was found.

    Attributes:
        figures: settings and figures by name; seconds, bytes, shares of 1.
        tables: the same for people.
        notes: what the tables do not say, and what they rest on.
        stages: of each pipeline, with its name, for the picture.
        points: likewise, how the cost grows.
    """

    figures: dict[str, object]
    tables: tuple[Table, ...]
    notes: tuple[str, ...]
    stages: tuple[tuple[str, StageTimes], ...] = ()
    points: tuple[Point, ...] = ()

    def to_json(self) -> dict[str, object]:
        """Return the figures as they are written, records as dictionaries."""
        return asdict(self)["figures"]
