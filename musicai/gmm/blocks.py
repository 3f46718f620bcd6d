"""One pass over the data, block by block: nothing larger than a block is ever made, whatever the number of rows."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from musicai.gmm.accuracy import Frame, Precision
from musicai.gmm.steps import (
    Moments,
    Parameters,
    coefficients,
    e_step,
    features,
    log_height,
    log_joint,
    moments,
    moments_from_sums,
    n_features,
    standardisation,
)

CACHE = {"cpu": 2**20, "cuda": 2**27}  # numbers in a block: what the second-level cache holds; what fills a GPU


@dataclass(frozen=True)
class Sums:
    """What the E step saw: `a + b` is what it saw of both. Everything is in the frame, summed in float64."""

    rows: Tensor  # () how many
    log_likelihood: Tensor  # ()
    linear: Tensor | None  # (P, K) the features, weighted by the responsibilities
    exact: Moments | None  # of the components that are computed by the definition

    def __add__(self, other: "Sums") -> "Sums":
        return Sums(
            self.rows + other.rows,
            self.log_likelihood + other.log_likelihood,
            None if self.linear is None else self.linear + other.linear,
            None if self.exact is None else self.exact + other.exact,
        )

    def tensors(self) -> list[Tensor]:
        exact = () if self.exact is None else (self.exact.count, self.exact.mean, self.exact.scatter)
        return [self.rows, self.log_likelihood, *(() if self.linear is None else (self.linear,)), *exact]

    def like(self, tensors: list[Tensor]) -> "Sums":
        """The inverse of `tensors()`, for sums of the same kind."""
        rows, log_likelihood, *rest = tensors
        linear = None if self.linear is None else rest.pop(0)
        return Sums(rows, log_likelihood, linear, Moments(*rest) if rest else None)


class Pass:
    """The E step with these parameters, ready to be run over blocks of rows from several threads."""

    def __init__(self, parameters: Parameters, frame: Frame, precision: Precision):
        self.frame, self.dtype = frame, precision.dtype
        self.full = parameters.covariance_type in ("full", "tied")
        weights, means, factors = frame.mixture_into(parameters)
        self.k, self.d = means.shape
        self.exact = precision.exact.nonzero()[:, 0]
        self.definition = [part[self.exact] for part in (weights, means, factors)]
        self.fast = len(self.exact) < self.k
        done_otherwise = precision.exact.reshape(-1, *(1,) * (factors.dim() - 1))
        factors = torch.where(done_otherwise, torch.ones_like(factors), factors)  # may be beyond float32's range
        self.height = log_height(weights, factors)[:, None].to(self.dtype)
        matrix = standardisation(means, factors) if self.full else coefficients(weights, means, factors)
        self.matrix = matrix.to(self.dtype)
        self.block = self._block_rows(means.device)

    def sums(self, rows: Tensor) -> Sums:
        """E step over rows (rows, D): their part of what the M step needs to know."""
        log_likelihood = torch.zeros((), dtype=torch.float64, device=rows.device)
        linear = log_likelihood.new_zeros(n_features(self.d, self.full), self.k) if self.fast else None
        exact = None
        for seen, x, joint in self._blocks(rows, n_features(self.d, self.full)):
            responsibilities, rows_log_likelihood = e_step(joint)
            log_likelihood += rows_log_likelihood.sum(dtype=torch.float64)
            if self.fast:
                seen = features(seen[-1 - self.d : -1], True, out=seen) if self.full else seen
                linear += seen @ responsibilities.T
            if len(self.exact):
                block = moments(x, responsibilities[self.exact].double(), self.full)
                exact = block if exact is None else exact + block
        count = log_likelihood.new_tensor(len(rows))
        return Sums(count, log_likelihood + count * self.frame.log_volume(), linear, exact)

    def moments(self, sums: Sums) -> Moments:
        """The moments of all components, outside the frame."""
        if sums.linear is None:
            return self.frame.moments_from(sums.exact)
        seen = moments_from_sums(sums.linear, self.d, self.full)
        if sums.exact is not None:
            seen.count[self.exact] = sums.exact.count
            seen.mean[self.exact] = sums.exact.mean
            seen.scatter[self.exact] = sums.exact.scatter
        return self.frame.moments_from(seen)

    def log_likelihood(self, rows: Tensor) -> Tensor:
        """log p(x) of each row: (rows,), float64."""
        parts = [e_step(joint)[1] for _, _, joint in self._blocks(rows)]
        return torch.cat(parts).double() + self.frame.log_volume()

    def responsibilities(self, rows: Tensor) -> Tensor:
        """p(k | x): (rows, K)."""
        return torch.cat([e_step(joint)[0].T for _, _, joint in self._blocks(rows)])

    def labels(self, rows: Tensor) -> Tensor:
        """The likeliest component of each row: (rows,)."""
        return torch.cat([joint.argmax(0) for _, _, joint in self._blocks(rows)])

    def _blocks(self, rows: Tensor, room: int = 0) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """For each block: a buffer (>= room, rows) that ends with x and 1, x in float64, log_joint (K, rows)."""
        buffer = rows.new_empty(max(room, n_features(self.d, False)), self.block, dtype=self.dtype)
        for part in rows.split(self.block):
            seen = buffer[:, : len(part)]
            x = self.frame.rows_into(part, seen[-1 - self.d : -1])
            joint = self._joint(seen) if self.fast else rows.new_empty(self.k, len(part), dtype=self.dtype)
            if len(self.exact):
                x = self.frame.rows_into(part, rows.new_empty(self.d, len(part), dtype=torch.float64))
                joint[self.exact] = log_joint(x, *self.definition).to(self.dtype)
            yield seen, x, joint

    def _joint(self, seen: Tensor) -> Tensor:
        """log(weight x density) (K, rows) of the components that need no care."""
        if not self.full:
            return (features(seen[-1 - self.d : -1], False, out=seen).T @ self.matrix.T).T  # as e_step likes it
        seen[-1] = 1
        standard = self.matrix @ seen[-1 - self.d :]  # (K D, rows)
        return self.height - 0.5 * standard.square_().unflatten(0, (self.k, self.d)).sum(1)

    def _block_rows(self, device: torch.device) -> int:
        cache = CACHE.get(device.type, CACHE["cpu"])
        widest = n_features(self.d, self.full) + self.k * (self.d if self.full else 1)
        each = max(widest if self.fast else 0, 4 * len(self.exact) * self.d)
        return max(32, min(cache // each, cache // 512))
