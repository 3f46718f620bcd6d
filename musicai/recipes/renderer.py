"""WaveNets at 16 kHz, one that plays a score and one that babbles: `musicai train renderer`, `unconditional`.

They learn from renderings by the sampled flute and trumpet: of folk tunes, and of single notes held for 0.1 to 4
seconds. The partials of the notes are those of the shipped model, which `scripts/fit_partials.py` fitted in half an
hour. They stay as they are while the WaveNet learns the rest. Larger versions with seven instruments did not work (see
DECISIONS.md). Chapter 5.
"""

import dataclasses
import hashlib
import itertools
import math
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from scipy.sparse import csr_array, vstack
from torch import Tensor

from musicai.audio import mu_law_decode, mu_law_encode
from musicai.data import FolkCorpus
from musicai.notes import Note, Score, Track
from musicai.performance import PROGRAMS, render
from musicai.performance.sampled import layers
from musicai.recipes.shared import SR, TRIAL, finish, listening_ladder, spread, warm_cosine
from musicai.scale import device
from musicai.train import fit, seed_all, update
from musicai.wavenet import ScoreConfig, ScoreWaveNet, WaveNet, WaveNetConfig, sample, score_frames

HOP, SILENCE = 160, 128
MARGIN = 2  # frames on either side of its own that a sample's conditioning may see
SHAPE = {"layers": 21, "stacks": 3, "residual_channels": 32, "skip_channels": 32, "end_channels": 64}
INSTRUMENTS = ("flute", "trumpet")
BATCH, FRAMES, LR = 2, 20, 3e-3  # crops per step; frames of 10 ms that count in each; the peak learning rate
ON_GPU = 16  # as many times as many crops per step, to fill it
SKETCH = {"partials": 40, "partial_channels": 256}
TUNES, HELD = 160, 3_000


# Longer training gives fewer bits but worse playing (the card has a table).
STEPS = {"renderer": 4_000, "unconditional": 1_200}
DISTURBED = 0.5  # the share of the renderer's pasts that are


# ---- data: pieces, their audio as mu-law codes, crops


@dataclasses.dataclass
class Piece:
    """A score for one instrument, and its rendering."""

    name: str
    score: Score
    instrument: str

    @cached_property
    def codes(self) -> np.ndarray:
        """The audio, one channel, as mu-law codes: uint8 (time,)."""
        return mu_law_encode((render(self.score).mean(0) * 2**0.5).clamp(-1, 1)).numpy().astype(np.uint8)

    @cached_property
    def frames(self) -> csr_array:
        """The score frames (frames, 528), sparse because few are nonzero; making them takes longer than a step."""
        return csr_array(score_frames(self.score, SR, HOP, len(self.codes)).T.numpy())


def tune_pieces(split: str, count: int) -> list[Piece]:
    """Folk tunes spread over the split, for each instrument in turn; a small count reads only part of the corpus."""
    tunes = spread(FolkCorpus(split, limit=192 if count < 10 else None), count)
    named = ((f"{tune.collection} {tune.number} {tune.name}", tune.to_score()) for tune in tunes)
    return [as_piece(*one, name) for one, name in zip(named, itertools.cycle(INSTRUMENTS))]


def held_pieces(split: str, count: int) -> list[Piece]:
    """Single notes of any sampled pitch and any strength, held for 0.1 to 4 seconds, long and short ones alike."""
    rng, found = np.random.default_rng(list(split.encode())), []
    for i, name in zip(range(count), itertools.cycle(INSTRUMENTS)):
        pitch, velocity, beats = rng.choice(list(layers(name))), rng.integers(20, 128), 0.2 * 40 ** rng.random()
        track = Track((Note(int(pitch), 0.0, beats, int(velocity)),), program=PROGRAMS.index(name))
        found.append(Piece(f"{split} {i}", Score((track,)), name))  # at 120 beats per minute
    return found


def as_piece(name: str, score: Score, instrument: str) -> Piece:
    """The opening of a score for one instrument, with a velocity for each note that depends only on the name."""
    rng = np.random.default_rng(list(hashlib.blake2b(name.encode(), digest_size=8).digest()))
    end, program = score.beats(20.0), PROGRAMS.index(instrument)  # 20 seconds
    notes = [note for track in score.tracks for note in track.notes if note.end <= end]
    played = tuple(Note(n.pitch, n.start, n.duration, int(rng.integers(60, 105))) for n in notes)
    return Piece(name, Score((Track(played, program=program),), score.tempos), instrument)


