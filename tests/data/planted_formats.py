"""Datasets in every format with each kind of fault that it can have, and what must be found."""

import json
import shutil
from base64 import b64encode
from dataclasses import replace
from io import BytesIO

import numpy as np
import scipy.io
import yaml
from PIL import Image

from fcis.core.masks import mask_from_rle, rle_from_mask
from fcis.data.dataset import Annotation
from fcis.data.formats.write import write_dataset
from fcis.data.scenes.shape_scenes import scene_dataset

COUNT, HEIGHT, WIDTH = 12, 96, 128
ORIENTATION = 0x0112
SQUARE = np.array([[20, 30], [60, 30], [60, 80], [20, 80]])


class Planted:
    """A dataset with faults.

    Attributes:
        data: names the dataset.
        val: names its validation set.
        expected: (kind, part of the sentence that names file and object).
    """

    def __init__(self, folder):
        self.folder = folder
        self.data = self.val = ""
        self.expected = []

    def expect(self, kind, text):
        self.expected.append((kind, text))

    @property
    def kinds(self):
        return {kind for kind, _ in self.expected}


def scenes(seed=5, count=COUNT):
    """Return scenes, with a small object of its own in the last."""
    dataset = scene_dataset(count, seed, size=(HEIGHT, WIDTH), apart=True)
    *images, last = dataset.images
    taken = sum(mask_from_rle(a.rle) for a in last.annotations)
    free = [(y, x) for y in range(0, HEIGHT - 6, 6) for x in range(0, WIDTH - 6, 6)
            if not taken[y : y + 6, x : x + 6].any()]  # fmt: skip
    mask = np.zeros((HEIGHT, WIDTH), dtype=bool)
    y, x = free[0]
    mask[y + 1 : y + 5, x + 1 : x + 5] = True
    box = (x + 1.0, y + 1.0, x + 5.0, y + 5.0)
    small = Annotation(id="small", category_id=1, box=box, mask=rle_from_mask(mask), area=16.0)
    last = replace(last, annotations=(*last.annotations, small))
    return replace(dataset, images=(*images, last))


def with_exif(path, orientation):
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    with Image.open(path) as image:
        image.load()
        image.save(path, exif=exif)


def deep(path):
    Image.fromarray(np.full((HEIGHT, WIDTH), 300, dtype=np.uint16)).save(path)


def plant_files(p, files, *, unreadable, depth, turned, both, other=None):
    """Plant what files of images can have; each is named by the image's place in the list."""
    files[unreadable].write_bytes(b"GIF89a" + b"nonsense" * 40)
    p.expect("unreadable-file", f"({files[unreadable].name}) cannot be read: ")
    if depth is not None:
        deep(files[depth])
        p.expect("deep-image", f"({files[depth].name}) has 16 bits or floats")
    with_exif(files[turned], 3)
    p.expect("exif-unsure", f"({files[turned].name}) has the EXIF orientation 3")
    p.expect("in-train-and-val", f"({files[both].name}) is in the validation set too")
    p.expect("same-name", "is another file in the validation set" if other is None else
             f"({files[other].name}) is another file in the validation set")  # fmt: skip
    p.expect("small-objects", "objects (")


def fractions(points):
    return " ".join(f"{v:.6f}" for v in (np.array(points) / [WIDTH, HEIGHT]).ravel())


