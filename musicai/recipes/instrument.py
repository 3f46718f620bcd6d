"""The instrument GAN, and the classifier that judges it: `musicai train instrument`, `musicai train classifier`.

The GAN took 44 minutes on one crowded core. Its discriminator's loss should fall from 0.69 to about 0.45 and "held-out"
to about 0.03; a discriminator below 0.3 has learned the recordings by heart, and gamma should be larger. Chapter 4.
"""

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.nn.functional import pad as shifted

from musicai.data import MusicAINotes
from musicai.gan import CurveNotes, InstrumentDiscriminator, InstrumentGAN, InstrumentGenerator, r1_r2, relativistic
from musicai.metrics import InstrumentClassifier, instrument_accuracy, pitch_accuracy
from musicai.recipes.shared import SR, Ladder, finish, items_of
from musicai.scale import device
from musicai.train import TrainingRun, fit, seed_all, update

LADDER = {
    "acoustic_grand_piano": (60, 100), "violin": (69, 90), "flute": (79, 90), "trumpet": (67, 100),
    "cello": (43, 90), "marimba": (72, 100), "choir": (64, 90), "electric_bass": (33, 100),
}  # name -> pitch, velocity  # fmt: skip


@dataclasses.dataclass(frozen=True)
class InstrumentSettings:
    """What made the shipped GAN, in 8,000 steps. A quarter of the steps comes before the game, without an opponent."""

    size: int = 160
    batch: int = 32
    anchor: float = 10.0  # weight of the recordings' own z in the game
    gamma: float = 0.3  # weight of R1 + R2
    every: int = 8  # steps between penalties
    lr: float = 1e-3  # before the game, then half; down to a tenth over the last half of the run
    d_lr: float = 5e-4
    betas: tuple[float, float] = (0.0, 0.95)
    ema: float = 0.999
    recordings: int = 0


def game(settings: InstrumentSettings, warm: int) -> InstrumentGAN:
    """Generator, discriminator and a z for each recording on this machine's device, with Adam."""
    generator = InstrumentGenerator(settings.size).to(device())
    discriminator = InstrumentDiscriminator().to(device())
    codes = nn.Embedding(settings.recordings, generator.config["z_size"]).to(device())
    groups = [{"params": list(part.parameters())} for part in (generator, codes)]
    adams = (
        torch.optim.Adam(groups, settings.lr, settings.betas),
        torch.optim.Adam(discriminator.parameters(), settings.d_lr, settings.betas),
    )
    rules = {"warm": warm, "anchor": settings.anchor, "loss": relativistic}
    rules |= {"penalty": r1_r2, "weight": settings.gamma, "every": settings.every}
    return InstrumentGAN(generator.curves, discriminator, *adams, instrument=generator, codes=codes, **rules)


def set_rates(gan: InstrumentGAN, settings: InstrumentSettings, steps: int) -> None:
    """The learning rates of the next step: constant, then linearly down; lower in the game; higher for the codes."""
    late = max(0.0, min(1.0, 2 * gan.steps / steps - 1))
    weights, codes = gan.g_optimizer.param_groups
    weights["lr"] = (1 - 0.9 * late) * settings.lr * (1.0 if gan.steps < gan.warm else 0.5)
    codes["lr"] = 5 * weights["lr"]
    gan.d_optimizer.param_groups[0]["lr"] = (1 - 0.9 * late) * settings.d_lr


