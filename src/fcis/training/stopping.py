"""Which validation of a run was the best, and when to stop waiting for a better one."""

import math
from collections.abc import Mapping

_LOWER_IS_BETTER = ("loss",)


class Best:
    """The best validation so far on one figure.

    Attributes:
        metric: name of the figure; `loss` is better when lower, all others when higher.
        patience: validations without a better one after which it is enough; 0: never.
        value: the best figure, below 0 before the first validation.
        step: the step it was found in, 0 before the first validation.
        stale: validations since then.
    """

    def __init__(self, metric: str = "AP", patience: int = 0) -> None:
        self.metric = metric
        self.patience = patience
        self.value = -1.0
        self.step = 0
        self.stale = 0

    def add(self, value: float, step: int) -> bool:
        """Take in a validation and tell whether it is the best; an equal one is no better."""
        is_best = self.step == 0 or self._rank(value) > self._rank(self.value)
        if is_best:
            self.value, self.step, self.stale = value, step, 0
        else:
            self.stale += 1
        return is_best

    @property
    def is_over(self) -> bool:
        """Tell whether a better one has been awaited for long enough."""
        return bool(self.patience) and self.stale >= self.patience

    def state_dict(self) -> dict[str, object]:
        """Return what a resumed run must know."""
        return {"best": self.value, "best_step": self.step, "stale": self.stale}

    def load_state_dict(self, state: Mapping[str, object]) -> None:
        """Go on from a checkpoint; older ones do not say how long it was waited."""
        value, step, stale = state["best"], state["best_step"], state.get("stale", 0)
        assert isinstance(value, float) and isinstance(step, int) and isinstance(stale, int)
        self.value, self.step, self.stale = value, step, stale

    def _rank(self, value: float) -> float:
        if math.isnan(value):
            return -math.inf
        return -value if self.metric in _LOWER_IS_BETTER else value
