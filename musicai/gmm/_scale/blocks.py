"""The E step over any number of rows, block by block, and how it keeps its digits.

All that the M step needs of the data is the sums of their features, weighted by the responsibilities: of the products
x_i x_j (or of the squares alone), of x, and of 1. That is one matrix product. The log densities are another.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from musicai.gmm import em
from musicai.gmm.em import Moments, Parameters

CACHE = {"cpu": 2**20, "cuda": 2**27}  # numbers in a block: what the second-level cache holds; what fills a GPU
SMALL = 2**26  # multiplications in a pass; float64 costs nothing worth saving below
RIDGE = 1e-6  # of a direction's variance: where data are flat, whitening stretches them a thousandfold at most
FLOAT32, FLOAT64, DEFINITION = 0, 1, 2  # a component's log density: from features in that type, or by its definition
# How much of its own size a squared standard coordinate may lose to rounding. In float32 such errors differ from row to
# row and average out.
ALLOWED = {FLOAT32: 1e-3, FLOAT64: 1e-7}
TYPES = {FLOAT32: torch.float32, FLOAT64: torch.float64}


@dataclass(frozen=True)
class Frame:
    """Coordinates scale (x - shift) in which the data have mean 0 and standard deviation about 1.

    Far from the origin, or with features of very different sizes, squares would lose all their digits. The shift is a
    float32 number and the scale (D,) holds powers of two, so that moving into the frame rounds (almost) nothing.

    For full covariances, scale can be a lower triangular matrix (D, D) that makes the features uncorrelated too: where
    they nearly repeat each other, products also lose their digits.
    """

    shift: Tensor
    scale: Tensor

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
        """For data that have this covariance (D, D) in this frame: in the new one it is the unit matrix."""
        ridge = RIDGE * torch.eye(len(covariance)).to(covariance)
        whitening = em.precisions_cholesky(covariance + ridge, full=True).mT
        return Frame(self.shift, whitening.float().double() * self.scale)  # the same numbers in float32

    @property
    def white(self) -> bool:
        """Whether the features are uncorrelated in it."""
        return self.scale.dim() == 2

    def rows_into(self, rows: Tensor, out: Tensor | None = None) -> Tensor:
        """rows (rows, D) as columns in this frame: (D, rows), in the precision of `out`, or float64."""
        out = rows.new_empty(rows.T.shape, dtype=torch.float64) if out is None else out
        shift, scale = self.shift[:, None].to(out.dtype), self.scale.to(out.dtype)
        if self.white:
            return torch.mm(scale, rows.T - shift, out=out)
        return torch.sub(rows.T, shift, out=out).mul_(scale[:, None])

    def mixture_into(self, parameters: Parameters) -> tuple[Tensor, Tensor, Tensor]:
        """The mixture's weights, means and factors (see `Parameters.factors`) in this frame."""
        means, factors = parameters.means - self.shift, parameters.factors()
        if self.white:
            factors = torch.linalg.solve_triangular(self.scale.mT, factors, upper=True)
            return parameters.weights, means @ self.scale.mT, factors
        scale = self.scale[:, None] if parameters.full else self.scale
        return parameters.weights, means * self.scale, factors / scale

    def variances(self, parameters: Parameters) -> Tensor:
        """Those of each component along each axis of this frame: (K, D)."""
        if self.white:
            return ((self.scale @ parameters.covariances) * self.scale).sum(-1).expand_as(parameters.means)
        return parameters.variances() * self.scale.square()

    def moments_from(self, seen: Moments) -> Moments:
        """Moments seen in this frame, as they are outside it."""
        if self.white:
            mean = torch.linalg.solve_triangular(self.scale, seen.mean.mT, upper=False).mT
            half = torch.linalg.solve_triangular(self.scale, seen.scatter, upper=False)
            scatter = torch.linalg.solve_triangular(self.scale, half.mT, upper=False)
            return replace(seen, mean=mean + self.shift, scatter=(scatter + scatter.mT) / 2)
        scale = self.scale[:, None] * self.scale if seen.scatter.dim() == 3 else self.scale.square()
        return replace(seen, mean=seen.mean / self.scale + self.shift, scatter=seen.scatter / scale)

    def log_volume(self) -> Tensor:
        """What to add to a log density in this frame."""
        return (self.scale.diagonal() if self.white else self.scale).log().sum()


