"""One step of EM for a mixture of Gaussians: the equations, each a small function. Chapter 3.

All that the M step needs to know of the data is the sums of their features, weighted by the responsibilities: of the
products x_i x_j (or the squares alone), of x, and of 1. That is one matrix product. The E step is another, and a
softmax. A sample is a column here: x is (features D, rows), as in the formulas. K is the number of components.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

COVARIANCE_TYPES = ("full", "tied", "diag", "spherical")
LOG_2PI = math.log(2 * math.pi)
COLLAPSED = (
    "Fitting the mixture model failed because some components have ill-defined empirical covariance (for instance "
    "caused by singleton or collapsed samples). Try to decrease the number of components, increase reg_covar, or scale "
    "the input data."
)


@dataclass(frozen=True)
class Parameters:
    """A mixture of Gaussians, in float64; shapes as in scikit-learn.

    weights (K,), means (K, D); covariances and precisions_cholesky (upper triangular U with inverse covariance U U^T)
    "full" (K, D, D), "tied" (D, D), or, as variances and 1 / standard deviations, "diag" (K, D), "spherical" (K,).
    """

    weights: Tensor
    means: Tensor
    covariances: Tensor
    precisions_cholesky: Tensor
    covariance_type: str

    def factors(self) -> Tensor:
        """`precisions_cholesky` of each component and feature: (K, D), or (K, D, D) for full and tied."""
        k, d = self.means.shape
        if self.covariance_type == "spherical":
            return self.precisions_cholesky[:, None].expand(k, d)
        return self.precisions_cholesky.expand(k, d, d) if self.covariance_type == "tied" else self.precisions_cholesky

    def variances(self) -> Tensor:
        """Of each component and feature: (K, D)."""
        if self.covariance_type in ("full", "tied"):
            return self.covariances.diagonal(dim1=-2, dim2=-1).expand_as(self.means)
        return self.covariances.reshape(len(self.means), -1).expand_as(self.means)


@dataclass(frozen=True)
class Moments:
    """How often, where and how wide each component saw its data: `a + b` is that of both data together.

    count (K,): sums of responsibilities. mean (K, D): weighted means. scatter (K, D) or (K, D, D): weighted sums of
    squares (or products) about that mean, so that nothing large cancels. Chan, Golub and LeVeque (1983).
    """

    count: Tensor
    mean: Tensor
    scatter: Tensor

    def __add__(self, other: "Moments") -> "Moments":
        count = self.count + other.count
        share = other.count / at_least_tiny(count)
        gap = other.mean - self.mean
        between = squares(gap, self.scatter.dim() == 3) * per_component(self.count * share, self.scatter)
        return Moments(count, self.mean + share[:, None] * gap, self.scatter + other.scatter + between)

    def __mul__(self, factor: float) -> "Moments":
        return Moments(self.count * factor, self.mean, self.scatter * factor)


def features(x: Tensor, full: bool, out: Tensor | None = None) -> Tensor:
    """The sufficient statistics of a Gaussian: (P, rows), of which the last D + 1 are x and 1.

    x (D, rows). P = D + D + 1 with the squares of x, or D (D + 1) / 2 + D + 1 with its products (`full`).
    """
    d = len(x)
    if out is None:
        out = x.new_empty(n_features(d, full), x.shape[1])
    out[-1] = 1
    out[-1 - d : -1] = x
    if not full:
        torch.mul(x, x, out=out[:d])
        return out
    first = 0
    for i in range(d):  # x_i x_j for j >= i
        torch.mul(x[i:], x[i], out=out[first : first + d - i])
        first += d - i
    return out


def coefficients(weights: Tensor, means: Tensor, factors: Tensor) -> Tensor:
    """log(weight x density) of each component as coefficients of the features: (K, P). Diagonal covariances.

    means (K, D), factors (K, D) 1 / standard deviations. Chapter 3.
    """
    precisions = factors.square()
    constant = log_height(weights, factors) - 0.5 * (precisions * means.square()).sum(1)
    return torch.cat([-0.5 * precisions, precisions * means, constant[:, None]], 1)


def standardisation(means: Tensor, factors: Tensor) -> Tensor:
    """The matrix (K D, D + 1) that takes (x, 1) to every component's standard normal coordinates U^T (x - mean).

    means (K, D), factors (K, D, D) the upper triangular U, of which U U^T is the precision. Chapter 3.
    """
    across = factors.mT  # (K, D, D)
    return torch.cat([across, -across @ means[:, :, None]], 2).flatten(0, 1)


def log_joint(x: Tensor, weights: Tensor, means: Tensor, factors: Tensor) -> Tensor:
    """log(weight x density) of each component at each row by its definition: (K, rows).

    Exact for the narrowest component too, and slow. x: (D, rows).
    """
    gap = x - means[:, :, None]  # (K, D, rows)
    standard = factors[:, :, None] * gap if factors.dim() == 2 else factors.mT @ gap
    return log_height(weights, factors)[:, None] - 0.5 * standard.square().sum(1)


def log_height(weights: Tensor, factors: Tensor) -> Tensor:
    """log(weight x density) of each component at its mean: (K,)."""
    d = factors.shape[1]
    diagonal = factors if factors.dim() == 2 else factors.diagonal(dim1=1, dim2=2)
    return weights.log().clamp(min=-1e30) + diagonal.log().sum(1) - 0.5 * d * LOG_2PI


def e_step(joint: Tensor) -> tuple[Tensor, Tensor]:
    """The responsibilities (K, rows) and the log-likelihood of each row (rows,), from log(weight x density) (K, rows).

    p(k | x) = w_k N_k(x) / sum_j w_j N_j(x). Dempster, Laird and Rubin (1977); Bishop (2006), eq. 9.13. Chapter 3.
    """
    responsibilities = joint.T.softmax(1).T  # fastest where a row's components lie side by side in memory
    # The largest is w_k N_k(x) / p(x): so p(x) is known without another exponential.
    return responsibilities, joint.amax(0) - responsibilities.amax(0).log()


def moments(x: Tensor, responsibilities: Tensor, full: bool) -> Moments:
    """The weighted moments of rows x (D, rows) by their definition; responsibilities (K, rows)."""
    count = responsibilities.sum(1)
    mean = responsibilities @ x.T / at_least_tiny(count)[:, None]
    gap = x - mean[:, :, None]  # (K, D, rows)
    weighted = responsibilities[:, None] * gap
    return Moments(count, mean, weighted @ gap.mT if full else (weighted * gap).sum(2))


def moments_from_sums(sums: Tensor, d: int, full: bool) -> Moments:
    """The moments, from the features' sums weighted by the responsibilities, (P, K). x had d dimensions."""
    count, first, second = sums[-1], sums[-1 - d : -1].T, sums[: -1 - d].T
    mean = first / at_least_tiny(count)[:, None]
    second = symmetric(second, d) if full else second
    scatter = second - per_component(count, second) * squares(mean, full)
    return Moments(count, mean, scatter if full else scatter.clamp(min=0))


