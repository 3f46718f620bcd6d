"""Sampling from a WaveNet, and measuring its accuracy: `sample`, `stream`, `total_variation`. Chapter 5."""

import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm.auto import tqdm

from musicai.audio import mu_law_edges
from musicai.wavenet.generate.request import Request
from musicai.wavenet.generate.samplers import features
from musicai.wavenet.heads import log_mass
from musicai.wavenet.model import WaveNet


def sample(
    model: WaveNet, n: int, conditioning: Mapping | None = None, *, streams: int = 1,
    temperature: float = 1.0, top_p: float | None = None, seed: int = 0, uniforms: Tensor | np.ndarray | None = None,
    opening: Tensor | None = None, method: str = "auto", precision: str = "float32",
    block: int = 2048, record: str | Path | None = None, progress: bool = True,
) -> Tensor:  # fmt: skip
    """Draw n samples from a WaveNet: int64 codes or float32 values, (streams, n), on the CPU.

    >>> import torch
    >>> from musicai.wavenet import WaveNet
    >>> model = WaveNet(layers=4, stacks=2, residual_channels=8, global_classes=2)
    >>> sample(model, 100, {"instrument": 1}, streams=2, method="cached", progress=False).shape
    torch.Size([2, 100])

    All methods draw sample t of stream s with the same uniform numbers. In float32 they give the same codes, unless a
    number falls within about 1e-6 of the edge between two codes; values from a mixture agree to about 1e-5. (On a GPU,
    "naive" and "cached" need `torch.backends.cudnn.allow_tf32 = False` for that: TF32 has a 10-bit mantissa.) Ctrl-C
    issues a warning and returns the finished blocks.

    Args:
        model: a WaveNet, on any device.
        n: samples per stream.
        conditioning: {"local": tensor (local_channels, frames) or (streams, local_channels, frames), "instrument": a
            number, or one per stream}; frames as for `WaveNet.forward`, covering the opening and n samples.
        streams: how many to draw at once, each with its own numbers; stream s is the same however many there are.
        temperature: below 1 for more likely samples; 0 always takes the most likely one.
        top_p: draw only from the nucleus: the fewest codes (or components of a mixture) that together have at least
            this much probability.
        seed: the seed of the uniform numbers.
        uniforms: numbers to use instead, (streams, n), or (streams, n, 2) for mixtures, in [0, 1).
        opening: samples (length,) or (streams, length) to continue; they are not repeated in the result.
        method: "naive", the definition; "cached" (Paine et al. 2016), in PyTorch on the model's device; "cpu", compiled
            by numba, one stream per core (if the model is on another device, its weights are copied); "triton", on an
            NVIDIA GPU, all samples of a block in one launch (codes only, kernel_size 2, no top_p, compute capability
            8.0 or newer); or "auto", the fastest for this precision: "triton" for float16, otherwise "cpu". With
            precision="auto", it is "triton" for 8 streams or more if that is available, and otherwise "cpu".
        precision: "float32", the model itself; "int16" or "int8" weights, only with "cpu"; "float16", only with
            "triton"; or "auto", which is int16 with "cpu" and float16 with "triton": about equally exact, and faster
            than float32. On one core, int8 is about five to seven times as fast as float32, int16 three to four times.
            `total_variation` measures what that costs a model: at the reference shape with random weights, a mean of
            0.0001 (int16) and 0.004 (int8); for "wavenet-renderer" on held-out tunes, 0.001 and 0.01.
        block: samples per block. With local conditioning, "triton" needs 8 x layers x R x streams bytes for each.
        record: a file that grows with each block. If a run is killed, the same call continues from there and returns
            exactly what it would have returned; only the block in progress is lost.
        progress: whether to show a progress bar.

    Returns: samples (streams, n): int64 codes, or float32 values if the model predicts a mixture.

    Raises:
        TypeError: if the model is not a WaveNet, or the conditioning has a part with an unknown name.
        ValueError: if an argument or the conditioning is wrong, or the record belongs to another call.

    Chapter 5.
    """
    chosen = {"streams": streams, "temperature": temperature, "top_p": top_p, "seed": seed, "uniforms": uniforms}
    chosen |= {"opening": opening, "method": method, "precision": precision, "block": block, "record": record}
    parts, done = stream(model, n, conditioning, **chosen), []
    with tqdm(total=n, disable=not progress, unit="sample", unit_scale=True, delay=1) as bar:
        try:
            for part in parts:
                done.append(part)
                bar.update(part.shape[1])
        except KeyboardInterrupt:
            if not done:
                raise
    samples = torch.cat(done, dim=1)
    if samples.shape[1] < n:
        warnings.warn(f"stopped after {samples.shape[1]:,} of {n:,} samples; returning those", stacklevel=2)
    return samples


