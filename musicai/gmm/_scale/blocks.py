"""The E step over any number of rows, block by block, and how it keeps its digits.

All that the M step needs of the data is the sums of their features, weighted by the responsibilities: of the products
x_i x_j (or of the squares alone), of x, and of 1. That is one matrix product. The log densities are another.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from musicai.gmm import em
from musicai.gmm.em import Moments, Parameters
from musicai.threads import one_core

if TYPE_CHECKING:
    from musicai.gmm._scale.rows import Data

CACHE = {"cpu": 2**20, "cuda": 2**27}  # numbers in a block: what the second-level cache holds; what fills a GPU
SMALL = 2**26  # multiplications in a pass; float64 costs nothing worth saving below
RIDGE = 1e-6  # of a direction's variance: where data are flat, whitening stretches them a thousandfold at most
MOST_FEATURES = 2**15  # beyond (full covariances in more than 253 dimensions) their matrix is too large to be of use
FLOAT32, FLOAT64, DEFINITION = 0, 1, 2  # a component's log density: from features in that type, or by its definition
# How much of its own size a squared standard coordinate may lose to rounding. In float32 such errors differ from row to
# row and average out.
ALLOWED = {FLOAT32: 1e-3, FLOAT64: 1e-7}
TYPES = {FLOAT32: torch.float32, FLOAT64: torch.float64}


@dataclass(frozen=True)
class Frame:
    """Coordinates (x - shift) * scale in which the data have mean 0 and standard deviation about 1.

    Far from the origin, or with features of very different sizes, squares would lose all their digits. The shift is a
    float32 number and the scale a power of two, so that moving into the frame rounds (almost) nothing.

    For full covariances, `whitening` (a lower triangular matrix, applied last) can make the features uncorrelated too:
    where they nearly repeat each other, products also lose their digits.
    """

    shift: Tensor
    scale: Tensor
    whitening: Tensor | None = None

    @staticmethod
    def of(mean: Tensor, variance: Tensor) -> "Frame":
        """For data with this mean and variance, each (D,)."""
        shift = mean.float().double()
        exact = (variance == 0) | ~torch.isfinite(shift)  # a constant becomes 0; or it is beyond float32's range
        scale = torch.exp2(-variance.sqrt().log2().round().clamp(-500, 500))
        return Frame(torch.where(exact, mean, shift), torch.where(variance > 0, scale, 1.0))

    @staticmethod
    def of_mixture(parameters: Parameters) -> "Frame":
        """For data drawn from the mixture."""
        weights = parameters.weights[:, None]
        mean = (weights * parameters.means).sum(0)
        return Frame.of(mean, (weights * (parameters.variances() + (parameters.means - mean).square())).sum(0))

    def whitened(self, covariance: Tensor) -> "Frame":
        """This frame, whitened for data that have this covariance (D, D) in it: they get the covariance 1."""
        ridge = RIDGE * torch.eye(len(covariance)).to(covariance)
        whitening = em.precisions_cholesky(covariance + ridge, full=True).mT
        return replace(self, whitening=whitening.float().double())  # the same numbers in float32

    def rows_into(self, rows: Tensor, out: Tensor) -> Tensor:
        """rows (rows, D) as columns in this frame: (D, rows), in the precision of `out`."""
        shift, scale = self.shift[:, None].to(out.dtype), self.scale[:, None].to(out.dtype)
        x = torch.sub(rows.T, shift, out=out if self.whitening is None else torch.empty_like(out)).mul_(scale)
        return x if self.whitening is None else torch.mm(self.whitening.to(out.dtype), x, out=out)

    def mixture_into(self, parameters: Parameters) -> tuple[Tensor, Tensor, Tensor]:
        """The mixture's weights, means and factors (see `Parameters.factors`) in this frame."""
        factors = parameters.factors()
        factors = factors / (self.scale if factors.dim() == 2 else self.scale[:, None])
        means = (parameters.means - self.shift) * self.scale
        if self.whitening is None:
            return parameters.weights, means, factors
        factors = torch.linalg.solve_triangular(self.whitening.mT, factors, upper=True)
        return parameters.weights, means @ self.whitening.mT, factors

    def variances(self, parameters: Parameters) -> Tensor:
        """Those of each component along each axis of this frame: (K, D)."""
        if self.whitening is None:
            return parameters.variances() * self.scale.square()
        axes = self.whitening * self.scale
        return ((axes @ parameters.covariances) * axes).sum(-1).expand_as(parameters.means)

    def moments_from(self, seen: Moments) -> Moments:
        """Moments seen in this frame, as they are outside it."""
        mean, scatter = seen.mean, seen.scatter
        if self.whitening is not None:
            mean = torch.linalg.solve_triangular(self.whitening, mean.mT, upper=False).mT
            half = torch.linalg.solve_triangular(self.whitening, scatter, upper=False)
            scatter = torch.linalg.solve_triangular(self.whitening, half.mT, upper=False)
            scatter = (scatter + scatter.mT) / 2
        scale = self.scale[:, None] * self.scale if scatter.dim() == 3 else self.scale.square()
        return replace(seen, mean=mean / self.scale + self.shift, scatter=scatter / scale)

    def log_volume(self) -> Tensor:
        """What to add to a log density in this frame."""
        return self.scale.log().sum() + (0 if self.whitening is None else self.whitening.diagonal().log().sum())


