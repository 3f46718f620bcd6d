"""Samples: checks, frames, mu-law codes and resampling. Chapter 1."""

import math
from functools import lru_cache
from numbers import Real

import torch
import torch.nn.functional as F
from torch import Tensor

from musicai.threads import Workers

# The resampling filter, as for soxr's "high quality": flat up to 0.913 of the lower Nyquist frequency, and at
# least 85 dB down from that frequency on. Kaiser's formulas give beta from the attenuation.
ZERO_CROSSINGS = 64
CUTOFF = 0.9565
KAISER_BETA = 8.7
PHASES = 64  # output samples that a matrix product makes at once
BLOCK = 2**18  # numbers worked on at once on a CPU
BANK = 2**20  # weights in one matrix
CACHED_WEIGHTS = 2**23  # for a pair of rates; larger filter banks (odd pairs of rates) are made anew at each call


class AudioError(ValueError):
    """A sound, a file or a setting that cannot be used; the message names it, its value and the way out.

    >>> load("absent.wav")  # doctest: +SKIP
    AudioNotFoundError: absent.wav: no such file

    Chapter 1.
    """


class AudioNotFoundError(AudioError, FileNotFoundError):
    """There is no such file. Caught by `except AudioError` as well as by `except FileNotFoundError`.

    >>> load("absent.wav")  # doctest: +SKIP
    AudioNotFoundError: absent.wav: no such file

    Chapter 1.
    """

    __str__ = Exception.__str__


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


def whole(name: str, value, low: int = 1) -> int:
    """Check that a setting is a whole number of at least `low`."""
    number = isinstance(value, Real | Tensor) and not isinstance(value, bool)
    require(number and value == value and abs(value) < 2**53 and value == int(value),
            f"{name} must be a whole number, not {value!r}")  # fmt: skip
    require(value >= low, f"{name} must be at least {low}, not {value!r}")
    return int(value)


@lru_cache(maxsize=256)
def constant(build, *args, device=None, dtype=torch.float32) -> Tensor:
    """`build(*args)` made once in float64 on the CPU, then kept on `device` as `dtype`.

    Outside inference mode, so that a bank first used while sampling can serve training later.
    """
    with torch.inference_mode(False), torch.no_grad(), torch.device("cpu"):
        return build(*args).to(dtype).to(device)


def constant_for(x: Tensor, build, *args) -> Tensor:
    """The constant `build(*args)` on the device and in the precision of `x`."""
    return constant(build, *args, device=x.device, dtype=x.dtype)


