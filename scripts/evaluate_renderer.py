"""Does the model play what is written? Independent judges transcribe its sound and that of the sampled instruments.

    python scripts/evaluate_renderer.py wavenet-renderer --pieces 20 --seconds 10
    python scripts/evaluate_renderer.py runs/renderer --chorales 5 --temperature 0.6
    python scripts/evaluate_renderer.py wavenet-renderer --table    # held notes, noise, and bits beside baselines

The model, its partials alone (the sketch) and the sampled instruments play the openings of pieces from the test split
(or from `--split`): the same notes at 16 kHz, as mu-law codes, each voice by itself, equally loud. basic-pitch
transcribes what it hears; precision, recall and F1 tell how close that is to the score. In pieces with one voice, our
own pitch judge hears each note. No judge is always right: what counts is the difference from the sampled instruments.
The sounds are saved in OUT.

`--table` measures what needs no transcriber: how loud a held note is 0.8 and 3.5 seconds after its beginning, beside
the sampled instruments, at every pitch that they have; how much noise there is between its partials from 4 to 7.8 kHz;
and bits per sample on the openings of tunes from the split, beside linear prediction, fixed and adaptive.
To get basic-pitch: `pip install 'musicai[judges]' && pip install --no-deps basic-pitch`.
Chapter 5.
"""

import argparse
import math
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm.auto import tqdm

from musicai.audio import mu_law_decode, mu_law_edges, mu_law_encode, save, stft
from musicai.data import JSBChorales
from musicai.metrics import note_f1, pitch_accuracy, transcribe
from musicai.notes import Note, Score, Track, midi_to_hz
from musicai.performance import WaveNetPerformer, render, voices
from musicai.performance.sampled import PROGRAMS, layers
from musicai.recipes.renderer import INSTRUMENTS, Piece, as_piece, tune_pieces
from musicai.recipes.shared import SR, spread
from musicai.wavenet import ScoreWaveNet, sample

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
    how = {"temperature": args.temperature, "seed": args.seed, "precision": args.precision, "progress": False}
    start = time.perf_counter()
    ours = WaveNetPerformer(model, piece.instrument, seconds=args.seconds, **how)(piece.score).samples[0]
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


def bits_table(models: dict[str, ScoreWaveNet], train: list[Piece], held_out: list[Piece]) -> dict[str, float]:
    """Mean bits per sample on pieces; the baselines' coefficients, counts and floors come from the training pieces.

    The first model's sketch is lent to linear prediction.
    """
    model = next(iter(models.values()))
    known, heard = ([piece.codes for piece in part] for part in (train, held_out))
    table = {name: float(np.mean([model_bits(one, piece) for piece in held_out])) for name, one in models.items()}
    guesses, guessed = ([sketch(model, p, len(p.codes)).numpy() for p in part] for part in (train, held_out))
    codes = np.concatenate(known)
    sketches = np.concatenate(guesses)
    table |= {
        "histogram of codes": np.mean([unigram_bits(codes, x) for x in heard]),
        "linear prediction, order 32": np.mean([linear_bits(codes, x) for x in heard]),
        "the same, told the sketch": np.mean(
            [linear_bits(codes, x, sketches=(sketches, s)) for x, s in zip(heard, guessed, strict=True)]
        ),
        "adaptive, order 32, on 100 ms": adaptive_bits(known, heard, 32, 0.1),
        "adaptive, order 64, on 200 ms": adaptive_bits(known, heard, 64, 0.2),
        "the same of what the sketch leaves, order 32": adaptive_bits(known, heard, 32, 0.1, guesses, guessed),
    }
    return table


@torch.no_grad()
def model_bits(model: ScoreWaveNet, piece: Piece) -> float:
    """Bits per sample of a whole piece under the model."""
    codes = torch.from_numpy(piece.codes).long()[None]
    how = model.conditioning(piece.score, piece.instrument, codes.shape[1])
    log_p = model.log_prob_of_codes(codes, how["local"][None], torch.tensor([how["instrument"]]))
    return -log_p.double().mean().item() / math.log(2)


def adaptive_bits(
    train: list[np.ndarray], held_out: list[np.ndarray], order: int, seconds: float,
    guesses: list[np.ndarray] | None = None, guessed: list[np.ndarray] | None = None,
) -> float:  # fmt: skip
    """Mean bits per sample of linear prediction that is refitted to the last `seconds` every 5 ms, strictly causal.

    The error is a Laplace distribution, as wide as the last 256 errors were; the width's lower limit is the best of ten
    on the training codes. If guesses of the waves are given, it predicts what they leave.
    """
    cost = {}
    for floor in np.geomspace(1e-4, 3e-2, 10):
        pairs = zip(train, guesses or [None] * len(train), strict=True)
        cost[floor] = np.mean([_laplace_bits(*predicted(x, order, seconds, s), floor) for x, s in pairs])
    pairs = zip(held_out, guessed or [None] * len(held_out), strict=True)
    return np.mean([_laplace_bits(*predicted(x, order, seconds, s), min(cost, key=cost.get)) for x, s in pairs])


_predicted = {}  # what took a while


def predicted(codes: np.ndarray, order: int, seconds: float, guess: np.ndarray | None = None) -> tuple:
    """The adaptive predictions, the values and the codes of a sound from its sample `order` on."""
    key = codes.tobytes(), order, seconds, None if guess is None else guess.tobytes()
    if key not in _predicted:
        x, y = _pasts(codes, order, guess)
        found, length, step = np.zeros(len(y)), round(seconds * SR), SR // 200
        for start in range(step, len(y), step):  # the weights come from samples before `start`
            past = slice(max(0, start - length), start)
            gram = x[past].T @ x[past]
            gram[np.diag_indices(order)] += 1e-6 * np.trace(gram) / order + 1e-9
            found[start : start + step] = x[start : start + step] @ np.linalg.solve(gram, x[past].T @ y[past])
        shift = 0 if guess is None else guess[order:]
        _predicted[key] = found + shift, y + shift, codes[order:]
    return _predicted[key]


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