def plant_yolo(p):
    """Plant the faults of label files, lists and names."""
    dataset, root = scenes(), p.folder / "yolo"
    write_dataset(dataset, root, "yolo")
    files = [next((root / "images").glob(f"{name}.*")) for name in stems(root / "images")]
    labels = [root / "labels" / f"{file.stem}.txt" for file in files]
    labels[0].write_bytes(b"\xff\xfe0 ")
    p.expect("bad-annotation", f"{labels[0]}: is not text in UTF-8")
    labels[4].unlink()
    p.expect("no-objects", f"({files[4].name}) has no object")
    plant_files(p, files, unreadable=1, depth=2, turned=3, both=6, other=7)
    lines = labels[5].read_text().splitlines()
    good = fractions(SQUARE)
    for kind, line, text in (
        ("unknown-category", f"77 {good}", "has the class 77, which is not among the names"),
        ("no-mask", "0 0.5 0.5 0.2 0.2", "has boxes, no polygons"),
        ("bad-polygon", f"0 {good} x 1", "has what is no number"),
        ("odd-polygon", f"0 {good} 0.5", "has 9 coordinates"),
        ("short-polygon", "0 0.1 0.1", "has 2 coordinates"),
        ("nan-coordinates", f"0 nan {good.partition(' ')[2]}", "has coordinates outside"),
        ("far-polygon", "0 " + " ".join(map(str, SQUARE.ravel())), "has coordinates outside"),
        ("flat-polygon", "0 0.1 0.1 0.3 0.1 0.2 0.1", "has a flat polygon"),
        ("empty-mask", "0 0.1 0.1 0.1001 0.1 0.1 0.1001", "has outlines without a pixel"),
        ("outside-mask", "0 0.9 0.1 1.0095 0.1 1.0095 0.3 0.9 0.3", "has a polygon from (115.2, "),
        ("first", f"1 {good}", None),
        ("duplicate-object", f"1 {good}", "has the mask of "),
    ):
        lines.append(line)
        if text is not None:
            p.expect(kind, f"{labels[5]}: line {len(lines)} {text}")
    labels[5].write_text("\n".join(lines) + "\n")
    content = yaml.safe_load((root / "data.yaml").read_text())
    content["names"] |= {20: "disc", 21: "unicorn"}
    content |= {"train": "list.txt", "val": "list.txt"}
    listed = [*(f"images/{file.name}" for file in files), "images/gone.png"]
    (root / "list.txt").write_text("\n".join(listed) + "\n")
    p.expect("missing-file", "images/gone.png")
    p.expect("duplicate-category-name", "category 20 (disc) has the name of category 0")
    p.expect("unused-category", "category 21 (unicorn) has no object")
    (root / "data.yaml").write_text(yaml.safe_dump(content))
    val = p.folder / "val"
    write_dataset(scenes(6, 2), val, "yolo")
    own = next((val / "images").iterdir())
    shutil.copy(files[6], val / "images" / "copied.png")
    shutil.copy(own, val / "images" / files[7].name)
    p.data, p.val = str(root / "data.yaml"), str(val / "data.yaml")


def stems(folder):
    return sorted({path.stem for path in folder.iterdir() if path.suffix == ".png"})


def png(bits):
    data = BytesIO()
    Image.fromarray(bits.astype(np.uint8) * 255).save(data, format="PNG")
    return b64encode(data.getvalue()).decode("ascii")


