"""The layers of a WaveNet: causal convolutions, gated residual blocks, stacks and learned upsampling. Chapter 5."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

DEEPEST, MOST_LAYERS = 40, 1000  # a deeper stack would look back further than any recording lasts


def receptive_field(dilations: list[int], kernel_size: int = 2) -> int:
    """How many inputs an output sees, including the latest: 1 + (kernel_size - 1) x the sum of the dilations.

    >>> receptive_field([1, 2, 4, 8])
    16

    Args:
        dilations: one per layer.
        kernel_size: taps of each convolution.

    Returns: a number of samples or frames.

    Source: van den Oord et al. 2016 (arXiv:1609.03499), section 2.1. Chapter 5.
    """
    return 1 + (kernel_size - 1) * sum(dilations)


def dilations_of(layers: int, stacks: int = 1) -> list[int]:
    """The dilations 1, 2, 4, ... of a WaveNet's layers, restarting at 1 in every stack.

    >>> dilations_of(6, 2)
    [1, 2, 4, 1, 2, 4]

    Args:
        layers: the total number of layers.
        stacks: how many stacks they are divided into.

    Returns: one dilation per layer.

    Raises:
        ValueError: if the layers cannot be divided equally, or a stack would be deeper than 40.

    Source: van den Oord et al. 2016 (arXiv:1609.03499), section 2.1. Chapter 5.
    """
    if not 1 <= stacks <= layers <= MOST_LAYERS or layers % stacks or layers // stacks > DEEPEST:
        raise ValueError(f"{layers} layers cannot be divided into {stacks} stacks of equal depth, at most {DEEPEST}")
    return [2**i for i in range(layers // stacks)] * stacks


class CausalConv1d(nn.Conv1d):
    """A convolution whose output at time t sees inputs up to t and none after: (B, C, T) -> (B, C', T).

    >>> conv = CausalConv1d(1, 1, kernel_size=2, dilation=4)  # y[t] = w0 x[t - 4] + w1 x[t] + b
    >>> conv(torch.zeros(1, 1, 10)).shape
    torch.Size([1, 1, 10])

    It is a Conv1d with (kernel_size - 1) x dilation zeros in front of the signal.

    Args:
        in_channels: C.
        out_channels: C'.
        kernel_size: taps.
        dilation: distance between taps.
        bias: whether to add a bias.

    Source: van den Oord et al. 2016 (arXiv:1609.03499), figures 2 and 3. Chapter 5.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int = 2, dilation: int = 1, bias: bool = True):
        super().__init__(in_channels, out_channels, kernel_size, dilation=dilation, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """x (B, in_channels, T) -> (B, out_channels, T)."""
        return super().forward(F.pad(x, ((self.kernel_size[0] - 1) * self.dilation[0], 0)))


class ResidualBlock(nn.Module):
    """One gated layer: z = tanh(W_f * x + V_f h) sigmoid(W_g * x + V_g h), with outputs x + 1x1(z) and a skip 1x1(z).

    >>> block = ResidualBlock(residual=4, skip=8, dilation=2)
    >>> x, skip = block(torch.zeros(1, 4, 10))
    >>> x.shape, skip.shape
    (torch.Size([1, 4, 10]), torch.Size([1, 8, 10]))

    Filter and gate are one convolution R -> 2 R: the first R channels belong to the filter.

    Args:
        residual: R, channels of x.
        skip: S, channels of the skip output.
        kernel_size: taps of the causal convolution W.
        dilation: of the causal convolution W.
        condition: channels of the conditioning h; 0 for none.
        last: whether this is the last block, which has no successor to pass x on to and so no residual 1x1.

    Source: van den Oord et al. 2016 (arXiv:1609.03499), equations 2 and 3 and figure 4. Chapter 5.
    """

    def __init__(
        self, residual: int, skip: int, kernel_size: int = 2, dilation: int = 1, condition: int = 0, last: bool = False
    ):
        super().__init__()
        self.conv = CausalConv1d(residual, 2 * residual, kernel_size, dilation)
        self.condition = nn.Conv1d(condition, 2 * residual, 1, bias=False) if condition else None
        self.residual = None if last else nn.Conv1d(residual, residual, 1)
        self.skip = nn.Conv1d(residual, skip, 1)

    def forward(self, x: Tensor, h: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """x (B, R, T) and h (B, condition, T) -> the next block's x (B, R, T) and the skip (B, S, T)."""
        both = self.conv(x) if self.condition is None else self.conv(x) + self.condition(h)
        filtered, gate = both.chunk(2, dim=1)
        z = torch.tanh(filtered) * torch.sigmoid(gate)  # (B, R, T)
        return (x if self.residual is None else x + self.residual(z)), self.skip(z)


class DilatedStack(nn.Module):
    """Residual blocks one after another, and the sum of their skips: (B, R, T) -> (B, S, T).

    >>> stack = DilatedStack(dilations_of(10), residual=16, skip=32)
    >>> stack(torch.zeros(1, 16, 100)).shape, stack.receptive_field
    (torch.Size([1, 32, 100]), 1024)

    A convolution shares its weights across time; the blocks of a stack share none.

    Args:
        dilations: one per block, such as `dilations_of(layers, stacks)`.
        residual: R, as in ResidualBlock.
        skip: S, as in ResidualBlock.
        kernel_size: as in ResidualBlock.
        condition: as in ResidualBlock.

    Source: van den Oord et al. 2016 (arXiv:1609.03499), figure 4. Chapter 5.
    """

    def __init__(self, dilations: list[int], residual: int, skip: int, kernel_size: int = 2, condition: int = 0):
        super().__init__()
        last = len(dilations) - 1
        self.blocks = nn.ModuleList(
            ResidualBlock(residual, skip, kernel_size, d, condition, last=i == last) for i, d in enumerate(dilations)
        )
        self.receptive_field = receptive_field(dilations, kernel_size)

    def forward(self, x: Tensor, h: Tensor | None = None) -> Tensor:
        """x (B, R, T) and h (B, condition, T) -> (B, S, T)."""
        total = 0.0
        for block in self.blocks:
            x, skip = block(x, h)
            total = total + skip
        return total


class Upsample(nn.Module):
    """Learned upsampling of conditioning, by transposed convolutions: (B, C, frames) -> (B, C, frames x factor).

    >>> Upsample(channels=3, factors=(10, 16))(torch.zeros(1, 3, 50)).shape
    torch.Size([1, 3, 8000])

    Each layer begins as linear interpolation between frames, which training then changes.

    Args:
        channels: C.
        factors: the stride of each layer; their product is the factor.

    Source: van den Oord et al. 2016 (arXiv:1609.03499), section 2.5. Chapter 5.
    """

    def __init__(self, channels: int, factors: tuple[int, ...]):
        super().__init__()
        self.layers = nn.Sequential(*(_interpolation(channels, factor) for factor in factors))

    def forward(self, y: Tensor) -> Tensor:
        """y (B, C, frames) -> (B, C, frames x factor)."""
        return self.layers(y)


def _interpolation(channels: int, factor: int) -> nn.ConvTranspose1d:
    width = 2 * factor - factor % 2  # so that n frames give exactly n x factor
    layer = nn.ConvTranspose1d(channels, channels, width, factor, padding=(width - factor) // 2)
    slope = 1 - (torch.arange(width) + 0.5 - width / 2).abs() / factor  # a triangle; shifted copies sum to 1
    layer.weight = nn.Parameter(torch.eye(channels)[..., None] * slope)
    nn.init.zeros_(layer.bias)
    return layer
