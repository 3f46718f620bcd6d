"""Folders of one's own: found, split without leaks, cut into segments; files that cannot be read are named."""

import os
from contextlib import suppress

import numpy as np
import pytest
import soundfile
import torch

from musicai.data import SPLITS, AudioFolder, DataError, MidiFolder, folders
from musicai.notes import Melody, write_midi


def tone(path, seconds=1.0, sr=16_000, channels=1, frequency=440.0):
    path.parent.mkdir(parents=True, exist_ok=True)
    wave = 0.5 * np.sin(2 * np.pi * frequency * np.arange(round(seconds * sr)) / sr)
    soundfile.write(path, np.stack([wave] * channels, axis=1), sr)
    return path


@pytest.fixture
def sounds(tmp_path):
    for i in range(40):
        tone(tmp_path / "music" / f"{i % 4}" / f"{i:02d}.wav", 0.05)
    return tmp_path / "music"


def test_finds_all_sorted_and_no_hidden_ones(tmp_path):
    for name in ("b/2.wav", "a/9.FLAC", "b/deep/er/1.wav", ".hidden/3.wav", "b/.4.wav"):
        tone(tmp_path / name.lower(), 0.01).rename(tmp_path / name)
    for name in ("b/._2.wav", ".DS_Store", "__MACOSX/._a.wav"):  # macOS's own
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"\0\x05\x16\x07")
    (tmp_path / "notes.txt").write_text("no sound")
    assert [file.relative_to(tmp_path).as_posix() for file in AudioFolder(tmp_path).files] == [
        "a/9.FLAC",
        "b/2.wav",
        "b/deep/er/1.wav",
    ]


@pytest.mark.parametrize("suffix", folders.AUDIO)
def test_every_kind_of_file_that_is_looked_for_can_be_read(tmp_path, suffix):
    kind = {".oga": "OGG", ".opus": "OGG", ".aif": "AIFF"}.get(suffix, suffix[1:].upper())
    coding = "OPUS" if suffix == ".opus" else None
    soundfile.write(tmp_path / f"a{suffix}", np.zeros(1_600), 16_000, format=kind, subtype=coding)
    (tmp_path / "b.au").write_bytes(b".snd, which load does not read")
    assert AudioFolder(tmp_path)[0]["audio"].shape == (1, 1_600)


def test_splits_partition_and_stay_when_files_come_and_the_folder_moves(sounds, tmp_path):
    before = {split: {f.relative_to(sounds) for f in AudioFolder(sounds, split).files} for split in SPLITS}
    assert sum(map(len, before.values())) == 40
    assert len(set().union(*before.values())) == 40
    for i in range(40):
        tone(sounds / "new" / f"{i}.wav", 0.01)
    moved = sounds.rename(tmp_path / "elsewhere")
    after = {split: {f.relative_to(moved) for f in AudioFolder(moved, split).files} for split in SPLITS}
    assert all(before[split] <= after[split] for split in SPLITS)


def test_split_folders_are_taken_as_given(tmp_path):
    for split, count in (("train", 3), ("test", 2)):
        for i in range(count):
            tone(tmp_path / split / f"{i}.wav", 0.01)
    assert len(AudioFolder(tmp_path, "train")) == 3
    assert len(AudioFolder(tmp_path, "test")) == 2
    assert len(AudioFolder(tmp_path)) == 5
    with pytest.raises(DataError, match="/valid: no such folder"):
        AudioFolder(tmp_path, "valid")


def test_item_is_resampled_and_mixed(tmp_path):
    path = tone(tmp_path / "a.wav", seconds=0.5, sr=44_100, channels=2)
    item = AudioFolder(tmp_path, sr=16_000)[0]
    assert item["audio"].shape == (1, 8_000)
    assert item["audio"].dtype == torch.float32
    assert (item["sr"], item["path"], item["start"]) == (16_000, str(path), 0.0)
    spectrum = np.abs(np.fft.rfft(item["audio"][0].numpy()))
    assert spectrum.argmax() * 2 == 440  # half a second: bins of 2 Hz
    assert AudioFolder(tmp_path, sr=16_000, mono=False)[0]["audio"].shape == (2, 8_000)


