"""The rows to fit a mixture to, piece by piece, from an array, a memory map or shards that do not fit into memory.

Under `torchrun`, the rows of all processes together are the data.
"""

import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from functools import partial, reduce
from operator import add

import numpy as np
import torch
import torch.distributed as dist
from sklearn.utils.validation import validate_data
from torch import Tensor

from musicai.gmm._scale.blocks import Frame
from musicai.gmm.em import Moments, at_least_tiny, moments
from musicai.threads import Workers
from musicai.train.distributed import join, rank_and_world


def as_tensor(array) -> Tensor:
    """Convert an array of any layout and type to a float32 or float64 tensor, without a copy if possible.

    Raises ValueError for complex numbers.
    """
    if not isinstance(array, Tensor):
        array = np.asarray(array)
        single = array.dtype.kind == "f" and array.itemsize <= 4
        array = array if array.dtype.kind == "c" else array.astype(np.float32 if single else np.float64, copy=False)
        if not array.flags.aligned or any(stride < 0 or stride % array.itemsize for stride in array.strides):
            array = array.copy()  # torch does not support such tensors
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "The given NumPy array is not writable")  # we only read it
            array = torch.from_numpy(array)
    if array.is_complex():
        raise ValueError("Complex data not supported: take the real part or the magnitude")
    array = array.detach().resolve_neg()
    array = array.cpu() if array.device.type == "mps" else array  # MPS has no float64
    return array.to(torch.float32 if array.is_floating_point() and array.itemsize <= 4 else torch.float64)


def as_kind(tensor: Tensor, dtype: torch.dtype, like) -> np.ndarray | Tensor:
    """Convert to a tensor of this type on the device of `like`, or to a NumPy array if `like` is not a tensor."""
    tensor = tensor.detach().to(like.device if isinstance(like, Tensor) else "cpu", dtype)
    return tensor if isinstance(like, Tensor) else tensor.numpy()


def check_rows(estimator, X, *, reset: bool = False) -> np.ndarray | Tensor:
    """Return X as float32 or float64 rows (rows, D), after the checks that scikit-learn makes.

    Raises ValueError for a wrong shape or width, NaN, infinity, or too few rows.
    """
    rows = as_tensor(X) if isinstance(X, Tensor) else None
    array = X if rows is None else rows.numpy() if rows.device.type == "cpu" else rows[:2].cpu().numpy()
    types, least = [np.float64, np.float32], 2 if reset else 1
    array = validate_data(estimator, array, reset=reset, dtype=types, ensure_min_samples=least)
    if rows is not None and rows.device.type != "cpu" and not bool(torch.isfinite(rows).all()):
        raise ValueError("Input X contains NaN or infinity")
    return array if rows is None else rows


def is_shards(X) -> bool:
    """Whether X is many matrices rather than one: a function that returns them, or an iterable of matrices."""
    if isinstance(X, list | tuple):
        return bool(X) and getattr(X[0], "ndim", 0) == 2
    single = hasattr(X, "__array__") or hasattr(X, "shape") or isinstance(X, str | bytes | dict)
    return callable(X) or (isinstance(X, Iterable) and not single)


def shards_of(X) -> Iterable:
    """The matrices in X: itself, or its shards."""
    shards = X if is_shards(X) else [X]
    return shards() if callable(shards) else shards


