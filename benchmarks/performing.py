"""Performing: are the notes, the pitches, the loudness and the note ends of `musicai.perform` right, and is it fast?

    python benchmarks/performing.py
    python benchmarks/performing.py --tunes 4 --chorales 2 --seconds 6 --json performing.json

The openings of held-out tunes (`FolkCorpus`, test) on one instrument each, and of held-out chorales (`JSBChorales`,
test) by a quartet or a piano's four voices, played by the GAN and by the sampled instruments, which are the ceiling.

    notes     basic-pitch transcribes the mix; F1 of onset and pitch (`note_f1`)
    pitch     torchcrepe (tiny) hears the tunes; the share of frames, and of notes by their median frame, within half a
              semitone of the written note. A frame counts if its 64 ms lie within the note and after its first 50 ms,
              so notes of 0.12 s do not, and if it is louder than -40 dB
    clicks    every note is cut to 60 % of its length. Its end clicks if linear prediction, fitted to the 60 ms before
              it, is there surprised more than 2.5 times as much as anywhere before (Godsill and Rayner 1998, "Digital
              audio restoration"). "cut" is the same sound silenced at once at every note's end: what the test finds
              when there are clicks
    loudness  by ffmpeg's ebur128 if there is one, which has its own filters and oversampling; else by pyloudnorm. Files
              are what `save` writes
    speed     seconds of sound per second of CPU time, on one core, mix included, after a first call; of the WaveNet,
              seconds of music: the releases and the room after the last note don't count
    like      the share of held-out notes, and of the tunes as the sampled instruments play them, whose instrument
              `recognise_instrument` finds

Judges that are not installed are left out: pip install 'musicai[judges]' && pip install --no-deps basic-pitch.
"""

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import torch
from scipy.linalg import solve_toeplitz
from scipy.signal import lfilter

from musicai.audio import load
from musicai.data import FolkCorpus, JSBChorales, MusicAINotes
from musicai.gan.instrument import RANGES
from musicai.metrics import note_f1, transcribe
from musicai.notes import Melody, Score, Track, midi_to_hz
from musicai.performance import loudness, perform, recognise_instrument, true_peaks, voices

SR = 16_000
LAGS, CLICK = 32, 2.5  # of linear prediction; how much more surprise counts as a click
SOLO = ("flute", "violin", "clarinet", "trumpet", "acoustic_grand_piano", "alto_sax", "nylon_guitar", "vibraphone")
QUARTETS = (("flute", "clarinet", "french_horn", "cello"), ("acoustic_grand_piano",) * 4)


def opening(score: Score, seconds: float) -> Score:
    """The notes that end by then."""
    tracks = [replace(t, notes=tuple(n for n in t.notes if score.seconds(n.end) <= seconds)) for t in score.tracks]
    return replace(score, tracks=tuple(tracks))


def tunes(count: int, seconds: float) -> list[tuple[Score, list[str]]]:
    """Held-out tunes, moved by octaves into the range of an instrument each."""
    ranges, found = {name: (low, high) for name, low, high in RANGES}, []
    corpus = FolkCorpus("test")
    for i in np.linspace(0, len(corpus) - 1, 3 * count).astype(int):
        name = SOLO[len(found) % len(SOLO)]
        (low, high), pitches = ranges[name], corpus[int(i)].pitches
        shift = 12 * round(((low + high) / 2 - pitches.mean()) / 12)
        if len(found) < count and low <= pitches.min() + shift and pitches.max() + shift <= high:
            found.append((opening(corpus[int(i)].transpose(int(shift)).to_score(), seconds), [name]))
    return found


def chorales(count: int, seconds: float) -> list[tuple[Score, list[str]]]:
    """Held-out chorales, split into voices, highest first."""
    rolls, found = JSBChorales("test").rolls, []
    ranges = {name: (low, high) for name, low, high in RANGES}
    for at in np.linspace(0, len(rolls) - 1, 4 * count).astype(int):
        score = Score.from_piano_roll(np.asarray(rolls[at]).T, 1.0, tempo=80).transpose(-12)  # as they are sung
        parts = sorted(voices(score.notes), key=lambda part: -np.mean([note.pitch for note in part]))[:4]
        spans = [(min(note.pitch for note in part), max(note.pitch for note in part)) for part in parts]
        inside = [[ranges[n][0] <= a and b <= ranges[n][1] for n, (a, b) in zip(q, spans)] for q in QUARTETS]  # noqa: B905
        fits = [quartet for quartet, each in zip(QUARTETS, inside, strict=True) if all(each)]
        if len(found) < count and len(parts) == 4 and fits:
            names = list(fits[len(found) % len(fits)])
            tracks = tuple(Track(part, name=f"voice {j + 1}") for j, part in enumerate(parts))
            found.append((opening(replace(score, tracks=tracks), seconds), names))
    return found


