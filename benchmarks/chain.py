"""The whole chain: how long a song takes, what ten kinds of input become, and what other programs read in the files.

    python benchmarks/chain.py [--eval ../shared/eval] [--only speed,inputs,files] [--songs 30]

* speed: a simulated hum of 10 s to a sounding song of 16 bars, as mp3, by the default performer: in a new process
  (imports, index and models included) and again in the same one: seconds of the clock and of the processor, and memory.
  The bars, on two cores: 20 s cold, 10 s warm, 1.5 GB. What was compiled for an earlier process is kept on disk.
* inputs: `musicai song` on typed notes, MIDI, MusicXML, ABC, a sampled violin at 8 and 44.1 kHz and as mp3, a hum and a
  whistle, all made from one folk tune, and on a chorale, silence, noise and drums; with --eval, also on real hums and
  singing. Each must give a song or an error of one line that names the step; "found" says that it was that tune.
* files: composed songs in MIDI and MusicXML, as music21, symusic and Verovio read them: the share with the same notes,
  tempo, metre and signature, without any warning, and in MIDI with the same names and programs.
"""

import argparse
import contextlib
import io
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch

TUNE, NOTES = "ryansMammoth/26", 28  # what the inputs are made from, and how many notes of it
KEYS = ("D dorian", "G major", "E minor", "A mixolydian", "Bb major", "F# minor", "F lydian", "C minor")
METERS = ("4/4", "6/8", "3/4", "2/4", "9/8", "2/2", "12/8", "3/8")
ONCE = "import sys; sys.path.insert(0, {here!r}); from chain import sing; sing({sound!r}, {times})"


def make_inputs(folder: Path) -> dict[str, str]:
    """One melody as everything that a person may have: the words after `musicai song`, by the kind of input."""
    from musicai.audio import resample, save
    from musicai.data import JSBChorales
    from musicai.notes import Melody, Note, Score, Track, write_score
    from musicai.performance import render
    from musicai.search import default_index, excerpt, hum

    index = default_index()
    piece = [name for name, _ in index.titles()].index(TUNE)
    _, tune = index.read_line(int(np.searchsorted(index.lines.pieces, piece)))
    part = excerpt(tune, NOTES, seed=1)
    part = Melody(part.notes, part.name, part.key, 90.0, part.time_signature)
    found = {"typed": " ".join(map(str, part.pitches[:16]))}
    for kind in ("mid", "musicxml", "abc"):
        write_score(folder / f"tune.{kind}", part)
        found[kind] = str(folder / f"tune.{kind}")
    played = render(part.to_score(40))
    drums = Score([Track([Note((36, 42, 38, 42)[i % 4], i / 2, 0.5) for i in range(40)], is_drum=True)])
    noise = 0.2 * np.random.default_rng(0).normal(size=160_000).clip(-4, 4)
    sounds = {"8 kHz": (resample(played, 16_000, 8000), 8000), "44.1 kHz": (resample(played, 16_000, 44_100), 44_100)}
    sounds |= {
        "mp3": (played, 16_000),
        "hum": hum(part, seed=1, voice="hum"),
        "whistle": hum(part, seed=2, voice="whistle"),
    }
    sounds |= {"chorale": (render(JSBChorales("test").score(0)), 16_000), "silence": (np.zeros(160_000), 16_000)}
    sounds |= {"noise": (noise, 16_000), "drums": (render(drums), 16_000)}
    for kind, (sound, sr) in sounds.items():
        found[kind] = str(folder / f"{kind.replace(' ', '')}.{'mp3' if kind == 'mp3' else 'wav'}")
        save(found[kind], torch.as_tensor(sound).float().clamp(-1, 1), sr)
    return found


def run(*words: str) -> tuple[int, list[str], list[str]]:
    """A command line in this process: its exit code, and the lines that it printed."""
    from musicai.cli import main

    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
        code = main(list(words))
    return code, out.getvalue().splitlines(), err.getvalue().splitlines()


# ---- speed