def plant_labelme(p):
    """Plant the faults of shapes, sizes and pictures."""
    root = p.folder / "labelme"
    write_dataset(scenes(), root, "labelme")
    pages = sorted(root.glob("*.json"))
    files = [page.with_suffix(".png") for page in pages]
    documents = [json.loads(page.read_text()) for page in pages]
    files[0].unlink()
    p.expect("missing-file", f"{pages[0]}: its image '{files[0].name}' does not exist")
    plant_files(p, files, unreadable=1, depth=2, turned=3, both=6, other=7)
    documents[4]["shapes"] = []
    p.expect("no-objects", f"({files[4].name}) has no object")
    documents[8] |= {"imageHeight": 2 * HEIGHT, "imageWidth": 2 * WIDTH}
    p.expect("wrong-size", f"({files[8].name}) is {WIDTH} x {HEIGHT} (width x height)")
    documents[9] |= {"imageHeight": WIDTH, "imageWidth": HEIGHT}
    p.expect("rotated", f"({files[9].name}) is {WIDTH} x {HEIGHT} (width x height)")
    twin = {**documents[10], "imagePath": files[10].name, "shapes": documents[10]["shapes"][:1]}
    (root / "twin.json").write_text(json.dumps(twin))
    p.expect("duplicate-file", "image 'twin' (twin.png) is the file of image ")
    square, label = SQUARE.tolist(), documents[5]["shapes"][0]["label"]
    mask = {"shape_type": "mask", "points": [[5, 5], [6, 6]]}
    moved = (SQUARE - [20, 30] + [1, 1]).tolist()
    for kind, changes, text in (
        ("bad-annotation", {"shape_type": "line"}, "is of the kind 'line'"),
        ("unknown-category", {"label": "yeti"}, "has a label that is not in "),
        ("bad-polygon", {"points": [["a", 1], *square]}, "has points that are not pairs"),
        ("nan-coordinates", {"points": [[float("nan"), 1], *square]}, "has points that are not"),
        ("short-polygon", {"points": square[:2]}, "has 2 points"),
        ("normalised-polygon", {"points": [[0.1, 0.1], [0.5, 0.1], [0.5, 0.5]]}, "has all its"),
        ("far-polygon", {"points": [[900, 30], [950, 30], [950, 60]]}, "lies outside the image"),
        ("empty-mask", {"points": [[1, 1], [1.01, 1], [1, 1.01]]}, "has outlines without a pixel"),
        ("flat-polygon", {"points": [[5, 5], [9, 9], [7, 7]]}, "has a flat polygon"),
        ("outside-mask", {"points": [[100, 5], [129.2, 5], [129.2, 40]]}, "has a polygon from (1"),
        ("damaged-rle", {**mask, "mask": "%"}, "holds no mask that can be read"),
        ("rle-size", {**mask, "mask": png(np.ones((5, 5)))}, "holds a mask of 5 x 5 pixels"),
        ("first", {"points": moved}, None),
        ("duplicate-object", {"points": moved}, "has the mask of "),
    ):
        documents[5]["shapes"].append(
            {"label": label, "points": square, "shape_type": "polygon", **changes}
        )
        number = len(documents[5]["shapes"])
        if text is not None:
            name = changes.get("label", label)
            p.expect(kind, f"{pages[5]}: shape number {number} ({name!r}) {text}")
    for page, document in zip(pages, documents, strict=True):
        page.write_text(json.dumps(document))
    with (root / "labels.txt").open("a") as file:
        file.write("unicorn\n")
    p.expect("unused-category", "(unicorn) has no object")
    val = p.folder / "val"
    write_dataset(scenes(6, 2), val, "labelme")
    one = next(val.glob("*.json"))
    copied, other = (json.loads(one.read_text()) for _ in range(2))
    shutil.copy(files[6], val / "copied.png")
    (val / "copied.json").write_text(json.dumps({**copied, "imagePath": "copied.png"}))
    shutil.copy(one.with_suffix(".png"), val / files[7].name)
    (val / pages[7].name).write_text(json.dumps({**other, "imagePath": files[7].name}))
    p.data, p.val = str(root), str(val)


def add_classes(p, root):
    """Plant a class that is called like another, and one without an object."""
    entries = json.loads((root / "classes.json").read_text())
    used = [e for e in entries if any(root.rglob(f"masks/{e['folder']}"))]
    first, second = used[0], used[1]
    second["name"] = first["name"]
    p.expect("duplicate-category-name", f"category {second['id']} ({first['name']}) has the name")
    entries.append({"id": 99, "name": "unicorn", "folder": "unicorn"})
    p.expect("unused-category", "category 99 (unicorn) has no object")
    (root / "classes.json").write_text(json.dumps(entries))


