"""EM for a mixture of Gaussians: the equations in float64, each as a small function. Chapter 3.

The E step finds the responsibilities, `moments` uses them to sum up the data, and the M step turns these moments into
new parameters. Here, as in the formulas, a sample is a column: x is (features D, rows). K is the number of components.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

NAMES = ("weights", "means", "covariances", "precisions_cholesky")
PIVOT_NOISE = 32  # epsilons
COLLAPSED = "A component has an ill-defined empirical covariance: use fewer components, increase reg_covar, or scale X"


@dataclass(frozen=True)
class Parameters:
    """A mixture of Gaussians, with scikit-learn's names and shapes.

    >>> one = torch.ones(1, dtype=torch.float64)
    >>> Parameters(one, one[None], one, one, "spherical").factors()
    tensor([[1.]], dtype=torch.float64)

    Attributes:
        weights: (K,), the mixing proportions.
        means: (K, D).
        covariances: (K, D, D) for "full", (D, D) for "tied"; variances (K, D) for "diag" and (K,) for "spherical".
        precisions_cholesky: in the same shape: upper triangular U, whose U U^T is the inverse covariance, or 1 / scale.
        covariance_type: "full", "tied", "diag" or "spherical".

    Chapter 3.
    """

    weights: Tensor
    means: Tensor
    covariances: Tensor
    precisions_cholesky: Tensor
    covariance_type: str

    @property
    def full(self) -> bool:
        """Whether the covariances are matrices."""
        return self.covariance_type in ("full", "tied")

    def factors(self) -> Tensor:
        """`precisions_cholesky` for each component: (K, D), or (K, D, D) for full and tied."""
        k, d = self.means.shape
        if self.covariance_type == "spherical":
            return self.precisions_cholesky[:, None].expand(k, d)
        return self.precisions_cholesky.expand(k, d, d) if self.covariance_type == "tied" else self.precisions_cholesky


@dataclass(frozen=True)
class Moments:
    """How much data each component is responsible for, where the data lie and how far they spread.

    `a + b` gives the moments of both data sets together (Chan, Golub and LeVeque, 1983). The scatter is measured about
    the mean, so that no large numbers cancel.

    >>> x, all_of_it = torch.tensor([[0.0, 2.0, 4.0]]), torch.ones(1, 3)
    >>> moments(x, all_of_it, full=False).scatter
    tensor([[8.]])

    Attributes:
        count: (K,), sums of responsibilities.
        mean: (K, D), weighted means.
        scatter: weighted sums about that mean, of squares (K, D) or products (K, D, D).
        log_likelihood: log-likelihood of all these data under the parameters that gave the responsibilities, if known.

    Chapter 3.
    """

    count: Tensor
    mean: Tensor
    scatter: Tensor
    log_likelihood: Tensor | float = 0.0

    def __add__(self, other: "Moments") -> "Moments":
        count = self.count + other.count
        share = other.count / at_least_tiny(count)
        gap = other.mean - self.mean
        between = squares(gap, self.scatter.dim() == 3) * per_component(self.count * share, self.scatter)
        scatter = self.scatter + other.scatter + between
        return Moments(count, self.mean + share[:, None] * gap, scatter, self.log_likelihood + other.log_likelihood)

    def __mul__(self, factor: float) -> "Moments":
        return Moments(self.count * factor, self.mean, self.scatter * factor, self.log_likelihood * factor)

    def to(self, device: torch.device | str) -> "Moments":
        """The same moments on another device."""
        return Moments(*(torch.as_tensor(part).to(device) for part in vars(self).values()))


def log_joint(x: Tensor, weights: Tensor, means: Tensor, factors: Tensor) -> Tensor:
    """Compute log(weight x density) of each component at each row.

    >>> one = torch.ones(1, 1)
    >>> log_joint(torch.zeros(1, 1), one[0], 0 * one, one)  # the standard normal density at 0: -log(2 pi) / 2
    tensor([[-0.9189]])

    Args:
        x: (D, rows).
        weights: (K,).
        means: (K, D).
        factors: (K, D), 1 / standard deviations, or (K, D, D), upper triangular U with inverse covariance U U^T.

    Returns: (K, rows).

    Bishop (2006), eq. 2.43. Chapter 3.
    """
    gap = x - means[:, :, None]  # (K, D, rows)
    standard = factors[:, :, None] * gap if factors.dim() == 2 else factors.mT @ gap
    return log_joint_at_mean(weights, factors)[:, None] - 0.5 * standard.square().sum(1)


def log_joint_at_mean(weights: Tensor, factors: Tensor) -> Tensor:
    """log(weight x density) of each component at its own mean: (K,)."""
    diagonal = factors if factors.dim() == 2 else factors.diagonal(dim1=1, dim2=2)
    return weights.log().clamp(min=-1e30) + diagonal.log().sum(1) - 0.5 * factors.shape[1] * math.log(2 * math.pi)


def e_step(joint: Tensor) -> tuple[Tensor, Tensor]:
    """Compute the responsibilities p(k | x) and the log-likelihood log p(x) of each row.

    p(k | x) = w_k N_k(x) / sum_j w_j N_j(x). Dempster, Laird and Rubin (1977); Bishop (2006), eq. 9.13.

    >>> e_step(torch.tensor([[0.1], [0.3]]).log())  # w N is 0.1 for one component, 0.3 for the other
    (tensor([[0.2500],
            [0.7500]]), tensor([-0.9163]))

    Args:
        joint: (K, rows), log(weight x density) as from `log_joint`.

    Returns: responsibilities (K, rows) and log-likelihoods (rows,).

    Chapter 3.
    """
    responsibilities = joint.T.softmax(1).T  # fastest when a row's components are contiguous in memory
    # The largest is w_k N_k(x) / p(x), which gives p(x) without another exponential.
    return responsibilities, joint.amax(0) - responsibilities.amax(0).log()


def moments(x: Tensor, responsibilities: Tensor, full: bool) -> Moments:
    """Compute the moments of the data, weighted by the responsibilities.

    >>> x, responsibilities = torch.tensor([[0.0, 2.0, 9.0]]), torch.tensor([[1.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    >>> moments(x, responsibilities, full=False).mean
    tensor([[1.],
            [9.]])

    Args:
        x: (D, rows).
        responsibilities: (K, rows).
        full: whether to sum products (for covariance matrices) or squares (for variances).

    Returns: the `Moments` of K components.

    Bishop (2006), eq. 9.24 to 9.27. Chapter 3.
    """
    count = responsibilities.sum(1)
    mean = responsibilities @ x.T / at_least_tiny(count)[:, None]
    # Repeat from that mean: now the mean of equal numbers is exactly that number, and their scatter is exactly zero.
    mean = mean + (responsibilities[:, None] * (x - mean[:, :, None])).sum(2) / at_least_tiny(count)[:, None]
    gap = x - mean[:, :, None]  # (K, D, rows)
    weighted = responsibilities[:, None] * gap
    return Moments(count, mean, weighted @ gap.mT if full else (weighted * gap).sum(2))


def m_step(seen: Moments, covariance_type: str, reg_covar: float) -> Parameters:
    """Find the parameters under which data with these moments are most likely.

    Bishop (2006), eq. 9.24 to 9.27; `reg_covar` as in scikit-learn.

    >>> x, responsibilities = torch.tensor([[0.0, 2.0, 9.0, 9.0]]), torch.ones(1, 4)
    >>> m_step(moments(x, responsibilities, full=False), "diag", reg_covar=0.0).covariances
    tensor([[16.5000]])

    Args:
        seen: the moments from the E step.
        covariance_type: "full", "tied", "diag" or "spherical".
        reg_covar: added to every variance.

    Returns: the new weights, means and covariances.

    Raises:
        ValueError: if a component has collapsed: a variance is zero, or a covariance matrix singular.

    Chapter 3.
    """
    count, means, covariances = estimates(seen, covariance_type, reg_covar)
    if reg_covar == 0 and _is_collapsed(seen, covariance_type):
        raise ValueError(COLLAPSED)
    factors = precisions_cholesky(covariances, covariance_type in ("full", "tied"))
    return Parameters(count / count.sum(), means, covariances, factors, covariance_type)


def estimates(seen: Moments, covariance_type: str, reg_covar: float) -> tuple[Tensor, Tensor, Tensor]:
    """Estimate counts, means and covariances.

    As in scikit-learn, `reg_covar` is added to each variance and ten epsilons to each count. The epsilons pull a
    component without data to the origin.
    """
    epsilon = 10 * torch.finfo(seen.count.dtype).eps
    count = seen.count + epsilon
    missing = epsilon / count  # 1 - seen.count / count, without cancellation
    full = covariance_type in ("full", "tied")
    pull = missing * (1 - missing) * (missing if covariance_type == "full" else 1)
    scatter = seen.scatter + per_component(pull * count, seen.scatter) * squares(seen.mean, full)
    covariances = _covariances(scatter, count, covariance_type)
    ridge = torch.eye(seen.mean.shape[1]).to(covariances) if full else 1.0
    return count, seen.mean * (1 - missing)[:, None], covariances + reg_covar * ridge


def _covariances(scatter: Tensor, count: Tensor, covariance_type: str) -> Tensor:
    if covariance_type == "tied":
        return scatter.sum(0) / count.sum()
    covariances = scatter / per_component(count, scatter)
    return covariances.mean(1) if covariance_type == "spherical" else covariances


def _is_collapsed(seen: Moments, covariance_type: str) -> bool:
    """Whether a standard deviation is no larger than the rounding errors of the numbers it was computed from."""
    squared = seen.scatter.diagonal(dim1=1, dim2=2) if seen.scatter.dim() == 3 else seen.scatter
    variances = _covariances(squared, at_least_tiny(seen.count), covariance_type)
    variances = variances[:, None] if covariance_type == "spherical" else variances
    return not bool((variances > (64 * torch.finfo(seen.mean.dtype).eps * seen.mean).square()).all())


def moments_of(parameters: Parameters, reg_covar: float) -> Moments:
    """The inverse of the M step: the moments, per row, of data from which it would estimate these parameters."""
    weights, means = parameters.weights, parameters.means
    ridge = torch.eye(means.shape[1]).to(means) if parameters.full else 1.0
    covariances = covariances_of_factors(parameters.factors(), parameters.full) - reg_covar * ridge
    return Moments(weights, means, covariances * per_component(weights, covariances))


def precisions_cholesky(covariances: Tensor, full: bool) -> Tensor:
    """Compute the upper triangular U whose U U^T is the inverse of each covariance, or 1 / sqrt(variance).

    Raises ValueError if a covariance is not positive definite.
    """
    if not full:
        if not bool(((covariances > 0) & covariances.isfinite()).all()):
            raise ValueError(COLLAPSED)
        return covariances.rsqrt()
    lower, info = torch.linalg.cholesky_ex(covariances)
    pivots, scale = lower.diagonal(dim1=-2, dim2=-1).square(), covariances.diagonal(dim1=-2, dim2=-1)
    # A pivot that is pure rounding error says nothing about the data.
    if bool(info.any()) or not bool((pivots > PIVOT_NOISE * torch.finfo(lower.dtype).eps * scale).all()):
        raise ValueError(COLLAPSED)
    eye = torch.eye(lower.shape[-1]).to(lower)
    return torch.linalg.solve_triangular(lower, eye, upper=False).mT


def covariances_of_factors(factors: Tensor, full: bool) -> Tensor:
    """The inverse of `precisions_cholesky`."""
    if not full:
        return factors.square().reciprocal()
    inverse = torch.linalg.solve_triangular(factors, torch.eye(factors.shape[-1]).to(factors), upper=True)
    return inverse.mT @ inverse


def squares(x: Tensor, full: bool) -> Tensor:
    """The squares (K, D) of rows x (K, D), or their outer products (K, D, D)."""
    return x[:, :, None] * x[:, None] if full else x.square()


def per_component(values: Tensor, like: Tensor) -> Tensor:
    """Reshape values (K,) to as many dimensions as `like`."""
    return values.reshape(-1, *(1,) * (like.dim() - 1))


def at_least_tiny(count: Tensor) -> Tensor:
    """Make a count safe to divide by: if it is 0, so is the sum that it divides."""
    return count.clamp(min=torch.finfo(count.dtype).tiny)