def n_features(d: int, full: bool) -> int:
    """P, the number of features of a Gaussian in D dimensions: products or squares of x, x, and 1."""
    return d * (d + 1) // 2 + d + 1 if full else 2 * d + 1


def fill_features(features: Tensor, d: int, full: bool) -> None:
    """Complete a Gaussian's sufficient statistics (P, rows). The last D + 1 are x and 1, and x is already there."""
    x, first = features[-1 - d : -1], 0
    features[-1] = 1
    if not full:
        torch.mul(x, x, out=features[:d])
        return
    for i in range(d):  # x_i x_j for j >= i
        torch.mul(x[i:], x[i], out=features[first : first + d - i])
        first += d - i


def coefficients(weights: Tensor, means: Tensor, factors: Tensor) -> Tensor:
    """log(weight x density) of each component as coefficients of the features: (K, P). Arguments as of `log_joint`."""
    if factors.dim() == 2:
        quadratic, linear = -0.5 * factors.square(), factors.square() * means
    else:
        precisions, (i, j) = factors @ factors.mT, torch.triu_indices(*factors.shape[1:], device=factors.device)
        quadratic = -precisions[:, i, j] * torch.where(i == j, 0.5, 1.0)
        linear = (precisions @ means[:, :, None])[:, :, 0]
    constant = em.log_joint_at_mean(weights, factors) - 0.5 * (linear * means).sum(1)
    return torch.cat([quadratic, linear, constant[:, None]], 1)


def moments_from_sums(sums: Tensor, d: int, full: bool) -> Moments:
    """The moments, from the features' sums weighted by the responsibilities, (P, K). x had d dimensions."""
    count, first, second = sums[-1], sums[-1 - d : -1].T, sums[: -1 - d].T
    mean = first / em.at_least_tiny(count)[:, None]
    if not full:
        return Moments(count, mean, (second - count[:, None] * mean.square()).clamp(min=0))
    i, j = torch.triu_indices(d, d, device=sums.device)
    scatter = sums.new_empty(len(mean), d, d)
    scatter[:, i, j] = scatter[:, j, i] = second
    return Moments(count, mean, scatter - count[:, None, None] * em.squares(mean, full))


