"""WaveNet: a causal network whose output at each time is the distribution of the next sample. Chapter 5."""

import math
from contextlib import suppress
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from musicai.audio.signal import mu_law_decode, mu_law_edges, mu_law_encode
from musicai.notes.note import require
from musicai.pretrained import Pretrained, check_config
from musicai.wavenet.heads import CategoricalHead, GaussianHead, log_mass
from musicai.wavenet.layers import DilatedStack, Upsample, dilations_of

MAY_BE_ZERO = ("mixtures", "global_classes", "global_channels", "local_channels")


@dataclass(frozen=True)
class WaveNetConfig:
    """The shape of a WaveNet; by default 20 layers with dilations 1 to 512 twice, R = 64, S = 128, A = 256.

    >>> WaveNetConfig(layers=10, stacks=1).kernel_size
    2

    Attributes:
        layers: the number of residual blocks.
        stacks: how many runs of dilations 1, 2, 4, ... they form.
        kernel_size: taps of their convolutions.
        residual_channels: R.
        skip_channels: S.
        end_channels: A, the channels of the output layer before the head.
        classes: the number of mu-law codes, in and out.
        mixtures: if not 0, the model reads and predicts values instead of codes, with this many Gaussians.
        global_classes: the number of instruments (or voices); 0 for no global conditioning.
        global_channels: the width of their embedding.
        local_channels: channels of conditioning that changes with time, such as a score; 0 for none.
        upsample: strides that bring local conditioning to the sample rate, such as (10, 16) from 100 Hz to 16 kHz.

    Raises:
        ValueError: if the layers cannot be divided into the stacks, a size is below 1, or a field has another type.

    Chapter 5.
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
        check_config(self, MAY_BE_ZERO)
        dilations_of(self.layers, self.stacks)


class WaveNet(Pretrained, nn.Module):
    """A stack of gated, dilated, causal convolutions over samples, with a head that predicts the next one.

    >>> model = WaveNet(WaveNetConfig(layers=10, stacks=1))
    >>> codes = torch.randint(256, (2, 4000))
    >>> loss = -model.log_prob(codes).mean()  # nats per sample

    The parts in order: `input` (codes or values -> R), `stack.blocks` (R -> R, with skips of S channels), ReLU,
    `output` (S -> A), ReLU, `head` (A -> distribution). `condition` gives what the blocks' `condition` layers see.

    The input at time t is the sample at t - 1, the conditioning at t belongs to sample t, and the output at t is the
    distribution of sample t.

    Args:
        config: the shape; None for `WaveNetConfig(**settings)`.
        settings: fields of WaveNetConfig, used when there is no config.

    Source: van den Oord et al. 2016 (arXiv:1609.03499), figure 4; its first causal convolution, over one-hot codes, has
    width 1 here, which makes it an embedding. Chapter 5.
    """

    config_class = WaveNetConfig

    def __init__(self, config: WaveNetConfig | None = None, **settings):
        super().__init__()
        self.config = c = config or WaveNetConfig(**settings)
        r, s, a = c.residual_channels, c.skip_channels, c.end_channels
        self.input = nn.Conv1d(1, r, 1) if c.mixtures else nn.Embedding(c.classes, r)
        self.instruments = nn.Embedding(c.global_classes, c.global_channels) if c.global_classes else None
        self.upsample = Upsample(c.local_channels, tuple(c.upsample)) if c.local_channels else None
        condition = c.local_channels + (c.global_channels if c.global_classes else 0)
        self.stack = DilatedStack(dilations_of(c.layers, c.stacks), r, s, c.kernel_size, condition)
        self.receptive_field = self.stack.receptive_field  # in samples
        self.silence = 0.0 if c.mixtures else c.classes // 2  # what comes before the first sample
        self.output = nn.Conv1d(s, a, 1)
        self.head = GaussianHead(a, c.mixtures) if c.mixtures else CategoricalHead(a, c.classes)

    def forward(self, inputs: Tensor, local: Tensor | None = None, instrument: Tensor | None = None) -> Tensor:
        """Features (B, T, A), which the head turns into distributions.

        Args:
            inputs: the sample before each one, as `previous(x)` gives them: codes int64 or values float, (B, T).
            local: (B, local_channels, frames), where frames = T / the product of `upsample`, rounded up.
            instrument: int64 (B,).
        """
        self._check_inputs(inputs)
        h = self.condition(inputs.shape[0], inputs.shape[1], local, instrument)
        x = self.input(inputs[:, None]) if self.config.mixtures else self.input(inputs).transpose(1, 2)  # (B, R, T)
        x = F.relu(self.stack(x, h))  # (B, S, T)
        return F.relu(self.output(x)).transpose(1, 2)  # (B, T, A)

    def log_prob(self, x: Tensor, local: Tensor | None = None, instrument: Tensor | None = None) -> Tensor:
        """Log likelihood in nats of each sample of x (B, T) given those before it: (B, T)."""
        self._check_inputs(x)
        x = x - self.offset(x.shape[1], local, instrument)
        return self.head.log_prob(self(self.previous(x), local, instrument), x)

    def log_prob_of_codes(
        self, codes: Tensor, local: Tensor | None = None, instrument: Tensor | None = None, disturb=lambda past: past
    ) -> Tensor:
        """Log probability in nats of mu-law codes (B, T), with either head, so that bits compare.

        A mixture reads the values that the codes stand for, and is scored by the mass it gives to a code's interval.

        Args:
            codes: int64 (B, T).
            local: as in `forward`.
            instrument: as in `forward`.
            disturb: what becomes of the past, (B, T), before the network hears it.
        """
        offset = self.offset(codes.shape[1], local, instrument)
        heard = disturb(mu_law_decode(codes, self.config.classes) - offset)
        if not self.config.mixtures:
            heard = mu_law_encode(heard.clamp(-1, 1), self.config.classes)
        features = self(self.previous(heard), local, instrument)
        if not self.config.mixtures:
            return self.head.log_prob(features, codes)
        return log_mass(self.head(features), *(edge - offset for edge in mu_law_edges(codes, self.config.classes)))

    def offset(self, length: int, local: Tensor | None, instrument: Tensor | None) -> Tensor | int:
        """What is added to the values that the network draws: nothing here; see `ScoreWaveNet`."""
        return 0

    def previous(self, x: Tensor) -> Tensor:
        """The sample before each of x (B, T), with silence before the first."""
        return torch.cat([torch.full_like(x[:, :1], self.silence), x[:, :-1]], dim=1)

    def condition(
        self, batch: int, length: int, local: Tensor | None = None, instrument: Tensor | None = None
    ) -> Tensor | None:
        """What the blocks see at each sample, (batch, channels, length), local channels first; None without any.

        Raises a ValueError that says what is wrong with the conditioning.
        """
        for name, layer, value in (("local", self.upsample, local), ("instrument", self.instruments, instrument)):
            if (layer is None) != (value is None):
                raise ValueError(f"this model {'needs' if layer else 'takes no'} {name} conditioning")
        parts = []
        if instrument is not None:
            self._check_instrument(batch, instrument)
            parts.append(self.instruments(instrument)[..., None].expand(-1, -1, length))
        if local is not None:
            self._check_local(batch, length, local)
            parts.insert(0, self.upsampled(local, instrument)[..., :length])
        return torch.cat(parts, dim=1) if parts else None

    def upsampled(self, local: Tensor, instrument: Tensor | None) -> Tensor:
        """Local conditioning (batch, local_channels, frames) at the sample rate: (batch, channels, time)."""
        return self.upsample(local)

    def _check_inputs(self, inputs: Tensor) -> None:
        require(inputs.dim() == 2, f"inputs must be (batch, time); got {tuple(inputs.shape)}")
        if not self.config.mixtures:
            require(inputs.dtype == torch.int64, f"codes must be int64; got {inputs.dtype}")
            _check_range("codes", inputs, self.config.classes)

    def _check_local(self, batch: int, length: int, local: Tensor) -> None:
        factor = math.prod(self.config.upsample)
        needed = (batch, self.config.local_channels, -(-length // factor))
        sizes = f"{length} samples in frames of {factor} need {needed}"
        require(local.shape == needed, f"local conditioning has shape {tuple(local.shape)}; {sizes}")
        require(torch.isfinite(local).all(), "local conditioning contains NaN or infinity")

    def _check_instrument(self, batch: int, instrument: Tensor) -> None:
        found = instrument.dtype, tuple(instrument.shape)
        require(found == (torch.int64, (batch,)), f"instrument must be int64 of shape ({batch},); got {found}")
        _check_range("instrument", instrument, self.config.global_classes)


def number(name: str, value: float, low: float, high: float = math.inf, whole: bool = False) -> float:
    """A finite number from low to high, and a whole one (2 or 2.0) if it has to be; a ValueError for anything else."""
    with suppress(TypeError, ValueError, RuntimeError):  # a text, None, a list, an array of several numbers
        if low <= value <= high and value < math.inf and not (whole and value % 1):
            return int(value) if whole else float(value)
    least = f"a whole number, {low} or more" if whole else f"{low} or more"
    between = f"a {'whole ' * whole}number from {low} to {high}"
    raise ValueError(f"{name} must be {between if high < math.inf else least}; got {value!r}")


def _check_range(name: str, numbers: Tensor, count: int) -> None:
    bad = numbers[(numbers < 0) | (numbers >= count)]
    require(not len(bad), f"{name} must lie in 0..{count - 1}; got {bad[:1].tolist()}")
