"""`sample` and `stream`: a request is checked, a sampler chosen, and blocks come as they are ready. Chapter 5."""

import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm.auto import tqdm

from musicai.sampling.record import Record
from musicai.sampling.run import Run
from musicai.wavenet import WaveNet


def sample(
    model: WaveNet,
    n: int,
    conditioning: Mapping | None = None,
    *,
    record: str | Path | None = None,
    progress: bool = True,
    **how,
) -> Tensor:
    """Draw n samples from a WaveNet: codes int64, or values float32, (streams, n).

    >>> codes = sample(model, 16_000, {"instrument": 3}, streams=2, temperature=0.9)  # doctest: +SKIP
    >>> audio = mu_law_decode(codes)  # doctest: +SKIP

    Interrupted by the keyboard, it warns and returns the blocks that are finished.

    Args:
        model: a WaveNet, on any device.
        n: samples of each stream.
        conditioning: {"local": tensor (local_channels, frames) or (streams, local_channels, frames), "instrument": a
            number, or one for each stream}; frames as `WaveNet.forward` says, for opening and n together.
        record: a file that grows by each block. A run that was killed goes on from it when the same call is made
            again, and gives what it would have given, to the bit; only the block that was being drawn is lost.
        progress: whether to show a bar.
        how: streams, temperature, top_p, seed, uniforms, opening, method, precision, block; see `stream`. On a CPU,
            precision="int8" is the fastest: up to five times the default's speed, from weights of 8 bits.

    Raises:
        ValueError: naming what is wrong with an argument or the conditioning, or a record of another call.

    Chapter 5.
    """
    run = Run(model, n, conditioning, **how)
    kept = Record(record, run.identity(), run.nothing, run.finished) if record else None
    before = kept.samples if kept else run.nothing
    done, stopped = [before], False
    with tqdm(total=n, initial=before.shape[1], disable=not progress, unit="sample", unit_scale=True, delay=1) as bar:
        try:
            for block in run.blocks(before):
                if kept:
                    kept.append(block)
                done.append(block)
                bar.update(block.shape[1])
        except KeyboardInterrupt:
            stopped = True
    samples = torch.cat(done, dim=1)
    if stopped:
        warnings.warn(f"stopped after {samples.shape[1]:,} of {n:,} samples, which are returned", stacklevel=2)
    return samples


def stream(
    model: WaveNet,
    n: int,
    conditioning: Mapping | None = None,
    *,
    streams: int = 1,
    temperature: float = 1.0,
    top_p: float | None = None,
    seed: int = 0,
    uniforms: Tensor | np.ndarray | None = None,
    opening: Tensor | None = None,
    method: str = "auto",
    precision: str = "float32",
    block: int = 2048,
) -> Iterator[Tensor]:
    """Draw n samples from a WaveNet, as `sample` does, but give each block (streams, <= block) when it is ready.

    >>> for part in stream(model, 160_000, block=4096):  # doctest: +SKIP
    ...     play(mu_law_decode(part))

    All methods draw sample t of stream s with the same uniform numbers. In float32 they give the same codes, unless a
    number falls within about 1e-6 of the edge between two codes; values from a mixture agree to about 1e-5. On a GPU
    this asks for `torch.backends.cudnn.allow_tf32 = False`: cuDNN's convolutions else have 10 bits after the point.

    Args:
        model, n, conditioning: see `sample`.
        streams: how many to draw at once, each with its own numbers: stream s is the same however many there are.
        temperature: below 1, likelier samples are preferred; at 0 the likeliest is taken.
        top_p: keep the fewest codes (or components of the mixture) that have this much of the probability together.
        seed: of the uniform numbers. uniforms: these numbers instead, (streams, n), or (streams, n, 2) for mixtures.
        opening: samples (length,) or (streams, length) to continue; they are not repeated in what comes out.
        method: "naive", the definition; "cached" (Paine et al. 2016), any device; "cpu", compiled by numba, a stream a
            core; "cuda-graph", on an NVIDIA GPU (written without one at hand: tested step by step on a CPU, not yet
            measured); "triton", there too, all samples of a block in one launch (tested in Triton's interpreter, not
            yet measured on a GPU; for codes, kernel_size 2); "auto", the fastest that applies, not yet "triton".
        precision: "float32", or weights as "int16" or "int8", which read fewer bytes a sample; "cpu" alone has them,
            and "triton" alone has "float16".
            How far their distributions are from the model's own is the model's matter, and `total_variation` tells it:
            at the reference shape with random weights 0.0001 and 0.003 in the mean over steps, for "wavenet-renderer"
            on held-out tunes about 0.001 and 0.02.
        block: samples in a block.

    Raises:
        ValueError: naming what is wrong with an argument or the conditioning; at once, not with the first block.
        ImportError: for method "cpu", or a precision of it, without numba; for method "triton" without triton.

    Chapter 5.
    """
    run = Run(**locals())
    return run.blocks(run.nothing)