def features(x: Tensor, full: bool, out: Tensor | None = None) -> Tensor:
    """The sufficient statistics of a Gaussian: (P, rows), of which the last D + 1 are x and 1.

    x (D, rows). P = D + D + 1 with the squares of x, or D (D + 1) / 2 + D + 1 with its products (`full`).
    """
    d, first = len(x), 0
    out = x.new_empty(n_features(d, full), x.shape[1]) if out is None else out
    out[-1] = 1
    out[-1 - d : -1] = x
    if not full:
        torch.mul(x, x, out=out[:d])
        return out
    for i in range(d):  # x_i x_j for j >= i
        torch.mul(x[i:], x[i], out=out[first : first + d - i])
        first += d - i
    return out


def n_features(d: int, full: bool) -> int:
    """P: how many features a Gaussian in D dimensions has."""
    return d * (d + 1) // 2 + d + 1 if full else 2 * d + 1


def coefficients(weights: Tensor, means: Tensor, factors: Tensor) -> Tensor:
    """log(weight x density) of each component as coefficients of the features: (K, P). Arguments as of `log_joint`."""
    if factors.dim() == 2:
        linear = factors.square() * means
        quadratic = -0.5 * factors.square()
    else:
        precisions, (i, j) = factors @ factors.mT, torch.triu_indices(*factors.shape[1:], device=factors.device)
        linear = (precisions @ means[:, :, None])[:, :, 0]
        quadratic = -precisions[:, i, j] * torch.where(i == j, 0.5, 1.0)
    constant = em.log_joint_at_mean(weights, factors) - 0.5 * (linear * means).sum(1)
    return torch.cat([quadratic, linear, constant[:, None]], 1)


def moments_from_sums(sums: Tensor, d: int, full: bool) -> Moments:
    """The moments, from the features' sums weighted by the responsibilities, (P, K). x had d dimensions."""
    count, first, second = sums[-1], sums[-1 - d : -1].T, sums[: -1 - d].T
    mean = first / em.at_least_tiny(count)[:, None]
    second = symmetric(second, d) if full else second
    scatter = second - em.per_component(count, second) * em.squares(mean, full)
    return Moments(count, mean, scatter if full else scatter.clamp(min=0))


def symmetric(upper: Tensor, d: int) -> Tensor:
    """Symmetric matrices (K, D, D) from their upper triangles (K, D (D + 1) / 2)."""
    i, j = torch.triu_indices(d, d, device=upper.device)
    matrices = upper.new_empty(len(upper), d, d)
    matrices[:, i, j] = upper
    matrices[:, j, i] = upper
    return matrices


