import csv
import hashlib
import importlib.util
import shutil
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from musicai.data import SPLITS, musicai_notes
from musicai.data.musicai_notes import DRUMS, FOLDER, MusicAIDrums, MusicAINotes
from musicai.data.transport import DataError

NOTES = {split: MusicAINotes(split) for split in SPLITS}
KITS = {split: MusicAIDrums(split) for split in SPLITS}
ALL = MusicAINotes(None)

_SCRIPT = Path(__file__).parent.parent / "scripts" / "build_notes.py"
_SPEC = importlib.util.spec_from_file_location("build_notes", _SCRIPT)
build_notes = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(build_notes)


def test_every_shipped_file_has_the_hash_that_is_written_down():
    sums = dict(line.split()[::-1] for line in (FOLDER / "SHA256SUMS").read_text().splitlines())
    assert sums.keys() == {path.name for path in FOLDER.iterdir()} - {"SHA256SUMS"}
    for name, expected in sums.items():
        assert hashlib.sha256((FOLDER / name).read_bytes()).hexdigest() == expected, name


def test_the_set_fits_the_wheel_and_carries_its_licence():
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) <= 14.2e6
    notice = (FOLDER.parent / "LICENSES" / "FluidR3.txt").read_text()
    assert "Frank Wen" in notice
    assert "Permission is hereby granted, free of charge" in notice


def test_an_item_is_as_documented():
    item = NOTES["train"][0]
    assert item["audio"].shape == (16_000,)
    assert item["audio"].dtype == torch.float32
    assert item["note"] == f"{item['instrument_name']}-{item['pitch']:03d}-{item['velocity']:03d}"
    assert NOTES["train"].instruments[item["instrument"]] == item["instrument_name"]
    assert (item["sr"], item["family"]) == (16_000, "keyboard")
    assert DRUMS[38] == "acoustic_snare"
    assert DRUMS[42] == "closed_hi_hat"
    assert DRUMS[81] == "open_triangle"
    drum = KITS["train"][0]
    assert drum.keys() == item.keys() | {"drum"}
    assert drum["drum"] == DRUMS[drum["pitch"]]


def test_it_is_as_large_as_it_says():
    pitches = {name: {e.pitch for e in ALL.manifest if e.instrument == name} for name in ALL.instruments}
    assert len(pitches) == 17
    assert len({e.family for e in ALL.manifest}) == 10
    assert all(max(p) - min(p) + 1 == len(p) >= 35 for p in pitches.values())
    assert np.median([len(p) for p in pitches.values()]) >= 44
    assert Counter(e.velocity for e in ALL.manifest).keys() == {50, 75, 100}
    assert len(MusicAIDrums(None).instruments) == 5
    assert len({e.pitch for e in MusicAIDrums(None).manifest}) == 47


def test_no_pitch_and_no_recording_is_in_two_splits():
    for sets in (NOTES, KITS):
        homes = defaultdict(set)
        for split, data in sets.items():
            for e in data.manifest:
                homes[e.instrument, e.pitch].add(split)
                homes[e.file, e.slot].add(split)
        assert {len(found) for found in homes.values()} == {1}


def test_splits_are_80_10_10_and_hold_every_instrument():
    for sets in (NOTES, KITS):
        total = sum(len(data) for data in sets.values())
        assert 0.74 < len(sets["train"]) / total < 0.86
        for data in sets.values():
            assert {e.instrument for e in data.manifest} == set(data.instruments)


def test_every_note_sounds_at_once_without_clipping_and_ends_in_silence():
    for entry in (*ALL.manifest, *MusicAIDrums(None).manifest):
        x = entry.audio().abs()
        peak = float(x.max())
        assert 0.001 < peak < 1, entry.note
        assert int((x > 0.1 * peak).int().argmax()) < 16_000 // 4, entry.note
        assert int((x > 0.01 * peak).int().argmax()) < 16_000 // 20, entry.note
        assert float(x[-8:].max()) < 0.002 * peak + 0.001, entry.note
        assert float(x.square().mean().sqrt()) == pytest.approx(entry.rms, rel=0.02, abs=2e-4), entry.note


