"""`sample` and `stream`: a request is checked, a sampler chosen, and blocks come as they are ready. Chapter 5."""

import hashlib
import itertools
import json
import math
import os
import warnings
from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm.auto import tqdm

from musicai.wavenet.generate.conditioning import Conditioning, as_numbers
from musicai.wavenet.generate.record import Record
from musicai.wavenet.generate.samplers import Cached, Draw, Naive, Sampler
from musicai.wavenet.generate.uniforms import Uniforms
from musicai.wavenet.model import WaveNet

PRECISIONS = {  # by method; the first is what precision="auto" stands for
    "naive": ("float32",),
    "cached": ("float32",),
    "cpu": ("int16", "float32", "int8"),
    "triton": ("float16",),
}
MANY = 16  # streams from which a GPU with Triton (225,000 samples/s at 16) beats a core (37,000 to 187,000 in int8)


def sample(
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
    record: str | Path | None = None,
    progress: bool = True,
) -> Tensor:
    """Draw n samples from a WaveNet: int64 codes or float32 values, (streams, n), on the CPU.

    >>> import torch
    >>> from musicai.wavenet import WaveNet
    >>> model = WaveNet(layers=4, stacks=2, residual_channels=8, global_classes=2)
    >>> sample(model, 100, {"instrument": 1}, streams=2, method="cached", progress=False).shape
    torch.Size([2, 100])

    All methods draw sample t of stream s with the same uniform numbers. In float32 they give the same codes, unless a
    number falls within about 1e-6 of the edge between two codes; values from a mixture agree to about 1e-5. (On a GPU,
    "naive" and "cached" need `torch.backends.cudnn.allow_tf32 = False` for that: TF32 has 10 bits after the point.)
    Ctrl-C warns, and returns the blocks that are finished.

    Args:
        model: a WaveNet, on any device.
        n: samples of each stream.
        conditioning: {"local": tensor (local_channels, frames) or (streams, local_channels, frames), "instrument": a
            number, or one for each stream}; frames as for `WaveNet.forward`, covering the opening and n samples.
        streams: how many to draw at once, each with its own numbers; stream s is the same however many there are.
        temperature: below 1, likelier samples are preferred; at 0 the likeliest is taken.
        top_p: keep the nucleus: the fewest codes (or components of the mixture) with this much probability together.
        seed: of the uniform numbers.
        uniforms: these numbers instead, (streams, n), or (streams, n, 2) for mixtures, in [0, 1).
        opening: samples (length,) or (streams, length) to continue; they are not repeated in the result.
        method: "naive", the definition; "cached" (Paine et al. 2016), in PyTorch on the model's device; "cpu", compiled
            by numba, one stream per core (the weights of a model on another device are copied); "triton", on an NVIDIA
            GPU, all samples of a block in one launch (for codes and kernel_size 2, compute capability 8.0 or newer);
            "auto", the fastest with this precision: "triton" if that is float16, otherwise "cpu". With
            precision="auto" it is "triton" for 16 streams or more where that is available, and otherwise "cpu".
        precision: "float32", the model itself; "int16" or "int8" weights, only with "cpu"; "float16", only with
            "triton"; or "auto", about as exact as float16 and faster than float32: int16 with "cpu", float16 with
            "triton". On one core int8 is up to seven times as fast as float32, int16 up to four times.
            `total_variation` measures the price for a model: at the reference shape with random weights 0.0001 (int16)
            and 0.003 (int8) in the mean over samples, for "wavenet-renderer" on held-out tunes 0.001 and 0.02.
        block: samples in a block.
        record: a file that grows by each block. After a run was killed, the same call goes on from there and gives
            what it would have given, to the bit; only the block that was being drawn is lost.
        progress: whether to show a progress bar.

    Returns: samples (streams, n): codes of int64, or values of float32 if the model predicts a mixture.

    Raises:
        TypeError: the model is no WaveNet.
        ValueError: an argument or the conditioning is wrong, or the record belongs to another call.
        ImportError: method "triton" without Triton.

    Chapter 5.
    """
    request = Request(
        model, n, conditioning, streams, temperature, top_p, seed, uniforms, opening, method, precision, block
    )
    kept = Record(record, request.identity(), request.nothing, request.finished) if record else None
    done, stopped = [kept.samples if kept else request.nothing], False
    with tqdm(total=n, initial=done[0].shape[1], disable=not progress, unit="sample", unit_scale=True, delay=1) as bar:
        try:
            for part in request.blocks(done[0]):
                if kept:
                    kept.append(part)
                done.append(part)
                bar.update(part.shape[1])
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
    """Draw n samples from a WaveNet, as `sample` does, but yield each block as soon as it is ready.

    >>> from musicai.wavenet import WaveNet
    >>> model = WaveNet(layers=4, stacks=2, residual_channels=8)
    >>> [part.shape[1] for part in stream(model, 100, block=40, method="cached")]
    [40, 40, 20]

    Args:
        model: a WaveNet, on any device.
        n: samples of each stream.
        conditioning: "local" and "instrument", as for `sample`.
        streams: how many to draw at once.
        temperature: below 1, likelier samples are preferred.
        top_p: keep the fewest codes with this much probability together.
        seed: of the uniform numbers.
        uniforms: these numbers instead, (streams, n), or (streams, n, 2) for mixtures.
        opening: samples (length,) or (streams, length) to continue.
        method: "auto", "naive", "cached", "cpu" or "triton", as for `sample`.
        precision: "float32", "int16", "int8", "float16" or "auto", as for `sample`.
        block: samples in a block.

    Yields: samples (streams, block), the last time perhaps fewer.

    Raises:
        TypeError: the model is no WaveNet.
        ValueError: an argument or the conditioning is wrong; this is raised at once, not with the first block.
        ImportError: method "triton" without Triton.

    Chapter 5.
    """
    request = Request(
        model, n, conditioning, streams, temperature, top_p, seed, uniforms, opening, method, precision, block
    )
    return request.blocks(request.nothing)


