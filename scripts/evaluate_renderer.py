"""Does the model play what is written? Independent judges transcribe its sound and that of the sampled instruments.

    python scripts/evaluate_renderer.py wavenet-renderer --pieces 20 --seconds 10
    python scripts/evaluate_renderer.py runs/renderer --chorales 5 --temperature 0.6
    python scripts/evaluate_renderer.py wavenet-renderer --bits     # bits per sample beside baselines, no playing

The model, its partials alone (the sketch) and the sampled instruments play the openings of pieces from the test split
(or from `--split`): the same notes at 16 kHz, as mu-law codes, each voice by itself, equally loud. basic-pitch
transcribes what it hears; precision, recall and F1 tell how close that is to the score. In pieces with one voice, our
own pitch judge hears each note. No judge is always right: what counts is the difference from the sampled instruments.
The sounds are saved in OUT. To get basic-pitch: `pip install 'musicai[judges]' && pip install --no-deps basic-pitch`.
Chapter 5.
"""

import argparse
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm.auto import tqdm

from musicai.audio import mu_law_decode, mu_law_edges, save
from musicai.data import JSBChorales
from musicai.metrics import note_f1, pitch_accuracy, transcribe
from musicai.notes import Score
from musicai.performance import WaveNetPerformer, render, voices
from musicai.recipes.renderer import INSTRUMENTS, Crops, Piece, as_piece, bits, pieces_of, tune_pieces
from musicai.recipes.shared import SR, spread
from musicai.wavenet import ScoreWaveNet

SHORTEST, LENGTH = 0.2, 0.5  # seconds: our pitch judge skips shorter notes, and hears this much of longer ones
PLAYERS = ("synth", "WaveNet", "sketch", "synth without mu-law")


def notes_of(audio: Tensor, piece: Piece) -> tuple[Tensor, list[int]]:
    """The sounds (notes, time), padded with silence, and the pitches of the notes that are complete and long enough."""
    sounds, pitches = [], []
    for note in piece.score.tracks[0].notes:
        start, end = (round(SR * piece.score.seconds(beat)) for beat in (note.start, note.end))
        if end - start >= SHORTEST * SR and end <= len(audio):
            sound = audio[start : min(end, start + int(LENGTH * SR))]
            sounds.append(torch.nn.functional.pad(sound, (0, int(LENGTH * SR) - len(sound))))
            pitches.append(note.pitch)
    return torch.stack(sounds) if sounds else torch.zeros(0, int(LENGTH * SR)), pitches


def pieces(split: str, tunes: int, chorales: int) -> list[Piece]:
    """Folk tunes and chorales of a split, each for one instrument, in turn."""
    rolls = JSBChorales(split)
    chosen = spread(range(len(rolls)), chorales)
    return tune_pieces(split, tunes) + [
        as_piece(rolls.name(k), rolls.score(k), INSTRUMENTS[i % len(INSTRUMENTS)]) for i, k in enumerate(chosen)
    ]


def opening(piece: Piece, seconds: float) -> Piece:
    """The notes that end by then: notes that are cut off can be neither played nor heard properly."""
    (track,), score = piece.score.tracks, piece.score
    whole = tuple(note for note in track.notes if score.seconds(note.end) <= seconds)
    return replace(piece, score=replace(score, tracks=(replace(track, notes=whole),)))


def by_synth(piece: Piece, length: int) -> Tensor:
    """The sampled instruments' audio, treated like the model's: each voice as mu-law codes, and their sum."""
    (track,) = piece.score.tracks
    alone = [replace(piece.score, tracks=(replace(track, notes=voice),)) for voice in voices(track.notes)]
    codes = [torch.from_numpy(replace(piece, score=score).codes).long() for score in alone]
    return sum(fitted(mu_law_decode(x), length) for x in codes)


def fitted(audio: Tensor, length: int) -> Tensor:
    return torch.nn.functional.pad(audio[:length], (0, max(0, length - len(audio))))