def stream(
    model: WaveNet, n: int, conditioning: Mapping | None = None, *, streams: int = 1,
    temperature: float = 1.0, top_p: float | None = None, seed: int = 0, uniforms: Tensor | np.ndarray | None = None,
    opening: Tensor | None = None, method: str = "auto", precision: str = "float32",
    block: int = 2048, record: str | Path | None = None,
) -> Iterator[Tensor]:  # fmt: skip
    """Draw n samples from a WaveNet, like `sample`, but yield each block as soon as it is ready.

    >>> from musicai.wavenet import WaveNet
    >>> model = WaveNet(layers=4, stacks=2, residual_channels=8)
    >>> [part.shape[1] for part in stream(model, 100, block=40, method="cached")]
    [40, 40, 20]

    Args:
        model: a WaveNet, on any device.
        n: samples per stream.
        conditioning: "local" and "instrument", as for `sample`.
        streams: how many to draw at once.
        temperature: below 1 for more likely samples.
        top_p: draw only from the fewest codes that together have at least this much probability.
        seed: the seed of the uniform numbers.
        uniforms: numbers to use instead, (streams, n), or (streams, n, 2) for mixtures.
        opening: samples (length,) or (streams, length) to continue.
        method: "auto", "naive", "cached", "cpu" or "triton", as for `sample`.
        precision: "float32", "int16", "int8", "float16" or "auto", as for `sample`.
        block: samples per block.
        record: a file that grows with each block, as for `sample`; what it already holds comes first, in one piece.

    Yields: samples (streams, block); the last block may be shorter.

    Raises:
        TypeError: if the model is not a WaveNet, or the conditioning has a part with an unknown name.
        ValueError: if an argument, the conditioning or the record is wrong; raised at once, not with the first block.

    Chapter 5.
    """
    asked = streams, temperature, top_p, seed, uniforms, opening, method, precision, block
    return Request(model, n, conditioning, *asked).blocks(record and Path(record))


@torch.inference_mode()
def total_variation(
    model: WaveNet, samples: Tensor, conditioning: Mapping | None = None, *, precision: str = "int8"
) -> Tensor:
    """Measure the total variation distance between each sample's distribution in the model and the compiled sampler.

    >>> model = WaveNet(layers=4, stacks=2, residual_channels=8)
    >>> total_variation(model, torch.randint(256, (1, 50)), precision="int16").mean() < 0.01
    tensor(True)

    It is half the sum of the absolute differences between all probabilities, so no event's probability differs by more
    than that. Both distributions are given the same past, so errors don't accumulate. For a mixture of Gaussians, the
    probabilities of the 256 mu-law codes are compared.

    Args:
        model: a WaveNet.
        samples: codes or values (streams, length); each is the past of those after it.
        conditioning: "local" and "instrument", as for `sample`.
        precision: "float32", "int16" or "int8".

    Returns: (streams, length), each between 0 and 1.

    Raises:
        ValueError: if `sample` would refuse an argument.

    Chapter 5.
    """
    from musicai.wavenet._fast.compiled import Compiled  # numba, which takes a second to import

    model._check_inputs(samples)
    streams, length = samples.shape
    request = Request(model, length, conditioning, streams, 1.0, None, 0, None, None, "cpu", precision, length)
    model, offset = request.model, request.conditioning.offset(0, length)
    samples = samples.cpu() - offset
    previous = model.previous(samples)
    compiled = Compiled(model, request.conditioning, request.draw, previous[:, 0], precision).answers(samples)
    truth = model.head.linear(features(model, previous, request.conditioning.block(0, length)))
    parts = truth, compiled, torch.zeros(samples.shape) + offset
    pieces = zip(*(part.split(100, dim=1) for part in parts), strict=True)  # 256 densities for each sample
    return torch.cat([(_codes(model, a, c) - _codes(model, b, c)).abs().sum(-1) / 2 for a, b, c in pieces], 1)


def _codes(model: WaveNet, raw: Tensor, offset: Tensor) -> Tensor:
    """The probability of each code, (..., classes), from the output of the head's linear layer."""
    if not model.config.mixtures:
        return raw.double().softmax(-1)
    edges = (edge - offset[..., None].double() for edge in mu_law_edges(torch.arange(256)))
    return log_mass(model.head.mixture(raw.double()[..., None, :]), *edges).exp()
