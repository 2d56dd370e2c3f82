"""What is wrong with what a DATA argument names: as lines, as JSON, and a copy without it."""

from dataclasses import dataclass
from pathlib import Path

from fcis.data.checks import report
from fcis.data.checks.check import Checked
from fcis.data.checks.raw import RawDataset
from fcis.data.checks.repair import write_copy


@dataclass(frozen=True, slots=True, kw_only=True)
class DataCheck:
    """A check of a whole dataset, as `fcis.check_dataset` returns it.

    Attributes:
        data: how the user calls the dataset.
        raw: the dataset as its files hold it.
        checked: what was found, and what is left without that.
    """

    data: str
    raw: RawDataset
    checked: Checked

    def summary(self, listed: int | None = report.LISTED) -> str:
        """Return the lines that `fcis data check` prints.

        Args:
            listed: findings of a kind that are shown; None: all.
        """
        lines = report.finding_lines(self.checked.findings, listed)
        last = report.last_line(self.data, self.checked, None)
        return "\n".join([report.header(self.data, self.checked), *lines, last])

    def to_json(self) -> dict[str, object]:
        """Return all findings as `fcis data check --json` writes them."""
        return report.findings_json(self.data, self.checked)

    def write_copy(self, out: str | Path) -> Path:
        """Write a corrected copy as `--fix` does, and return what opens it.

        Args:
            out: a new or empty folder.

        Raises:
            InputError: it holds something or cannot be written, or no annotation is left.
        """
        return write_copy(self.raw, self.checked, Path(out))
