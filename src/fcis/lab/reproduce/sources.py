"""The `--data` of a table -> a dataset to train on and another one to evaluate on."""

import re
from dataclasses import dataclass
from pathlib import Path

from fcis.core.errors import InputError
from fcis.data.dataset import Dataset
from fcis.data.source import check_distinct, open_dataset

DEFAULT_SCENES = 1000
_VAL_SHARE, _LEAST_VAL, _MOST_VAL = 5, 2, 200  # one scene in five, within bounds
_SCENES = re.compile(r"scenes(?::(?P<count>\d+)(?::(?P<seed>\d+)(?P<apart>:apart)?)?)?")
_EXPECTED = (
    "scenes[:N[:seed[:apart]]], a folder with train.json and val.json, or TRAIN,VAL with two "
    "datasets as fcis train takes them"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """What is trained on and what is evaluated on, with the addresses they were opened by."""

    train: Dataset
    val: Dataset
    train_name: str
    val_name: str

    @property
    def is_scenes(self) -> bool:
        """Tell whether it is trained on synthetic scenes."""
        return self.train_name.startswith("scenes")


def addresses(data: str) -> tuple[str, str]:
    """Return the addresses of the training and of the validation set that `--data` names.

    `scenes:N:seed` trains on N scenes of that seed and evaluates on a fifth as many of the next,
    from 2 to 200.

    Raises:
        InputError: it names no two datasets.
    """
    if data == "scenes" or (data.startswith("scenes:") and "," not in data):
        match = _SCENES.fullmatch(data)
        if match is None:
            raise InputError(f"--data {data}: expected {_EXPECTED}")
        count, seed = int(match["count"] or DEFAULT_SCENES), int(match["seed"] or 0)
        apart = match["apart"] or ""
        held_out = min(_MOST_VAL, max(_LEAST_VAL, count // _VAL_SHARE))
        return f"scenes:{count}:{seed}{apart}", f"scenes:{held_out}:{seed + 1}{apart}"
    folder = Path(data)
    if data and folder.is_dir():
        files = folder / "train.json", folder / "val.json"
        missing = [file.name for file in files if not file.is_file()]
        if missing:
            raise InputError(
                f"--data {data}: the folder has no {' and no '.join(missing)}; give {_EXPECTED}"
            )
        return str(files[0]), str(files[1])
    train, comma, val = data.partition(",")
    if not (train and comma and val) or "," in val:
        what = "expected" if data else "is empty; expected"
        raise InputError(f"--data {data}: {what} {_EXPECTED}")
    return train, val


def open_sources(data: str) -> Sources:
    """Return the datasets that `--data` names.

    Raises:
        InputError: it names no two datasets, they are the same scenes, or one cannot be read.
    """
    train, val = addresses(data)
    check_distinct(train, val)
    return Sources(train=open_dataset(train), val=open_dataset(val), train_name=train, val_name=val)