class BlockEStep:
    """The E step with these parameters, ready to be run over pieces of the rows from several threads.

    level (K,) says how to compute each component. Those by the definition are computed in float64, and in the frame
    before whitening: where all rows of a component are equal, its scatter then is exactly zero.
    """

    def __init__(self, parameters: Parameters, frame: Frame, level: Tensor):
        self.frame, self.plain, self.full = frame, replace(frame, whitening=None), parameters.full
        lowest = int(level.min()) if not bool((level == FLOAT64).any()) else FLOAT64
        self.dtype = torch.float32 if lowest == FLOAT32 else torch.float64
        self.by_definition = level == DEFINITION
        self.exact = self.by_definition.nonzero()[:, 0]
        self.definition = [part[self.exact] for part in self.plain.mixture_into(parameters)]
        self.correction = self.plain.log_volume() - frame.log_volume()
        weights, means, factors = frame.mixture_into(parameters)
        self.k, self.d = means.shape
        self.p = n_features(self.d, self.full)
        self.fast = len(self.exact) < self.k
        if self.fast:  # the others' factors may be beyond float32's range
            factors = torch.where(em.per_component(self.by_definition, factors), torch.ones_like(factors), factors)
            self.matrix = coefficients(weights, means, factors).to(self.dtype)

    def moments(self, rows: Tensor) -> Moments:
        """The moments of rows (rows, D), and their log-likelihood; `outside` takes the moments out of the frame."""
        log_likelihood, exact = torch.zeros((), dtype=torch.float64, device=rows.device), None
        sums = log_likelihood.new_zeros(self.p, self.k) if self.fast else None
        for seen, x, joint in self._blocks(rows):
            responsibilities, log_likelihoods = em.e_step(joint)
            log_likelihood += log_likelihoods.sum(dtype=torch.float64)
            if self.fast:
                sums += seen @ responsibilities.T
            if len(self.exact):
                block = em.moments(x, responsibilities[self.exact].double(), self.full)
                exact = block if exact is None else exact + block
        found = moments_from_sums(sums, self.d, self.full) if self.fast else exact
        if self.fast and exact is not None:
            for name in ("count", "mean", "scatter"):
                getattr(found, name)[self.exact] = getattr(exact, name)
        return replace(found, log_likelihood=log_likelihood + len(rows) * self.frame.log_volume())

    def outside(self, seen: Moments) -> Moments:
        """Moments from `moments`, or sums of them, as they are outside the frame."""
        found, exact = self.frame.moments_from(seen), self.plain.moments_from(seen)
        mean = torch.where(self.by_definition[:, None], exact.mean, found.mean)
        scatter = torch.where(em.per_component(self.by_definition, found.scatter), exact.scatter, found.scatter)
        return replace(found, mean=mean, scatter=scatter)

    def log_joint(self, rows: Tensor) -> Tensor:
        """log(weight x density) of each component at each row of a piece: (K, rows), float64."""
        blocks = [joint.double() for _, _, joint in self._blocks(rows)]
        return torch.cat(blocks, 1) + self.frame.log_volume()

    def _blocks(self, rows: Tensor) -> Iterator[tuple[Tensor | None, Tensor | None, Tensor]]:
        """For each block: its features (P, rows), x (D, rows) in the plain frame in float64, and log_joint (K, rows)."""
        size = self._block_rows(rows.device)
        buffer = rows.new_empty(self.p, size, dtype=self.dtype) if self.fast else None
        for part in rows.split(size):
            seen = x = None
            if self.fast:
                seen = buffer[:, : len(part)]
                features(self.frame.rows_into(part, seen[-1 - self.d : -1]), self.full, out=seen)
                joint = (seen.T @ self.matrix.T).T  # as e_step likes it
            else:
                joint = rows.new_empty(self.k, len(part), dtype=self.dtype)
            if len(self.exact):
                x = self.plain.rows_into(part, rows.new_empty(self.d, len(part), dtype=torch.float64))
                joint[self.exact] = (em.log_joint(x, *self.definition) + self.correction).to(self.dtype)
            yield seen, x, joint

    def _block_rows(self, device: torch.device) -> int:
        cache = CACHE.get(device.type, CACHE["cpu"])
        each = max(self.p + self.k if self.fast else 0, 4 * len(self.exact) * self.d)
        return max(32, min(cache // each, cache // 512))


def e_step_over(data: "Data", parameters: Parameters, reg_covar: float) -> Moments:
    """The E step over all the data: their moments, precise enough for an M step with this `reg_covar`."""
    large = data.rows * len(parameters.means) * n_features(data.width, parameters.full) > SMALL
    if parameters.full and large:
        data.whiten()
    lowest = FLOAT32 if data.dtype == torch.float32 and large else FLOAT64
    with one_core():
        level = level_needed(parameters, data.frame, lowest)
        while True:
            step = BlockEStep(parameters, data.frame, level)
            seen = step.outside(data.sum(lambda rows, _, step=step: step.moments(rows)))
            # Rows far from every component, and components about to become narrow, were seen too roughly: once more.
            misfit = abs(float(seen.log_likelihood) / data.rows - float(data.frame.log_volume()))
            far = misfit * torch.finfo(torch.float32).eps >= ALLOWED[FLOAT32]
            after = _level_after(seen, parameters, data.frame, FLOAT64 if far else lowest, reg_covar)
            if bool((level >= after).all()):
                return seen
            level = level.maximum(after)


def _level_after(seen: Moments, parameters: Parameters, frame: Frame, lowest: int, reg_covar: float) -> Tensor:
    """The level that these parameters and those after an M step need."""
    level = level_needed(parameters, frame, lowest)
    try:
        better = em.m_step(seen, parameters.covariance_type, reg_covar)
    except ValueError:  # collapsed, it seems: only the definition can tell
        return torch.full_like(level, DEFINITION)
    return level.maximum(level_needed(better, frame, lowest))


def level_needed(parameters: Parameters, frame: Frame, lowest: int) -> Tensor:
    """The cheapest arithmetic, from `lowest` up, in which each component's log densities are right: (K,)."""
    terms = cancellation(frame, parameters)
    for level in (lowest, FLOAT64):
        exact = ~(terms * torch.finfo(TYPES[level]).eps < ALLOWED[level])  # NaN counts as exact
        if level == FLOAT64 or 8 * int(exact.sum()) <= len(exact):
            break
    if n_features(parameters.means.shape[1], parameters.full) > MOST_FEATURES:
        exact = torch.ones_like(exact)
    if parameters.covariance_type == "tied":
        exact = exact.any().expand_as(exact)
    return torch.where(exact, DEFINITION, level)


def cancellation(frame: Frame, parameters: Parameters) -> Tensor:
    """How much larger its terms are than the squared distance of a typical row from its component: (K,).

    Times the machine epsilon, this is what sums of squares lose. It grows as a component gets narrow beside the data,
    or nearly flat.
    """
    _, means, factors = frame.mixture_into(parameters)
    size = (frame.variances(parameters) + means.square()).sqrt()
    if factors.dim() == 2:
        return (factors * size).square().sum(1)
    return (factors.abs().mT @ size[:, :, None]).square().sum((1, 2))
