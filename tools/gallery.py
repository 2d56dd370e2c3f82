"""Draw what networks find in images they have not seen, side by side, for the documentation.

    python tools/gallery.py docs/images/gallery.png runs/nuclei=nuclei/val.json \\
        runs/scenes=scenes:8:1
    python tools/gallery.py best-and-worst.png nuclei=nuclei/val.json --extremes
"""

import argparse
from dataclasses import replace
from pathlib import Path

from PIL import Image

from fcis.data.dataset import Dataset
from fcis.data.source import open_dataset
from fcis.imaging.drawing import contact_sheet
from fcis.imaging.instances import Instances
from fcis.inference.evaluate_dataset import evaluate_predictor
from fcis.inference.load_predictor import load_any
from fcis.inference.predictor import Predictor

SIDE = 384  # px of a picture, its longer side


def extremes(predictor: Predictor, dataset: Dataset, count: int) -> list[Instances]:
    """Return the instances of half as many images in which most is right, and then least.

    What is right is the share of all that is annotated or found, at IoU 0.5.
    """
    found, shares = list[Instances](), list[float]()
    for record in dataset.images:
        single = replace(dataset, images=(record,))
        report, _ = evaluate_predictor(predictor, single, watch=found.append)
        shares.append(report.dsb["0.50"] or 0.0)
    order = sorted(range(len(found)), key=lambda i: -shares[i])
    chosen = order[: count // 2] + order[len(order) - (count - count // 2) :]
    for i in chosen:
        print(f"{dataset.images[i].file_name}: {shares[i]:.2f}")
    return [found[i] for i in chosen]


def pictures(weights: str, address: str, options: argparse.Namespace) -> list[Image.Image]:
    """Return the first images of a dataset, or the extremes, with what the weights find."""
    predictor = load_any(weights, device="cpu")
    dataset = open_dataset(address)
    if options.extremes:
        found = extremes(predictor, dataset, options.count)
    else:
        found = predictor.detect_dataset(dataset.first(options.count))
    drawn = []
    for one in found:
        picture = predictor.shown(one).draw()
        picture.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
        drawn.append(picture)
    return drawn


def main() -> None:
    """Draw one sheet, a few pictures of each pair of weights and data."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target", type=Path, help="a .png")
    parser.add_argument("pairs", nargs="+", metavar="WEIGHTS=DATA")
    parser.add_argument("--count", type=int, default=8, help="images of each")
    parser.add_argument(
        "--extremes", action="store_true", help="where most is right and where least is"
    )
    parser.add_argument("--columns", type=int, default=4)
    options = parser.parse_args()
    drawn = []
    for pair in options.pairs:
        weights, equals, address = pair.partition("=")
        if not equals:
            parser.error(f"{pair}: expected WEIGHTS=DATA")
        drawn += pictures(weights, address, options)
    sheet = contact_sheet(drawn, options.columns)
    sheet.quantize(192, dither=Image.Dither.NONE).save(options.target, optimize=True)


if __name__ == "__main__":
    main()
