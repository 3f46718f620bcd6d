"""Training steps per second of the chapter's WaveGAN, compared with a plain loop: `python benchmarks/gan_step.py`.

All variants use the same two networks, loss, penalty and data, and take turns in one process. The table has medians,
the ratio to the plain float32 eager loop written out below, and the share of the device's peak: the operations of one
plain step (by torch's own formulas) per second, relative to the fastest matrix product of the same type on this device.
An H200 takes 7.4 plain steps per second at d=64, batch 64, and 13.0 in compiled bf16. A penalty at every fourth step of
the discriminator only (`every=4`, Karras et al. 2020) is another algorithm, and the last row. `benchmarks/fit.py`
measures what `fit` adds.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import softplus
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from musicai import gan
from musicai.scale import device
from musicai.train.run import autocast_dtype

DEVICE = device()
GAMES = {"wasserstein": (gan.wasserstein, gan.gradient_penalty), "non_saturating": (gan.non_saturating, gan.r1)}


class Plain:
    """The loop as you would first write it: float32, eager, Adam with its defaults."""

    def __init__(self, args: argparse.Namespace, fast: bool = False):
        torch.manual_seed(0)
        self.args, self.generator = args, gan.WaveGANGenerator(args.size).to(DEVICE)
        self.discriminator = gan.WaveGANDiscriminator(args.size).to(DEVICE)
        fused = {"fused": True} if fast else {}
        players = (self.generator, self.discriminator)
        self.g_optimizer, self.d_optimizer = (
            torch.optim.Adam(m.parameters(), 1e-4, (0.5, 0.9), **fused) for m in players
        )

    def step(self, real: Tensor) -> dict[str, Tensor]:
        for part in real.chunk(self.args.critics):
            fake = self.generator(self.generator.latent(len(part))).detach()
            real_logits, fake_logits = self.discriminator(part), self.discriminator(fake)
            loss = self.loss(real_logits, fake_logits) + 10 * self.penalty(part, fake)
            self.d_optimizer.zero_grad()
            loss.backward()
            self.d_optimizer.step()
        logits = self.discriminator(self.generator(self.generator.latent(len(part))))
        loss = -logits.mean() if self.args.game == "wasserstein" else softplus(-logits).mean()
        self.g_optimizer.zero_grad()
        loss.backward()
        self.g_optimizer.step()
        return {"generator": loss.detach()}

    def loss(self, real: Tensor, fake: Tensor) -> Tensor:
        if self.args.game == "wasserstein":
            return fake.mean() - real.mean()
        return softplus(-real).mean() + softplus(fake).mean()

    def penalty(self, real: Tensor, fake: Tensor) -> Tensor:
        if self.args.game == "wasserstein":
            e = torch.rand(len(real), 1, 1, device=DEVICE)
            x = (e * real + (1 - e) * fake).requires_grad_()
        else:
            x = real.detach().requires_grad_()
        (slope,) = torch.autograd.grad(self.discriminator(x).sum(), x, create_graph=True)
        norm = slope.flatten(1).norm(dim=1)
        return ((norm - 1) ** 2).mean() if self.args.game == "wasserstein" else (norm**2).mean() / 2


class Game(Plain):
    """The chapter's version: `musicai.gan.GAN`, fused Adam, and whatever else the device offers."""

    def __init__(self, args: argparse.Namespace, precision: str | None = None, compiled: bool = False, every: int = 1):
        super().__init__(args, fast=True)
        loss, penalty = GAMES[args.game]
        models, optimizers = (self.generator, self.discriminator), (self.g_optimizer, self.d_optimizer)
        options = {"loss": loss, "penalty": penalty, "weight": 10, "every": every, "n_critic": args.critics}
        self.game = gan.GAN(*models, *optimizers, **options)
        self.dtype = autocast_dtype(precision, DEVICE)
        for model in models if compiled else ():
            model.compile()

    def step(self, real: Tensor) -> dict[str, Tensor]:
        with torch.autocast(DEVICE.type, self.dtype, enabled=self.dtype is not None):
            return self.game.step(real)