@torch.no_grad()
def sketch(model: ScoreWaveNet, piece: Piece, length: int) -> Tensor:
    """What the model's partials make of the score, without its WaveNet."""
    how = model.conditioning(piece.score, piece.instrument, length)
    return model.upsample.sketch(how["local"][None], torch.tensor([how["instrument"]]))[0, :length]


def as_loud_as(audio: Tensor, other: Tensor) -> Tensor:
    """Scale a sound to the other's mean power."""
    return audio * (other.square().mean() / audio.square().mean().clamp(min=1e-12)).sqrt()


def play(model: ScoreWaveNet, piece: Piece, args: argparse.Namespace) -> tuple[dict[str, Tensor], float]:
    """A piece as played by each of PLAYERS, and how many seconds of one voice the sampler drew per second."""
    length = round(args.seconds * SR)
    how = {"temperature": args.temperature, "seconds": args.seconds, "seed": args.seed, "progress": False}
    start = time.perf_counter()
    ours = WaveNetPerformer(model, piece.instrument, **how)(piece.score).samples[0]
    speed = args.seconds * len(voices(piece.score.notes)) / (time.perf_counter() - start)
    synth = by_synth(piece, length)
    others = ours, sketch(model, piece, length), fitted(render(piece.score).mean(0), length)
    return dict(zip(PLAYERS, (synth, *(as_loud_as(audio, synth) for audio in others)), strict=True)), speed


class Judged:
    """What the judges have said so far: note scores for each piece, and the notes for our own pitch judge."""

    def __init__(self):
        self.heard: list[tuple[str, Score, dict[str, tuple]]] = []  # instrument, score, a NoteF1 by player
        self.notes: dict[str, list[Tensor]] = {name: [] for name in PLAYERS[:3]}
        self.pitches: list[int] = []
        self.deaf = ""

    def hear(self, piece: Piece, sounds: dict[str, Tensor]) -> None:
        if len(voices(piece.score.notes)) == 1:
            for name in self.notes:
                self.notes[name].append(notes_of(sounds[name], piece)[0])
            self.pitches += notes_of(sounds["synth"], piece)[1]
        try:
            scores = {name: note_f1(transcribe(sound, SR), piece.score) for name, sound in sounds.items()}
            self.heard.append((piece.instrument, piece.score, scores))
        except ModuleNotFoundError as error:
            self.deaf = str(error)

    def report(self) -> Iterator[str]:
        if self.deaf:
            yield f"notes were not transcribed: {self.deaf}"
        instruments = list(dict.fromkeys(instrument for instrument, *_ in self.heard))
        for instrument in [*instruments, None] if len(instruments) > 1 else instruments:
            yield from self.table(instrument)
        for name, sounds in self.notes.items():
            if self.pitches:
                share = pitch_accuracy(torch.cat(sounds), torch.tensor(self.pitches))
                yield f"{name}: {100 * share:.1f} % within half a semitone, of {len(self.pitches)} notes"

    def table(self, instrument: str | None) -> Iterator[str]:
        """Print means over the pieces of one instrument, or over all, in %, and the mean difference in F1 per piece."""
        chosen = [(score, scores) for name, score, scores in self.heard if instrument in (None, name)]
        table = {name: 100 * np.array([scores[name] for _, scores in chosen]) for name in PLAYERS}  # (pieces, 3)
        count = sum(len(score.notes) for score, _ in chosen)
        yield f"{instrument or 'all'}: {len(chosen)} pieces, {count} notes; precision, recall, F1 of what is heard"
        for name, rows in table.items():
            yield f"  {name:22}" + "".join(f"{x:7.1f}" for x in rows.mean(0))
        apart = (table["WaveNet"] - table["synth"])[:, 2]
        error = apart.std(ddof=1) / len(apart) ** 0.5 if len(apart) > 1 else float("nan")
        yield f"  WaveNet's F1 minus the sampled instruments': {apart.mean():+.1f} points (standard error {error:.1f})"


