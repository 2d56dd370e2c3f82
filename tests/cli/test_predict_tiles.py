"""`fcis predict`: images in tiles."""

from PIL import Image


def test_an_image_in_tiles(predict, save, tmp_path):
    path = save(tmp_path / "x.png", 150, 200)
    code, _, _, results = predict(path, "--tile", 100, "--overlap", 20, "--save", "overlay,coco")
    assert code == 0
    assert len(results) > 20  # the recipe's maximum is one of each tile
    assert {tuple(r["segmentation"]["size"]) for r in results} == {(150, 200)}
    right = max(r["bbox"][0] + r["bbox"][2] for r in results)
    assert right > 190
    assert Image.open(tmp_path / "out" / "x.overlay.png").size == (200, 150)


def test_a_tile_as_large_as_the_image_changes_nothing(predict, save, tmp_path):
    path = save(tmp_path / "x.png")
    plain = predict(path, "--save", "coco,masks")[3]
    picture = (tmp_path / "out" / "x.masks.png").read_bytes()
    assert predict(path, "--tile", 64, "--save", "coco,masks")[3] == plain
    assert (tmp_path / "out" / "x.masks.png").read_bytes() == picture


def test_tiles_raise_the_limit_of_pixels(predict, save, tmp_path, monkeypatch):
    monkeypatch.setattr("fcis.inference.predict_files.MAX_PIXELS", 5000)
    monkeypatch.setattr("fcis.inference.predict_files.MAX_TILED_PIXELS", 20_000)
    path = save(tmp_path / "x.png", 100, 100)
    assert "limit of 5,000" in predict(path)[2]
    assert predict(path, "--tile", 64)[0] == 0
    assert "limit of 9,999" in predict(path, "--tile", 64, "--max-pixels", 9999)[2]


def test_a_bad_image_in_tiles_is_left_out(predict, save, tmp_path):
    good = save(tmp_path / "in" / "a.png", 150, 100)
    bad = save(tmp_path / "in" / "b.png", 150, 100)
    bad.write_bytes(good.read_bytes()[:20_000])
    code, _, err, results = predict(tmp_path / "in", "--tile", 64)
    assert code == 2 and {r["image_id"] for r in results} == {"a"}
    assert err.startswith(f"fcis: {bad}: the image is truncated or damaged")
