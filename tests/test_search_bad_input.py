"""Forty kinds of bad input: each gives one clear error or an honest "nothing", and never a confident match."""

import numpy as np
import pytest
import torch

import musicai
from musicai.audio import save
from musicai.data import MusicAIDrums
from musicai.notes import Melody, Score
from musicai.search import AudioIndex, MelodyIndex, library, read_folder

SR = 16_000
RNG = np.random.default_rng(0)
SECOND = np.arange(SR) / SR


@pytest.fixture(scope="module")
def index() -> MelodyIndex:
    rng = np.random.default_rng(1)
    pieces = []
    for i in range(60):
        steps = rng.choice([-4, -3, -2, -1, 0, 1, 2, 3, 4, 5, 7], size=40)
        pitches = np.clip(67 + np.cumsum(steps), 40, 90).tolist()
        pieces.append(Melody.from_pitches(pitches, rng.choice([0.5, 1.0, 1.5], 40), name=f"tune {i}"))
    return MelodyIndex.build(pieces, progress=False)


def noise(seconds=2.0, color=0.0) -> np.ndarray:
    spectrum = np.fft.rfft(RNG.normal(size=int(seconds * SR)))
    spectrum /= np.maximum(np.arange(len(spectrum)), 1) ** (color / 2)
    wave = np.fft.irfft(spectrum)
    return (0.3 * wave / np.abs(wave).max()).astype(np.float32)


def drums() -> np.ndarray:
    kit = MusicAIDrums("train")
    hits = [kit[i] for i in range(8)]
    return torch.cat([torch.as_tensor(hit["audio"]).flatten()[:8000] for hit in hits]).numpy()


