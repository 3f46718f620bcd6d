"""A small instrument that learns from the instrument GAN: `musicai train distilled`. Chapter 8.

The GAN plays random notes, and the small network learns to give the same curves by plain regression: no recordings, no
game. What the ear hears weighs most: a harmonic counts by its level, and its mistuning only where it can be heard.
Four minutes on a busy core.
"""

from pathlib import Path

import torch
from torch import Tensor

from musicai.gan import InstrumentGenerator
from musicai.gan.curves import FRAMES, LEVEL, MISTUNING, NOISE, audible_harmonics
from musicai.performance.distilled import DistilledInstrument
from musicai.recipes.shared import TRIAL, finish, warm_cosine
from musicai.scale import device
from musicai.train import fit, seed_all, update

POOL, SHAPED = 4096, 512  # notes that the GAN plays, and those among them that the first shapes are fitted to
BATCH, MOMENTS, LR = 64, 32, 4e-3  # notes per step, frames of each, the peak learning rate


def random_notes(count: int, model: DistilledInstrument) -> tuple[Tensor, ...]:
    """Draw z, pitch, instrument and velocity of `count` notes, any that the model can play."""
    instrument = torch.randint(len(model.instruments), (count,))
    low, high = torch.tensor(model.lowest)[instrument], torch.tensor(model.highest)[instrument]
    pitch = low + (torch.rand(count) * (high - low + 1)).floor()
    z, velocity = torch.randn(count, model.config["z_size"]), 20.0 + 107 * torch.rand(count)
    return tuple(x.to(device()) for x in (z, pitch, instrument, velocity))


def taught(teacher: InstrumentGenerator, model: DistilledInstrument, notes: tuple[Tensor, ...]) -> Tensor:
    """The curves (B, 256, 128) of the teacher for notes whose instruments are numbered as the model's."""
    z, pitch, instrument, velocity = notes
    known = torch.as_tensor(teacher.index(model.instruments), device=z.device)
    with torch.no_grad():
        return teacher.curves(z, pitch, known[instrument], velocity)


def distance(curves: Tensor, target: Tensor, pitch: Tensor) -> Tensor:
    """The mean squared difference of curves (B, 256, frames), weighted by what can be heard."""
    heard = audible_harmonics(pitch) * (0.05 + 0.5 * (target[:, LEVEL] + 1)).square()
    error = (curves - target).square()
    return (heard * (error[:, LEVEL] + 0.3 * error[:, MISTUNING])).sum() / heard.sum() + 0.3 * error[:, NOISE].mean()


def train(name: str, out: Path, steps: int | None, seed: int, progress: bool) -> dict[str, float]:
    """Train, measure the distance to the GAN on fresh notes, and save."""
    seed_all(seed)
    steps, teacher = steps or 3_000, InstrumentGenerator.from_pretrained("instrument-gan", device())
    model = DistilledInstrument().to(device())
    pool = random_notes(POOL if steps >= TRIAL else BATCH, model)
    parts = zip(*(x.split(BATCH) for x in pool), strict=True)
    target = torch.cat([taught(teacher, model, part).half() for part in parts])
    model.curves.fit_shapes(target[:SHAPED].float())
    optimizer = torch.optim.Adam(model.parameters(), LR, betas=(0.9, 0.98))

    def step(n: int) -> dict[str, Tensor]:
        optimizer.param_groups[0]["lr"] = LR * warm_cosine(n, steps, end=0.01)
        chosen, moments = torch.randint(len(target), (BATCH,)), torch.randint(FRAMES, (MOMENTS,))
        notes = [x[chosen] for x in pool]
        curves = model.curves.rows @ model.curves.weigh(*notes) @ model.curves.times[:, moments]
        loss = distance(curves, target[chosen][..., moments].float(), notes[1])
        return {"loss": update(loss, optimizer, max_norm=1.0)}

    run = fit(
        step, lambda n: n, steps=steps, state={"model": model, "optimizer": optimizer}, ema={"model": 0.995},
        checkpoint=out / "run.safetensors", save_every=500, seed=seed, progress=progress,
    )  # fmt: skip
    best, notes = run.ema["model"].eval(), random_notes(SHAPED, model)
    with torch.no_grad():
        made, target = best.curves(*notes), taught(teacher, model, notes)
    loud = audible_harmonics(notes[1]) * (target[:, LEVEL] > -1 / 3)  # above -60 dB
    db = 45 * ((made - target)[:, LEVEL].square() * loud).sum().div(loud.sum()).sqrt().item()
    scores = {"fresh notes: error of harmonics above -60 dB, rms in dB": db}
    return finish(name, out, best.half(), run, "notes that `instrument-gan` plays", scores)