def test_segments_cover_the_file_in_order(tmp_path):
    ramp = np.linspace(-0.9, 0.9, 16_000 * 3 + 5_000).astype(np.float32)
    soundfile.write(tmp_path / "ramp.wav", ramp, 16_000, subtype="FLOAT")
    tone(tmp_path / "short.wav", 0.25)
    pieces = AudioFolder(tmp_path, segment=1.0)
    assert [(item["audio"].shape, item["start"]) for item in pieces] == [
        ((1, 16_000), 0.0),
        ((1, 16_000), 1.0),
        ((1, 16_000), 2.0),
        ((1, 16_000), 0.0),
    ]
    whole = torch.cat([pieces[i]["audio"][0] for i in range(3)])
    torch.testing.assert_close(whole, torch.from_numpy(ramp[:48_000]))
    assert pieces[3]["audio"][0, 4_000:].abs().max() == 0
    assert len(pieces.files) == 2


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "mp3"])
def test_segments_are_the_parts_of_the_whole_in_any_order(tmp_path, suffix):
    rng = np.random.default_rng(0)
    soundfile.write(tmp_path / f"a.{suffix}", 0.2 * rng.standard_normal(16_000 * 3 + 2_000), 16_000)
    soundfile.write(tmp_path / f"b.{suffix}", 0.2 * rng.standard_normal(8_000), 16_000)
    pieces, whole = AudioFolder(tmp_path, segment=0.5), AudioFolder(tmp_path)
    assert [piece["start"] for piece in pieces] == [0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 0.0]
    for i in (6, 3, 0, 5, 6, 1):
        first, source = (i % 6) * 8_000, whole[i // 6]["audio"]
        torch.testing.assert_close(pieces[i]["audio"], source[:, first : first + 8_000], rtol=0, atol=0)


def test_only_headers_are_read_and_each_mp3_is_decoded_once(tmp_path, monkeypatch):
    loads = []
    real = folders.audio.load
    monkeypatch.setattr(folders.audio, "load", lambda path, **how: loads.append(path.name) or real(path, **how))
    for name in ("a.flac", "b.mp3", "c.mp3"):
        tone(tmp_path / "f" / name, 2.0)
    pieces = AudioFolder(tmp_path / "f", segment=0.5)
    assert loads == []
    assert len(list(pieces)) == 12
    assert loads == ["a.flac"] * 4 + ["b.mp3", "c.mp3"]


def test_a_name_that_is_not_utf8_stops_nothing(tmp_path):
    odd = os.fsdecode(b"\x90\xbc")
    write_midi(tmp_path / "good.mid", Melody.from_pitches([60]).to_score())
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / f"{odd}.mid").write_bytes((tmp_path / "good.mid").read_bytes())
    (tmp_path / "m" / f"{odd} bad.mid").write_bytes(b"MThd")
    (tmp_path / "w" / odd).mkdir(parents=True)
    for name in (f"{odd}.wav", f"{odd}/{odd}.mp3"):  # soundfile cannot write such a name itself
        tone(tmp_path / f"plain{name[-4:]}", 0.1).rename(tmp_path / "w" / name)
    scores = MidiFolder(tmp_path, on_error="skip")
    assert (len(scores), len(scores.skipped)) == (2, 1)
    assert all(score.notes[0].pitch == 60 for score in scores)
    (reason,) = scores.skipped.values()
    assert reason.count(r"\udc90\udcbc bad.mid") == 1
    with pytest.raises(DataError) as caught:
        MidiFolder(tmp_path)
    for text in (reason, str(caught.value)):
        text.encode()  # it can be printed
    assert [item["audio"].shape for item in AudioFolder(tmp_path / "w")] == [(1, 1_600)] * 2
    for split in SPLITS:
        with suppress(DataError):
            assert len(MidiFolder(tmp_path / "m", split, on_error="skip")) == 1


def test_unreadable_audio_is_named_or_left_out(sounds):
    (sounds / "0" / "broken.wav").write_bytes(b"RIFF not really")
    (sounds / "1" / "empty.flac").write_bytes(b"")
    with pytest.raises(DataError, match=r"broken\.wav.*on_error=\"skip\""):
        AudioFolder(sounds)
    kept = AudioFolder(sounds, on_error="skip")
    assert len(kept) == 40
    assert {path.name for path in kept.skipped} == {"broken.wav", "empty.flac"}
    assert all(reason.count(path.name) == 1 for path, reason in kept.skipped.items())


def test_midi_items_and_errors(tmp_path):
    melody = Melody.from_pitches([60, 64, 67], [1.0, 0.5, 1.5])
    (tmp_path / "deep").mkdir()
    write_midi(tmp_path / "deep" / "one.mid", melody.to_score())
    write_midi(tmp_path / "two.midi", melody.transpose(2).to_score())
    scores = MidiFolder(tmp_path)
    assert [[note.pitch for note in score.notes] for score in scores] == [[60, 64, 67], [62, 66, 69]]
    (tmp_path / "bad.mid").write_bytes(b"MThd")
    with pytest.raises(DataError, match=r"bad\.mid"):
        MidiFolder(tmp_path)
    kept = MidiFolder(tmp_path, on_error="skip")
    assert len(kept) == 2
    assert [path.name for path in kept.skipped] == ["bad.mid"]


def test_nothing_there_is_said(tmp_path):
    with pytest.raises(DataError, match="no such folder"):
        AudioFolder(tmp_path / "none")
    with pytest.raises(DataError, match=r"no files ending in \.mid, \.midi"):
        MidiFolder(tmp_path)
    (tmp_path / "bad.mid").write_bytes(b"")
    with pytest.raises(DataError, match=r"no file can be read\n.*bad\.mid"):
        MidiFolder(tmp_path, on_error="skip")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: AudioFolder(path, segment=0), "segment=0"),
        (lambda path: AudioFolder(path, segment=1e-9), "segment=1e-09: give the seconds of one sample or more"),
        (lambda path: AudioFolder(path, segment=float("inf")), "segment=inf: give the seconds"),
        (lambda path: AudioFolder(path, "dev"), "'dev' is not one of train, valid, test"),
    ],
)
def test_bad_arguments(sounds, make, message):
    with pytest.raises(ValueError, match=message):
        make(sounds)


def test_suffixes_are_lower_case():
    assert all(suffix == suffix.lower() and suffix[0] == "." for suffix in (*folders.AUDIO, *folders.MIDI))
