"""How exactly each component must be computed: where float32 will do, where float64, where only the definition."""

from dataclasses import dataclass

import torch
from torch import Tensor

from musicai.gmm.steps import Parameters, n_features

# How much of its own size a squared standard coordinate may lose, by the arithmetic that rounds it. In float32 such
# errors differ from row to row and average out; with full covariances the E step makes far smaller ones.
ALLOWED = {
    (torch.float32, False): 1e-3,
    (torch.float32, True): 0.3,
    (torch.float64, False): 1e-7,
    (torch.float64, True): 1e-7,
}
MOST_FEATURES = 2**15  # beyond (full covariances in more than 253 dimensions) their matrix is too large to be of use


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
