import numpy as np
import pytest
import torch

from fcis.recipe.conventions import PAPER, RELEASE, with_conventions
from fcis.recipe.types import TargetRecipe
from fcis.structures import Proposals, RPNOutput
from fcis.training.batch import Truth
from fcis.training.targets import IGNORED, anchor_targets, roi_targets

STDS = (0.2, 0.2, 0.5, 0.5)
ALL = 10**6


def truth_of(boxes, labels=None, crowds=()):
    boxes = torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)
    labels = range(1, len(boxes) + 1) if labels is None else labels
    return Truth(
        boxes=boxes,
        labels=torch.tensor(list(labels), dtype=torch.int64),
        masks=(),
        crowds=torch.tensor(crowds, dtype=torch.float32).reshape(-1, 4),
    )


def output_of(anchors, cells=None):
    """An RPN's output with the given (h, w, anchor, 4) anchors for one image."""
    anchors = torch.as_tensor(anchors, dtype=torch.float32)
    h, w, n, _ = anchors.shape
    return RPNOutput(
        logits=torch.zeros(1, h, w, n, 2),
        deltas=torch.zeros(1, h, w, n, 4),
        anchors=anchors,
        cells=torch.tensor([cells or (h, w)]),
        stride=16,
    )


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def label_anchors(grid, truth, size=(100.0, 100.0), seed=0, cells=None, **settings):
    output = output_of(grid, cells)
    recipe = TargetRecipe(**settings)
    return anchor_targets(output, 0, torch.tensor(size), truth, recipe, generator(seed))


def label_rois(boxes, truth, conventions=RELEASE, seed=0, **settings):
    boxes = torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)
    proposals = Proposals(
        boxes=boxes,
        image_index=torch.zeros(len(boxes), dtype=torch.int64),
        objectness=torch.zeros(len(boxes)),
    )
    recipe = with_conventions(TargetRecipe(**{"ohem": False, **settings}), conventions)
    return roi_targets(proposals, (truth,), recipe, STDS, [generator(seed)])


def swapped(boxes):
    """ChainerCV's (y, x) order as ours."""
    return torch.from_numpy(np.asarray(boxes, dtype=np.float32)[..., [1, 0, 3, 2]])


# anchors


def row_of(boxes):
    return torch.tensor(boxes, dtype=torch.float32).reshape(1, -1, 1, 4)


def test_anchor_labels_by_hand():
    truth = truth_of([[10, 10, 30, 30], [50, 50, 60, 60]])
    anchors = [
        [10, 10, 30, 30],  # the first object itself
        [10, 10, 30, 24],  # IoU 0.7 exactly
        [10, 10, 30, 20],  # IoU 0.5: between
        [70, 10, 90, 30],  # touches nothing
        [48, 48, 68, 68],  # the best of the second object, IoU 0.25 alone
        [49, 49, 69, 69],  # IoU 0.25 too: a tie
        [90, 90, 101, 99],  # leaves the image
    ]
    found = label_anchors(row_of(anchors), truth)
    assert found.labels.tolist() == [1, 1, IGNORED, 0, 1, 1, IGNORED]
    assert found.deltas[0].tolist() == [0, 0, 0, 0]
    expected = [0.0, 3 / 14, 0.0, np.log(20 / 14)]
    np.testing.assert_allclose(found.deltas[1], expected, atol=1e-6)


def test_an_anchor_on_the_edge_is_inside_and_the_border_can_be_moved():
    anchors = row_of([[0, 0, 100, 100], [-1, 0, 20, 20], [80, 80, 100, 101]])
    truth = truth_of([])
    assert label_anchors(anchors, truth).labels.tolist() == [0, IGNORED, IGNORED]
    assert label_anchors(anchors, truth, anchor_border=1.0).labels.tolist() == [0, 0, 0]
    wide = label_anchors(anchors, truth, size=(101.0, 100.0))
    assert wide.labels.tolist() == [0, IGNORED, 0]


def test_cells_of_the_padding_have_no_labels():
    anchors = torch.tensor([1.0, 1, 9, 9]).expand(3, 4, 2, 4)
    found = label_anchors(anchors, truth_of([]), cells=(2, 3)).labels.reshape(3, 4, 2)
    assert (found[:2, :3] == 0).all()
    assert (found[2:] == IGNORED).all() and (found[:, 3:] == IGNORED).all()


def test_an_object_that_no_anchor_touches_changes_nothing():
    anchors = row_of([[0, 0, 10, 10], [20, 20, 30, 30]])
    found = label_anchors(anchors, truth_of([[70, 70, 80, 80]]))
    assert found.labels.tolist() == [0, 0]


