"""Named recipes: values only.

`release` numbers come from the 2017 release (reference: 3 to 6), `paper` numbers from the text.
Recipes that train from scratch differ in what frozen ImageNet features make necessary.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from fcis.core.errors import InputError
from fcis.recipe.baselines import TABLE1, mnc, mnc_3stage
from fcis.recipe.conventions import PAPER, RELEASE, Rows, with_conventions
from fcis.recipe.types import (
    Augmentation,
    BackboneRecipe,
    DetectionRecipe,
    HeadRecipe,
    ModelRecipe,
    OptimiserRecipe,
    Preprocessing,
    Recipe,
    RPNRecipe,
    TargetRecipe,
    TrainingRecipe,
)

# What a network from scratch uses, where samples lie between cells and masks at their samples.
SCRATCH: Rows = {
    **RELEASE,
    "sampling": "align",
    "box_slots": 1,
    "anchor_rounding": False,
    "proposal_grid": "full",
    "pad_proposals": False,
    "box_end": "edge",
    "vote": "probability",
    "store_grid": False,
    "resize": "float",
}


def coco_resnet101() -> Recipe:
    """Return the release's COCO model and training: OHEM, 8 images, 8 epochs."""
    return Recipe(
        name="coco-resnet101",
        description="The 2017 release on COCO: ResNet-101, 12 anchors, OHEM",
        model=ModelRecipe(backbone=BackboneRecipe(pretrained="resnet101.tv_in1k")),
        training=TrainingRecipe(
            steps=236_000,
            checkpoint_every=1000,
            validate_every=29_500,
            optimiser=OptimiserRecipe(lr_images=8),
        ),
    )


def voc_resnet101() -> Recipe:
    """Return the release's VOC model and training: random sampling, 4 images, 22 epochs."""
    return Recipe(
        name="voc-resnet101",
        description="The 2017 release on VOC 2012 + SBD: ResNet-101, 9 anchors, random RoIs",
        model=ModelRecipe(
            backbone=BackboneRecipe(pretrained="resnet101.tv_in1k"),
            rpn=RPNRecipe(anchor_sizes=(128.0, 256.0, 512.0), min_size=16.0),
            detection=DetectionRecipe(drop_size=16.0),
        ),
        training=TrainingRecipe(
            steps=61_842,
            batch=4,
            checkpoint_every=1000,
            validate_every=2811,
            optimiser=OptimiserRecipe(lr=0.002, lr_images=4, milestones=(39_361,), warmup="none"),
            targets=TargetRecipe(ohem=False, negative_low=0.1),
        ),
    )


def coco_resnet101_paper() -> Recipe:
    """Return the paper's wording on COCO: rows 1 to 10 of the reference's section 11."""
    base = with_conventions(coco_resnet101(), PAPER)
    return replace(
        base,
        name="coco-resnet101-paper",
        description="The paper's text on COCO: map cells copied, 4k^2 box maps, equal losses",
        training=replace(
            base.training,
            steps=240_000,
            optimiser=OptimiserRecipe(
                lr=0.001,
                lr_images=8,
                milestones=(160_000,),
                warmup="none",
                reduction_lr=1.0,
            ),
        ),
    )


def voc_resnet101_paper() -> Recipe:
    """Return the paper's wording on VOC: 20k steps at 1e-3, 10k at 1e-4, 8 images."""
    base = with_conventions(voc_resnet101(), PAPER)
    return replace(
        base,
        name="voc-resnet101-paper",
        description="The paper's text on VOC: map cells copied, 4k^2 box maps, equal losses",
        training=replace(
            base.training,
            steps=30_000,
            batch=8,
            validate_every=3000,
            optimiser=OptimiserRecipe(
                lr=0.001,
                lr_images=8,
                milestones=(20_000,),
                warmup="none",
                reduction_lr=1.0,
            ),
        ),
    )


def nuclei_cpu() -> Recipe:
    """Return a slim network for fluorescence nuclei, trained from scratch in twenty minutes."""
    recipe = Recipe(
        name="nuclei-cpu",
        description="Slim ResNet from scratch for nuclei; twenty minutes on a CPU",
        model=ModelRecipe(
            backbone=_slim((32, 64, 96, 128), depths=(1, 1, 1, 1)),
            rpn=RPNRecipe(
                channels=128,
                anchor_sizes=(16.0, 28.0, 44.0, 72.0, 120.0),
                pre_nms=3000,
                post_nms=1000,
                min_size=4.0,
            ),
            head=HeadRecipe(reduction=256, init="he"),
            detection=DetectionRecipe(max_detections=400, mask_threshold=0.5, drop_size=4.0),
            preprocessing=_levels(zoom=2.0, stretch=(0.1, 99.8), mean=40.0, std=60.0),
        ),
        training=TrainingRecipe(
            steps=1200,
            batch=4,
            validate_every=400,
            checkpoint_every=100,
            workers=1,
            optimiser=_adamw(0.003, warmup_steps=100),
            targets=_dense_targets(rois=64),
            augmentation=Augmentation(
                flip_vertical=0.5,
                transpose=0.5,
                scale=(0.7, 1.4),
                crop=320,
                brightness=0.05,
                contrast=0.2,
                gamma=0.3,
            ),
        ),
    )
    return with_conventions(recipe, SCRATCH)


