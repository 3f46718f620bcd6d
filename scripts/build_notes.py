"""Build the shipped note set `musicai-notes` from the FluidR3 soundfont (MIT licence).

    apt-get install fluidsynth fluid-soundfont-gm
    python scripts/build_notes.py                # writes musicai/data/shipped/notes/
    python scripts/build_notes.py --check        # measures the pitch of every shipped recording with librosa.pyin

FluidSynth plays each note dry (no reverb, no chorus) at gain 3 (drums at 1.5) and 48 kHz; soxr resamples the mean of
left and right to 16 kHz. Many FluidR3 programs play the same recording at every velocity: if two velocities differ by
less than -30 dB after their levels are matched, one recording is stored, with a gain for each in the manifest.
"""

import argparse
import csv
import hashlib
import os
import subprocess
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile
import soxr
import symusic
from tqdm.auto import tqdm

SOUNDFONT = Path("/usr/share/sounds/sf2/FluidR3_GM.sf2")
NOTICE = Path("/usr/share/doc/fluid-soundfont-gm/copyright")
SHIPPED = Path(__file__).resolve().parent.parent / "musicai" / "data" / "shipped"
SR, RENDER_SR = 16_000, 48_000
HOLD, SLOT = 1.15, 4  # seconds: a note is held a little longer than we keep, then left to decay
GAIN, DRUM_GAIN = 3.0, 1.5  # drums are louder: at half the gain, none of them reaches full scale
VELOCITIES = (50, 75, 100)
PEAK = 800  # largest stored code: between 10 and 11 bits, the noise 69 dB below each note's peak
SAME = 30.0  # dB: above this, two velocities are one recording
SPLITS = (("test", 0.1), ("valid", 0.1))  # the rest is for training


class Instrument(NamedTuple):
    name: str
    family: str
    program: int
    low: int
    high: int
    is_drum: bool = False
    retune: bool = False  # some of its recordings are up to 45 cents off


INSTRUMENTS = (
    Instrument("acoustic_grand_piano", "keyboard", 0, 36, 84),
    Instrument("electric_piano", "keyboard", 4, 36, 84),
    Instrument("vibraphone", "mallet", 11, 53, 89),
    Instrument("marimba", "mallet", 12, 45, 93),
    Instrument("church_organ", "organ", 19, 36, 84),
    Instrument("nylon_guitar", "guitar", 24, 40, 84),
    Instrument("electric_bass", "bass", 33, 28, 67),
    Instrument("violin", "string", 40, 55, 93, retune=True),
    Instrument("cello", "string", 42, 36, 81),
    Instrument("harp", "string", 46, 36, 84),
    Instrument("string_ensemble", "string", 48, 36, 84),
    Instrument("choir", "vocal", 52, 41, 84, retune=True),
    Instrument("trumpet", "brass", 56, 52, 86),
    Instrument("french_horn", "brass", 60, 41, 77),
    Instrument("alto_sax", "reed", 65, 49, 84),
    Instrument("clarinet", "reed", 71, 50, 91),
    Instrument("flute", "flute", 73, 59, 96),
)
KITS = (
    Instrument("standard_kit", "drums", 0, 35, 81, True),
    Instrument("electronic_kit", "drums", 24, 35, 81, True),
    Instrument("tr808_kit", "drums", 25, 35, 81, True),
    Instrument("jazz_kit", "drums", 32, 35, 81, True),
    Instrument("brush_kit", "drums", 40, 35, 81, True),
)


def write_score(path: Path, instrument: Instrument) -> list[tuple[int, int]]:
    """Write a MIDI file with each (pitch, velocity) in a slot of its own, each pitch's loudest velocity first."""
    keys = [(pitch, v) for pitch in range(instrument.low, instrument.high + 1) for v in sorted(VELOCITIES)[::-1]]
    score = symusic.Score(500)  # at 120 beats per minute: a tick is a millisecond
    track = symusic.Track("", instrument.program, instrument.is_drum)
    for i, (pitch, velocity) in enumerate(keys):
        track.notes.append(symusic.Note(1000 * SLOT * i, int(1000 * HOLD), pitch, velocity))
    track.notes.append(symusic.Note(1000 * SLOT * len(keys), 100, 60, 1))  # so that the last slot is rendered in full
    score.tempos.append(symusic.Tempo(0, 120.0))
    score.tracks.append(track)
    score.dump_midi(path)
    return keys


