"""Sampling from a WaveNet, and measuring its accuracy: `sample`, `stream`, `total_variation`.

A `Request` checks the arguments, chooses a sampler, draws the blocks and keeps a record. Chapter 5.
"""

import hashlib
import os
import warnings
from collections.abc import Iterator, Mapping
from copy import deepcopy
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save
from torch import Tensor
from tqdm.auto import tqdm

from musicai.audio import mu_law_edges
from musicai.notes.note import require
from musicai.wavenet.generate.samplers import Cached, Conditioning, Draw, Naive, Sampler, Uniforms, features
from musicai.wavenet.heads import log_mass
from musicai.wavenet.model import WaveNet, number


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


# ---- a request, checked


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
