import json
import os
import re
import struct
from dataclasses import replace

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

from fcis.core.errors import InputError
from fcis.evaluation.calibration import Calibration
from fcis.inference.preprocess import with_channels
from fcis.model.build import build_model
from fcis.model.folding import fold_norms
from fcis.recipe.as_json import to_json
from fcis.recipe.named import named_recipe
from fcis.weights.weights_file import (
    WeightsInfo,
    load_weights,
    load_what_fits,
    read_arrays,
    read_info,
    rewrite_info,
    save_weights,
    with_metrics,
)


@pytest.fixture
def info():
    model = replace(named_recipe("tiny").model, class_names=("a", "b"), category_ids=(4, 9))
    return WeightsInfo(
        model=model,
        recipe="tiny",
        thresholds=(0.25, 0.75),
        training_data="some images",
        metrics=(("AP", 0.5), ("AP50", 0.625)),
        spread=(("AP50", 0.0625),),
        licence="CC0",
        about="tests",
    )


@pytest.fixture
def model(info):
    return build_model(info.model, seed=1)


@pytest.fixture
def path(tmp_path, model, info):
    path = tmp_path / "w.safetensors"
    save_weights(path, model, info)
    return path


def same(first, second):
    return all(torch.equal(v, second.state_dict()[k]) for k, v in first.state_dict().items())


def test_the_way_there_and_back(path, model, info):
    assert read_info(path) == info
    other = build_model(read_info(path).model, seed=2)
    assert not same(model, other)
    load_weights(path, other)
    assert same(model, other)
    assert not any(name.endswith("num_batches_tracked") for name in read_arrays(path))


def test_the_same_weights_give_the_same_bytes(path, tmp_path, model, info):
    again = tmp_path / "again.safetensors"
    save_weights(again, model, info)
    assert again.read_bytes() == path.read_bytes()
    assert sorted(os.listdir(tmp_path)) == ["again.safetensors", "w.safetensors"]


def test_arrays_that_do_not_lie_row_by_row(tmp_path, model, info):
    with torch.no_grad():
        weight = model.rpn.conv.weight
        model.rpn.conv.weight = nn.Parameter(weight.contiguous(memory_format=torch.channels_last))
    save_weights(tmp_path / "w.safetensors", model, info)
    assert torch.equal(read_arrays(tmp_path / "w.safetensors")["rpn.conv.weight"], weight)


def test_figures_and_thresholds(info):
    assert info.threshold_of() == (1.0, 0.25, 0.75)
    assert replace(info, thresholds=()).threshold_of() == (1.0, 0.5, 0.5)
    changed = with_metrics(info, {"b": 2.0, "a": 1.0}, (0.5, 0.6))
    assert changed.metrics == (("a", 1.0), ("b", 2.0)) and changed.thresholds == (0.5, 0.6)
    assert changed.spread == ()  # it was of other figures


def test_half_precision_is_read_as_float32(tmp_path):
    save_file({"a": torch.tensor([1.5], dtype=torch.float16)}, tmp_path / "half.safetensors")
    (value,) = read_arrays(tmp_path / "half.safetensors").values()
    assert value.dtype == torch.float32 and value.tolist() == [1.5]


# calibrated weights


def test_a_calibration_is_kept_and_changes_no_array(path, tmp_path, info):
    with safe_open(path, framework="pt") as file:
        arrays = {name: file.get_tensor(name) for name in file.keys()}
    found = Calibration(temperature=1.3, bias=-0.1)
    changed = replace(info, calibration=found, thresholds=(0.1, 0.2))
    path.chmod(0o640)
    rewrite_info(path, path, changed)
    assert read_info(path) == changed and path.stat().st_mode & 0o777 == 0o640
    with safe_open(path, framework="pt") as file:
        assert file.keys() == list(arrays)
        assert all(torch.equal(file.get_tensor(name), arrays[name]) for name in arrays)
        assert json.loads(file.metadata()["fcis"])["format"] == 2
    assert os.listdir(tmp_path) == ["w.safetensors"]
    rewrite_info(path, tmp_path / "back.safetensors", info)
    assert read_info(tmp_path / "back.safetensors") == info


