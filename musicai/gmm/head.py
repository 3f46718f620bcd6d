"""Mixtures trained by gradients, either as the last layer of a network, as in WaveNet, or on their own. Chapter 3."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.distributions import Categorical, Normal
from torch.nn.functional import softplus

from musicai.gmm.em import log_joint
from musicai.gmm.mixture import GaussianMixture


@dataclass(frozen=True)
class ConditionalMixture:
    """A mixture of Gaussians with diagonal covariances at each position (...), as computed by a network.

    >>> one = torch.zeros(2, 1)  # a batch of two; K = 1
    >>> ConditionalMixture(one, one[..., None], one[..., None] + 1).log_prob(torch.zeros(2, 1))
    tensor([-0.9189, -0.9189])

    Attributes:
        log_weights: (..., K), the logarithms of weights that sum to one.
        means: (..., K, D).
        scales: (..., K, D), standard deviations.

    Chapter 3.
    """

    log_weights: Tensor
    means: Tensor
    scales: Tensor

    def log_prob(self, y: Tensor) -> Tensor:
        """The log density (...) of y (..., D), finite and with finite gradients for any scale that a head gives."""
        log_normal = Normal(self.means, self.scales, validate_args=False).log_prob(y[..., None, :])
        return (self.log_weights + log_normal.sum(-1)).logsumexp(-1)

    def sample(self) -> Tensor:
        """Draw a value (..., D) from each mixture."""
        chosen = Categorical(logits=self.log_weights).sample()[..., None, None]
        mean, scale = (part.take_along_dim(chosen, -2)[..., 0, :] for part in (self.means, self.scales))
        return torch.normal(mean, scale)


class MixtureHead(nn.Module):
    """The last layer of a network that outputs a density: features in, `ConditionalMixture` out.

    >>> head = MixtureHead(64, n_components=5)
    >>> mixture = head(torch.zeros(8, 100, 64))            # (batch, time, channels)
    >>> mixture.log_prob(torch.zeros(8, 100, 1)).shape
    torch.Size([8, 100])

    Scales are kept smoothly between two bounds, so that no step can make a component so narrow that the loss or its
    gradient overflows; in between, the network's output is the log scale. Bishop, "Mixture density networks" (1994).

    Args:
        in_features: number of input channels.
        n_components: K.
        n_features: D, the number of features predicted.
        min_scale: lower bound of the standard deviations.
        max_scale: upper bound of the standard deviations.

    Chapter 3.
    """

    def __init__(self, in_features: int, n_components: int, n_features: int = 1, *, min_scale=1e-3, max_scale=1e3):
        super().__init__()
        self.shape, self.bounds = (n_components, n_features), (math.log(min_scale), math.log(max_scale))
        self.linear = nn.Linear(in_features, n_components * (1 + 2 * n_features))

    def forward(self, x: Tensor) -> ConditionalMixture:
        """Map features x (..., in_features) to a mixture."""
        return self.mixture(self.linear(x))

    def mixture(self, raw: Tensor) -> ConditionalMixture:
        """Decode raw outputs (..., K (1 + 2 D)) into a mixture, in float32 (or float64) even under autocast."""
        k, d = self.shape
        logits, means, log_scales = (raw if raw.dtype == torch.float64 else raw.float()).split([k, k * d, k * d], -1)
        low, high = self.bounds
        log_scales = low + softplus(high - low - softplus(high - log_scales.unflatten(-1, (k, d))))
        scales = log_scales.exp().clamp(max=math.exp(high))
        return ConditionalMixture(logits.log_softmax(-1), means.unflatten(-1, (k, d)), scales)


class MixtureDensity(nn.Module):
    """A mixture of Gaussians as a module, which any gradient method can train on any loss built from `log_prob`.

    >>> density = MixtureDensity(8, 13)
    >>> optimizer = torch.optim.Adam(density.parameters(), 1e-2)
    >>> def step(batch):
    ...     loss = -density.log_prob(batch).mean()
    ...     update(loss, optimizer)
    ...     return {"loss": loss}
    >>> fit(step, batches, steps=2000, state={"density": density, "optimizer": optimizer})  # doctest: +SKIP

    Weights are a softmax and scales are positive by construction, so no step can produce an invalid mixture. The
    parameters are `logits` (K,), `means` (K, D), `log_scales` (K, D) and, for full covariances, `upper` (K, D, D): the
    part of `precisions_cholesky` to the right of the diagonal.

    Args:
        n_components: K.
        n_features: D.
        full: whether components have full covariance matrices rather than diagonal ones.
        min_scale: lower bound of the scales, for the same reason as `reg_covar` in EM.

    Chapter 3.
    """

    def __init__(self, n_components: int, n_features: int, full: bool = False, min_scale: float = 1e-3):
        super().__init__()
        self.min_scale = min_scale
        self.logits = nn.Parameter(torch.zeros(n_components))
        self.means = nn.Parameter(torch.randn(n_components, n_features))
        self.log_scales = nn.Parameter(torch.zeros(n_components, n_features))
        self.upper = nn.Parameter(torch.zeros(n_components, n_features, n_features)) if full else None

    @classmethod
    def of(cls, mixture: GaussianMixture, min_scale: float = 1e-3) -> "MixtureDensity":
        """Copy the density of a fitted mixture of any covariance type, except for scales below `min_scale`."""
        parameters = mixture._parameters()
        factors, full = parameters.factors(), parameters.full
        density = cls(*parameters.means.shape, full, min_scale).to(factors.device)
        diagonal = factors.diagonal(dim1=1, dim2=2) if full else factors
        variances = diagonal.square().reciprocal() - min_scale**2
        with torch.no_grad():
            density.logits.copy_(parameters.weights.log())
            density.means.copy_(parameters.means)
            density.log_scales.copy_(0.5 * variances.clamp(min=1e-6 * min_scale**2).log())
            if full:
                density.upper.copy_(factors.triu(1))
        return density

    def log_prob(self, x: Tensor) -> Tensor:
        """The log density (...) of x (..., D)."""
        log_variances = torch.full_like(self.log_scales, 2 * math.log(self.min_scale)).logaddexp(2 * self.log_scales)
        factors = torch.exp(-0.5 * log_variances)  # 1 / sqrt(min_scale^2 + exp(log_scale)^2)
        if self.upper is not None:
            factors = self.upper.triu(1) + torch.diag_embed(factors)
        joint = log_joint(x.reshape(-1, x.shape[-1]).T, self.logits.softmax(0), self.means, factors)
        return joint.logsumexp(0).reshape(x.shape[:-1])

    forward = log_prob