def play(instrument: Instrument) -> dict[tuple[int, int], np.ndarray]:
    """Render each (pitch, velocity) as 1.0 s of 16 kHz mono."""
    with tempfile.TemporaryDirectory() as folder:
        midi, wav = Path(folder, "notes.mid"), Path(folder, "notes.wav")
        keys = write_score(midi, instrument)
        gain = DRUM_GAIN if instrument.is_drum else GAIN
        command = ["fluidsynth", "-niq", "-R", "0", "-C", "0", "-g", str(gain), "-r", str(RENDER_SR)]
        command += ["-T", "wav", "-O", "float", "-F", wav, SOUNDFONT, midi]
        subprocess.run(command, check=True, capture_output=True)
        audio = soundfile.read(wav, dtype="float32", always_2d=True)[0].mean(axis=1)
    slots = audio[: len(keys) * SLOT * RENDER_SR].reshape(len(keys), -1)[:, : int(HOLD * RENDER_SR)]
    notes = dict(zip(keys, (soxr.resample(slot, RENDER_SR, SR, "VHQ") for slot in slots), strict=True))
    if instrument.retune:
        cents = {pitch: mistuning(notes[pitch, max(VELOCITIES)], pitch) for pitch, _ in keys}
        notes = {key: soxr.resample(x, SR * 2 ** (-cents[key[0]] / 1200), SR, "VHQ") for key, x in notes.items()}
    starts = {pitch: onset(notes[pitch, max(VELOCITIES)]) for pitch, _ in keys}  # one per pitch: its velocities align
    notes = {key: x[starts[key[0]] :][:SR] for key, x in notes.items() if np.abs(x).max() > 0.004}
    return {key: fade(x, 0.2 if instrument.is_drum else 0.02) for key, x in notes.items()}


