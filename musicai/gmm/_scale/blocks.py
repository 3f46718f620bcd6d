"""The E step over any number of rows, block by block, without losing precision.

All that the M step needs from the data is sums weighted by the responsibilities: of the products x_i x_j (or only the
squares), of x, and of 1. That is one matrix product; the log densities are another.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib.util import find_spec

import torch
from torch import Tensor

from musicai.gmm import em
from musicai.gmm.em import Moments, Parameters

SMALL = 2**25  # roughly, multiplications per pass; below this, float64 costs nothing worth saving
FEW = 2**15  # numbers that a CPU handles faster than a GPU starts
RIDGE = 1e-6  # share of a direction's variance: whitening stretches flat data at most a thousandfold
FLOAT32, FLOAT64, DEFINITION = 0, 1, 2  # a component's log density: from features in that type, or by its definition
# How much larger its terms may be than a squared distance: it loses at most 1e-3 of its size to rounding in float32,
# where such errors differ from row to row and average out, and 1e-7 in float64.
LARGEST = {FLOAT32: 1e-3 / torch.finfo(torch.float32).eps, FLOAT64: 1e-7 / torch.finfo(torch.float64).eps}
MOST_FEATURES = 2048  # on tensor cores: thousands of rows must fit into memory


@dataclass(frozen=True)
class Frame:
    """Coordinates scale (x - shift), in which the data have mean 0 and a standard deviation of about 1.

    Far from the origin, or with features of very different sizes, squares would lose all their digits. The shift holds
    float32 numbers and the scale (D,) powers of two, so moving into the frame rounds (almost) nothing.

    For full and tied covariances, the scale is a lower triangular matrix (D, D) that also makes the features
    uncorrelated: if they nearly repeat each other, their products lose digits too.
    """

    shift: Tensor
    scale: Tensor

    @staticmethod
    def of(mean: Tensor, covariance: Tensor) -> "Frame":
        """Make the frame for data with this mean (D,) and these variances (D,) or this covariance matrix (D, D)."""
        full = covariance.dim() == 2
        variance, shift = covariance.diagonal() if full else covariance, mean.float().double()
        exact = (variance == 0) | ~torch.isfinite(shift)  # a constant (becomes 0), or beyond float32's range
        scale = torch.where(variance > 0, torch.exp2(-variance.sqrt().log2().round().clamp(-500, 500)), 1.0)
        if full:
            covariance = scale[:, None] * covariance * scale + RIDGE * torch.eye(len(scale)).to(scale)
            scale = em.precisions_cholesky(covariance, full).mT.float().double() * scale  # the same numbers in float32
        return Frame(torch.where(exact, mean, shift), scale)

    @staticmethod
    def of_mixture(parameters: Parameters) -> "Frame":
        """Make the frame for data drawn from the mixture."""
        mean = parameters.weights @ parameters.means
        within = em.covariances_of_factors(parameters.factors(), parameters.full)
        spread = within + em.squares(parameters.means - mean, parameters.full)
        return Frame.of(mean, (em.per_component(parameters.weights, spread) * spread).sum(0))

    def to(self, device: torch.device) -> "Frame":
        """The same frame on another device."""
        return Frame(self.shift.to(device), self.scale.to(device))

    def rows_into(self, rows: Tensor, out: Tensor) -> None:
        """Write rows (rows, D) as columns in this frame to `out` (D, rows)."""
        shift, scale = self.shift[:, None].to(out.dtype), self.scale.to(out.dtype)
        if scale.dim() == 2:
            torch.mm(scale, rows.T - shift, out=out)
        else:
            torch.sub(rows.T, shift, out=out).mul_(scale[:, None])

    def mixture_into(self, parameters: Parameters) -> tuple[Tensor, Tensor]:
        """The mixture's means and factors (see `Parameters.factors`) in this frame."""
        means, factors = parameters.means - self.shift, parameters.factors()
        if parameters.full:
            return means @ self.scale.mT, torch.linalg.solve_triangular(self.scale.mT, factors, upper=True)
        return means * self.scale, factors / self.scale

    def moments_from(self, seen: Moments) -> Moments:
        """Convert moments seen in this frame to what they are outside it."""
        if seen.scatter.dim() == 2:
            return replace(seen, mean=seen.mean / self.scale + self.shift, scatter=seen.scatter / self.scale.square())
        inverse = torch.linalg.solve_triangular(self.scale, torch.eye(len(self.scale)).to(self.scale), upper=False)
        scatter = inverse @ seen.scatter @ inverse.mT
        return replace(seen, mean=seen.mean @ inverse.mT + self.shift, scatter=(scatter + scatter.mT) / 2)


