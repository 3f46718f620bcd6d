"""What does the instrument GAN owe to its game? The same network, trained with it and without, and judged.

    python scripts/ablate_gan.py runs/ablation --steps 1200     # a quarter of an hour of a CPU core; rerun to resume
    python scripts/ablate_gan.py runs/ablation --judge          # minutes: writes runs/ablation/ablation.json

Data, seed, batches and moving average are the same for all. So is the first quarter of the steps, which comes before
the discriminator, so it is trained once. Then they part:

    game          as `musicai train instrument`: the relativistic game with R1 + R2, beside regression and variety
    mute          the same losses, but the discriminator says the same of every sound
    regression    regression alone, as in the first quarter
    longer        regression alone, for as much CPU time as the game took

Each is a folder for `scripts/evaluate_gan.py`. No held-out note takes part in training or in any choice. `--judge`
plays every note of the test split from several seeds (`--seeds`). Chapter 4.
"""

import argparse
import json
import shutil
import time
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from evaluate_gan import SR, asked_for, play
from note_measures import apart, attack_time, level, noise_between_partials, two_takes
from torch import Tensor

from musicai import gan, metrics
from musicai.data import MusicAINotes
from musicai.gan.curves import LEVEL, average
from musicai.gan.instrument_gan import audibility
from musicai.metrics.features import embed
from musicai.recipes.gan import instrument_game, set_rates
from musicai.scale import device
from musicai.storage import atomic_write
from musicai.train import TrainingRun, fit, seed_all

NAMES = ("game", "regression", "longer", "mute")


def train(name: str, steps: int, until: int, warm: int, notes: gan.CurveNotes, options) -> TrainingRun:
    """Train a variant `until` this step, with learning rates for a run of `steps`."""
    checkpoint = options.out / f"{name}.safetensors"
    if name != "start" and not checkpoint.exists():
        shutil.copy(options.out / "start.safetensors", checkpoint)
    seed_all(options.seed)
    game = instrument_game(notes.recordings, warm)
    if name == "mute":
        logit, game.penalty = game.discriminator.logit.bias, None
        game.discriminator.forward = lambda curves, *_: logit.expand(len(curves), 1)

    def step(batch: tuple[Tensor, ...]) -> dict[str, Tensor | float]:
        began = time.process_time()
        set_rates(game, steps)
        return game.step(batch) | {"seconds": time.process_time() - began}

    return fit(
        step, lambda n: notes.batch(torch.randint(len(notes), (options.batch,))), steps=until, state=game.state,
        ema={"generator": 0.999}, checkpoint=checkpoint, save_every=50, config={"batch": options.batch},
        seed=options.seed, progress=False,
    )  # fmt: skip


def seconds(run: TrainingRun, first: int) -> float:
    """CPU seconds of a whole run, from the median step before the variants part and the median step after."""
    before, after = np.split(run.history["seconds"], [first])
    return float(first * np.median(before) + len(after) * np.median(after))


def train_all(options: argparse.Namespace) -> None:
    """Train what isn't trained yet, and save each averaged network with a note of what it took."""
    notes, steps, first = gan.CurveNotes(MusicAINotes("train")), options.steps, options.steps // 4
    train("start", steps, first, first, notes, options)
    took = {}
    for name in NAMES:
        if name == "longer":  # to the nearest hundred
            steps = max(steps, 100 * round(steps * took["game"] / took["regression"] / 100))
        length = steps if name == "longer" else options.steps
        run = train(name, length, length, length if name in ("regression", "longer") else first, notes, options)
        took[name] = seconds(run, first)
        run.ema["generator"].half().save_pretrained(options.out / name)
        facts = {"steps": length, "batch": options.batch, "seconds": round(took[name])}
        (options.out / name / "facts.json").write_text(json.dumps(facts))
        print(name, facts, flush=True)


