"""What a benchmark has found: the same for a file, for people and for a picture."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from fcis.lab.benchmark.table import Table, milliseconds, percent
from fcis.lab.benchmark.timing import Spread, spread

OTHER = "other"
"""What no stage covers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StageTimes:
    """The seconds of all stages, in the order of the pipeline, in each run."""

    runs: tuple[dict[str, float], ...]

    @property
    def seconds(self) -> dict[str, Spread]:
        """Return the seconds of each stage."""
        return {name: spread([run[name] for run in self.runs]) for name in self.runs[0]}

    @property
    def total(self) -> Spread:
        """Return the seconds of the whole."""
        return spread([sum(run.values()) for run in self.runs])

    def share(self, *names: str) -> Spread:
        """Return the share of stages together; a clock that stood still gives shares of zero."""
        return spread(
            [sum(run.get(n, 0.0) for n in names) / (sum(run.values()) or 1.0) for run in self.runs]
        )

    def table(self, title: str) -> Table:
        """Return a row a stage."""
        rows = [
            (name, milliseconds(seconds.median), percent(self.share(name).median))
            for name, seconds in self.seconds.items()
        ]
        rows.append(("total", milliseconds(self.total.median), percent(1.0)))
        return Table(title=title, columns=("stage", "time", "share"), rows=tuple(rows))

    def to_json(self) -> dict[str, object]:
        """Return seconds and shares by stage, and the seconds of the whole."""
        return {
            "stages": {
                name: {"seconds": asdict(seconds), "share": asdict(self.share(name))}
                for name, seconds in self.seconds.items()
            },
            "total": asdict(self.total),
        }


def stage_times(runs: Sequence[Mapping[str, float]], order: Sequence[str]) -> StageTimes:
    """Return the times of several runs.

    Args:
        runs: seconds by stage of each run; a stage that did not run took none.
        order: of the stages; others follow.

    Raises:
        ValueError: there is no run.
    """
    if not runs:
        raise ValueError("runs: expected at least one, got none")
    known = {name for run in runs for name in run}
    names = [*(name for name in order if name in known), *sorted(known - set(order))]
    return StageTimes(runs=tuple({name: run.get(name, 0.0) for name in names} for run in runs))


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
