"""Harmony: chords against Nottingham's own, and four voices against Bach's own, on their test splits and on folk tunes.

    python -m benchmarks.harmony
    python -m benchmarks.harmony --tunes 40 --json harmony.json

Chords. "ours" is the share of spans whose root is Nottingham's, beside the triad that fits the span's notes best and
the best constant chord; "strong" is the share of spans that begin with a note of the melody that belongs to the chord,
for our chords and for Nottingham's own. The folk tunes are the test split of `FolkCorpus`, of all metres and modes.

Voices. "fifths" and "octaves" are the shares of steps with a parallel, measured beat by beat; "four" is the share of
beats with four different pitches; "mode" the share that opens without the third of the other mode; "hold" the longest
note of alto, tenor or bass, in beats. Beside ours: Bach, and the WaveNet under the same melody, as in chapter 5.
Everything was fitted to the training splits and chosen on the validation splits.
"""

import argparse
import json
import time

import numpy as np
import torch

from musicai.composition import harmony
from musicai.composition.harmony import TONES, add_chords
from musicai.composition.voices import four_voices, parallels
from musicai.data import FolkCorpus, JSBChorales, Nottingham
from musicai.notes import Melody
from musicai.wavenet import RollWaveNet, compose, under_melody
from scripts.fit_harmony import find_bars, label_chords, mode_of

METERS = {(4, 2): (4, 4), (3, 2): (6, 8), (6, 1): (3, 4)}


def as_melody(line: np.ndarray, step: float, **settings) -> Melody:
    """A line of pitches per frame, -1 for rests, as a melody; a repeated note becomes one long note."""
    cuts = np.concatenate([[0], 1 + np.flatnonzero(np.diff(line)), [len(line)]])
    pitches = [int(line[cut]) if line[cut] >= 0 else None for cut in cuts[:-1]]
    return Melody.from_pitches(pitches, np.diff(cuts) * step, **settings)


def nottingham(split: str) -> dict[str, float]:
    """Roots and chord tones on one split."""
    hits = {name: [] for name in ("ours", "triad", "ours strong", "Nottingham strong")}
    roots = []
    for roll in Nottingham(split).rolls:
        chords, melody = label_chords(roll)
        if (grid := find_bars(chords, melody)) is None:
            continue
        size, per_bar, first = grid
        minor, tonic = mode_of(chords)
        line = np.where(melody >= 0, 108 - roll[:, ::-1].argmax(1), -1)
        key = f"{'A' if tonic else 'C'} {'minor' if minor else 'major'}"
        tune = as_melody(line, 0.5, key=key, time_signature=METERS[size, per_bar])
        found = add_chords(tune, pickup=first / 2)
        for at in range(first, len(chords) - size + 1, size):
            own = chords[at : at + size]
            if not (own >= 0).any():
                continue
            own = np.bincount(own[own >= 0]).argmax()
            ours = next(c for c in found if c.end > at / 2 + 1e-6)
            notes = melody[at : at + size]
            fit = TONES[:24] @ np.bincount(notes[notes >= 0], minlength=12)
            roots.append((own % 12 - tonic) % 12)
            hits["ours"].append(ours.root == own % 12)
            hits["triad"].append(fit.argmax() % 12 == own % 12)
            if notes[0] >= 0:
                hits["ours strong"].append(notes[0] in ours.pitch_classes)
                hits["Nottingham strong"].append(TONES[own, notes[0]])
    shares = {name: float(np.mean(values)) for name, values in hits.items()}
    return {**shares, "constant": np.bincount(roots).max() / len(roots), "spans": len(roots)}


def pickup_of(melody: Melody) -> float:
    """The beats before the first bar line of a `FolkTune`; 0 for melodies that do not know their bar lines."""
    lines = getattr(melody, "bars", ())
    return lines[0][0] % sum(harmony.rhythm_of(melody.time_signature)) if lines else 0.0


def strong_share(melody: Melody) -> tuple[int, int]:
    """How many spans begin with a note of the melody, and how many of these notes belong to the chord."""
    pickup = pickup_of(melody)
    edges, _ = harmony.spans_of(melody, pickup)
    chords, hits = add_chords(melody, pickup=pickup), []
    for at in edges[pickup > 0 : -1]:
        heard = [note.pitch for note in melody.notes if note.start <= at + 1e-6 < note.end - 1e-6]
        chord = next(c for c in chords if c.end > at + 1e-6)
        hits += [heard[0] % 12 in chord.pitch_classes] if heard else []
    return len(hits), sum(hits)


def voices_of(score) -> np.ndarray:
    """The pitches (beats, 4) of a score of four tracks at each onset of the bass; -1 for silence."""
    times = sorted({note.start for track in score.tracks[1:] for note in track.notes})
    heard = [[next((n.pitch for n in track.notes if n.start <= t + 1e-6 < n.end), -1) for track in score.tracks]
             for t in times]  # fmt: skip
    return np.array(heard)