class Request:
    """One call of `sample` or `stream`, with their arguments: checked, the sampler chosen, its blocks in order."""

    def __init__(
        self, model, n, conditioning, streams, temperature, top_p, seed, uniforms, opening, method, precision, block
    ):
        if not isinstance(model, WaveNet):
            raise TypeError(f"model must be a musicai.wavenet.WaveNet; got {type(model).__name__}")
        for name, value in {"n": n, "streams": streams, "block": block}.items():
            if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
                raise ValueError(f"{name} must be a whole number, 1 or more; got {value!r}")
        _check_choice(temperature, top_p)
        for name, value in model.state_dict().items():
            if not torch.isfinite(value).all():
                raise ValueError(f"the model's {name} holds NaN or infinity")
        device = next(model.parameters()).device
        self.method, self.precision = chosen(model.config, device, streams, method, precision)
        self.model = deepcopy(model).cpu() if self.method == "cpu" and device.type != "cpu" else model
        self.n, self.block = n, block
        self.opening = checked_samples("opening", model, opening, streams)
        self.conditioning = Conditioning(self.model, conditioning, streams, self.opening.shape[1] + n)
        self.uniforms = Uniforms(seed, streams, n, model.head.uniforms, uniforms)
        self.draw = Draw(self.model, temperature, top_p)

    @property
    def nothing(self) -> Tensor:
        """No samples yet: (streams, 0), of the samples' type."""
        return self.opening[:, :0]

    def blocks(self, before: Tensor) -> Iterator[Tensor]:
        """The blocks after `before` (streams, t), which an earlier call has drawn."""
        first, known = before.shape[1], torch.cat([self.opening, before], dim=1)
        if first == self.n:
            return  # there is nothing to prepare for
        sampler, offset = self._primed(known), self.opening.shape[1]
        for start in range(first, self.n, self.block):
            uniforms = self.uniforms(start, min(start + self.block, self.n))
            yield _in_pieces(sampler, offset + start, uniforms).to(known)

    def finished(self, t: int) -> int:
        """How many of t samples belong to whole blocks."""
        return self.n if t >= self.n else t - t % self.block

    def _primed(self, known: Tensor) -> Sampler:
        """A sampler that has heard what is known; only a receptive field and a block of it matter.

        It hears the blocks in which that was drawn: cut elsewhere, the same sums are rounded otherwise, and values,
        unlike codes, show it.
        """
        length, field, offset = known.shape[1], self.model.receptive_field, self.opening.shape[1]
        edges = [*range(max(offset - field, 0), offset, self.block), *range(offset, length, self.block), length]
        parts = [(a, b) for a, b in itertools.pairwise(edges) if b > length - field]
        first = parts[0][0] if parts else 0
        silence, device = known.new_full((len(known),), self.model.silence), next(self.model.parameters()).device
        sampler = self._sampler((known[:, first - 1] if first else silence).to(device))
        for a, b in parts:
            _in_pieces(sampler, a, torch.zeros(len(known), b - a, self.uniforms.k), known[:, a:b].to(device))
        return sampler

    def _sampler(self, previous: Tensor) -> Sampler:
        parts = self.model, self.conditioning, self.draw, previous
        if self.method == "cpu":
            from musicai.wavenet._fast.compiled import Compiled  # numba, which takes a second to import

            return Compiled(*parts, self.precision)
        if self.method == "triton":
            from musicai.wavenet._fast.gpu import Fused  # triton, which need not be there

            return Fused(*parts)
        return {"naive": Naive, "cached": Cached}[self.method](*parts)

    def identity(self) -> dict[str, str | int | float | None]:
        """What two calls must have in common for one to go on where the other was stopped."""
        weights = [weight for _, weight in sorted(self.model.state_dict().items())]
        return {
            "model": _hash(json.dumps(asdict(self.model.config), sort_keys=True), *weights),
            "n": self.n,
            "streams": len(self.opening),
            "conditioning": _hash(self.conditioning.local, self.conditioning.instrument),
            "opening": _hash(self.opening),
            "uniforms": self.uniforms.seed if self.uniforms.given is None else _hash(self.uniforms.given),
            "temperature": self.draw.temperature,
            "top_p": self.draw.top_p,
            "precision": self.precision,
            "block": self.block,  # values are rounded otherwise if cut otherwise
        }


