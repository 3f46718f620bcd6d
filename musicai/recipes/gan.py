"""Chapter 4's models: `musicai train instrument`, `musicai train classifier`, `musicai train drums`.

The instrument GAN takes about an hour on one core. Its discriminator's loss should fall from 0.69 to about 0.35. Below
0.2 it has memorised the recordings, and gamma should be larger. On a GPU, the WaveGAN of drums (Donahue et al. 2019) is
trained as the shipped `wavegan-drums`: d = 48, which took 4 minutes on an H200. On a CPU it is smaller: d = 12, 18
minutes of one core, and farther from its data (a Frechet distance of 5.1 rather than 2.0).
"""

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, pad

from musicai import gan, metrics
from musicai.data import MusicAIDrums, MusicAINotes
from musicai.metrics.features import in_batches
from musicai.recipes.shared import SR, TRIAL, finish, items_of, listening_ladder
from musicai.scale import device
from musicai.train import Batches, fit, seed_all, update

# ---- the instrument

LADDER = {
    "acoustic_grand_piano": (60, 100), "violin": (69, 90), "flute": (79, 90), "trumpet": (67, 100),
    "cello": (43, 90), "marimba": (72, 100), "choir": (64, 90), "electric_bass": (33, 100),
}  # name -> pitch, velocity  # fmt: skip
LR = 1e-3  # before the game, then half of it; falls to a tenth over the last half of the run
D_LR, BETAS = 5e-4, (0.0, 0.95)


def instrument_game(recordings: int, warm: int) -> gan.InstrumentGAN:
    """Build the generator, the discriminator and a z for each recording on this machine's device, with Adam."""
    generator = gan.InstrumentGenerator(160).to(device())
    discriminator = gan.InstrumentDiscriminator().to(device())
    codes = nn.Embedding(recordings, generator.config["z_size"]).to(device())
    groups = [{"params": list(part.parameters())} for part in (generator, codes)]
    adams = torch.optim.Adam(groups, LR, BETAS), torch.optim.Adam(discriminator.parameters(), D_LR, BETAS)
    rules = {"loss": gan.relativistic, "penalty": gan.r1_r2, "weight": 0.3, "every": 8, "warm": warm, "anchor": 10.0}
    return gan.InstrumentGAN(generator.curves, discriminator, *adams, instrument=generator, codes=codes, **rules)


def set_rates(game: gan.InstrumentGAN, steps: int) -> None:
    """Set the next step's learning rates: constant, then falling linearly; lower in the game, higher for the codes."""
    late = max(0.0, min(1.0, 2 * game.steps / steps - 1))
    weights, codes = game.g_optimizer.param_groups
    weights["lr"] = (1 - 0.9 * late) * LR * (1.0 if game.steps < game.warm else 0.5)
    codes["lr"] = 5 * weights["lr"]
    game.d_optimizer.param_groups[0]["lr"] = (1 - 0.9 * late) * D_LR


