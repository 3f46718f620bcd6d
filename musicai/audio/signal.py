"""Samples: checks, frames, mu-law codes and resampling. Chapter 1."""

import math
from functools import lru_cache
from numbers import Real

import numpy as np
import soxr
import torch
import torch.nn.functional as F
from torch import Tensor


class AudioError(ValueError):
    """A sound, a file or a setting that cannot be used; the message says what is wrong and how to fix it.

    >>> load("text.wav")  # doctest: +SKIP
    AudioError: text.wav: not a sound file: it begins with b'this'; supported are wav, flac, ogg, opus, mp3 and aiff

    Chapter 1.
    """


def require(condition: bool, message: str) -> None:
    """Raise `AudioError(message)` unless `condition` holds."""
    if not condition:
        raise AudioError(message)


def as_audio(x: Tensor) -> Tensor:
    """Check that `x` is a sound (..., time), not empty; half precision becomes float32."""
    require(isinstance(x, Tensor), f"audio must be a torch.Tensor, not {type(x).__name__}: try torch.as_tensor(audio)")
    require(x.is_floating_point(), f"audio must be floating point in [-1, 1], not {x.dtype}: 16-bit codes / 32768")
    require(x.ndim > 0 and x.numel() > 0, f"audio of shape {tuple(x.shape)} holds no samples; give (..., time)")
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def whole(name: str, value: float, low: int = 1) -> int:
    """Check that a setting is a whole number of at least `low`."""
    require(isinstance(value, Real) and value % 1 == 0, f"{name} must be a whole number, not {value!r}")
    require(value >= low, f"{name} must be at least {low}, not {value!r}")
    return int(value)


@lru_cache(maxsize=256)
def _constant(build, args: tuple, device: torch.device, dtype: torch.dtype) -> Tensor:
    with torch.inference_mode(False), torch.no_grad(), torch.device("cpu"):  # so that training can use it later
        return build(*args).to(device, dtype)


def constant_for(x: Tensor, build, *args) -> Tensor:
    """Compute `build(*args)` once, in float64, and cache it on the device and in the precision of `x`."""
    return _constant(build, args, x.device, x.dtype)


def matmul(a: Tensor, b: Tensor) -> Tensor:
    """a @ b in the precision of a, even under autocast, because filters need more than half precision."""
    if not torch.amp.is_autocast_available(a.device.type):
        return a @ b
    with torch.autocast(a.device.type, enabled=False):
        return a @ b


def frame(x: Tensor, frame_length: int, hop_length: int) -> Tensor:
    """Cut a sound into overlapping frames, without copying it.

    >>> frame(torch.arange(6.0), frame_length=4, hop_length=2)
    tensor([[0., 1., 2., 3.],
            [2., 3., 4., 5.]])

    Args:
        x: sound (..., time).
        frame_length: samples per frame.
        hop_length: samples from one frame to the next.

    Returns: a view (..., frames, frame_length); librosa.util.frame has the last two axes swapped.

    Raises:
        AudioError: if the sound is shorter than one frame, or a setting is not a whole number above 0.

    Chapter 2.
    """
    length, hop = whole("frame_length", frame_length), whole("hop_length", hop_length)
    require(x.shape[-1] >= length, f"a sound of {x.shape[-1]} samples is shorter than one frame of {length}; pad it")
    return x.unfold(-1, length, hop)


def mu_law_encode(x: Tensor, channels: int = 256) -> Tensor:
    """Turn samples in [-1, 1] into codes that are finer for quiet sounds (the mu-law curve of ITU-T G.711).

    >>> mu_law_encode(torch.tensor([-1.0, 0.0, 1.0]))
    tensor([  0, 128, 255])

    Args:
        x: sound of any shape in [-1, 1]; anything beyond is clipped.
        channels: number of codes.

    Returns: int64 codes 0..channels - 1 in the shape of x.

    Raises:
        AudioError: if the sound is empty, not floating point, or holds NaN or infinite samples.

    van den Oord et al., "WaveNet" (2016), section 2.2. Chapter 1.
    """
    mu = whole("channels", channels, 2) - 1
    x = as_audio(x)
    require(bool(x.isfinite().all()), "mu_law_encode: the sound holds NaN or infinite samples, which have no code")
    x = x.clamp(-1, 1)
    y = torch.sign(x) * torch.log1p(mu * x.abs()) / math.log1p(mu)
    return ((y + 1) / 2 * mu + 0.5).to(torch.int64)