def fill_features(features: Tensor, d: int, full: bool) -> None:
    """Complete a Gaussian's sufficient statistics (P, rows). The last D + 1 are x and 1; x is already filled in."""
    x, first = features[-1 - d : -1], 0
    features[-1] = 1
    if not full:
        torch.mul(x, x, out=features[:d])
        return
    for i in range(d):  # x_i x_j for j >= i
        torch.mul(x[i:], x[i], out=features[first : first + d - i])
        first += d - i


def coefficients(weights: Tensor, means: Tensor, factors: Tensor) -> Tensor:
    """Coefficients (K, P) of the features that give log(weight x density). Arguments are as in `log_joint`."""
    if factors.dim() == 2:
        quadratic, linear = -0.5 * factors.square(), factors.square() * means
    else:
        precisions, (i, j) = factors @ factors.mT, torch.triu_indices(*factors.shape[1:], device=factors.device)
        quadratic = -precisions[:, i, j] * torch.where(i == j, 0.5, 1.0)
        linear = (precisions @ means[:, :, None])[:, :, 0]
    constant = em.log_joint_at_mean(weights, factors) - 0.5 * (linear * means).sum(1)
    return torch.cat([quadratic, linear, constant[:, None]], 1)


def moments_from_sums(sums: Tensor, d: int, full: bool) -> Moments:
    """Compute the moments from the responsibility-weighted sums (P, K) of the features of d-dimensional x."""
    count, first, second = sums[-1], sums[-1 - d : -1].T, sums[: -1 - d].T
    mean = first / em.at_least_tiny(count)[:, None]
    if not full:
        return Moments(count, mean, (second - count[:, None] * mean.square()).clamp(min=0))
    i, j = torch.triu_indices(d, d, device=sums.device)
    scatter = sums.new_empty(len(mean), d, d)
    scatter[:, i, j] = scatter[:, j, i] = second
    return Moments(count, mean, scatter - count[:, None, None] * em.squares(mean, full))


def have_tensor_cores(rows: Tensor, matrix: Tensor) -> bool:
    """Whether they can be used for rows (rows, D) and these coefficients (K, P) of their features."""
    single = rows.dtype == matrix.dtype == torch.float32 and matrix.shape[1] <= MOST_FEATURES and len(rows) > 0
    modern = rows.is_cuda and torch.cuda.get_device_capability(rows.device) >= (8, 0)
    return single and modern and find_spec("triton") is not None


