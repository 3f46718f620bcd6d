"""One request for samples: checks its arguments, chooses a sampler, draws the blocks, keeps a record. Chapter 5."""

import hashlib
import os
from collections.abc import Iterator
from copy import deepcopy
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save
from torch import Tensor

from musicai.notes.note import require
from musicai.wavenet.generate.samplers import Cached, Conditioning, Draw, Naive, Sampler, Uniforms
from musicai.wavenet.model import WaveNet, number

# By method; the first is what precision="auto" stands for.
PRECISIONS = {"naive": ["float32"], "cached": ["float32"], "cpu": ["int16", "float32", "int8"], "triton": ["float16"]}
MANY = 8  # streams from which a GPU with Triton (44,000 samples/s for each of up to 16) beats 6 cores (56,000 in int16)


class Request:
    """One call of `sample` or `stream`: checks its arguments, chooses the sampler and draws the blocks in order."""

    def __init__(
        self, model, n, conditioning, streams, temperature, top_p, seed, uniforms, opening, method, precision, block
    ):
        if not isinstance(model, WaveNet):
            raise TypeError(f"model must be a musicai.wavenet.WaveNet; got {type(model).__name__}")
        self.n, self.block = number("n", n, 1, whole=True), number("block", block, 1, whole=True)
        streams, seed = number("streams", streams, 1, whole=True), number("seed", seed, 0, whole=True)
        temperature = number("temperature", temperature, 0)
        require(top_p is None or 0 < top_p <= 1, f"top_p must be above 0 and at most 1; got {top_p}")
        for name, value in model.state_dict().items():
            require(torch.isfinite(value).all(), f"the model's {name} contains NaN or infinity")
        device = next(model.parameters()).device
        self.method, self.precision = choose_method(model.config, device, streams, top_p, method, precision)
        self.model = deepcopy(model).cpu() if self.method == "cpu" and device.type != "cpu" else model
        self.opening, given = _opening(model, streams, opening), {} if conditioning is None else conditioning
        self.conditioning = Conditioning(self.model, streams, self.opening.shape[1] + self.n, **given)
        self.opening = self.opening - self.conditioning.offset(0, self.opening.shape[1])
        self.uniforms = Uniforms(seed, streams, self.n, model.head.uniforms, uniforms)
        self.draw = Draw(self.model, temperature, top_p)
        self.kind = "<f4" if model.config.mixtures else "<i4"  # of the samples in a record

    def blocks(self, record: Path | None = None) -> Iterator[Tensor]:
        """Yield the blocks, adding each to the record if there is one; what the record already holds comes first."""
        return self._whole(self._drawn(self.opening[:, :0] if record is None else self._recorded(record), record))

    def _whole(self, parts: Iterator[Tensor]) -> Iterator[Tensor]:
        """Add what the network doesn't draw; a record holds only what it draws, so a rerun is the same to the bit."""
        at = self.opening.shape[1]
        for part in parts:
            pieces = []  # the blocks in which a record was drawn: cut elsewhere, an offset would be rounded differently
            for piece in part.split(self.block, 1):
                pieces.append(piece + self.conditioning.offset(at, at := at + piece.shape[1]))
            yield torch.cat(pieces, 1)

    def _drawn(self, before: Tensor, record: Path | None) -> Iterator[Tensor]:
        """Yield the samples before, then draw the others.

        The sampler first hears the known samples again, as far back as its receptive field reaches, in the same blocks
        in which they were drawn. Cut elsewhere, the same sums would be rounded differently: codes forgive that, but
        values don't.
        """
        if before.shape[1]:
            yield before
        if before.shape[1] == self.n:
            return  # nothing is left to draw
        known, field, offset = torch.cat([self.opening, before], 1), self.model.receptive_field, self.opening.shape[1]
        end, length = offset + self.n, known.shape[1]
        edges = [*range(max(offset - field, 0), offset, self.block), *range(offset, end, self.block), end]
        blocks = [(a, b) for a, b in pairwise(edges) if b > length - field]
        sampler, device = self._sampler(known[:, : blocks[0][0]]), next(self.model.parameters()).device
        for a, b in blocks:
            if a < length:
                sampler.block(a, torch.zeros(len(known), b - a, self.uniforms.k), known[:, a:b].to(device))
                continue
            samples = sampler.block(a, self.uniforms(a - offset, b - offset))
            if b < end:
                self.uniforms(b - offset, b - offset + 1)  # draws the next chunk of them while a GPU is at work
            samples = samples.to(known)
            if record is not None:
                with record.open("ab") as file:
                    file.write(samples.T.numpy().astype(self.kind).tobytes())
            yield samples

    def _sampler(self, before: Tensor) -> Sampler:
        """A sampler that begins after the samples (streams, t) before."""
        previous = before[:, -1] if before.shape[1] else before.new_full((len(before),), self.model.silence)
        parts = self.model, self.conditioning, self.draw, previous.to(next(self.model.parameters()).device)
        if self.method == "cpu":
            from musicai.wavenet._fast.compiled import Compiled  # numba, which takes a second to import

            return Compiled(*parts, self.precision)
        if self.method == "triton":
            from musicai.wavenet._fast.gpu import Fused  # triton, which may be missing

            return Fused(*parts)
        return {"naive": Naive, "cached": Cached}[self.method](*parts)

    def _recorded(self, path: Path) -> Tensor:
        """Read the samples (streams, t) in a record; a partly written block is cut off.

        A record is a line that says which call it belongs to, then the samples at each time in turn, 4 bytes each.
        """
        head, streams = self._identity(), len(self.opening)
        if not path.exists() or not path.stat().st_size:
            path.write_bytes(head)
        data = path.read_bytes()
        if not data.startswith(head):
            differs = "the model, n, the seed or another argument differs, or it is another kind of file"
            raise ValueError(f"{path} is not a record of this call: {differs}; delete it, or name another file")
        times = (len(data) - len(head)) // (4 * streams)
        times = self.n if times >= self.n else times - times % self.block
        os.truncate(path, len(head) + 4 * streams * times)
        samples = np.frombuffer(data, self.kind, streams * times, len(head)).reshape(times, streams)
        return torch.from_numpy(samples.T.copy()).to(self.opening.dtype)

    def _identity(self) -> bytes:
        """A line that two calls share if one can continue where the other stopped."""
        heard = {"local": self.conditioning.local, "instrument": self.conditioning.instrument, "opening": self.opening}
        given = self.model.state_dict() | heard | {"uniforms": self.uniforms.given}
        tensors = {name: value.cpu().contiguous() for name, value in given.items() if value is not None}
        call = self.model.config, self.n, self.uniforms.seed, self.draw.temperature, self.draw.top_p
        call += self.method, self.precision, self.block  # cut otherwise, values are rounded differently
        return f"musicai samples {hashlib.sha256(save(tensors, {'call': repr(call)})).hexdigest()}\n".encode()


