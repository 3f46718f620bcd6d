"""How close a set of sounds is to another, how varied, and how new: distributions, modes and copies. Chapter 4."""

from functools import reduce
from typing import NamedTuple

import torch
from torch import Tensor

from musicai.notes.note import require

from .features import Embedding, as_sounds, embed, feature_pair, in_batches, levelled_log_mel, log_mel_statistics

HOP = 128  # samples between frames, when looking for copies
FLOOR = 30.0  # dB below the loudest point: with 60, a copy with a little noise (20 dB below) looks new


class ModeCoverage(NamedTuple):
    """The share of modes reached, the share of good samples, and how unevenly those cover the modes (0 to 1)."""

    modes: float
    quality: float
    imbalance: float


def frechet_distance(mean_a: Tensor, covariance_a: Tensor, mean_b: Tensor, covariance_b: Tensor) -> float:
    """The squared Frechet (2-Wasserstein) distance between two Gaussians.

    >>> one = torch.eye(2)
    >>> frechet_distance(torch.zeros(2), one, torch.tensor([3.0, 4.0]), 4 * one)  # 25 from the means, 2 from the widths
    27.0

    ``|m_a - m_b|^2 + tr(C_a + C_b - 2 (C_a C_b)^(1/2))``. With C_a = S S^T, C_a C_b has the eigenvalues of the
    symmetric S^T C_b S. So there is no need to take the root of a product that is not symmetric, or to add to the
    diagonal of covariances that lack full rank (fewer sounds than dimensions).

    Args:
        mean_a: (dimensions,).
        covariance_a: (dimensions, dimensions).
        mean_b: (dimensions,).
        covariance_b: (dimensions, dimensions).

    Returns:
        The squared distance, 0 or more; NaN if a number is not finite.

    Raises:
        RuntimeError: if the shapes do not match.

    Source: Dowson and Landau, "The Frechet distance between multivariate normal distributions" (1982).
    Chapter 4.
    """
    covariance_a, covariance_b = covariance_a.double(), covariance_b.double()
    values, vectors = torch.linalg.eigh(covariance_a)
    root = vectors * values.clamp(min=0).sqrt()
    shared = torch.linalg.eigvalsh(root.mT @ covariance_b @ root).clamp(min=0).sqrt().sum()
    traces = covariance_a.trace() + covariance_b.trace()
    return ((mean_a - mean_b).double().square().sum() + traces - 2 * shared).clamp(min=0).item()


def frechet_audio_distance(
    real: Tensor, fake: Tensor, sr: int = 16_000, embedding: Embedding = log_mel_statistics, features: bool = False
) -> float:
    """The Frechet distance between the embeddings of real and generated sounds; 0 for identical sets.

    >>> frechet_audio_distance(train.audio, generated, embedding=timbre)  # doctest: +SKIP

    The number only means something in comparison with others that use the same embedding, the same real sounds, and
    about as many generated ones (a small set looks farther away than it is: Chong and Forsyth 2020). `judge` compares
    it with the distance of held-out real sounds.

    Args:
        real: sounds (batch, time) or (batch, 1, time), at least 2.
        fake: generated sounds, likewise.
        sr: sample rate in Hz.
        embedding: from sounds (batch, time) and their sample rate to (batch, dimensions). The paper uses VGGish. The
            choice changes the ranking of systems (Gui et al. 2024), so report more than one.
        features: whether real and fake already are features (batch, dimensions).

    Returns:
        The squared distance, 0 or more.

    Raises:
        ValueError: if there are fewer than 2 sounds, a shape is wrong, or a number is not finite.

    Source: Kilgour et al., "Frechet Audio Distance" (2019), after Heusel et al. (2017).
    Chapter 4.
    """
    if not features:
        real, fake = (embed(x, sr, embedding) for x in (real, fake))
    real, fake = feature_pair(real, fake, least=2)
    covariances = [torch.cov(x.mT).reshape(x.shape[1], x.shape[1]) for x in (real, fake)]
    return frechet_distance(real.mean(0), covariances[0], fake.mean(0), covariances[1])


def density_coverage(real: Tensor, fake: Tensor, k: int = 5) -> tuple[float, float]:
    """Measure how much of `fake` lies where `real` is dense, and how much of `real` has a generated sample nearby.

    >>> density_coverage(real_features, fake_features)  # doctest: +SKIP
    (0.97, 0.93)

    Each real sample gets a ball that reaches its k-th nearest real neighbour. Coverage is the share of balls that
    contain a generated sample; density is the number of balls that contain a generated sample, on average, over k.
    Copies of a few good samples have a density of 1 and a coverage close to 0. Both sets should be about equally large;
    for two large samples of one distribution, coverage is 1 - 2^-k.

    Args:
        real: features (samples, dimensions).
        fake: features (samples, dimensions).
        k: which neighbour sets a ball's radius; must be below the number of real samples.

    Returns:
        density and coverage.

    Raises:
        ValueError: if there are too few real samples, or features are not finite or differ in dimension.

    Source: Naeem et al., "Reliable fidelity and diversity metrics for generative models" (2020).
    Chapter 4.
    """
    real, fake = feature_pair(real, fake)
    require(1 <= k < len(real), f"k={k} must be at least 1 and below the number of real samples, {len(real)}")
    radius = torch.cdist(real, real).fill_diagonal_(torch.inf).kthvalue(k, dim=1).values
    inside = torch.cdist(real, fake) <= radius[:, None]  # (real, fake)
    return (inside.double().sum(0) / k).mean().item(), inside.any(1).double().mean().item()