class BlockEStep:
    """The E step with these parameters, ready to be run over pieces of the rows from several threads.

    level (K,), on the CPU, says how to compute each component. Those computed by the definition use float64 outside the
    frame: if all rows of a component are equal, its scatter is then exactly zero. device is that of the rows, where it
    differs from that of the parameters.
    """

    def __init__(self, parameters: Parameters, frame: Frame, level: Tensor, device: torch.device | None = None):
        device = device or parameters.means.device
        self.frame, self.full = frame.to(device), parameters.full
        self.exact = (level == DEFINITION).nonzero()[:, 0]
        single = not bool((level == FLOAT64).any()) and bool((level == FLOAT32).any())
        means, factors = frame.mixture_into(parameters)
        if len(self.exact):
            known = parameters.weights, parameters.means, parameters.factors()
            self.definition = [v[self.exact].to(device) for v in known]
            # They may be beyond float32's range.
            factors = factors.index_fill(0, self.exact.to(factors.device), 1.0)
        self.exact = self.exact.to(device)
        matrix = coefficients(parameters.weights, means, factors)
        matrix[:, -1] += (frame.scale.diagonal() if self.full else frame.scale).log().sum()  # the change of volume
        self.matrix = matrix.to(device, torch.float32 if single else torch.float64)

    def moments(self, rows: Tensor, _: int = 0) -> Moments:
        """The moments of rows (rows, D), and their log-likelihood."""
        sums, log_likelihood, exact = self._sum_on_tensor_cores(rows) or self._sum(rows)
        seen = self.frame.moments_from(moments_from_sums(sums, rows.shape[1], self.full))
        if exact is not None:
            for name in ("count", "mean", "scatter"):
                getattr(seen, name)[self.exact] = getattr(exact, name)
        return replace(seen, log_likelihood=log_likelihood)

    def _sum(self, rows: Tensor) -> tuple[Tensor, Tensor, Moments | None]:
        """The sums of the features (P, K), the log-likelihood, and the moments of components by the definition."""
        sums, exact = rows.new_zeros(self.matrix.T.shape, dtype=torch.float64), None
        log_likelihood = sums.new_zeros(())
        for features, x, joint in self._blocks(rows):
            responsibilities, log_likelihoods = em.e_step(joint)
            log_likelihood += log_likelihoods.sum(dtype=torch.float64)
            sums += features @ responsibilities.T
            if x is not None:
                block = em.moments(x, responsibilities[self.exact].double(), self.full)
                exact = block if exact is None else exact + block
        return sums, log_likelihood, exact

    def _sum_on_tensor_cores(self, rows: Tensor) -> tuple[Tensor, Tensor, None] | None:
        """The same as `_sum`; None if that is not for these rows."""
        if self.full or len(self.exact) or not have_tensor_cores(rows, self.matrix):
            return None
        from musicai.gmm._scale import fused

        d = rows.shape[1]
        if max(len(self.matrix), d) <= fused.MOST:
            frame = self.frame.shift.float(), self.frame.scale.float()
            return *fused.sum_features(rows, *frame, self.matrix), None
        found = []
        for part in rows.split(2**24 // d):
            x = torch.empty_like(part, memory_format=torch.contiguous_format)
            self.frame.rows_into(part, out=x.T)
            found.append(fused.sum_by_products(x, self.matrix))
        return *map(sum, zip(*found, strict=True)), None

    def log_joint(self, rows: Tensor) -> Tensor:
        """log(weight x density) of each component at each row of a piece: (K, rows), float64."""
        return torch.cat([joint.double() for _, _, joint in self._blocks(rows)], 1)

    def _blocks(self, rows: Tensor) -> Iterator[tuple[Tensor, Tensor | None, Tensor]]:
        """Yield for each block: features (P, rows), x (D, rows) if the definition needs it, log_joint (K, rows)."""
        x = None
        for part, features in self._features(rows):
            joint = (features.T @ self.matrix.T).T  # in the memory layout that e_step reads
            if len(self.exact):
                x = part.double().T
                joint[self.exact] = em.log_joint(x, *self.definition).to(joint.dtype)
            yield features, x, joint

    def _features(self, rows: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield blocks of rows and their features (P, rows), which the next block overwrites."""
        (k, p), d = self.matrix.shape, rows.shape[1]
        # Numbers per block: enough to fill a GPU, or what the second-level cache holds.
        cache, copies = (2**27, 4) if rows.is_cuda else (2**20, 1)  # of the densities: `em.e_step` makes some
        size = max(16, min(cache // max(p + copies * k, 4 * len(self.exact) * d), cache // 512)) // 16 * 16
        buffer = self.matrix.new_empty(p, size)
        for part in rows.split(size):
            features = buffer[:, : len(part)]
            self.frame.rows_into(part, out=features[-1 - d : -1])
            fill_features(features, d, self.full)
            yield part, features


def e_step_over(data, parameters: Parameters, reg_covar: float) -> Moments:
    """The E step over all the `Data`: their moments, precise enough for an M step with this `reg_covar`.

    A GPU would take longer to start the many operations on a few parameters than a CPU takes to carry them out. So if
    they are few, the moments are on the CPU, wherever the data are.
    """
    home = data.device if parameters.factors().numel() > FEW else torch.device("cpu")
    parameters = replace(parameters, **{name: getattr(parameters, name).to(home) for name in em.NAMES})
    frame = data.frame.to(home)
    large = data.rows * parameters.factors().numel() > SMALL
    lowest = FLOAT32 if data.dtype == torch.float32 and large else FLOAT64
    level = level_needed(parameters, frame, lowest)
    while True:
        seen = data.sum(BlockEStep(parameters, frame, level, data.device).moments).to(home)
        after = level
        try:  # before anything waits for the sums, so that a GPU needn't wait either
            better = em.m_step(seen, parameters.covariance_type, reg_covar)
        except ValueError:  # it seems to have collapsed; only the definition can tell
            better, after = None, torch.full_like(level, DEFINITION)
        # Rows far from every component, and components about to become narrow, were computed too roughly, so repeat.
        if abs(float(seen.log_likelihood)) / data.rows >= LARGEST[FLOAT32]:
            lowest = FLOAT64
            after = after.maximum(level_needed(parameters, frame, lowest))
        if better is not None:
            after = after.maximum(level_needed(better, frame, lowest))
        if bool((level >= after).all()):
            return seen
        level = level.maximum(after)


def level_needed(parameters: Parameters, frame: Frame, lowest: int) -> Tensor:
    """The cheapest arithmetic, from `lowest` up, that gets each component's log densities right: (K,), on the CPU."""
    means, factors = frame.mixture_into(parameters)
    size = (1 + means.square()).sqrt()  # the size of a coordinate, as the data have unit variance in the frame
    standard = factors * size if factors.dim() == 2 else (factors.abs().mT @ size[:, :, None])[:, :, 0]
    # Large for a component that is narrow compared with the data, or nearly flat.
    terms = standard.square().sum(1).cpu()
    for level in (lowest, FLOAT64):
        exact = ~(terms < LARGEST[level])  # NaN counts as exact
        if 8 * int(exact.sum()) <= len(exact):
            break
    exact = exact.any().expand_as(exact) if parameters.covariance_type == "tied" else exact
    return torch.where(exact, DEFINITION, level)
