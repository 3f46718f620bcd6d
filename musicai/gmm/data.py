"""The rows that a mixture is fitted to, in pieces: an array, a memory map, or shards that do not fit into memory."""

import math
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from functools import reduce
from operator import add
from typing import Any

import numpy as np
import torch
from torch import Tensor

from musicai.gmm import processes
from musicai.gmm.accuracy import Frame
from musicai.gmm.blocks import Sums
from musicai.gmm.steps import Moments
from musicai.threads import Workers

PIECE = {"cpu": 2**15, "cuda": 2**22}  # rows: small enough to share out between threads; fewer if they are wide


def as_tensor(array: Any) -> Tensor:
    """An array as a float32 or float64 tensor, without a copy where its type allows; a tensor stays where it is."""
    if not isinstance(array, Tensor):
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "The given NumPy array is not writable")  # nobody writes into it
            array = torch.as_tensor(np.asarray(array))
    array = array.detach()
    if array.dtype in (torch.float32, torch.float64):
        return array if array.device.type != "mps" else array.cpu()  # MPS has no float64
    return array.to(torch.float32 if array.is_floating_point() else torch.float64)


def is_shards(X: Any) -> bool:
    """Whether X is many matrices rather than one: a function that returns them, or an iterable of matrices."""
    if isinstance(X, Tensor) or hasattr(X, "__array__") or hasattr(X, "shape"):
        return False
    if isinstance(X, list | tuple):
        return bool(X) and getattr(X[0], "ndim", 0) == 2
    return callable(X) or (hasattr(X, "__iter__") and not isinstance(X, str | bytes | dict))


def shards_of(source: Iterable | Callable[[], Iterable]) -> Iterable:
    """The matrices of what `is_shards`."""
    return source() if callable(source) else source


