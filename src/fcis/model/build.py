"""Recipe -> system. The only place that knows them all."""

import timm
import torch

from fcis.core.errors import InputError
from fcis.model.backbone import Backbone
from fcis.model.baselines.instfcn_rfcn import InstFCNRFCN
from fcis.model.baselines.mnc import MNC
from fcis.model.baselines.naive_mnc import NaiveMNC
from fcis.model.baselines.separate import SeparateFCIS
from fcis.model.detector import Detector
from fcis.model.fcis import FCIS
from fcis.model.stem import adapt_stem
from fcis.recipe.bounds import check_record
from fcis.recipe.types import ModelRecipe


def build_model(recipe: ModelRecipe, *, seed: int = 0, fetch: bool = False) -> Detector:
    """Return the network of a recipe with initial weights that depend on the seed alone.

    Args:
        recipe: of the model.
        seed: of the initial weights.
        fetch: begin with the pretrained backbone that the recipe names, if it names one.

    Raises:
        InputError: a value of the recipe makes no sense, or the backbone cannot be fetched.
    """
    check_model(recipe)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = _system(recipe, fetch=fetch)
    if fetch and recipe.backbone.pretrained:
        trained = timm.get_pretrained_cfg(recipe.backbone.pretrained)
        if trained is not None:
            for module in model.modules():
                if isinstance(module, Backbone):
                    adapt_stem(module, recipe.preprocessing, trained.mean, trained.std)
    return model


def _system(recipe: ModelRecipe, *, fetch: bool) -> Detector:
    match recipe.system:
        case "fcis":
            return FCIS(recipe, fetch=fetch)
        case "mnc":
            return MNC(recipe, fetch=fetch)
        case "fcis-separate":
            return SeparateFCIS(recipe, fetch=fetch)
        case "naive-mnc":
            return NaiveMNC(recipe, fetch=fetch)
        case "instfcn-rfcn":
            return InstFCNRFCN(recipe, fetch=fetch)


def check_model(recipe: ModelRecipe, where: str = "model") -> None:
    """Check the recipe of a network that is to find something.

    Args:
        recipe: of the model.
        where: what messages begin with.

    Raises:
        InputError: naming the field, its value and what it may be.
    """
    if not recipe.class_names:
        raise InputError(f"{where}.class_names: is (), expected at least one category")
    check_record(recipe, where)
