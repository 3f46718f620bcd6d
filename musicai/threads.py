"""Share work among threads: pieces are handed out as threads become free, and the results come back in order.

And `jit`, which keeps what numba compiles for them. torch is loaded only for `Workers` and `one_core`.

>>> share(lambda i: i * i, range(4))
[0, 1, 4, 9]
"""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import chain, islice
from threading import Barrier

__all__ = ["Workers", "jit", "one_core", "share"]


class Workers:
    """As many threads as torch has, each running torch on one core.

    An operator that is split across all cores always waits for the slowest one, and on a busy machine the waiting takes
    most of the time. Whole pieces of work do not wait for each other. Results come in the order of the pieces, so a sum
    over them does not depend on which thread finished first. No gradients are recorded.

    >>> import torch
    >>> with Workers(torch.device("cpu")) as workers:
    ...     sum(workers.map(len, ["a", "bc"]))
    3

    Args:
        device: the torch.device where the work is done; on anything but the CPU it stays in the calling thread.

    Chapter 3.
    """

    def __init__(self, device):
        import torch

        self.threads = torch.get_num_threads() if device.type == "cpu" else 1
        self._pool: ThreadPoolExecutor | None = None

    def __enter__(self) -> "Workers":
        return self

    def __exit__(self, *_) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            self._pool = None

    def map(self, function: Callable, pieces: Iterable) -> Iterator:
        """Yield `function(piece)` for each piece, in order; only a few pieces are in memory at a time."""
        import torch

        function, pieces = torch.no_grad()(function), iter(pieces)  # gradients are switched off per thread
        first = list(islice(pieces, 2))
        pieces = chain(first, pieces)
        if len(first) < 2 or self.threads == 1:
            yield from map(function, pieces)
            return
        pool, waiting = self._started(), deque()
        for piece in pieces:
            waiting.append(pool.submit(function, piece))
            if len(waiting) >= 2 * self.threads:
                yield waiting.popleft().result()
        yield from (future.result() for future in waiting)

    def _started(self) -> ThreadPoolExecutor:
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self.threads, initializer=_on_one_core)
            together = Barrier(self.threads + 1)
            for _ in range(self.threads):
                self._pool.submit(together.wait)
            together.wait()
            import torch

            torch.set_num_threads(self.threads)  # torch's default for threads started from now on
        return self._pool


@contextmanager
def one_core() -> Iterator[None]:
    """Keep torch on one core inside a `with`, for operators too small to be worth splitting.

    Inside it, numbers below 1e-38 become 0, because processors handle such numbers many times more slowly.

    >>> import torch
    >>> with one_core():
    ...     torch.get_num_threads()
    1

    Yields: nothing.

    Chapter 3.
    """
    import torch

    threads, flushed = torch.get_num_threads(), bool(torch.tensor(1e-40) * 1 == 0)
    _on_one_core()
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        torch.set_flush_denormal(flushed)


def share(function: Callable, pieces: Iterable) -> list:
    """Call a function for each piece in as many threads as numba may use, for compiled code that needs no torch.

    >>> share(len, ["a", "bc"])
    [1, 2]

    Args:
        function: of one piece; most of its work is in functions compiled with `jit(nogil=True)`.
        pieces: what to call it with.

    Returns: the results, in the order of the pieces.

    Chapter 6.
    """
    from numba import config

    limit = os.environ.get("OMP_NUM_THREADS", "")  # which numba does not look at
    threads = min(config.NUMBA_NUM_THREADS, int(limit) if limit.isdecimal() else 999)
    if threads < 2:
        return list(map(function, pieces))
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(function, pieces))


def jit(**options) -> Callable[[Callable], Callable]:
    """Compile with numba, and keep the machine code on disk wherever that is possible.

    >>> @jit(nogil=True)
    ... def double(x):
    ...     return 2 * x
    >>> double(21)
    42

    numba looks for a place beside the source file, then in the person's cache folder. A container or a server may let
    us write to neither: then each process compiles anew, unless NUMBA_CACHE_DIR names a folder.

    Args:
        options: of `numba.njit`.

    Returns: a decorator.

    Chapter 3.
    """
    import numba

    def compile_later(function: Callable) -> Callable:
        try:
            return numba.njit(cache=True, **options)(function)
        except RuntimeError:  # "cannot cache function: no locator available"
            return numba.njit(**options)(function)

    return compile_later


def _on_one_core() -> None:
    import torch

    torch.get_num_threads()  # the first call in a thread resets its count to the global one, so get before you set
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