def plant_maps(p):
    """Plant the faults of pictures of masks, one an image."""
    root = p.folder / "maps"
    write_dataset(scenes(), root, "masks")
    files = sorted((root / "images").iterdir())
    masks = [sorted((root / "masks").rglob(file.name)) for file in files]
    plant_files(p, files, unreadable=1, depth=2, turned=3, both=6, other=7)
    for mask in masks[4]:
        mask.unlink()
    p.expect("no-objects", f"({files[4].name}) has no object")
    masks[0][0].write_bytes(masks[0][0].read_bytes()[:60])
    p.expect("damaged-rle", f"{masks[0][0]}: cannot be read as a picture")
    Image.new("L", (WIDTH, HEIGHT + 1), 1).save(masks[5][0])
    p.expect("rle-size", f"{masks[5][0]}: is {WIDTH} x {HEIGHT + 1} pixels")
    lonely = masks[8][0].with_name("lonely.png")
    shutil.copy(masks[8][0], lonely)
    p.expect("unknown-image", f"{lonely}: no image lonely.* in ")
    add_classes(p, root)
    val = p.folder / "val"
    write_dataset(scenes(6, 2), val, "masks")
    own = next((val / "images").iterdir())
    shutil.copy(files[6], val / "images" / "copied.png")
    shutil.copy(own, val / "images" / files[7].name)
    p.data, p.val = str(root), str(val)


def plant_objects(p):
    """Plant the faults of pictures of masks, one an object."""
    root, dataset = p.folder / "objects", scenes()
    images = list(dataset.images)
    twice = (*images[8].annotations, replace(images[8].annotations[0], id="again"))
    images[8] = replace(images[8], annotations=twice)
    write_dataset(replace(dataset, images=tuple(images)), root, "masks")
    items = sorted(path for path in root.iterdir() if path.is_dir())
    files = [next((item / "images").iterdir()) for item in items]
    masks = [sorted((item / "masks").rglob("*.png")) for item in items]
    p.expect("duplicate-object", f"has the mask of {masks[8][0].parent.parent}")
    plant_files(p, files, unreadable=1, depth=2, turned=3, both=6, other=7)
    for mask in masks[4]:
        mask.unlink()
    p.expect("no-objects", f"({files[4].name}) has no object")
    masks[0][0].write_bytes(masks[0][0].read_bytes()[:60])
    p.expect("damaged-rle", f"{masks[0][0]}: cannot be read as a picture")
    Image.new("L", (WIDTH, HEIGHT + 1), 1).save(masks[5][0])
    p.expect("rle-size", f"{masks[5][0]}: is {WIDTH} x {HEIGHT + 1} pixels")
    Image.new("L", (WIDTH, HEIGHT)).save(masks[5][1])
    p.expect("empty-mask", f"{masks[5][1]}: has a mask without a pixel")
    files[9].unlink()
    p.expect("missing-file", f"{files[9].parent}: holds 0 images")
    shutil.copy(files[10], files[10].with_name("second.png"))
    p.expect("bad-image", f"{files[10].parent}: holds 2 images")
    add_classes(p, root)
    val = p.folder / "val"
    write_dataset(scenes(6, 2), val, "masks")
    own = next((val / "images").iterdir())
    shutil.copy(files[6], val / "images" / "copied.png")
    shutil.copy(own, val / "images" / files[7].name)
    p.data, p.val = str(root), str(val)


def plant_maps_of_classes(p, root, val, *, objects, classes, damage, write):
    """Plant the faults of VOC and SBD, which have two maps an image."""
    files = sorted((root / "JPEGImages").iterdir())
    numbers = [root / objects.format(file.stem) for file in files]
    kinds = [root / classes.format(file.stem) for file in files]
    copied = sorted((val / "JPEGImages").iterdir())
    shutil.copy(files[10], copied[0])
    plant_files(p, files, unreadable=1, depth=None, turned=8, both=10)
    files[0].unlink()
    p.expect("missing-file", f"{files[0]}: no such image, though a list names it")
    with Image.open(files[2]) as image:
        image.resize((2 * WIDTH, 2 * HEIGHT)).save(files[2])
    p.expect("wrong-size", f"({files[2].name}) is {2 * WIDTH} x {2 * HEIGHT}")
    with_exif(files[3], 6)
    p.expect("rotated", f"({files[3].name}) is {HEIGHT} x {WIDTH}")
    write(kinds[4], np.zeros((HEIGHT, WIDTH), dtype=np.uint8), False)
    p.expect("unknown-category", f"{numbers[4]}: object 1 lies on the class values 0")
    numbers[5].unlink()
    p.expect("no-mask", f"{numbers[5]}: no such file")
    numbers[6].write_bytes(numbers[6].read_bytes()[:damage])
    p.expect("damaged-rle", f"{numbers[6]}: ")
    write(kinds[7], np.zeros((HEIGHT, WIDTH + 1), dtype=np.uint8), False)
    p.expect("rle-size", f"{numbers[7]}: is {WIDTH} x {HEIGHT} pixels")
    write(numbers[9], np.zeros((HEIGHT, WIDTH), dtype=np.uint8), True)
    p.expect("no-objects", f"({files[9].name}) has no object")
    p.expect("unused-category", "category 20 (tvmonitor) has no object")


