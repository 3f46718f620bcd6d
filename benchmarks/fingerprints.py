"""Fingerprints: which of 1,000 clips of 30 s does a short, noisy query come from?

    python benchmarks/fingerprints.py FOLDER [--clips 1000] [--absent 300] [--queries 400] [--seed 1] [--json OUT]

FOLDER keeps the clips between runs. They are real tunes (the folk corpus, Nottingham and the chorales, one per group of
near-copies), each with its own instruments, accompaniment, drums, tempo, tuning and mix. Where `fluidsynth` and the
FluidR3 soundfont are installed, they play most of them; otherwise the notes in the wheel do. A query is a random part
of a clip in a room (exponential decay, RT60 0.3 to 0.6 s, direct and reverberant sound equally strong), with noise at
5 dB over its length: half of it pink, half a babble of eight clips that are not in the index. Seed 0 was used for
tuning; its tunes are never used with other seeds.
"""

import argparse
import json
import shutil
import subprocess
import tempfile
import time
from dataclasses import replace
from functools import lru_cache
from itertools import product
from pathlib import Path

import numpy as np
import soxr
import torch
from tqdm import tqdm

from musicai.audio import load, save
from musicai.data import SPLITS, FolkCorpus, JSBChorales, Nottingham, group_duplicates, melody_key
from musicai.notes import Note, Score, Track, write_midi
from musicai.performance import render
from musicai.search.fingerprints import AudioIndex

SR, SECONDS = 16_000, 30.0
SOUNDFONT = Path("/usr/share/sounds/sf2/FluidR3_GM.sf2")
LEADS = [0, 4, 6, 8, 11, 13, 16, 19, 21, 22, 24, 25, 27, 30, 40, 41, 52, 56, 57, 60, 65, 68, 71]
LEADS += [73, 74, 75, 80, 81, 105, 110]
CHORDS = (0, 1, 4, 5, 16, 19, 21, 24, 25, 26, 27, 46, 48, 49, 50, 52, 61, 88, 89)
BASSES = (32, 33, 34, 35, 36, 38, 42, 43, 58)
CASES = {
    "5 dB, room": {"noise": 5.0, "room": 0.0},
    "0 dB, room": {"noise": 0.0, "room": 0.0},
    "5 dB, far room": {"noise": 5.0, "room": -20.0},
    "clean": {},
    "mp3 32 kbit/s": {"kbits": 32},
    "-30 dB": {"gain": -30.0},
    "speed 0.95": {"speed": 0.95},
    "speed 1.05": {"speed": 1.05},
    "speed 1.034, 5 dB, room": {"speed": 1.034, "noise": 5.0, "room": 0.0},
    "tempo 0.95": {"tempo": 0.95},
    "tempo 1.05": {"tempo": 1.05},
}


def pieces(tuning: bool) -> list[Score]:
    """Distinct tunes, one per group of near-copies: a quarter of the groups for tuning, the others for reporting."""
    folk = [tune for tune in FolkCorpus() if len(tune) > 40]
    scores = [tune.to_score() for tune in folk]
    scores += [
        rolls.score(i)
        for split in SPLITS
        for rolls in (Nottingham(split), JSBChorales(split))
        for i in range(len(rolls))
    ]
    melodies = [*folk, *(score.melody() for score in scores[len(folk) :])]
    firsts = sorted(set(group_duplicates(melodies).tolist()))
    kept = [i for i in firsts if (int(melody_key(melodies[i]), 16) % 4 == 0) == tuning and scores[i].duration > 16]
    return [scores[i] for i in kept]


def arrange(score: Score, rng: np.random.Generator) -> Score:
    """Give a piece instruments, tempo, key, repeats, and sometimes accompaniment and drums."""
    tempo, bar = rng.uniform(75, 170), score.time_signatures[0][1] * 4 / score.time_signatures[0][2]
    notes = [n for t in score.tracks for n in t.notes]
    length = np.ceil(max(n.end for n in notes) / bar) * bar
    copies = int(np.ceil((SECONDS + 4) * tempo / 60 / length))
    shift = int(rng.integers(-5, 6))
    repeated = [replace(n, start=n.start + k * length) for k in range(copies) for n in notes]
    notes = [
        replace(n, pitch=min(108, max(21, n.pitch + shift)), velocity=int(rng.integers(60, 110)))
        for n in repeated
        if n.start < (SECONDS + 4) * tempo / 60
    ]
    melody = score.melody()
    polyphonic = len(melody) < 0.8 * sum(len(t.notes) for t in score.tracks)
    tracks = [Track(notes, program=int(rng.choice(CHORDS if polyphonic else LEADS)), pan=rng.uniform(-0.7, 0.7))]
    if not polyphonic and rng.random() < 0.7:
        tracks += accompaniment(notes, bar, rng)
    if rng.random() < 0.6:
        tracks.append(drums(max(n.end for n in notes), bar, rng))
    return Score(tuple(tracks), ((0.0, tempo),), score.time_signatures, name=score.name)