def test_no_anchor_inside_gives_no_label():
    found = label_anchors(row_of([[-5, 0, 10, 10]]), truth_of([[0, 0, 9, 9]]))
    assert found.labels.tolist() == [IGNORED]


def test_anchors_inside_crowds_are_no_negatives_if_asked():
    anchors = row_of([[0, 0, 10, 10], [40, 40, 50, 50], [56, 40, 66, 50], [54, 40, 64, 50]])
    truth = truth_of([[40, 40, 50, 50]], crowds=[[0, 0, 60, 60]])
    assert label_anchors(anchors, truth).labels.tolist() == [0, 1, 0, 0]
    asked = label_anchors(anchors, truth, ignore_crowds=True)
    assert asked.labels.tolist() == [IGNORED, 1, 0, IGNORED]  # 0.4 and 0.6 of them inside


def test_at_most_half_of_the_anchors_are_positive_and_negatives_fill_up():
    anchors = torch.cat(
        [
            torch.tensor([10.0, 10, 20, 20]).expand(30, 4),
            torch.tensor([50.0, 50, 60, 60]).expand(50, 4),
        ]
    ).reshape(1, 80, 1, 4)
    truth = truth_of([[10, 10, 20, 20]])
    labels = label_anchors(anchors, truth, anchors=20).labels
    assert (labels == 1).sum() == 10 and (labels == 0).sum() == 10
    other = label_anchors(anchors, truth, anchors=20, seed=1).labels
    assert not torch.equal(labels, other)
    labels = label_anchors(anchors, truth, anchors=70).labels
    assert (labels == 1).sum() == 30 and (labels == 0).sum() == 40


@pytest.mark.parametrize("kind", ["coco", "small"])
@pytest.mark.parametrize("seed", [0, 1])
def test_anchor_targets_of_chainercv(shared, kind, seed):
    with np.load(shared / "golden" / "unit" / "unit_anchor_target.npz") as golden:
        anchors, boxes = swapped(golden[f"anchor_{kind}"]), swapped(golden["bbox"])
        height, width = golden["img_size"].tolist()
        labels = torch.from_numpy(golden[f"{kind}_seed{seed}_label"]).long()
        deltas = swapped(golden[f"{kind}_seed{seed}_loc"])
    truth = truth_of(boxes.tolist())
    grid = anchors.reshape(-1, 13, 12, 4)
    found = label_anchors(grid, truth, (float(height), float(width)), anchors=ALL)
    sampled = labels != IGNORED
    assert sampled.sum() > 50
    assert torch.equal(found.labels[sampled], labels[sampled])
    assert (labels == 1).sum() == min(128, (found.labels == 1).sum())
    assert sampled.sum() == min(256, (found.labels != IGNORED).sum())
    positive = labels == 1
    np.testing.assert_allclose(found.deltas[positive], deltas[positive], atol=2e-6)
    assert found.deltas[found.labels == 0].abs().sum() == 0  # the port has shifts for them too
    drawn = label_anchors(grid, truth, (float(height), float(width))).labels
    assert (drawn == 1).sum() == (labels == 1).sum()
    assert (drawn == 0).sum() == (labels == 0).sum()


# RoIs


SQUARE = [20, 20, 40, 40]  # the object of most cases below
NEAR = [20, 20, 40, 30]  # IoU 0.5 exactly
FAR = [20, 20, 40, 23]  # IoU 0.15
TOUCHING = [39, 39, 59, 59]  # IoU 0.001
AWAY = [70, 70, 90, 90]


def test_roi_labels_and_shifts_by_hand():
    found = label_rois([NEAR, FAR], truth_of([SQUARE], labels=[7]), rois=8, positive_fraction=1.0)
    # the object's own box joins in; negatives fill up, again and again
    assert found.boxes[:2].tolist() == [NEAR, SQUARE]
    assert found.labels.tolist() == [7, 7, 0, 0, 0, 0, 0, 0]
    assert found.boxes[2:].tolist() == [FAR] * 6
    assert found.objects[:2].tolist() == [0, 0]
    expected = [0, 0.5 / 0.2, 0, np.log(2) / 0.5]
    np.testing.assert_allclose(found.deltas[0], expected, atol=1e-6)
    assert found.deltas[1:].abs().sum() == 0
    assert found.image_index.tolist() == [0] * 8


def test_the_paper_has_no_truth_boxes_no_filling_and_a_strict_bound():
    truth = truth_of([SQUARE], labels=[7])
    found = label_rois([NEAR, AWAY, [20, 20, 40, 31]], truth, PAPER, rois=8, positive_fraction=1.0)
    assert found.boxes.tolist() == [[20, 20, 40, 31], NEAR, AWAY]
    assert found.labels.tolist() == [7, 0, 0]


