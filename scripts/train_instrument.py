"""Trains the instrument GAN on the shipped notes: `python scripts/train_instrument.py --config cpu`.

Can be broken off at any time; the same call goes on, on a CPU bit for bit. It leaves in OUT: `run.safetensors` (all of
the run), `model/` (the averaged generator, as `from_pretrained` reads it), `ladder/` (the same eight z and notes, heard
after 0, 100, 200, 500, ... steps) and `history.json` (the curves). Chapter 4.

    config   batch   steps    expected
    cpu         32    8,000   44 minutes of a crowded core; discriminator 0.69 falling to 0.45, distance 0.03
    t4          64   40,000   not measured
    h100       128   60,000   not measured

A discriminator's loss that falls below 0.3 means that it has learned the recordings by heart: raise --gamma.
"""

import argparse
import dataclasses
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from training import RUNGS, add_settings, save_rung, settings

from musicai.data import MusicAINotes
from musicai.gan import CurveNotes, InstrumentDiscriminator, InstrumentGAN, InstrumentGenerator
from musicai.scale import device
from musicai.train import Run, fit, load_checkpoint, seed_all

LADDER = (
    ("acoustic_grand_piano", 60, 100),
    ("violin", 69, 90),
    ("flute", 79, 90),
    ("trumpet", 67, 100),
    ("cello", 43, 90),
    ("marimba", 72, 100),
    ("choir", 64, 90),
    ("electric_bass", 33, 100),
)


@dataclasses.dataclass(frozen=True)
class Config:
    """What decides a run."""

    size: int = 160
    batch: int = 32
    steps: int = 8_000
    warm: int = 2_000  # steps before the game begins
    anchor: float = 10.0  # weight of the recordings' own z in the game
    gamma: float = 0.3  # weight of R1 + R2
    every: int = 8  # steps between penalties
    lr: float = 1e-3  # before the game, then half; down to a tenth over the last half
    d_lr: float = 5e-4
    beta1: float = 0.0
    beta2: float = 0.95
    ema: float = 0.999


CONFIGS = {
    "cpu": Config(),
    "t4": Config(size=192, batch=64, steps=40_000),
    "h100": Config(size=256, batch=128, steps=60_000),
}


class Game(InstrumentGAN):
    """The game on this machine's device, and its learning rates."""

    def __init__(self, config: Config, notes: CurveNotes):
        where = device()
        generator, discriminator = InstrumentGenerator(config.size).to(where), InstrumentDiscriminator().to(where)
        codes = nn.Embedding(notes.recordings, generator.config["z_size"]).to(where)
        betas = (config.beta1, config.beta2)
        groups = [{"params": list(generator.parameters())}, {"params": list(codes.parameters())}]
        g_optimizer = torch.optim.Adam(groups, config.lr, betas)
        d_optimizer = torch.optim.Adam(discriminator.parameters(), config.d_lr, betas)
        how = {name: getattr(config, name) for name in ("warm", "anchor", "every")}
        super().__init__(generator, discriminator, codes, g_optimizer, d_optimizer, weight=config.gamma, **how)
        self.config = config

    def step(self, batch: tuple[Tensor, ...]) -> dict[str, Tensor]:
        late = max(0.0, min(1.0, 2 * self.steps / self.config.steps - 1))
        rate = (1 - 0.9 * late) * self.config.lr
        weights, codes = self.g_optimizer.param_groups
        weights["lr"] = rate * (1.0 if self.steps < self.warm else 0.5)
        codes["lr"] = 5 * weights["lr"]
        self.d_optimizer.param_groups[0]["lr"] = rate * self.config.d_lr / self.config.lr
        return super().step(batch)


class Listener:
    """The callbacks: rungs of the ladder, and how far generated curves are from those of notes never seen."""

    def __init__(self, out: Path):
        self.out = out
        self.held_out = CurveNotes([*_items("valid"), *_items("test")], progress=False)

    def rung(self, generator: InstrumentGenerator, step: int) -> None:
        """The notes of the ladder, one after the other."""
        names, pitches, velocities = zip(*LADDER, strict=True)
        save_rung(self.out, step, generator.play(pitches, names, velocities, seed=4).flatten())

    def __call__(self, run: Run) -> None:
        if run.step in RUNGS or run.finished:
            self.rung(run.ema["generator"], run.step)

    @torch.no_grad()
    def judge(self, run: Run) -> dict[str, float]:
        """Mean absolute difference of curves: to held-out notes, and between two z of one note."""
        curves = run.ema["generator"].curves
        real, *note = (part.to(device()) for part in self.held_out.exact(torch.arange(len(self.held_out))))
        one, two = (curves(curves.latent(len(real)), *note) for _ in range(2))
        run.ema["generator"].save_pretrained(self.out / "model")
        return {"held-out": (one - real).abs().mean(), "between z": (one - two).abs().mean()}


def blocks(history: Mapping[str, Sequence[float]], size: int = 25) -> dict[str, list[float | None]]:
    """The means of every so many steps, and which step ends each; None where nothing was measured."""

    def mean(values: Sequence[float]) -> float | None:
        found = [value for value in values if value == value]
        return round(sum(found) / len(found), 5) if found else None

    steps = max(map(len, history.values()))
    ends = [min(start + size, steps) for start in range(0, steps, size)]
    columns = {name: [mean(column[max(0, end - size) : end]) for end in ends] for name, column in history.items()}
    return {"step": ends} | columns


def _items(split: str) -> list[dict]:
    notes = MusicAINotes(split)
    return [notes[i] for i in range(len(notes))]


def main() -> None:
    args = arguments()
    seed_all(args.seed)
    notes, listener = CurveNotes(MusicAINotes("train")), Listener(args.out)
    game = Game(args.settings, notes)
    if not (args.out / "run.safetensors").exists():
        listener.rung(game.instrument, 0)
    if args.start and not (args.out / "run.safetensors").exists():
        load_checkpoint(args.start, {name: part for name, part in game.state.items() if name != "gan"})
    start = time.perf_counter()
    run = fit(
        game.step,
        lambda n: notes.batch(torch.randint(len(notes), (args.settings.batch,))),
        steps=args.settings.steps,
        minutes=args.minutes,
        state=game.state,
        ema={"generator": args.settings.ema},
        checkpoint=args.out / "run.safetensors",
        save_every=args.judge,
        callbacks=[(100, listener), (args.judge, listener.judge)],
        config=args.settings,
        precision=args.precision,
        seed=args.seed,
    )
    history = blocks(run.history)
    (args.out / "history.json").write_text(json.dumps(history) + "\n")
    run.ema["generator"].save_pretrained(args.out / "model")
    print(f"step {run.step}, {time.perf_counter() - start:.0f} s: python scripts/evaluate_gan.py {args.out}/model")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_settings(parser, CONFIGS)
    parser.add_argument("--out", type=Path, default=Path("runs/instrument"))
    parser.add_argument("--minutes", type=float, help="stop after this time; call again to go on")
    parser.add_argument("--start", type=Path, help="the run.safetensors of an earlier run, to begin where it ended")
    parser.add_argument("--precision", help="bf16, fp16 or auto")
    parser.add_argument("--judge", type=int, default=250, help="measure and save every so many steps")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    args.settings = settings(args, CONFIGS)
    return args


if __name__ == "__main__":
    main()