def test_the_same_bytes_after_there_and_back(path, info):
    before = path.read_bytes()
    rewrite_info(path, path, replace(info, calibration=Calibration(temperature=2.0)))
    assert path.read_bytes() != before
    rewrite_info(path, path, info)
    assert path.read_bytes() == before


def test_arrays_of_other_types_and_other_entries_stay(path, tmp_path, info):
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata() | {"format": "pt"}
    values = torch.tensor([1.5, float("nan"), -0.0])
    half = {"a": values.half(), "b": values.bfloat16(), "c": values.double()}
    save_file(half, path, metadata=metadata)
    rewrite_info(path, tmp_path / "new.safetensors", replace(info, recipe="other"))
    with safe_open(tmp_path / "new.safetensors", framework="pt") as file:
        assert file.metadata().keys() == {"fcis", "format"}
        for name, value in half.items():
            got = file.get_tensor(name)
            assert got.dtype == value.dtype
            assert got.view(torch.uint8).equal(value.view(torch.uint8))


def test_a_link_stays_a_link(path, tmp_path, info):
    link = tmp_path / "link.safetensors"
    link.symlink_to(path)
    rewrite_info(link, link, replace(info, recipe="other"))
    assert link.is_symlink() and read_info(path).recipe == "other"


def test_files_that_are_not_rewritten(path, tmp_path, info, monkeypatch):
    with pytest.raises(InputError, match="no such weights file"):
        rewrite_info(tmp_path / "gone", path, info)
    save_file({"a": torch.zeros(2)}, tmp_path / "foreign")
    before = path.read_bytes()
    with pytest.raises(InputError, match="has no description by fcis"):
        rewrite_info(tmp_path / "foreign", path, info)
    with pytest.raises(InputError, match=r"w\.safetensors: cannot be written \(.*No such file"):
        rewrite_info(path, tmp_path / "gone" / "w.safetensors", info)

    def stops(partial, _):
        partial.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr("fcis.weights.weights_file.write_synced", stops)
    with pytest.raises(KeyboardInterrupt):
        rewrite_info(path, path, replace(info, recipe="other"))
    assert path.read_bytes() == before


# what does not fit


def rewritten(path, arrays):
    """The file with other arrays and the description it had."""
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    save_file(arrays, path, metadata=metadata)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("missing", r"w\.safetensors: does not fit the model \(head\.boxes\.bias is missing\)"),
        ("extra", r"does not fit the model \(surplus is not part of it\); is the file complete\?"),
        ("shape", r"\(rpn\.conv\.bias is \(3,\) instead of \(16,\)\)"),
    ],
)
def test_every_array_is_accounted_for(path, model, change, message):
    arrays = read_arrays(path)
    if change == "missing":
        del arrays["head.boxes.bias"]
    elif change == "extra":
        arrays["surplus"] = torch.zeros(1)
    else:
        arrays["rpn.conv.bias"] = torch.zeros(3)
    rewritten(path, arrays)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    with pytest.raises(InputError, match=message):
        load_weights(path, model)
    assert all(torch.equal(v, model.state_dict()[k]) for k, v in before.items())


def test_what_fits_is_loaded_and_the_rest_is_told(path, info):
    recipe = replace(info.model, class_names=("a", "c"))
    other, before = build_model(recipe, seed=2), build_model(recipe, seed=2)
    new = load_what_fits(path, other, recipe.class_names)
    assert new == ["head.classes.bias", "head.classes.weight"]
    assert torch.equal(other.head.classes.weight, before.head.classes.weight)
    assert not torch.equal(other.head.boxes.weight, before.head.boxes.weight)
    equal = build_model(info.model, seed=2)
    assert load_what_fits(path, equal, info.model.class_names) == []
    wider = replace(info.model, rpn=replace(info.model.rpn, channels=17))
    new = load_what_fits(path, build_model(wider), wider.class_names)
    assert new == [
        "rpn.conv.bias", "rpn.conv.weight", "rpn.deltas.weight", "rpn.scores.weight"
    ]  # fmt: skip


