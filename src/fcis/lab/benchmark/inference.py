"""`fcis benchmark inference`: a whole image stage by stage, the network's limit, and a peer."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8

import fcis.inference.image_predictor
import fcis.model.detector
from fcis.inference.predictor import Predictor
from fcis.inference.preprocess import plan_resize
from fcis.lab.benchmark.memory import peak_bytes
from fcis.lab.benchmark.networks import network_input, random_predictor
from fcis.lab.benchmark.peer import MaskRCNNPeer, with_resnet50
from fcis.lab.benchmark.products import (
    count_operations,
    record_products,
    run_products,
    square_product,
)
from fcis.lab.benchmark.report import OTHER, Report, StageTimes, stage_times
from fcis.lab.benchmark.stopwatch import Stopwatch, Watched, watching
from fcis.lab.benchmark.table import (
    Table,
    byte_count,
    milliseconds,
    number,
    percent,
    tabulate,
    times,
)
from fcis.lab.benchmark.timing import Method, Spread, Work, alternate, device_clock, ratio, spread
from fcis.model.baselines.mnc import MNC
from fcis.model.precision import Precision, compile_maps, to_precision
from fcis.recipe.types import ModelRecipe

CASCADE = ("RoI network 1", "RoI network 2")
ASSEMBLY = ("assembly 1", "assembly 2", "masks")
PER_ROI = (*CASCADE, *ASSEMBLY, "voting", "paste")
STAGES = (
    "decode",
    "resize",
    "backbone",
    "RPN",
    "score maps",
    *ASSEMBLY[:2],
    "voting",
    "masks",
    "paste",
    "conversion",
    OTHER,
)
# other systems have stages in the place of these
_ORDER = (*STAGES[:5], "head", *CASCADE, *STAGES[5:])

Image8 = UInt8[np.ndarray, "height width 3"]


@dataclass(frozen=True, slots=True, kw_only=True)
class InferenceSettings:
    """What is measured.

    Attributes:
        image: a file.
        batches: numbers of images that go through the network together.
        matrix: side of the matrices whose product stands for what the device can do.
        peer: compare with Mask R-CNN.
        device: of the networks.
        method: how often.
        precision: of the convolutions, those of the peer included.
        compiled: is what runs on whole images compiled, the peer aside.
    """

    image: Path
    batches: tuple[int, ...]
    matrix: int
    peer: bool
    device: str
    method: Method
    precision: Precision = "float32"
    compiled: bool = False

    def quicken(self, predictor: Predictor) -> Predictor:
        """Return the predictor in this precision, and compiled if it should be."""
        to_precision(predictor.model, self.precision)
        compile_maps(predictor.model, self.compiled, self.device)
        return predictor


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkSpeed:
    """The convolutions within the network, by themselves, and beside a matrix product.

    Attributes:
        operations: floating-point operations of the network on one image.
        seconds: of the network up to its maps.
        bare_seconds: of its convolutions and matrix products alone.
        matrix_rate: operations a second of a large matrix product in the same precision.
        over_bare: time of the network over that of its bare products.
        of_matrix: operations a second of the network over those of the matrix product.
    """

    operations: int
    products: int
    seconds: Spread
    bare_seconds: Spread
    matrix_rate: Spread
    over_bare: Spread
    of_matrix: Spread


@dataclass(frozen=True, slots=True, kw_only=True)
class Throughput:
    """Arrays in, instances out.

    Attributes:
        name: of the network.
        seconds: of a batch.
        rate: images a second.
        over_first: its time over that of the comparison's first network.
        detections: in one image.
        bytes: most that a batch allocates at once; None where unknown.
    """

    name: str
    batch: int
    seconds: Spread
    rate: Spread
    over_first: Spread
    detections: int
    bytes: int | None


def run_inference(
    predictor: Predictor, name: str, settings: InferenceSettings, tell: Callable[[str], None]
) -> Report:
    """Return stages, the network's limit, images a second, and the peer.

    `tell` hears what is being measured. The predictor gets the settings' precision.

    Raises:
        InputError: the image cannot be read, or the device has too little memory.
    """
    image = predictor.read(settings.image)
    settings.quicken(predictor)
    tell("stages")
    stages = measure_stages(predictor, settings)
    tell("the network and its products")
    network = measure_network(predictor, image, settings)
    own = list[Throughput]()
    for batch in settings.batches:
        tell(f"{batch} image(s) at a time")
        own += _compare(name, predictor, None, image, batch, settings)
    peers = measure_peers(predictor, name, image, settings, tell) if settings.peer else []
    sides = _sides(image, predictor.model.recipe)
    assembly, per_roi = stages.share(*ASSEMBLY), stages.share(*PER_ROI)
    tables = [
        stages.table(f"{name}, one image of {sides[0]} x {sides[1]} after resizing"),
        _limits(network, settings.precision),
        _throughput("Images a second", own),
    ]
    if peers:
        tables.append(_throughput("Beside torchvision's Mask R-CNN R50-FPN", peers))
    layers = f"assembly (both passes and the masks) {percent(assembly.median)}"
    if isinstance(predictor.model, MNC):
        layers = f"the layers of each RoI {percent(stages.share(*CASCADE).median)}"
    return Report(
        figures={
            "network": name,
            "sides": sides,
            "settings": asdict(settings) | {"image": settings.image.name},
            **stages.to_json(),
            "share_of_assembly": assembly,
            "share_per_roi": per_roi,
            "products": network,
            "throughput": own,
            "peers": peers,
        },
        tables=tuple(tables),
        notes=(
            f"per-RoI work is {percent(per_roi.median)} of the time, {layers}",
            f"medians of {settings.method.rounds} rounds, ratios with quartiles",
        ),
        stages=((name, stages),),
    )


def measure_stages(predictor: Predictor, settings: InferenceSettings) -> StageTimes:
    """Return how long each stage takes, from the image file to COCO results."""
    model = predictor.model
    stopwatch = Stopwatch(device_clock(settings.device))
    passes = (CASCADE if isinstance(model, MNC) else ASSEMBLY)[: model.recipe.detection.passes]
    functions: list[Watched] = [
        (fcis.inference.image_predictor, "prepare", ("resize",)),
        (fcis.inference.image_predictor, "collate", ("resize",)),
        (model, "rpn_proposals", ("RPN",)),
        (model, "score_rois", passes),
        (fcis.model.detector, "select", ("voting",)),
        (fcis.model.detector, "voting_pairs", ("voting",)),
        (model, "mask_rois", ("masks",)),
        (fcis.model.detector, "inside_probability", ("masks",)),
        (fcis.model.detector, "dense_grids", ("masks",)),
        (fcis.model.detector, "vote", ("paste",)),
    ]
    head = "score maps" if model.recipe.system.startswith("fcis") else "head"
    modules = {"backbone": model.backbone, "RPN": model.rpn, head: model.head}
    runs = []
    with watching(stopwatch, modules, functions):
        for _ in range(settings.method.warm_up + settings.method.rounds):
            stopwatch.take()
            with stopwatch.stage(OTHER):
                with stopwatch.stage("decode"):
                    image = predictor.read(settings.image)
                (found,) = predictor.detect([image])
                with stopwatch.stage("conversion"):
                    found.to_coco()
            runs.append(stopwatch.take())
    return stage_times(runs[settings.method.warm_up :], _ORDER)


def measure_network(
    predictor: Predictor, image: Image8, settings: InferenceSettings
) -> NetworkSpeed:
    """Return the network's speed beside its bare products and a matrix product."""
    model = predictor.model
    batch = network_input(model, image)

    @torch.no_grad()
    def network() -> object:
        return model(batch)

    operations = count_operations(network)
    products = record_products(network)
    matrix, matrix_operations = square_product(
        settings.matrix, settings.device, getattr(torch, settings.precision)
    )
    seconds = alternate(
        {"network": network, "bare": lambda: run_products(products), "matrix": matrix},
        settings.method,
        device_clock(settings.device),
    )
    rates = [matrix_operations / s for s in seconds["matrix"]]
    return NetworkSpeed(
        operations=operations,
        products=len(products),
        seconds=spread(seconds["network"]),
        bare_seconds=spread(seconds["bare"]),
        matrix_rate=spread(rates),
        over_bare=ratio(seconds["network"], seconds["bare"]),
        of_matrix=ratio([operations / s for s in seconds["network"]], rates),
    )


