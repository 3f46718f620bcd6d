"""Work shared between threads: whole pieces, handed out as threads get free, results in order."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import chain, islice
from threading import Barrier
from typing import Any

import torch


class Workers:
    """As many threads as torch has; each runs torch on one core, and torch lets the others run meanwhile.

    One operator split over all cores waits, at every operator, for the slowest core: on a loaded machine, that is most
    of the time. Whole pieces of work need no waiting. Results come in the order of the pieces, so that sums do not
    depend on which thread was first. Use it in a `with`.
    """

    def __init__(self, device: torch.device):
        self.threads = torch.get_num_threads() if device.type == "cpu" else 1
        self._pool: ThreadPoolExecutor | None = None

    def __enter__(self) -> "Workers":
        return self

    def __exit__(self, *_) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            self._pool = None

    def map(self, function: Callable[[Any], Any], pieces: Iterable) -> Iterator:
        """`map(function, pieces)`, of which few are held at a time."""
        pieces = iter(pieces)
        first = list(islice(pieces, 2))
        if len(first) < 2 or self.threads == 1:
            yield from (_without_graph(function, piece) for piece in chain(first, pieces))
            return
        pool, waiting = self._started(), deque()
        for piece in chain(first, pieces):
            waiting.append(pool.submit(_without_graph, function, piece))
            if len(waiting) >= 2 * self.threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()

    def _started(self) -> ThreadPoolExecutor:
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self.threads, initializer=_on_one_core)
            together = Barrier(self.threads + 1)
            for _ in range(self.threads):
                self._pool.submit(together.wait)
            together.wait()
            torch.set_num_threads(self.threads)  # what torch gives to threads that it meets from now on
        return self._pool


@contextmanager
def one_core() -> Iterator[None]:
    """Torch keeps to one core inside: for operators so small that meeting another core costs more than they do.

    Numbers below 1e-38 are 0 inside, for the processor needs many times as long for them.
    """
    threads, flushed = torch.get_num_threads(), bool(torch.tensor(1e-40) * 1 == 0)
    _on_one_core()
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        torch.set_flush_denormal(flushed)


def _on_one_core() -> None:
    torch.get_num_threads()  # a thread's first question sets its number to everybody's: ask before setting
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)


def _without_graph(function: Callable[[Any], Any], piece: Any) -> Any:
    with torch.no_grad():  # each thread has its own switch
        return function(piece)