def test_nothing_that_fits(path, model):
    rewritten(path, {"surplus": torch.zeros(1)})
    with pytest.raises(InputError, match=r"w\.safetensors: no array fits this recipe; choose the"):
        load_what_fits(path, model, ("a",))


# backbones alone


def saved_backbone(path, model, recipe):
    """A file with the backbone of a model, as `fcis convert` makes one."""
    info = WeightsInfo(model=replace(recipe, class_names=(), category_ids=()), recipe="backbone")
    save_weights(path, nn.ModuleDict({"backbone": model.backbone}), info)
    assert read_info(path).is_backbone
    return path


def test_a_folded_model_is_not_saved(tmp_path, info):
    model = fold_norms(build_model(info.model).eval())
    with pytest.raises(ValueError, match="norms are folded into convolutions; load it with fold="):
        save_weights(tmp_path / "w.safetensors", model, info)
    assert not (tmp_path / "w.safetensors").exists()


def test_a_backbone_alone(tmp_path, model, info):
    path = saved_backbone(tmp_path / "b.safetensors", model, info.model)
    other = build_model(info.model, seed=2)
    new = load_what_fits(path, other, info.model.class_names)
    assert new and all(name.startswith(("rpn.", "head.")) for name in new)
    assert same(model.backbone, other.backbone) and not same(model, other)
    assert not read_info(path).thresholds and not info.is_backbone


def test_the_first_layer_takes_the_recipe_s_input(tmp_path, info):
    trained = replace(info.model.preprocessing, mean=(90.0, 100.0, 110.0), std=(50.0, 40.0, 60.0))
    recipe = replace(info.model, preprocessing=trained)
    model = build_model(recipe, seed=1).eval()
    path = saved_backbone(tmp_path / "b.safetensors", model, recipe)
    other = build_model(info.model, seed=2).eval()
    load_what_fits(path, other, info.model.class_names)
    levels = torch.rand(1, 3, 64, 64) * 255
    both = []
    for network, seen in ((model, trained), (other, info.model.preprocessing)):
        pixels = (levels - torch.tensor(seen.mean)[:, None, None]) / torch.tensor(seen.std)[
            :, None, None
        ]
        with torch.inference_mode():
            # the border sees padding, which is zero in both
            both.append(network.backbone.bn1(network.backbone.conv1(pixels))[..., 2:-2, 2:-2])
    assert not torch.equal(model.backbone.conv1.weight, other.backbone.conv1.weight)
    torch.testing.assert_close(both[0], both[1], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"variant": "v1"},
            'b.safetensors: its backbone.variant is "modern", the recipe\'s is "v1"; add '
            "--set backbone.variant=modern or take other weights",
        ),
        (
            {"depths": (1, 1, 2, 1)},
            "its backbone.depths is [1, 1, 1, 1], the recipe's is [1, 1, 2, 1]; add "
            "--set backbone.depths=[1,1,1,1] or take other weights",
        ),
        ({"widths": (8, 12, 16, 25)}, "its backbone.widths is [8, 12, 16, 24], the recipe's"),
        ({"stem_width": 9}, "its backbone.stem_width is 8, the recipe's is 9; add --set backbone"),
        ({"block": "bottleneck"}, 'its backbone.block is "basic", the recipe\'s is "bottle'),
        ({"norm": "group"}, "has batch normalisation, the recipe's backbone.norm is group; add"),
    ],
)
def test_a_backbone_must_fit_as_a_whole(tmp_path, model, info, change, message):
    path = saved_backbone(tmp_path / "b.safetensors", model, info.model)
    backbone = replace(info.model.backbone, **change)
    other = build_model(replace(info.model, backbone=backbone))
    before = {k: v.clone() for k, v in other.state_dict().items()}
    with pytest.raises(InputError, match=re.escape(message)):
        load_what_fits(path, other, info.model.class_names)
    assert all(torch.equal(v, other.state_dict()[k]) for k, v in before.items())


