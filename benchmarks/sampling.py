"""Samples per second from a WaveNet: the samplers of musicai.wavenet against each other and the floor, in one run.

    python benchmarks/sampling.py [--quick] [--repeat 5] [--checkpoint NAME]

Rounds of all samplers are interleaved. The table shows the median rate, the median of each round's ratio to "cached"
(pure PyTorch, Paine et al. 2016), and the share of the floor: for one stream on one core, then for one on every core.

The floor: a sample must be multiplied by every weight once, so it takes at least as long as reading the weights' bytes
from wherever they fit (cache or memory; those of long past taps once per four samples) or as multiplying, whichever is
slower. Both rates are measured in the same run: reading, by a sum over an array with as many bytes as the weights;
multiplying, by the sampler's own product with weights in the nearest cache. Conditioning that changes with time costs a
product too, which is included; the partials of a score are not. "TV" is the mean total variation distance between the
sampler's distributions and the model's.

To imitate a processor that only has AVX2, put NUMBA_CPU_NAME=haswell NUMBA_CPU_FEATURES=+avx2,+fma before the command.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from numba import njit

from musicai.notes import Melody
from musicai.wavenet import ScoreWaveNet, WaveNet, stream, total_variation
from musicai.wavenet._fast.compiled import OPTIONS
from musicai.wavenet._fast.vectors import ARITHMETIC, COLUMNS, HAS_BYTES, HAS_DOT, matvec, pack
from musicai.wavenet._fast.weights import aligned

BYTES = {"float32": 4, "int16": 2, "int8": 1}
RENDERING = {"layers": 20, "residual_channels": 32, "skip_channels": 64, "end_channels": 128, "global_channels": 8}
TUNE = Melody.from_pitches([60, 62, 64, 65, 67, 69, 71, 72] * 2, 0.5).to_score()  # four seconds


@njit(**OPTIONS | {"fastmath": True})
def read(array, times):
    total = np.float32(0)
    for _ in range(times):
        for i in range(len(array)):
            total += array[i]
    return total


@njit(**OPTIONS)
def multiply(out, weight, rows, x, scale, times):
    for _ in range(times):
        matvec(out, 0, weight, 0, rows, 0, x, 0, scale, 0, len(x), len(out))


def seconds(call: Callable[[], object]) -> float:
    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin


def bytes_a_second(size: int) -> float:
    """How fast an array of this size can be read repeatedly."""
    array, times = aligned(size // 4, np.float32), max(2**27 // size, 2)
    read(array, 1)
    return size * times / min(seconds(lambda: read(array, times)) for _ in range(5))


def products_a_second(precision: str) -> float:
    """How many weights are multiplied per second if they lie in the nearest cache."""
    n_in, n_out, times = 64, 128, 20_000
    numbers = ARITHMETIC[precision]
    weight = aligned(n_in * n_out, "int16" if numbers.unit == 2 else precision)
    weight[:] = pack(np.ones((n_out, n_in)), numbers.unit)
    x, (out, rows, scale) = aligned(n_in, numbers.dtype), (aligned(n, np.float32) for n in (n_out, 2 * n_out, 1))
    multiply(out, weight, rows, x, scale, 1)
    return n_in * n_out * times / min(seconds(lambda: multiply(out, weight, rows, x, scale, times)) for _ in range(5))


def weights_of(model: WaveNet) -> tuple[int, int]:
    """Count the weights that multiply every sample: those of the layers, and those of conditioning that changes."""
    blocks = model.stack.blocks
    layers = [b.conv.weight for b in blocks] + [b.skip.weight for b in blocks] + [model.output.weight]
    layers += [b.residual.weight for b in blocks if b.residual is not None] + [model.head.linear.weight]
    changing = [b.condition.weight for b in blocks] if model.upsample is not None else []
    return sum(w.numel() for w in layers), sum(w.numel() for w in changing)


def spared(model: WaveNet) -> int:
    """Of these, count those not read for every sample, because past taps are computed for COLUMNS samples at once."""
    taps = [b.conv.weight[..., :-1].numel() for b in model.stack.blocks if b.conv.dilation[0] % COLUMNS == 0]
    return sum(taps) * (COLUMNS - 1) // COLUMNS


def floor(model: WaveNet, precision: str) -> float:
    """The seconds per sample that no implementation can avoid."""
    weights, changing = weights_of(model)
    size = (weights - spared(model)) * BYTES[precision]
    layers = max(size / bytes_a_second(size), weights / products_a_second(precision))
    return layers + changing / products_a_second("float32")


def rate(model: WaveNet, blocks: int, block: int, conditioning: Callable[[int], dict], **how) -> float:
    """Samples per second of all streams together, after a first block, which warms the caches."""
    length = (blocks + 1) * block
    parts = stream(model, length, conditioning(length), block=block, **how)
    next(parts)
    return blocks * block * how.get("streams", 1) / seconds(lambda: list(parts))


def conditioning_of(model: WaveNet) -> Callable[[int], dict]:
    """The conditioning for this many samples: a tune, if the model hears scores."""
    if isinstance(model, ScoreWaveNet):
        return lambda n: model.conditioning(TUNE, model.config.instruments[0], n)
    return lambda _: {}


def compare(name: str, model: WaveNet, repeat: int) -> None:
    given, rates = conditioning_of(model), {}
    ways = {
        "naive": (2, 2, {"method": "naive"}),
        "cached": (2, 128, {"method": "cached"}),
        **{f"cpu {p}": (8, 2048, {"method": "cpu", "precision": p}) for p in BYTES},
    }
    for p in BYTES:  # compile first
        rate(model, 1, 8, given, method="cpu", precision=p)
    for _ in range(repeat):
        for way, (blocks, block, how) in ways.items():
            rates.setdefault(way, []).append(rate(model, blocks, block, given, **how))
    weights, changing = weights_of(model)
    print(f"\n{name}: {weights:,} weights per sample, and {changing:,} for conditioning; one stream, one core")
    print(f"{'':14}{'samples/s':>12}{'ratio':>9}{'floor':>12}{'share':>8}{'TV':>9}")
    drawn = next(stream(model, 500, given(500), block=500))
    for way, found in rates.items():
        ratio = statistics.median(a / b for a, b in zip(found, rates["cached"], strict=True))
        line = f"{way:14}{statistics.median(found):12,.0f}{ratio:9.2f}"
        if way.startswith("cpu"):
            precision = way.split()[1]
            most = 1 / floor(model, precision)
            distance = float(total_variation(model, drawn, given(500), precision=precision).mean())
            line += f"{most:12,.0f}{statistics.median(found) / most:8.0%}{distance:9.1e}"
        print(line, flush=True)


def on_all_cores(model: WaveNet, cores: int, repeat: int) -> None:
    given = conditioning_of(model)
    torch.set_num_threads(cores)
    for precision in BYTES:
        how = {"method": "cpu", "streams": cores, "precision": precision}
        found = []
        for _ in range(repeat):
            begin, work = time.perf_counter(), time.process_time()
            together = rate(model, 8, 2048, given, **how)
            found.append((together, (time.process_time() - work) / (time.perf_counter() - begin)))
        together, had = max(found)  # on a busy machine, a process gets fewer cores than there are
        print(f"{cores} streams, {precision}: {together:,.0f} samples/s together, on the {had:.1f} cores that it had")
    torch.set_num_threads(1)


def reference() -> WaveNet:
    torch.manual_seed(0)
    model = WaveNet().requires_grad_(False)
    model.head.linear.weight *= 4  # distributions that differ from sample to sample, as a trained model's do
    return model


def rendering(checkpoint: str | None) -> tuple[str, WaveNet]:
    if checkpoint:
        return checkpoint, ScoreWaveNet.from_pretrained(checkpoint).requires_grad_(False)
    torch.manual_seed(0)
    return "rendering, 20 layers", ScoreWaveNet(**RENDERING).requires_grad_(False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="run only one round")
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--checkpoint", help="a trained ScoreWaveNet instead of a random one of the rendering's shape")
    arguments = parser.parse_args()
    repeat, cores = 1 if arguments.quick else arguments.repeat, torch.get_num_threads()
    torch.set_num_threads(1)
    print(f"torch {torch.__version__}, {cores} cores; products of bytes: {HAS_BYTES}, vpdpbusd: {HAS_DOT}; ", end="")
    print("near weights: ", end="")
    print(", ".join(f"{products_a_second(p) / 1e9:.0f} G products/s {p}" for p in BYTES))
    sizes = (2**15, 2**19, 2**21, 2**23)
    print("reading: " + ", ".join(f"{bytes_a_second(s) / 1e9:.0f} GB/s of {s // 1024} KiB" for s in sizes))
    models = {"reference, 20 layers, R = 64, S = 128, A = 256": reference()}
    models |= dict([rendering(arguments.checkpoint)])
    for name, model in models.items():
        compare(name, model, repeat)
        on_all_cores(model, cores, repeat)


if __name__ == "__main__":
    main()