def train_instrument(name: str, out: Path, steps: int | None, seed: int, progress: bool) -> dict[str, float]:
    """Train, judge and save."""
    steps = steps or 8_000
    seed_all(seed)
    training, held_out = items_of(MusicAINotes("train"), steps), items_of(MusicAINotes("test"), steps, 8)
    notes = gan.CurveNotes(training, progress=progress)
    game = instrument_game(notes.recordings, warm=steps // 4)  # a quarter of the steps come before the game
    pitches, velocities = zip(*LADDER.values(), strict=True)
    model = game.state["generator"]
    climb = listening_ladder(out, model, lambda g: {"": g.play(pitches, [*LADDER], velocities, seed=4).flatten()})

    def step(batch: tuple[Tensor, ...]) -> dict[str, Tensor]:
        set_rates(game, steps)
        return game.step(batch)

    run = fit(
        step, lambda n: notes.batch(torch.randint(len(notes), (32,))), steps=steps, state=game.state,
        ema={"generator": 0.999}, checkpoint=out / "run.safetensors", save_every=250,  # bf16 would roughen the curves
        callbacks=[(100, climb)], config={"recordings": notes.recordings}, seed=seed, progress=progress,
    )  # fmt: skip
    model, real = run.ema["generator"], metrics.Sounds.from_dataset(held_out)
    made = real._replace(audio=imitated(model, held_out))
    judged = metrics.judge(made, real, metrics.Sounds.from_dataset(training), embeddings={})
    scores = {f"{score.name}, {who}": score[i] for score in judged for i, who in ((1, "generated"), (2, "real"))}
    data = f'`MusicAINotes("train")`: {len(training)} notes, {notes.recordings} recordings'
    return finish(name, out, model.half(), run, data, scores)


def imitated(model: gan.InstrumentGenerator, items: list[dict]) -> Tensor:
    """The same notes played by the model, with one random z each: (notes, time)."""
    notes = [torch.tensor([item[key] for item in items]) for key in ("pitch", "instrument", "velocity")]
    notes.append(torch.randn(len(items), model.config["z_size"]))
    return in_batches(lambda i: model.play(*(part[i] for part in notes))[:, 0], torch.arange(len(items)), 32).cpu()


# ---- the classifier


def varied(x: Tensor) -> Tensor:
    """Augment the notes: up to 50 ms early or late, tone controls of up to 6 dB, and noise in half of them.

    This makes the classifier learn the instrument rather than the recording.
    """
    draw = torch.rand(4, len(x), 1)
    late = int(1600 * torch.rand(1)) - 800
    x = pad(x, (late, -late))
    spectrum, f = torch.fft.rfft(x), torch.linspace(0, 1, x.shape[-1] // 2 + 1)
    tone = 6 * (2 * draw[0] - 1) * (torch.pi * f * (1 + 3 * draw[1])).cos()  # dB
    x = torch.fft.irfft(spectrum * 10 ** (tone / 20), x.shape[-1])
    level = x.square().mean(-1, keepdim=True).sqrt() * 10 ** (-(20 + 40 * draw[2]) / 20)
    return x + (draw[3] < 0.5) * level * torch.randn(x.shape)


def train_classifier(name: str, out: Path, steps: int | None, seed: int, progress: bool) -> dict[str, float]:
    """Train the classifier on the training split alone and evaluate it on pitches that are not in it."""
    steps, notes = steps or 700, MusicAINotes("train")
    seed_all(seed)
    x, _, y = metrics.Sounds.from_dataset(items_of(notes, steps))
    model = metrics.InstrumentClassifier(notes.instruments).to(device())
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
    scores = {}
    for split in ("valid", "test"):
        held_out = metrics.Sounds.from_dataset(items_of(MusicAINotes(split), steps))
        scores[f"right, {split}"] = metrics.instrument_accuracy(held_out.audio, held_out.instrument, SR, model)
    return finish(name, out, model, run, f'`MusicAINotes("train")`: {len(x)} notes', scores)


# ---- the drums

# Given the same time on one core, WGAN-GP, with its five critic steps, was far behind.
CPU = {"size": 12, "batch": 16, "lr": 3e-4, "ema": 0.995, "steps": 4_400}
GPU = {"size": 48, "batch": 64, "lr": 2e-4, "ema": 0.999, "steps": 9_000}


def drum_sounds(split: str) -> Tensor:
    """All drums of a split, each with the same peak: (N, 1, 16384)."""
    audio = torch.stack([item["audio"] for item in MusicAIDrums(split)])
    return pad(0.9 * audio / audio.abs().amax(-1, keepdim=True), (0, 16_384 - SR))[:, None]


def train_drums(name: str, out: Path, steps: int | None, seed: int, progress: bool) -> dict[str, float]:
    """Train, judge and save."""
    fused = device().type == "cuda"
    settings, audio = GPU if fused else CPU, drum_sounds("train")
    steps, size = steps or settings["steps"], settings["size"]
    seed_all(seed)
    players = [network(size).to(device()) for network in (gan.WaveGANGenerator, gan.WaveGANDiscriminator)]
    adams = [torch.optim.Adam(player.parameters(), settings["lr"], (0.5, 0.99), fused=fused) for player in players]
    game = gan.GAN(*players, *adams, loss=gan.non_saturating, penalty=gan.r1, weight=5.0, every=4)
    z = (torch.rand(8, 100, generator=torch.Generator().manual_seed(4)) * 2 - 1).to(device())
    climb = listening_ladder(out, game.generator, lambda generator: {"": in_batches(generator, z).flatten()})
    run = fit(
        lambda real: game.step(real.to(device())), Batches(audio, settings["batch"], seed=seed), steps=steps,
        state=game.state, ema={"generator": settings["ema"]}, precision="auto", checkpoint=out / "run.safetensors",
        save_every=200, callbacks=[(100, climb)], config=settings, seed=seed, progress=progress,
    )  # fmt: skip
    model, held_out = run.ema["generator"], torch.cat([drum_sounds("valid"), drum_sounds("test")])
    made = in_batches(model, model.latent(len(held_out) if steps >= TRIAL else 32)).cpu()
    scores = {}
    for who, x in {"generated": made, "real": held_out}.items():
        distance = metrics.frechet_audio_distance(audio, x, embedding=metrics.log_mel_statistics)
        scores[f"Frechet distance to the training drums, {who}"] = distance
    return finish(name, out, model, run, f'`MusicAIDrums("train")`: {len(audio)} sounds', scores)