def staccato(score: Score) -> Score:
    """Every note cut to 60 % of its length."""
    cut = (replace(t, notes=tuple(replace(n, duration=0.6 * n.duration) for n in t.notes)) for t in score.tracks)
    return replace(score, tracks=tuple(cut))


def crepe_shares(audio: torch.Tensor, score: Score) -> tuple[list[bool], list[bool]]:
    """Whether each frame, and each note by its median frame, has the written pitch, as torchcrepe hears it."""
    sys.modules.setdefault("torchaudio", ModuleType("torchaudio"))
    import torchcrepe

    options = {"hop_length": 160, "fmin": 50.0, "fmax": 2006.0, "model": "tiny", "batch_size": 256}
    found = torchcrepe.predict(audio[None], SR, decoder=torchcrepe.decode.weighted_argmax, **options)[0].numpy()
    power = np.square(np.pad(audio.numpy(), (0, 160))[: 160 * len(found)].reshape(-1, 160)).mean(1)
    frames, notes = [], []
    for note in score.notes:
        inside = slice(int(100 * score.seconds(note.start)) + 9, int(100 * score.seconds(note.end)) - 3)
        loud = power[inside] > 1e-4 * power.max()
        cents = 1200 * np.log2(found[inside][loud] / midi_to_hz(note.pitch))
        if len(cents):
            frames += (np.abs(cents) < 50).tolist()
            notes.append(bool(abs(np.median(cents)) < 50))
    return frames, notes


def clicks(audio: torch.Tensor, score: Score) -> list[bool]:
    """Whether each note's end clicks."""
    x, onsets = audio.double().numpy(), np.array([score.seconds(note.start) for note in score.notes])
    found = []
    for end in sorted({round(score.seconds(note.end), 4) for note in score.notes}):
        before, after = onsets[onsets < end].max(initial=-1), onsets[onsets >= end].min(initial=np.inf)
        first = round(SR * max(end - 0.06, before + 0.03, LAGS / SR))  # past the onset before, ahead of the next
        at, last = round(SR * end), round(SR * min(end + 0.06, after - 0.005, len(x) / SR))
        if at - first >= 0.03 * SR and last - at >= 0.015 * SR:
            surprise = np.abs(prediction_error(x[first - LAGS : last], at - first))
            found.append(bool(surprise[at - first - 48 :][:240].max() > CLICK * surprise[: at - first - 64].max()))
    return found


def prediction_error(x: np.ndarray, fitted: int) -> np.ndarray:
    """The error of linear prediction, with coefficients from the first `fitted` samples after the first `LAGS`."""
    known = x[LAGS:][:fitted]
    r = np.correlate(known, known, "full")[fitted - 1 :][: LAGS + 1]
    r[0] = r[0] * (1 + 1e-6) + 1e-12
    return lfilter([1, *-solve_toeplitz(r[:-1], r[1:])], 1, x)[LAGS:]


def silenced(audio: torch.Tensor, score: Score) -> torch.Tensor:
    """The same sound without any release: nothing for 10 ms from the wave's peak nearest to every note's end."""
    audio = audio.clone()
    for note in score.notes:
        at = round(SR * score.seconds(note.end)) - 32
        at += int(audio[..., at : at + 64].abs().argmax())
        audio[..., at : at + 160] = 0
    return audio


def measure(path: Path) -> tuple[float, float]:
    """The loudness and the true peak of a file."""
    if shutil.which("ffmpeg"):
        command = ["ffmpeg", "-nostats", "-i", str(path), "-af", "ebur128=peak=true", "-f", "null", "-"]
        text = subprocess.run(command, capture_output=True, text=True, check=True).stderr.split("Summary:")[1]
        return tuple(float(re.search(rf"{what}:\s+(\S+)", text)[1]) for what in ("I", "Peak"))
    audio = load(path)[0].numpy()
    return loudness(audio), 20 * np.log10(true_peaks(audio).max())