# ---- bits per sample, beside two baselines


def bits_table(model: ScoreWaveNet, batches: int = 64) -> dict[str, float]:
    """Bits per sample on crops of the test split; the baselines' coefficients and counts come from training crops."""
    train, test = (Crops(pieces_of(split), model.receptive_field, seed=2) for split in ("train", "test"))
    (codes, sketches), (held_out, held_sketches) = (collected(model, crops, batches) for crops in (train, test))
    return {
        "WaveNet": bits(model, test, batches),
        "linear prediction": linear_bits(codes, held_out),
        "linear prediction, with the sketch": linear_bits(codes, held_out, sketches=(sketches, held_sketches)),
        "histogram of codes": unigram_bits(codes, held_out),
    }


@torch.no_grad()
def collected(model: ScoreWaveNet, crops: Crops, batches: int) -> tuple[np.ndarray, np.ndarray]:
    """The codes of `batches` batches of crops, concatenated, and the model's sketch of them."""
    codes, sketches = [], []
    for codes_, local, instrument in map(crops, range(batches)):
        codes.append(codes_[:, crops.valid].flatten())
        sketches.append(model.upsample.sketch(local, instrument)[:, crops.valid].flatten())
    return torch.cat(codes).numpy().astype(np.uint8), torch.cat(sketches).numpy()


def unigram_bits(train: np.ndarray, held_out: np.ndarray, classes: int = 256) -> float:
    """Bits per sample under the training codes' histogram (add-one smoothing), whatever came before."""
    counts = np.bincount(train, minlength=classes) + 1.0
    return float(-np.log2(counts / counts.sum())[held_out].mean())


def linear_bits(
    train: np.ndarray, held_out: np.ndarray, order: int = 32, sketches: tuple[np.ndarray, np.ndarray] | None = None
) -> float:
    """Bits per sample of linear prediction from the last `order` values, with a Laplace error of running width.

    The coefficients are fitted by least squares on the training codes; the width is that of the last 256 errors, and
    its lower limit is the best of ten on the training codes. If `sketches`, guesses of both waves, are given, the
    prediction also uses them, up to the sample in question.
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


def main() -> None:
    args = arguments()
    model = ScoreWaveNet.from_pretrained(args.model)
    args.out.mkdir(parents=True, exist_ok=True)
    if args.bits:
        print(*(f"{name:40} {value:.3f}" for name, value in bits_table(model).items()), sep="\n")
        return
    found = [opening(p, args.seconds) for p in pieces(args.split, args.pieces, args.chorales)]
    judged, speeds = Judged(), []
    for i, piece in enumerate(tqdm([piece for piece in found if piece.score.notes], unit="piece")):
        sounds, speed = play(model, piece, args)
        for name in PLAYERS[:3]:
            save(args.out / f"{i:02d}-{piece.instrument}-{name.lower()}.mp3", sounds[name], SR)
        judged.hear(piece, sounds)
        speeds.append(speed)
    print(f"{len(speeds)} pieces ({args.split} split), {args.seconds:g} s of each, temperature {args.temperature:g}")
    print(*judged.report(), sep="\n")
    print(f"the sampler drew {np.median(speeds):.2f} seconds of one voice per second")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", help="the folder of a ScoreWaveNet, or the name of a shipped one")
    parser.add_argument("--pieces", type=int, default=20, help="how many folk tunes, for each instrument in turn")
    parser.add_argument("--chorales", type=int, default=0, help="how many JSB chorales, each voice a separate stream")
    parser.add_argument("--split", choices=("train", "valid", "test"), default="test", help="use valid for tuning")
    parser.add_argument("--bits", action="store_true", help="only measure bits per sample, beside baselines")
    parser.add_argument("--seconds", type=float, default=10.0, help="seconds of each piece")
    parser.add_argument("--temperature", type=float, default=0.3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/renderer-heard"))
    return parser.parse_args()


if __name__ == "__main__":
    main()
