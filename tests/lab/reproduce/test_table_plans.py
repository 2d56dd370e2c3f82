"""Every row of the paper, and networks that differ in what a table is about alone."""

from dataclasses import replace

import pytest
import timm

from fcis.lab.reproduce.paper import PAPER
from fcis.lab.reproduce.rows import TABLES
from fcis.lab.reproduce.table_plans import is_small, make_plan
from fcis.model.build import check_model
from fcis.recipe.bounds import check_record
from fcis.recipe.named import coco_resnet101, named_recipe, voc_resnet101

BASES = ("scenes", "nuclei-cpu", "tiny", "voc-resnet101", "coco-resnet101")
each_table = pytest.mark.parametrize("table", TABLES)
each_base = pytest.mark.parametrize("base", BASES)


@each_table
@each_base
def test_every_row_of_the_paper_is_there(table, base):
    plan = make_plan(table, named_recipe(base))
    rows = [row.name for row in plan.rows]
    assert len(set(rows)) == len(rows)
    assert set(PAPER[table]) <= set(rows)
    # MNC with three stages stands in the text of the paper alone
    assert set(rows) - set(PAPER[table]) <= {"mnc-3stage"}
    assert plan.reference in rows and set(plan.compared) <= set(plan.metrics)


@each_table
@each_base
def test_rows_test_what_is_trained(table, base):
    plan = make_plan(table, named_recipe(base))
    trained = {training.name for training in plan.trainings if training.is_trained}
    tested = {name for row in plan.rows for name in row.networks}
    assert tested == trained
    names = {training.name for training in plan.trainings}
    assert {row.step_of for row in plan.rows} - {""} <= names


@each_table
@each_base
def test_every_recipe_can_be_built_and_trained(table, base):
    plan = make_plan(table, named_recipe(base))
    for training in plan.trainings:
        model = replace(training.recipe.model, class_names=("a",), category_ids=(1,))
        check_model(model)
        check_record(training.recipe, "")
        if name := model.backbone.pretrained:
            assert timm.get_pretrained_cfg(name) is not None


@each_base
def test_table1_has_one_backbone_one_budget_and_no_hard_examples(base):
    plan = make_plan("table1", named_recipe(base))
    (backbone,) = {training.recipe.model.backbone for training in plan.trainings}
    (targets,) = {training.recipe.training.targets for training in plan.trainings}
    assert not targets.ohem
    assert {t.recipe.training.steps for t in plan.trainings} == {plan.base.training.steps}
    assert backbone == plan.base.model.backbone
    systems = {t.name: t.recipe.model.system for t in plan.trainings}
    assert systems == {
        "naive-mnc": "naive-mnc",
        "instfcn-rfcn": "instfcn-rfcn",
        "fcis-k1": "fcis",
        "fcis-separate": "fcis-separate",
        "fcis": "fcis",
    }
    assert plan.training("fcis-k1").recipe.model.head.k == 1
    assert plan.training("fcis").recipe.model.head.k > 1


@each_base
def test_table2_has_both_readings_of_mnc_and_both_samplings(base):
    plan = make_plan("table2", named_recipe(base))
    recipes = {t.name: t.recipe for t in plan.trainings}
    assert [n for n, r in recipes.items() if r.training.targets.ohem] == ["mnc-ohem", "fcis-ohem"]
    assert recipes["mnc-3stage"].model.detection.passes == 1
    assert recipes["mnc"].model.detection.passes == 2
    assert {r.model.system for n, r in recipes.items() if "mnc" in n} == {"mnc"}
    assert [t.name for t in plan.trainings if not t.is_trained] == ["mnc-ohem"]
    assert [row.name for row in plan.rows if not row.has_figures] == ["mnc-ohem"]
    assert {r.training.steps for r in recipes.values()} == {plan.base.training.steps}
    assert all(row.step_of for row in plan.rows) and plan.with_operations


def test_table2_of_the_paper_has_the_recipes_of_record():
    plan = make_plan("table2", coco_resnet101())
    for name in ("mnc", "mnc-3stage"):
        known, ours = named_recipe(name), plan.training(name).recipe
        assert (ours.model, ours.training) == (known.model, known.training)
    assert plan.training("fcis-ohem").recipe == coco_resnet101()


def test_table2_in_small_has_the_recipe_of_record():
    known = named_recipe("scenes-mnc")
    ours = make_plan("table2", named_recipe("scenes")).training("mnc").recipe
    assert (ours.model, ours.training) == (known.model, known.training)


def test_table1_of_the_paper_has_the_recipes_of_record():
    for training in make_plan("table1", voc_resnet101()).trainings:
        known = named_recipe("voc-resnet101" if training.name == "fcis" else training.name)
        assert (training.recipe.model, training.recipe.training) == (known.model, known.training)


def test_table3_grows_in_depth_alone():
    plan = make_plan("table3", coco_resnet101())
    backbones = [t.recipe.model.backbone for t in plan.trainings]
    # a bottleneck has three layers; then there are conv1 and the classifier
    assert [3 * sum(b.depths) + 2 for b in backbones] == [50, 101, 152]
    assert [b.pretrained for b in backbones] == [
        "resnet50.tv_in1k",
        "resnet101.tv_in1k",
        "resnet152.tv_in1k",
    ]
    small = [t.recipe.model for t in make_plan("table3", named_recipe("scenes")).trainings]
    assert [sum(m.backbone.depths) for m in small] == [4, 7, 10]
    same = replace(small[0], backbone=small[2].backbone)
    assert same == small[2]


def test_table4_adds_one_tool_a_row():
    for base in (named_recipe("scenes"), coco_resnet101()):
        rows = make_plan("table4", base).rows
        assert [bool(row.averaging.scales) for row in rows] == [False, True, True, True, True]
        assert [row.averaging.flip for row in rows] == [False, False, True, True, True]
        assert [row.networks[0] for row in rows] == ["single-scale"] * 3 + ["multi-scale"] * 2
        assert [len(row.networks) for row in rows[:4]] == [1] * 4
    assert len(make_plan("table4", coco_resnet101()).rows[-1].networks) == 6


def test_table4_of_the_paper_has_its_scales():
    plan = make_plan("table4", coco_resnet101())
    tools = plan.rows[1].averaging
    assert [s.side for s in tools.scales] == [480, 576, 688, 864, 1200, 1400]
    assert tools.roi_side == 224
    change = plan.training("multi-scale").recipe.training.augmentation
    assert change.sides == (480, 576, 688, 864, 1200, 1400)
    assert (change.crop, change.crop_above) == (600, 600)
    assert plan.training("single-scale").recipe == coco_resnet101()


def test_no_two_networks_of_an_ensemble_are_the_same():
    for base in (named_recipe("scenes"), coco_resnet101()):
        plan = make_plan("table4", base)
        members = [plan.training(name) for name in plan.rows[-1].networks]
        recipes = [training.of_seed(seed) for training in members for seed in (0, 1, 2)]
        assert len(set(recipes)) == len(recipes)


def test_small_networks_are_those_from_scratch():
    assert [is_small(named_recipe(name)) for name in BASES] == [True, True, True, False, False]