def choose_method(config, device: torch.device, streams: int, top_p, method: str, precision: str) -> tuple[str, str]:
    """The method and precision that "auto" stands for, or the ones asked for, if they go together."""
    problem = _without_triton(config, device, top_p)
    if method == "auto":
        many = precision == "auto" and streams >= MANY and problem is None
        method = "triton" if many or precision == "float16" else "cpu"
    precisions = PRECISIONS.get(method, ())
    precision = precisions[0] if precisions and precision == "auto" else precision
    known = "; ".join(f"{name!r} has {', '.join(these)}" for name, these in PRECISIONS.items())
    require(precision in precisions, f"there is no method {method!r} with precision {precision!r}: {known}")
    require(method != "triton" or not problem, f"method 'triton' needs {problem}; use method='cpu'")
    return method, precision


def _without_triton(config, device: torch.device, top_p: float | None) -> str | None:
    """What the Triton kernel still needs to serve this request, if anything."""
    gpu = device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0)
    if not gpu and os.environ.get("TRITON_INTERPRET") != "1":  # Triton's own switch, for tests
        return f"the model on a CUDA device of compute capability 8.0 or newer, and it is on {device}"
    if find_spec("triton") is None:
        return "Triton: pip install triton"
    if config.mixtures or config.kernel_size != 2:
        return "a model of codes with kernel_size 2"
    return None if top_p is None else "top_p=None"


def _opening(model: WaveNet, streams: int, opening: Tensor | None) -> Tensor:
    """The opening (streams, length) on the CPU: int64 codes or float32 values."""
    dtype = torch.float32 if model.config.mixtures else torch.int64
    opening = torch.zeros(streams, 0, dtype=dtype) if opening is None else torch.as_tensor(opening).cpu()
    if opening.ndim == 2 and len(opening) != streams:
        raise ValueError(f"opening must be (length,) or ({streams}, length); got shape {tuple(opening.shape)}")
    opening = opening.expand(streams, -1)
    model._check_inputs(opening)
    return opening.to(dtype)