def measure_peers(
    predictor: Predictor,
    name: str,
    image: Image8,
    settings: InferenceSettings,
    tell: Callable[[str], None],
) -> list[Throughput]:
    """Return Mask R-CNN's speed beside that of the network with as deep a backbone."""
    tell("Mask R-CNN: its threshold")
    recipe = with_resnet50(predictor.model.recipe)
    ours = settings.quicken(random_predictor(recipe, name, image, device=settings.device))
    peer = MaskRCNNPeer(
        image,
        sides=_sides(image, recipe),
        device=settings.device,
        precision=settings.precision,
    )
    label = f"{name}, depths {'-'.join(str(n) for n in recipe.backbone.depths)}"
    found: list[Throughput] = []
    for batch in settings.batches:
        tell(f"Mask R-CNN, {batch} image(s) at a time")
        found += _compare(label, ours, peer, image, batch, settings)
    return found


def _compare(
    first: str,
    predictor: Predictor,
    peer: MaskRCNNPeer | None,
    image: Image8,
    batch: int,
    settings: InferenceSettings,
) -> list[Throughput]:
    """Return the throughput of a network, and of its peer in turn, for one batch size."""
    works: dict[str, Work] = {first: partial(predictor.detect, [image] * batch)}
    detections = {first: len(predictor.detect([image])[0])}
    if peer is not None:
        for threshold in dict.fromkeys((peer.usual_threshold, peer.full_threshold)):
            name = f"Mask R-CNN, scores from {threshold:.2g}"
            works[name] = partial(peer.detect, batch, threshold)
            detections[name] = peer.detections(threshold)
    seconds = alternate(works, settings.method, device_clock(settings.device))
    return [
        Throughput(
            name=name,
            batch=batch,
            seconds=spread(values),
            rate=spread([batch / s for s in values]),
            over_first=ratio(values, seconds[first]),
            detections=detections[name],
            bytes=peak_bytes(works[name], settings.device),
        )
        for name, values in seconds.items()
    ]


def _sides(image: Image8, recipe: ModelRecipe) -> tuple[int, int]:
    """Return the (height, width) in which the network sees an image."""
    return plan_resize((image.shape[0], image.shape[1]), recipe.preprocessing).size


def _limits(network: NetworkSpeed, precision: str) -> Table:
    rows = (
        ("operations", f"{network.operations / 1e9:.3g} GFLOP"),
        ("network, to its maps", milliseconds(network.seconds.median)),
        (f"its {network.products} products alone", milliseconds(network.bare_seconds.median)),
        ("network / products alone", times(network.over_bare)),
        (f"{precision} matrix product", f"{network.matrix_rate.median / 1e9:.3g} GFLOP/s"),
        ("network / matrix product", percent(network.of_matrix.median)),
    )
    return Table(title="What the network makes of the device", columns=("", ""), rows=rows)


def _throughput(title: str, entries: list[Throughput]) -> Table:
    return tabulate(
        title,
        entries,
        {
            "network": lambda t: t.name,
            "batch": lambda t: str(t.batch),
            "images / s": lambda t: number(t.rate.median),
            "time / first": lambda t: times(t.over_first),
            "detections": lambda t: str(t.detections),
            "memory": lambda t: byte_count(t.bytes),
        },
    )