SOUNDS = {
    "silence": np.zeros(2 * SR),
    "near silence": RNG.normal(size=2 * SR) * 1e-7,
    "white noise": noise(),
    "pink noise": noise(color=1.0),
    "brown noise": noise(color=2.0),
    "0.1 s": 0.3 * np.sin(2 * np.pi * 440 * SECOND[: SR // 10]),
    "one sample": np.ones(1),
    "nothing": np.zeros(0),
    "NaN": np.full(SR, np.nan),
    "infinite": np.full(SR, np.inf),
    "one NaN": np.where(np.arange(SR) == 500, np.nan, 0.3 * np.sin(2 * np.pi * 440 * SECOND)),
    "a click": np.eye(1, 2 * SR, SR)[0],
    "a constant": np.full(SR, 0.5),
    "a buzz below hearing": 0.3 * np.sin(2 * np.pi * 8 * np.arange(2 * SR) / SR),
    "a whine above all tunes": 0.3 * np.sin(2 * np.pi * 7500 * np.arange(2 * SR) / SR),
    "three dimensions": np.zeros((2, 2, 100)),
    "text": np.array(["a", "b"]),
    "complex": np.full(SR, 1j),
}
OTHERS = {
    "empty text": "",
    "blanks": "   ",
    "a sentence": "please find my tune",
    "one note": "E4",
    "two notes": "E4 F4",
    "numbers out of range": "64 65 900",
    "negative numbers": [-3, -2, 0],
    "NaN in a list": [60.0, float("nan"), 64.0],
    "nothing": None,
    "an empty list": [],
    "a number": 64,
    "a dict": {"pitches": [60, 62]},
    "notes and words": ["E4", "hello"],
    "an empty melody": Melody(()),
    "an empty score": Score(()),
    "a file that is not there": "nowhere/hum.wav",
    "a null byte": "\x00",
    "ABC without notes": "X:1\nK:C\nzzzz|",
    "ABC without a key": "X:1\nT:tune\nabc",
}


def outcome(query, index) -> str:
    """The error's message, or "nothing" if no match is claimed to be likely."""
    try:
        matches = musicai.find(query, index=index)
    except ValueError as error:
        return str(error)
    return "nothing" if all(match.unlikely for match in matches) else f"found {matches[0]}"


@pytest.mark.parametrize("kind", SOUNDS)
def test_bad_sound(index, kind):
    said = outcome((SOUNDS[kind], SR), index)
    assert not said.startswith("found")
    assert said == "nothing" or (10 < len(said) < 500 and "\n" not in said)


def test_drums_are_no_melody(index):
    said = outcome((drums(), SR), index)
    assert said == "nothing" or "pitch" in said


@pytest.mark.parametrize("kind", OTHERS)
def test_bad_notes(index, kind):
    with pytest.raises((ValueError, FileNotFoundError)) as caught:
        musicai.find(OTHERS[kind], index=index)
    assert 10 < len(str(caught.value)) < 500


@pytest.mark.parametrize("k", [0, -1, 1.5, "many"])
def test_bad_k(index, k):
    with pytest.raises(ValueError, match="k"):
        musicai.find("E4 F4 G4 A4", k, index=index)


def test_k_may_be_a_numpy_number(index):
    assert len(musicai.find("E4 F4 G4 A4 C5 D5", np.int64(2), index=index)) == 2


def test_damaged_sound_file(index, tmp_path):
    save(tmp_path / "hum.wav", torch.zeros(SR), SR)
    whole = (tmp_path / "hum.wav").read_bytes()
    for name, content in {"cut.wav": whole[:30], "text.wav": b"hello", "empty.wav": b"", "hum.xyz": whole}.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match=name):
            musicai.find(tmp_path / name, index=index)


@pytest.mark.parametrize("suffix", [".mid", ".musicxml", ".mxl", ".abc"])
def test_damaged_file_of_notes(index, tmp_path, suffix):
    for content in (b"", b"hello", b"\x00\xff" * 50):
        (tmp_path / f"tune{suffix}").write_bytes(content)
        with pytest.raises(ValueError, match="tune"):
            musicai.find(tmp_path / f"tune{suffix}", index=index)


def test_empty_index():
    assert MelodyIndex.build([], progress=False).find("E4 F4 G4 A4") == []


def test_index_that_is_none(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.index"):
        musicai.find("E4 F4 G4 A4", index=tmp_path / "none.index")
    (tmp_path / "text.index").write_text("hello")
    with pytest.raises(ValueError, match=r"text\.index"):
        musicai.find("E4 F4 G4 A4", index=tmp_path / "text.index")


def test_index_cut_short_or_of_another_version(index, tmp_path):
    path = tmp_path / "my.index"
    MelodyIndex.build([Melody.from_pitches([60, 62, 64, 65, 67])] * 3, path, progress=False)
    whole = path.read_bytes()
    for length in (0, 1, 10, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match=r"my\.index"):
            MelodyIndex.open(path).find("C4 D4 E4 F4")


def test_folder_without_music(tmp_path):
    (tmp_path / "readme.txt").write_text("hello")
    with pytest.raises(ValueError, match="no file"):
        read_folder(tmp_path)
    with pytest.raises(ValueError, match="no "):
        AudioIndex.build(tmp_path, progress=False)
    with pytest.raises(FileNotFoundError, match="no such folder"):
        read_folder(tmp_path / "none")


def test_folder_with_odd_names_and_one_file(tmp_path):
    abc = "X:1\nT:One\nK:C\nCDEF|\n\nX:2\nT:Two\nK:G\nGABc|\n"
    (tmp_path / "two.abc").write_text(abc)
    assert read_folder(tmp_path / "two.abc")[1] == ["two.abc#1", "two.abc#2"]
    (tmp_path / "folder.mid").mkdir()
    (tmp_path / "bad\udcff.abc").write_text("X:1\nK:C\nCDEF|\n")
    pieces, ids = read_folder(tmp_path)
    assert ids == ["bad\\udcff.abc", "two.abc#1", "two.abc#2"]
    assert len(MelodyIndex.build(pieces, tmp_path / "my.index", ids=ids, progress=False)) == 3


def test_a_cache_folder_that_cannot_be_written_to_costs_only_time(tmp_path, monkeypatch, capsys):
    (tmp_path / "cache").write_text("a file, so no folder can be made here")
    tunes = [Melody.from_pitches([60, 62, 64, 65, 67, 69, 71, 72], name="Scale")]
    monkeypatch.setenv("MUSICAI_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(library.util, "find_spec", lambda name: None)
    monkeypatch.setattr(library, "_shipped", lambda: tunes)
    found = [musicai.find(query)[0].title for query in ("C4 D4 E4 F4 G4 A4", tunes[0])]
    assert found == ["Scale"] * 2
    told = capsys.readouterr().err
    assert told.count("Building the search index") == 1
    assert "It can't be kept there (Not a directory); set MUSICAI_CACHE to another folder." in told