def m_step(seen: Moments, covariance_type: str, reg_covar: float) -> Parameters:
    """The parameters that make data with these moments likeliest: weights, means and covariances. Chapter 3.

    Bishop (2006), eq. 9.17-9.22.

    Raises ValueError for a component that has collapsed, which `reg_covar` is there to prevent.
    """
    count, means, covariances = estimates(seen, covariance_type, reg_covar)
    factors = precisions_cholesky(covariances, covariance_type in ("full", "tied"))
    return Parameters(count / count.sum(), means, covariances, factors, covariance_type)


def estimates(seen: Moments, covariance_type: str, reg_covar: float) -> tuple[Tensor, Tensor, Tensor]:
    """Counts, means and covariances. As scikit-learn does, `reg_covar` is added to each variance, and ten epsilons to
    each count, which pulls a component without data to the origin.
    """
    epsilon = 10 * torch.finfo(seen.count.dtype).eps
    count = seen.count + epsilon
    missing = epsilon / count  # 1 - seen.count / count, without cancellation
    means = seen.mean * (1 - missing)[:, None]
    full = covariance_type in ("full", "tied")
    pull = missing * (1 - missing) * (missing if covariance_type == "full" else 1)
    scatter = seen.scatter + per_component(pull * count, seen.scatter) * squares(seen.mean, full)
    tied = covariance_type == "tied"
    covariances = scatter.sum(0) / count.sum() if tied else scatter / per_component(count, scatter)
    if covariance_type == "spherical":
        covariances = covariances.mean(1)
    return count, means, covariances + reg_covar * (torch.eye(means.shape[1]).to(means) if full else 1.0)


