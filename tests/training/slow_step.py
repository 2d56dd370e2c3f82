"""One training step a second time, in loops: targets, losses, the choice of RoIs, the update.

Written from the paper's section 2.3 and the reference's sections 3.4 to 3.5 and 6.2 to 6.6 for
`align` sampling. It takes the network's outputs and proposals as given, and shares with the code
under test the definition of assembly alone. No step draws: all anchors are labelled, and the RoIs
are the hardest of all.
"""

import math

import torch

from fcis.model.joint import assembly_rule
from fcis.ops import definition
from fcis.ops.roi_sampling import RoIs


def slow_loss(model, batch, recipe):
    """Return the mean over images of all five terms, and each image's chosen RoIs."""
    output, maps = model(batch.images)
    proposals = model.rpn_proposals(output, batch.images)
    totals, chosen = [], []
    for image, truth in enumerate(batch.truths):
        mine = [
            box for box, i in zip(proposals.boxes, proposals.image_index, strict=True) if i == image
        ]
        if recipe.training.targets.truth_as_rois:
            mine += [box.to(proposals.boxes) for box in truth.boxes]
        rpn = rpn_terms(output, image, batch.images.sizes[image].tolist(), truth, recipe)
        rois = [roi_terms(maps, image, box, truth, recipe) for box in mine]
        head, hardest = hardest_terms([r for r in rois if r is not None], recipe)
        totals.append(sum(rpn) + sum(head))
        chosen.append(hardest)
    return sum(totals) / len(totals), chosen


def rpn_terms(output, image, size, truth, recipe):
    """Return class and box term of the RPN."""
    settings, (height, width) = recipe.training.targets, size
    rows, columns = output.cells[image].tolist()
    places = []
    for row in range(rows):
        for column in range(columns):
            for number in range(output.anchors.shape[2]):
                x0, y0, x1, y1 = output.anchors[row, column, number].tolist()
                border = settings.anchor_border
                if min(x0, y0) >= -border and x1 <= width + border and y1 <= height + border:
                    places.append((row, column, number))
    overlaps = [
        [overlap(output.anchors[place].tolist(), box.tolist()) for box in truth.boxes]
        for place in places
    ]
    most = [max(o[j] for o in overlaps) for j in range(len(truth.boxes))]
    classes, boxes, count = 0.0, 0.0, 0
    for place, own in zip(places, overlaps, strict=True):
        best = max(own)
        is_best = any(o == m and m > 0 for o, m in zip(own, most, strict=True))
        logits = output.logits[(image, *place)]
        if best >= settings.anchor_positive or is_best:
            wanted = shifts(output.anchors[place], truth.boxes[own.index(best)])
            found = output.deltas[(image, *place)]
            boxes = boxes + sum(huber(f - w, 1 / 9) for f, w in zip(found, wanted, strict=True))
            classes, count = classes - logits.log_softmax(dim=0)[1], count + 1
        elif best < settings.anchor_negative:
            classes, count = classes - logits.log_softmax(dim=0)[0], count + 1
    return classes / count, boxes / count


def roi_terms(maps, image, box, truth, recipe):
    """Return class, weighted mask and box term of a RoI; None if it is not looked at."""
    settings = recipe.training.targets
    own = [overlap(box.tolist(), other.tolist()) for other in truth.boxes]
    best = max(own)
    positive = best >= settings.roi_positive
    if not positive and best < settings.negative_low and not settings.fill_negatives:
        return None
    nearest = own.index(best)
    label = int(truth.labels[nearest]) if positive else 0
    rule = assembly_rule(recipe.model)
    roi = RoIs(boxes=box[None], image_index=torch.tensor([image]), cells=maps.cells)
    scores = definition.class_scores(maps.classes, roi, rule)[0]
    classes = -scores.log_softmax(dim=0)[label]
    zero = classes * 0
    if not positive:
        return classes, zero, zero
    wanted = shifts(box, truth.boxes[nearest])
    found = definition.mean_deltas(maps.boxes, roi, rule)[0]
    boxes = sum(
        huber(f - w / std, 1.0)
        for f, w, std in zip(found, wanted, recipe.model.head.box_stds, strict=True)
    )
    pairs = definition.class_masks(maps.classes, roi, torch.tensor([label]), rule).values
    inside = mask_samples(box.tolist(), truth.masks[nearest], rule.out_size)
    masks = zero
    for pair, share in zip(pairs, inside, strict=True):
        # the softmax over outside and inside
        masks = masks - pair.log_softmax(dim=0)[int(share >= recipe.model.detection.mask_threshold)]
    return classes, masks / len(inside) * recipe.training.losses.mask_loss_weight, boxes


def hardest_terms(rois, recipe):
    """Return the terms of an image from those RoIs that lose most, and these RoIs' numbers."""
    settings = recipe.training.targets
    order = sorted(range(len(rois)), key=lambda n: -float(sum(rois[n]).detach()))
    hardest = order[: settings.rois]
    count = settings.rois if recipe.training.losses.loss_rois == "planned" else len(hardest)
    classes, masks, boxes = (sum(rois[n][term] for n in hardest) for term in range(3))
    return (classes / len(hardest), masks / count, boxes / count), hardest


def mask_samples(box, mask, size):
    """Return the object's share at each sample of a RoI, by bilinear interpolation."""
    x0, y0, x1, y1 = box
    height, width = mask.values.shape
    samples = []
    for row in range(size):
        for column in range(size):
            y = y0 + (row + 0.5) * (y1 - y0) / size - 0.5 - mask.top
            x = x0 + (column + 0.5) * (x1 - x0) / size - 0.5 - mask.left
            total = 0.0
            for j in (math.floor(y), math.floor(y) + 1):
                for i in (math.floor(x), math.floor(x) + 1):
                    if 0 <= j < height and 0 <= i < width:
                        near = (1 - abs(y - j)) * (1 - abs(x - i))
                        total += near * float(mask.values[j, i])
            samples.append(total)
    return samples


def shifts(box, target):
    """Return (dx, dy, dw, dh) that lead from a box to its target."""
    (x0, y0, x1, y1), (u0, v0, u1, v1) = box.tolist(), target.tolist()
    width, height = x1 - x0, y1 - y0
    return (
        ((u0 + u1) / 2 - (x0 + x1) / 2) / width,
        ((v0 + v1) / 2 - (y0 + y1) / 2) / height,
        math.log((u1 - u0) / width),
        math.log((v1 - v0) / height),
    )


def overlap(a, b):
    """Return the intersection over union of two boxes."""
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    both = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1])
    return width * height / (both - width * height)


def huber(value, beta):
    """Return a loss that is quadratic below beta and linear above."""
    size = value.abs()
    return 0.5 * size**2 / beta if size < beta else size - 0.5 * beta


def slow_update(parameters, gradients, momenta, recipe):
    """Return parameters and momenta after a step of SGD with clipping, decay and two rates."""
    norm = math.sqrt(sum(float((g**2).sum()) for g in gradients.values()))
    factor = min(1.0, recipe.clip_norm / norm)
    for name, gradient in gradients.items():
        rate = recipe.lr * (recipe.reduction_lr if name.startswith("head.reduction.") else 1)
        decay = recipe.weight_decay if name.endswith("weight") else 0.0
        update = gradient * factor + decay * parameters[name]
        momenta[name] = recipe.momentum * momenta[name] + update if name in momenta else update
        parameters[name] = parameters[name] - rate * momenta[name]
    return parameters, momenta