@pytest.mark.parametrize("count", [1, 2, 5])
@pytest.mark.parametrize("alone", [True, False])
def test_weights_for_rgb_fit_any_number_of_channels(tmp_path, info, count, alone):
    model = build_model(info.model, seed=1).eval()
    path = tmp_path / "w.safetensors"
    if alone:
        saved_backbone(path, model, info.model)
    else:
        save_weights(path, model, info)
    recipe = replace(
        info.model,
        backbone=replace(info.model.backbone, in_channels=count),
        preprocessing=with_channels(info.model.preprocessing, count),
    )
    other = build_model(recipe, seed=2).eval()
    new = load_what_fits(path, other, info.model.class_names)
    assert all(name.startswith(("rpn.", "head.")) for name in new) and bool(new) == alone
    pixels = torch.randn(1, 1, 64, 64)
    with torch.inference_mode():
        was = model.backbone.conv1(pixels.expand(1, 3, 64, 64))
        now = other.backbone.conv1(pixels.expand(1, count, 64, 64))
    if count == 1:
        torch.testing.assert_close(now, was, rtol=1e-4, atol=1e-4)
    # repeated channels keep the size of the output, if not its value
    assert 0.3 < float(now.std() / was.std()) < 3


def test_the_settings_of_the_message_make_it_fit(tmp_path, info):
    from fcis.recipe.as_json import with_setting

    path = saved_backbone(tmp_path / "b.safetensors", build_model(info.model), info.model)
    odd = replace(info.model.backbone, variant="v1", depths=(1, 2, 1, 1), stem_width=4)
    recipe = named_recipe("tiny")
    recipe = replace(recipe, model=replace(info.model, backbone=odd))
    for _ in range(3):
        with pytest.raises(InputError) as error:
            load_what_fits(path, build_model(recipe.model), info.model.class_names)
        setting = str(error.value).partition("--set ")[2].split(" ")[0]
        recipe = with_setting(recipe, *setting.split("="))
    load_what_fits(path, build_model(recipe.model), info.model.class_names)


def test_whole_models_of_another_geometry(path, info):
    other = build_model(replace(info.model, backbone=replace(info.model.backbone, variant="v1")))
    with pytest.raises(
        InputError, match=r"w\.safetensors: its backbone\.variant is \"modern\", the"
    ):
        load_what_fits(path, other, info.model.class_names)


# damaged, foreign and hostile files


def crafted(path, header, body=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + body)


def test_no_such_file(tmp_path):
    for path in (tmp_path / "gone.safetensors", tmp_path):
        for read in (read_info, read_arrays):
            with pytest.raises(InputError, match=r"no such weights file; `fcis info` lists"):
                read(path)