class Judge:
    """Measures notes that were asked for like those of the test split."""

    def __init__(self):
        self.real, self.condition = asked_for(["test"])
        self.pitch, self.instrument, velocity = self.condition
        training = metrics.Sounds.from_dataset(MusicAINotes("train"))
        self.known, self.timbre = (embed(s.audio, SR, metrics.timbre) for s in (training, self.real))
        louder = self.real.audio * (100 / velocity[:, None]) ** 2
        self.curves = torch.cat(
            [gan.note_curves(*few) for few in zip(louder.split(32), self.pitch.split(32), strict=True)]
        )

    def played(self, model: gan.InstrumentGenerator, seeds: int) -> list[dict[str, float]]:
        """What a model's takes are like, for each of several seeds."""
        takes = [play(model, self.condition, seed) for seed in range(seeds + 1)]
        with torch.no_grad():
            z = torch.randn(len(self.pitch), model.config["z_size"], generator=torch.Generator().manual_seed(0))
            curves = model.curves(z, *self.condition)
        return [self.measured(*pair, curves) for pair in pairwise(takes)]

    def measured(self, audio: Tensor, again: Tensor, curves: Tensor) -> dict[str, float]:
        """Measure one take of every note; `again` is another, and `curves` are of either."""
        timbre = embed(audio, SR, metrics.timbre)
        rise, noise, swing = (
            self.medians(found) - self.medians(expected)
            for found, expected in (
                (attack_time(audio).clamp_min(1e-3).log2(), attack_time(self.real.audio).clamp_min(1e-3).log2()),
                (noise_between_partials(audio, self.pitch), noise_between_partials(self.real.audio, self.pitch)),
                (swing_of(curves, self.pitch).log2(), swing_of(self.curves, self.pitch).log2()),
            )
        )
        return {
            "Frechet distance, timbre": metrics.frechet_audio_distance(self.known, timbre, features=True),
            "coverage, timbre": metrics.density_coverage(self.timbre, timbre)[1],
            "instrument accuracy": metrics.instrument_accuracy(audio, self.instrument, SR),
            "attack, times too long or too short": rise.abs().mean().exp2().item(),
            "noise between partials, dB from real": noise.abs().mean().item(),
            "swing of the harmonics, relative to real": swing.mean().exp2().item(),
            "level, dB from real (rms)": (level(audio) - level(self.real.audio)).square().mean().sqrt().item(),
            "two takes, dB apart": apart(audio, again).mean().item(),
        }

    def medians(self, x: Tensor) -> Tensor:
        """The median of x (notes,) for each instrument."""
        return torch.stack([x[self.instrument == i].median() for i in self.instrument.unique()])


def swing_of(curves: Tensor, pitch: Tensor) -> Tensor:
    """How far the audible harmonics of curves (B, 256, 128) deviate from averages over 72 ms, rms: (B,)."""
    heard = audibility(curves, pitch)[:, LEVEL]
    power = (curves - average(curves)).square().mean(2, keepdim=True)[:, LEVEL]
    return ((power * heard).sum((1, 2)) / heard.sum((1, 2))).sqrt()


def judge_all(options: argparse.Namespace) -> None:
    """Measure real notes and what is trained of the variants, print a table and save it."""
    judge, known = Judge(), gan.CurveNotes(MusicAINotes("train"))
    table = {"real": {"measures": [judge.measured(judge.real.audio, judge.real.audio, judge.curves)]}}
    some = judge.known[
        torch.randperm(len(judge.known), generator=torch.Generator().manual_seed(0))[: len(judge.timbre)]
    ]
    table["real"]["measures"][0] |= {  # as many training notes, and two recordings that can stand in for each note
        "coverage, timbre": metrics.density_coverage(judge.timbre, some)[1],
        "two takes, dB apart": apart(*two_takes(known, *judge.condition)).mean().item(),
    }
    for name in NAMES:
        if (options.out / name / "facts.json").exists():
            facts = json.loads((options.out / name / "facts.json").read_text())
            model = gan.InstrumentGenerator.from_pretrained(options.out / name)
            table[name] = facts | {"measures": judge.played(model, options.seeds)}
    for measure in table["real"]["measures"][0]:
        cells = [np.array([row[measure] for row in one["measures"]]) for one in table.values()]
        print(f"{measure:42}", *(f"{x.mean():9.3f} +-{np.ptp(x) / 2:.3f}" for x in cells))
    where = {"device": options.device, "torch": torch.__version__, "date": datetime.now(UTC).date().isoformat()}
    with atomic_write(options.out / "ablation.json") as file:
        file.write(json.dumps(where | table, indent=1).encode())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--steps", type=int, default=1200)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--judge", action="store_true", help="measure what is trained instead of training")
    parser.add_argument("--seeds", type=int, default=3, help="how many takes of every note to judge")
    parser.add_argument("--device", default=device().type, help="what to call this machine in the table")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    (judge_all if options.judge else train_all)(options)


if __name__ == "__main__":
    main()