def test_boxes_that_hardly_touch_are_no_negatives_but_may_fill_up():
    conventions = {
        **RELEASE, "negative_low": 0.1, "fill_negatives": False, "truth_as_rois": False,
    }  # fmt: skip
    boxes = [FAR, TOUCHING, AWAY]
    found = label_rois(boxes, truth_of([SQUARE]), conventions, rois=8)
    assert found.boxes.tolist() == [FAR]
    filled = label_rois(boxes, truth_of([SQUARE]), {**conventions, "fill_negatives": True}, rois=7)
    assert filled.boxes[0].tolist() == FAR
    rows = [tuple(b) for b in filled.boxes[1:].tolist()]
    # two rounds over all of them, as none is positive
    assert sorted(rows) == sorted(tuple(map(float, b)) for b in boxes * 2)
    assert filled.labels.sum() == 0


def test_with_hard_examples_all_rois_are_tried():
    boxes = [SQUARE] * 3 + [TOUCHING, AWAY]
    conventions = {**RELEASE, "negative_low": 0.1}
    found = label_rois(boxes, truth_of([SQUARE]), conventions, rois=2, ohem=True)
    assert found.labels.tolist() == [1, 1, 1, 0, 0, 1]
    strict = {**conventions, "fill_negatives": False}
    found = label_rois(boxes, truth_of([SQUARE]), strict, rois=2, ohem=True)
    assert found.labels.tolist() == [1, 1, 1, 1]


def slow_release_rule(overlaps, labels, rois, quota, low, rng):
    """The release's sampling as a plain list of indices, reference 6.2."""
    positive = [i for i, o in enumerate(overlaps) if o >= 0.5]
    negative = [i for i, o in enumerate(overlaps) if low <= o < 0.5]
    chosen = list(rng.permutation(positive)[:quota])
    drawn = len(chosen)
    result = chosen + list(rng.permutation(negative)[: rois - drawn])
    others = [i for i in range(len(overlaps)) if i not in chosen]
    while len(result) < rois and others:
        result += list(rng.permutation(others)[: rois - len(result)])
    return drawn, result, [labels[i] for i in result[:drawn]] + [0] * (len(result) - drawn)


@pytest.mark.parametrize("low", [0.0, 0.1])
@pytest.mark.parametrize("rois", [16, 64, 300])
def test_sampling_obeys_the_release_rule(low, rois):
    """Chance differs; what is certain, and how often each RoI may come, must not."""
    rng = np.random.default_rng(rois)
    corners = rng.uniform(0, 60, (100, 2))
    boxes = np.concatenate([corners, corners + rng.uniform(8, 40, (100, 2))], axis=1)
    boxes[:40, :] = np.array(SQUARE) + rng.uniform(-2, 2, (40, 4))
    truth = truth_of([SQUARE, [50, 50, 70, 70]], labels=[3, 5])
    conventions = {**RELEASE, "negative_low": low}
    found = label_rois(boxes.tolist(), truth, conventions, rois=rois)

    everything = torch.cat([torch.tensor(boxes, dtype=torch.float32), truth.boxes])
    overlaps = np.array(
        [max(_iou(b, t) for t in truth.boxes.tolist()) for b in everything.tolist()]
    )
    nearest = [
        int(np.argmax([_iou(b, t) for t in truth.boxes.tolist()])) for b in everything.tolist()
    ]
    labels = [[3, 5][n] for n in nearest]
    quota = round(0.25 * rois)
    drawn, expected, expected_labels = slow_release_rule(
        overlaps, labels, rois, quota, low, np.random.default_rng(0)
    )
    index = [int((everything == b).all(dim=1).nonzero()[0]) for b in found.boxes]
    assert len(index) == len(expected) == rois
    got = found.labels.tolist()
    assert sum(label > 0 for label in got) == drawn
    assert sorted(label > 0 for label in got) == sorted(e > 0 for e in expected_labels)
    for i, label in zip(index[:drawn], got[:drawn], strict=True):
        assert overlaps[i] >= 0.5 and label == labels[i]
    assert len(set(index[:drawn])) == drawn
    negatives = [i for i in range(len(overlaps)) if low <= overlaps[i] < 0.5]
    taken = min(len(negatives), rois - drawn)
    assert set(index[drawn : drawn + taken]) <= set(negatives)
    assert len(set(index[drawn : drawn + taken])) == taken
    filled = index[drawn + taken :]
    if taken < len(negatives):
        assert not filled
        return
    # each one again only after all were drawn, and never a positive that counts as one
    others = set(range(len(overlaps))) - set(index[:drawn])
    counts = [filled.count(i) for i in others]
    assert sum(counts) == len(filled) and max(counts) - min(counts) <= 1
    if rois == 64 and drawn == quota and filled:
        assert any(overlaps[i] >= 0.5 for i in filled)  # positives that were not drawn


