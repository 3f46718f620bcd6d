"""How not to lose digits: in which coordinates the sums are taken, and in which arithmetic each component."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from musicai.gmm.steps import Moments, Parameters, n_features, precisions_cholesky

RIDGE = 1e-6  # of a direction's variance: where data are flat, they are stretched a thousandfold at most
# How much of its own size a squared standard coordinate may lose, by the arithmetic that rounds it. In float32 such
# errors differ from row to row and average out; with full covariances the E step makes far smaller ones.
ALLOWED = {
    (torch.float32, False): 1e-3,
    (torch.float32, True): 0.3,
    (torch.float64, False): 1e-7,
    (torch.float64, True): 1e-7,
}
MOST_FEATURES = 2**15  # beyond (full covariances in more than 253 dimensions) their matrix is too large to be of use


@dataclass(frozen=True)
class Frame:
    """Coordinates (x - shift) * scale in which the data have mean 0 and standard deviation about 1.

    Far from the origin, or with features of very different sizes, squares would lose all their digits. The shift is a
    float32 number and the scale a power of two, so that moving into the frame rounds (almost) nothing.

    For full covariances, `turn` (a lower triangular matrix, applied last) can make the features uncorrelated too: where
    they nearly repeat each other, products also lose their digits.
    """

    shift: Tensor
    scale: Tensor
    turn: Tensor | None = None

    @staticmethod
    def of(mean: Tensor, variance: Tensor) -> "Frame":
        """For data with this mean and variance, each (D,)."""
        shift = mean.float().double()
        shift = torch.where(torch.isfinite(shift), shift, mean)  # beyond float32's range
        deviation = variance.sqrt()
        scale = torch.exp2(-deviation.log2().round().clamp(-500, 500))
        return Frame(shift, torch.where(deviation > 0, scale, 1.0))

    @staticmethod
    def of_mixture(parameters: Parameters) -> "Frame":
        """For data drawn from the mixture."""
        weights = parameters.weights[:, None]
        mean = (weights * parameters.means).sum(0)
        return Frame.of(mean, (weights * (parameters.variances() + (parameters.means - mean).square())).sum(0))

    def turned(self, covariance: Tensor) -> "Frame":
        """This frame, turned for data that have this covariance (D, D) in it: they get the covariance 1."""
        ridge = RIDGE * torch.eye(len(covariance)).to(covariance)
        turn = precisions_cholesky(covariance + ridge, full=True).mT
        return replace(self, turn=turn.float().double())  # the same numbers in float32

    def rows_into(self, rows: Tensor, out: Tensor) -> Tensor:
        """rows (rows, D) as columns in this frame: (D, rows), in the precision of `out`."""
        shift, scale = self.shift[:, None].to(out.dtype), self.scale[:, None].to(out.dtype)
        x = torch.sub(rows.T, shift, out=out if self.turn is None else torch.empty_like(out)).mul_(scale)
        return x if self.turn is None else torch.mm(self.turn.to(out.dtype), x, out=out)

    def mixture_into(self, parameters: Parameters) -> tuple[Tensor, Tensor, Tensor]:
        """The mixture's weights, means and factors (see `Parameters.factors`) in this frame."""
        factors = parameters.factors()
        factors = factors / (self.scale if factors.dim() == 2 else self.scale[:, None])
        means = (parameters.means - self.shift) * self.scale
        if self.turn is None:
            return parameters.weights, means, factors
        factors = torch.linalg.solve_triangular(self.turn.mT, factors, upper=True)
        return parameters.weights, means @ self.turn.mT, factors

    def variances(self, parameters: Parameters) -> Tensor:
        """Those of each component along each axis of this frame: (K, D)."""
        if self.turn is None:
            return parameters.variances() * self.scale.square()
        turn = self.turn * self.scale
        return ((turn @ parameters.covariances) * turn).sum(-1).expand_as(parameters.means)

    def moments_from(self, moments: Moments) -> Moments:
        """Moments seen in this frame, as they are outside it."""
        mean, scatter = moments.mean, moments.scatter
        if self.turn is not None:
            mean = torch.linalg.solve_triangular(self.turn, mean.mT, upper=False).mT
            half = torch.linalg.solve_triangular(self.turn, scatter, upper=False)
            scatter = torch.linalg.solve_triangular(self.turn, half.mT, upper=False)
            scatter = (scatter + scatter.mT) / 2
        scale = self.scale[:, None] * self.scale if scatter.dim() == 3 else self.scale.square()
        return Moments(moments.count, mean / self.scale + self.shift, scatter / scale)

    def log_volume(self) -> Tensor:
        """To add to a log density in this frame."""
        turned = 0 if self.turn is None else self.turn.diagonal().log().sum()
        return self.scale.log().sum() + turned


def cancellation(means: Tensor, variances: Tensor, factors: Tensor) -> Tensor:
    """How much larger its terms are than the squared distance of a typical row from its component: (K,).

    Times the machine epsilon, it is what the sums of squares lose. Means, variances and factors are those in the frame,
    so this grows as a component gets narrow beside the data, or nearly flat.
    """
    size = (variances + means.square()).sqrt()
    if factors.dim() == 2:
        return (factors * size).square().sum(1)
    return (factors.abs().mT @ size[:, :, None]).square().sum((1, 2))


@dataclass(frozen=True)
class Precision:
    """The arithmetic of one pass: features in `dtype`, but components in `exact` (K,) by the definition, in float64."""

    dtype: torch.dtype
    exact: Tensor

    def covers(self, needed: "Precision") -> bool:
        """Whether it is at least as careful as `needed`."""
        return self.dtype.itemsize >= needed.dtype.itemsize and bool((self.exact | ~needed.exact).all())

    def __or__(self, other: "Precision") -> "Precision":
        wider = torch.float64 if torch.float64 in (self.dtype, other.dtype) else torch.float32
        return Precision(wider, self.exact | other.exact)


def needed(parameters: Parameters, terms: Tensor, fastest: torch.dtype) -> Precision:
    """The cheapest arithmetic, from `fastest` up, in which these components' log densities are right."""
    full = parameters.covariance_type in ("full", "tied")
    if n_features(parameters.means.shape[1], full) > MOST_FEATURES:
        return Precision(torch.float64, torch.ones_like(terms, dtype=torch.bool))
    for dtype in [torch.float32, torch.float64] if fastest == torch.float32 else [torch.float64]:
        exact = ~(terms * torch.finfo(dtype).eps < ALLOWED[dtype, full])  # a NaN is exact
        if dtype == torch.float64 or 8 * int(exact.sum()) <= len(exact):
            break
    shared = parameters.covariance_type == "tied" and bool(exact.any())
    return Precision(dtype, exact | shared)
