"""The time of each stage of a pipeline, from several runs of it."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from fcis.lab.benchmark.table import Table, milliseconds, percent
from fcis.lab.benchmark.timing import Spread, spread

OTHER = "other"
"""What no stage covers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StageTime:
    """One stage.

    Attributes:
        seconds: of a run.
        share: of the run it belongs to.
    """

    name: str
    seconds: Spread
    share: Spread


@dataclass(frozen=True, slots=True, kw_only=True)
class StageTimes:
    """All stages in the order of the pipeline, and the whole."""

    stages: tuple[StageTime, ...]
    total: Spread
    runs: tuple[dict[str, float], ...]

    def share(self, names: Sequence[str]) -> Spread:
        """Return the share of several stages together."""
        return spread([sum(run.get(n, 0.0) for n in names) / _total(run) for run in self.runs])

    def table(self, title: str) -> Table:
        """Return a row a stage."""
        rows = [
            (s.name, milliseconds(s.seconds.median), percent(s.share.median)) for s in self.stages
        ]
        rows.append(("total", milliseconds(self.total.median), percent(1.0)))
        return Table(title=title, columns=("stage", "time", "share"), rows=tuple(rows))

    def to_json(self) -> dict[str, object]:
        """Return seconds and shares by stage, and the seconds of the whole."""
        return {
            "stages": {
                s.name: {"seconds": asdict(s.seconds), "share": asdict(s.share)}
                for s in self.stages
            },
            "total": asdict(self.total),
        }


def stage_times(runs: Sequence[Mapping[str, float]], order: Sequence[str]) -> StageTimes:
    """Return the medians of several runs.

    Args:
        runs: seconds by stage of each run; a stage that did not run took none.
        order: of the stages; others follow.

    Raises:
        ValueError: there is no run.
    """
    if not runs:
        raise ValueError("runs: expected at least one, got none")
    names = [name for name in order if any(name in run for run in runs)]
    names += sorted({name for run in runs for name in run} - set(names))
    stages = tuple(
        StageTime(
            name=name,
            seconds=spread([run.get(name, 0.0) for run in runs]),
            share=spread([run.get(name, 0.0) / _total(run) for run in runs]),
        )
        for name in names
    )
    total = spread([sum(run.values()) for run in runs])
    return StageTimes(stages=stages, total=total, runs=tuple(dict(run) for run in runs))


def _total(run: Mapping[str, float]) -> float:
    """Return the seconds of a run; a clock that stood still gives shares of zero."""
    return sum(run.values()) or 1.0
