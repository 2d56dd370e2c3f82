"""A dataset of scenes with one of every fault planted in it."""

import json

import numpy as np
from PIL import Image

from fcis.data.checks import faults
from fcis.data.scenes.shape_scenes import scene_dataset

HEIGHT, WIDTH = 96, 128
BOX = [20, 30, 40, 50]
SQUARE = [20, 30, 60, 30, 60, 80, 20, 80]
GOOD = {"bbox": BOX, "area": 2000, "iscrowd": 0, "segmentation": [SQUARE]}
SCENES = 24


def write_scenes(folder, count=SCENES, seed=5):
    """Write scenes as a COCO file with images; return the document to change."""
    dataset = scene_dataset(count, seed, size=(HEIGHT, WIDTH))
    (folder / "images").mkdir(parents=True)
    for record in dataset.images:
        Image.fromarray(record.read()).save(folder / "images" / record.file_name)
    return json.loads(json.dumps(dataset.to_coco()))


def rle_of_nothing():
    return {"size": [HEIGHT, WIDTH], "counts": [HEIGHT * WIDTH]}


class Planted:
    """A dataset with faults, and what must be found."""

    def __init__(self, folder):
        self.folder = folder
        self.document = write_scenes(folder / "train")
        self.images = {image["id"]: image for image in self.document["images"]}
        self.healthy = list(self.document["annotations"])
        self.expected = []
        self.next_id = 10_000

    def file(self, id):
        return self.folder / "train" / "images" / self.images[id]["file_name"]

    def name(self, id):
        return f"image {id} ({self.images[id]['file_name']})"

    def annotate(self, image_id, **changes):
        self.next_id += 1
        entry = {"id": self.next_id, "image_id": image_id, "category_id": 1, **GOOD, **changes}
        self.document["annotations"].append(entry)
        file = self.images[image_id]["file_name"] if image_id in self.images else ""
        image = f" (image {image_id}, {file})" if file else ""
        return f"annotation {entry['id']}{image}"

    def expect(self, kind, text, fix):
        self.expected.append((kind.name, kind.severity, text, fix))

    def lose(self, *ids):
        """Say that an image with all its annotations will be missing from the copy."""
        self.healthy = [entry for entry in self.healthy if entry["image_id"] not in ids]

    def lost(self, id):
        count = sum(a["image_id"] == id for a in self.document["annotations"])
        return f"dropped with its {count} annotations"


def plant_images(planted):
    """Plant the faults of images and files."""
    p, images = planted, planted.images
    p.file(1).unlink()
    p.expect(faults.MISSING_FILE, f"{p.name(1)} has no file {p.file(1)}", p.lost(1))
    p.file(2).write_bytes(b"")
    text = f"{p.name(2)} cannot be read: the file is empty (0 bytes)"
    p.expect(faults.UNREADABLE_FILE, text, p.lost(2))
    p.file(3).write_bytes(b"GIF89a" + b"nonsense" * 40)
    text = f"{p.name(3)} cannot be read: "
    p.expect(faults.UNREADABLE_FILE, text, p.lost(3))
    images[4] |= {"height": 2 * HEIGHT, "width": 2 * WIDTH}  # the masks have the file's size
    size = f"is {WIDTH} x {HEIGHT} (width x height), but the dataset says"
    text = f"{p.name(4)} {size} {2 * WIDTH} x {2 * HEIGHT}"
    p.expect(faults.WRONG_SIZE, text, "size taken from the file")
    turned = Image.Exif()
    turned[0x0112] = 6
    p.file(5).unlink()
    pixels = scene_dataset(5, 5, size=(HEIGHT, WIDTH)).images[4].read()
    images[5]["file_name"] = "turned.jpg"
    Image.fromarray(pixels).save(p.file(5), exif=turned, quality=100, subsampling=0)
    text = (
        f"{p.name(5)} is {HEIGHT} x {WIDTH} (width x height), but the dataset says {WIDTH} x "
        f"{HEIGHT}, which is its size before the EXIF rotation (6)"
    )
    p.expect(faults.ROTATED, text, "saved without the rotation, as it was annotated")
    Image.fromarray(pixels).save(p.file(6).with_name("other.png"))
    p.document["images"].append({**images[6], "file_name": "other.png"})
    for name in (images[6]["file_name"], "other.png"):
        text = f"{name}: image id 6 occurs more than once"
        p.expect(faults.DUPLICATE_IMAGE_ID, text, p.lost(6))
    images[108] = {**images[8], "id": 108}
    p.document["images"].append(images[108])
    text = f"{p.name(108)} is the file of image 8 too"
    p.expect(faults.DUPLICATE_FILE, text, "its annotations given to image 8")
    Image.fromarray(np.full((HEIGHT, WIDTH), 300, dtype=np.uint16)).save(p.file(20))
    p.expect(faults.DEEP_IMAGE, f"{p.name(20)} has 16 bits or floats", "left as it is")
    p.document["images"].append(
        {"id": 200, "file_name": "empty.png", "height": HEIGHT, "width": WIDTH}
    )
    Image.new("RGB", (WIDTH, HEIGHT)).save(p.file(1).with_name("empty.png"))
    p.expect(faults.NO_OBJECTS, "image 200 (empty.png) has no object", "left as it is")
    p.document["images"].append({"id": 201, "height": 9, "width": 9})
    p.expect(faults.BAD_IMAGE, "image 201 has no 'file_name'", "dropped")
    exif = Image.Exif()
    exif[0x0112] = 3
    with Image.open(p.file(21)) as image:
        image.load()
        image.save(p.file(21), exif=exif)
    text = f"{p.name(21)} has the EXIF orientation 3, which its size does not show"
    p.expect(faults.EXIF_UNSURE, text, "left as it is")
    p.lose(1, 2, 3, 6)