def mistuning(x: np.ndarray, pitch: int, size: int = 1 << 17) -> int:
    """The detuning in cents (within 70) that puts six harmonics highest in the log spectrum, smoothed for vibrato."""
    x = x[SR // 10 : SR]
    spectrum = np.abs(np.fft.rfft(x * np.hanning(len(x)), size))
    harmonics = 440 * 2 ** ((pitch - 69) / 12) * np.arange(1, 7)
    harmonics = harmonics[harmonics < 0.46 * SR]
    cents = np.arange(-100, 101, 2)
    bins = np.rint(np.outer(2 ** (cents / 1200), harmonics) * size / SR).astype(int)
    height = np.log(spectrum[bins] + 1e-3 * spectrum.max()).sum(axis=1)
    return int(cents[15:-15][np.convolve(height, np.hanning(31), "valid").argmax()])


def onset(x: np.ndarray) -> int:
    """1 ms before the first sample that reaches 1 % of the peak; at most 0.15 s, so that a second is left."""
    first = int(np.argmax(np.abs(x) > 0.01 * np.abs(x).max())) - SR // 1000
    return min(max(0, first), int((HOLD - 1) * SR))


def fade(x: np.ndarray, seconds: float) -> np.ndarray:
    """Fade in over 1 ms and out over `seconds`: without that, a cut note ends in a click."""
    out, n = x.astype(np.float64), SR // 1000
    out[:n] *= np.linspace(0, 1, n, endpoint=False)
    n = int(seconds * SR)
    out[-n:] *= 0.5 + 0.5 * np.cos(np.pi * np.arange(1, n + 1) / n)
    return out


class Store:
    """The recordings of one FLAC file, one second each; a recording already there is not stored again."""

    def __init__(self, name: str):
        self.name, self.codes, self.by_pitch = name, [], defaultdict(list)

    def add(self, pitch: int, x: np.ndarray) -> tuple[int, float]:
        """The slot of x and the gain that turns the slot's codes back into x."""
        for slot, kept in self.by_pitch[pitch]:
            gain = x @ kept / (kept @ kept)
            if gain > 0 and x @ x > 10 ** (SAME / 10) * np.square(x - gain * kept).sum():
                return slot, gain * np.abs(kept).max() / PEAK
        peak = np.abs(x).max()
        self.by_pitch[pitch].append((len(self.codes), x))
        self.codes.append(np.rint(x / peak * PEAK).astype(np.int16))
        return len(self.codes) - 1, peak / PEAK

    def write(self, folder: Path) -> None:
        codes = np.concatenate(self.codes)
        soundfile.write(folder / self.name, codes, SR, format="FLAC", subtype="PCM_16", compression_level=1.0)


def collect(instrument: Instrument, store: Store) -> list[dict]:
    """Make one instrument's rows of the manifest; its recordings go to the store."""
    rows = []
    for (pitch, velocity), x in play(instrument).items():
        slot, gain = store.add(pitch, x)
        name = f"{instrument.name}-{pitch:03d}-{velocity:03d}"
        row = {"note": name, "instrument": instrument.name, "family": instrument.family, "program": instrument.program}
        row |= {"pitch": pitch, "velocity": velocity, "split": "train", "file": store.name, "slot": slot}
        rows.append(row | {"gain": f"{gain:.6e}", "rms": f"{np.sqrt(np.mean(x * x)):.4e}"})
    return sorted(rows, key=lambda row: row["note"])


def groups(rows: list[dict]) -> list[list[dict]]:
    """Group rows that must share a split: all velocities of a pitch, and all rows that play the same recording."""
    label: dict = {}
    for row in rows:  # label every (instrument, pitch) and every recording with its group, merging as we go
        keys = ((row["instrument"], row["pitch"]), (row["file"], row["slot"]))
        old = {label[key] for key in keys if key in label}
        new = min(old, default=len(label))
        label |= {key: new for key, value in label.items() if value in old} | dict.fromkeys(keys, new)
    found = defaultdict(list)
    for row in rows:
        found[label[row["instrument"], row["pitch"]]].append(row)
    return list(found.values())


def split(rows: list[dict]) -> None:
    """Put about 10 % of the groups in test and 10 % in valid: those whose names hash lowest, for a stable choice."""
    ranked = sorted(groups(rows), key=lambda group: hashlib.sha256(group[0]["note"].encode()).hexdigest())
    first = 0
    for name, share in SPLITS:
        last = first + round(share * len(ranked))
        for row in (row for group in ranked[first:last] for row in group):
            row["split"] = name
        first = last


def build(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    rows, stores = [], []
    for family in [*((instrument,) for instrument in INSTRUMENTS), KITS]:
        store = Store("drums.flac" if family is KITS else f"{family[0].name}.flac")
        new = [row for instrument in tqdm(family, desc=store.name) for row in collect(instrument, store)]
        split(new)
        store.write(folder)
        rows += new
        stores.append(store)
    with open(folder / "manifest.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys(), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    names = sorted([store.name for store in stores] + ["manifest.csv"])
    sums = [f"{hashlib.sha256((folder / name).read_bytes()).hexdigest()}  {name}\n" for name in names]
    (folder / "SHA256SUMS").write_text("".join(sums))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=SHIPPED / "notes")
    parser.add_argument("--check", action="store_true", help="only listen to the shipped notes")
    args = parser.parse_args()
    if args.check:
        return check()
    build(args.folder)
    if args.folder == SHIPPED / "notes":
        (SHIPPED / "LICENSES").mkdir(exist_ok=True)
        (SHIPPED / "LICENSES" / "FluidR3.txt").write_bytes(NOTICE.read_bytes())
    size = sum(os.path.getsize(path) for path in args.folder.iterdir())
    print(f"{args.folder}: {size / 1e6:.2f} MB")
    return None


def check() -> None:
    """Print, for each instrument, which recordings librosa.pyin hears more than 30 cents off their nominal pitch."""
    import librosa

    from musicai.data.musicai_notes import MusicAINotes

    heard: dict[str, list[float]] = defaultdict(list)
    seen = set()
    notes = [item for name in ("train", "valid", "test") for item in MusicAINotes(name).manifest]
    for note in tqdm(sorted(notes, key=lambda note: note.note)):
        if (note.file, note.slot) not in seen:
            seen.add((note.file, note.slot))
            hz = 440 * 2 ** ((note.pitch - 69) / 12)
            bounds = {"fmin": max(20, hz / 3), "fmax": min(hz * 3, 7500), "sr": SR, "frame_length": 2048}
            f0, _, voiced = librosa.pyin(note.audio().numpy()[800:12_800], **bounds)
            sure = f0[voiced > 0.1] if (voiced > 0.1).any() else f0
            heard[note.instrument].append((note.note, 1200 * np.log2(np.nanmedian(sure) / hz)))
    for instrument, cents in heard.items():
        off = [f"{name} {c:+.0f}" for name, c in cents if not abs(c) <= 30]
        print(f"{instrument:22} {len(cents):4} recordings, {len(off)} off: {', '.join(off)}")


if __name__ == "__main__":
    main()
