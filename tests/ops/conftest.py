"""Kernels to test: interpreted on the CPU, and compiled where there is a GPU."""

import importlib
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType

import pytest
import torch


@dataclass(frozen=True)
class Kernels:
    """The modules of kernels and the device whose tensors they take."""

    scores: ModuleType
    masks: ModuleType
    device: torch.device


def load_kernels(interpreted: bool) -> tuple[ModuleType, ModuleType]:
    """Import both modules anew, since a kernel is one or the other from its definition on."""
    importlib.import_module("triton")  # whose own functions are to be compiled ones
    before = os.environ.get("TRITON_INTERPRET")
    os.environ["TRITON_INTERPRET"] = "1" if interpreted else "0"
    names = ("fcis.ops.triton_scores", "fcis.ops.triton_masks")
    kept = {name: sys.modules.pop(name) for name in names if name in sys.modules}
    try:
        scores, masks = (importlib.import_module(name) for name in names)
    finally:
        package = importlib.import_module("fcis.ops")
        for name in names:
            sys.modules.pop(name, None)
            # an import looks at the package's attribute first
            vars(package).pop(name.rpartition(".")[2], None)
        for name, module in kept.items():
            sys.modules[name] = module
            setattr(package, name.rpartition(".")[2], module)
        os.environ.pop("TRITON_INTERPRET")
        if before is not None:
            os.environ["TRITON_INTERPRET"] = before
    return scores, masks


@pytest.fixture(scope="session")
def interpreted_modules() -> tuple[ModuleType, ModuleType]:
    if sys.platform != "linux":
        pytest.skip("Triton exists on Linux alone")
    return load_kernels(interpreted=True)


@pytest.fixture(scope="session")
def compiled_modules() -> tuple[ModuleType, ModuleType]:
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    return load_kernels(interpreted=False)


@pytest.fixture(params=["interpreter", pytest.param("gpu", marks=pytest.mark.gpu)])
def kernels(request, monkeypatch) -> Kernels:
    if request.param == "gpu":
        scores, masks = request.getfixturevalue("compiled_modules")
        return Kernels(scores, masks, torch.device("cuda"))
    scores, masks = request.getfixturevalue("interpreted_modules")
    from triton.runtime.interpreter import InterpretedFunction

    # the kernel that calls another one has patched the language already, which takes long
    monkeypatch.setattr(
        InterpretedFunction,
        "__call__",
        lambda self, *args, **kwargs: self.rewrite()(*args, **kwargs),
    )
    return Kernels(scores, masks, torch.device("cpu"))


@pytest.fixture
def deterministic():
    """Let torch use deterministic algorithms alone."""
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


POINTERS = {
    "weights": "*fp32",
    "shares": "*fp32",
    "sums": "*fp32",
    "order": "*i64",
    "starts": "*i64",
    "offsets": "*i64",
    "rois": "*i32",
    "spans": "*i32",
    "readers": "*i32",
}


@pytest.fixture
def compile_kernel() -> Callable[[object, str, dict[str, int]], None]:
    """Compile a kernel for a GPU of 2022, which takes none: the type of maps, and constants."""
    if sys.platform != "linux":
        pytest.skip("Triton exists on Linux alone")
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    def compile_kernel(kernel, maps: str, constants: dict[str, int]) -> None:
        names = kernel.arg_names
        constants = {name: value for name, value in constants.items() if name in names}
        of_maps = dict.fromkeys(("maps", "grads", "values", "total"), f"*{maps}")
        if "scatter" in kernel.__name__:
            of_maps["total"] = "*fp32"
        kinds = {**POINTERS, **of_maps, **dict.fromkeys(constants, "constexpr")}
        source = ASTSource(
            kernel,
            {name: kinds.get(name, "i32") for name in names},
            {(names.index(name),): value for name, value in constants.items()},
        )
        options = {"num_warps": 1, "enable_fp_fusion": True}
        compiled = triton.compile(source, target=GPUTarget("cuda", 90, 32), options=options)
        assert compiled.asm["cubin"]

    return compile_kernel
