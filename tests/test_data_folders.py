"""Folders of one's own: found, split without leaks, cut into segments; files that cannot be read are named."""

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
    with pytest.raises(DataError, match="subfolders train, test but none called valid"):
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


def test_unreadable_audio_is_named_or_left_out(sounds):
    (sounds / "0" / "broken.wav").write_bytes(b"RIFF not really")
    (sounds / "1" / "empty.flac").write_bytes(b"")
    with pytest.raises(DataError, match=r"broken\.wav.*on_error=\"skip\""):
        AudioFolder(sounds)
    kept = AudioFolder(sounds, on_error="skip")
    assert len(kept) == 40
    assert {path.name for path in kept.skipped} == {"broken.wav", "empty.flac"}
    assert kept.summary().startswith("40 files read, 2 left out\n")
    assert kept.summary().count("broken.wav") == 1


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
    with pytest.raises(DataError, match=r"none of 1 files can be read; (.|\n)*bad\.mid"):
        MidiFolder(tmp_path, on_error="skip")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: AudioFolder(path, on_error="ignore"), "on_error='ignore'"),
        (lambda path: AudioFolder(path, segment=0), "segment=0"),
        (lambda path: AudioFolder(path, "dev"), "'dev' is not one of train, valid, test"),
    ],
)
def test_bad_arguments(sounds, make, message):
    with pytest.raises(ValueError, match=message):
        make(sounds)


def test_suffixes_are_lower_case():
    assert all(suffix == suffix.lower() and suffix[0] == "." for suffix in (*folders.AUDIO, *folders.MIDI))
