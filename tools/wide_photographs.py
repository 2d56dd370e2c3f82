"""Choose COCO photographs that become about 600 x 1000 px, the size that speed is stated for.

The shorter side becomes 600 px and the longer one at most 1000, so what is wanted are photographs
whose sides are about 3 to 5. They are copied, with their annotations as `SPLIT.json`, to a folder
that `fcis reproduce table2 --data FOLDER` takes once it has both splits.

    python tools/wide_photographs.py instances_train2017.json train2017 train --out runs/wide
    python tools/wide_photographs.py instances_val2017.json val2017 val --out runs/wide
"""

import argparse
import json
import shutil
from pathlib import Path

WIDTH_OVER_HEIGHT = 1000 / 600
SLACK = 0.12  # of that ratio, either way


def main() -> None:
    """Copy the images that suit, and their annotations."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("annotations", type=Path, help="a COCO .json")
    parser.add_argument("images", type=Path, help="the folder of its images")
    parser.add_argument("split", choices=("train", "val"))
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--count", type=int, default=2, help="of images at most")
    options = parser.parse_args()
    data = json.loads(options.annotations.read_text(encoding="utf-8"))
    annotated = {entry["image_id"] for entry in data["annotations"]}
    chosen = [
        image
        for image in data["images"]
        if image["id"] in annotated
        and abs(image["width"] / image["height"] - WIDTH_OVER_HEIGHT) <= SLACK
    ][: options.count]
    if not chosen:
        parser.error(f"{options.annotations}: no image is about 5 to 3")
    (options.out / "images").mkdir(parents=True, exist_ok=True)
    ids = {image["id"] for image in chosen}
    entries = [entry for entry in data["annotations"] if entry["image_id"] in ids]
    text = json.dumps(data | {"images": chosen, "annotations": entries})
    (options.out / f"{options.split}.json").write_text(text, encoding="utf-8")
    for image in chosen:
        shutil.copy(options.images / image["file_name"], options.out / "images")
    print(f"{options.out}: {len(chosen)} of {len(data['images'])} are about 5 to 3")


if __name__ == "__main__":
    main()
