"""WaveNet: a causal network whose output at each time is the distribution of the next sample. Chapter 5."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from musicai.pretrained import Pretrained
from musicai.wavenet.heads import CategoricalHead, GaussianHead
from musicai.wavenet.layers import DilatedStack, Upsample, dilations_of


@dataclass(frozen=True)
class WaveNetConfig:
    """The shape of a WaveNet. As it stands: 20 layers, dilations 1 to 512 twice, kernel 2, R = 64, S = 128, A = 256.

    Attributes:
        layers, stacks, kernel_size: `layers` blocks in `stacks` runs of dilations 1, 2, 4, ...
        residual_channels: R. skip_channels: S. end_channels: A, of the output layer before the head.
        classes: mu-law codes, in and out. mixtures: if not 0, the model reads and predicts values instead of codes,
            with so many Gaussians.
        global_classes, global_channels: how many instruments (or voices) there are, and the width of their embedding.
        local_channels: channels of what changes with time, such as a score; 0 for none.
        upsample: strides that bring local conditioning to the sample rate, such as (10, 16) from 100 Hz to 16 kHz.
    """

    layers: int = 20
    stacks: int = 2
    kernel_size: int = 2
    residual_channels: int = 64
    skip_channels: int = 128
    end_channels: int = 256
    classes: int = 256
    mixtures: int = 0
    global_classes: int = 0
    global_channels: int = 16
    local_channels: int = 0
    upsample: tuple[int, ...] = ()

    def __post_init__(self):
        dilations_of(self.layers, self.stacks)
        for name in ("kernel_size", "residual_channels", "skip_channels", "end_channels", "classes"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be 1 or more; got {getattr(self, name)}")


class WaveNet(Pretrained, nn.Module):
    """A stack of gated, dilated, causal convolutions over samples, and a head that says what comes next.

    >>> model = WaveNet(WaveNetConfig(layers=10, stacks=1))
    >>> codes = torch.randint(256, (2, 4000))
    >>> loss = -model.log_prob(codes).mean()                     # nats a sample

    The parts in order: `front` (codes or values -> R), `stack.blocks` (R -> R, and S that skips), ReLU, `end` (S -> A),
    ReLU, `head` (A -> distribution). `condition` is what the blocks' `condition` layers see.

    Time runs like this: the input at t is the sample at t - 1, the conditioning at t belongs to sample t, and the
    output at t is the distribution of sample t.

    Source: van den Oord et al. 2016 (arXiv:1609.03499), figure 4; its first causal convolution, over one-hot codes, is
    here one of width 1, which is an embedding. Chapter 5.
    """

    config_class = WaveNetConfig

    def __init__(self, config: WaveNetConfig | None = None, **settings):
        super().__init__()
        self.config = self.shape = c = config or WaveNetConfig(**settings)
        r, s, a = c.residual_channels, c.skip_channels, c.end_channels
        self.front = nn.Conv1d(1, r, 1) if c.mixtures else nn.Embedding(c.classes, r)
        self.instruments = nn.Embedding(c.global_classes, c.global_channels) if c.global_classes else None
        self.upsample = Upsample(c.local_channels, tuple(c.upsample)) if c.local_channels else None
        condition = c.local_channels + (c.global_channels if c.global_classes else 0)
        self.stack = DilatedStack(dilations_of(c.layers, c.stacks), r, s, c.kernel_size, condition)
        self.end = nn.Conv1d(s, a, 1)
        self.head = GaussianHead(a, c.mixtures) if c.mixtures else CategoricalHead(a, c.classes)

    @property
    def receptive_field(self) -> int:
        """How many past samples the distribution of the next one depends on."""
        return self.stack.receptive_field

    def forward(self, inputs: Tensor, local: Tensor | None = None, instrument: Tensor | None = None) -> Tensor:
        """Features (B, T, A), which the head turns into distributions.

        Args:
            inputs: the sample before each: codes int64 or values float, (B, T), as `previous(x)` gives them.
            local: (B, local_channels, frames), where frames = T / the product of `upsample`, rounded up.
            instrument: int64 (B,).
        """
        self._check_inputs(inputs)
        h = self.condition(inputs.shape[0], inputs.shape[1], local, instrument)
        x = self.front(inputs[:, None]) if self.config.mixtures else self.front(inputs).transpose(1, 2)  # (B, R, T)
        x = F.relu(self.stack(x, h))  # (B, S, T)
        return F.relu(self.end(x)).transpose(1, 2)  # (B, T, A)

    def log_prob(self, x: Tensor, local: Tensor | None = None, instrument: Tensor | None = None) -> Tensor:
        """Log likelihood in nats of each sample of x (B, T) given those before it: (B, T)."""
        self._check_inputs(x)
        return self.head.log_prob(self(self.previous(x), local, instrument), x)

    def previous(self, x: Tensor) -> Tensor:
        """The sample before each of x (B, T); before the first there is silence."""
        return torch.cat([torch.full_like(x[:, :1], self.silence), x[:, :-1]], dim=1)

    @property
    def silence(self) -> int | float:
        """What comes before the first sample."""
        return 0.0 if self.config.mixtures else self.config.classes // 2

    def condition(
        self, batch: int, length: int, local: Tensor | None = None, instrument: Tensor | None = None
    ) -> Tensor | None:
        """What the blocks see at each sample, (batch, channels, length), local channels first; None if nothing.

        Raises ValueError that names what is wrong with the conditioning.
        """
        parts = []
        if _wanted("instrument", self.instruments, instrument):
            self._check_instrument(batch, instrument)
            parts.append(self.instruments(instrument)[..., None].expand(-1, -1, length))
        if _wanted("local", self.upsample, local):
            self._check_local(batch, length, local)
            parts.insert(0, self.brought_up(local, instrument)[..., :length])
        return torch.cat(parts, dim=1) if parts else None

    def brought_up(self, local: Tensor, instrument: Tensor | None) -> Tensor:
        """Local conditioning (batch, local_channels, frames) at the sample rate, for these instruments."""
        return self.upsample(local)

    def _check_inputs(self, inputs: Tensor) -> None:
        if inputs.dim() != 2:
            raise ValueError(f"inputs must be (batch, time); got {tuple(inputs.shape)}")
        if self.config.mixtures:
            if not torch.isfinite(inputs).all():
                raise ValueError("values must be finite; the inputs hold NaN or infinity")
            return
        if inputs.dtype != torch.int64:
            raise ValueError(f"codes must be int64, as mu_law_encode gives them; got {inputs.dtype}")
        bad = inputs[(inputs < 0) | (inputs >= self.config.classes)]
        if len(bad):
            raise ValueError(f"codes must lie in 0..{self.config.classes - 1}; got {int(bad[0])}")

    def _check_local(self, batch: int, length: int, local: Tensor) -> None:
        factor = math.prod(self.config.upsample)
        wanted = (batch, self.config.local_channels, -(-length // factor))
        if tuple(local.shape) != wanted:
            raise ValueError(
                f"local conditioning has shape {tuple(local.shape)}; {length} samples at {factor} a frame need {wanted}"
            )
        if not torch.isfinite(local).all():
            raise ValueError("local conditioning holds NaN or infinity")

    def _check_instrument(self, batch: int, instrument: Tensor) -> None:
        count = self.config.global_classes
        if instrument.dtype != torch.int64 or tuple(instrument.shape) != (batch,):
            found = f"{instrument.dtype} {tuple(instrument.shape)}"
            raise ValueError(f"instrument must be int64 of shape ({batch},), one a sequence; got {found}")
        bad = instrument[(instrument < 0) | (instrument >= count)]
        if len(bad):
            raise ValueError(f"no such instrument: {int(bad[0])}; this model knows 0 to {count - 1}")


def _wanted(name: str, layer: nn.Module | None, value: Tensor | None) -> bool:
    """Whether this conditioning is used; it must be given exactly where the model has a layer for it."""
    if (layer is None) != (value is None):
        raise ValueError(f"this model {'needs' if layer is not None else 'knows no'} {name} conditioning")
    return layer is not None
