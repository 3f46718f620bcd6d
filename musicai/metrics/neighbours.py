"""Is it as good and as varied as the real thing? Shares of samples in each other's neighbourhoods. Chapter 4."""

from typing import NamedTuple

import torch
from torch import Tensor

from musicai.metrics.inputs import as_features, same_width


class DensityCoverage(NamedTuple):
    """How typical the generated samples are (about 1 for real ones), and how much of the real ones they reach."""

    density: float
    coverage: float


class PrecisionRecall(NamedTuple):
    """The share of generated samples among the real ones, and of real ones among the generated."""

    precision: float
    recall: float


class ModeCoverage(NamedTuple):
    """The share of modes reached, the share of good samples, and how unevenly these fall on the modes (0 to 1)."""

    modes: float
    quality: float
    imbalance: float


def density_coverage(real: Tensor, fake: Tensor, k: int = 5) -> DensityCoverage:
    """How much of `fake` lies where `real` is dense, and how much of `real` has a generated sample near it.

    >>> density_coverage(real_features, fake_features)  # doctest: +SKIP
    DensityCoverage(density=0.97, coverage=0.93)

    Around each real sample lies a ball that reaches its k-th nearest real neighbour. Coverage is the share of balls
    with a generated sample in them; density counts in how many balls a generated sample lies, over k. Copies of a
    few good samples have a density of 1 and a coverage near 0. Both sets should be of about the same size; for the
    same distribution and many samples coverage is then 1 - 2^-k.

    Args:
        real, fake: features (samples, dimensions).
        k: the neighbour, below the number of real samples.

    Source: Naeem et al., "Reliable fidelity and diversity metrics for generative models" (2020). Chapter 4.
    """
    real, fake = _pair(real, fake, k)
    inside = torch.cdist(real, fake) <= _radius(real, k)[:, None]  # (real, fake)
    return DensityCoverage((inside.double().sum(0) / k).mean().item(), inside.any(1).double().mean().item())


def precision_recall(real: Tensor, fake: Tensor, k: int = 3) -> PrecisionRecall:
    """The share of `fake` within the balls around `real`, and of `real` within the balls around `fake`.

    One far-off real sample makes a ball that forgives much: prefer `density_coverage`, and report this one to compare
    with older work. Arguments as there.

    Source: Kynkaanniemi et al., "Improved precision and recall metric" (2019). Chapter 4.
    """
    real, fake = _pair(real, fake, k)
    if len(fake) <= k:
        raise ValueError(f"k={k} needs more than {k} generated samples, not {len(fake)}")
    distances = torch.cdist(real, fake)
    precision = (distances <= _radius(real, k)[:, None]).any(0).double().mean().item()
    return PrecisionRecall(precision, (distances <= _radius(fake, k)).any(1).double().mean().item())


def mode_coverage(
    samples: Tensor, means: Tensor, covariances: Tensor, weights: Tensor | None = None, within: float = 3.0
) -> ModeCoverage:
    """What a toy generator makes of a mixture that is known.

    >>> gmm = GaussianMixture(8).fit(data)  # doctest: +SKIP
    >>> mode_coverage(generated, gmm.means_, gmm.covariances_, gmm.weights_)  # doctest: +SKIP
    ModeCoverage(modes=0.25, quality=0.91, imbalance=0.75)

    A sample is good if it lies within `within` standard deviations (Mahalanobis) of its nearest mode; a mode is
    reached if a good sample belongs to it. Imbalance is the total variation between the shares of good samples and the
    modes' weights.

    Args:
        samples: (samples, dimensions).
        means: (modes, dimensions).
        covariances: (modes, dimensions, dimensions), their diagonals (modes, dimensions), or variances (modes,).
        weights: (modes,); equal if None.
        within: standard deviations.

    Source: Srivastava et al., "VEEGAN" (2017). Chapter 4.
    """
    x, means = as_features(samples, "samples"), as_features(means, "means")
    same_width(x, means)
    away, nearest = _mahalanobis(x, means, covariances).min(1)
    good = away <= within
    counts = torch.bincount(nearest[good], minlength=len(means)).double()
    wanted = torch.ones(len(means)).double() if weights is None else torch.as_tensor(weights).double()
    shares, wanted = counts / counts.sum().clamp(min=1), wanted / wanted.sum()
    imbalance = 0.5 * (shares - wanted).abs().sum().item() if good.any() else 1.0
    return ModeCoverage((counts > 0).double().mean().item(), good.double().mean().item(), imbalance)


def _mahalanobis(x: Tensor, means: Tensor, covariances: Tensor) -> Tensor:
    """(samples, modes)."""
    covariances = torch.as_tensor(covariances).double()
    k, d = means.shape
    if covariances.shape == (k,):
        covariances = covariances[:, None].expand(k, d)
    if covariances.shape == (k, d):
        covariances = torch.diag_embed(covariances)
    if covariances.shape != (k, d, d):
        raise ValueError(f"covariances must be ({k}, {d}, {d}), ({k}, {d}) or ({k},), not {tuple(covariances.shape)}")
    difference = (x[None] - means[:, None]).mT  # (modes, dimensions, samples)
    white = torch.linalg.solve_triangular(torch.linalg.cholesky(covariances), difference, upper=False)
    return white.norm(dim=1).mT


def _pair(real: Tensor, fake: Tensor, k: int) -> tuple[Tensor, Tensor]:
    real, fake = as_features(real, "real"), as_features(fake, "fake")
    same_width(real, fake)
    if not 1 <= k < len(real):
        raise ValueError(f"k={k} needs more than {k} real samples and k of 1 or more; there are {len(real)}")
    return real, fake


def _radius(x: Tensor, k: int) -> Tensor:
    """The distance of each sample to its k-th nearest other one."""
    return torch.cdist(x, x).fill_diagonal_(torch.inf).kthvalue(k, dim=1).values