def judge(pieces: list[np.ndarray], minor: list[bool]) -> dict[str, float]:
    """Parallels, four notes, and the opening's mode."""
    steps = fifths = octaves = four = beats = opens = 0
    for x, is_minor in zip(pieces, minor, strict=True):
        full = np.array([len(set(row)) == 4 and row.min() >= 0 for row in x])
        both = full[1:] & full[:-1]
        one, two = x[:-1][both], x[1:][both]
        steps, beats, four = steps + both.sum(), beats + len(x), four + full.sum()
        pairs = [[a, b] for a in range(4) for b in range(a + 1, 4)]
        moved = np.array([parallels(one[:, pair], two[:, pair]) > 0 for pair in pairs])
        fifth = np.array([(two[:, a] - two[:, b]) % 12 == 7 for a, b in pairs])
        fifths, octaves = fifths + (moved & fifth).any(0).sum(), octaves + (moved & ~fifth).any(0).sum()
        opens += (4 if is_minor else 3) not in x[0] % 12
    return {"fifths": fifths / steps, "octaves": octaves / steps, "four": four / beats, "mode": opens / len(pieces)}


def longest(score) -> float:
    """The longest note of alto, tenor and bass, in beats."""
    return max(note.duration for track in score.tracks[1:] for note in track.notes)


def in_four(roll: np.ndarray) -> np.ndarray:
    """The sounding frames of a roll (frames, 88) as pitches (frames, 4), the highest first; too few are filled up."""
    frames = [21 + np.flatnonzero(frame)[::-1] for frame in roll if frame.any()]
    return np.array([np.append(x, [x[-1]] * 4)[:4] for x in frames])


def chorales(split: str, every: int) -> dict[str, dict[str, float]]:
    """Bach, our voices, and the WaveNet alone under the same melodies."""
    rolls = [roll[roll.any(1)] for roll in JSBChorales(split).rolls[::every]]
    minor = [bool(roll[:, 6::12].sum() > roll[:, 7::12].sum()) for roll in rolls]  # row 6 is E flat, row 7 is E
    lines = [108 - roll[:, ::-1].argmax(1) for roll in rolls]
    began, scores = time.perf_counter(), []
    for line, is_minor in zip(lines, minor, strict=True):
        scores.append(four_voices(as_melody(line - 12, 1.0, key=f"C {'minor' if is_minor else 'major'}")))
    seconds = (time.perf_counter() - began) / len(rolls)
    alone, model = [], RollWaveNet.from_pretrained("wavenet-chorales")
    for line, is_minor in zip(lines[::4], minor[::4], strict=True):  # which takes seconds each
        top = torch.zeros(88, len(line))
        top[line - 21, torch.arange(len(line))] = 1
        how = {"mode": "minor" if is_minor else "major", "temperature": 0.7, "seed": 1, "progress": False}
        alone.append(in_four(compose(model, len(line), fixed=under_melody(top), **how).numpy().T))
    rows = {"Bach": judge(list(map(in_four, rolls)), minor), "ours": judge(list(map(voices_of, scores)), minor)}
    rows["ours"] |= {"hold": max(map(longest, scores)), "seconds": seconds}
    return {**rows, "WaveNet": judge(alone, minor[::4])}


def folk(tunes: int | None) -> dict[str, dict]:
    """Strong beats under our chords, and our voices, on folk tunes of all metres and modes."""
    chosen = list(FolkCorpus("test"))
    chosen = chosen[:: max(1, len(chosen) // tunes)] if tunes else chosen
    counts = {}
    for tune in chosen:
        for name in (
            "all",
            f"{tune.time_signature[0]}/{tune.time_signature[1]}",
            tune.key.partition(" ")[2] or "no key",
        ):
            counts[name] = np.add(counts.get(name, (0, 0)), strong_share(tune))
    shares = {name: [round(hits / notes, 3), int(notes)] for name, (notes, hits) in counts.items() if notes}
    began = time.perf_counter()
    scores = [four_voices(tune, pickup=pickup_of(tune)) for tune in chosen[::4]]
    seconds = (time.perf_counter() - began) / len(scores)
    keys = [harmony.key_of(tune) for tune in chosen[::4]]
    lines = [voices_of(score) - tonic for score, (tonic, _) in zip(scores, keys, strict=True)]
    row = judge(lines, [3 in harmony.SCALES[mode] for _, mode in keys])
    return {"strong": shares, "voices": {**row, "hold": max(map(longest, scores)), "seconds": seconds}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--split", default="test")
    parser.add_argument("--every", type=int, default=1, help="use every n-th chorale")
    parser.add_argument("--tunes", type=int, help="about how many folk tunes; all by default")
    parser.add_argument("--json", help="where to write the figures")
    args = parser.parse_args()
    results = {"chords": nottingham(args.split), "chorales": chorales(args.split, args.every), "folk": folk(args.tunes)}
    print(json.dumps(results, indent=1, default=float))
    if args.json:
        with open(args.json, "w") as file:
            json.dump(results, file, indent=1, default=float)


if __name__ == "__main__":
    main()