def test_damaged_files(path):
    whole = path.read_bytes()
    length = len(whole)
    contents = [b"", b"\xff" * 100, b"PK\x03\x04" + b"\0" * 50]
    contents += [whole[:cut] for cut in (4, 8, 100, length // 2, length - 1)]
    contents.append(whole + b"more")
    for content in contents:
        path.write_bytes(content)
        for read in (read_info, read_arrays):
            with pytest.raises(InputError, match=r"w\.safetensors: not a safetensors file or dam"):
                read(path)


@pytest.mark.parametrize(
    "header",
    [
        {"a": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 4]}},
        {"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 400]}},
        {"a": {"dtype": "XX", "shape": [1], "data_offsets": [0, 4]}},
        {"__metadata__": {"fcis": 3}},
        b"[" * 100_000,
    ],
)
def test_headers_that_lie(tmp_path, header):
    path = tmp_path / "w.safetensors"
    crafted(path, header, b"\0" * 4)
    with pytest.raises(InputError, match="not a safetensors file or damaged"):
        read_arrays(path)


@pytest.mark.parametrize(("dtype", "size"), [("I64", 8), ("BOOL", 1), ("C64", 8)])
def test_arrays_of_other_than_real_numbers(tmp_path, dtype, size):
    path = tmp_path / "w.safetensors"
    crafted(path, {"x": {"dtype": dtype, "shape": [1], "data_offsets": [0, size]}}, b"\0" * size)
    with pytest.raises(InputError, match=r"w\.safetensors: x holds torch\.\w+, expected real num"):
        read_arrays(path)


def test_a_file_of_others(tmp_path):
    path = tmp_path / "w.safetensors"
    for metadata in (None, {"format": "pt"}):
        save_file({"a": torch.zeros(2)}, path, metadata=metadata)
        with pytest.raises(InputError, match="has no description by fcis"):
            read_info(path)


def described(path, entry):
    text = entry if isinstance(entry, str) else json.dumps(entry)
    save_file({"a": torch.zeros(2)}, path, metadata={"fcis": text})


@pytest.mark.parametrize(
    "change",
    [
        "{",
        "[]",
        "3",
        "null",
        "[" * 200_000,
        {"model": None, "format": 1},
        {"thresholds": 3},
        {"thresholds": ["x", "y"]},
        {"metrics": [1]},
        {"metrics": {"AP": "x"}},
        {"metrics": {"AP": None}},
        {"spread": [1]},
        {"spread": {"AP": "x"}},
        {"calibration": 3},
        {"calibration": {"temperature": 1.0}},
        {"calibration": {"temperature": "x", "bias": 0.0}},
        {"calibration": {"temperature": 0.0, "bias": 0.0}},
        {"calibration": {"temperature": float("nan"), "bias": 0.0}},
    ],
)
def test_damaged_descriptions(tmp_path, info, change):
    path = tmp_path / "w.safetensors"
    entry = json.loads(json.dumps(entry_of(info)))
    described(path, change if isinstance(change, str) else entry | change)
    with pytest.raises(
        InputError, match=r"w\.safetensors: (its description is damaged|model: exp)"
    ):
        read_info(path)


def entry_of(info):
    return {
        "format": 1,
        "model": to_json(info.model),
        "recipe": info.recipe,
        "thresholds": list(info.thresholds),
        "training_data": info.training_data,
        "metrics": dict(info.metrics),
        "licence": info.licence,
    }


@pytest.mark.parametrize("field", ["format", "model", "recipe", "thresholds", "metrics", "licence"])
def test_descriptions_with_a_field_missing(tmp_path, info, field):
    entry = entry_of(info)
    del entry[field]
    described(tmp_path / "w.safetensors", entry)
    with pytest.raises(InputError, match="its description is damaged"):
        read_info(tmp_path / "w.safetensors")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 3}, r"w\.safetensors: format 3 is not known; update fcis"),
        ({"model": {"shape": 1}}, r"w\.safetensors: model: unknown field 'shape'"),
        ({"thresholds": [0.5]}, "has 1 thresholds for 2 categories"),
        ({"thresholds": [0.5, float("nan")]}, "a threshold is not finite"),
    ],
)
def test_descriptions_that_make_no_sense(tmp_path, info, change, message):
    described(tmp_path / "w.safetensors", entry_of(info) | change)
    with pytest.raises(InputError, match=message):
        read_info(tmp_path / "w.safetensors")


# writing


def test_an_interrupted_write_leaves_the_previous_file(path, info, monkeypatch):
    before = path.read_bytes()

    def stops(partial, _):
        partial.write_bytes(b"half")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("fcis.weights.weights_file.write_synced", stops)
        with pytest.raises(KeyboardInterrupt):
            save_weights(path, build_model(info.model, seed=7), info)
    assert path.read_bytes() == before
    save_weights(path, build_model(info.model, seed=7), info)
    assert path.read_bytes() != before
    assert os.listdir(path.parent) == ["w.safetensors"]


def test_places_that_cannot_be_written(tmp_path, model, info):
    with pytest.raises(InputError, match=r"w\.safetensors: cannot be written \(.*No such file"):
        save_weights(tmp_path / "gone" / "w.safetensors", model, info)
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError, match=r"folder: cannot be written \(.*[Dd]irectory"):
        save_weights(tmp_path / "folder", model, info)


def test_others_may_read_a_file_as_any_other(tmp_path, tiny_weights):
    model = build_model(read_info(tiny_weights).model)
    save_weights(tmp_path / "w.safetensors", model, read_info(tiny_weights))
    (tmp_path / "plain").write_bytes(b"")
    mode = (tmp_path / "plain").stat().st_mode
    assert (tmp_path / "w.safetensors").stat().st_mode == mode