def nuclei() -> Recipe:
    """Return the network for fluorescence nuclei of the weights `nuclei`, an hour on a CPU.

    What it has more than `nuclei-cpu` is in docs/nuclei.md.
    """
    base = nuclei_cpu()
    training = base.training
    return replace(
        base,
        name="nuclei",
        description="ResNet from scratch for nuclei, weights `nuclei`; an hour on a bfloat16 CPU",
        model=replace(
            base.model,
            backbone=_slim((48, 96, 144, 192), depths=(1, 2, 2, 1)),
            rpn=replace(base.model.rpn, nms_area=512.0 * 512.0),
            detection=replace(base.model.detection, nms=0.4, mask_suppression="soft"),
        ),
        training=replace(
            training,
            steps=8000,
            validate_every=1000,
            checkpoint_every=250,
            precision="bfloat16",
            repeat_crops=0.5,
            ema=0.999,
            optimiser=_adamw(0.003, warmup_steps=200),
            targets=_dense_targets(rois=128),
            augmentation=replace(
                training.augmentation, paste=0.2, blur=1.0, noise=0.02, elastic=1.5
            ),
        ),
    )


def scenes() -> Recipe:
    """Return a slim network for the synthetic scenes."""
    recipe = Recipe(
        name="scenes",
        description="Slim ResNet from scratch for synthetic scenes",
        model=ModelRecipe(
            backbone=_slim((32, 64, 96, 128), depths=(1, 1, 1, 1)),
            rpn=RPNRecipe(
                channels=128,
                anchor_sizes=(20.0, 36.0, 64.0, 112.0),
                pre_nms=1000,
                post_nms=300,
                min_size=4.0,
            ),
            head=HeadRecipe(reduction=256, init="he"),
            detection=DetectionRecipe(mask_threshold=0.5, drop_size=4.0),
            preprocessing=_levels(zoom=1.0, stretch=(0.0, 100.0), mean=120.0, std=60.0),
        ),
        training=TrainingRecipe(
            steps=2500,
            batch=4,
            validate_every=1250,
            checkpoint_every=100,
            workers=1,
            optimiser=_adamw(0.003, warmup_steps=100),
            targets=_dense_targets(rois=64),
            augmentation=Augmentation(
                scale=(0.9, 1.1),
                crop=256,
                brightness=0.05,
                contrast=0.1,
            ),
        ),
    )
    return with_conventions(recipe, {**SCRATCH, "mask_loss_weight": 3.0})


def tiny() -> Recipe:
    """Return a network that is built and trained in seconds, for tests."""
    base = scenes()
    recipe = replace(
        base,
        name="tiny",
        description="A few thousand weights; for tests",
        model=replace(
            base.model,
            backbone=_slim((8, 12, 16, 24), depths=(1, 1, 1, 1), stem_width=8),
            rpn=RPNRecipe(
                channels=16,
                anchor_sizes=(24.0, 48.0),
                pre_nms=200,
                post_nms=50,
                min_size=4.0,
            ),
            head=HeadRecipe(reduction=16, k=3, out_size=9, init="he"),
            detection=replace(base.model.detection, max_detections=20),
        ),
        training=replace(
            base.training,
            steps=20,
            batch=2,
            validate_every=0,
            checkpoint_every=5,
            workers=0,
            optimiser=_adamw(0.003, warmup_steps=5),
            targets=_dense_targets(rois=16),
        ),
    )
    return with_conventions(recipe, {**SCRATCH, "mask_loss_weight": 3.0})


def _baseline(name: str, base: Callable[[], Recipe], prefix: str) -> Recipe:
    made = TABLE1[name](base())
    return replace(made, name=f"{prefix}{made.name}")


RECIPES: dict[str, Callable[[], Recipe]] = {
    "coco-resnet101": coco_resnet101,
    "coco-resnet101-paper": coco_resnet101_paper,
    "voc-resnet101": voc_resnet101,
    "voc-resnet101-paper": voc_resnet101_paper,
    "nuclei": nuclei,
    "nuclei-cpu": nuclei_cpu,
    "scenes": scenes,
    "mnc": lambda: mnc(coco_resnet101()),
    "mnc-3stage": lambda: mnc_3stage(coco_resnet101()),
    "scenes-mnc": lambda: replace(mnc(scenes()), name="scenes-mnc"),
    "tiny": tiny,
    **{
        f"{prefix}{name}": partial(_baseline, name, base, prefix)
        for prefix, base in (("", voc_resnet101), ("coco-", coco_resnet101), ("scenes-", scenes))
        for name in TABLE1
    },
}


def named_recipe(name: str) -> Recipe:
    """Return the recipe of that name.

    Raises:
        InputError: there is none; lists those there are.
    """
    if name not in RECIPES:
        raise InputError(f"--recipe {name}: no such recipe; there are {', '.join(RECIPES)}")
    return RECIPES[name]()


def _slim(
    widths: tuple[int, int, int, int], *, depths: tuple[int, int, int, int], stem_width: int = 32
) -> BackboneRecipe:
    return BackboneRecipe(
        depths=depths,
        widths=widths,
        block="basic",
        variant="modern",
        stem_width=stem_width,
        stride=8,
        norm="batch",
        frozen_stages=0,
    )


def _levels(*, zoom: float, stretch: tuple[float, float], mean: float, std: float) -> Preprocessing:
    return Preprocessing(
        short_side=0, long_side=0, zoom=zoom, stretch=stretch, mean=(mean,) * 3, std=(std,) * 3
    )


def _adamw(lr: float, *, warmup_steps: int) -> OptimiserRecipe:
    return OptimiserRecipe(
        kind="adamw",
        lr=lr,
        weight_decay=0.01,
        reduction_lr=1.0,
        schedule="cosine",
        milestones=(),
        warmup="linear",
        warmup_steps=warmup_steps,
        clip_norm=5.0,
    )


def _dense_targets(*, rois: int) -> TargetRecipe:
    return TargetRecipe(
        rois=rois, positive_fraction=0.5, ohem=False, anchor_border=1000.0, ignore_crowds=True
    )