def plant_lists(planted):
    """Plant faults of the categories, and of what refers to what."""
    p, categories = planted, planted.document["categories"]
    categories += [{"id": 40, "name": "left"}, {"id": 40, "name": "right"}]
    for name in ("left", "right"):
        text = f"category id 40 occurs more than once, as {name!r}"
        fix = "dropped with the 1 annotation of its id"
        p.expect(faults.DUPLICATE_CATEGORY_ID, text, fix)
    p.annotate(7, category_id=40)
    categories.append({"id": 41, "name": "disc"})
    text = "category 41 (disc) has the name of category 1"
    p.expect(faults.DUPLICATE_CATEGORY_NAME, text, "merged with category 1")
    p.annotate(8, category_id=41)
    categories.append({"id": 42, "name": "unicorn"})
    p.expect(faults.UNUSED_CATEGORY, "category 42 (unicorn) has no object", "left as it is")
    categories.append({"id": "43", "name": "text"})
    p.expect(faults.BAD_CATEGORY, "category id '43' is text", "dropped")
    where = p.annotate(999)
    text = f"{where} refers to image 999, which is not among the images"
    p.expect(faults.UNKNOWN_IMAGE, text, "dropped")
    where = p.annotate(7, category_id=77)
    text = f"{where} refers to category 77, which is not among the categories"
    p.expect(faults.UNKNOWN_CATEGORY, text, "dropped")
    first = p.healthy[0]["id"]
    where = p.annotate(7, id=p.healthy[-1]["id"], segmentation=[[1, 1, 9, 1, 9, 9]],
                       bbox=[1, 1, 8, 8], area=32)  # fmt: skip
    assert first != p.healthy[-1]["id"]
    where = f"{p.name(7)}: annotation id {p.healthy[-1]['id']}"
    # the annotation with the id comes first in the file
    p.expect(faults.DUPLICATE_ANNOTATION_ID, f"{where} occurs more than once", None)
    where = p.annotate(108, segmentation=[[2, 2, 30, 2, 30, 30]], bbox=[2, 2, 28, 28], area=392)
    where = p.annotate(7, iscrowd=2, segmentation=[[3, 3, 30, 3, 30, 30]], bbox=[3, 3, 27, 27],
                       area=364)  # fmt: skip
    p.expect(faults.BAD_ANNOTATION, f"{where} has 'iscrowd' 2", "'iscrowd' set to 0")


