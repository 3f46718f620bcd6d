"""A mixture whose parameters a network computes: the mixture density network. Chapter 3; WaveNet uses it."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus


@dataclass(frozen=True)
class ConditionalMixture:
    """A mixture of Gaussians at each place (...): log_weights (..., K), means and scales (..., K, D)."""

    log_weights: Tensor
    means: Tensor
    scales: Tensor

    def log_prob(self, y: Tensor) -> Tensor:
        """The log density of y (..., D): (...). Finite, with finite gradients, for any scale that a head gives."""
        standard = (y[..., None, :] - self.means) / self.scales
        height = -self.scales.log() - 0.5 * math.log(2 * math.pi)
        return (self.log_weights + (height - 0.5 * standard.square()).sum(-1)).logsumexp(-1)

    @property
    def mean(self) -> Tensor:
        """The expected value, (..., D): where the mixture balances, which need not be likely."""
        return (self.log_weights.exp()[..., None] * self.means).sum(-2)

    def sample(self, temperature: float = 1.0) -> Tensor:
        """Draw (..., D). Below temperature 1, likelier components are preferred and all are narrower; 0 is the mode."""
        if temperature < 0:
            raise ValueError(f"temperature must be 0 or more; got {temperature}")
        if temperature > 0:  # Gumbel's trick: a draw is an argmax
            logits = self.log_weights / temperature
            chosen = (logits - torch.empty_like(logits).exponential_().log()).argmax(-1)
        else:
            chosen = (self.log_weights - self.scales.log().sum(-1)).argmax(-1)
        index = chosen[..., None, None].expand(*chosen.shape, 1, self.means.shape[-1])
        mean, scale = self.means.gather(-2, index)[..., 0, :], self.scales.gather(-2, index)[..., 0, :]
        return mean + temperature * scale * torch.randn_like(mean)


class MixtureHead(nn.Module):
    """The last layer of a network that answers with a density: features in, `ConditionalMixture` out.

    >>> head = MixtureHead(64, n_components=5)
    >>> mixture = head(torch.zeros(8, 100, 64))            # (batch, time, channels)
    >>> mixture.log_prob(torch.zeros(8, 100, 1)).shape
    torch.Size([8, 100])

    in_features: channels of the network. n_components: K. n_features: D, of what is predicted. Scales lie between
    min_scale and max_scale, smoothly, so that no step can make a component so narrow that the loss, or its gradient,
    overflows; in between, the network's output is the log scale. Bishop, "Mixture density networks" (1994). Chapter 3.

    Raises ValueError unless 0 < min_scale < max_scale.
    """

    def __init__(
        self,
        in_features: int,
        n_components: int,
        n_features: int = 1,
        *,
        min_scale: float = 1e-3,
        max_scale: float = 1e3,
    ):
        super().__init__()
        if not 0 < min_scale < max_scale:
            raise ValueError(f"0 < min_scale < max_scale must hold; got {min_scale} and {max_scale}")
        self.shape, self.bounds = (n_components, n_features), (math.log(min_scale), math.log(max_scale))
        self.linear = nn.Linear(in_features, n_components * (1 + 2 * n_features))

    def forward(self, x: Tensor) -> ConditionalMixture:
        """x (..., in_features)."""
        return self.mixture(self.linear(x))

    def mixture(self, raw: Tensor) -> ConditionalMixture:
        """The mixture that raw outputs (..., K (1 + 2 D)) stand for; computed in float32 also under autocast."""
        k, d = self.shape
        logits, means, log_scales = (raw if raw.dtype == torch.float64 else raw.float()).split([k, k * d, k * d], -1)
        low, high = self.bounds
        log_scales = low + softplus(high - low - softplus(high - log_scales.unflatten(-1, (k, d))))
        scales = log_scales.exp().clamp(max=math.exp(high))
        return ConditionalMixture(logits.log_softmax(-1), means.unflatten(-1, (k, d)), scales)
