"""WaveNets that play a score at 16 kHz, or babble: `musicai train renderer`, `renderer-categorical`, `unconditional`.

They learn from renderings of folk tunes by the sampled flute and trumpet, and from the sampled notes themselves. The
partials of notes are fitted first (partials.safetensors), then held while the WaveNet learns the rest. On one core that
takes 24 and 14 minutes; larger versions with seven instruments did not work (see DECISIONS.md). Chapter 5.
"""

import copy
import dataclasses
import hashlib
import math
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from scipy.sparse import csr_matrix
from torch import Tensor

from musicai.audio import mu_law_decode, mu_law_encode
from musicai.data import FolkCorpus, MusicAINotes, ShardedArrays, write_shards
from musicai.notes import Note, Score, Track
from musicai.performance import PROGRAMS, render
from musicai.recipes.shared import SR, TRIAL, Ladder, finish, spread, warm_cosine
from musicai.scale import device
from musicai.storage import cache_dir
from musicai.train import TrainingRun, fit, seed_all, update
from musicai.wavenet import ScoreConfig, ScoreWaveNet, WaveNet, WaveNetConfig, sample, score_frames

HOP, SILENCE = 160, 128
MARGIN = 2  # frames beyond its own that a sample's conditioning may look at
LONGEST = 20.0  # seconds of a tune that are played
VELOCITIES = (60, 105)
VERSION = 2  # of the renderings in the cache; raise it when the sampled instruments change
SHAPE = {"layers": 21, "stacks": 3, "residual_channels": 32, "skip_channels": 32, "end_channels": 64}
INSTRUMENTS = ("flute", "trumpet")


@dataclasses.dataclass(frozen=True)
class RendererSettings:
    """What made a shipped model."""

    steps: int = 4_000  # of the WaveNet; longer training gives fewer bits and worse playing (the card has a table)
    partial_steps: int = 7_000  # before that, of 16 crops each
    mixtures: int = 10  # Gaussians; 0: a distribution over 256 codes
    score: bool = True  # whether it hears one
    tunes: int = 160
    batch: int = 2
    frames: int = 20  # of 10 ms: what counts in a crop, after its context
    lr: float = 3e-3
    ema: float = 0.99


RECIPES = {
    "renderer": RendererSettings(),
    "renderer-categorical": RendererSettings(steps=12_000, mixtures=0),
    "unconditional": RendererSettings(steps=1_200, partial_steps=0, mixtures=0, score=False),
}


# ---- data: pieces, their renderings as mu-law codes, crops


class Piece(NamedTuple):
    """A score for one instrument; `recording` is its audio if that is a sampled note rather than a rendering."""

    name: str
    score: Score
    instrument: str
    recording: Tensor | None = None


def tune_pieces(split: str, instruments: tuple[str, ...], count: int) -> list[Piece]:
    """Folk tunes spread over the split, for each instrument in turn; of few tunes only a part of the corpus is read."""
    tunes = spread(FolkCorpus(split, limit=192 if count < 10 else None), count)
    return [
        as_piece(f"{tune.collection} {tune.number} {tune.name}", tune.to_score(), instruments[i % len(instruments)])
        for i, tune in enumerate(tunes)
    ]


def note_pieces(split: str, instruments: tuple[str, ...]) -> list[Piece]:
    """The sampled notes of a split, each a score of one note."""
    found = []
    for item in MusicAINotes(split, instruments):
        note = Note(item["pitch"], 0.0, 2.0, item["velocity"])  # 1 s at 120 beats per minute
        score = Score((Track((note,), program=PROGRAMS.index(item["instrument_name"])),))
        found.append(Piece(item["note"], score, item["instrument_name"], item["audio"]))
    return found


def as_piece(name: str, score: Score, instrument: str) -> Piece:
    """The opening of a score by one instrument, with a loudness for each note that depends on the name alone."""
    rng = np.random.default_rng(list(hashlib.blake2b(name.encode(), digest_size=8).digest()))
    end, program = score.beats(LONGEST), PROGRAMS.index(instrument)
    notes = [note for track in score.tracks for note in track.notes if note.end <= end]
    played = tuple(Note(n.pitch, n.start, n.duration, int(rng.integers(*VELOCITIES))) for n in notes)
    return Piece(name, Score((Track(played, program=program),), score.tempos), instrument)


