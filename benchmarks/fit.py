"""What `fit` costs beside a bare loop: `python benchmarks/fit.py`.

The same model, batches and optimizer, in turns, in one process, in CPU time (which other programs disturb less than
wall time). Told are the ratio of the medians, of the fastest rounds, and what fit adds to each step in
microseconds (fastest rounds). Goal: 2 % or less where a step takes 5 ms or more.
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
    start = time.process_time()
    for n in range(steps):
        step(batches[n % len(batches)])["loss"].item()
    return time.process_time() - start


def fitted(step, batches, steps: int, state) -> float:
    start = time.process_time()
    fit(step, batches, steps=steps, state=state, progress=True)
    return time.process_time() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=0.4)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(f"{'batch':>6} {'bare step':>12} {'fit step':>12} {'fit adds':>12} {'fastest':>8} {'median':>8}")
    for batch_size in (1, 4, 16):
        compare(batch_size, options.seconds, options.rounds)


def compare(batch_size: int, seconds: float, rounds: int) -> None:
    step, state = make(width=32)
    batches = [(torch.randn(batch_size, 1, 16_000), torch.randint(12, (batch_size,))) for _ in range(4)]
    steps = max(10, int(seconds / min(bare(step, batches, 5) / 5 for _ in range(4))))
    pairs = [(bare(step, batches, steps), fitted(step, batches, steps, state)) for _ in range(rounds)]
    alone, fit_too = ([1e3 * seconds / steps for seconds in column] for column in zip(*pairs, strict=True))
    fastest = min(fit_too) / min(alone)
    median = statistics.median(fit_too) / statistics.median(alone)
    added = 1e3 * (min(fit_too) - min(alone))
    print(
        f"{batch_size:>6} {min(alone):>9.3f} ms {min(fit_too):>9.3f} ms {added:>9.1f} us",
        f"{fastest:>8.3f} {median:>8.3f}",
        flush=True,
    )


if __name__ == "__main__":
    main()
