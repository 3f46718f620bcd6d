"""What `fit` costs beside a bare loop: `python benchmarks/fit.py`.

The same model, batches and optimizer, in turns, one after the other in one process; the median of the ratios is told,
and what fit adds to each step in microseconds. Goal: 2 % or less where a step takes 5 ms or more.
"""

import argparse
import statistics
import time

import torch
from torch import nn

from musicai.train import fit, update


def make(width: int):
    """A small convolutional net over waveforms, its optimizer, and one step."""
    torch.manual_seed(0)
    layers = [nn.Conv1d(1, width, 9, stride=4), nn.ReLU(), nn.Conv1d(width, width, 9, stride=4), nn.ReLU()]
    model = nn.Sequential(*layers, nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(width, 12))
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)

    def step(batch):
        audio, instrument = batch
        loss = nn.functional.cross_entropy(model(audio), instrument)
        return {"loss": update(loss, optimizer)}

    return step, {"model": model, "optimizer": optimizer}


def bare(step, batches, steps: int) -> float:
    start = time.perf_counter()
    for n in range(steps):
        step(batches[n % len(batches)])["loss"].item()
    return time.perf_counter() - start


def fitted(step, batches, steps: int, state) -> float:
    start = time.perf_counter()
    fit(step, batches, steps=steps, state=state, progress=True)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(f"{'batch':>6} {'bare step':>12} {'fit step':>12} {'fit adds':>12} {'ratio':>8}")
    for batch_size in (1, 8, 32, 128):
        step, state = make(width=32)
        batches = [(torch.randn(batch_size, 1, 16_000), torch.randint(12, (batch_size,))) for _ in range(4)]
        bare(step, batches, 10)
        pairs = []
        for _ in range(options.rounds):
            alone = bare(step, batches, options.steps)
            pairs.append((alone, fitted(step, batches, options.steps, state)))
        scale = 1e3 / options.steps
        alone, with_fit = (statistics.median(column) * scale for column in zip(*pairs, strict=True))
        ratio = statistics.median(b / a for a, b in pairs)
        added = statistics.median(b - a for a, b in pairs) * scale * 1e3
        print(f"{batch_size:>6} {alone:>9.3f} ms {with_fit:>9.3f} ms {added:>9.1f} us {ratio:>8.3f}", flush=True)


if __name__ == "__main__":
    main()