def train(name: str, out: Path, steps: int | None, seed: int, progress: bool) -> Mapping[str, float]:
    """Train, judge and save."""
    steps = steps or 8_000
    seed_all(seed)
    training, held_out = items_of(MusicAINotes("train"), steps), items_of(MusicAINotes("test"), steps, 8)
    notes, unheard = CurveNotes(training, progress=progress), CurveNotes(held_out, progress=False)
    settings = InstrumentSettings(recordings=notes.recordings)
    gan = game(settings, warm=steps // 4)
    pitches, velocities = zip(*LADDER.values(), strict=True)
    ladder = Ladder(out, "generator", lambda model: {"": model.play(pitches, [*LADDER], velocities, seed=4).flatten()})
    ladder.save(gan.state["generator"], 0)

    def step(batch: tuple[Tensor, ...]) -> dict[str, Tensor]:
        set_rates(gan, settings, steps)
        return gan.step(batch)

    @torch.no_grad()
    def distances(run: TrainingRun) -> dict[str, float]:
        """Mean absolute difference of curves: to held-out notes, and between two z of one note."""
        curves = run.ema["generator"].curves
        real, *note = (part.to(device()) for part in unheard.exact(torch.arange(len(unheard))))
        one, two = (curves(curves.latent(len(real)), *note) for _ in range(2))
        return {"held-out": (one - real).abs().mean(), "between z": (one - two).abs().mean()}

    run = fit(
        step, lambda n: notes.batch(torch.randint(len(notes), (settings.batch,))), steps=steps, state=gan.state,
        ema={"generator": settings.ema}, precision="auto", checkpoint=out / "run.safetensors", save_every=250,
        callbacks=[(100, ladder), (250, distances)], config=settings, seed=seed, progress=progress,
    )  # fmt: skip
    facts = {"what": "plays any note of 17 instruments: (z, pitch, instrument, velocity) to a second at 16 kHz"}
    facts["data"] = f'`MusicAINotes("train")`: {len(training)} notes, {notes.recordings} recordings'
    return finish(name, out, run.ema["generator"], run, facts, judged(run.ema["generator"], held_out))


@torch.no_grad()
def judged(model: InstrumentGenerator, items: list[dict]) -> dict[str, float]:
    """How often judges hear the pitch and the instrument that were asked for, beside the same for the real notes."""
    pitch, instrument, velocity = (torch.tensor([i[k] for i in items]) for k in ("pitch", "instrument", "velocity"))
    z, condition = torch.randn(len(items), model.config["z_size"]), (pitch, instrument, velocity)
    parts = zip(*(part.to(device()).split(32) for part in (z, *condition)), strict=True)
    sounds = {"generated": torch.cat([model(*part)[:, 0] for part in parts]).cpu()}
    sounds["real"] = torch.stack([item["audio"] for item in items])
    scores = {f"pitch accuracy, {who}": pitch_accuracy(audio, pitch) for who, audio in sounds.items()}
    return scores | {f"instrument accuracy, {who}": instrument_accuracy(x, instrument) for who, x in sounds.items()}


# ---- the classifier


def stacked(items: list[dict]) -> tuple[Tensor, Tensor]:
    """Sounds (notes, time) and instruments (notes,)."""
    return torch.stack([item["audio"] for item in items]), torch.tensor([item["instrument"] for item in items])


def varied(x: Tensor) -> Tensor:
    """The same notes through another room: up to 50 ms early or late, tone controls of up to 6 dB, half with noise.

    So the classifier learns the instrument rather than the recording.
    """
    draw = torch.rand(4, len(x), 1)
    late = int(1600 * torch.rand(1)) - 800
    x = shifted(x, (late, -late))
    spectrum, f = torch.fft.rfft(x), torch.linspace(0, 1, x.shape[-1] // 2 + 1)
    tone = 6 * (2 * draw[0] - 1) * (torch.pi * f * (1 + 3 * draw[1])).cos()  # dB
    x = torch.fft.irfft(spectrum * 10 ** (tone / 20), x.shape[-1])
    level = x.square().mean(-1, keepdim=True).sqrt() * 10 ** (-(20 + 40 * draw[2]) / 20)
    return x + (draw[3] < 0.5) * level * torch.randn(x.shape)


def train_classifier(name: str, out: Path, steps: int | None, seed: int, progress: bool) -> Mapping[str, float]:
    """Train the classifier on the training split alone; it is judged on pitches that are not in it."""
    steps, notes = steps or 700, MusicAINotes("train")
    seed_all(seed)
    (x, y), model = stacked(items_of(notes, steps)), InstrumentClassifier(notes.instruments).to(device())
    optimizer = torch.optim.AdamW(model.parameters(), 4e-3, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=steps + 1)

    def step(chosen: Tensor) -> dict[str, Tensor]:
        logits = model(varied(x[chosen]).to(device()))
        loss = update(cross_entropy(logits, y[chosen].to(device()), label_smoothing=0.05), optimizer)
        schedule.step()
        return {"loss": loss}

    run = fit(
        step, lambda n: torch.randint(len(x), (64,)), steps=steps, save_every=100, config={"notes": len(x)},
        state={"model": model, "optimizer": optimizer, "schedule": schedule}, checkpoint=out / "run.safetensors",
        seed=seed, progress=progress,
    )  # fmt: skip
    model.eval().cpu()
    splits = {split: stacked(items_of(MusicAINotes(split), steps, 32)) for split in ("valid", "test")}
    scores = {f"right, {split}": instrument_accuracy(*pair, SR, model) for split, pair in splits.items()}
    facts = {"what": "names the instrument of a note", "data": f'`MusicAINotes("train")`: {len(x)} notes'}
    return finish(name, out, model, run, facts, scores)
