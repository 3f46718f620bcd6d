"""WaveNets that play a score at 16 kHz, or babble: `musicai train renderer`, `renderer-categorical`, `unconditional`.

They learn from renderings of folk tunes by the sampled flute and trumpet, and from the sampled notes themselves. The
partials of the notes are fitted first (partials.safetensors), then frozen while the WaveNet learns the rest. On one
core that takes 24 and 14 minutes; larger versions with seven instruments did not work (see DECISIONS.md). Chapter 5.
"""

import dataclasses
import hashlib
import math
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from scipy.sparse import csr_array
from torch import Tensor

from musicai.audio import mu_law_decode, mu_law_encode
from musicai.data import FolkCorpus, MusicAINotes
from musicai.notes import Note, Score, Track
from musicai.performance import PROGRAMS, render
from musicai.recipes.shared import SR, TRIAL, finish, listening_ladder, spread, warm_cosine
from musicai.scale import device
from musicai.train import TrainingRun, fit, seed_all, update
from musicai.wavenet import ScoreConfig, ScoreWaveNet, WaveNet, WaveNetConfig, sample, score_frames

HOP, SILENCE = 160, 128
MARGIN = 2  # frames on either side of its own that a sample's conditioning may see
SHAPE = {"layers": 21, "stacks": 3, "residual_channels": 32, "skip_channels": 32, "end_channels": 64}
INSTRUMENTS = ("flute", "trumpet")
BATCH, FRAMES, LR = 2, 20, 3e-3  # crops per step; frames of 10 ms that count in each; the peak learning rate
TUNES = 160
PARTIAL_STEPS = 7_000  # before the WaveNet's steps, with 16 crops each


# Longer training gives fewer bits but worse playing (the card has a table).
STEPS = {"renderer": 4_000, "renderer-categorical": 12_000, "unconditional": 1_200}


# ---- data: pieces, their audio as mu-law codes, crops


@dataclasses.dataclass
class Piece:
    """A score for one instrument; `recording` is its audio if it is a sampled note rather than a rendering."""

    name: str
    score: Score
    instrument: str
    recording: Tensor | None = None

    @cached_property
    def codes(self) -> np.ndarray:
        """The audio, one channel, as mu-law codes: uint8 (time,)."""
        audio = render(self.score).mean(0) * 2**0.5 if self.recording is None else self.recording
        return mu_law_encode(audio.clamp(-1, 1)).numpy().astype(np.uint8)

    @cached_property
    def frames(self) -> csr_array:
        """The score frames (frames, 528), sparse because few are nonzero; making them takes longer than a step."""
        return csr_array(score_frames(self.score, SR, HOP, len(self.codes)).T.numpy())


def tune_pieces(split: str, count: int) -> list[Piece]:
    """Folk tunes spread over the split, for each instrument in turn; a small count reads only part of the corpus."""
    tunes = spread(FolkCorpus(split, limit=192 if count < 10 else None), count)
    return [
        as_piece(f"{tune.collection} {tune.number} {tune.name}", tune.to_score(), INSTRUMENTS[i % len(INSTRUMENTS)])
        for i, tune in enumerate(tunes)
    ]


def note_pieces(split: str) -> list[Piece]:
    """The sampled notes of a split, each a score of one note."""
    found = []
    for item in MusicAINotes(split, INSTRUMENTS):
        note = Note(item["pitch"], 0.0, 2.0, item["velocity"])  # 1 s at 120 beats per minute
        score = Score((Track((note,), program=PROGRAMS.index(item["instrument_name"])),))
        found.append(Piece(item["note"], score, item["instrument_name"], item["audio"]))
    return found


def as_piece(name: str, score: Score, instrument: str) -> Piece:
    """The opening of a score for one instrument, with a velocity for each note that depends only on the name."""
    rng = np.random.default_rng(list(hashlib.blake2b(name.encode(), digest_size=8).digest()))
    end, program = score.beats(20.0), PROGRAMS.index(instrument)  # 20 seconds
    notes = [note for track in score.tracks for note in track.notes if note.end <= end]
    played = tuple(Note(n.pitch, n.start, n.duration, int(rng.integers(60, 105))) for n in notes)
    return Piece(name, Score((Track(played, program=program),), score.tempos), instrument)


def pieces_of(split: str, trial: bool = False) -> list[Piece]:
    """The tunes and notes of a split; only a few in a trial."""
    tunes, notes = TUNES if split == "train" else TUNES // 5, note_pieces(split)
    pieces = tune_pieces(split, 2 if trial else tunes) + spread(notes, 4 if trial else len(notes))
    return [piece for piece in pieces if piece.score.notes]