def clock() -> float:
    """Seconds; on one CPU thread, only those in which it ran, so that other programs interfere little."""
    alone = DEVICE.type == "cpu" and torch.get_num_threads() == 1
    return time.thread_time() if alone else time.perf_counter()


def seconds(step: Callable[[Tensor], dict[str, Tensor]], real: Tensor) -> float:
    begin = clock()
    step(real)["generator"].item()  # waits for the device
    return clock() - begin


def peak(dtype: torch.dtype | None) -> float:
    """The most operations per second that a product of two large square matrices reaches."""
    n = 8192 if DEVICE.type == "cuda" else 1024
    a = torch.randn(n, n, device=DEVICE, dtype=dtype)

    def product() -> float:
        begin = clock()
        (a @ a)[0, 0].item()
        return clock() - begin

    return 2 * n**3 / min(product() for _ in range(20))


class Operations(TorchDispatchMode):
    """Counts multiplications and additions, in the second derivatives too."""

    total = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        if formula := flop_registry.get(func._overloadpacket):
            self.total += formula(*args, **(kwargs or {}), out_val=out)
        return out


def compare(args: argparse.Namespace, real: Tensor) -> None:
    """Measure a row for each way to train; they take turns."""
    ways = {"plain float32 eager": (Plain(args), None), "the game, fused Adam": (Game(args), None)}
    if DEVICE.type == "cuda":
        ways["... bf16"] = (Game(args, "bf16"), torch.bfloat16)
    if args.compile:
        fast = ("bf16", torch.bfloat16) if DEVICE.type == "cuda" else (None, None)
        ways["... compiled"] = (Game(args, fast[0], compiled=True), fast[1])
    precision = "bf16" if DEVICE.type == "cuda" else None
    ways["... penalty every 4"] = (Game(args, precision, every=4), autocast_dtype(precision, DEVICE))
    for way, _ in ways.values():
        for _ in range(3):
            seconds(way.step, real)  # the first steps compile, and choose algorithms
    times: dict[str, list[float]] = {name: [] for name in ways}
    begin = time.perf_counter()
    while time.perf_counter() - begin < args.seconds:
        for name, (way, _) in ways.items():
            times[name].append(seconds(way.step, real))
    with Operations() as counted:
        Plain(args).step(real)
    work, plain = counted.total, statistics.median(times["plain float32 eager"])
    peaks = {dtype: peak(dtype) for dtype in {dtype for _, dtype in ways.values()}}
    print(f"{work / 1e9:,.1f} GFLOP per step; peak " + ", ".join(f"{p / 1e9:,.0f} GFLOP/s" for p in peaks.values()))
    print(f"{'':<24} {'steps/s':>9} {'to plain':>9} {'of peak':>8}")
    for name, (_, dtype) in ways.items():
        each = statistics.median(times[name])
        print(f"{name:<24} {1 / each:>9.2f} {plain / each:>9.2f} {work / each / peaks[dtype]:>8.1%}", flush=True)


def main() -> None:
    cuda = DEVICE.type == "cuda"
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=64 if cuda else 8)
    parser.add_argument("--batch", type=int, default=64 if cuda else 16)
    parser.add_argument("--game", choices=GAMES, default="wasserstein" if cuda else "non_saturating")
    parser.add_argument("--critics", type=int, default=5 if cuda else 1)
    parser.add_argument("--seconds", type=float, default=30, help="how long to measure")
    parser.add_argument("--compile", action=argparse.BooleanOptionalAction, default=cuda)
    args = parser.parse_args()
    torch.backends.cudnn.benchmark = True
    name = torch.cuda.get_device_name() if cuda else f"CPU, {torch.get_num_threads()} threads"
    print(f"{name}; WaveGAN d={args.size}, batch {args.batch}, {args.game}, {args.critics} critic steps")
    real = torch.randn(args.batch * args.critics, 1, 16_384, device=DEVICE) / 4
    compare(args, real)


if __name__ == "__main__":
    main()