def by_rows(transform, x: Tensor, size: int) -> Tensor:
    """`transform(x)` for x (batch, time), on a CPU a few rows at a time: what stays in the cache is twice as fast.

    `size` is how many numbers the transform makes of one row.
    """
    rows = max(1, BLOCK // size)
    if x.device.type != "cpu" or len(x) <= rows:
        return transform(x)
    if x.requires_grad and torch.is_grad_enabled():  # a graph grows in one thread
        return torch.cat([transform(block) for block in x.split(rows)])
    with Workers(x.device) as workers:
        return torch.cat(list(workers.map(transform, x.split(rows))))


def frame(x: Tensor, frame_length: int, hop_length: int) -> Tensor:
    """Cut a sound into overlapping frames, without copying it.

    >>> frame(torch.arange(6.0), frame_length=4, hop_length=2)
    tensor([[0., 1., 2., 3.],
            [2., 3., 4., 5.]])

    Args:
        x: sound (..., time).
        frame_length: samples in a frame.
        hop_length: samples from one frame to the next.

    Returns: a view (..., frames, frame_length); librosa.util.frame has the last two axes swapped.

    Raises:
        AudioError: the sound is shorter than one frame, or a setting is not a whole number above 0.

    Chapter 2.
    """
    length, hop = whole("frame_length", frame_length), whole("hop_length", hop_length)
    require(isinstance(x, Tensor) and x.ndim > 0, "frame needs a torch.Tensor of shape (..., time)")
    require(x.shape[-1] >= length, f"a sound of {x.shape[-1]} samples is shorter than one frame of {length}; pad it")
    return x.unfold(-1, length, hop)


def mu_law_encode(x: Tensor, channels: int = 256) -> Tensor:
    """Turn samples in [-1, 1] into codes that are finer for quiet sounds (the mu-law curve of ITU-T G.711).

    >>> mu_law_encode(torch.tensor([-1.0, 0.0, 1.0]))
    tensor([  0, 128, 255])

    Args:
        x: sound of any shape in [-1, 1]; what lies beyond is clipped.
        channels: number of codes.

    Returns: int64 codes 0..channels - 1 in the shape of x.

    Raises:
        AudioError: the sound is empty, not floating point, or holds NaN or infinite samples.

    van den Oord et al., "WaveNet" (2016), section 2.2. Chapter 1.
    """
    mu = whole("channels", channels, 2) - 1
    x = as_audio(x)
    finite = bool(x.isfinite().all())
    require(finite, "mu_law_encode: the sound holds NaN or infinite samples; a code has no way to say so")
    x = x.clamp(-1, 1)
    y = torch.sign(x) * torch.log1p(mu * x.abs()) / math.log1p(mu)
    return ((y + 1) / 2 * mu + 0.5).to(torch.int64)


def mu_law_decode(codes: Tensor, channels: int = 256, dtype: torch.dtype = torch.float32) -> Tensor:
    """Turn mu-law codes 0..channels - 1 back into samples in [-1, 1].

    >>> mu_law_decode(torch.tensor([0, 255]))
    tensor([-1.,  1.])

    Args:
        codes: whole numbers 0..channels - 1, of any shape.
        channels: number of codes.
        dtype: precision of the samples.

    Returns: samples in the shape of `codes`.

    Raises:
        AudioError: codes are not whole numbers, or out of range.

    Chapter 1.
    """
    mu = whole("channels", channels, 2) - 1
    require(isinstance(codes, Tensor) and not codes.is_floating_point() and codes.dtype != torch.bool,
            "mu_law_decode needs whole-number codes (int64); for samples call mu_law_encode first")  # fmt: skip
    if codes.numel():
        low, high = int(codes.min()), int(codes.max())
        require(low >= 0 and high <= mu, f"mu-law codes must lie in 0..{mu}, found {low}..{high}")
    y = codes.to(dtype) / mu * 2 - 1
    return torch.sign(y) * torch.expm1(y.abs() * math.log1p(mu)) / mu


def mu_law_edges(codes: Tensor, channels: int = 256) -> tuple[Tensor, Tensor]:
    """The interval [low, high) of values that `mu_law_encode` turns into each code; the outermost are unbounded.

    >>> mu_law_edges(torch.tensor([0, 255]))
    (tensor([  -inf, 0.9784]), tensor([-0.9784,     inf]))

    Args:
        codes: (...), from 0 to channels - 1; float64 codes give float64 edges.
        channels: how many codes there are.

    Returns: the lower and the upper edges, (...) each.

    Chapter 5.
    """
    mu = channels - 1
    low, high = (((codes + half) / mu * 2 - 1) for half in (-0.5, 0.5))
    low, high = (torch.sign(y) * torch.expm1(y.abs() * math.log1p(mu)) / mu for y in (low, high))
    return low.masked_fill(codes == 0, -math.inf), high.masked_fill(codes == mu, math.inf)


def resample(x: Tensor, orig_sr: int, target_sr: int) -> Tensor:
    """Change the sample rate, removing what the lower rate cannot hold (a windowed-sinc filter).

    >>> resample(torch.zeros(2, 44_100), 44_100, 16_000).shape
    torch.Size([2, 16000])

    Args:
        x: sound (..., time); differentiable.
        orig_sr: its sample rate in Hz, a whole number.
        target_sr: the sample rate wanted, in Hz.

    Returns: (..., ceil(time * target_sr / orig_sr)). The filter is flat to 0.913 of the lower Nyquist frequency and
    suppresses aliases from beyond that frequency by 85 dB. NaN and infinite samples give NaN around them.

    Raises:
        AudioError: the sound is empty or not floating point, or a rate is not a whole number above 0.

    Smith, "Digital audio resampling" (2002). Chapter 1.
    """
    down, up = whole("orig_sr", orig_sr), whole("target_sr", target_sr)
    x = as_audio(x)
    down, up = down // math.gcd(down, up), up // math.gcd(down, up)
    if up == down:
        return x
    n_out = -(-x.shape[-1] * up // down)
    flat = x.reshape(-1, x.shape[-1])
    return by_rows(lambda x: _polyphase(x, up, down, n_out), flat, 3 * x.shape[-1]).reshape(*x.shape[:-1], n_out)


def _polyphase(x: Tensor, up: int, down: int, n_out: int) -> Tensor:
    """Output q * up + p is a weighted sum of inputs around q * down + p * down / up.

    The weights depend on the phase p alone. Phases are taken in groups of neighbours, which read nearly the same
    inputs: one matrix product makes one group for all q.
    """
    repeat = -(-PHASES // up)  # a small period holds too few phases to fill a matrix product
    up, down = up * repeat, down * repeat
    half = _half_width(up, down)
    group = max(PHASES, PHASES * up // down)
    group = max(1, min(group, BANK // (2 * half)))  # huge ratios: a filter too long to hold for many phases
    periods = -(-n_out // up)
    last = (periods - 1) * down + (up - 1) * down // up + half + 1
    x = F.pad(x, (half, max(0, last - x.shape[-1])))
    out = []
    for p in range(0, min(up, n_out), group):
        weights = _weights(x, up, down, p, min(p + group, up, n_out))
        start = p * down // up + 1  # in the padded sound
        frames = x[:, start:].unfold(-1, weights.shape[0], down)[:, :periods]  # (batch, periods, span)
        out.append(matmul(frames, weights))
    return torch.cat(out, -1).flatten(1)[:, :n_out]


def matmul(a: Tensor, b: Tensor) -> Tensor:
    """a @ b in the precision of a, also under autocast: filters need more than half precision."""
    if not torch.amp.is_autocast_available(a.device.type):
        return a @ b
    with torch.autocast(a.device.type, enabled=False):
        return a @ b


def _half_width(up: int, down: int) -> int:
    """Input samples that the filter reaches to each side."""
    return math.ceil(ZERO_CROSSINGS * max(1.0, down / up))


def _weights(x: Tensor, up: int, down: int, p: int, stop: int) -> Tensor:
    size = up * (2 * _half_width(up, down) + (stop - p) * down // up)
    if size <= CACHED_WEIGHTS:
        return constant_for(x, _sinc_weights, up, down, p, stop)
    return constant.__wrapped__(_sinc_weights, up, down, p, stop, device=x.device, dtype=x.dtype)


def _sinc_weights(up: int, down: int, p: int, stop: int) -> Tensor:
    """Filter taps (span, stop - p) for the phases p..stop - 1, by exact whole-number times (in 1 / up samples)."""
    half, first = _half_width(up, down), p * down // up
    span = (stop - 1) * down // up - first + 2 * half
    taps = torch.arange(first - half + 1, first - half + 1 + span) * up
    t = (taps[:, None] - torch.arange(p, stop) * down).to(torch.float64) / up
    scale = min(1.0, up / down)
    inside = (t * scale / ZERO_CROSSINGS).clamp(-1, 1)
    beta = torch.tensor(KAISER_BETA, dtype=torch.float64)
    window = torch.special.i0(beta * torch.sqrt(1 - inside**2)) / torch.special.i0(beta)
    window = torch.where((t * scale).abs() >= ZERO_CROSSINGS, 0.0, window)
    return torch.sinc(t * CUTOFF * scale) * window * CUTOFF * scale
