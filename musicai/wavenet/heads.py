"""Output heads: the last 1x1 layer of a WaveNet and the distribution that it stands for, as parts to choose from."""

import math

import torch
from torch import Tensor, nn

from musicai.gmm import ConditionalMixture, MixtureHead

TINY = 1e-12  # uniforms are kept this far from 0 and 1, where a Gaussian's quantile is infinite
ENDLESS = 1e6  # further away than any component reaches


class CategoricalHead(nn.Module):
    """A probability for each of `classes` codes: features (..., in_features) -> logits (..., classes).

    `sample` takes uniform numbers, so that the same numbers give the same draws from every sampler; it needs
    `uniforms` of them a draw. Source: van den Oord et al. 2016, section 2.2. Chapter 5.
    """

    uniforms = 1

    def __init__(self, in_features: int, classes: int = 256):
        super().__init__()
        self.classes = classes
        self.linear = nn.Linear(in_features, classes)

    def forward(self, features: Tensor) -> Tensor:
        """Logits (..., classes), in float32 also under autocast."""
        raw = self.linear(features)
        return raw if raw.dtype == torch.float64 else raw.float()

    def log_prob(self, features: Tensor, codes: Tensor) -> Tensor:
        """Natural log probability of int64 codes (...) given features (..., in_features)."""
        return self(features).log_softmax(-1).gather(-1, codes[..., None])[..., 0]

    def sample(self, features: Tensor, u: Tensor, temperature: float = 1.0, top_p: float | None = None) -> Tensor:
        """One code (...) for each u (..., 1) in [0, 1): the first whose cumulative probability is above u.

        Below temperature 1, likelier codes are preferred; at 0 the likeliest is taken. top_p keeps the fewest codes
        whose probabilities sum to at least top_p.
        """
        return categorical_from_uniform(self(features), u[..., 0], temperature, top_p)


def categorical_from_uniform(logits: Tensor, u: Tensor, temperature: float = 1.0, top_p: float | None = None) -> Tensor:
    """Draw int64 (...) from logits (..., K) by the inverse of the cumulative distribution at u (...)."""
    if not temperature >= 0:
        raise ValueError(f"temperature must be 0 or more; got {temperature}")
    if temperature == 0:
        return logits.argmax(-1)
    probs = (logits / temperature).softmax(-1)
    if top_p is not None:
        probs = keep_top_p(probs, top_p)
    cumulative = probs.cumsum(-1)
    above = cumulative > u[..., None] * cumulative[..., -1:]
    return above.to(torch.uint8).argmax(-1)  # the first True


def keep_top_p(probs: Tensor, top_p: float) -> Tensor:
    """The probabilities (..., K) with all but the fewest that sum to top_p put to 0; not normalised."""
    if not 0 < top_p <= 1:
        raise ValueError(f"top_p must lie in (0, 1]; got {top_p}")
    ordered, order = probs.sort(dim=-1, descending=True, stable=True)
    before = ordered.cumsum(-1) - ordered  # the mass of all that are likelier
    return probs * torch.zeros_like(probs).scatter(-1, order, (before < top_p).to(probs.dtype))


class GaussianHead(MixtureHead):
    """A mixture of Gaussians for a sample's value: features (..., in_features) -> ConditionalMixture (chapter 3).

    The same mixture gives a continuous likelihood (`log_prob`), and the probability of each mu-law code
    (`log_prob_of_codes`), which can be compared with a CategoricalHead's, bit for bit.

    Args:
        in_features: channels of the features. n_components: K. min_scale: the narrowest component; 1e-4 is three of
            the 16-bit steps.
    """

    uniforms = 2

    def __init__(self, in_features: int, n_components: int = 10, min_scale: float = 1e-4):
        super().__init__(in_features, n_components, min_scale=min_scale, max_scale=10.0)

    def log_prob(self, features: Tensor, values: Tensor) -> Tensor:
        """Log density, in nats, of values (...)."""
        return self(features).log_prob(values[..., None])

    def log_prob_of_codes(self, features: Tensor, codes: Tensor, channels: int = 256) -> Tensor:
        """Log probability, in nats, that a value falls where mu-law gives these codes (...)."""
        return log_mass(self(features), *mu_law_edges(codes, channels))

    def sample(self, features: Tensor, u: Tensor, temperature: float = 1.0, top_p: float | None = None) -> Tensor:
        """A value (...) in [-1, 1] for each u (..., 2): u[0] picks the component, u[1] the place in it.

        temperature narrows the components too; top_p chooses among the components.
        """
        mixture = self(features)
        k = categorical_from_uniform(mixture.log_weights, u[..., 0], temperature, top_p)[..., None]
        mean, scale = mixture.means[..., 0].gather(-1, k)[..., 0], mixture.scales[..., 0].gather(-1, k)[..., 0]
        normal = math.sqrt(2) * torch.erfinv(2 * u[..., 1].double().clamp(TINY, 1 - TINY) - 1).to(mean.dtype)
        return (mean + temperature * scale * normal).clamp(-1, 1)


def mu_law_edges(codes: Tensor, channels: int = 256) -> tuple[Tensor, Tensor]:
    """The interval [low, high) of values that `musicai.audio.mu_law_encode` gives each code; the outer have no end."""
    mu = channels - 1

    def value(y: Tensor) -> Tensor:
        return torch.sign(y) * torch.expm1(y.abs() * math.log1p(mu)) / mu

    low, high = value((codes - 0.5) / mu * 2 - 1), value((codes + 0.5) / mu * 2 - 1)
    return low.masked_fill(codes == 0, -math.inf), high.masked_fill(codes == mu, math.inf)


def log_mass(mixture: ConditionalMixture, low: Tensor, high: Tensor) -> Tensor:
    """Log of the probability that the mixture (one feature) gives to [low, high), both (...).

    It stays exact where differences of the distribution function do not: far in a tail, and for an interval much
    narrower than the component.
    """
    means, scales = mixture.means[..., 0], mixture.scales[..., 0]
    low, high = low.clamp(min=-ENDLESS), high.clamp(max=ENDLESS)  # infinite ends would have no gradient
    a, b = (low[..., None] - means) / scales, (high[..., None] - means) / scales
    a, b = torch.where(a + b > 0, -b, a), torch.where(a + b > 0, -a, b)  # by symmetry, into the left tail
    return (mixture.log_weights + _log_normal_mass(a, b)).logsumexp(-1)


def _log_normal_mass(a: Tensor, b: Tensor) -> Tensor:
    """log(Phi(b) - Phi(a)) for a < b, a + b <= 0."""
    narrow = b - a < 1e-2
    middle = torch.where(narrow, (a + b) / 2, 0.0)
    width = torch.where(narrow, b - a, 1.0)
    # The density at the middle times the width, with the next term of its series.
    series = -0.5 * middle.square() - 0.5 * math.log(2 * math.pi) + width.log()
    series = series + torch.log1p((middle.square() - 1).clamp(min=-1) * width.square() / 24)
    below, above = torch.where(narrow, -1.0, a).clamp(min=-1e4), torch.where(narrow, 0.0, b)
    upper, lower = torch.special.log_ndtr(above), torch.special.log_ndtr(below)
    difference = upper + torch.log(-torch.expm1((lower - upper).clamp(max=-1e-6)))
    return torch.where(narrow, series, difference)