def in_pieces(rows: Tensor, k: int = 1) -> tuple[Tensor, ...]:
    """Split rows (rows, D) into pieces to share among threads, small enough to hold k numbers per row."""
    return rows.split(max(64, (2**26 if rows.is_cuda else 2**18) // (k * rows.shape[1])))


class Data(AbstractContextManager):
    """Rows in pieces, which EM can read as often as it needs. Use it in a `with`.

    Under `torchrun`, the rows of all processes together are the data. If every process holds the same rows, each reads
    only its share of them.

    Raises ValueError for shards that can be read only once, differ in width, or hold NaN or infinity.
    """

    def __init__(self, source, full: bool):
        if isinstance(source, Iterator):
            raise ValueError("EM reads the shards at each step, but an iterator can be read only once: pass a function")
        self.source, self.full, self.width = source, full, None
        first = next(iter(shards_of(source)), None)
        if first is None:
            raise ValueError("there are no shards: pass a list of matrices, or a function that returns an iterator")
        rows = next(self._matrices())
        self.width, self.device, self.dtype = rows.shape[1], rows.device, rows.dtype
        self.as_kind = partial(as_kind, dtype=rows.dtype, like=rows.new_empty(0) if isinstance(first, Tensor) else None)
        self.workers = Workers(self.device)
        self.rank, self.world, self.offset, self.same_everywhere = 0, 1, 0, False  # offset: the index of our first row
        self.total = self.sum(self._total)
        join()
        self.rank, self.world = rank_and_world()
        if self.world > 1:
            everyone = gather(self.total, self.device)
            mean, scatter = everyone[0].mean, everyone[0].scatter
            self.same_everywhere = all(torch.equal(o.mean, mean) and torch.equal(o.scatter, scatter) for o in everyone)
            if not self.same_everywhere:
                self.offset = int(sum(other.count for other in everyone[: self.rank]))
                self.total = reduce(add, everyone)
        self.rows = int(self.total.count)
        total = self.total.to("cpu")
        self.frame = Frame.of(total.mean[0], total.scatter[0] / at_least_tiny(total.count))

    def __exit__(self, *_) -> None:
        self.workers.__exit__()

    def sum(self, function: Callable[[Tensor, int], Moments]) -> Moments:
        """Sum function(*piece) over the `pieces()` of all processes, bit-identically in each."""
        mine = reduce(add, self.workers.map(lambda piece: function(*piece), self.pieces()))
        return mine if self.world == 1 else reduce(add, gather(mine, self.device))

    def take(self, numbers: np.ndarray) -> Tensor:
        """The rows with these (increasing) indices, from whichever process has them."""
        parts, position = [], self.offset
        for matrix in self._matrices():
            inside = numbers[(numbers >= position) & (numbers < position + len(matrix))] - position
            parts.append(matrix[torch.from_numpy(inside).to(matrix.device)])
            position += len(matrix)
        mine = torch.cat(parts)
        return mine if self.world == 1 or self.same_everywhere else torch.cat(gather(mine, self.device))

    def pieces(self) -> Iterator[tuple[Tensor, int]]:
        """Yield (rows, the index of the first of them in all the data) for the pieces that this process handles."""
        number, position, seen = 0, self.offset, False
        for matrix in self._matrices():
            for rows in in_pieces(matrix):
                if not self.same_everywhere or number % self.world == self.rank:
                    yield rows, position
                    seen = True
                number += 1
                position += len(rows)
        if not seen:
            yield matrix[:0], position  # nothing for this process, but the others wait for its result

    def _matrices(self) -> Iterator[Tensor]:
        for number, shard in enumerate(shards_of(self.source)):
            matrix = as_tensor(shard)
            if matrix.dim() != 2 or self.width not in (None, matrix.shape[1]):
                wanted = f"(rows, {self.width or 'features'})"
                raise ValueError(f"shard {number} has shape {tuple(matrix.shape)}; it should have {wanted}")
            yield matrix

    def _total(self, rows: Tensor, position: int) -> Moments:
        """The moments of some rows together, which must be finite."""
        if not bool(torch.isfinite(rows.sum(dtype=torch.float64))):
            raise ValueError(f"the data contain NaN or infinity, in rows {position} to {position + len(rows) - 1}")
        parts = (part.double().T for part in rows.split(max(64, 2**22 // rows.shape[1])))  # float64 takes memory
        return reduce(add, (moments(x, x.new_ones(1, x.shape[1]), self.full) for x in parts))


def gather(value: Moments | Tensor, device: torch.device) -> list:
    """Gather the values of all processes, in order, on this process's device."""
    parts = [None] * dist.get_world_size()
    dist.all_gather_object(parts, value.to("cpu"))
    return [part.to(device) for part in parts]