def test_louder_is_louder():
    level = {(e.instrument, e.pitch, e.velocity): e.rms for e in ALL.manifest}
    for (name, pitch, velocity), rms in level.items():
        if velocity > 50:
            assert rms > level[name, pitch, velocity - 25], (name, pitch, velocity)


def test_instruments_can_be_chosen_and_keep_their_index():
    some = MusicAINotes("valid", instruments=["flute", "violin"])
    assert {e.instrument for e in some.manifest} == {"flute", "violin"}
    assert {item["instrument"] for item in some} == {ALL.instruments.index("flute"), ALL.instruments.index("violin")}
    assert len(MusicAINotes("valid", instruments="flute")) < len(some) < len(NOTES["valid"])


@pytest.mark.parametrize(
    ("split", "instruments", "words"),
    [
        ("dev", None, "'dev' is not one of train, valid, test"),
        ("train", ["kazoo"], "no instrument 'kazoo'.*violin"),
    ],
)
def test_a_wrong_choice_is_answered_with_the_choices(split, instruments, words):
    for kind in (MusicAINotes, MusicAIDrums):
        with pytest.raises(ValueError, match=words.replace("violin", "violin|standard_kit")):
            kind(split, instruments)


def test_a_damaged_or_missing_file_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(musicai_notes, "FOLDER", tmp_path)
    (tmp_path / "harp.flac").write_bytes((FOLDER / "harp.flac").read_bytes()[:50_000])
    musicai_notes.recordings.cache_clear()
    with pytest.raises(DataError, match=r"harp\.flac"):
        musicai_notes.recordings("harp.flac")
    with pytest.raises(DataError, match=r"none\.flac"):
        musicai_notes.recordings("none.flac")
    musicai_notes.recordings.cache_clear()


def test_the_manifest_reads_back_as_written():
    with open(FOLDER / "manifest.csv", newline="") as file:
        rows = {row["note"]: row for row in csv.DictReader(file)}
    assert len(rows) == len(ALL) + len(MusicAIDrums(None))
    for e in ALL.manifest[::97]:
        assert all(str(getattr(e, key)) == value for key, value in rows[e.note].items() if key not in ("gain", "rms"))
        assert e.gain == float(rows[e.note]["gain"])


def test_the_builders_ear_hears_a_known_mistuning():
    t = np.arange(16_000) / 16_000
    for cents in (-44, 0, 20):
        x = sum(np.sin(2 * np.pi * k * 220 * 2 ** (cents / 1200) * t) / k for k in range(1, 7))
        assert abs(build_notes.mistuning(x, 57) - cents) <= 2


def test_every_recording_is_in_tune():
    off = {e.note: build_notes.mistuning(e.audio().numpy(), e.pitch) for e in ALL.manifest if e.velocity == 100}
    assert max(abs(cents) for cents in off.values()) <= 20


@pytest.mark.skipif(
    not (shutil.which("fluidsynth") and build_notes.SOUNDFONT.exists()),
    reason="needs apt-get install fluidsynth fluid-soundfont-gm",
)
def test_the_builder_makes_the_same_bytes_again_and_they_are_the_shipped_ones(tmp_path):
    marimba = next(instrument for instrument in build_notes.INSTRUMENTS if instrument.name == "marimba")
    marimba = marimba._replace(high=marimba.low + 7)
    for folder in (tmp_path / "one", tmp_path / "two"):
        folder.mkdir()
        store = build_notes.Store("marimba.flac")
        rows = build_notes.collect(marimba, store)
        store.write(folder)
    one, two = (path.read_bytes() for path in sorted(tmp_path.glob("*/marimba.flac")))
    assert one == two
    assert [row["note"] for row in rows] == [e.note for e in ALL.manifest if e.instrument == "marimba"][:24]
    shipped = soundfile.read(FOLDER / "marimba.flac", dtype="int16")[0].astype(int)
    again = soundfile.read(tmp_path / "one" / "marimba.flac", dtype="int16")[0].astype(int)
    assert np.abs(shipped[: len(again)] - again).max() <= 8  # of 800: another version of FluidSynth may round otherwise
