"""How do people and players miss? Where the constants in musicai/search/humming.py come from.

    python scripts/calibrate_humming.py --eval FOLDER

The folder holds `recordings/` (notes that pYIN found in recordings of Irish music, and which tunes have the same title)
and `singing/` (a clip of vocadito). Only recordings whose number divides by four are read; the others are for testing.
"""

import argparse
import csv
import re
from pathlib import Path

import numpy as np

from musicai.audio import load
from musicai.data import FolkCorpus
from musicai.gmm import GaussianMixture
from musicai.search import hum
from musicai.search.contours import track_contour

TITLES = "titles in our corpus"
EDGES = np.r_[-3, -2, np.arange(-12, 13) / 10, 2, 3]  # semitones, of the histogram of errors
GOOD = 0.7  # the least score per note of an excerpt that is believed to be the tune in the title


def tuning(notes: np.ndarray) -> float:
    """By how many semitones the notes, rows that end in a duration and a pitch, lie off the grid of A = 440 Hz."""
    return float(np.angle(notes[:, 3] @ np.exp(2j * np.pi * notes[:, 4])) / (2 * np.pi))


def compare(query: np.ndarray, tune: np.ndarray) -> tuple[float, np.ndarray, int, int]:
    """Fit all of the query to part of the tune in the best of 12 keys, disregarding octaves.

    Returns: score per note, errors of the notes that have a partner (semitones), notes too many, notes missing.
    """
    error = (query[:, None] + np.arange(12)[:, None, None] - tune + 6) % 12 - 6  # (keys, query, tune)
    gain = np.where(np.abs(error) < 0.6, 2.0, -1.5)
    n, m = error.shape[1:]
    score, step = np.zeros((12, n + 1, m + 1)), np.zeros((12, n + 1, m + 1), int)
    score[:, :, 0] = -2.0 * np.arange(n + 1)
    for i in range(1, n + 1):
        for j in range(1, m + 1):
            ways = (score[:, i - 1, j - 1] + gain[:, i - 1, j - 1], score[:, i - 1, j] - 1.2, score[:, i, j - 1] - 1.2)
            score[:, i, j], step[:, i, j] = np.max(ways, axis=0), np.argmax(ways, axis=0)
    key, j = np.unravel_index(score[:, n].argmax(), (12, m + 1))
    total, i, pairs, counts = score[key, n, j], n, [], [0, 0, 0]
    while i and j:
        way = step[key, i, j]
        pairs += [error[key, i - 1, j - 1]] if way == 0 else []
        counts[way] += 1
        i, j = i - (way < 2), j - (way != 1)
    return total / n, np.array(pairs), counts[1] + i, counts[2]


def plain(title: str) -> str:
    return re.sub(r"[^a-z0-9]", "", title.lower())


def played(folder: Path) -> None:
    """Print the errors of notes that players play and pYIN transcribes."""
    notes = np.genfromtxt(folder / "pyin_notes.csv", delimiter=",", skip_header=1)
    notes = notes[notes[:, 0] % 4 == 0]  # recording, excerpt, onset, duration, pitch
    excerpts = [notes[(notes[:, :2] == key).all(1)] for key in np.unique(notes[:, :2], axis=0)]
    grid = np.concatenate([(x[:, 4] - tuning(x) + 0.5) % 1 - 0.5 for x in excerpts])
    print(f"{len(grid)} notes; median and 90 % of their distance from the grid:", np.percentile(abs(grid), [50, 90]))
    titles = {int(row["recording"]): row[TITLES] for row in csv.DictReader((folder / "same_title.csv").open())}
    tunes, best = list(FolkCorpus()), []
    for x in excerpts:
        names = {plain(name) for name in titles.get(int(x[0, 0]), "").split(";")} - {""}
        fits = [compare(x[:, 4] - tuning(x), np.tile(t.pitches, 2)) for t in tunes if plain(t.name) in names]
        best += [max(fits, key=lambda fit: fit[0])] if fits else []
    good = [fit for fit in best if fit[0] > GOOD]
    errors = np.concatenate([fit[1] for fit in good])
    wrong, extra, missing = (abs(errors) >= 0.6).sum(), sum(fit[2] for fit in good), sum(fit[3] for fit in good)
    print(f"{len(good)} of {len(best)} excerpts are their tune: {len(errors)} notes with a partner, of which")
    print(
        f"{wrong} wrong; {extra} extra and {missing} missing. Their errors of pitch, counted between {EDGES.round(1)}:"
    )
    print(np.histogram(errors, EDGES)[0].tolist())
    mixture = GaussianMixture(3, random_state=0, n_init=10).fit(errors[:, None])
    print("weights", mixture.weights_, "means", mixture.means_[:, 0], "sd", mixture.covariances_[:, 0, 0] ** 0.5)


def describe(audio: np.ndarray, sr: int) -> list[float]:
    """What a voice does: a row of the table that `sung` prints."""
    pitches = track_contour(audio, sr).pitches
    inside = np.flatnonzero(np.isfinite(pitches))
    pitches = pitches[inside[0] : inside[-1] + 1]
    voiced = np.isfinite(pitches)
    move = np.abs(pitches[2:] - pitches[:-2])[voiced[2:] & voiced[:-2]]  # in 20 ms
    lengths = np.diff(np.flatnonzero(np.diff(np.r_[0, voiced, 0]))) / 100  # of sounds and of silences in turn
    gaps = [x for x in lengths[1::2] if x > 0.03] or [0]
    return [voiced.mean(), *np.percentile(move, [50, 90]), np.median(lengths[::2]), np.median(gaps)]


def sung(folder: Path) -> None:
    """Print what the voice of a singer does, beside 50 simulated ones."""
    tunes = FolkCorpus(limit=500)
    simulated = np.array([describe(*hum(tunes[10 * i], i, seconds=9)) for i in range(50)])
    audio, sr = load(folder / "vocadito_10.wav", mono=True)
    print("share voiced; movement in 20 ms, median and 90 %, semitones; seconds of sound and of silence at a time")
    print("vocadito      ", np.round(describe(audio[0].numpy(), sr), 3))
    for q in (10, 50, 90):
        print(f"simulated {q} %", np.percentile(simulated, q, axis=0).round(3))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--eval", type=Path, metavar="FOLDER", help="where recordings/ and singing/ lie")
    folder = parser.parse_args().eval
    for part, measure in (("recordings", played), ("singing", sung)):
        at_hand = folder is not None and (folder / part).is_dir()
        print(f"{part}: {'' if at_hand else 'not at hand'}")
        if at_hand:
            measure(folder / part)