def precisions_cholesky(covariances: Tensor, full: bool) -> Tensor:
    """U with U U^T the inverse of each covariance (the upper triangle), or 1 / sqrt(variance).

    Raises ValueError where a covariance is not positive definite.
    """
    if not full:
        if not bool((covariances > 0).all()) or not bool(torch.isfinite(covariances).all()):
            raise ValueError(COLLAPSED)
        return covariances.rsqrt()
    lower, info = torch.linalg.cholesky_ex(covariances)
    pivots, scale = lower.diagonal(dim1=-2, dim2=-1).square(), covariances.diagonal(dim1=-2, dim2=-1)
    # A pivot that is all rounding error says nothing about the data.
    noise = 0.5 * torch.finfo(lower.dtype).eps * scale
    if bool(info.any()) or not bool((pivots > noise).all()):
        raise ValueError(COLLAPSED)
    eye = torch.eye(lower.shape[-1]).to(lower)
    return torch.linalg.solve_triangular(lower, eye, upper=False).mT


def factors_of_precisions(precisions: Tensor, full: bool) -> Tensor:
    """The same from precisions (inverse covariances, or 1 / variances): upper triangular U with U U^T the precision."""
    if not full:
        return precisions.sqrt()
    # The Cholesky factor of the matrix read backwards, read backwards: scikit-learn's issue 26415.
    return torch.linalg.cholesky(precisions.flip(-1, -2)).flip(-1, -2)


def covariances_of_factors(factors: Tensor, full: bool) -> Tensor:
    """The inverse of `precisions_cholesky`."""
    if not full:
        return factors.square().reciprocal()
    inverse = torch.linalg.solve_triangular(factors, torch.eye(factors.shape[-1]).to(factors), upper=True)
    return inverse.mT @ inverse


def n_features(d: int, full: bool) -> int:
    """P: how many features a Gaussian in D dimensions has."""
    return d * (d + 1) // 2 + d + 1 if full else 2 * d + 1


def squares(x: Tensor, full: bool) -> Tensor:
    """Of rows x (K, D): their squares (K, D), or outer products (K, D, D)."""
    return x[:, :, None] * x[:, None] if full else x.square()


def symmetric(upper: Tensor, d: int) -> Tensor:
    """Symmetric matrices (K, D, D) from their upper triangles (K, D (D + 1) / 2)."""
    i, j = torch.triu_indices(d, d, device=upper.device)
    matrices = upper.new_empty(len(upper), d, d)
    matrices[:, i, j] = upper
    matrices[:, j, i] = upper
    return matrices


def per_component(values: Tensor, like: Tensor) -> Tensor:
    """values (K,) with as many dimensions as `like`."""
    return values.reshape(-1, *(1,) * (like.dim() - 1))


def at_least_tiny(count: Tensor) -> Tensor:
    """A count to divide by: where it is 0, so is what is divided."""
    return count.clamp(min=torch.finfo(count.dtype).tiny)
