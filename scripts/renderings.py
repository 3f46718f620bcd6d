"""What scripts/train_renderer.py learns from: scores, their renderings as mu-law codes, crops, and the baselines."""

import hashlib
import json
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from scipy.sparse import csr_matrix
from torch import Tensor

from musicai.audio import mu_law_decode, mu_law_edges, mu_law_encode
from musicai.data import FolkCorpus, JSBChorales, MusicAINotes, ShardedArrays, cache_dir, write_shards
from musicai.notes import Note, Score, Track
from musicai.performance import PROGRAMS, render
from musicai.wavenet import score_frames

SR, HOP, SILENCE = 16_000, 160, 128
MARGIN = 2  # frames beyond its own that a sample's conditioning may look at
LONGEST = 20.0  # seconds of a piece that are played
VELOCITIES = (60, 105)
VERSION = 1


class Piece(NamedTuple):
    """A score for one instrument; `recording` is its audio where that is a sampled note rather than a rendering."""

    name: str
    score: Score
    instrument: str
    recording: Tensor | None = None


def pieces(split: str, instruments: tuple[str, ...], tunes: int, chorales: int, notes: bool) -> Iterator[Piece]:
    """Folk tunes, chorales and single notes of one split; each tune and chorale for one instrument, in turn.

    The first so many of each set, spread over it; every note with a velocity of its own, from the piece's name.
    """
    for i, tune in enumerate(_spread(FolkCorpus(split, progress=False), tunes)):
        yield _piece(f"{tune.collection} {tune.number} {tune.name}", tune.to_score(), instruments[i % len(instruments)])
    rolls = JSBChorales(split)
    for i, k in enumerate(_spread(range(len(rolls)), chorales)):
        yield _piece(rolls.name(k), rolls.score(k), instruments[i % len(instruments)])
    sampled = MusicAINotes(split, instruments) if notes else ()
    for item in (sampled[i] for i in range(len(sampled))):
        name, note = item["instrument_name"], Note(item["pitch"], 0.0, 2.0, item["velocity"])  # 1 s at 120 a minute
        yield Piece(item["note"], Score((Track((note,), program=PROGRAMS.index(name)),)), name, item["audio"])


def _spread(items, count: int) -> list:
    """So many items at even distances; all where there are fewer."""
    return [items[round(i)] for i in np.linspace(0, len(items) - 1, min(count, len(items)))] if count else []


def _piece(name: str, score: Score, instrument: str) -> Piece:
    """The opening of a score, by one instrument, with a loudness for each note."""
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
    """Pieces of a split with their audio and score frames; audio is rendered once and kept in `cache_dir()`."""

    def __init__(self, split: str, instruments: tuple[str, ...], tunes: int, chorales: int = 0, notes: bool = True):
        self.pieces = [p for p in pieces(split, instruments, tunes, chorales, notes) if p.score.notes]
        wanted = [VERSION, split, instruments, [p.name for p in self.pieces]]
        digest = hashlib.blake2b(json.dumps(wanted).encode(), digest_size=8).hexdigest()
        folder = cache_dir() / "renderings" / f"{split}-{digest}"
        if not (folder / "manifest.json").exists():
            write_shards((codes_of(piece) for piece in self.pieces), folder)
        self.codes = ShardedArrays(folder)
        self.instruments = instruments
        self.kept: dict[int, csr_matrix] = {}
        self.lengths = np.array([len(self.codes[i]) for i in range(len(self.pieces))])

    def __len__(self) -> int:
        return len(self.pieces)

    def crop(self, i: int, first: int, frames: int) -> tuple[Tensor, Tensor, int]:
        """Frames [first, first + frames) of piece i, silence beyond its ends: codes, score frames, instrument."""
        codes = np.full(frames * HOP, SILENCE, np.int64)
        a, b = max(0, first * HOP), min(int(self.lengths[i]), (first + frames) * HOP)
        if b > a:
            codes[a - first * HOP : b - first * HOP] = np.asarray(self.codes[i])[a:b]
        whole, before = self._frames(i), max(0, -first)
        local = np.zeros((frames, whole.shape[1]), np.float32)
        score = whole[first + before : first + frames].toarray()
        local[before : before + len(score)] = score
        return torch.from_numpy(codes), torch.from_numpy(local.T), self.instruments.index(self.pieces[i].instrument)

    def _frames(self, i: int) -> csr_matrix:
        """The frames of piece i, (frames, 528): kept, for to make them takes longer than a step; few are not 0."""
        if i not in self.kept:
            frames = score_frames(self.pieces[i].score, SR, HOP, int(self.lengths[i]))
            self.kept[i] = csr_matrix(frames.T.numpy())
        return self.kept[i]