class Crops:
    """Training crops: calling it with n gives batch n, `batch` crops of FRAMES frames, a function of (seed, n) only.

    >>> codes, local, instrument = Crops(pieces, receptive_field=382)(n)  # doctest: +SKIP

    A crop is [context | FRAMES | margin]; `valid` cuts out the middle. Only there does a network see everything it
    would see in the whole piece, so only that part counts in a loss.
    """

    def __init__(self, pieces: list[Piece], receptive_field: int, seed: int = 0, batch: int = BATCH):
        self.pieces, self.seed, self.batch = pieces, seed, batch
        self.context = -(-receptive_field // HOP) + MARGIN
        self.valid = slice(self.context * HOP, (self.context + FRAMES) * HOP)

    def places(self, n: int) -> list[tuple[Piece, int]]:
        """(piece, first valid frame) of each crop of batch n; long pieces come more often, so samples count alike."""
        rng, lengths = np.random.default_rng((self.seed, n)), np.array([len(piece.codes) for piece in self.pieces])
        chosen = rng.choice(len(lengths), self.batch, p=lengths / lengths.sum())
        return [(self.pieces[i], int(rng.integers(max(1, lengths[i] // HOP - FRAMES + 1)))) for i in chosen]

    def __call__(self, n: int) -> tuple[Tensor, Tensor, Tensor]:
        total = self.context + FRAMES + MARGIN
        crops = [crop(piece, first - self.context, total) for piece, first in self.places(n)]
        codes, local, instrument = zip(*crops, strict=True)
        return torch.stack(codes), torch.stack(local), torch.tensor(instrument)


def crop(piece: Piece, first: int, count: int) -> tuple[Tensor, Tensor, int]:
    """Codes, score frames and instrument of frames [first, first + count) of a piece, with silence beyond its ends."""
    t, f = np.arange(first * HOP, (first + count) * HOP), np.arange(first, first + count)
    length, frames = len(piece.codes), piece.frames.shape[0]
    codes = np.where((t >= 0) & (t < length), piece.codes[t.clip(0, length - 1)], SILENCE)
    local = piece.frames[f.clip(0, frames - 1)].toarray() * ((f >= 0) & (f < frames))[:, None]
    return torch.from_numpy(codes).long(), torch.from_numpy(local.T).float(), INSTRUMENTS.index(piece.instrument)


# ---- the model and its initial weights


def build(name: str, training: list[Piece]) -> WaveNet:
    """Build the model that a run begins with."""
    if name == "unconditional":
        model = WaveNet(WaveNetConfig(**SHAPE))
    else:
        mixtures = 10 if name == "renderer" else 0  # Gaussians; the other two predict one of 256 codes
        model = ScoreWaveNet(ScoreConfig(**SHAPE, mixtures=mixtures, instruments=INSTRUMENTS, global_channels=8))
    good_start(model, training)
    return model.to(device())


@torch.no_grad()
def good_start(model: WaveNet, training: list[Piece]) -> None:
    """Initialise what needn't be learned, because a CPU has no minutes to spare.

    For a mixture: Gaussians from narrow (as wide as the errors) to wide (as wide as the values), and inputs of size 1.
    For codes: how common each is, which saves half a bit, and similar vectors for neighbouring codes, from the rows of
    a cosine basis.
    """
    bias, k = model.head.linear.bias, model.config.mixtures
    if k:
        bias[:k] = 0.0
        bias[2 * k :] = torch.linspace(math.log(0.003), math.log(0.3), k)
        model.input.weight.mul_(5.0)
        return
    counts = torch.from_numpy(sum(np.bincount(piece.codes, minlength=len(bias)) for piece in training)) + 1.0
    bias.copy_((counts / counts.sum()).log())
    for weight, size in ((model.input.weight, 1.0), (model.head.linear.weight, 0.1)):
        classes, waves = torch.arange(len(bias))[:, None], torch.arange(1, weight.shape[1] + 1)
        weight.copy_(size * torch.cos(math.pi * waves * (classes + 0.5) / len(bias)))


# ---- first the partials


def sketch_error(model: ScoreWaveNet, batch: tuple[Tensor, Tensor, Tensor]) -> Tensor:
    """The share of each crop's power that the partials do not explain: (batch,)."""
    codes, local, instrument = (part.to(device()) for part in batch)
    wave = mu_law_decode(codes)
    left = wave - model.upsample.sketch(local, instrument)
    return left.square().mean(1) / (wave.square().mean(1) + 1e-5)


def learn_partials(model: ScoreWaveNet, training: list[Piece], out: Path, steps: int, seed: int, progress: bool):
    """Fit the partials by least squares: they are what is the same whenever a note is played. Then freeze them."""
    partials, crops = model.upsample.partials, Crops(training, 1, seed, batch=16)
    optimizer = torch.optim.Adam(partials.parameters(), LR, betas=(0.9, 0.98))

    def step(numbered: tuple[int, tuple]) -> dict[str, Tensor]:
        n, batch = numbered
        optimizer.param_groups[0]["lr"] = LR * warm_cosine(n, steps, end=0.02)
        return {"left": update(sketch_error(model, batch).mean(), optimizer, max_norm=1.0)}

    fit(
        step, lambda n: (n, crops(n)), steps=steps, state={"partials": partials, "optimizer": optimizer},
        checkpoint=out / "partials.safetensors", save_every=500, seed=seed, progress=progress,
    )  # fmt: skip
    partials.requires_grad_(False)


# ---- then the WaveNet


def log_prob(model: WaveNet, batch: tuple[Tensor, Tensor, Tensor], past: Tensor | None = None) -> Tensor:
    """Log probability, in nats, of each code in a batch, with either head: (batch, time).

    A mixture reads the values that the codes stand for, and is scored by the mass it gives to a code's interval.
    `past` is what the model hears, if not the codes themselves.
    """
    codes, local, instrument = (part.to(device()) for part in batch)
    score = (local, instrument) if model.upsample is not None else ()
    heard = codes if past is None else past.to(device())
    if not model.config.mixtures:
        return model.head.log_prob(model(model.previous(heard), *score), codes)
    return model.head.log_prob_of_codes(model(model.previous(mu_law_decode(heard)), *score), codes)


def disturbed(codes: Tensor, seed: tuple[int, int], share: float = 0.9) -> Tensor:
    """Disturb the past: give a share of the crops noise and an echo, each 0 to 35 dB below the sound.

    A model that only ever hears true pasts learns to follow them and, once on its own, follows its own errors. If it
    can't trust the past, it has to rely on the score. The echo, up to 12 ms late, has the right pitch but a wrong
    phase.
    """
    rng = np.random.default_rng((*seed, 1))
    x = mu_law_decode(codes)
    noise = torch.from_numpy(rng.standard_normal(x.shape)).float() * x.square().mean(-1, keepdim=True).sqrt()
    echo = torch.stack([row.roll(int(late)) for row, late in zip(x, rng.integers(1, 200, len(x)), strict=True)])
    levels = 10 ** (rng.uniform(-35, 0, (2, len(x), 1)) / 20) * (rng.random((len(x), 1)) < share)
    noisy, late = torch.from_numpy(levels).float()
    return mu_law_encode((x + noisy * noise + late * echo).clamp(-1, 1))


@torch.no_grad()
def bits(model: WaveNet, crops: Crops, batches: int) -> float:
    """Bits per sample over `batches` batches of crops: the mean of -log2 p(sample | all before it, the score)."""
    found = [log_prob(model, crops(n))[:, crops.valid].double().mean().item() for n in range(batches)]
    return -sum(found) / len(found) / math.log(2)


def train(name: str, out: Path, steps: int | None, seed: int, progress: bool) -> Mapping[str, float]:
    """Train the partials and the WaveNet, evaluate them and save them."""
    steps, score = steps or STEPS[name], name != "unconditional"
    trial = steps < TRIAL
    training, valid, test = (pieces_of(split, trial) for split in ("train", "valid", "test"))
    seed_all(seed)
    model = build(name, training)
    if score:
        learn_partials(model, training, out, min(PARTIAL_STEPS, 2 * steps), seed, progress)
    crops, unheard = Crops(training, model.receptive_field, seed), Crops(valid, model.receptive_field, 1)
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], LR, betas=(0.9, 0.98))
    openings = {piece.instrument: piece for piece in reversed(valid) if piece.recording is None}.values()

    def play(model: WaveNet) -> dict[str, Tensor]:
        """Play the opening of each instrument's first held-out tune."""
        length, sounds = int((0.1 if trial else 4.0) * SR), {}
        for piece in openings:
            given = model.conditioning(piece.score, piece.instrument, length) if score else None
            x = sample(model, length, given, seed=4, temperature=0.3, progress=False)[0]
            sounds[f"{piece.instrument}-"] = x if model.config.mixtures else mu_law_decode(x)
        return sounds

    def step(numbered: tuple[int, tuple]) -> dict[str, Tensor]:
        n, batch = numbered
        optimizer.param_groups[0]["lr"] = LR * warm_cosine(n, steps, end=0.02)
        past = disturbed(batch[0], (seed, n)) if score else None
        loss = -log_prob(model, batch, past)[:, crops.valid].mean() / math.log(2)
        return {"bits": update(loss, optimizer, max_norm=1.0)}

    def validate(run: TrainingRun) -> dict[str, float]:
        return {"valid": bits(run.ema["model"], unheard, 1 if trial else 12)}

    every = max(1, steps // 8)
    run = fit(
        step, lambda n: (n, crops(n)), steps=steps, state={"model": model, "optimizer": optimizer},
        ema={"model": 0.99}, checkpoint=out / "run.safetensors", save_every=every, precision="auto",
        callbacks=[(100, listening_ladder(out, model, play)), (every, validate)],
        config={"recipe": name}, seed=seed, progress=progress,
    )  # fmt: skip
    scores = {"bits per sample": bits(run.ema["model"], Crops(test, model.receptive_field, 2), 1 if trial else 64)}
    data = f"{TUNES} folk tunes by {' and '.join(INSTRUMENTS)}, and musicai-notes (training splits)"
    return finish(name, out, run.ema["model"], run, data, scores)
