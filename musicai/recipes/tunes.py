"""A WaveNet over the notes of folk tunes: `musicai train tunes`. Chapter 7.

It is trained on the tunes as they are written, with repeats not played out. The plan's range, density and syncopation
are hidden in part of the tunes, so that each may be left open; half of the tunes come with a source to follow, which is
the tune itself, more or less corrupted. The validation split chooses the weights, which learn from it in the
end; how fast was chosen by learning from one half of it and looking at the other, with whole families in each half.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor
from torch.optim import AdamW

from musicai.composition import network
from musicai.composition.controls import density, syncopation
from musicai.composition.memory import Source
from musicai.composition.network import RANGE, TuneWaveNet, bits_per_note
from musicai.composition.tunes import LENGTHS, REST, Tune, encode
from musicai.data import FolkCorpus
from musicai.recipes.shared import TRIAL, finish, items_of, keep_best, warm_cosine
from musicai.scale import device
from musicai.train import TrainingRun, fit, seed_all, update

STEPS = 8_000
NOTES, CROP, LR = 1200, 256, 2e-3  # notes per step, the most of one tune, the peak learning rate
LAST, LAST_LR = 600, 3e-4  # steps on the validation split at the end: tunes that are new to the model
OPEN = (*RANGE, 4, 5)  # the plan's range, density and syncopation; and how often they are left open:
HIDDEN = {OPEN: 0.25, RANGE: 0.05, (4,): 0.5, (5,): 0.5}
SOURCES = 0.5  # the share of tunes with a source
OCTAVES = 0.3  # the share of tunes that may move by an octave
FORGET = 0.08  # the share of slots, and of the notes before, that are hidden: else the model learns tunes by heart

Examples = Sequence[tuple[np.ndarray, Tune]]


def examples_of(split: str, steps: int = STEPS) -> list[tuple[np.ndarray, Tune]]:
    """The inputs and the tunes of a split of the folk corpus, without those that no class or grid fits."""
    found = []
    for melody in items_of(FolkCorpus(split, limit=None if steps >= TRIAL else 300), steps):
        with suppress(ValueError):
            tune = encode(melody)
            plan = replace(tune.plan, density=density(melody), syncopation=syncopation(melody, tune.plan.pickup))
            found.append((network.example(replace(tune, plan=plan)), replace(tune, plan=plan)))
    return found


def corrupt(tune: Tune, rng: np.random.Generator) -> Source:
    """A source that a tune might come from: some notes changed, left out or divided, more of them in some bars.

    Args:
        tune: what is corrupted.
        rng: where the changes are drawn from.

    Returns: the source, on the tune's time axis.
    """
    onsets, ticks, rates = tune.onsets, np.array(LENGTHS)[tune.durations], rng.random()
    rates = np.clip(rates + rng.normal(0, 0.3, len(tune.layout.lines)), 0, 1)
    bars = np.searchsorted(tune.layout.lines, onsets, side="right")
    kinds = np.where(rng.random(len(onsets)) < rates[bars % len(rates)], rng.integers(1, 4, len(onsets)), 0)
    pitches = np.where(kinds == 1, rng.choice(tune.pitches, len(onsets)), tune.pitches)
    divided, keep = (kinds == 3) & (ticks % 6 == 0), kinds != 2
    keep[0] = True
    starts = np.concatenate([onsets[keep], (onsets + ticks // 2)[divided]])
    pitches = np.concatenate([pitches[keep], rng.choice(tune.pitches, divided.sum())])
    order = np.argsort(starts)
    lengths = np.diff(starts[order], append=tune.layout.end)
    return Source(starts[order].tolist(), lengths.tolist(), pitches[order].tolist())


def grouped(examples: Examples) -> list[list[int]]:
    """The places of the examples in batches of about the same length and at most `NOTES` notes."""
    lengths = [min(len(inputs), CROP) for inputs, _ in examples]
    groups: list[list[int]] = [[]]
    for i in np.argsort(lengths, kind="stable").tolist():
        if lengths[i] * (len(groups[-1]) + 1) > NOTES:
            groups.append([])
        groups[-1].append(i)
    return groups


def varied(inputs: np.ndarray, tune: Tune, rng: np.random.Generator) -> tuple[np.ndarray, Tune]:
    """An example with a source or none, parts of the plan and of the look-up hidden, and long tunes cropped."""
    inputs = network.add_source(inputs, tune, corrupt(tune, rng)) if rng.random() < SOURCES else inputs.copy()
    for columns, share in HIDDEN.items():
        if rng.random() < share:
            inputs[:, columns] = 0
    for first in (len(network.PLAN), *range(network.FIRST_SLOT, inputs.shape[1], 3)):
        inputs[rng.random(len(inputs)) < FORGET, first : first + (3 if first >= network.FIRST_SLOT else 2)] = 0
    pitches, shift = tune.pitches, 12 * rng.integers(-1, 2) * (rng.random() < OCTAVES)
    columns = [2, 3, network.BEFORE, *range(network.FIRST_SLOT + 1, inputs.shape[1], 3)]
    known = (inputs[:, columns] > 0) & (inputs[:, columns] <= REST)
    moved = inputs[:, columns] + shift * known
    if ((moved > 0) & (moved <= REST))[known].all() and shift:
        inputs[:, columns], pitches = moved, pitches + shift * (pitches != REST)
    start = rng.integers(max(1, len(inputs) - CROP + 1))
    part = slice(start, start + CROP)
    return inputs[part], replace(tune, durations=tune.durations[part], pitches=pitches[part])


def fitted(model: TuneWaveNet, examples: Examples, steps: int, peak: float, seed: int, **options: Any) -> TrainingRun:
    """Fit a model to examples, with a learning rate that falls from `peak` along a cosine; the run has the average."""
    optimizer = AdamW(model.train().parameters(), peak, betas=(0.9, 0.98), weight_decay=0.05)
    groups = grouped(examples)

    def batch(n: int) -> tuple[int, tuple[Tensor, ...]]:
        rng, (epoch, place) = np.random.default_rng((seed, n)), divmod(n, len(groups))
        group = groups[np.random.default_rng((seed, epoch, 1)).permutation(len(groups))[place]]
        return n, network.batch_of([varied(*examples[i], rng) for i in group])

    def step(numbered: tuple) -> dict[str, Tensor]:
        n, parts = numbered
        optimizer.param_groups[0]["lr"] = peak * warm_cosine(n, steps, end=0.01)
        losses = network.tune_losses(model, *(part.to(device()) for part in parts))
        update(sum(losses), optimizer, max_norm=1.0)
        return {"duration": losses[0].detach(), "pitch": losses[1].detach()}

    return fit(
        step, batch, steps=steps, state={"model": model, "optimizer": optimizer}, ema={"model": 0.998}, seed=seed,
        save_every=500, precision="bf16", config={"tunes": len(examples)}, **options,
    )  # fmt: skip


def train(name: str, out: Path, steps: int | None, seed: int, progress: bool, build=TuneWaveNet) -> dict[str, float]:
    """Train, keep the averaged weights that do best on the validation split, let them learn from it too, and save."""
    seed_all(seed)
    steps = steps or STEPS
    data = {split: examples_of(split, steps) for split in ("train", "valid", "test")}
    validate = keep_best(out / "best", lambda model: sum(bits_per_note(model, data["valid"][::2])))
    options = {"checkpoint": out / "run.safetensors", "callbacks": [(500, validate)], "progress": progress}
    run = fitted(build().to(device()), data["train"], steps, LR, seed, **options)
    best, again = (build.from_pretrained(out / "best").to(device()) for _ in range(2))
    options = {"checkpoint": out / "last.safetensors", "progress": progress}
    last = fitted(again, data["valid"], min(LAST, steps), LAST_LR, seed, **options)
    scores = {
        f"{split}: bits per note{what}": sum(bits_per_note(model, data[split.split(",")[0]], columns))
        for split, model in {"valid, before it was learned": best, "test": last.ema["model"]}.items()
        for what, columns in {"": (), " with range, density and syncopation left open": OPEN}.items()
    }
    notes = sum(len(inputs) for split in ("train", "valid") for inputs, _ in data[split])
    return finish(name, out, last.ema["model"].half(), run, f"`FolkCorpus`, train and valid: {notes:,} notes", scores)
