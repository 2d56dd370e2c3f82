import errno
import os

import pytest
import torch

from fcis.core.errors import InputError
from fcis.training.atomic_files import cannot_write, put_file

FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class FullDisk:
    """A file on a disk that has room for so many bytes more."""

    def __init__(self, room):
        self.room = room

    def write(self, data):
        self.room -= len(data)
        if self.room < 0:
            raise FULL
        return len(data)

    def flush(self):
        pass


def test_a_file_is_put_in_place_of_another(tmp_path):
    path = tmp_path / "a.bin"
    put_file(path, lambda file: file.write(b"first"))
    put_file(path, lambda file: file.write(b"second"))
    assert path.read_bytes() == b"second" and os.listdir(tmp_path) == ["a.bin"]


@pytest.mark.parametrize("kind", ["plain", "torch", "last moment"])
def test_a_full_disk_leaves_the_previous_file(tmp_path, kind):
    """What torch raises then is a RuntimeError about a position in the file."""
    path = tmp_path / "a.bin"
    put_file(path, lambda file: file.write(b"first"))

    def write(file):
        file.write(b"half")
        if kind == "plain":
            raise FULL
        if kind == "torch":
            torch.save({"weights": torch.zeros(10_000)}, FullDisk(20_000))
        file.close()
        raise FULL

    with pytest.raises(InputError) as caught:
        put_file(path, write)
    assert str(caught.value) == (
        f"{path}: cannot be written (No space left on device); make room and go on with --resume"
    )
    assert path.read_bytes() == b"first"
    assert os.listdir(tmp_path) == ["a.bin"], "the part that was written takes room"


def test_other_errors_stay_what_they_are(tmp_path):
    def write(_):
        raise RuntimeError("a bug")

    with pytest.raises(RuntimeError, match="a bug"):
        put_file(tmp_path / "a.bin", write)


def test_errors_without_words_of_the_system(tmp_path):
    assert "cannot be written (encoder error)" in str(
        cannot_write(tmp_path, OSError("encoder error"))
    )
