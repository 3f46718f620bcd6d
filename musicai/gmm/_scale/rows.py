"""The rows to fit a mixture to, piece by piece, from an array, a memory map or shards that do not fit into memory.

Under `torchrun`, the rows of all processes together are the data.
"""

import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, suppress
from dataclasses import replace
from functools import partial, reduce
from operator import add

import numpy as np
import sklearn.mixture
import torch
import torch.distributed as dist
from sklearn.utils import check_random_state
from sklearn.utils.validation import validate_data
from torch import Tensor

from musicai.gmm import em
from musicai.gmm._scale.blocks import Frame
from musicai.gmm.em import Moments, Parameters
from musicai.threads import Workers
from musicai.train.distributed import join, rank_and_world

SAMPLE = 2**18  # the most rows that are looked at to find a start
GIVEN = ("weights", "means", "precisions")


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

    Under `torchrun`, the rows of all processes together are the data: give each process rows of its own.

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
        join()
        rank, self.world = rank_and_world()
        everyone = self._of_all(self._sum(self._total))
        self.offset = int(sum(other.count for other in everyone[:rank]))  # the index of our first row
        self.total = reduce(add, everyone)
        self.rows = int(self.total.count)
        total = self.total.to("cpu")
        self.frame = Frame.of(total.mean[0], total.scatter[0] / em.at_least_tiny(total.count))

    def __exit__(self, *_) -> None:
        self.workers.__exit__()

    def random_numbers(self, seed: int | np.random.RandomState | None) -> np.random.RandomState:
        """Make a source of random numbers: in every process, the same one as in process 0."""
        shared = [check_random_state(seed)]
        if self.world > 1:
            dist.broadcast_object_list(shared, src=0)
        return shared[0]

    def sum(self, function: Callable[[Tensor], Moments]) -> Moments:
        """Sum function(rows) over pieces of the rows of all processes, bit-identically in each."""
        return reduce(add, self._of_all(self._sum(function)))

    def _sum(self, function: Callable[[Tensor], Moments]) -> Moments:
        pieces = (rows for matrix in self._matrices() for rows in in_pieces(matrix))
        return reduce(add, self.workers.map(function, pieces))

    def _of_all(self, value: Moments | Tensor) -> list:
        """The values of all processes, in order, on this process's device."""
        if self.world == 1:
            return [value]  # no GPU has to wait for it
        parts = [None] * self.world
        dist.all_gather_object(parts, value.to("cpu"))
        return [part.to(self.device) for part in parts]

    def take(self, numbers: np.ndarray) -> Tensor:
        """The rows with these (increasing) indices, from whichever process has them."""
        parts, position = [], self.offset
        for matrix in self._matrices():
            inside = numbers[(numbers >= position) & (numbers < position + len(matrix))] - position
            parts.append(matrix[torch.from_numpy(inside).to(matrix.device)])
            position += len(matrix)
        return torch.cat(self._of_all(torch.cat(parts)))

    def _matrices(self) -> Iterator[Tensor]:
        for number, shard in enumerate(shards_of(self.source)):
            matrix = as_tensor(shard)
            if matrix.dim() != 2 or self.width not in (None, matrix.shape[1]):
                wanted = f"(rows, {self.width or 'features'})"
                raise ValueError(f"shard {number} has shape {tuple(matrix.shape)}; it should have {wanted}")
            yield matrix

    def _total(self, rows: Tensor) -> Moments:
        """The moments of some rows together, which must be finite."""
        if len(bad := rows[~torch.isfinite(rows).all(1)]):
            raise ValueError(f"the data contain NaN or infinity, first in a row that begins {bad[0, :5].tolist()}")
        parts = (part.double().T for part in rows.split(max(64, 2**22 // rows.shape[1])))  # float64 takes memory
        return reduce(add, (em.moments(x, x.new_ones(1, x.shape[1]), self.full) for x in parts))


# ---- where EM starts: scikit-learn's own starting points, found in a sample of the rows


def start(data: Data, settings: dict, random_state: np.random.RandomState) -> Parameters:
    """Find the parameters before the first step, given the settings of the estimator.

    Raises ValueError if given parameters have the wrong shape, if weights or precisions are invalid, or if the data
    collapse at once.
    """
    kind, numbers = settings["covariance_type"], np.arange(data.rows)
    if data.rows > SAMPLE:
        numbers = np.unique(random_state.randint(data.rows, size=SAMPLE))
    values = {name: settings[f"{name}_init"] for name in GIVEN if settings[f"{name}_init"] is not None}
    given = {name: as_tensor(value).to("cpu", torch.float64) for name, value in values.items()}
    changed = {f"{name}_init": x.numpy() for name, x in given.items()} | {"random_state": random_state}
    rows, theirs = data.take(numbers), _Start(**settings | changed | {"warm_start": False})
    with suppress(_Started):
        theirs.fit(rows.cpu().numpy())
    given = {name: x.to(data.device) for name, x in given.items()}
    if "precisions" in given:
        half = em.precisions_cholesky(given.pop("precisions"), data.full)  # a factor of the covariances
        given["covariances"] = half @ half.mT if data.full else half.square()
        given["precisions_cholesky"] = em.precisions_cholesky(given["covariances"], data.full)
    if theirs.responsibilities is None:  # everything is given
        return Parameters(**given, covariance_type=kind)
    seen = _moments(data, rows, as_tensor(theirs.responsibilities).to(rows.device), kind == "tied")
    reg_covar = 1.0 if "covariances" in given else settings["reg_covar"]  # covariances that are not used may collapse
    found = em.m_step(seen, kind, reg_covar)
    weights = found.weights * float(seen.count.sum() / len(rows))  # as in scikit-learn, if few rows were chosen
    return replace(found, **{"weights": weights} | given)


class _Started(Exception):
    """Ends scikit-learn's fit where its EM would begin."""


class _Start(sklearn.mixture.GaussianMixture):
    """Checks what is given and finds responsibilities, but leaves the moments to us: theirs lose digits far from 0."""

    def _initialize(self, X: np.ndarray, resp: np.ndarray | None, **_) -> None:
        self.responsibilities = resp
        raise _Started


def _moments(data: Data, rows: Tensor, responsibilities: Tensor, tied: bool) -> Moments:
    pieces = in_pieces(rows, responsibilities.shape[1])
    pieces = zip(pieces, responsibilities.split(len(pieces[0])), strict=True)
    sums = data.workers.map(lambda piece: em.moments(*(x.double().T for x in piece), data.full), pieces)
    seen, every = reduce(add, sums), data.total
    if tied and float(seen.count.sum()) < len(rows) - 0.5:
        # As in scikit-learn, the few rows that were chosen share the squares of all.
        squares = every.scatter[0] + every.count * em.squares(every.mean, True)[0]
        seen.scatter[:] = 0
        seen.scatter[0] = squares - em.squares(seen.mean, True).sum(0)
    return seen
