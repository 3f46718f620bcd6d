"""WaveNets over the frames of a piano roll: `musicai train chorales`, `musicai train nottingham`. Chapter 5.

The settings are the same for both sets, except for dropout and length: 14,000 frames of chorales need more dropout and
fewer steps than 177,000 frames of folk tunes. Either takes minutes on a few cores, and less than one on a GPU.
"""

from pathlib import Path

from torch import Tensor
from torch.optim import AdamW

from musicai.data import JSBChorales, Nottingham
from musicai.recipes.shared import finish, items_of, keep_best, warm_cosine
from musicai.scale import device
from musicai.train import fit, seed_all, update
from musicai.wavenet import RollBatches, RollConfig, RollWaveNet, log_odds, nats_per_frame, roll_loss

SETS = {"chorales": JSBChorales, "nottingham": Nottingham}
DROPOUT = {"chorales": 0.5, "nottingham": 0.2}
STEPS = {"chorales": 510, "nottingham": 1800}
VOICES = {"chorales": 4, "nottingham": 0}  # of strict part-writing
BATCH, CROP, LR = 24, 128, 3e-3  # pieces per step, frames of each, the peak learning rate


def rolls_of(name: str, split: str) -> list[Tensor]:
    """All rolls (88, frames) of a split of "chorales" or "nottingham"."""
    return [item["roll"] for item in SETS[name](split)]


def train(name: str, out: Path, steps: int | None, seed: int, progress: bool) -> dict[str, float]:
    """Train, keep the averaged weights that do best on the validation split, evaluate them and save them."""
    seed_all(seed)
    steps, dropout = steps or STEPS[name], DROPOUT[name]
    rolls, valid = rolls_of(name, "train"), rolls_of(name, "valid")
    quick = items_of(valid[:: 6 if name == "nottingham" else 1], steps, 3)  # to choose between checkpoints
    model = RollWaveNet(RollConfig(dropout=dropout, head_dropout=dropout - 0.1, voices=VOICES[name])).to(device())
    model.base.copy_(log_odds(rolls))
    optimizer = AdamW(model.parameters(), LR, betas=(0.9, 0.98), weight_decay=0.02)
    batches = RollBatches(items_of(rolls, steps), BATCH, CROP, seed=seed)

    def step(numbered: tuple) -> dict[str, Tensor]:
        n, batch = numbered
        optimizer.param_groups[0]["lr"] = LR * warm_cosine(n, steps, end=0.01)
        return {"loss": update(roll_loss(model, batch), optimizer, max_norm=1.0)}

    validate = keep_best(out, lambda model: nats_per_frame(model, quick))
    run = fit(
        step, lambda n: (n, batches(n)), steps=steps, state={"model": model, "optimizer": optimizer},
        ema={"model": 0.998}, checkpoint=out / "run.safetensors", save_every=75, callbacks=[(75, validate)],
        config={"dropout": dropout, "pieces": len(rolls)}, seed=seed, progress=progress,
    )  # fmt: skip
    best = RollWaveNet.from_pretrained(out)
    held_out = {"valid": valid, "test": rolls_of(name, "test")}
    losses = {split: nats_per_frame(best, items_of(part, steps, 3)) for split, part in held_out.items()}
    scores = {f"{split}: negative log-likelihood, nats per frame": loss for split, loss in losses.items()}
    data = f"`{SETS[name].__name__}`, training split: {sum(roll.shape[1] for roll in rolls):,} frames"
    return finish(name, out, best, run, data, scores)