def chosen(config, device: torch.device, streams: int, method: str, precision: str) -> tuple[str, str]:
    """The method and the precision that "auto" stands for, or those that were asked for, if they go together."""
    precisions = sorted({"auto", *itertools.chain(*PRECISIONS.values())})
    for what, value, known in (("method", method, ["auto", *PRECISIONS]), ("precision", precision, precisions)):
        if value not in known:
            raise ValueError(f"no such {what}: {value!r}; there are {', '.join(known)}")
    if method == "auto":
        many = precision == "auto" and streams >= MANY and _without_triton(config, device) is None
        method = "triton" if many or precision == "float16" else "cpu"
    precision = PRECISIONS[method][0] if precision == "auto" else precision
    if precision not in PRECISIONS[method]:
        methods = " or ".join(repr(name) for name, these in PRECISIONS.items() if precision in these)
        raise ValueError(
            f"precision {precision!r} is only available with method={methods}; "
            f"method {method!r} has {' and '.join(map(repr, PRECISIONS[method]))}"
        )
    if method == "triton" and (problem := _without_triton(config, device)):
        raise problem
    return method, precision


def _without_triton(config, device: torch.device) -> Exception | None:
    """Why the Triton kernel cannot draw from this model, if it cannot."""
    if os.environ.get("TRITON_INTERPRET") != "1":  # Triton's own switch, for tests
        if device.type != "cuda":
            return ValueError(f"method 'triton' needs the model on a CUDA device, and it is on {device}")
        if (capability := torch.cuda.get_device_capability(device)) < (8, 0):
            return ValueError(f"method 'triton' needs compute capability 8.0, and this GPU has {capability}")
    if find_spec("triton") is None:
        return ImportError("method 'triton' needs Triton: pip install triton; or use method='cpu'")
    if config.mixtures:
        return ValueError("method 'triton' draws codes, and this model predicts mixtures; use method='cpu'")
    if config.kernel_size != 2:
        return ValueError(f"method 'triton' needs kernel_size 2, and this model has {config.kernel_size}; use 'cpu'")
    return None


def _in_pieces(sampler: Sampler, start: int, uniforms: Tensor, forced: Tensor | None = None) -> Tensor:
    """A block, as many samples at once as the sampler can take."""
    pieces = [slice(t, t + sampler.longest) for t in range(0, uniforms.shape[1], sampler.longest)]
    known = [None if forced is None else forced[:, piece] for piece in pieces]
    parts = [sampler.block(start + p.start, uniforms[:, p], k) for p, k in zip(pieces, known, strict=True)]
    return torch.cat(parts, dim=1)


def _check_choice(temperature: float, top_p: float | None) -> None:
    for name, value in {"temperature": temperature, "top_p": 1 if top_p is None else top_p}.items():
        if not isinstance(value, int | float | np.number):
            raise ValueError(f"{name} must be a number; got {value!r}")
    if not 0 <= temperature < math.inf:
        raise ValueError(f"temperature must be 0 or more, and finite; got {temperature}")
    if top_p is not None and not 0 < top_p <= 1:
        raise ValueError(f"top_p must lie in (0, 1]; got {top_p}")


def checked_samples(name: str, model: WaveNet, samples: Tensor | None, streams: int) -> Tensor:
    """The samples that a caller gave, (streams, length) on the CPU: int64 codes or float32 values."""
    codes, classes = not model.config.mixtures, model.config.classes
    dtype = torch.int64 if codes else torch.float32
    if samples is None:
        return torch.zeros(streams, 0, dtype=dtype)
    samples = as_numbers(name, samples).detach().cpu()
    if samples.ndim not in (1, 2) or (samples.ndim == 2 and len(samples) != streams):
        raise ValueError(f"{name} has shape {tuple(samples.shape)}; (length,) or ({streams}, length) is needed")
    if codes and (samples.is_floating_point() or not ((samples >= 0) & (samples < classes)).all()):
        raise ValueError(f"{name} must be codes, whole numbers from 0 to {classes - 1}")
    if not codes and not (samples.abs() <= 1).all():
        raise ValueError(f"{name} must be values between -1 and 1")
    return samples.to(dtype).expand(streams, -1).contiguous()


def _hash(*parts: str | Tensor | None) -> str:
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, Tensor):
            part = part.detach().cpu().clone(memory_format=torch.contiguous_format)  # expanded: stride 0
            digest.update((str(part.dtype) + str(tuple(part.shape))).encode())
            digest.update(part.view(torch.uint8).numpy().tobytes() if part.numel() else b"")
        else:
            digest.update(repr(part).encode())
    return digest.hexdigest()[:16]
