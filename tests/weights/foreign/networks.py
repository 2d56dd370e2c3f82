"""Arrays of networks under the names of other programs, any size, made without our mapping."""

import numpy as np

COCO = {"anchors": 12, "classes": 80}
VOC = {"anchors": 9, "classes": 20}
FULL = {"widths": (64, 128, 256, 512), "stem": 64, "hidden": 512, "reduction": 1024, "k": 7}
# small in every direction; no two sizes are equal that could be mistaken for each other
SLIM = {"widths": (2, 3, 4, 5), "stem": 6, "hidden": 7, "reduction": 8, "k": 3}
STDS = np.float32([0.2, 0.2, 0.5, 0.5])


def blocks(depth, numbered):
    """The release's names of a stage's blocks."""
    return ["a", *(f"b{n}" for n in range(1, depth))] if numbered else list("abcdefgh"[:depth])


def convolutions(depths, widths, stem):
    """Yield stage (2 ..), block number, branch and shape of every convolution of a ResNet."""
    inputs = stem
    for stage, (depth, width) in enumerate(zip(depths, widths, strict=True), start=2):
        for number in range(depth):
            if number == 0:
                yield stage, number, "branch1", (4 * width, inputs, 1, 1)
            yield stage, number, "branch2a", (width, inputs, 1, 1)
            yield stage, number, "branch2b", (width, width, 3, 3)
            yield stage, number, "branch2c", (4 * width, width, 1, 1)
            inputs = 4 * width


def backbone_shapes(depths=(3, 4, 6, 3), widths=(2, 3, 4, 5), stem=6):
    """Name -> shape of a ResNet's arrays, as the release's files call them."""
    shapes = {"arg:conv1_weight": (stem, 3, 7, 7)}
    norms = {"bn_conv1": stem}
    for stage, number, branch, shape in convolutions(depths, widths, stem):
        numbered = stage in (3, 4) and depths != (3, 4, 6, 3)
        block = f"{stage}{blocks(depths[stage - 2], numbered)[number]}"
        shapes[f"arg:res{block}_{branch}_weight"] = shape
        norms[f"bn{block}_{branch}"] = shape[0]
    for norm, channels in norms.items():
        for array in ("arg:{}_gamma", "arg:{}_beta", "aux:{}_moving_mean", "aux:{}_moving_var"):
            shapes[array.format(norm)] = (channels,)
    return shapes


def head_shapes(*, widths, hidden, reduction, k, anchors, classes, slots=2, stem=0):
    """Name -> shape of the arrays of RPN and head, as the release's files call them."""
    layers = {
        "rpn_conv_3x3": (hidden, 4 * widths[2], 3, 3),
        "rpn_cls_score": (2 * anchors, hidden, 1, 1),
        "rpn_bbox_pred": (4 * anchors, hidden, 1, 1),
        "conv_new_1": (reduction, 4 * widths[3], 1, 1),
        "fcis_cls_seg": (2 * k**2 * (classes + 1), reduction, 1, 1),
        "fcis_bbox": (4 * k**2 * slots, reduction, 1, 1),
    }
    shapes = {f"arg:{name}_weight": shape for name, shape in layers.items()}
    return shapes | {f"arg:{name}_bias": shape[:1] for name, shape in layers.items()}


def filled(shapes, seed=0):
    """Random arrays of these shapes, of a size that a network can run with."""
    rng = np.random.default_rng(seed)
    arrays = {n: rng.standard_normal(s, dtype=np.float32) / 4 for n, s in shapes.items()}
    return {n: 1 + a**2 if n.endswith("_var") else a for n, a in arrays.items()}