def in_pieces(rows: Tensor) -> Iterator[Tensor]:
    """rows (rows, D), a piece at a time."""
    most = PIECE.get(rows.device.type, PIECE["cpu"])
    if len(rows):
        yield from rows.split(max(1024, most // math.ceil(rows.shape[1] / 16)))


class Data:
    """Rows in pieces, to be gone through as often as EM needs.

    rows, width, dtype, device: what they are. frame: the coordinates in which they have mean 0 and size 1.
    Under `torchrun`, all processes' rows together are the data. Where every process holds the same rows, each reads
    only its share of them.

    Use it in a `with`.

    Raises ValueError for shards that can be read only once, differ in width, or hold NaN or infinity.
    """

    def __init__(self, source: Tensor | Iterable | Callable[[], Iterable]):
        if isinstance(source, Iterator):
            raise ValueError(
                f"the {type(source).__name__} of shards can be read only once, but EM reads them at every step: pass a "
                "list, or a function that returns a new iterator"
            )
        self.source = source
        self.dtype, self.device, self.width = self._describe()
        self.workers = Workers(self.device)
        self.rank, self.world = processes.join()
        self.same_everywhere = False

    def __enter__(self) -> "Data":
        with ExitStack() as stack:
            stack.enter_context(self.workers)
            self._measure()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *error) -> None:
        self._stack.__exit__(*error)

    def map(self, function: Callable[[Tensor, int], Any]) -> Iterator:
        """function(rows, number of the first of them in all the data) of each piece that this process is to see."""
        return self.workers.map(lambda piece: function(*piece), self.pieces())

    def sums(self, function: Callable[[Tensor], Sums]) -> Sums:
        """The sums over all the data of all processes; the same, to the last bit, in every process."""
        total = sum_up(self.map(lambda rows, _: function(rows)))
        if self.world == 1:
            return total
        return sum_up(total.like(tensors) for tensors in processes.gather(total.tensors()))

    def moments(self, function: Callable[[Tensor, int], Moments]) -> Moments:
        """The same for moments."""
        total = sum_up(self.map(function))
        if self.world == 1:
            return total
        gathered = processes.gather([total.count, total.mean, total.scatter])
        return sum_up(Moments(*tensors) for tensors in gathered)

    def turn(self) -> None:
        """Turn the frame, so that in it the features are uncorrelated. One pass over the data."""
        if self.frame.turn is None:
            seen = self.moments(lambda rows, _: _products(rows, self.frame))
            self.frame = self.frame.turned(seen.scatter[0] / seen.count)

    def take(self, numbers: np.ndarray) -> Tensor:
        """The rows with these (rising) numbers, from whichever process has them."""
        parts, position = [], self.offset
        for matrix in self._matrices():
            inside = numbers[(numbers >= position) & (numbers < position + len(matrix))] - position
            parts.append(matrix[torch.from_numpy(inside).to(matrix.device)])
            position += len(matrix)
        mine = torch.cat(parts)
        return mine if self.world == 1 or self.same_everywhere else processes.gather_rows(mine).to(mine.dtype)

    def pieces(self) -> Iterator[tuple[Tensor, int]]:
        """(rows, the number of the first of them in all the data): those that this process is to see."""
        number, position, none = 0, self.offset, True
        for matrix in self._matrices():
            for rows in in_pieces(matrix):
                if not self.same_everywhere or number % self.world == self.rank:
                    yield rows, position
                    none = False
                number += 1
                position += len(rows)
        if none:
            yield matrix[:0], position  # nothing for this process; the others wait to hear so

    def _matrices(self) -> Iterator[Tensor]:
        if isinstance(self.source, Tensor):
            yield self.source
            return
        for number, shard in enumerate(shards_of(self.source)):
            matrix, width = as_tensor(shard), getattr(self, "width", None)
            if matrix.dim() != 2 or width not in (None, matrix.shape[1]):
                raise ValueError(
                    f"shard {number} has shape {tuple(matrix.shape)}; it should have (rows, {width or 'features'})"
                )
            yield matrix

    def _describe(self) -> tuple[torch.dtype, torch.device, int]:
        for matrix in self._matrices():
            return matrix.dtype, matrix.device, matrix.shape[1]
        raise ValueError("there are no shards: pass a list of matrices, or a function that returns an iterator")

    def _measure(self) -> None:
        self.offset = 0
        total = sum_up(self.workers.map(lambda piece: _measured(*piece), self.pieces()))
        self.rows = int(total.count)
        if self.world > 1:
            everyone = [Moments(*parts) for parts in processes.gather([total.count, total.mean, total.scatter])]
            self.same_everywhere = all(_equal(other, everyone[0]) for other in everyone)
            if not self.same_everywhere:
                self.offset = int(sum(other.count for other in everyone[: self.rank]))
                total = sum_up(iter(everyone))
                self.rows = int(total.count)
        self.frame = Frame.of(total.mean[0], total.scatter[0] / total.count)


def _measured(rows: Tensor, position: int) -> Moments:
    rows, least = rows.double(), max(1, len(rows))  # there may be none
    mean = rows.sum(0) / least
    variance = (rows - mean).square_().sum(0) / least
    if not bool(torch.isfinite(mean).all()):
        raise ValueError(f"the data contain NaN or infinity, in rows {position} to {position + len(rows) - 1}")
    count = mean.new_tensor([len(rows)])
    return Moments(count, mean[None], variance[None] * count)


def _products(rows: Tensor, frame: Frame) -> Moments:
    x = frame.rows_into(rows, rows.new_empty(rows.shape[1], len(rows), dtype=torch.float64))
    mean = x.mean(1, keepdim=True)
    x = x - mean
    return Moments(mean.new_tensor([len(rows)]), mean.T, (x @ x.T)[None])


def _equal(a: Moments, b: Moments) -> bool:
    return all(torch.equal(x, y) for x, y in ((a.count, b.count), (a.mean, b.mean), (a.scatter, b.scatter)))


def sum_up(parts: Iterator) -> Any:
    """The sum of at least one."""
    return reduce(add, parts)