def codes_of(piece: Piece) -> np.ndarray:
    """The audio of a piece, one channel, as mu-law codes: uint8 (time,)."""
    audio = render(piece.score).mean(0) * 2**0.5 if piece.recording is None else piece.recording
    return mu_law_encode(audio.clamp(-1, 1)).numpy().astype(np.uint8)


class Renderings:
    """Pieces with their audio and score frames; audio is rendered once and kept in `cache_dir()`."""

    def __init__(self, pieces: list[Piece], instruments: tuple[str, ...] = INSTRUMENTS):
        self.pieces, self.instruments = [p for p in pieces if p.score.notes], instruments
        wanted = repr([VERSION, *((p.name, p.score) for p in self.pieces)])  # a corrected tune is rendered anew
        folder = cache_dir() / "renderings" / hashlib.blake2b(wanted.encode(), digest_size=16).hexdigest()
        if not (folder / "manifest.json").exists():
            write_shards(map(codes_of, self.pieces), folder)
        self.codes = ShardedArrays(folder)
        self.lengths = np.array([len(self.codes[i]) for i in range(len(self.pieces))])
        self.frames_of = cache(self._frames_of)  # making them takes longer than a step

    def crop(self, i: int, first: int, frames: int) -> tuple[Tensor, Tensor, int]:
        """Frames [first, first + frames) of piece i, silence beyond its ends: codes, score frames, instrument."""
        codes = np.full(frames * HOP, SILENCE, np.int64)
        a, b = max(0, first * HOP), min(int(self.lengths[i]), (first + frames) * HOP)
        if b > a:
            codes[a - first * HOP : b - first * HOP] = np.asarray(self.codes[i])[a:b]
        before = max(0, -first)
        local = np.zeros((frames, self.frames_of(i).shape[1]), np.float32)
        score = self.frames_of(i)[first + before : first + frames].toarray()
        local[before : before + len(score)] = score
        return torch.from_numpy(codes), torch.from_numpy(local.T), self.instruments.index(self.pieces[i].instrument)

    def _frames_of(self, i: int) -> csr_matrix:
        """The frames of piece i, (frames, 528), of which few are not 0."""
        return csr_matrix(score_frames(self.pieces[i].score, SR, HOP, int(self.lengths[i])).T.numpy())