def accompaniment(notes: list[Note], bar: float, rng: np.random.Generator) -> list[Track]:
    """The triad that fits each bar best, in one of three patterns, with a bass."""
    chords, bass, pattern = [], [], rng.integers(3)
    triads = [(root, third) for root in range(12) for third in (3, 4)]
    for k in range(int(max(n.end for n in notes) / bar) + 1):
        weight = np.zeros(12)
        for n in notes:
            if k * bar <= n.start < (k + 1) * bar:
                weight[n.pitch % 12] += n.duration
        fits = {(r, t): 1.2 * weight[r] + weight[(r + t) % 12] + weight[(r + 7) % 12] for r, t in triads}
        root, third = max(triads, key=fits.get)
        tones = [48 + (root + i) % 12 for i in (0, third, 7)]
        bass.append(Note(36 + root % 12, k * bar, bar * 0.9, 85))
        for step in np.arange(0, bar, 1.0 if pattern else 0.5):
            chosen = tones if pattern else [tones[int(2 * step) % 3]]
            if pattern < 2 or step == 0:
                held = bar if pattern == 2 else 0.5
                chords += [Note(t, k * bar + step, held, int(rng.integers(45, 75))) for t in chosen]
    return [Track(chords, program=int(rng.choice(CHORDS)), pan=rng.uniform(-0.7, 0.7)),
            Track(bass, program=int(rng.choice(BASSES)))]  # fmt: skip


def drums(end: float, bar: float, rng: np.random.Generator) -> Track:
    """A random pattern of one bar, repeated."""
    steps = np.arange(0, bar, 0.5)
    likely = {36: 0.35, 38: 0.25, 42: 0.7, 46: 0.1, 51: 0.1}
    pattern = [
        (key, step, int(rng.integers(50, 110)))
        for key, p in likely.items()
        for step in steps
        if rng.random() < p or (key == 36 and step == 0)
    ]
    bars = range(int(end / bar))
    return Track([Note(key, k * bar + step, 0.25, v) for k in bars for key, step, v in pattern], is_drum=True)


def play(score: Score, fluid: bool, cents: float) -> np.ndarray:
    """Mono sound (30 s at 16 kHz), at a tuning of its own."""
    if not fluid:
        mono = render(score).mean(0).numpy()
    else:
        with tempfile.TemporaryDirectory() as folder:
            write_midi(f"{folder}/a.mid", score)
            options = [
                "-qni",
                "-g",
                "0.4",
                "-r",
                "16000",
                "-o",
                "synth.dynamic-sample-loading=1",
                "-T",
                "raw",
                "-O",
                "s16",
            ]
            files = ["-F", f"{folder}/a.raw", str(SOUNDFONT), f"{folder}/a.mid"]
            subprocess.run(["fluidsynth", *options, *files], check=True, capture_output=True)
            mono = np.fromfile(f"{folder}/a.raw", "<i2").reshape(-1, 2).mean(1, dtype=np.float32) / 32768
    mono = soxr.resample(mono, SR, SR * 2 ** (cents / 1200)).astype(np.float32)[: round(SECONDS * SR)]
    mono = np.pad(mono, (0, round(SECONDS * SR) - len(mono)))
    return 0.7 * mono / max(1e-9, np.abs(mono).max())


def make(folder: Path, count: int, seed: int) -> list[Path]:
    """Write the clips that are not there yet, as flac."""
    scores, folder = pieces(seed == 0), folder / f"seed{seed}"
    folder.mkdir(parents=True, exist_ok=True)
    order = np.random.default_rng([seed, 1]).permutation(len(scores))[:count]
    fluid = SOUNDFONT.exists() and shutil.which("fluidsynth") is not None
    paths = [folder / f"{i:04d}.flac" for i in range(count)]
    for i in tqdm([i for i in range(count) if not paths[i].exists()], desc="playing", mininterval=10):
        rng = np.random.default_rng([seed, 2, i])
        score = arrange(scores[order[i]], rng)
        save(paths[i], torch.from_numpy(play(score, fluid and rng.random() < 0.7, rng.normal(0, 8))), SR)
    return paths


def pink(n: int, rng: np.random.Generator) -> np.ndarray:
    spectrum = np.fft.rfft(rng.standard_normal(n))
    return np.fft.irfft(spectrum / np.sqrt(np.maximum(1, np.arange(len(spectrum)))), n)


def unit(x: np.ndarray) -> np.ndarray:
    return x / max(1e-9, np.sqrt(np.mean(x**2)))


