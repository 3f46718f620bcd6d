"""Sampling on a GPU as CUDA graphs: the cached network without launches between its operators. Chapter 5."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.nn import functional as F

from musicai.sampling.conditioning import Conditioning
from musicai.sampling.naive import Draw
from musicai.wavenet import ResidualBlock, WaveNet

UNROLLED = 16  # samples in one graph: each replay costs the CPU some microseconds
HELD = 2**24  # numbers of conditioning that are held at once


class Graphed:
    """As `Cached`, for all streams at once, but recorded once as a CUDA graph of several samples and then replayed.

    A graph always reads and writes the same places, so time is a number on the GPU too, and all indices follow it.
    Without CUDA the same steps run one by one, which is slow and serves the tests.
    """

    def __init__(self, model: WaveNet, conditioning: Conditioning, draw: Draw, previous: Tensor):
        self.model, self.conditioning, self.draw, self.previous = model, conditioning, draw, previous.clone()
        self.layers = [_Layer(block, len(previous)) for block in model.stack.blocks]
        wide, device = 2 * model.config.residual_channels * len(self.layers), previous.device
        self.room = max(HELD // (wide * len(previous)) // UNROLLED, 1) * UNROLLED  # samples of one part
        self.time = torch.zeros(1, dtype=torch.int64, device=device)  # since the beginning
        self.place = torch.zeros(1, dtype=torch.int64, device=device)  # in the part
        changing = conditioning.local is not None
        self.given = torch.zeros(self.room if changing else 1, len(previous), wide, device=device)
        self.uniforms = torch.zeros(self.room, len(previous), model.head.uniforms, device=device, dtype=torch.float64)
        self.samples = torch.zeros(self.room, len(previous), device=device, dtype=previous.dtype)
        self.graphs: dict[bool, torch.cuda.CUDAGraph | None] = {}

    @torch.no_grad()
    def block(self, start: int, uniforms: Tensor, forced: Tensor | None = None) -> Tensor:
        """Samples [start, start + T) for uniforms (streams, T, k): (streams, T). Known ones can be forced."""
        parts = []
        with torch.cuda.device_of(self.previous):  # which need not be the current one; on a CPU this does nothing
            for t in range(0, uniforms.shape[1], self.room):
                near = slice(t, t + self.room)
                parts.append(self._part(start + t, uniforms[:, near], None if forced is None else forced[:, near]))
        return torch.cat(parts, dim=1)

    def _part(self, start: int, uniforms: Tensor, forced: Tensor | None) -> Tensor:
        length = uniforms.shape[1]
        self.uniforms[:length] = uniforms.transpose(0, 1).to(self.uniforms)
        if forced is not None:
            self.samples[:length] = forced.T.to(self.samples)
        steps = length if len(self.given) > 1 else 1
        h = self.conditioning.block(start, start + steps)
        self.given[:steps] = torch.cat([layer.conditions(h, steps) for layer in self.layers], dim=-1)
        self.place.zero_()
        graph = self._graph(forced is not None) if self.previous.is_cuda and length >= UNROLLED else None
        whole = length // UNROLLED if graph else 0
        for _ in range(whole):
            graph.replay()
        for _ in range(length - whole * UNROLLED):
            self.step(forced is not None)
        return self.samples[:length].T.clone()

    def _graph(self, forced: bool) -> "torch.cuda.CUDAGraph | None":
        """The graph of UNROLLED steps, or None where it could not be recorded: then steps are taken one by one."""
        if forced not in self.graphs:
            try:
                self.graphs[forced] = self._recorded(forced)
            except RuntimeError as error:
                warnings.warn(f"no CUDA graph ({error}); sampling without", stacklevel=2)
                self.graphs[forced] = None
        return self.graphs[forced]

    def _recorded(self, forced: bool) -> torch.cuda.CUDAGraph:
        graph, side = torch.cuda.CUDAGraph(), torch.cuda.Stream()
        with self.unchanged():
            side.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(side):  # lets libraries set themselves up outside the recording
                self.step(forced)
            torch.cuda.current_stream().wait_stream(side)
            with torch.cuda.graph(graph):
                for _ in range(UNROLLED):
                    self.step(forced)
        return graph

    @contextmanager
    def unchanged(self) -> Iterator[None]:
        """After the block, and where it fails, time and samples, and what the layers remember, are as before it."""
        state = [self.previous, self.time, self.place, self.samples, *(layer.ring for layer in self.layers)]
        kept = [tensor.clone() for tensor in state]
        try:
            yield
        finally:
            for tensor, before in zip(state, kept, strict=True):
                tensor.copy_(before)

    def step(self, forced: bool) -> None:
        """One sample for all streams, all of it on the device."""
        model, skips = self.model, 0.0
        given = self.given.index_select(0, self.place % len(self.given))[0]  # (streams, layers x 2 R)
        x = self.previous
        x = model.input(x[:, None, None])[..., 0] if model.config.mixtures else model.input(x)  # (streams, R)
        for layer, condition in zip(self.layers, given.chunk(len(self.layers), dim=-1), strict=True):
            x, skip = layer.step(x, self.time, condition)
            skips = skips + skip
        features = F.relu(F.linear(F.relu(skips), model.output.weight[..., 0], model.output.bias))
        if not forced:
            drawn = self.draw(features, self.uniforms.index_select(0, self.place)[0])
            self.samples.index_copy_(0, self.place, drawn.to(self.samples.dtype)[None])
        self.previous.copy_(self.samples.index_select(0, self.place)[0])
        self.time.add_(1)
        self.place.add_(1)


class _Layer:
    """A ResidualBlock and its ring of past inputs, of which time, a number on the device, picks the rows."""

    def __init__(self, block: ResidualBlock, streams: int):
        self.block, self.channels = block, block.conv.in_channels
        weight, taps = block.conv.weight, block.conv.kernel_size[0]
        self.weight = weight.detach().permute(2, 1, 0).reshape(-1, weight.shape[0]).contiguous()  # (taps x R, 2 R)
        self.back = torch.arange(taps - 1, device=weight.device) * block.conv.dilation[0]
        self.ring = torch.zeros((taps - 1) * block.conv.dilation[0], streams, self.channels).to(weight)
        both = [block.skip] if block.residual is None else [block.skip, block.residual]
        self.out = torch.cat([layer.weight.detach()[..., 0] for layer in both]).T.contiguous()
        self.bias = torch.cat([layer.bias.detach() for layer in both])

    def conditions(self, h: Tensor | None, length: int) -> Tensor:
        """Conditioning and bias at each sample: (length, streams or 1, 2 R)."""
        bias = self.block.conv.bias
        if h is None:
            return bias.expand(length, 1, -1)
        return F.linear(h.permute(2, 0, 1), self.block.condition.weight[..., 0], bias)

    def step(self, x: Tensor, time: Tensor, condition: Tensor) -> tuple[Tensor, Tensor]:
        inputs = x
        if rows := len(self.ring):
            past = self.ring.index_select(0, (time + self.back) % rows)  # (taps - 1, streams, R), the oldest first
            inputs = torch.cat([*past, x], dim=-1)
            self.ring.index_copy_(0, time % rows, x[None])
        filtered, gate = (condition + inputs @ self.weight).chunk(2, dim=-1)
        both = torch.addmm(self.bias, torch.tanh(filtered) * torch.sigmoid(gate), self.out)
        if self.block.residual is None:
            return x, both
        return x + both[:, -self.channels :], both[:, : -self.channels]
