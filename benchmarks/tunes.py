"""Composing: bits per note of the tune model on the test split, beside a matched LSTM and Kneser-Ney 5-grams.

    python benchmarks/tunes.py                     # the shipped model and Kneser-Ney; two minutes
    python benchmarks/tunes.py --steps 3000        # also trains WaveNet and LSTM alike; half an hour of one core

A note costs the bits of its duration and, given that, of its pitch; rests count as notes. Every note is predicted from
all notes before it in its tune and from the plan: key, mode, metre, where it begins in the bar, and how many bars are
left in the section and in the tune. "All of the plan" adds the tune's range, density and syncopation. The LSTM has the
WaveNet's inputs, look-up, heads, number of weights (within 3 %), batches and steps; only what looks back over the notes
differs, and both learn from the training split alone. The WaveNet's peak learning rate is the recipe's; the LSTM's is
the best of four in short runs, by the bits per note of the validation split. "Plain" tunes have nothing but whole bars
and no notes shorter than a triplet's sixteenth: 86 % of all.
"""

import argparse
import math
from collections import Counter, defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from musicai.composition.network import D, P, TuneConfig, TuneWaveNet, bits_per_note
from musicai.composition.tunes import LENGTHS, TICKS, Tune
from musicai.pretrained import PretrainedError
from musicai.recipes import tunes as recipe
from musicai.train import seed_all

RATES, SHORT = (1e-3, 2e-3, 4e-3, 8e-3), 300  # peak learning rates to choose from, by runs of so many steps
RATE = recipe.LR
Examples = list[tuple[np.ndarray, Tune]]


class LookingBack(nn.Module):
    """An LSTM in the place of the dilated convolutions, (B, R, T) -> (B, S, T)."""

    def __init__(self, width: int, skip: int, hidden: int = 352):
        super().__init__()
        self.lstm, self.out = nn.LSTM(width, hidden, batch_first=True), nn.Linear(hidden, skip)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.lstm(x.mT)[0]).mT


class Nothing(nn.Module):
    """In the place of the attention."""

    def forward(self, state: Tensor, x: Tensor) -> float:
        return 0.0


class TuneLSTM(TuneWaveNet):
    def __init__(self, config: TuneConfig = TuneConfig()):  # noqa: B008
        super().__init__(config)
        self.stack, self.recall = LookingBack(config.width, config.skip), Nothing()


class KneserNey:
    """Interpolated Kneser-Ney smoothing; contexts are tuples that lose their first element on backing off."""

    def __init__(self, pairs: list[tuple[tuple, int]], classes: int, discount: float = 0.75):
        order = len(pairs[0][0])
        self.classes, self.discount = classes, discount
        self.counts = [defaultdict(Counter) for _ in range(order + 1)]
        for context, symbol in pairs:
            self.counts[order][context][symbol] += 1
        for k in range(order - 1, -1, -1):  # lower orders count the contexts that a symbol follows
            for context, after in self.counts[k + 1].items():
                for symbol in after:
                    self.counts[k][context[1:]][symbol] += 1
        self.totals = [{context: after.total() for context, after in level.items()} for level in self.counts]

    def probability(self, context: tuple, symbol: int) -> float:
        p = 1 / self.classes
        for k, level in enumerate(self.counts):
            part = context[len(context) - k :]
            if part not in level:
                break
            after, total = level[part], self.totals[k][part]
            p = max(after[symbol] - self.discount, 0) / total + self.discount * len(after) / total * p
        return p

    def bits(self, pairs: list[tuple[tuple, int]]) -> float:
        return -sum(math.log2(self.probability(*pair)) for pair in pairs) / len(pairs)


def events(examples: Examples, which: int, informed: bool) -> Iterator[tuple[tuple, int]]:
    """(context, symbol) of every duration (0) or pitch (1): four before it and, if informed, the place in the bar."""
    for inputs, tune in examples:
        history = [-1] * 4 + (tune.pitches if which else tune.durations).tolist()
        for i, row in enumerate(inputs.tolist()):
            context, symbol = tuple(history[i : i + 4]), history[i + 4]
            if informed:  # metre and place count most for a duration; with the mode, they come before the oldest pitch
                place = (row[0], row[8], row[1] * which)
                context = (*context[:1], place, *context[1:]) if which else (*context, place)
            yield context, symbol


def is_plain(tune: Tune) -> bool:
    bars = np.diff(tune.layout.lines)
    return bool((bars == round(tune.plan.bar * TICKS)).all() and not np.any(np.array(LENGTHS)[tune.durations] % 2))


def show(name: str, *scores: tuple[float, float]) -> None:
    print(f"{name:<58}" + "".join(f"{d:9.3f}{p:7.3f}{d + p:7.3f}" for d, p in scores), flush=True)


def trained(network: type[TuneWaveNet], steps: int, rate: float, folder: Path) -> TuneWaveNet:
    """The network after so many steps of the recipe, from a folder if it is there."""
    out = folder / f"{network.__name__}-{steps}-{rate}"
    try:
        return network.from_pretrained(out)
    except PretrainedError:
        recipe.LR, recipe.LAST = rate, 0  # the validation split chooses, so that it can't be learned
        recipe.train("tunes", out, steps, 0, progress=True, build=network)
        return network.from_pretrained(out)


def best_rate(network: type[TuneWaveNet], folder: Path) -> float:
    """The peak learning rate that does best on the validation split after a short run."""
    valid = recipe.examples_of("valid")
    bits = {rate: sum(bits_per_note(trained(network, SHORT, rate, folder), valid)) for rate in RATES}
    print(
        f"{network.__name__}, {SHORT} steps, validation:", {rate: round(b, 3) for rate, b in bits.items()}, flush=True
    )
    return min(bits, key=bits.get)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, help="train WaveNet and LSTM for so many steps and compare them")
    parser.add_argument("--out", type=Path, default=Path("runs"), help="where the trained networks are kept")
    args = parser.parse_args()
    seed_all(0)
    read = cache(recipe.examples_of)
    recipe.examples_of = lambda split, steps=recipe.STEPS: read(split)  # once for all networks
    train, test = recipe.examples_of("train"), recipe.examples_of("test")
    plain = [pair for pair in test if is_plain(pair[1])]
    sets = {"all": test, "plain": plain}
    for name, part in sets.items():
        print(f"{name}: {len(part)} test tunes, {sum(len(inputs) for inputs, _ in part):,} notes")
    print(f"{'bits per note':<58}" + "".join(f"{name:>9}" + " " * 14 for name in sets))
    print(" " * 58 + " duration  pitch  total" * 2)
    for informed in (False, True):
        models = [KneserNey(list(events(train, which, informed)), (D, P)[which]) for which in (0, 1)]
        scores = [
            [m.bits(list(events(part, which, informed))) for which, m in enumerate(models)] for part in sets.values()
        ]
        show("Kneser-Ney 5-gram" + ", metre, place in the bar and mode" * informed, *scores)
    networks = {"WaveNet, shipped": TuneWaveNet.from_pretrained("tunes")}
    if args.steps:
        for network in (TuneLSTM, TuneWaveNet):
            rate = RATE if network is TuneWaveNet else best_rate(network, args.out)
            name = f"{network.__name__}, {args.steps:,} steps, rate {rate:g}"
            networks[name] = trained(network, args.steps, rate, args.out)
    for name, network in networks.items():
        size = sum(p.numel() for p in network.parameters())
        for hidden, what in ((recipe.OPEN, ""), ((), ", all of the plan")):
            show(
                f"{name}, {size / 1e6:.2f}M weights{what}",
                *(bits_per_note(network, part, hidden) for part in sets.values()),
            )


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