def _iou(a, b):
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    overlap = max(0, width) * max(0, height)
    return overlap / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - overlap)


def test_without_truth_all_rois_are_background():
    found = label_rois([SQUARE, AWAY], truth_of([]), rois=2)
    assert found.labels.tolist() == [0, 0]
    found = label_rois([SQUARE, AWAY], truth_of([]), PAPER, ohem=True)
    assert found.labels.tolist() == [0, 0]


def test_without_proposals_the_truth_alone_is_left():
    found = label_rois([], truth_of([SQUARE]), rois=4)
    assert found.boxes.tolist() == [SQUARE] and found.labels.tolist() == [1]
    for truth in (truth_of([]), truth_of([SQUARE])):
        nothing = label_rois([], truth, PAPER, rois=4)
        assert nothing.boxes.shape == (0, 4) and nothing.labels.shape == (0,)


def test_rois_inside_crowds_are_no_negatives_if_asked():
    truth = truth_of([SQUARE], crowds=[[60, 60, 100, 100]])
    boxes = [SQUARE, AWAY, [0, 0, 9, 9]]
    found = label_rois(boxes, truth, rois=9, positive_fraction=0.5, ignore_crowds=True)
    assert AWAY not in found.boxes.tolist() and len(found.labels) == 9
    found = label_rois(boxes, truth, ohem=True, ignore_crowds=True)
    assert found.boxes.tolist() == [SQUARE, [0, 0, 9, 9], SQUARE]
    assert AWAY in label_rois(boxes, truth, rois=9).boxes.tolist()


def test_each_image_is_sampled_by_itself():
    rng = np.random.default_rng(0)
    corners = torch.from_numpy(rng.uniform(0, 60, (60, 2)).astype(np.float32))
    boxes = torch.cat([corners, corners + 20], dim=1)
    truths = (truth_of([SQUARE]), truth_of([[50, 50, 70, 70], AWAY]), truth_of([]))
    image = torch.arange(60) % 3
    recipe = TargetRecipe(ohem=False, rois=12)

    def run(images):
        keep = torch.isin(image, torch.tensor(images))
        proposals = Proposals(
            boxes=boxes[keep],
            image_index=torch.tensor([images.index(int(i)) for i in image[keep]]),
            objectness=torch.zeros(int(keep.sum())),
        )
        chosen = tuple(truths[i] for i in images)
        return roi_targets(proposals, chosen, recipe, STDS, [generator(i) for i in images])

    together = run([0, 1, 2])
    assert together.image_index.tolist() == [0] * 12 + [1] * 12 + [2] * 12
    for i in range(3):
        alone, mine = run([i]), together.image_index == i
        assert torch.equal(alone.boxes, together.boxes[mine])
        assert torch.equal(alone.labels, together.labels[mine])
        assert torch.equal(alone.deltas, together.deltas[mine])


@pytest.mark.parametrize("key", [f"cv2_seed{s}_n{n}" for s in (0, 1) for n in (32, 128)])
def test_roi_targets_of_chainercv(shared, key):
    with np.load(shared / "golden" / "unit" / "unit_proposal_target.npz") as golden:
        rois, boxes = swapped(golden["roi"]), swapped(golden["bbox"])
        labels = golden["label"] + 1
        sampled = swapped(golden[f"{key}_sample_roi"])
        wanted_labels = torch.from_numpy(golden[f"{key}_gt_roi_label"]).long()
        wanted_deltas = swapped(golden[f"{key}_gt_roi_loc"])
    conventions = {**RELEASE, "fill_negatives": False, "negative_low": 0.1}
    truth = truth_of(boxes.tolist(), labels=labels.tolist())
    found = label_rois(rois.tolist(), truth, conventions, rois=ALL, positive_fraction=1.0)
    row = [int((found.boxes == box).all(dim=1).nonzero()[0]) for box in sampled]
    assert torch.equal(found.labels[row], wanted_labels)
    positive = wanted_labels > 0
    np.testing.assert_allclose(found.deltas[row][positive], wanted_deltas[positive], atol=1e-5)
    count = int(key.rpartition("n")[2])
    drawn = label_rois(rois.tolist(), truth, conventions, rois=count)
    assert len(drawn.labels) == len(sampled)
    assert (drawn.labels > 0).sum() == positive.sum()