def sing(sound: str, times: int) -> None:
    """Make songs of a hum; print both clocks after each, and the most memory in GB, as JSON."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        words = (
            "--key",
            "D dorian",
            "--bars",
            "16",
            "--closeness",
            "0.4",
            "--seed",
            "1",
            "--out",
            f"{folder}/song.mp3",
        )
        for _ in range(times):
            code, _, err = run("song", sound, *words)
            assert code == 0, err
            rows.append((time.time(), time.process_time()))
    print(json.dumps([rows, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6]))


def speed(folder: Path, args: argparse.Namespace) -> Iterator[tuple[str, object]]:
    """Seconds for a song of 16 bars from a hum of 10 s, and gigabytes."""
    sound = make_inputs(folder)["hum"]
    start, code = time.time(), ONCE.format(here=str(Path(__file__).parent), sound=sound, times=2)
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    rows, memory = json.loads(done.stdout.splitlines()[-1])
    yield "cold, seconds (clock, processor)", [round(rows[0][0] - start, 1), round(rows[0][1], 1)]
    yield "warm, seconds (clock, processor)", [round(rows[1][0] - rows[0][0], 1), round(rows[1][1] - rows[0][1], 1)]
    yield "memory, GB", round(memory, 2)
    yield "cores, load", [os.cpu_count(), round(os.getloadavg()[0], 1)]


# ---- inputs


def inputs(folder: Path, args: argparse.Namespace) -> Iterator[tuple[str, object]]:
    """What each kind of input becomes."""
    asked = make_inputs(folder)
    if args.eval and args.eval.is_dir():
        asked |= {f"real: {path.name}": str(path) for path in sorted(args.eval.glob("*/*.wav"))}
    for kind, query in asked.items():
        code, out, err = run("song", query, "--bars", "8", "--performer", "sampled", "--out", str(folder / "song.mp3"))
        if code == 0:
            told = json.loads((folder / "song.json").read_text())["found"]
            yield kind, f"{'found' if told['id'] == TUNE else 'song'}: {out[0]}"
        else:
            assert len(err) == 1, err
            yield kind, f"error: {err[0]}"


# ---- files


def files(folder: Path, args: argparse.Namespace) -> Iterator[tuple[str, object]]:
    """The share of songs that other programs read as they were written, and what went wrong."""
    import readers
    import symusic

    import musicai
    from musicai.notes.notation import signature_of

    right: dict[str, list[bool]] = {}
    for seed in range(args.songs):
        asked = {"key": KEYS[seed % len(KEYS)], "meter": METERS[seed // 2 % len(METERS)], "tempo": 70 + 7 * seed}
        asked |= {"voices": 4 if seed % 3 == 2 else 1, "bars": 8 * (1 + seed % 2), "seed": seed}
        made = musicai.song(**asked, progress=False)
        score = made.score
        truth = readers.Reading(
            readers.rounded([(note.pitch, note.start, note.duration) for note in score.notes]),
            round(score.tempos[0][1], 2), score.time_signatures[0][1:], signature_of(score.key)[0],
        )  # fmt: skip
        programs = [(".mid", readers.read_by_symusic), (".mid", readers.read_by_music21)]
        programs += [(".musicxml", readers.read_by_music21), (".musicxml", readers.read_by_verovio)]
        for suffix, read in programs:
            made.save(path := folder / f"song{suffix}")
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                try:
                    found = read(path)
                    held = found._replace(tempo=round(found.tempo, 2)) == truth
                except (ValueError, Warning) as error:
                    found, held = error, False
            if not held:
                print("not as written:", suffix, read.__name__, asked, str(found)[:300])
            right.setdefault(f"{suffix} by {read.__name__[8:]}", []).append(held)
        tracks = [
            (track.name, track.program) for track in symusic.Score(folder / "song.mid").tracks if len(track.notes)
        ]
        right.setdefault("names and programs", []).append(tracks == [(t.name, t.program) for t in score.tracks])
    yield from ((name, f"{sum(held)} of {len(held)}") for name, held in right.items())


ROWS: dict[str, Callable] = {row.__name__: row for row in (speed, inputs, files)}


def main() -> None:
    """Print the rows that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--eval", type=Path, help="a folder with real hums; not needed")
    parser.add_argument("--songs", type=int, default=30, help="how many songs are written to files")
    parser.add_argument("--only", default=",".join(ROWS), help="rows, with commas")
    args = parser.parse_args()
    for name in args.only.split(","):
        with tempfile.TemporaryDirectory() as folder:
            for what, value in ROWS[name](Path(folder), args):
                print(f"{name:8} {what:40} {value}", flush=True)


if __name__ == "__main__":
    main()
