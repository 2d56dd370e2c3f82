"""Draw what networks find in images they have not seen, side by side, for the documentation.

    python benchmarks/gallery.py docs/images/gallery.png runs/nuclei=nuclei/val.json \
        runs/scenes=scenes:8:1
"""

import argparse
from pathlib import Path

from PIL import Image

from fcis.data.source import open_dataset
from fcis.predictor import load_predictor
from fcis.visualize import contact_sheet
from fcis.weights.catalog import resolve_weights

SIDE = 384  # px of a picture, its longer side


def pictures(weights: str, address: str, count: int) -> list[Image.Image]:
    """Return the first images of a dataset with what the weights find in them."""
    predictor = load_predictor(resolve_weights(weights))
    drawn = []
    for record in open_dataset(address).images[:count]:
        (found,) = predictor.detect([record.read()])
        picture = predictor.shown(found).draw()
        picture.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
        drawn.append(picture)
    return drawn


def main() -> None:
    """Draw one sheet, a few pictures of each pair of weights and data."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target", type=Path, help="a .png")
    parser.add_argument("pairs", nargs="+", metavar="WEIGHTS=DATA")
    parser.add_argument("--count", type=int, default=8, help="images of each")
    parser.add_argument("--columns", type=int, default=4)
    options = parser.parse_args()
    drawn = []
    for pair in options.pairs:
        weights, equals, address = pair.partition("=")
        if not equals:
            parser.error(f"{pair}: expected WEIGHTS=DATA")
        drawn += pictures(weights, address, options.count)
    sheet = contact_sheet(drawn, options.columns)
    sheet.quantize(192, dither=Image.Dither.NONE).save(options.target, optimize=True)


if __name__ == "__main__":
    main()
