"""What the recipes share: sounds to listen to during training, the learning rate, and the model card."""

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from musicai.audio import save
from musicai.pretrained import Pretrained
from musicai.recipes import RECIPES
from musicai.scale import device
from musicai.storage import atomic_write
from musicai.train import TrainingRun
from musicai.train.loop import Callback

SR = 16_000
TRIAL = 100  # a run of fewer steps only checks that everything works, using a little of the data
RUNGS = {step * 10**power for power in range(2, 6) for step in (1, 2, 5)}  # 100, 200, 500, 1,000, ...


def listening_ladder(out: Path, model: nn.Module, play: Callable[[nn.Module], dict[str, Tensor]]) -> Callback:
    """Make a callback that saves what the averaged model plays after 100, 200, 500, ... steps and after the last.

    `play` turns a model into sounds (time,) by name. The sounds of `model` before its first step are saved right away.
    """

    def climb(step: int, model: nn.Module) -> None:
        (out / "ladder").mkdir(parents=True, exist_ok=True)
        for name, sound in play(model).items():
            save(out / "ladder" / f"{name}step-{step:06d}.mp3", sound.cpu(), SR)

    climb(0, model)
    return lambda run: climb(run.step, *run.ema.values()) if run.step in RUNGS or run.finished else None


def keep_best(out: Path, score: Callable[[nn.Module], float]) -> Callback:
    """Make a callback that judges the averaged model (lower is better), and saves it if it is the best so far."""

    def validate(run: TrainingRun) -> dict[str, float]:
        model, before = run.ema["model"], run.history.get("valid", [])
        value = score(model)
        if value < min((x for x in before if not math.isnan(x)), default=math.inf):
            model.save_pretrained(out)
        return {"valid": value}

    return validate


def warm_cosine(n: int, steps: int, end: float) -> float:
    """A factor for the learning rate at step n: up over 50 steps, then down along a cosine to `end`."""
    return min(1.0, (n + 1) / 50) * (end + (1 - end) * 0.5 * (1 + math.cos(math.pi * n / steps)))


def spread(items: Sequence, count: int) -> list:
    """`count` evenly spaced items; all of them if there are fewer."""
    return [items[round(i)] for i in np.linspace(0, len(items) - 1, min(count, len(items)))] if count else []


def items_of(dataset: Sequence, steps: int, trial: int = 12) -> list:
    """The items of a dataset to train or evaluate with; a few of them in a trial."""
    return spread(dataset, trial if steps < TRIAL else len(dataset))


def curves(history: dict[str, Sequence[float]], size: int) -> dict[str, list]:
    """Average every column over blocks of `size` steps, and list the step that ends each; None for an empty block."""
    steps = max(map(len, history.values()))
    table = {"step": [min(end, steps) for end in range(size, steps + size, size)]}
    for name, column in history.items():
        padded = np.pad(column, (0, -len(column) % size), constant_values=np.nan)
        table[name] = np.ma.masked_invalid(padded.reshape(-1, size)).mean(1).round(5).tolist()
    return table


def finish(name: str, out: Path, model: Pretrained, run: TrainingRun, data: str, scores: dict[str, float]) -> dict:
    """Write history.json, the weights, and the card with its tables of facts and scores; returns the scores."""
    with atomic_write(out / "history.json") as file:
        file.write(json.dumps(curves(run.history, max(1, run.steps // 160))).encode())
    facts = [
        f"| what | {RECIPES[name]} |",
        f"| data | {data} |",
        f"| parameters | {sum(p.numel() for p in model.parameters()):,} |",
        f"| device | {device().type}, torch {torch.__version__} |",
        f"| command | `musicai train {name} --steps {run.steps} --seed {run.settings['seed']}` |",
    ]
    judged = [f"| {key} | {value:.3f} |" for key, value in scores.items()]
    card = [f"# {out.name}", "", "| | |", "|---|---|", *facts, "", "| held-out data | |", "|---|---|", *judged]
    model.save_pretrained(out, card="\n".join([*card, "", "Licence: MIT, like the code and the data."]))
    return scores