def degrade(clip, start, seconds, others, rng, *, noise=None, room=None, kbits=None, gain=0.0, speed=1.0, tempo=1.0):
    """The part of a clip as a query would hear it; `seconds` is what the query lasts."""
    first, taken = round(start * SR), round(seconds * SR * speed * tempo)
    lead = min(first, SR // 2)  # so that what sounded just before reverberates into the query
    x = clip[first - lead : first + taken].astype(np.float64)
    if room is not None:
        t = np.arange(round(0.8 * SR)) / SR
        tail = rng.standard_normal(len(t)) * np.exp(-6.91 * t / rng.uniform(0.3, 0.6))
        tail *= 10 ** (-room / 20) / np.linalg.norm(tail)
        tail[0] += 1
        size = len(x) + len(tail)
        x = np.fft.irfft(np.fft.rfft(x, size) * np.fft.rfft(tail, size), size)[: len(x)]
    x = unit(x[lead:])
    if speed != 1:
        x = soxr.resample(x, SR * speed, SR)
    if tempo != 1:
        x = stretch(x, tempo)
    if noise is not None:
        babble = sum(unit(part(o, len(x), rng)) for o in others)
        x = x + unit(unit(pink(len(x), rng)) + unit(babble)) * 10 ** (-noise / 20) * np.sqrt(np.mean(x**2))
    x = 0.5 * x / np.abs(x).max() * 10 ** (gain / 20)
    return coded(x, kbits) if kbits else x.astype(np.float32)


def part(x: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    start = rng.integers(0, len(x) - n + 1)
    return x[start : start + n]


def stretch(x: np.ndarray, tempo: float) -> np.ndarray:
    """Change the tempo but not the pitch, by ffmpeg (WSOLA)."""
    raw = ["-f", "f64le", "-ar", "16000", "-ac", "1"]
    line = ["ffmpeg", "-v", "error", *raw, "-i", "-", "-af", f"atempo={tempo}", *raw, "-"]
    return np.frombuffer(subprocess.run(line, input=x.tobytes(), capture_output=True, check=True).stdout)


def coded(x: np.ndarray, kbits: int) -> np.ndarray:
    """Through mp3 and back."""
    raw = ["-f", "f32le", "-ar", str(SR), "-ac", "1"]
    line = ["ffmpeg", "-v", "error", *raw, "-i", "-", "-c:a", "libmp3lame", "-b:a", f"{kbits}k", "-f", "mp3", "-"]
    mp3 = subprocess.run(line, input=x.astype("<f4").tobytes(), capture_output=True, check=True).stdout
    back = ["ffmpeg", "-v", "error", "-i", "-", *raw, "-"]
    return np.frombuffer(subprocess.run(back, input=mp3, capture_output=True, check=True).stdout, "<f4").copy()


@lru_cache(400)  # 2 MB each
def read(path: Path) -> np.ndarray:
    return load(path)[0][0].numpy()


def queries(paths, absent, count, seconds, case, seed):
    """Yield (path, start, sound)."""
    rng = np.random.default_rng([seed, 3, round(10 * seconds)])
    for _ in range(count):
        path, others = paths[rng.integers(len(paths))], [read(absent[i]) for i in rng.integers(len(absent), size=8)]
        room = SECONDS - seconds * case.get("speed", 1) * case.get("tempo", 1)
        start = rng.uniform(0, room)
        yield path, start, degrade(read(path), start, seconds, others, rng, **case)


def measure(index: AudioIndex, paths, absent, count, seconds, case, seed) -> dict:
    """Top-1, the share found within 0.25 s of the right place, the share marked as confident, and the time taken."""
    right = placed = sure = 0
    times, speeds = [], []
    for path, start, sound in queries(paths, absent, count, seconds, case, seed):
        begin = time.thread_time()
        found = index.find((sound, SR))
        times.append(time.thread_time() - begin)
        if found and Path(found[0].path).name == path.name:
            right += 1
            placed += abs(found[0].start - start) < 0.25
            sure += not found[0].unlikely
            speeds.append(abs(found[0].speed - case.get("speed", 1) * case.get("tempo", 1)))
    return {"top1": right / count, "placed": placed / count, "kept": sure / count, "ms": 1000 * float(np.median(times)),
            "speed error": float(np.median(speeds or [np.nan]))}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--clips", type=int, default=1000)
    parser.add_argument("--absent", type=int, default=300)
    parser.add_argument("--queries", type=int, default=400)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    paths = make(args.folder, args.clips + args.absent, args.seed)
    inside, absent = paths[: args.clips], paths[args.clips :]
    begin = time.perf_counter()
    file = args.folder / f"seed{args.seed}-{args.clips}.index"
    AudioIndex.build(inside, file)
    took, minutes = time.perf_counter() - begin, args.clips * SECONDS / 60
    index = AudioIndex.open(file)
    results = {"clips": args.clips, "build, times real time": 60 * minutes / took}
    results["bytes per minute"] = file.stat().st_size / minutes
    print(results, flush=True)
    for name, case in CASES.items():
        for seconds in (1, 2, 3, 5, 10) if name == "5 dB, room" else (5,):
            count = args.queries if name == "5 dB, room" else args.queries // 3
            results[f"{name}, {seconds} s"] = one = measure(index, inside, absent, count, seconds, case, args.seed)
            print(f"{name}, {seconds} s", {k: round(v, 4) for k, v in one.items()}, flush=True)
    for name, seconds in product(("5 dB, room", "clean"), (1, 3, 10)):
        heard = queries(absent, absent, args.queries, seconds, CASES[name], args.seed)
        found = [index.find((sound, SR), 1) for _, _, sound in heard]
        results[f"absent, {name}, {seconds} s"] = share = float(np.mean([bool(f) and not f[0].unlikely for f in found]))
        print(f"absent, {name}, {seconds} s: accepted {share:.4f}", flush=True)
    if args.json:
        args.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