class Crops:
    """Batch n: `batch` crops of `frames` frames, a pure function of (seed, n); each with the context before it.

    >>> codes, local, instrument = Crops(renderings, 2, 20, receptive_field=382, seed=0)(n)  # doctest: +SKIP

    A crop is [context | frames | margin]; `valid` cuts out the middle: only there does a network see all that it would
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
        chosen = rng.choice(len(self.renderings), self.batch, p=self.share)
        last = [max(1, int(self.renderings.lengths[i]) // HOP - self.frames + 1) for i in chosen]
        return [(int(i), int(rng.integers(end))) for i, end in zip(chosen, last, strict=True)]

    def __call__(self, n: int) -> tuple[Tensor, Tensor, Tensor]:
        total = self.context + self.frames + MARGIN
        crops = [self.renderings.crop(i, first - self.context, total) for i, first in self.places(n)]
        codes, local, instrument = zip(*crops, strict=True)
        return torch.stack(codes), torch.stack(local), torch.tensor(instrument)


# ---- what no network reaches: bits a sample of two baselines


def unigram_bits(train: np.ndarray, held_out: np.ndarray, classes: int = 256) -> float:
    """Bits a sample of codes when each is drawn from the training codes' histogram (add-one), whatever came before."""
    counts = np.bincount(train, minlength=classes) + 1.0
    return float(-np.log2(counts / counts.sum())[held_out].mean())


def linear_bits(
    train: np.ndarray, held_out: np.ndarray, order: int = 32, sketches: tuple[np.ndarray, np.ndarray] | None = None
) -> float:
    """Bits a sample of linear prediction from the last `order` values, with a Laplace error of a running width.

    The coefficients are least squares on the training codes; the width is that of the last 256 errors, and the floor
    below which it may not fall is the best of ten on the training codes. `sketches` are guesses of both waves: then
    these are predicted from too, up to the sample in question.
    """
    (x, y), (u, v) = _pasts(train, order), _pasts(held_out, order)
    if sketches:
        windows = (np.lib.stride_tricks.sliding_window_view(part, order + 1) for part in sketches)
        x, u = (np.concatenate(pair, axis=1) for pair in zip((x, u), windows, strict=True))
    weights = np.linalg.lstsq(x, y, rcond=None)[0]
    floors = np.geomspace(1e-4, 3e-2, 10)
    floor = min(floors, key=lambda f: _laplace_bits(x @ weights, y, train[order:], f))
    return _laplace_bits(u @ weights, v, held_out[order:], floor)


def _pasts(codes: np.ndarray, order: int) -> tuple[np.ndarray, np.ndarray]:
    values = mu_law_decode(torch.from_numpy(codes.astype(np.int64))).double().numpy()
    return np.lib.stride_tricks.sliding_window_view(values, order)[:-1], values[order:]


def _laplace_bits(guess: np.ndarray, values: np.ndarray, codes: np.ndarray, floor: float) -> float:
    errors = np.abs(values - guess)
    sums = np.concatenate([[0.0], np.cumsum(errors)])
    at = np.arange(len(errors))
    start = np.maximum(at - 256, 0)
    width = np.maximum((sums[at] - sums[start]) / np.maximum(at - start, 1), floor)
    low, high = (edge.double().numpy() for edge in mu_law_edges(torch.from_numpy(codes.astype(np.int64))))
    mass = _laplace_cdf((high - guess) / width) - _laplace_cdf((low - guess) / width)
    return float(-np.log2(0.999 * mass + 0.001 / 256).mean())  # a little for every code: no surprise is infinite


def _laplace_cdf(x: np.ndarray) -> np.ndarray:
    half = 0.5 * np.exp(-np.abs(x))
    return np.where(x < 0, half, 1 - half)