def pieces_of(split: str, trial: bool = False) -> list[Piece]:
    """The tunes of a split, and held notes; only a few in a trial."""
    tunes, held = (TUNES, HELD) if split == "train" else (TUNES // 5, HELD // 5)
    pieces = tune_pieces(split, 2 if trial else tunes) + held_pieces(split, 4 if trial else held)
    return [piece for piece in pieces if piece.score.notes]


class Crops:
    """Training crops: calling it with n gives batch n, `batch` crops of `frames` frames, a function of (seed, n) only.

    >>> codes, local, instrument = Crops(pieces, receptive_field=382)(n)  # doctest: +SKIP

    A crop is [context | frames | margin]; `valid` cuts out the middle. Only there does a network see everything it
    would see in the whole piece, so only that part counts in a loss. The pieces lie one after the other, with
    silence in between.
    """

    def __init__(self, pieces: list[Piece], receptive_field: int, seed: int = 0, batch=BATCH, frames=FRAMES):
        self.pieces, self.seed, self.frames = pieces, seed, frames
        self.batch = batch if device().type == "cpu" else ON_GPU * batch
        self.context = -(-receptive_field // HOP) + MARGIN
        self.valid = slice(self.context * HOP, (self.context + frames) * HOP)
        self.lengths = np.array([len(piece.codes) for piece in pieces])
        silence = csr_array((self.context + frames + MARGIN, pieces[0].frames.shape[1]), dtype=np.float32)
        parts = [silence, *(part for piece in pieces for part in (piece.frames, silence))]
        self.local = vstack(parts, format="csr")
        self.starts = np.cumsum([part.shape[0] for part in parts])[::2]  # the first frame of each piece
        self.codes = np.full((self.local.shape[0], HOP), SILENCE, np.uint8)
        for piece, start in zip(pieces, self.starts, strict=False):
            self.codes[start:].reshape(-1)[: len(piece.codes)] = piece.codes

    def places(self, n: int) -> tuple[np.ndarray, np.ndarray]:
        """Piece and first valid frame of each crop of batch n; long pieces come more often, so samples count alike."""
        rng = np.random.default_rng((self.seed, n))
        chosen = rng.choice(len(self.lengths), self.batch, p=self.lengths / self.lengths.sum())
        return chosen, rng.integers(np.maximum(self.lengths[chosen] // HOP - self.frames, 0) + 1)

    def __call__(self, n: int) -> tuple[Tensor, Tensor, Tensor]:
        chosen, first = self.places(n)
        at = (self.starts[chosen] + first)[:, None] + np.arange(-self.context, self.frames + MARGIN)
        local = torch.from_numpy(self.local[at.ravel()].toarray()).unflatten(0, at.shape).mT  # (batch, 528, frames)
        who = torch.tensor([INSTRUMENTS.index(self.pieces[i].instrument) for i in chosen])
        codes = torch.from_numpy(self.codes[at]).flatten(1)
        return codes.to(device()).long(), local.to(device()), who.to(device())


# ---- the model and its initial weights


def build(name: str, training: list[Piece]) -> WaveNet:
    """Build the model that a run begins with."""
    if name == "unconditional":
        model = WaveNet(WaveNetConfig(**SHAPE))
    else:
        shape = SHAPE | SKETCH | {"layers": 27, "mixtures": 10, "residual": True}  # 96 ms, Gaussians
        model = ScoreWaveNet(ScoreConfig(**shape, instruments=INSTRUMENTS, global_channels=8))
        fitted = ScoreWaveNet.from_pretrained("wavenet-renderer").upsample.partials
        model.upsample.partials = fitted.requires_grad_(False)
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
        smaller = 0.1 if model.config.residual else 1.0
        bias[2 * k :] = torch.linspace(math.log(0.003), math.log(0.3), k) + math.log(smaller)
        model.head.linear.weight[k : 2 * k].mul_(smaller)
        model.input.weight.mul_(5.0 / smaller)
        return
    counts = torch.from_numpy(sum(np.bincount(piece.codes, minlength=len(bias)) for piece in training)) + 1.0
    bias.copy_((counts / counts.sum()).log())
    for weight, size in ((model.input.weight, 1.0), (model.head.linear.weight, 0.1)):
        classes, waves = torch.arange(len(bias))[:, None], torch.arange(1, weight.shape[1] + 1)
        weight.copy_(size * torch.cos(math.pi * waves * (classes + 0.5) / len(bias)))


# ---- learning


def log_prob(model: WaveNet, crops: Crops, n: int, share: float = 0.0) -> Tensor:
    """Log probability, in nats, of each code that counts in batch n: (batch, time). A share of the pasts is disturbed.

    The others are true.
    """
    codes, *score = crops(n)
    score = score if model.upsample is not None else (None, None)
    return model.log_prob_of_codes(codes, *score, lambda past: disturbed(past, share))[:, crops.valid]


def disturbed(x: Tensor, share: float = 0.9) -> Tensor:
    """Disturb the past (batch, time): give a share of the rows noise and an echo, each 0 to 35 dB below the sound.

    A model that only ever hears true pasts learns to follow them and, once on its own, follows its own errors. If it
    can't trust the past, it has to rely on the score. The echo, up to 12 ms late, has the right pitch but a wrong
    phase.
    """
    noise = torch.randn_like(x) * x.square().mean(-1, keepdim=True).sqrt()
    late = torch.randint(1, 200, (len(x), 1), device=x.device)
    echo = x.gather(1, (torch.arange(x.shape[1], device=x.device) - late) % x.shape[1])
    levels = 10 ** (-35 / 20 * torch.rand(2, len(x), 1, device=x.device))
    chosen = torch.rand(len(x), 1, device=x.device) < share
    return torch.where(chosen, x + levels[0] * noise + levels[1] * echo, x)


@torch.no_grad()
def bits(model: WaveNet, crops: Crops, batches: int) -> float:
    """Bits per sample over `batches` batches of crops: the mean of -log2 p(sample | all before it, the score)."""
    found = [log_prob(model, crops, n).double().mean().item() for n in range(batches)]
    return -sum(found) / len(found) / math.log(2)


def train(name: str, out: Path, steps: int | None, seed: int, progress: bool) -> dict[str, float]:
    """Train the WaveNet, evaluate it and save it."""
    steps, score = steps or STEPS[name], name != "unconditional"
    trial = steps < TRIAL
    training, valid, test = (pieces_of(split, trial) for split in ("train", "valid", "test"))
    seed_all(seed)
    model = build(name, training)
    crops, unheard = Crops(training, model.receptive_field, seed), Crops(valid, model.receptive_field, 1)
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], LR, betas=(0.9, 0.98))
    openings = {piece.instrument: piece for piece in reversed(valid) if len(piece.score.notes) > 1}.values()

    def play(model: WaveNet) -> dict[str, Tensor]:
        """Play the opening of each instrument's first held-out tune."""
        length, sounds = int((0.1 if trial else 4.0) * SR), {}
        for piece in openings:
            given = model.conditioning(piece.score, piece.instrument, length) if score else None
            x = sample(model, length, given, seed=4, temperature=0.3, progress=False)[0]
            sounds[f"{piece.instrument}-"] = x if model.config.mixtures else mu_law_decode(x)
        return sounds

    def step(n: int) -> dict[str, Tensor]:
        optimizer.param_groups[0]["lr"] = LR * warm_cosine(n, steps, end=0.02)
        loss = -log_prob(model, crops, n, DISTURBED * score).mean() / math.log(2)
        return {"bits": update(loss, optimizer, max_norm=1.0)}

    every, validate = max(1, steps // 8), lambda run: {"valid": bits(run.ema["model"], unheard, 1 if trial else 12)}
    run = fit(
        step, lambda n: n, steps=steps, state={"model": model, "optimizer": optimizer},
        ema={"model": 0.99}, checkpoint=out / "run.safetensors", save_every=every, precision="auto",
        callbacks=[(100, listening_ladder(out, model, play)), (every, validate)],
        config={"recipe": name}, seed=seed, progress=progress,
    )  # fmt: skip
    scores = {"bits per sample": bits(run.ema["model"], Crops(test, model.receptive_field, 2), 1 if trial else 64)}
    players = " and ".join(INSTRUMENTS)
    data = f"{TUNES} folk tunes (training split) and {HELD:,} held notes by {players}"
    return finish(name, out, run.ema["model"], run, data, scores)
