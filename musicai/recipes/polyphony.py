"""WaveNets over the frames of a piano roll: `musicai train chorales`, `musicai train nottingham`. Chapter 5.

The settings are the same for every set, except for three that follow from its training split: dropout and the number of
steps from its size, and transposition (by up to 5 semitones), which helps only where the music is not all in one key.
`musicai.recipes.train("MuseData.mat")` trains on any file in the format of the two. Minutes on one core.
"""

import math
from collections.abc import Mapping
from pathlib import Path

import torch

from musicai.data import JSBChorales, Nottingham, PianoRolls
from musicai.recipes.shared import TRIAL, finish, items_of, warm_cosine
from musicai.scale import device
from musicai.train import TrainingRun, fit, seed_all, update
from musicai.wavenet import RollBatches, RollConfig, RollWaveNet, log_odds, nats_per_frame, roll_loss

SETS = {"chorales": JSBChorales, "nottingham": Nottingham}
BATCH, CROP, LR = 12, 128, 3e-3  # pieces per step, frames of each, the peak learning rate
VALID_FRAMES = 8_000  # of the validation split, for choosing between checkpoints; the last figure is of all of it


def rolls_of(name: str, split: str) -> list[torch.Tensor]:
    """All rolls (88, frames) of a split of "chorales", "nottingham" or a .mat file."""
    dataset = SETS[name](split) if name in SETS else PianoRolls(name, split)
    return [item["roll"] for item in dataset]


def dropout_for(frames: int) -> float:
    """Less music, more dropout: 0.5 for 14,000 frames (the chorales), 0.2 for 170,000 (Nottingham) and more."""
    return round(min(0.5, max(0.2, 0.5 - 0.12 * math.log(frames / 14_000))), 3)


def steps_for(frames: int) -> int:
    """Ten times through the music, and at least 1,200 steps."""
    return max(1200, 10 * frames // (BATCH * CROP))


def transpose_for(rolls: list[torch.Tensor]) -> int:
    """0 if some pitch classes are much more common than others, as in music that is all in C; else 5 semitones."""
    counts = torch.zeros(12).index_add(0, torch.arange(88) % 12, sum(roll.sum(1) for roll in rolls))
    entropy = torch.special.entr(counts / counts.sum()).sum()  # 2.0 and 2.2 nats for the shipped sets, at most ln 12
    return 0 if entropy < 2.4 else 5


def train(name: str, out: Path, steps: int | None, seed: int, progress: bool) -> Mapping[str, float]:
    """Train, keep the averaged weights that do best on the validation split, judge them and save them."""
    seed_all(seed)
    rolls, valid = rolls_of(name, "train"), rolls_of(name, "valid")
    frames = sum(roll.shape[1] for roll in rolls)
    steps, transpose = steps or steps_for(frames), transpose_for(rolls)
    quick = valid[:: max(1, round(sum(roll.shape[1] for roll in valid) / (VALID_FRAMES if steps >= TRIAL else 200)))]
    model = RollWaveNet(RollConfig(dropout=dropout_for(frames), head_dropout=dropout_for(frames) - 0.1)).to(device())
    model.base.copy_(log_odds(rolls))
    optimizer = torch.optim.AdamW(model.parameters(), LR, betas=(0.9, 0.98), weight_decay=0.02)
    batches = RollBatches(items_of(rolls, steps), BATCH, CROP, transpose=transpose, seed=seed)

    def step(numbered: tuple) -> dict[str, torch.Tensor]:
        n, batch = numbered
        optimizer.param_groups[0]["lr"] = LR * warm_cosine(n, steps, end=0.01)
        return {"loss": update(roll_loss(model, batch), optimizer, max_norm=1.0)}

    def validate(run: TrainingRun) -> dict[str, float]:
        score = nats_per_frame(run.ema["model"], quick)
        if score < min((x for x in run.history.get("valid", []) if not math.isnan(x)), default=math.inf):
            run.ema["model"].save_pretrained(out)
        return {"valid": score}

    run = fit(
        step, lambda n: (n, batches(n)), steps=steps, state={"model": model, "optimizer": optimizer}, ema=0.998,
        checkpoint=out / "run.safetensors", save_every=150, callbacks=[(150, validate)],
        config={"data": Path(name).stem, "frames": frames}, seed=seed, progress=progress,
    )  # fmt: skip
    best = RollWaveNet.from_pretrained(out)
    splits = {"valid": valid, "test": rolls_of(name, "test")}
    scores = {
        f"{split}: negative log-likelihood, nats per frame": nats_per_frame(best, items_of(part, steps, 3))
        for split, part in splits.items()
    }
    facts = {"what": "a WaveNet over the frames of a piano roll; each is predicted from all before it"}
    facts["data"] = f"the training split of {Path(name).stem}: {frames:,} frames"
    facts["transposed"] = (
        f"by up to {transpose} semitones" if transpose else "no: all of it is in one key, as published"
    )
    return finish(name, out, best, run, facts, scores)
