"""Which stage of a pipeline takes how long, measured in the code that runs.

Modules are watched through hooks. Functions are replaced, for as long as it takes, by ones that
call them between two looks at the clock; a copy of the pipeline with clocks in it would soon be
another pipeline.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from itertools import cycle
from types import ModuleType

from torch import nn

from fcis.lab.benchmark.timing import Clock

Watched = tuple[ModuleType | nn.Module, str, tuple[str, ...]]
"""A function whose calls are counted: where it is looked up when it is called, which is a file's
module or a network whose method it is, under which name, and the stages of successive calls."""


class Stopwatch:
    """Sums of seconds by stage; while a stage runs within another, only the inner one counts."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._seconds: dict[str, float] = {}
        self._open: list[str] = []
        self._since = 0.0

    def begin(self, stage: str) -> None:
        """Begin a stage; the one that is running pauses."""
        self._charge()
        self._open.append(stage)

    def end(self) -> None:
        """End the stage that was begun last; the one around it goes on."""
        self._charge()
        self._open.pop()

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Count what happens inside for a stage."""
        self.begin(name)
        try:
            yield
        finally:
            self.end()

    def take(self) -> dict[str, float]:
        """Return the sums since the last call, in the order in which stages began."""
        seconds, self._seconds = self._seconds, {}
        return seconds

    def _charge(self) -> None:
        now = self._clock()
        if self._open:
            stage = self._open[-1]
            self._seconds[stage] = self._seconds.get(stage, 0.0) + now - self._since
        self._since = now


@contextmanager
def watching(
    stopwatch: Stopwatch, modules: Mapping[str, nn.Module], functions: Sequence[Watched]
) -> Iterator[None]:
    """Let the calls of modules and functions count for their stages.

    Args:
        stopwatch: what sums.
        modules: by stage.
        functions: likewise watched.
    """
    with ExitStack() as stack:
        for stage, module in modules.items():
            before = module.register_forward_pre_hook(
                lambda *_, stage=stage: stopwatch.begin(stage)
            )
            after = module.register_forward_hook(
                lambda _module, _inputs, _output: stopwatch.end(), always_call=True
            )
            stack.enter_context(before)
            stack.enter_context(after)
        for module, name, stages in functions:
            original = getattr(module, name)
            if name in vars(module):
                stack.callback(setattr, module, name, original)
            else:  # a method, which the class keeps
                stack.callback(delattr, module, name)
            setattr(module, name, _timed(original, stopwatch, stages))
        yield


def _timed(
    function: Callable[..., object], stopwatch: Stopwatch, stages: tuple[str, ...]
) -> Callable[..., object]:
    turn = cycle(stages)

    def wrapper(*arguments: object, **named: object) -> object:
        with stopwatch.stage(next(turn)):
            return function(*arguments, **named)

    return wrapper
