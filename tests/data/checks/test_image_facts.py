"""What image files are, and which are the same."""

import numpy as np
import pytest
from PIL import Image

from fcis.data.checks.faults import MISSING_FILE, UNREADABLE_FILE, Problem
from fcis.data.checks.image_facts import ImageFacts, look_at, same_content
from fcis.data.dataset import FileSource
from fcis.data.scenes.shape_scenes import SceneSource

ORIENTATION = 0x0112
PIXELS = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)


def save(path, pixels=PIXELS, orientation=None):
    exif = Image.Exif()
    if orientation is not None:
        exif[ORIENTATION] = orientation
    Image.fromarray(pixels).save(path, **({"exif": exif} if orientation is not None else {}))
    return FileSource(path=path)


@pytest.mark.parametrize(
    ("suffix", "orientation", "size", "applied"),
    [
        ("png", None, (4, 6), 1),
        ("jpg", 1, (4, 6), 1),
        ("jpg", 3, (4, 6), 3),
        ("jpg", 6, (6, 4), 6),
        ("jpg", 99, (4, 6), 1),
    ],
)
def test_sizes_and_rotations(tmp_path, suffix, orientation, size, applied):
    source = save(tmp_path / f"a.{suffix}", orientation=orientation)
    assert look_at(source) == ImageFacts(size=size, stored=(4, 6), orientation=applied)


def test_the_rotation_of_a_tiff_is_in_its_size(tmp_path):
    facts = look_at(save(tmp_path / "a.tif", orientation=6))
    assert (facts.size, facts.orientation) == ((6, 4), 1)


@pytest.mark.parametrize("kind", [np.uint16, np.int32, np.float32])
def test_deep_images(tmp_path, kind):
    source = save(tmp_path / "a.tif", np.arange(24, dtype=kind).reshape(4, 6))
    assert look_at(source) == ImageFacts(size=(4, 6), stored=(4, 6), is_deep=True)


def test_bad_files(tmp_path):
    missing = FileSource(path=tmp_path / "none.png")
    assert look_at(missing).problem == Problem(MISSING_FILE, f"has no file {missing}")
    path = tmp_path / "a.png"
    path.write_bytes(b"")
    empty = look_at(FileSource(path=path)).problem
    assert (empty.kind, empty.text) == (
        UNREADABLE_FILE, "cannot be read: the file is empty (0 bytes)"
    )  # fmt: skip
    noise = np.random.default_rng(0).integers(0, 256, (90, 90, 3), dtype=np.uint8)
    save(path, noise)
    path.write_bytes(path.read_bytes()[:9000])  # the header alone would do
    assert look_at(FileSource(path=path)).problem.text.startswith(
        "cannot be read: the image is truncated or damaged ("
    )
    assert look_at(FileSource(path=path), is_quick=True) == ImageFacts(size=(90, 90))
    large = look_at(FileSource(path=save(tmp_path / "b.png").path, max_pixels=23))
    assert large.problem.text == (
        "cannot be read: 6 x 4 pixels (width x height) are more than the limit of 23"
    )


def test_sources_without_files():
    scene = SceneSource(seed=0, index=0, size=(64, 96))
    assert look_at(scene) == ImageFacts(size=(64, 96), stored=(64, 96))


def test_same_content(tmp_path):
    a = save(tmp_path / "a.png")
    b = save(tmp_path / "b.png")
    other = save(tmp_path / "c.png", np.roll(PIXELS, 1))
    missing = FileSource(path=tmp_path / "none.png")
    empty = tmp_path / "empty.png"
    empty.write_bytes(b"")
    hollow = FileSource(path=empty)
    scene, same = (SceneSource(seed=0, index=0, size=(64, 64)) for _ in range(2))
    next_scene = SceneSource(seed=0, index=1, size=(64, 64))
    left = [a, other, None, missing, hollow, scene, next_scene]
    assert same_content(left, [missing, None, hollow, b, a, same]) == {0: 3, 5: 5}
    assert same_content(left, []) == {} and same_content([], [a]) == {}