class BlockEStep:
    """The E step with these parameters, ready to be run over pieces of the rows from several threads.

    level (K,) says how to compute each component. Those by the definition are computed in float64, and in the plain
    frame, without whitening: where all rows of a component are equal, its scatter then is exactly zero.
    """

    def __init__(self, parameters: Parameters, plain: Frame, frame: Frame, level: Tensor):
        self.plain, self.frame, self.full = plain, frame, parameters.full
        single = not bool((level == FLOAT64).any()) and bool((level == FLOAT32).any())
        self.dtype = torch.float32 if single else torch.float64
        self.exact = (level == DEFINITION).nonzero()[:, 0]
        self.definition = [part[self.exact] for part in plain.mixture_into(parameters)]
        weights, means, factors = frame.mixture_into(parameters)
        self.k, self.d = means.shape
        self.fast = len(self.exact) < self.k
        self.p = n_features(self.d, self.full) if self.fast else 0
        if self.fast:  # the others' factors may be beyond float32's range
            self.matrix = coefficients(weights, means, factors.index_fill(0, self.exact, 1.0)).to(self.dtype)

    def moments(self, rows: Tensor) -> Moments:
        """The moments of rows (rows, D), and their log-likelihood; `outside` takes the moments out of the frames."""
        log_likelihood, exact = torch.zeros((), dtype=torch.float64, device=rows.device), None
        sums = log_likelihood.new_zeros(self.p, self.k)
        for features, x, joint in self._blocks(rows):
            responsibilities, log_likelihoods = em.e_step(joint)
            log_likelihood += log_likelihoods.sum(dtype=torch.float64)
            if self.fast:
                sums += features @ responsibilities.T
            if len(self.exact):
                block = em.moments(x, responsibilities[self.exact].double(), self.full)
                exact = block if exact is None else exact + block
        found = moments_from_sums(sums, self.d, self.full) if self.fast else exact
        found = self._with_exact(found, exact) if self.fast and exact is not None else found
        return replace(found, log_likelihood=log_likelihood + len(rows) * self.frame.log_volume())

    def outside(self, seen: Moments) -> Moments:
        """Moments from `moments`, or sums of them, as they are outside the frames."""
        return self._with_exact(self.frame.moments_from(seen), self.plain.moments_from(seen[self.exact]))

    def _with_exact(self, seen: Moments, exact: Moments) -> Moments:
        names = ("count", "mean", "scatter")
        return replace(seen, **{n: getattr(seen, n).index_copy(0, self.exact, getattr(exact, n)) for n in names})

    def log_joint(self, rows: Tensor) -> Tensor:
        """log(weight x density) of each component at each row of a piece: (K, rows), float64."""
        return torch.cat([joint.double() for _, _, joint in self._blocks(rows)], 1) + self.frame.log_volume()

    def _blocks(self, rows: Tensor) -> Iterator[tuple[Tensor, Tensor | None, Tensor]]:
        """For each block: features (P, rows), x (D, rows) in the plain frame in float64, log_joint (K, rows)."""
        size, x = self._block_rows(rows.device), None
        buffer = rows.new_empty(self.p, size, dtype=self.dtype)
        for part in rows.split(size):
            features = buffer[:, : len(part)]
            joint = rows.new_empty(self.k, len(part), dtype=self.dtype)
            if self.fast:
                self.frame.rows_into(part, out=features[-1 - self.d : -1])
                fill_features(features, self.d, self.full)
                joint = (features.T @ self.matrix.T).T  # as e_step likes it
            if len(self.exact):
                x = self.plain.rows_into(part)
                exact = em.log_joint(x, *self.definition) + self.plain.log_volume() - self.frame.log_volume()
                joint[self.exact] = exact.to(self.dtype)
            yield features, x, joint

    def _block_rows(self, device: torch.device) -> int:
        cache = CACHE.get(device.type, CACHE["cpu"])
        return max(8, min(cache // max(self.p + self.k, 4 * len(self.exact) * self.d), cache // 512))


def e_step_over(data: Any, parameters: Parameters, reg_covar: float) -> Moments:
    """The E step over all the `Data`: their moments, precise enough for an M step with this `reg_covar`."""
    large = data.rows * len(parameters.means) * n_features(data.width, parameters.full) > SMALL
    frame = data.whitened if parameters.full and large else data.frame
    lowest = FLOAT32 if data.dtype == torch.float32 and large else FLOAT64
    level = level_needed(parameters, frame, lowest)
    while True:
        step = BlockEStep(parameters, data.frame, frame, level)
        seen = step.outside(data.sum(lambda rows, _, step=step: step.moments(rows)))
        # Rows far from every component, and components about to become narrow, were seen too roughly: once more.
        misfit = abs(float(seen.log_likelihood) / data.rows - float(frame.log_volume()))
        if misfit * torch.finfo(torch.float32).eps >= ALLOWED[FLOAT32]:
            lowest = FLOAT64
        after = level_needed(parameters, frame, lowest)
        try:
            better = em.m_step(seen, parameters.covariance_type, reg_covar)
            after = after.maximum(level_needed(better, frame, lowest))
        except ValueError:  # collapsed, it seems: only the definition can tell
            after = torch.full_like(level, DEFINITION)
        if bool((level >= after).all()):
            return seen
        level = level.maximum(after)


def level_needed(parameters: Parameters, frame: Frame, lowest: int) -> Tensor:
    """The cheapest arithmetic, from `lowest` up, in which each component's log densities are right: (K,)."""
    terms = cancellation(frame, parameters)
    for level in (lowest, FLOAT64):
        exact = ~(terms * torch.finfo(TYPES[level]).eps < ALLOWED[level])  # NaN counts as exact
        if 8 * int(exact.sum()) <= len(exact):
            break
    exact = exact.any().expand_as(exact) if parameters.covariance_type == "tied" else exact
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