def plant_masks(planted):
    """Plant faults of masks, boxes and areas."""
    p = planted
    around = "[20.0, 30.0, 40.0, 50.0]"
    cases = [
        (faults.BOX_MASK, {"bbox": [0, 0, 128, 96]},
         f"has the box [0, 0, 128, 96], but the one around its mask is {around} (IoU 0.16)",
         "box taken from the mask"),
        (faults.BAD_BOX, {"bbox": [120, 0, 50, 10]},
         "has the box [120, 0, 50, 10], which lies outside the image of 128 x 96 (width x height)",
         "box taken from the mask"),
        (faults.BAD_BOX, {"bbox": [20, 30, -5, 10]},
         "has the box [20, 30, -5, 10], whose width or height is not positive",
         "box taken from the mask"),
        (faults.BAD_BOX, {"bbox": [20, 30, 0, 10]},
         "has the box [20, 30, 0, 10], whose width or height is not positive",
         "box taken from the mask"),
        (faults.AREA_MASK, {"area": 4000},
         "has the area 4000, but its mask has 2000 pixels", "area taken from the mask"),
        (faults.BAD_AREA, {"area": -1}, "has the area -1", "area taken from the mask"),
        (faults.NO_MASK, {"segmentation": []}, "has no 'segmentation'", "dropped"),
        (faults.BAD_POLYGON, {"segmentation": [["a", 1]]},
         "has a 'segmentation' that is not a list of polygons, each a list of numbers", "dropped"),
        (faults.SHORT_POLYGON, {"segmentation": [SQUARE, [1, 2, 3, 4]]},
         "has a polygon of 2 points", "outline removed"),
        (faults.ODD_POLYGON, {"segmentation": [[*SQUARE, 5]]},
         "has a polygon of an odd number of values (9)", "dropped"),
        (faults.FLAT_POLYGON, {"segmentation": [SQUARE, [5, 5, 9, 9, 7, 7]]},
         "has a flat polygon from (5, 5) to (9, 9)", "outline removed"),
        (faults.NAN_COORDINATES, {"segmentation": [[float("nan"), *SQUARE[1:]]]},
         "has a polygon with NaN or infinite values", "dropped"),
        (faults.NORMALISED_POLYGON, {"segmentation": [[0.5, 0.25, 0.75, 0.25, 0.75, 0.5]],
                                     "bbox": [64, 24, 32, 24], "area": 384},
         "has all its coordinates within 0..1 in an image of 128 x 96 pixels",
         "multiplied by the image's size"),
        (faults.OUTSIDE_MASK, {"segmentation": [[100, 30, 150, 30, 150, 60, 100, 60]],
                               "bbox": [100, 30, 28, 30], "area": 840},
         "has a polygon from (100, 30) to (150, 60) in an image of 128 x 96", "cut at the border"),
        (faults.FAR_POLYGON, {"segmentation": [[900, 30, 950, 30, 950, 60]]},
         "has a polygon far outside the image of 128 x 96 (width x height), from (900, 30)",
         "dropped"),
        (faults.EMPTY_MASK, {"segmentation": rle_of_nothing()}, "has a mask without a pixel",
         "dropped"),
        (faults.RLE_SIZE, {"segmentation": {"size": [50, 50], "counts": [100, 2400]}},
         "has an RLE of size [50, 50], but the image is [96, 128] (height, width)", "dropped"),
        (faults.DAMAGED_RLE, {"segmentation": {"size": [HEIGHT, WIDTH], "counts": [7, 7]}},
         "has an RLE whose runs do not add up to the pixels of the image", "dropped"),
    ]  # fmt: skip
    for number, (kind, changes, text, fix) in enumerate(cases):
        where = p.annotate(9 + number % 11, **changes)
        p.expect(kind, f"{where} {text}", fix)
    first = p.annotate(18, segmentation=[[1, 1, 41, 1, 41, 41]], bbox=[1, 1, 40, 40], area=800)
    where = p.annotate(18, segmentation=[[1, 1, 41, 1, 41, 41]], bbox=[1, 1, 40, 40], area=800)
    text = f"{where} has the mask of annotation {first.split()[1]}"
    p.expect(faults.DUPLICATE_OBJECT, text, "dropped")
