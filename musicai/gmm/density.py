"""A mixture that is trained by gradients, to be compared with EM on the same data. Chapter 3."""

import math

import torch
from torch import Tensor, nn

from musicai.gmm.mixture import GaussianMixture
from musicai.gmm.steps import COVARIANCE_TYPES, Parameters, covariances_of_factors, log_joint


class MixtureDensity(nn.Module):
    """A mixture of Gaussians as a module: any gradient method may train it, on any loss of `log_prob`.

    >>> density = MixtureDensity(8, 13)
    >>> optimizer = torch.optim.Adam(density.parameters(), 1e-2)
    >>> def step(batch):
    ...     loss = -density.log_prob(batch).mean()
    ...     update(loss, optimizer)
    ...     return {"loss": loss}
    >>> fit(step, batches, steps=2000, state={"density": density, "optimizer": optimizer})  # doctest: +SKIP

    Weights are a softmax and scales are positive by their form, so no step leaves the mixtures: `logits` (K,), `means`
    (K, D), `log_scales`, and, for full and tied covariances, what is right of the diagonal in `precisions_cholesky`.
    No scale falls below `min_scale`, for the reason that EM has `reg_covar`. Chapter 3.
    """

    def __init__(self, n_components: int, n_features: int, covariance_type: str = "diag", min_scale: float = 1e-3):
        super().__init__()
        if covariance_type not in COVARIANCE_TYPES:
            raise ValueError(f"covariance_type must be one of {', '.join(COVARIANCE_TYPES)}; got {covariance_type!r}")
        self.covariance_type, self.min_scale = covariance_type, min_scale
        shapes = 1 if covariance_type == "tied" else n_components
        self.logits = nn.Parameter(torch.zeros(n_components))
        self.means = nn.Parameter(torch.randn(n_components, n_features))
        self.log_scales = nn.Parameter(torch.zeros(shapes, 1 if covariance_type == "spherical" else n_features))
        full = covariance_type in ("full", "tied")
        self.upper = nn.Parameter(torch.zeros(shapes, n_features, n_features)) if full else None

    @classmethod
    def of(cls, mixture: GaussianMixture, min_scale: float = 1e-3) -> "MixtureDensity":
        """The same density as a fitted mixture, but for scales that are nearer to 0 than `min_scale`."""
        k, d = mixture.means_.shape
        density, parameters = cls(k, d, mixture.covariance_type, min_scale), mixture._parameters()
        density = density.to(parameters.means.device)
        shapes, sizes = density.log_scales.shape
        factors = parameters.factors()[:shapes] if density.upper is not None else parameters.factors()[:, :sizes]
        diagonal = factors.diagonal(dim1=-2, dim2=-1) if density.upper is not None else factors
        variances = diagonal.square().reciprocal() - min_scale**2
        with torch.no_grad():
            density.logits.copy_(parameters.weights.log())
            density.means.copy_(parameters.means)
            density.log_scales.copy_(0.5 * variances.clamp(min=1e-6 * min_scale**2).log())
            if density.upper is not None:
                density.upper.copy_(factors.triu(1))
        return density

    def log_prob(self, x: Tensor) -> Tensor:
        """The log density of x (..., D): (...)."""
        equal = self.logits.new_ones(len(self.logits))
        joint = log_joint(x.reshape(-1, x.shape[-1]).T, equal, self.means, self._factors())
        joint = joint + self.logits.log_softmax(0)[:, None]
        return joint.logsumexp(0).reshape(x.shape[:-1])

    forward = log_prob

    def sample(self, n_samples: int) -> Tensor:
        """Draw (n_samples, D)."""
        with torch.no_grad():
            labels = self.logits.softmax(0).multinomial(n_samples, replacement=True)
            noise, factors = torch.randn_like(self.means[labels]), self._factors()[labels]
            if factors.dim() == 2:
                return self.means[labels] + noise / factors
            return self.means[labels] + torch.linalg.solve_triangular(factors.mT, noise[..., None], upper=False)[..., 0]

    def mixture(self) -> GaussianMixture:
        """The same density as a `GaussianMixture` of tensors."""
        with torch.no_grad():
            factors = self._factors().double()
            if self.covariance_type in ("tied", "spherical"):
                factors = factors[0] if self.covariance_type == "tied" else factors[:, 0]
            weights, means = self.logits.double().softmax(0), self.means.double()
        covariances = covariances_of_factors(factors, self.upper is not None)
        made = GaussianMixture(len(weights), covariance_type=self.covariance_type)
        return made._made_of(Parameters(weights, means, covariances, factors, self.covariance_type), self.means.dtype)

    def _factors(self) -> Tensor:
        log_variances = torch.full_like(self.log_scales, 2 * math.log(self.min_scale)).logaddexp(2 * self.log_scales)
        inverse = torch.exp(-0.5 * log_variances)  # 1 / sqrt(min_scale^2 + exp(log_scale)^2)
        k, d = self.means.shape
        if self.upper is None:
            return inverse.expand(k, d)
        return (self.upper.triu(1) + torch.diag_embed(inverse)).expand(k, d, d)
