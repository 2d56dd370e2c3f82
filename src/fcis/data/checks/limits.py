"""How much a dataset may be off before it counts as wrong: every tolerance, with its reason.

Sizes and places are pixels of the image unless a line says otherwise.
"""

MOST_PIXELS = 10**9
"""Of an image: larger ones are not read in tiles either."""

LONGEST_SIDE = 2**20
"""Of an image: encoding an outline takes memory in proportion to the side, whatever the area."""

LONGEST_OUTLINE = 4_000_000.0
"""Along its edges, for the same reason; an outline around each of 10,000 cells is 1,000,000."""

LARGEST_NUMBER = 1e12
"""No coordinate, extent or area of an image is larger; squares of it are still exact enough."""

LONGEST_RUN_BITS = 35
"""7 characters of a compressed encoding; no image has longer runs."""

FEWEST_VALUES = 6
"""Of a polygon, x and y of three points; the COCO API would take two points for a box."""

FAR = 1.0
"""How many of its own sides an outline may leave an image by: encoding takes time and memory in
proportion to the outline, however far outside it runs."""

MARGIN = 0.01
"""Of a side, where outlines are in fractions or drawn by a program on the image itself: these pass
the border by rounding; more is a mistake in the units, or was drawn on another image."""

BOX_PASSES = 1.0
"""COCO's own boxes pass the border of the image by fractions of a pixel."""

OUTLINE_PASSES = 1.0
"""Tools differ in whether the last pixel ends at width or at width - 1."""

UNIT = 1.001
"""The largest fraction of a side: 0.334 + 0.667, of three digits each, is that much by rounding."""

UNITLESS_SIDE = 2
"""In images with a side of at most so many pixels, fractions and pixels cannot be told apart."""

STRAIGHT = 1e-9
"""Square pixels by which points may be beside a line through the others: rounding of floats."""

THICK = 2.0
"""Outlines of this mean width, inside the image, have a pixel for sure; only others are encoded to
find out, because that takes longer than all the rest of reading a file."""

LEAST_BOX_IOU = 0.7
"""Of a stated box and the one around the mask: people draw boxes with some air."""

BOX_DIFFERS = 2.0
"""On each side; small boxes have a low IoU from rounding alone."""

AREA_DIFFERS = 0.1
"""Of the mask's pixels, beside half a pixel all around, by which an outline encloses more or less
than the pixels that it is drawn as."""

FITS = 1.0
"""By how much an outline may pass an image that it is taken to be made for."""

SMALL = 8
"""The side of a square of the object's box; smaller objects are mostly missed."""

TOLERATED_EMPTY = 1e-5
"""The part of a COCO file's objects that may have no pixel. Nobody should have to edit COCO
train2017 for its very few; more, and any in a smaller set, are refused."""