def mode_coverage(
    samples: Tensor, means: Tensor, covariances: Tensor, weights: Tensor | None = None, within: float = 3.0
) -> ModeCoverage:
    """Measure how well samples cover the modes of a known mixture.

    >>> gmm = GaussianMixture(8).fit(data)  # doctest: +SKIP
    >>> mode_coverage(generated, gmm.means_, gmm.covariances_, gmm.weights_)  # doctest: +SKIP
    ModeCoverage(modes=0.25, quality=0.91, imbalance=0.75)

    A sample is good if it lies within `within` standard deviations (Mahalanobis) of its nearest mode; a mode is reached
    if a good sample belongs to it. The imbalance is the total variation distance between the shares of good samples and
    the modes' weights.

    Args:
        samples: (samples, dimensions).
        means: (modes, dimensions).
        covariances: (modes, dimensions, dimensions).
        weights: (modes,); equal if None.
        within: the largest distance of a good sample, in standard deviations.

    Returns:
        modes (the share reached), quality (the share of good samples) and imbalance, each from 0 to 1.

    Raises:
        ValueError: if samples and means differ in dimension, or samples are not finite.
        LinAlgError: if a covariance is not positive definite.

    Source: Srivastava et al., "VEEGAN" (2017).
    Chapter 4.
    """
    x, means = feature_pair(samples, means)
    weights = torch.ones(len(means)) if weights is None else torch.as_tensor(weights)
    roots = torch.linalg.cholesky(torch.as_tensor(covariances).double())
    steps = torch.linalg.solve_triangular(roots, (x - means[:, None]).mT, upper=False)  # (modes, dimensions, samples)
    distance, mode = steps.norm(dim=1).min(0)
    good = distance <= within
    counts = torch.bincount(mode[good], minlength=len(means)).double()
    shares, wanted = counts / counts.sum().clamp(min=1), weights.double() / weights.double().sum()
    imbalance = 0.5 * (shares - wanted).abs().sum().item() if good.any() else 1.0
    return ModeCoverage((counts > 0).double().mean().item(), good.double().mean().item(), imbalance)


def nearest(audio: Tensor, training: Tensor, sr: int = 16_000) -> tuple[Tensor, Tensor]:
    """Find the nearest training example of each sound, regardless of level and up to a shift in time.

    >>> distance, index = nearest(0.5 * training[7].roll(400), training)  # doctest: +SKIP
    >>> index  # doctest: +SKIP
    tensor([7])

    Each sound becomes a log-mel spectrogram (64 bands) in dB above a floor 30 dB below its own loudest point; anything
    lower counts as 0. The distance between u and v, over the time they share, is
    ``|u - v| / sqrt(|u|^2 + |v|^2)`` at the shift that makes it smallest: 0 for the same sound, 1 for sounds that never
    have energy in the same band at the same time.

    Args:
        audio: (batch, time) or (batch, 1, time).
        training: (examples, time), of the same length.
        sr: sample rate in Hz.

    Returns:
        distance (batch,) and index into `training` (batch,).

    Raises:
        ValueError: if the sounds differ in length.

    Chapter 4.
    """
    x, y = as_sounds(audio), as_sounds(training, "training")
    if x.shape[1] != y.shape[1]:
        raise ValueError(f"{x.shape[1]} samples per sound, {y.shape[1]} per training example: cut them to equal length")
    x, y = (in_batches(lambda part: FLOOR + levelled_log_mel(part, sr, 64, HOP, FLOOR), z) for z in (x, y))
    furthest = min(round(0.1 * sr / HOP), x.shape[-1] // 2)  # a copy may start 0.1 s earlier or later
    shifts = range(-furthest, furthest + 1)
    distances = (_distance(x[..., max(shift, 0) :], y[..., max(-shift, 0) :]) for shift in shifts)
    return tuple(reduce(torch.minimum, distances).min(1))


def _distance(x: Tensor, y: Tensor) -> Tensor:
    """|u - v| / sqrt(|u|^2 + |v|^2) for each u in x (batch, mels, frames) and v in y (examples, ...)."""
    frames = min(x.shape[-1], y.shape[-1])
    x, y = (part[..., :frames].flatten(1) / FLOOR for part in (x, y))
    both = x.square().sum(1)[:, None] + y.square().sum(1)
    return (1 - 2 * x @ y.T / both.clamp(min=1e-9)).clamp(min=0).sqrt()


def novelty(audio: Tensor, training: Tensor, held_out: Tensor, sr: int = 16_000) -> tuple[float, float, float]:
    """Are the sounds farther from the training set than real sounds that were not in it?

    >>> novelty(generated, train.audio, test.audio)  # doctest: +SKIP
    (0.34, 0.34, 0.0)

    Held-out real sounds show how close a sound comes by chance, since notes of one instrument resemble each other. A
    model that plays training examples back, softer or later, has a distance near 0 and `copied` near 1.

    Args:
        audio: generated sounds (batch, time) or (batch, 1, time).
        training: (examples, time), what the model was trained on.
        held_out: (count, time), real sounds it was not trained on.
        sr: sample rate in Hz.

    Returns:
        distance: the median distance to the nearest training example.
        ceiling: the same for held-out sounds, which is what sounds as new as new recordings reach.
        copied: the share of sounds nearer to training than 99 % of the held-out ones; chance gives about 0.01.

    Source: nearest-neighbour checks as in Karras et al. (2018), and held-out sounds as the reference after Meehan et
    al., "A non-parametric test to detect data-copying" (2020).
    Chapter 4.
    """
    generated, real = (nearest(x, training, sr)[0] for x in (audio, held_out))
    copied = (generated < torch.quantile(real, 0.01)).float().mean().item()
    return generated.median().item(), real.median().item(), copied