def _pasts(codes: np.ndarray, order: int, guess: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    values = mu_law_decode(torch.from_numpy(codes.astype(np.int64))).double().numpy()
    values = values if guess is None else values - guess
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


# ---- held notes


def held_notes(instrument: str, velocity: int = 80, seconds: float = 3.7) -> list[Piece]:
    """A long note for each pitch that the sampled instrument has."""
    notes = [Note(pitch, 0.0, 2 * seconds, velocity) for pitch in sorted(layers(instrument))]  # 120 beats per minute
    program = PROGRAMS.index(instrument)
    return [Piece(f"{n.pitch}", Score((Track((n,), program=program),)), instrument) for n in notes]


def held(model: ScoreWaveNet, args: argparse.Namespace) -> Iterator[str]:
    """How loud held notes are beside the sampler's, and how noisy, for each instrument."""
    n = round(3.6 * SR)
    for instrument in model.config.instruments:
        notes = held_notes(instrument)
        truth = torch.stack([render(piece.score).mean(0)[:n] * 2**0.5 for piece in notes])
        coded = mu_law_decode(mu_law_encode(truth.clamp(-1, 1)))
        sounds = {"sampler as mu-law codes": coded, "sketch": torch.stack([sketch(model, p, n) for p in notes])}
        if not args.sketch_only:
            how = [model.conditioning(piece.score, instrument, n) for piece in notes]
            given = {key: torch.stack([torch.as_tensor(one[key]) for one in how]) for key in how[0]}
            options = {"temperature": args.temperature, "precision": args.precision, "progress": False}
            drawn = sample(model, n, given, streams=len(notes), **options)
            sounds["WaveNet"] = drawn if model.config.mixtures else mu_law_decode(drawn)
        for name, sound in sounds.items():
            yield f"{instrument}, {name}"
            for at in (0.8, 3.5):
                off = decibels(around(sound, at)) - decibels(around(truth, at))
                far = [f"{p.name} {x:+.1f}" for p, x in zip(notes, off, strict=True) if abs(x) > 2]
                worst = f"worst {np.abs(off).max():.1f}, mean {np.abs(off).mean():.2f}"
                beyond = f"{len(far)} of {len(off)} beyond 2: {', '.join(far)}"
                yield f"  level at {at} s, dB from the sampler: {worst}; {beyond}"
            noise = np.array([between(x, p) - between(y, p) for x, y, p in zip(sound, truth, notes, strict=True)])
            yield (
                f"  noise between partials, 4 to 7.8 kHz, dB from the sampler's: median {np.median(noise):+.1f}, "
                f"from {noise.min():+.1f} to {noise.max():+.1f}; {(np.abs(noise) > 6).sum()} beyond 6"
            )


def around(sounds: Tensor, seconds: float) -> np.ndarray:
    """The mean power (notes,) in a tenth of a second."""
    middle = round(seconds * SR)
    return sounds[:, middle - 800 : middle + 800].double().square().mean(1).numpy()


def between(sound: Tensor, piece: Piece, low: float = 4000, high: float = 7800) -> float:
    """The power in dB, of the whole, that lies between the partials of a held note, after its first 0.3 seconds."""
    whole = stft(sound[None, SR * 3 // 10 :], 4096, 1024)[0, :, 2:-2]  # at the ends, windows hang over
    power = whole.abs().square().mean(-1).double().numpy()
    hertz = np.arange(len(power)) * SR / 4096
    order = hertz / midi_to_hz(int(piece.name))
    chosen = (np.abs(order - np.round(order)) > 0.1) & (hertz >= low) & (hertz <= high)
    return float(decibels(power[chosen].sum() / power.sum()))


def decibels(power: np.ndarray) -> np.ndarray:
    return 10 * np.log10(power + 1e-12)


def table(model: ScoreWaveNet, args: argparse.Namespace) -> Iterator[str]:
    """Held notes, noise and bits."""
    yield from held(model, args)
    start = time.perf_counter()
    train, held_out = ([opening(p, args.seconds) for p in tune_pieces(s, args.pieces)] for s in ("train", args.split))
    models = {args.model: model} | {name: ScoreWaveNet.from_pretrained(name) for name in args.twins}
    yield f"bits per sample on {len(held_out)} tunes ({args.split} split), {args.seconds:g} s of each"
    for name, value in bits_table(models, train[: max(2, args.pieces // 3)], held_out).items():
        yield f"  {name:46} {value:.3f}"
    yield f"({time.perf_counter() - start:.0f} s)"


def main() -> None:
    args = arguments()
    model = ScoreWaveNet.from_pretrained(args.model)
    args.out.mkdir(parents=True, exist_ok=True)
    if args.table:
        for line in table(model, args):
            print(line, flush=True)
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
    parser.add_argument("--table", action="store_true", help="measure held notes, noise and bits instead")
    parser.add_argument("--twins", nargs="*", default=[], help="other models to measure the bits of")
    parser.add_argument("--sketch-only", action="store_true", help="in the table, don't draw held notes")
    parser.add_argument("--precision", default="int8", help="of the sampler")
    parser.add_argument("--seconds", type=float, default=10.0, help="seconds of each piece")
    parser.add_argument("--temperature", type=float, default=0.3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/renderer-heard"))
    return parser.parse_args()


if __name__ == "__main__":
    main()
