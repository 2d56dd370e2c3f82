"""The losses and gradients of the reference network, by ChainerCV."""

import importlib.util
from dataclasses import replace

import numpy as np
import pytest
import torch
from tests.presets import preset

from fcis.inference.preprocess import Resize
from fcis.model.build import build_model
from fcis.training.batch import ObjectMask, Sample, Truth, collate_samples
from fcis.training.losses import image_losses, roi_losses, rpn_losses
from fcis.training.targets import IGNORED, AnchorTargets, RoITargets
from fcis.weights.foreign.mapping import chainercv_names


def reference_arrays(shared):
    """The reference network's weights under ChainerCV's keys."""
    path = shared / "golden" / "make_weights.py"
    spec = importlib.util.spec_from_file_location("make_weights", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    with np.load(shared / "golden" / "calibration.npz", allow_pickle=False) as file:
        return module.build({k: file[k] for k in file.files})


def heads_of(arrays):
    """Our names of what is not backbone (reference 8.3 to 8.5)."""
    for kind, suffix in (("weight", "W"), ("bias", "b")):

        def flat(key, suffix=suffix):
            value = torch.from_numpy(arrays[f"{key}/{suffix}"])
            return value, value.shape[1:]

        yield f"rpn.conv.{kind}", flat("rpn/conv1")[0]
        score, rest = flat("rpn/score")
        yield f"rpn.scores.{kind}", score.reshape(-1, 2, *rest).transpose(0, 1).reshape(-1, *rest)
        loc, rest = flat("rpn/loc")
        yield f"rpn.deltas.{kind}", loc.reshape(-1, 4, *rest)[:, [1, 0, 3, 2]].reshape(-1, *rest)
        yield f"head.reduction.{kind}", flat("head/conv1")[0]
        yield f"head.classes.{kind}", flat("head/cls_seg")[0]
        ag_loc, rest = flat("head/ag_loc")
        boxes = ag_loc.reshape(2, 4, 49, *rest)[:, [1, 0, 3, 2]].reshape(-1, *rest)
        yield f"head.boxes.{kind}", boxes


NAMES_OF_HEADS = {
    "rpn.conv": "rpn/conv1",
    "rpn.scores": "rpn/score",
    "rpn.deltas": "rpn/loc",
    "head.reduction": "head/conv1",
    "head.classes": "head/cls_seg",
    "head.boxes": "head/ag_loc",
}


def swapped(values):
    return torch.from_numpy(values[..., [1, 0, 3, 2]].astype(np.float32))


@pytest.mark.slow
def test_losses_and_gradients_of_the_reference_network(shared):
    """ChainerCV's training step: the same RoIs and targets give its losses and gradients."""
    with np.load(shared / "golden" / "unit" / "unit_train_loss.npz", allow_pickle=False) as file:
        golden = {k: file[k] for k in file.files}
    base = preset("chainercv", "ohem=false", "pretrained=")
    names, ids = tuple(f"c{i}" for i in range(80)), tuple(range(80))
    recipe = replace(base, model=replace(base.model, class_names=names, category_ids=ids))
    model = build_model(recipe.model)
    arrays = reference_arrays(shared)
    names = chainercv_names((3, 4, 23, 3))
    state = {f"backbone.{k}": torch.from_numpy(arrays[v]) for k, v in names.items()}
    model.load_state_dict(state | dict(heads_of(arrays)), strict=True)

    boxes = swapped(golden["bbox"])
    truth = Truth(
        boxes=boxes,
        labels=torch.from_numpy(golden["label"]).long() + 1,
        masks=tuple(
            ObjectMask(top=0, left=0, values=torch.from_numpy(m.astype(np.float32)))
            for m in golden["mask"]
        ),
        crowds=torch.zeros(0, 4),
    )
    pixels = torch.from_numpy(golden["x"])
    height, width = pixels.shape[2:]
    sample = Sample(
        number=0,
        pixels=pixels[0],
        plan=Resize(size=(height, width), factors=(1.0, 1.0)),
        original_size=(height, width),
        truth=truth,
        name="golden",
    )
    batch = collate_samples([sample])
    sampled = swapped(golden["sample_roi"])
    labels = torch.from_numpy(golden["gt_roi_label"]).long()
    # no two objects have one category, so labels name objects
    objects = (labels[:, None] == truth.labels).int().argmax(dim=1)
    rois = RoITargets(
        boxes=sampled,
        image_index=torch.zeros_like(labels),
        labels=labels,
        objects=objects,
        deltas=swapped(golden["gt_roi_loc"]) * (labels > 0)[:, None],
    )
    anchors = AnchorTargets(
        labels=torch.from_numpy(golden["gt_rpn_label"]).long(),
        deltas=swapped(golden["gt_rpn_loc"]),
    )
    output, maps = model(batch.images)
    labelled = int((anchors.labels != IGNORED).sum())
    rpn_class, rpn_box = rpn_losses(output, 0, anchors, labelled)
    per_roi = roi_losses(model, maps, rois, batch, recipe)
    roi_class, roi_mask, roi_box = (t[0] for t in image_losses(per_roi, rois, recipe, 1))
    found = {
        "rpn_loc": rpn_box,
        "rpn_cls": rpn_class,
        "roi_loc": roi_box,
        "roi_cls": roi_class,
        "roi_mask": roi_mask,
    }
    for name, value in found.items():
        assert value.item() == pytest.approx(golden[f"loss_{name}_loss"].item(), rel=5e-5), name
    sum(found.values()).backward()

    keys = {f"backbone.{ours}": f"/{key}" for ours, key in names.items()}
    for ours, key in NAMES_OF_HEADS.items():
        keys |= {f"{ours}.weight": f"/{key}/W", f"{ours}.bias": f"/{key}/b"}
    rows = {name: i for i, name in enumerate(golden["grad_names"])}
    compared = 0
    for name, parameter in model.named_parameters():
        wanted = golden["grad_norms"][rows[keys[name]]]
        if np.isnan(wanted):
            assert parameter.grad is None, name
            continue
        assert parameter.grad.norm().item() == pytest.approx(wanted, rel=5e-3), name
        compared += 1
    assert compared == 324 - 33
    biases = torch.from_numpy(golden["grad/head/cls_seg/b"])
    torch.testing.assert_close(model.head.classes.bias.grad, biases, rtol=1e-2, atol=2e-5)
