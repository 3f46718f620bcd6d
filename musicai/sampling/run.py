"""One request for samples: its arguments checked, its sampler chosen, its blocks in order."""

import hashlib
import itertools
import json
import math
import os
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from importlib.util import find_spec

import numpy as np
import torch
from torch import Tensor

from musicai.sampling.cached import Cached
from musicai.sampling.conditioning import Conditioning, as_numbers
from musicai.sampling.graph import Graphed
from musicai.sampling.naive import Draw, Naive
from musicai.sampling.uniforms import Uniforms
from musicai.wavenet import WaveNet

METHODS = ("auto", "naive", "cached", "cpu", "cuda-graph", "triton")
PRECISIONS = ("float32", "int16", "int8", "float16")
KNOWN = {"cpu": PRECISIONS[:3], "triton": ("float32", "float16")}  # other methods know float32 only


class Run:
    """The arguments are those of `musicai.sampling.stream`, which documents them."""

    def __init__(
        self,
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
    ):
        if not isinstance(model, WaveNet):
            raise TypeError(f"model must be a musicai.wavenet.WaveNet; got {type(model).__name__}")
        for name, value in {"n": n, "streams": streams, "block": block}.items():
            _check_count(name, value)
        _check_choice(temperature, top_p)
        _check_weights(model)
        self.model, self.n, self.block = model, n, block
        self.method = _chosen(next(model.parameters()).device, method, precision)
        self.precision = precision
        if self.method == "triton":
            from musicai.sampling.fused import check

            check(model)
        self.opening = checked_samples("opening", model, opening, streams)
        self.conditioning = Conditioning(model, conditioning, streams, self.opening.shape[1] + n)
        self.uniforms = Uniforms(seed, streams, n, model.head.uniforms, uniforms)
        self.draw = Draw(model, temperature, top_p)

    @property
    def nothing(self) -> Tensor:
        """No samples yet: (streams, 0), of the samples' type."""
        return self.opening[:, :0]

    def blocks(self, before: Tensor) -> Iterator[Tensor]:
        """The blocks after `before` (streams, t), which an earlier run has drawn."""
        first, known = before.shape[1], torch.cat([self.opening, before], dim=1)
        if first == self.n:
            return  # there is nothing to prepare for
        sampler, offset = self._primed(known), self.opening.shape[1]
        for start in range(first, self.n, self.block):
            stop = min(start + self.block, self.n)
            yield sampler.block(offset + start, self.uniforms(start, stop)).to(known)

    def finished(self, t: int) -> int:
        """How many of t samples are those of whole blocks."""
        return self.n if t >= self.n else t - t % self.block

    def _primed(self, known: Tensor) -> "Naive | Cached":
        """A sampler that has heard what is known: of that, no more than a receptive field and a block matters.

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
            sampler.block(a, torch.zeros(len(known), b - a, self.uniforms.k), known[:, a:b].to(device))
        return sampler

    def _sampler(self, previous: Tensor) -> "Naive | Cached":
        parts = self.model, self.conditioning, self.draw, previous
        if self.method == "cpu":
            from musicai.sampling.cpu import Compiled  # numba

            return Compiled(*parts, self.precision)
        if self.method == "triton":
            from musicai.sampling.fused import Fused  # triton

            return Fused(*parts, self.precision)
        return {"naive": Naive, "cached": Cached, "cuda-graph": Graphed}[self.method](*parts)

    def identity(self) -> dict[str, str | int | float | None]:
        """What two calls must have in common for one to go on where the other was stopped."""
        weights = [model_part for name, model_part in sorted(self.model.state_dict().items())]
        given = [self.conditioning.local, self.conditioning.instrument]
        return {
            "model": _hash(json.dumps(asdict(self.model.config), sort_keys=True), *weights),
            "n": self.n,
            "streams": len(self.opening),
            "conditioning": _hash(*given),
            "opening": _hash(self.opening),
            "uniforms": self.uniforms.seed if self.uniforms.given is None else _hash(self.uniforms.given),
            "temperature": self.draw.temperature,
            "top_p": self.draw.top_p,
            "precision": self.precision,
            "block": self.block,  # values are rounded otherwise if cut otherwise
        }


def _chosen(device: torch.device, method: str, precision: str) -> str:
    """The method that "auto" stands for, or the one that was asked for, if it can be had with this precision."""
    for what, value, known in (("method", method, METHODS), ("precision", precision, PRECISIONS)):
        if value not in known:
            raise ValueError(f"no such {what}: {value!r}; there are {', '.join(known)}")
    if method == "auto":
        if precision not in ("float32", *KNOWN["cpu"]):
            raise ValueError(f"precision {precision!r} is had by name only: method='triton'")
        return _compiled(device, f"precision {precision!r}") if precision != "float32" else _fastest(device)
    if precision not in (known := KNOWN.get(method, ("float32",))):
        others = "; ".join(f"{name!r} knows {', '.join(these)}" for name, these in KNOWN.items() if name != method)
        raise ValueError(f"method {method!r} knows precision {' and '.join(map(repr, known))} only; {others}")
    if method == "cpu":
        return _compiled(device, "method 'cpu'")
    if method == "triton":
        return _by_triton(device)
    if method == "cuda-graph" and device.type != "cuda":
        raise ValueError(f"method 'cuda-graph' needs the model on a CUDA device, and it is on {device}")
    return method


def _fastest(device: torch.device) -> str:
    compiler = find_spec("numba") is not None
    if device.type == "cpu" and not compiler:
        warnings.warn("numba is missing, so samples are drawn slowly: pip install numba", stacklevel=5)
    return {"cpu": "cpu" if compiler else "cached", "cuda": "cuda-graph"}.get(device.type, "cached")


def _compiled(device: torch.device, asked: str) -> str:
    """The method "cpu", the only method that has reduced precisions, or an error that names what was asked for."""
    if device.type != "cpu":
        raise ValueError(f"{asked} needs the model on the CPU, and it is on {device}: model.cpu()")
    if find_spec("numba") is None:
        raise ImportError(f"{asked} needs numba: pip install numba; or method='cached', in float32")
    return "cpu"


def _by_triton(device: torch.device) -> str:
    if device.type != "cuda" and os.environ.get("TRITON_INTERPRET") != "1":  # which is Triton's own switch, for tests
        raise ValueError(f"method 'triton' needs the model on a CUDA device, and it is on {device}")
    if find_spec("triton") is None:
        raise ImportError("method 'triton' needs triton: pip install triton; or method='cuda-graph'")
    return "triton"


def _check_count(name: str, value: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
        raise ValueError(f"{name} must be a whole number, 1 or more; got {value!r}")


def _check_choice(temperature: float, top_p: float | None) -> None:
    for name, value in {"temperature": temperature, "top_p": 1 if top_p is None else top_p}.items():
        if not isinstance(value, int | float | np.number):
            raise ValueError(f"{name} must be a number; got {value!r}")
    if not 0 <= temperature < math.inf:
        raise ValueError(f"temperature must be 0 or more, and finite; got {temperature}")
    if top_p is not None and not 0 < top_p <= 1:
        raise ValueError(f"top_p must lie in (0, 1]; got {top_p}")


def _check_weights(model: WaveNet) -> None:
    for name, value in model.state_dict().items():
        if not torch.isfinite(value).all():
            raise ValueError(f"the model's {name} holds NaN or infinity")


def checked_samples(name: str, model: WaveNet, samples: Tensor | None, streams: int) -> Tensor:
    """(streams, length) on the CPU: int64 codes or float32 values."""
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
