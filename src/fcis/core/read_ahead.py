"""Do the reading of the next items while the caller works on the present one.

Knows nothing of images: an item is whatever a function without arguments returns.
"""

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


def read_ahead(
    reads: Iterable[Callable[[], T]], *, threads: int
) -> Generator[Future[T], None, None]:
    """Yield what each function returns, in order, as a future.

    The functions of the next `threads` items run while the caller has an item; never more, so
    that long lists need no more memory than so many items. A function that fails raises where
    `result()` of its future is called, and the items after it go on. When the caller stops
    early, closes the iterator or is interrupted, what has not begun is not begun.

    Raises:
        ValueError: there is no thread.
    """
    if threads < 1:
        raise ValueError(f"threads: expected at least 1, got {threads}")
    waiting: deque[Future[T]] = deque()
    pool = ThreadPoolExecutor(threads, thread_name_prefix="read-ahead")
    try:
        for read in reads:
            waiting.append(pool.submit(read))
            if len(waiting) > threads:
                yield waiting.popleft()
        while waiting:
            yield waiting.popleft()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
