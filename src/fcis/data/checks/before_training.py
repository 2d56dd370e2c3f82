"""The short form of `fcis data check` that runs before every training, in a moment."""

import os
import warnings
from pathlib import Path

from fcis.core.errors import InputError
from fcis.data.checks.check import FaultsFound
from fcis.data.checks.short_check import check_apart, check_categories_used, check_files
from fcis.data.dataset import Dataset
from fcis.data.source import open_dataset

_LISTED = 5


def open_for_training(data: str, images_dir: Path | None) -> Dataset:
    """Return the dataset that a DATA argument names.

    Raises:
        InputError: it cannot be read, or has a fault; then with how to see all of them.
    """
    try:
        return open_dataset(data, images_dir)
    except FaultsFound as error:
        raise InputError(f"{error}; {_command(data, images_dir)}") from None


def check_before_training(
    train: str,
    train_set: Dataset,
    val: str,
    val_set: Dataset,
    *,
    images: tuple[Path | None, Path | None] = (None, None),
) -> None:
    """Warn of what makes a training worse, as far as the files' headers show it.

    A dataset may serve for both, as a check whether a model can learn it by heart.

    Args:
        train: the argument that names the training set.
        train_set: the training set.
        val: the argument that names the validation set.
        val_set: the validation set.
        images: the folders of their images, where they are named.

    Raises:
        InputError: what makes it useless.
    """
    is_same = os.path.realpath(train) == os.path.realpath(val)
    apart = () if is_same else check_apart(train_set, val_set)
    train_found = [*check_files(train_set), *apart, *check_categories_used(train_set)]
    val_found = () if is_same else tuple(check_files(val_set))
    with_val = () if is_same else ("--val", val)
    if images[1] is not None and with_val:
        with_val += ("--val-images", str(images[1]))
    for data, found, folder, others in (
        (train, train_found, images[0], with_val),
        (val, val_found, images[1], ()),
    ):
        errors = [finding for finding in found if finding.kind.severity == "error"]
        if errors:
            more = len(errors) - 1
            rest = f" (and {more} more such problem{'s' * (more > 1)})" if more else ""
            command = _command(data, folder, *others)
            raise InputError(f"{data}: {errors[0]}{rest}; {command}")
        for kind in dict.fromkeys(finding.kind for finding in found):
            names = [finding.where for finding in found if finding.kind is kind]
            shown = ", ".join(names[:_LISTED])
            rest = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
            warnings.warn(f"{data}: {kind.meaning}: {shown}{rest}; {kind.remedy}", stacklevel=2)


def _command(data: str, images_dir: Path | None, *others: str) -> str:
    """Return which command shows all that is wrong."""
    words = ["fcis data check", data, *(["--images", str(images_dir)] if images_dir else ())]
    return (
        f"see all that is wrong with `{' '.join([*words, *others])}`; --fix OUT writes a "
        "corrected copy"
    )
