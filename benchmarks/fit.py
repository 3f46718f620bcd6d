"""What `fit` costs compared with a bare loop: `OMP_NUM_THREADS=1 python benchmarks/fit.py`.

The same plain PyTorch step runs on the same batches in both, taking turns in one process. Times are measured from the
start of one step to the start of the next, in the thread's own CPU time, so that other programs interfere little. The
table has the medians over all steps, what `fit` adds (gradient norms, finiteness checks, seeds, history, the progress
bar) and the ratio; below it is the cost of a call of `fit` that takes no steps. The goal is a ratio of 1.02 or less if
a step takes 5 ms or more.
"""

import argparse
import statistics
import time
from itertools import pairwise

import torch
from torch import nn

from musicai.train import fit


class Subject:
    """A small convolutional net over a second of sound at 16 kHz, with its batches; records when each step begins."""

    def __init__(self, batch_size: int, width: int = 32):
        torch.manual_seed(0)
        layers = [nn.Conv1d(1, width, 9, stride=4), nn.ReLU(), nn.Conv1d(width, width, 9, stride=4), nn.ReLU()]
        self.model = nn.Sequential(*layers, nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(width, 12))
        self.optimizer = torch.optim.Adam(self.model.parameters(), 1e-3)
        self.batches = [(torch.randn(batch_size, 1, 16_000), torch.randint(12, (batch_size,))) for _ in range(4)]
        self.marks: list[float] = []

    def step(self, batch):
        self.marks.append(time.thread_time())
        audio, instrument = batch
        loss = nn.functional.cross_entropy(self.model(audio), instrument)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return {"loss": loss}

    def bare(self, steps: int) -> list[float]:
        self.marks.clear()
        for n in range(steps):
            self.step(self.batches[n % 4])["loss"].item()
        return durations(self.marks)

    def fitted(self, steps: int) -> list[float]:
        self.marks.clear()
        fit(self.step, self.batches, steps=steps, state={"model": self.model, "optimizer": self.optimizer})
        return durations(self.marks)


def durations(marks: list[float]) -> list[float]:
    return [1e3 * (after - before) for before, after in pairwise(marks[1:])]  # in ms


def compare(batch_size: int, seconds: float) -> None:
    subject = Subject(batch_size)
    subject.bare(10)
    bare, fitted, begin = [], [], time.perf_counter()
    while time.perf_counter() - begin < seconds:
        bare += subject.bare(20)
        fitted += subject.fitted(20)
    alone, together = statistics.median(bare), statistics.median(fitted)
    added = 1e3 * (together - alone)
    print(f"{batch_size:>6} {alone:>9.3f} ms {together:>9.3f} ms {added:>9.1f} us {together / alone:>8.3f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=20, help="for each row")
    torch.set_num_threads(1)
    seconds = parser.parse_args().seconds
    print(f"{'batch':>6} {'bare step':>12} {'fit step':>12} {'fit adds':>12} {'ratio':>8}")
    for batch_size in (1, 2, 4, 8):
        compare(batch_size, seconds)
    subject = Subject(1)
    calls = []
    for _ in range(20):
        begin = time.thread_time()
        fit(subject.step, subject.batches, steps=0, state={"model": subject.model})
        calls.append(1e3 * (time.thread_time() - begin))
    print(f"a call of fit that takes no steps: {statistics.median(calls):.2f} ms")


if __name__ == "__main__":
    main()