def mu_law_decode(codes: Tensor, channels: int = 256) -> Tensor:
    """Turn mu-law codes 0..channels - 1 back into samples in [-1, 1].

    >>> mu_law_decode(torch.tensor([0, 255]))
    tensor([-1.,  1.])

    Args:
        codes: whole numbers 0..channels - 1, of any shape.
        channels: number of codes.

    Returns: float32 samples in the shape of `codes`.

    Raises:
        AudioError: if codes are not whole numbers, or out of range.

    Chapter 1.
    """
    mu = whole("channels", channels, 2) - 1
    good = isinstance(codes, Tensor) and not codes.is_floating_point()
    require(good, "mu_law_decode needs whole-number codes (int64); for samples call mu_law_encode first")
    if codes.numel():
        low, high = int(codes.min()), int(codes.max())
        require(low >= 0 and high <= mu, f"mu-law codes must lie in 0..{mu}, found {low}..{high}")
    return _expand(codes.float() / mu * 2 - 1, mu)


def mu_law_edges(codes: Tensor, channels: int = 256) -> tuple[Tensor, Tensor]:
    """The interval [low, high) of values that `mu_law_encode` turns into each code; the outermost are unbounded.

    >>> mu_law_edges(torch.tensor([0, 255]))
    (tensor([  -inf, 0.9784]), tensor([-0.9784,     inf]))

    Args:
        codes: (...), from 0 to channels - 1; float64 codes give float64 edges.
        channels: number of codes.

    Returns: the lower and the upper edges, each (...).

    Chapter 5.
    """
    mu = whole("channels", channels, 2) - 1
    low, high = (_expand((codes + half) / mu * 2 - 1, mu) for half in (-0.5, 0.5))
    return low.masked_fill(codes == 0, -math.inf), high.masked_fill(codes == mu, math.inf)


def _expand(y: Tensor, mu: int) -> Tensor:
    """The inverse of the mu-law curve, on [-1, 1]."""
    return torch.sign(y) * torch.expm1(y.abs() * math.log1p(mu)) / mu


def resample(x: Tensor, orig_sr: int, target_sr: int) -> Tensor:
    """Change the sample rate with soxr's "high quality" filter, removing what the lower rate cannot represent.

    >>> resample(torch.zeros(2, 44_100), 44_100, 16_000).shape
    torch.Size([2, 16000])

    Args:
        x: sound (..., time); it is filtered on the CPU, without gradients.
        orig_sr: its sample rate in Hz, a whole number.
        target_sr: the new sample rate in Hz, a whole number.

    Returns: (..., ceil(time * target_sr / orig_sr)), on the device of `x`. The filter is flat up to 0.913 of the lower
    Nyquist frequency and suppresses aliases from beyond that frequency by 120 dB. NaN and infinite samples give NaN
    around them.

    Raises:
        AudioError: if the sound is empty or not floating point, or a rate is not a whole number above 0.

    Smith, "Digital audio resampling" (2002). Chapter 1.
    """
    down, up, x = whole("orig_sr", orig_sr), whole("target_sr", target_sr), as_audio(x)
    if up == down:
        return x
    n = -(-x.shape[-1] * up // down)
    y = soxr.resample(x.reshape(-1, x.shape[-1]).cpu().numpy().T, down, up)
    y = F.pad(torch.from_numpy(np.ascontiguousarray(y.T[:, :n])), (0, n - min(n, len(y))))
    return y.reshape(*x.shape[:-1], n).to(x.device)
