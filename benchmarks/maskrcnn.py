"""torchvision's Mask R-CNN for nuclei, from scratch: the network, its input, what it finds.

ResNet-50 and a feature pyramid. Where torchvision has frozen or trained batch normalisation it has
GroupNorm, in the pyramid and in the heads too, as He et al. train it without ImageNet (Rethinking
ImageNet Pre-training, ICCV 2019). Anchors are as close as those of `nuclei-cpu`; detections,
proposals and the suppression of boxes are its too.
"""

from collections.abc import Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn
from torchvision.models import resnet50
from torchvision.models.detection import MaskRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.backbone_utils import BackboneWithFPN
from torchvision.models.detection.faster_rcnn import FastRCNNConvFCHead
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads
from torchvision.models.detection.roi_heads import paste_masks_in_image
from torchvision.models.detection.rpn import RPNHead
from torchvision.models.detection.transform import GeneralizedRCNNTransform

from fcis.core.masks import crop_from_mask
from fcis.imaging.instances import Instances
from fcis.inference.preprocess import Resize
from fcis.recipe.types import ModelRecipe
from fcis.training.batch import TrainingBatch

CHANNELS = 256
# px of images at twice their size, two a level of the pyramid
ANCHORS = ((10, 16), (24, 34), (48, 68), (96, 136), (192, 272))
RATIOS = (0.5, 1.0, 2.0)
MASK_THRESHOLD = 0.5
PASTED = 64  # masks that are held at the size of the image at once

group_norm = partial(nn.GroupNorm, 32)


def build_maskrcnn(recipe: ModelRecipe, *, seed: int, rois: int) -> MaskRCNN:
    """Return the network with random weights, all of which are trained.

    Args:
        recipe: of FCIS, whose categories, proposals and detections it gets.
        seed: of the weights.
        rois: an image in the losses of the heads, at most half of them positive.
    """
    torch.manual_seed(seed)
    detection = recipe.detection
    anchors = AnchorGenerator(ANCHORS, (RATIOS,) * len(ANCHORS))
    layers = [CHANNELS] * 4
    return MaskRCNN(
        BackboneWithFPN(
            resnet50(weights=None, norm_layer=group_norm),
            {f"layer{i + 1}": str(i) for i in range(4)},
            [256, 512, 1024, 2048],
            CHANNELS,
            norm_layer=group_norm,
        ),
        num_classes=1 + len(recipe.class_names),
        # training images come resized and normalised
        image_mean=[0.0] * 3,
        image_std=[1.0] * 3,
        _skip_resize=True,
        rpn_anchor_generator=anchors,
        rpn_head=RPNHead(CHANNELS, anchors.num_anchors_per_location()[0], conv_depth=2),
        rpn_pre_nms_top_n_test=2000,
        rpn_post_nms_top_n_train=recipe.rpn.post_nms,
        rpn_post_nms_top_n_test=recipe.rpn.post_nms,
        box_head=FastRCNNConvFCHead((CHANNELS, 7, 7), layers, [1024], norm_layer=group_norm),
        box_score_thresh=detection.min_score,
        box_nms_thresh=detection.nms,
        box_detections_per_img=detection.max_detections,
        box_batch_size_per_image=rois,
        box_positive_fraction=0.5,
        mask_head=MaskRCNNHeads(CHANNELS, layers, 1, norm_layer=group_norm),
    )


def torchvision_form(batch: TrainingBatch) -> tuple[list[Tensor], list[dict[str, Tensor]]]:
    """Return the images of a batch, each of its own size, and the objects in them."""
    images, targets = [], []
    sizes = batch.images.sizes.tolist()
    for pixels, (height, width), truth in zip(
        batch.images.pixels, sizes, batch.truths, strict=True
    ):
        masks = torch.zeros((len(truth.masks), height, width), dtype=torch.uint8)
        for mask, placed in zip(masks, truth.masks, strict=True):
            rows, columns = placed.values.shape
            inside = placed.values >= MASK_THRESHOLD
            mask[placed.top : placed.top + rows, placed.left : placed.left + columns] = inside
        images.append(pixels[:, :height, :width])
        targets.append(
            {
                "boxes": truth.boxes,
                "labels": truth.labels,
                "masks": masks.to(pixels.device),
            }
        )
    return images, targets


@torch.inference_mode()
def detect(
    model: MaskRCNN, pixels: Tensor, plan: Resize, size: tuple[int, int], names: Sequence[str]
) -> Instances:
    """Return what the network finds in one image, in pixels of the original.

    Args:
        model: in evaluation.
        pixels: the image resized and normalised, on the network's device.
        plan: how it was resized.
        size: (height, width) of the original.
        names: of the categories.
    """
    # the transform of the model would resize, which in training alone it can be told not to do
    assert isinstance(model.transform, GeneralizedRCNNTransform)
    height, width = pixels.shape[1:]
    images = ImageList(model.transform.batch_images([pixels]), [(height, width)])
    features = model.backbone(images.tensors)
    proposals, _ = model.rpn(images, features)
    (found,), _ = model.roi_heads(features, proposals, images.image_sizes)
    boxes = found["boxes"] / found["boxes"].new_tensor(plan.factors[::-1] * 2)
    crops = []
    for part in torch.arange(len(boxes)).split(PASTED):
        masks = paste_masks_in_image(found["masks"][part], boxes[part], size)[:, 0]
        crops += [crop_from_mask(mask) for mask in (masks >= MASK_THRESHOLD).cpu().numpy()]
    kept = [i for i, crop in enumerate(crops) if crop.area]
    return Instances(
        size=size,
        scores=found["scores"].cpu().numpy()[kept].astype(np.float32),
        labels=found["labels"].cpu().numpy()[kept].astype(np.int64),
        crops=tuple(crops[i] for i in kept),
        class_names=("background", *names),
        category_ids=tuple(range(len(names) + 1)),
    )
