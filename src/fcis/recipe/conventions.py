"""Where paper, release and port differ, as one record, and the three sets of its values.

Any row of the reference's section 11 can be set alone. A field's default is what the release does,
and what files of weights from before the field do.
"""

from dataclasses import dataclass, replace
from typing import Literal

from fcis.core.errors import InputError


@dataclass(frozen=True, slots=True, kw_only=True)
class Conventions:
    """Where the paper's text, the 2017 release and ChainerCV's port differ (reference: 11).

    The defaults are the release's. Rows of the reference's table are named in brackets; what has
    none differs between release and port only. What are numbers of a recipe anyway is not
    repeated here: min sizes [15], mask threshold [18], k [21], OHEM [10], rates and schedule
    [11, 12], and whether scales and shifts are trained [17].

    Attributes:
        sampling: [1] how a RoI reads the maps: the release's bins, bilinear samples, map cells.
        round_rois: the release rounds RoIs to pixels before binning (`pool` only).
        box_slots: [2] sets of k*k*4 box maps; the release has an unused one for background.
        stem_eps: what conv1's normalisation adds to the variance.
        anchor_rounding: the release rounds the sides of the base anchors.
        proposal_grid: the release ignores the last, partly covered row and column.
        proposal_rank: proposals are ranked by their object probability, or by the object's logit
            alone, as ChainerCV does.
        pad_proposals: fill up to `post_nms` by repeating survivors.
        min_size_in_original: [15] the proposals' `min_size` counts in px of the original image;
            RoIs are dropped by their size in the resized image all the same, as in ChainerCV.
        nms_at_equal: suppress at IoU equal to the threshold too.
        box_clip: a box outside the image keeps the last pixel nearest to it, as in the release,
            or is cut at the image's edge, and nothing may be left of it.
        box_end: the release maps the last covered pixel back to the original image, not the edge.
        box_rounding: whole pixels of a box: first and last covered pixel are rounded, as in the
            release, or both edges, and nothing may be left, as in ChainerCV.
        mask_category: whose mask a RoI has: its best category, background excluded or not, or
            [4] the category under vote.
        assignment: [5] a RoI may be detected as several categories, or as its best one alone.
        vote: [6] binary masks are averaged, or probabilities.
        store_grid: [6] the voted mask is stored with out_size x out_size samples and enlarged
            again.
        merge_at_equal: [7] merge at IoU equal to the threshold too.
        foreground_at_equal: [18] a pixel at the mask threshold is foreground.
        stored_at_equal: [18] the same for a stored mask that was enlarged again, which with
            ChainerCV must be above the threshold; nothing if `foreground_at_equal` is off.
        resize: the release resizes 8-bit images and rounds to whole levels.
        size_rounding: how the resized side lengths become whole.
        mask_loss_weight: [3]
        negative_low: [8] RoIs with less IoU than this are not negatives.
        fill_negatives: [8] too few negatives are filled up from all RoIs but the positives.
        positive_at_equal: [9] a RoI at the IoU threshold is positive.
        truth_as_rois: [10] ground-truth boxes join the RoIs of a training image.
        mask_loss_norm: [22] the sum of the RoIs' mask terms, each the mean over its samples, is
            divided by a number of RoIs or by that of positives.
        loss_rois: [22] that number, for boxes too: of the RoIs there should be or that there are.
        rpn_box_norm: the RPN's box term is divided by the number of anchors there should be, or
            by that of labelled ones.
        decay_biases: weight decay holds for biases and shifts too.
    """

    sampling: Literal["pool", "align", "native"] = "pool"
    round_rois: bool = True
    box_slots: Literal[1, 2] = 2
    stem_eps: float = 1e-5
    anchor_rounding: bool = True
    proposal_grid: Literal["whole-cells", "full"] = "whole-cells"
    proposal_rank: Literal["probability", "logit"] = "probability"
    pad_proposals: bool = True
    min_size_in_original: bool = False
    nms_at_equal: bool = False
    box_clip: Literal["last-pixel", "edge"] = "last-pixel"
    box_end: Literal["last-pixel", "edge"] = "last-pixel"
    box_rounding: Literal["last-pixel", "edge"] = "last-pixel"
    mask_category: Literal["best-foreground", "best-any", "voted"] = "best-foreground"
    assignment: Literal["each-category", "best-category"] = "each-category"
    vote: Literal["binary", "probability"] = "binary"
    store_grid: bool = True
    merge_at_equal: bool = True
    foreground_at_equal: bool = True
    stored_at_equal: bool = True
    resize: Literal["levels", "float"] = "levels"
    size_rounding: Literal["nearest", "down"] = "nearest"
    mask_loss_weight: float = 10.0
    negative_low: float = 0.0
    fill_negatives: bool = True
    positive_at_equal: bool = True
    truth_as_rois: bool = True
    mask_loss_norm: Literal["rois", "positives"] = "rois"
    loss_rois: Literal["planned", "actual"] = "planned"
    rpn_box_norm: Literal["planned", "labelled"] = "planned"
    decay_biases: bool = False


RELEASE = Conventions()

# What the text does not say is as in the release
PAPER = replace(
    RELEASE,
    sampling="native",
    box_slots=1,
    mask_category="voted",
    assignment="best-category",
    vote="probability",
    store_grid=False,
    merge_at_equal=False,
    mask_loss_weight=1.0,
    fill_negatives=False,
    positive_at_equal=False,
    truth_as_rois=False,
)

CHAINERCV = replace(
    RELEASE,
    round_rois=False,
    stem_eps=2e-5,
    anchor_rounding=False,
    proposal_grid="full",
    proposal_rank="logit",
    pad_proposals=False,
    min_size_in_original=True,
    nms_at_equal=True,
    box_clip="edge",
    box_end="edge",
    box_rounding="edge",
    mask_category="best-any",
    stored_at_equal=False,
    resize="float",
    size_rounding="down",
    fill_negatives=False,
    loss_rois="actual",
    rpn_box_norm="labelled",
    decay_biases=True,
)

CONVENTIONS: dict[str, Conventions] = {"release": RELEASE, "chainercv": CHAINERCV, "paper": PAPER}


def named_conventions(name: str) -> Conventions:
    """Return one of the three sets of conventions.

    Raises:
        InputError: there is none of that name; lists those there are.
    """
    if name not in CONVENTIONS:
        raise InputError(f"--conventions {name}: no such set; there are {', '.join(CONVENTIONS)}")
    return CONVENTIONS[name]
