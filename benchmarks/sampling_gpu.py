"""Samples per second from a WaveNet on a GPU: the Triton kernel, plain PyTorch and, for comparison, the CPU.

    python benchmarks/sampling_gpu.py [--repeat 3] [--seconds 0.2]

The reference shape has 20 layers, dilations 1 to 512 twice, kernel size 2, R = 64, S = 128, A = 256 and random weights.
The rates are what `stream` yields, with all random numbers drawn and all samples copied to the CPU. Rounds of all
samplers are interleaved; the table shows the median rate of all streams together, and the median of each round's ratio
to "cached" (pure PyTorch, Paine et al. 2016). The floor of a Triton row is the time to read all weights from L2 for
each sample, at --l2 bytes per clock cycle and multiprocessor; all of them together may get less from L2.
"""

import argparse
import statistics
import time
from importlib.util import find_spec

import torch

from musicai.wavenet import WaveNet, stream

STREAMS = (1, 16, 128, 528, 2112)  # the last is 16 for each of an H100's 132 multiprocessors
WAYS = {  # with the samples in a block
    "cached": {"method": "cached", "block": 8},
    "cpu int8": {"method": "cpu", "precision": "int8", "block": 16},
    "triton float16": {"method": "triton", "precision": "float16", "block": 1024},
}


def rate(model: WaveNet, streams: int, seconds: float, **how) -> float:
    """Samples per second of all streams together, after a block in which kernels are compiled."""
    parts, count = stream(model, 10**6, streams=streams, **how), 0
    next(parts)
    begin = time.perf_counter()
    while not count or time.perf_counter() - begin < seconds:
        count += next(parts).numel()
    return count / (time.perf_counter() - begin)


def floor(model: WaveNet, streams: int, a_clock: float) -> float:
    """The most samples per second that reading alone allows one program of 16 streams on each multiprocessor."""
    properties = torch.cuda.get_device_properties(0)
    weights = sum(p.numel() for name, p in model.named_parameters() if p.dim() > 1 and not name.startswith("input"))
    clock = getattr(properties, "clock_rate", 1_750_000) * 1e3
    programs = min(-(-streams // 16), properties.multi_processor_count)
    return min(streams, 16 * programs) * clock * a_clock / (weights * 2)


def compare(model: WaveNet, streams: int, repeat: int, seconds: float, a_clock: float) -> None:
    ways = {name: how for name, how in WAYS.items() if how["method"] != "triton" or find_spec("triton")}
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(repeat):
        for name, how in ways.items():
            rates[name].append(rate(model, streams, seconds, **how))
    print(f"\n{streams} streams\n{'':16}{'samples/s':>14}{'ratio':>9}{'floor':>14}{'share':>8}")
    for name, found in rates.items():
        ratio = statistics.median(a / b for a, b in zip(found, rates["cached"], strict=True))
        line = f"{name:16}{statistics.median(found):14,.0f}{ratio:9.2f}"
        if name.startswith("triton"):
            most = floor(model, streams, a_clock)
            line += f"{most:14,.0f}{statistics.median(found) / most:8.0%}"
        print(line, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=0.2, help="at least, for each sampler in each round")
    parser.add_argument("--l2", type=float, default=64.0, help="bytes per clock that a multiprocessor gets from L2")
    arguments = parser.parse_args()
    if not torch.cuda.is_available():
        raise SystemExit("no CUDA device; benchmarks/sampling.py measures the CPU samplers")
    torch.manual_seed(0)
    model = WaveNet().requires_grad_(False).to("cuda")
    model.head.linear.weight *= 4
    print(f"torch {torch.__version__}, {torch.cuda.get_device_name(0)}")
    for streams in STREAMS:
        compare(model, streams, arguments.repeat, arguments.seconds, arguments.l2)


if __name__ == "__main__":
    main()
