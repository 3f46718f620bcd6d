"""One request for samples: its arguments checked, its sampler chosen, its blocks in order, its record. Chapter 5."""

import hashlib
import itertools
import json
import math
import os
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from musicai.wavenet.generate.inputs import Conditioning, Uniforms, as_numbers
from musicai.wavenet.generate.samplers import Cached, Draw, Naive, Sampler
from musicai.wavenet.model import WaveNet

PRECISIONS = {  # by method; the first is what precision="auto" stands for
    "naive": ("float32",),
    "cached": ("float32",),
    "cpu": ("int16", "float32", "int8"),
    "triton": ("float16",),
}
MANY = 16  # streams from which a GPU with Triton (225,000 samples/s at 16) beats a core (37,000 to 187,000 in int8)


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


class Record:
    """Samples in a file: a line of JSON that says whose they are, then the samples of each time in turn, 4 bytes each.

    Args:
        path: of the file, which is made if it is not there. identity: what a call must have in common with the one
            that began the file. like: an empty tensor (streams, 0) of the samples' type. finished: how many of t
            samples are those of whole blocks.

    `samples` (streams, t) are those that the file holds; a block that was written in part is dropped.

    Raises ValueError if the file is of another call, and says in what it differs, or if it is no record.
    """

    def __init__(self, path: str | Path, identity: dict, like: Tensor, finished: Callable[[int], int]):
        self.path, self.like = Path(path), like
        self.kind = np.dtype("<f4" if like.is_floating_point() else "<i4")
        head = json.dumps({"musicai.sampling": 1, **identity}).encode() + b"\n"
        if self.path.exists() and self.path.stat().st_size:
            self._check(head)
        else:
            self.path.write_bytes(head)
        self.samples = self._read(len(head), finished)

    def append(self, block: Tensor) -> None:
        """Add samples (streams, T)."""
        with self.path.open("ab") as file:
            file.write(block.T.numpy().astype(self.kind).tobytes())

    def _check(self, head: bytes) -> None:
        with self.path.open("rb") as file:
            found = file.readline(len(head) + 10_000)
        try:
            theirs, ours = json.loads(found), json.loads(head)
            known = theirs.get("musicai.sampling") == ours["musicai.sampling"]
        except (ValueError, AttributeError):
            known = False
        if not known:
            raise ValueError(f"{self.path} is no record of samples; name another file")
        other = [name for name in ours if theirs.get(name) != ours[name]]
        if other:
            raise ValueError(
                f"{self.path} was begun by a call with another {', '.join(other)}; delete it, or name another file"
            )

    def _read(self, start: int, finished: Callable[[int], int]) -> Tensor:
        streams = len(self.like)
        width = streams * self.kind.itemsize
        whole = finished((self.path.stat().st_size - start) // width)
        with self.path.open("r+b") as file:
            file.truncate(start + whole * width)
            file.seek(start)
            numbers = np.frombuffer(file.read(), self.kind).reshape(whole, streams)
        return torch.from_numpy(numbers.T.copy()).to(self.like.dtype)