def release_arrays(*, depths=(3, 4, 6, 3), size=SLIM, data=COCO, slots=2, folded=False):
    """All arrays of a file of the release; `folded` adds the pair with box stds folded in."""
    shapes = backbone_shapes(depths, size["widths"], size["stem"])
    arrays = filled(shapes | head_shapes(**size, **data, slots=slots))
    if folded:
        for name in ("arg:fcis_bbox_weight", "arg:fcis_bbox_bias"):
            plain = arrays[name]
            parts = plain.reshape(slots, 4, -1) * STDS[:, None]
            arrays[f"{name}_test"] = parts.reshape(plain.shape)
    return arrays


LINKS = {"branch1": "residual_conv", "branch2a": "conv1", "branch2b": "conv2", "branch2c": "conv3"}
BN = {"gamma": "gamma", "beta": "beta", "moving_mean": "avg_mean", "moving_var": "avg_var"}
HEADS = {
    "rpn_conv_3x3": "rpn/conv1",
    "rpn_cls_score": "rpn/score",
    "rpn_bbox_pred": "rpn/loc",
    "conv_new_1": "head/conv1",
    "fcis_cls_seg": "head/cls_seg",
    "fcis_bbox": "head/ag_loc",
}


def to_chainercv(arrays, depths=(3, 4, 6, 3), slots=2):
    """A release's arrays as ChainerCV's mxnet2npz.py writes them (reference 8.4)."""
    found = {}

    def put(path, conv, norm):
        found[f"{path}/conv/W"] = arrays[f"arg:{conv}_weight"]
        found[f"{path}/bn/N"] = np.array(0)
        for theirs, ours in BN.items():
            kind = "aux" if theirs.startswith("moving") else "arg"
            found[f"{path}/bn/{ours}"] = arrays[f"{kind}:{norm}_{theirs}"]

    put("extractor/conv1", "conv1", "bn_conv1")
    for stage, number, branch, _ in convolutions(depths, (1, 1, 1, 1), 1):
        numbered = stage in (3, 4) and depths != (3, 4, 6, 3)
        name = f"{stage}{blocks(depths[stage - 2], numbered)[number]}_{branch}"
        block = f"b{number}" if number else "a"
        put(f"extractor/res{stage}/{block}/{LINKS[branch]}", f"res{name}", f"bn{name}")
    for theirs, ours in HEADS.items():
        for kind, letter in (("weight", "W"), ("bias", "b")):
            value = arrays[f"arg:{theirs}_{kind}"]
            rest = value.shape[1:]
            if theirs == "rpn_cls_score":
                value = np.stack(np.split(value, 2), axis=1)
            elif theirs == "rpn_bbox_pred":
                value = value.reshape(-1, 4, *rest)[:, [1, 0, 3, 2]]
            elif theirs == "fcis_bbox":
                value = value.reshape(slots, 4, -1, *rest)[:, [1, 0, 3, 2]]
            found[f"{ours}/{letter}"] = value.reshape(-1, *rest)
    return found


def resnet_state(depths=(3, 4, 6, 3), widths=(2, 3, 4, 5), stem=6):
    """A state dict of torchvision's names, classifier and counters included."""
    convs = {"branch1": "0", "branch2a": "1", "branch2b": "2", "branch2c": "3"}
    shapes = {"conv1.weight": (stem, 3, 7, 7)}
    norms = {"bn1": stem}
    for stage, number, branch, shape in convolutions(depths, widths, stem):
        block = f"layer{stage - 1}.{number}"
        if branch == "branch1":
            conv, norm = f"{block}.downsample.0", f"{block}.downsample.1"
        else:
            conv, norm = f"{block}.conv{convs[branch]}", f"{block}.bn{convs[branch]}"
        shapes[f"{conv}.weight"] = shape
        norms[norm] = shape[0]
    for norm, channels in norms.items():
        for array in ("weight", "bias", "running_mean", "running_var"):
            shapes[f"{norm}.{array}"] = (channels,)
    arrays = filled(shapes | {"fc.weight": (10, 4 * widths[3]), "fc.bias": (10,)})
    return arrays | {f"{norm}.num_batches_tracked": np.array(5) for norm in norms}
