"""Ctrl-C and SIGTERM, which a machine sends before it kills: how work is asked to stop."""

import signal
import threading
from types import FrameType
from typing import Any

from fcis.core.progress import say


class Terminated(KeyboardInterrupt):
    """SIGTERM, where Ctrl-C is a KeyboardInterrupt: what is finished is kept alike."""


def raise_at_sigterm() -> None:
    """Let SIGTERM stop the work as Ctrl-C does; in the main thread alone."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _stop)


class StopRequest:
    """A place where the first request to stop waits until it is asked for.

    It is true once there was one. Another one stops the work at once. Outside the main thread
    nothing is caught.
    """

    def __init__(self, note: str) -> None:
        self.note = note
        self._number = 0
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "StopRequest":
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._take)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def __bool__(self) -> bool:
        return self._number != 0

    def stop(self) -> None:
        """Stop as the request would have.

        Raises:
            KeyboardInterrupt: by Ctrl-C, or by a request to another process.
            Terminated: by SIGTERM.
        """
        _stop(self._number, None)

    def _take(self, number: int, frame: FrameType | None) -> None:
        if self:
            _stop(number, frame)
        self._number = number
        say(self.note)


def _stop(number: int, _: FrameType | None) -> None:
    raise Terminated if number == signal.SIGTERM else KeyboardInterrupt