def heard_in(audio: torch.Tensor, score: Score, rows: dict[str, list], who: str) -> None:
    """Add what the judges hear in one performance."""
    mono = audio.mean(0)
    try:
        rows[f"notes F1, {len(score.tracks)} voice(s), {who}"].append(note_f1(transcribe(mono, SR), score).f1)
    except ModuleNotFoundError as error:
        print(error, file=sys.stderr)
    if len(score.tracks) == 1:
        try:
            frames, notes = crepe_shares(mono, score)
        except ModuleNotFoundError as error:
            print(error, file=sys.stderr)
        else:
            rows[f"pitch right, frames, {who}"] += frames
            rows[f"pitch right, notes, {who}"] += notes


def recognition() -> dict[str, float]:
    """How often `recognise_instrument` is right about held-out notes."""
    notes, found = MusicAINotes("test"), defaultdict(list)
    for i in range(len(notes)):
        item = notes[i]
        right = recognise_instrument((item["audio"], SR)) == item["instrument_name"]
        found["like, held-out notes"].append(right)
        found[f"like, {item['instrument_name']}"].append(right)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tunes", type=int, default=20)
    parser.add_argument("--chorales", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=12.0)
    parser.add_argument("--wavenet", type=float, default=4.0, help="seconds of flutes for the WaveNet; 0 to skip")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows, levels, speeds = defaultdict(list), defaultdict(list), defaultdict(list)
    pieces = tunes(options.tunes, options.seconds) + chorales(options.chorales, options.seconds)
    pieces = [pieces[i] for i in np.random.default_rng(0).permutation(len(pieces))]  # Ctrl-C leaves a fair sample
    for who in ("gan", "sampled"):
        perform(*pieces[0], performer=who)  # models are loaded and compiled
    try:
        for number, (score, instruments) in enumerate(pieces):
            for who in ("gan", "sampled"):
                start = time.process_time()
                audio = perform(score, instruments, performer=who, seed=number)
                speeds[f"{len(score.tracks)} voice(s), {who}"].append((audio.seconds, time.process_time() - start))
                heard_in(audio.samples, score, rows, who)
                for suffix in (".wav", ".mp3", ".ogg")[: 3 if who == "gan" else 1]:
                    with tempfile.TemporaryDirectory() as folder:
                        audio.save(Path(folder) / f"piece{suffix}")
                        levels[f"{who}{suffix}"].append(measure(Path(folder) / f"piece{suffix}"))
                short = staccato(score)
                played = perform(short, instruments, performer=who, seed=number).samples.mean(0)
                rows[f"note ends that click, {who}"] += clicks(played, short)
                rows[f"note ends that click, {who}, cut"] += clicks(silenced(played, short), short)
            if len(instruments) == 1:
                dry = perform(score, instruments, performer="sampled", humanize=0.5, seed=number)
                rows["like, tunes"].append(recognise_instrument(dry) == instruments[0])
            print(f"{number + 1} of {len(pieces)} pieces", file=sys.stderr, flush=True)
    except KeyboardInterrupt:
        print("interrupted: the table is of the pieces so far", file=sys.stderr)
    rows |= recognition()
    table = {name: float(np.mean(values)) for name, values in rows.items()}
    for name, pairs in levels.items():
        loud, peak = np.array(pairs).T
        table |= {f"LUFS, {name}, lowest": loud.min(), f"LUFS, {name}, highest": loud.max()}
        table |= {f"true peak dB, {name}, highest": peak.max()}
    table |= {f"times real time, {name}": np.divide(*np.sum(pairs, 0)) for name, pairs in speeds.items()}
    if options.wavenet:
        perform(Melody.from_pitches([72]), "flute", performer="wavenet", progress=False)  # compiled
        beats = round(options.wavenet * 2)
        voice = [Melody.from_pitches([pitch] * beats).to_score().tracks[0] for pitch in (60, 64, 67, 72)]
        for count in (1, 4):
            start = time.process_time()
            perform(Score(tuple(voice[:count])), "flute", performer="wavenet", progress=False)
            table[f"times real time, {count} voice(s), wavenet"] = options.wavenet / (time.process_time() - start)
    for name, value in sorted(table.items()):
        print(f"{name:44} {value:9.3f}")
    if options.json:
        options.json.write_text(json.dumps({name: float(value) for name, value in table.items()}, indent=2) + "\n")


if __name__ == "__main__":
    main()