class Crops:
    """Batch n: `batch` crops of `frames` frames, a pure function of (seed, n); each with the context before it.

    >>> codes, local, instrument = Crops(renderings, 2, 20, receptive_field=382, seed=0)(n)  # doctest: +SKIP

    A crop is [context | frames | margin]; `valid` cuts out the middle. Only there does a network see all that it would
    see in the whole piece, so only that counts in a loss.
    """

    def __init__(self, renderings: Renderings, batch: int, frames: int, receptive_field: int, seed: int = 0):
        self.renderings, self.batch, self.frames, self.seed = renderings, batch, frames, seed
        self.context = -(-receptive_field // HOP) + MARGIN
        self.valid = slice(self.context * HOP, (self.context + frames) * HOP)
        self.share = renderings.lengths / renderings.lengths.sum()

    def places(self, n: int) -> list[tuple[int, int]]:
        """(piece, first valid frame) of each crop of batch n: long pieces more often, so that each sample counts."""
        rng = np.random.default_rng((self.seed, n))
        chosen = rng.choice(len(self.share), self.batch, p=self.share)
        last = [max(1, int(self.renderings.lengths[i]) // HOP - self.frames + 1) for i in chosen]
        return [(int(i), int(rng.integers(end))) for i, end in zip(chosen, last, strict=True)]

    def __call__(self, n: int) -> tuple[Tensor, Tensor, Tensor]:
        total = self.context + self.frames + MARGIN
        crops = [self.renderings.crop(i, first - self.context, total) for i, first in self.places(n)]
        codes, local, instrument = zip(*crops, strict=True)
        return torch.stack(codes), torch.stack(local), torch.tensor(instrument)


def data(split: str, tunes: int, trial: bool) -> Renderings:
    """The renderings of a split; in a trial only a few."""
    notes = note_pieces(split, INSTRUMENTS)
    return Renderings(
        tune_pieces(split, INSTRUMENTS, 2 if trial else tunes) + spread(notes, 4 if trial else len(notes))
    )


# ---- the model, and what it knows at the start


def build(settings: RendererSettings, training: Renderings) -> WaveNet:
    """The model that a run begins with."""
    shape = {**SHAPE, "mixtures": settings.mixtures}
    if settings.score:
        model = ScoreWaveNet(ScoreConfig(**shape, instruments=INSTRUMENTS, global_channels=8))
    else:
        model = WaveNet(WaveNetConfig(**shape))
    if settings.mixtures:
        know_widths(model)
    else:
        know_neighbours(model)
        know_loudness(model, training)
    return model.to(device())


@torch.no_grad()
def know_neighbours(model: WaveNet) -> None:
    """Begin with neighbouring codes as neighbours, in the embedding and in the head: rows of a cosine basis.

    A network that first has to learn the order of 256 codes needs minutes that a CPU does not have.
    """
    classes = torch.arange(model.config.classes)
    for weight, size in ((model.input.weight, 1.0), (model.head.linear.weight, 0.1)):
        waves = torch.arange(1, weight.shape[1] + 1)
        weight.copy_(size * torch.cos(math.pi * waves * (classes[:, None] + 0.5) / len(classes)))


@torch.no_grad()
def know_widths(model: WaveNet) -> None:
    """Begin with Gaussians from narrow to wide, as wide as errors and as values are, and with inputs of size 1."""
    k = model.config.mixtures
    model.head.linear.bias[:k] = 0.0
    model.head.linear.bias[2 * k :] = torch.linspace(math.log(0.003), math.log(0.3), k)
    model.input.weight.mul_(5.0)


@torch.no_grad()
def know_loudness(model: WaveNet, training: Renderings) -> None:
    """Begin with the histogram of codes as the head's bias: about half a bit that need not be learned."""
    codes = torch.from_numpy(np.concatenate(list(training.codes)))
    counts = torch.bincount(codes, minlength=model.config.classes) + 1.0
    model.head.linear.bias.copy_((counts / counts.sum()).log())


# ---- first the partials


def sketch_error(model: ScoreWaveNet, batch: tuple[Tensor, Tensor, Tensor]) -> Tensor:
    """What the partials leave of the power of each crop, as a share of it: (batch,)."""
    codes, local, instrument = (part.to(device()) for part in batch)
    wave = mu_law_decode(codes)
    left = wave - model.upsample.sketch(local, instrument)
    return left.square().mean(1) / (wave.square().mean(1) + 1e-5)


def learn_partials(model: ScoreWaveNet, training: Renderings, out: Path, steps: int, seed: int, progress: bool) -> None:
    """Fit the partials by least squares: what is the same whenever a note is played. From then on they stay."""
    partials, crops = model.upsample.partials, Crops(training, 16, 20, 1, seed)
    optimizer = torch.optim.Adam(partials.parameters(), 3e-3, betas=(0.9, 0.98))

    def step(numbered: tuple[int, tuple]) -> dict[str, Tensor]:
        n, batch = numbered
        optimizer.param_groups[0]["lr"] = 3e-3 * warm_cosine(n, steps, end=0.02)
        return {"left": update(sketch_error(model, batch).mean(), optimizer, max_norm=1.0)}

    fit(
        step, lambda n: (n, crops(n)), steps=steps, state={"partials": partials, "optimizer": optimizer},
        checkpoint=out / "partials.safetensors", save_every=500, config={"pieces": len(training.pieces)},
        seed=seed, progress=progress,
    )  # fmt: skip
    partials.requires_grad_(False)


# ---- then the WaveNet


def log_prob(model: WaveNet, batch: tuple[Tensor, Tensor, Tensor], past: Tensor | None = None) -> Tensor:
    """Log probability in nats of each code of a batch, with either head: (batch, time).

    A mixture reads the values that the codes stand for, and is judged by the mass it gives to a code's interval.
    `past` is what the model hears of the codes, if not the codes themselves.
    """
    codes, local, instrument = (part.to(device()) for part in batch)
    score = (local, instrument) if model.upsample is not None else ()
    heard = codes if past is None else past.to(device())
    if not model.config.mixtures:
        return model.head.log_prob(model(model.previous(heard), *score), codes)
    return model.head.log_prob_of_codes(model(model.previous(mu_law_decode(heard)), *score), codes)


def disturbed(codes: Tensor, seed: tuple[int, int], share: float = 0.9) -> Tensor:
    """Codes as the model may hear its own past: a share of the crops with noise and an echo, each 0 to 35 dB below.

    A model that only ever hears true pasts learns to follow them, and once alone it follows its own errors. Where the
    past is in doubt, the score is what it can rely on. The echo, up to 12 ms late, is the right pitch at a wrong phase.
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
    """Bits per sample over so many batches of crops: the mean of -log2 p(sample | all before it, the score)."""
    found = [log_prob(model, crops(n))[:, crops.valid].double().mean().item() for n in range(batches)]
    return -sum(found) / len(found) / math.log(2)


def player(held_out: Renderings, seconds: float) -> Callable[[WaveNet], dict[str, Tensor]]:
    """Plays the opening of the first held-out tune of each instrument, for the ladder."""
    firsts = {p.instrument: p for p in reversed(held_out.pieces) if p.recording is None}

    def play(model: WaveNet) -> dict[str, Tensor]:
        model, length, sounds = copy.deepcopy(model).cpu(), int(seconds * SR), {}
        for name, piece in firsts.items():
            score = model.conditioning(piece.score, name, length) if model.upsample is not None else None
            x = sample(model, length, score, seed=4, temperature=0.3, progress=False)[0]
            sounds[f"{name}-"] = x if model.config.mixtures else mu_law_decode(x)
        return sounds

    return play


def train(name: str, out: Path, steps: int | None, seed: int, progress: bool) -> Mapping[str, float]:
    """Train the partials and the WaveNet, judge them and save them."""
    settings, steps = RECIPES[name], steps or RECIPES[name].steps
    trial, share = steps < TRIAL, {"train": 1, "valid": 5, "test": 5}
    sets = {split: data(split, settings.tunes // part, trial) for split, part in share.items()}
    seed_all(seed)
    model = build(settings, sets["train"])
    if settings.score:
        learn_partials(model, sets["train"], out, min(settings.partial_steps, 2 * steps), seed, progress)
    size = (settings.batch, settings.frames, model.receptive_field)
    crops, valid, test = (Crops(part, *size, n) for part, n in zip(sets.values(), (seed, 1, 2), strict=True))
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], settings.lr, betas=(0.9, 0.98))
    ladder = Ladder(out, "model", player(sets["valid"], 0.1 if trial else 4.0))
    ladder.save(model, 0)

    def step(numbered: tuple[int, tuple]) -> dict[str, Tensor]:
        n, batch = numbered
        optimizer.param_groups[0]["lr"] = settings.lr * warm_cosine(n, steps, end=0.02)
        past = disturbed(batch[0], (seed, n)) if settings.score else None
        loss = -log_prob(model, batch, past)[:, crops.valid].mean() / math.log(2)
        return {"bits": update(loss, optimizer, max_norm=1.0)}

    def validate(run: TrainingRun) -> dict[str, float]:
        return {"valid": bits(run.ema["model"], valid, 1 if trial else 12)}

    every = max(1, steps // 8)
    run = fit(
        step, lambda n: (n, crops(n)), steps=steps, state={"model": model, "optimizer": optimizer}, ema=settings.ema,
        checkpoint=out / "run.safetensors", save_every=every, callbacks=[(100, ladder), (every, validate)],
        precision="auto", config=dataclasses.replace(settings, steps=0), seed=seed, progress=progress,
    )  # fmt: skip
    scores = {"bits per sample": bits(run.ema["model"], test, 1 if trial else 64)}
    facts = {"what": f"a WaveNet at 16 kHz that {'plays a score' if settings.score else 'hears no score'}"}
    facts["data"] = f"{settings.tunes} folk tunes by {' and '.join(INSTRUMENTS)}, and musicai-notes (training splits)"
    return finish(name, out, run.ema["model"], run, facts, scores)
