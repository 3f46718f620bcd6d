"""Where zero lies and how long one is: the coordinates in which the sums are taken."""

from dataclasses import dataclass

import torch
from torch import Tensor

from musicai.gmm.steps import Moments, Parameters


@dataclass(frozen=True)
class Frame:
    """Coordinates (x - shift) * scale in which the data have mean 0 and standard deviation about 1.

    Far from the origin, or with features of very different sizes, squares would lose all their digits. The shift is a
    float32 number and the scale a power of two, so that moving into the frame rounds (almost) nothing.
    """

    shift: Tensor
    scale: Tensor

    @staticmethod
    def of(mean: Tensor, variance: Tensor) -> "Frame":
        """For data with this mean and variance, each (D,)."""
        shift = mean.float().double()
        shift = torch.where(torch.isfinite(shift), shift, mean)  # beyond float32's range
        deviation = variance.sqrt()
        scale = torch.exp2(-deviation.log2().round().clamp(-500, 500))
        return Frame(shift, torch.where(deviation > 0, scale, 1.0))

    @staticmethod
    def of_mixture(parameters: Parameters) -> "Frame":
        """For data drawn from the mixture."""
        weights = parameters.weights[:, None]
        mean = (weights * parameters.means).sum(0)
        return Frame.of(mean, (weights * (parameters.variances() + (parameters.means - mean).square())).sum(0))

    def rows_into(self, rows: Tensor, out: Tensor) -> Tensor:
        """rows (rows, D) as columns in this frame: (D, rows), in the precision of `out`."""
        shift, scale = self.shift[:, None].to(out.dtype), self.scale[:, None].to(out.dtype)
        return torch.sub(rows.T, shift, out=out).mul_(scale)

    def mixture_into(self, parameters: Parameters) -> tuple[Tensor, Tensor, Tensor]:
        """The mixture's weights, means and factors (see `Parameters.factors`) in this frame."""
        factors = parameters.factors()
        scale = self.scale if factors.dim() == 2 else self.scale[:, None]
        return parameters.weights, (parameters.means - self.shift) * self.scale, factors / scale

    def moments_from(self, moments: Moments) -> Moments:
        """Moments seen in this frame, as they are outside it."""
        full = moments.scatter.dim() == 3
        scale = self.scale[:, None] * self.scale if full else self.scale.square()
        return Moments(moments.count, moments.mean / self.scale + self.shift, moments.scatter / scale)

    def log_volume(self) -> Tensor:
        """To add to a log density in this frame."""
        return self.scale.log().sum()
