"""How fast `musicai.performance.render` is: seconds of audio per second of one core's time, compared with FluidSynth.

    python benchmarks/synth.py

Every row is the median of several measurements in this run, in CPU time (which other programs affect less than wall
time). "first" is a fresh process, including decoding and loops but not imports; "again" has its notes in memory.
FluidSynth plays the same MIDI file with the soundfont that our notes come from, at 16 kHz without effects; its process
loads the soundfont's samples each time, as our "first" does.
"""

import os

os.environ["OMP_NUM_THREADS"] = "1"

import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from musicai.notes import Note, Score, Track, write_midi
from musicai.performance import render

SOUNDFONT = "/usr/share/sounds/sf2/FluidR3_GM.sf2"
COLD = "import sys, time; from musicai.notes import read_midi; from musicai.performance import render;"
COLD += "s = read_midi({!r});"
COLD += "t = time.process_time(); render(s); print(time.process_time() - t)"


def band(seconds: int, tracks: int, seed: int = 0) -> Score:
    """Random music for `tracks` instruments and drums at 120 beats per minute."""
    rng = np.random.default_rng(seed)
    parts = []
    for program in (0, 33, 40, 73, 48, 56, 24, 71)[:tracks]:
        step = rng.choice([0.5, 1, 4])
        beats = np.arange(0, 2 * seconds, step)
        pitches, velocities = rng.integers(50, 80, len(beats)), rng.integers(40, 110, len(beats))
        notes = [
            Note(int(p), float(b), step * 0.95, int(v)) for p, b, v in zip(pitches, beats, velocities, strict=True)
        ]
        parts.append(Track(tuple(notes), program, pan=float(rng.uniform(-0.7, 0.7))))
    drums = [Note(int(rng.choice([36, 38, 42, 46])), float(b), 0.25) for b in np.arange(0, 2 * seconds, 0.5)]
    return Score((*parts, Track(tuple(drums), is_drum=True)))


def median(run: Callable[[], float], times: int = 3) -> float:
    return statistics.median(run() for _ in range(times))


def timed(run: Callable[[], object]) -> float:
    """CPU seconds used by this process and by those it started."""
    before = os.times()
    run()
    return sum(os.times()[:4]) - sum(before[:4])


def cold(midi: Path) -> float:
    """The first render of a fresh process."""
    return float(subprocess.run([sys.executable, "-c", COLD.format(str(midi))], capture_output=True, check=True).stdout)


def again(score: Score, times: int = 10) -> float:
    return timed(lambda: [render(score) for _ in range(times)]) / times


def fluidsynth(midi: Path) -> float:
    command = ["fluidsynth", "-niq", "-R", "0", "-C", "0", "-r", "16000"]
    command += ["-F", midi.with_suffix(".wav"), SOUNDFONT, midi]
    return timed(lambda: subprocess.run(command, check=True, capture_output=True))


def main() -> None:
    torch.set_num_threads(1)
    peer = shutil.which("fluidsynth") and Path(SOUNDFONT).exists()
    columns = ("first", "again", "fluidsynth")
    print("times real time, one core".ljust(34), *(f"{name:>12}" for name in columns))
    with tempfile.TemporaryDirectory() as folder:
        midi = Path(folder, "piece.mid")
        for seconds, tracks in ((10, 1), (60, 1), (60, 5), (240, 8)):
            score = band(seconds, tracks)
            write_midi(midi, score)
            length = render(score).shape[1] / 16_000
            row = [median(lambda: cold(midi)), median(lambda score=score: again(score))]
            row += [median(lambda: fluidsynth(midi))] if peer else []
            print(f"{seconds:4} s, {tracks} instruments and drums".ljust(34), *(f"{length / t:11.0f}x" for t in row))


if __name__ == "__main__":
    main()
