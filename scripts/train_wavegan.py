"""Trains a WaveGAN on the shipped drums: `python scripts/train_wavegan.py --config cpu --out runs/wavegan`.

Can be broken off at any time; the same call goes on, on a CPU bit for bit. It leaves in OUT: `run.safetensors` (all of
the run), `model/` (the averaged generator, as `from_pretrained` reads it), `ladder/` (the same eight z, heard after 0,
100, 200, 500, ... steps), `curves.npz` (every loss of every step) and `table.json` (the judges beside their ceiling).
Chapter 4.

    config     d   batch   game                     steps     on                      expected
    cpu       12      16   non-saturating, R1       4,400     one core                18 minutes of its time
    t4        32      64   the paper's, WGAN-GP     40,000    a T4                    not measured
    h100      64      64   the paper's, WGAN-GP     100,000   an H100, bf16           not measured
    paper     64      64   the paper's, WGAN-GP     200,000   (Donahue et al. 2019)   4 days on a P100, they say
"""

import argparse
import dataclasses
import json
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad
from training import RUNGS, add_settings, save_rung, settings

from musicai import gan as g
from musicai.data import MusicAIDrums
from musicai.metrics import Sounds, frechet_audio_distance, judge, log_mel_statistics, report
from musicai.scale import device
from musicai.train import Batches, Run, fit, seed_all

GAMES = {  # loss, penalty
    "wasserstein": (g.wasserstein, g.gradient_penalty),
    "relativistic": (g.relativistic, g.r1_r2),
    "non_saturating": (g.non_saturating, g.r1),
    "hinge": (g.hinge, g.r1),
}


@dataclasses.dataclass(frozen=True)
class Config:
    """What decides a run."""

    size: int = 64
    batch: int = 64
    game: str = "wasserstein"
    weight: float = 10.0
    every: int = 1
    n_critic: int = 5
    lr: float = 1e-4
    beta1: float = 0.5
    beta2: float = 0.9
    ema: float = 0.999
    steps: int = 200_000


CONFIGS = {
    "paper": Config(),
    "h100": Config(steps=100_000),
    "t4": Config(size=32, steps=40_000),
    # In equal minutes on one core WGAN-GP, with its five critics, is far behind this one.
    "cpu": Config(12, 16, "non_saturating", weight=5, every=4, n_critic=1, lr=3e-4, beta2=0.99, ema=0.995, steps=4400),
}


def drums(split: str) -> Tensor:
    """All drums of a split, each as loud as the others at its peak: (N, 1, 16384)."""
    audio = torch.stack([item["audio"] for item in MusicAIDrums(split)])
    return pad(0.9 * audio / audio.abs().amax(-1, keepdim=True), (0, 16_384 - 16_000))[:, None]


def players(config: Config, compiled: bool) -> g.GAN:
    """Both networks on this machine's device, with Adam (Kingma and Ba 2015), fused where there is a GPU."""
    where = device()
    generator = g.WaveGANGenerator(config.size).to(where)
    discriminator = g.WaveGANDiscriminator(config.size).to(where)
    if compiled:
        generator.compile()
        discriminator.compile()
    optimizers = [
        torch.optim.Adam(model.parameters(), config.lr, (config.beta1, config.beta2), fused=where.type == "cuda")
        for model in (generator, discriminator)
    ]
    loss, penalty = GAMES[config.game]
    penalty = penalty if config.weight else None
    how = {"weight": config.weight, "every": config.every, "n_critic": config.n_critic}
    return g.GAN(generator, discriminator, *optimizers, loss=loss, penalty=penalty, **how)


@torch.no_grad()
def generate(generator: torch.nn.Module, z: Tensor) -> Tensor:
    """Sounds (N, 1, 16384) for z, on the CPU."""
    return torch.cat([generator(part) for part in z.split(64)]).cpu()


class Listener:
    """The callback: rungs of the ladder, and how far the averaged generator is from drums it has never seen."""

    def __init__(self, out: Path):
        self.out = out
        self.held_out = torch.cat([drums("valid"), drums("test")])
        self.z = torch.rand(8, 100, generator=torch.Generator().manual_seed(4)) * 2 - 1

    def rung(self, generator: torch.nn.Module, step: int) -> None:
        """Eight sounds from the same z, one after the other."""
        save_rung(self.out, step, generate(generator, self.z.to(device())).flatten())

    def __call__(self, run: Run) -> None:
        if run.step in RUNGS or run.finished:
            self.rung(run.ema["generator"], run.step)

    def distance(self, run: Run) -> dict[str, float]:
        generator = run.ema["generator"]
        return {"frechet": frechet_audio_distance(self.held_out, generate(generator, generator.latent(512)))}


def table(generator: torch.nn.Module) -> list:
    """All judges that need no label, beside what they say of held-out drums: as many generated as held out."""
    held_out = torch.cat([drums("valid"), drums("test")])
    generator.cpu()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        generated = generate(generator, generator.latent(len(held_out)))
    sounds = [Sounds(x[:, 0, :16_000]) for x in (generated, held_out, drums("train"))]
    return judge(*sounds, pitch={}, classifiers={}, embeddings={"log-mel": log_mel_statistics})


def main() -> None:
    args = arguments()
    seed_all(args.seed)
    game = players(args.settings, args.compile)
    listener, audio = Listener(args.out), drums("train")
    if not (args.out / "run.safetensors").exists():
        listener.rung(game.generator, 0)
    begin, where = time.process_time(), device()
    run = fit(
        lambda real: game.step(real.to(where)),
        Batches(audio, args.settings.batch * args.settings.n_critic, seed=args.seed),
        steps=args.settings.steps,
        minutes=args.minutes,
        state=game.state,
        ema={"generator": args.settings.ema},
        checkpoint=args.out / "run.safetensors",
        save_every=200,
        callbacks=[(100, listener), (args.judge, listener.distance)],
        config=dataclasses.replace(args.settings, steps=0),
        precision=args.precision,
        seed=args.seed,
    )
    run.ema["generator"].save_pretrained(args.out / "model")
    curves = {name: np.array(column, np.float16) for name, column in run.history.items()}
    np.savez_compressed(args.out / "curves.npz", **curves)
    scores = table(run.ema["generator"])
    facts = {"step": run.step, "cpu_seconds": time.process_time() - begin, "scores": [s._asdict() for s in scores]}
    (args.out / "table.json").write_text(json.dumps(facts, indent=2) + "\n")
    print(report(scores))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_settings(parser, CONFIGS)
    parser.add_argument("--out", type=Path, default=Path("runs/wavegan"))
    parser.add_argument("--minutes", type=float, help="stop after this time; call again to go on")
    parser.add_argument("--precision", help="bf16, fp16 or auto")
    parser.add_argument("--compile", action="store_true", help="torch.compile both networks")
    parser.add_argument("--judge", type=int, default=500, help="measure the held-out distance every so many steps")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    args.settings = settings(args, CONFIGS)
    return args


if __name__ == "__main__":
    main()
