"""What a check has left -> a corrected copy of the dataset that stands alone."""

from pathlib import Path

from fcis.core.errors import InputError
from fcis.data.checks.check import Checked
from fcis.data.checks.raw import RawDataset
from fcis.data.formats.write import write_dataset

CHANGES = "changes.txt"


def check_target(out: Path) -> None:
    """Refuse a folder that holds something.

    Raises:
        InputError: it does, or it is no folder.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"--fix {out}: is there already; name a new or empty folder")


def write_copy(raw: RawDataset, checked: Checked, out: Path) -> Path:
    """Write the corrected copy, and `changes.txt`, which has a line for every finding.

    Images are copied as they are, but for those whose EXIF rotation is taken away (pixels
    unchanged, as PNG) and those that have no file (drawn, as PNG). Returns what opens the copy.

    Raises:
        InputError: nothing is left, or it cannot be written.
    """
    check_target(out)
    if not any(record.annotations for record in checked.dataset.images):
        raise InputError(
            f"{raw.prefix or f'{raw.name}: '}no annotation is left to correct; nothing was written"
        )
    try:
        out.mkdir(parents=True, exist_ok=True)
        written = write_dataset(checked.dataset, out, raw.to, document=checked.document)
        changes = [f"{f.kind.severity} {f.kind.name}: {f}: {f.fix}" for f in checked.findings]
        (out / CHANGES).write_text("\n".join(changes) + "\n", encoding="utf-8")
    except OSError as error:
        raise InputError(
            f"--fix {out}: cannot be written ({error.strerror or error}); make room or choose "
            "another folder"
        ) from None
    return written.path