def plant_voc(p, make_voc):
    root, val = (p.folder / name for name in ("VOC2012", "val"))
    make_voc(root, train=scenes())
    make_voc(val, val=scenes(6, 2))

    def write(path, values, is_objects):
        Image.fromarray(values).save(path)

    plant_maps_of_classes(
        p, root, val, objects="SegmentationObject/{}.png", classes="SegmentationClass/{}.png",
        damage=60, write=write,
    )  # fmt: skip
    p.data, p.val = f"{root}:train", f"{val}:val"


def plant_sbd(p, make_sbd):
    root, val = (p.folder / name for name in ("sbd", "val"))
    for folder, splits in ((root, {"train": scenes()}), (val, {"val": scenes(6, 2)})):
        make_sbd(folder, **splits)
        (folder / "JPEGImages").symlink_to("img")

    def write(path, values, is_objects):
        name = "GTinst" if is_objects else "GTcls"
        scipy.io.savemat(path, {name: {"Segmentation": values}})

    plant_maps_of_classes(
        p, root, val, objects="inst/{}.mat", classes="cls/{}.mat", damage=200, write=write
    )
    for folder in (root, val):
        (folder / "JPEGImages").unlink()
    p.expected = [(kind, text.replace("JPEGImages", "img")) for kind, text in p.expected]
    p.data, p.val = f"{root}:train", f"{val}:val"


def plant_cityscapes(p, make_cityscapes):
    root, val = (p.folder / name for name in ("cityscapes", "val"))
    make_cityscapes(root, train=scenes())
    make_cityscapes(val, val=scenes(6, 2))
    files = sorted((root / "leftImg8bit").rglob("*.png"))
    maps = sorted((root / "gtFine").rglob("*.png"))
    copied = sorted((val / "leftImg8bit").rglob("*.png"))
    shutil.copy(files[10], copied[0])
    plant_files(p, files, unreadable=1, depth=4, turned=8, both=10)
    Image.new("RGB", (2 * WIDTH, 2 * HEIGHT)).save(files[2])
    p.expect("wrong-size", f"({files[2].name}) is {2 * WIDTH} x {2 * HEIGHT}")
    with_exif(files[3], 6)
    p.expect("rotated", f"({files[3].name}) is {HEIGHT} x {WIDTH}")
    maps[5].unlink()
    p.expect("no-mask", f"{maps[5]}: no such file")
    maps[6].write_bytes(maps[6].read_bytes()[:60])
    p.expect("damaged-rle", f"{maps[6]}: cannot be read as a picture")
    Image.fromarray(np.zeros((HEIGHT, WIDTH), dtype=np.uint16)).save(maps[9])
    p.expect("no-objects", f"({files[9].name}) has no object")
    for path in maps:
        if path.exists() and path != maps[6]:
            ids = np.asarray(Image.open(path)).copy()
            ids[ids // 1000 == 33] = 0
            Image.fromarray(ids).save(path)
    p.expect("unused-category", "category 33 (bicycle) has no object")
    p.data, p.val = f"{root}:train", f"{val}:val"
