"""Does it play what is written? Other ears transcribe its sound, and that of the sampled instruments, beside the score.

    python scripts/evaluate_renderer.py musicai/checkpoints/wavenet-renderer --pieces 20 --seconds 10
    python scripts/evaluate_renderer.py runs/renderer/model --instruments flute cello --chorales 5 --temperature 0.6

Openings of the test split (or of `--split`) are played by the model (`WaveNetPerformer`), by its partials alone
(its sketch), and by the sampler: the same notes at 16 kHz, as mu-law codes, each voice by itself, at the same
loudness. Two judges hear them. basic-pitch writes down what it hears, and precision, recall and F1 say how far that is
the score; of single-voice pieces our own pitch judge is asked about each note. No judge is always right: what counts is
the difference to synth. Leaves the sounds in OUT.
basic-pitch: `pip install 'musicai[judges]' && pip install --no-deps basic-pitch`. Chapter 5.
"""

import argparse
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from renderings import SR, Piece, codes_of, pieces
from torch import Tensor
from tqdm.auto import tqdm

from musicai.audio import mu_law_decode, save
from musicai.metrics import note_f1, pitch_accuracy, transcribe
from musicai.notes import Score
from musicai.performance import WaveNetPerformer, render, voices
from musicai.wavenet import ScoreWaveNet

SHORTEST, LENGTH = 0.2, 0.5  # seconds: our pitch judge hears no shorter notes, and of longer ones this much
PLAYERS = ("synth", "WaveNet", "sketch", "synth without mu-law")


def notes_of(audio: Tensor, piece: Piece) -> tuple[Tensor, list[int]]:
    """The sounds of the notes that are long enough and whole, (notes, time) with silence after them, and pitches."""
    sounds, pitches = [], []
    for note in piece.score.tracks[0].notes:
        start, end = (round(SR * piece.score.seconds(beat)) for beat in (note.start, note.end))
        if end - start >= SHORTEST * SR and end <= len(audio):
            sound = audio[start : min(end, start + int(LENGTH * SR))]
            sounds.append(torch.nn.functional.pad(sound, (0, int(LENGTH * SR) - len(sound))))
            pitches.append(note.pitch)
    return torch.stack(sounds) if sounds else torch.zeros(0, int(LENGTH * SR)), pitches


def opening(piece: Piece, seconds: float) -> Piece:
    """The notes that end by then: what is cut off can be neither played nor heard."""
    (track,), score = piece.score.tracks, piece.score
    whole = tuple(note for note in track.notes if score.seconds(note.end) <= seconds)
    return piece._replace(score=replace(score, tracks=(replace(track, notes=whole),)))


def by_synth(piece: Piece, length: int) -> Tensor:
    """synth's audio as the model's: each voice as mu-law codes, and their sum."""
    (track,) = piece.score.tracks
    alone = [replace(piece.score, tracks=(replace(track, notes=voice),)) for voice in voices(track.notes)]
    codes = [torch.from_numpy(codes_of(piece._replace(score=score)).astype("int64")) for score in alone]
    return sum(fitted(mu_law_decode(x), length) for x in codes)


def fitted(audio: Tensor, length: int) -> Tensor:
    return torch.nn.functional.pad(audio[:length], (0, max(0, length - len(audio))))


@torch.no_grad()
def sketch(model: ScoreWaveNet, piece: Piece, length: int) -> Tensor:
    """What the model's partials make of the score, without its WaveNet."""
    how = model.conditioning(piece.score, piece.instrument, length)
    return model.upsample.sketch(how["local"][None], torch.tensor([how["instrument"]]))[0, :length]


def as_loud_as(audio: Tensor, other: Tensor) -> Tensor:
    """At the other's mean power."""
    return audio * (other.square().mean() / audio.square().mean().clamp(min=1e-12)).sqrt()


def play(model: ScoreWaveNet, piece: Piece, args: argparse.Namespace) -> tuple[dict[str, Tensor], float]:
    """A piece by each of PLAYERS; and how many seconds of one voice the sampler gave a second."""
    length = round(args.seconds * SR)
    how = {"temperature": args.temperature, "seconds": args.seconds, "seed": args.seed, "progress": False}
    start = time.perf_counter()
    ours = WaveNetPerformer(model, piece.instrument, **how)(piece.score).samples[0]
    speed = args.seconds * len(voices(piece.score.notes)) / (time.perf_counter() - start)
    synth = by_synth(piece, length)
    others = ours, sketch(model, piece, length), fitted(render(piece.score).mean(0), length)
    return dict(zip(PLAYERS, (synth, *(as_loud_as(audio, synth) for audio in others)), strict=True)), speed


class Judged:
    """What the judges said so far: note scores of each piece, and the notes that our own pitch judge will hear."""

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
        """Means over the pieces of an instrument, or over all, in %; and by how much F1 differs, piece by piece."""
        chosen = [(score, scores) for name, score, scores in self.heard if instrument in (None, name)]
        table = {name: 100 * np.array([scores[name] for _, scores in chosen]) for name in PLAYERS}  # (pieces, 3)
        count = sum(len(score.notes) for score, _ in chosen)
        yield f"{instrument or 'all'}: {len(chosen)} pieces, {count} notes; precision, recall, F1 of what is heard"
        for name, rows in table.items():
            yield f"  {name:22}" + "".join(f"{x:7.1f}" for x in rows.mean(0))
        apart = (table["WaveNet"] - table["synth"])[:, 2]
        error = apart.std(ddof=1) / len(apart) ** 0.5 if len(apart) > 1 else float("nan")
        yield f"  WaveNet's F1 less synth's: {apart.mean():+.1f} points (standard error {error:.1f})"


def main() -> None:
    args = arguments()
    model = ScoreWaveNet.from_pretrained(args.model)
    args.out.mkdir(parents=True, exist_ok=True)
    names = tuple(args.instruments or model.config.instruments)
    found = [opening(p, args.seconds) for p in pieces(args.split, names, args.pieces, args.chorales, False)]
    judged, speeds = Judged(), []
    for i, piece in enumerate(tqdm([piece for piece in found if piece.score.notes], unit="piece")):
        sounds, speed = play(model, piece, args)
        for name in PLAYERS[:3]:
            save(args.out / f"{i:02d}-{piece.instrument}-{name.lower()}.mp3", sounds[name], SR)
        judged.hear(piece, sounds)
        speeds.append(speed)
    print(f"{len(speeds)} pieces ({args.split} split), {args.seconds:g} s of each, temperature {args.temperature:g}")
    print(*judged.report(), sep="\n")
    print(f"the sampler gave {np.median(speeds):.2f} seconds of one voice a second")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", help="folder of a ScoreWaveNet, or the name of a shipped one")
    parser.add_argument("--pieces", type=int, default=20, help="folk tunes, each for one of the instruments, in turn")
    parser.add_argument("--chorales", type=int, default=0, help="JSB chorales, each voice a stream of its own")
    parser.add_argument("--split", choices=("train", "valid", "test"), default="test", help="valid to choose by")
    parser.add_argument("--instruments", nargs="+", help="all that the model plays, unless named here")
    parser.add_argument("--seconds", type=float, default=10.0, help="of each piece")
    parser.add_argument("--temperature", type=float, default=0.3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/renderer-heard"))
    return parser.parse_args()


if __name__ == "__main__":
    main()
