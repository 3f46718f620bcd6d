"""Loaders of public sets, on small fixtures in exactly the published formats, and on every kind of damage."""

import csv
import dataclasses
import hashlib
import io
import json
import re
import shutil
import struct
import tarfile
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pooch
import pytest
import soundfile
import torch
from torch.utils.data import DataLoader

from musicai import audio
from musicai.data import MAESTRO, SC09, DataError, Groove, NSynth, SpeechCommands
from musicai.data.catalogue import SETS
from musicai.data.public import DIGITS


def write_wav(path: Path, samples: int = 160, sr: int = 16_000, channels: int = 1) -> np.ndarray:
    """Noise that depends on the file's name only."""
    rng = np.random.default_rng(int(hashlib.sha256(path.name.encode()).hexdigest()[:8], 16))
    audio = rng.uniform(-0.5, 0.5, (samples, channels)).astype(np.float32)
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, audio, sr, subtype="PCM_16")
    return audio.T


def midi_bytes(pitch: int = 60, channel: int = 0) -> bytes:
    """A format-0 file, by hand: one note of one beat (480 ticks) at velocity 80, tempo 120."""
    events = b"\x00\xff\x51\x03\x07\xa1\x20" + bytes([0, 0x90 | channel, pitch, 80])
    events += bytes([0x83, 0x60, 0x80 | channel, pitch, 0]) + b"\x00\xff\x2f\x00"
    return b"MThd" + struct.pack(">IHHH", 6, 0, 1, 480) + b"MTrk" + struct.pack(">I", len(events)) + events


def write_midi(path: Path, pitch: int = 60, channel: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(midi_bytes(pitch, channel))


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text("utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), "utf-8")


def read_all(dataset) -> list[dict]:
    return [dataset[i] for i in range(len(dataset))]


# ---- NSynth: nsynth-test/examples.json and nsynth-test/audio/*.wav


def nsynth_record(name: str = "bass_synthetic_033-022-050", **changes) -> dict:
    """As published: https://magenta.tensorflow.org/datasets/nsynth"""
    instrument, pitch, velocity = name.rsplit("-", 2)
    family, source = instrument.split("_")[0], instrument.split("_")[1]
    record = {
        "note": 201034,
        "sample_rate": 16000,
        "instrument_family": 3,
        "qualities": [0, 1, 0, 0, 0, 0, 0, 0, 0, 0],
        "instrument_source_str": source,
        "note_str": name,
        "instrument_family_str": family,
        "instrument_str": instrument,
        "pitch": int(pitch),
        "instrument": 417,
        "velocity": int(velocity),
        "instrument_source": 0,
        "qualities_str": ["dark"],
    }
    return record | changes


NOTES = ("bass_synthetic_033-022-050", "guitar_acoustic_010-066-100", "vocal_electronic_001-108-127")


def make_nsynth(root: Path, split: str = "test") -> Path:
    folder = root / f"nsynth-{split}"
    for name in NOTES:
        write_wav(folder / "audio" / f"{name}.wav", 64)
    (folder / "examples.json").write_text(json.dumps({name: nsynth_record(name) for name in NOTES}))
    return folder


def change_note(folder: Path, name: str = NOTES[1], **changes) -> None:
    table = json.loads((folder / "examples.json").read_text())
    table[name] |= changes
    table[name] = {key: value for key, value in table[name].items() if value is not KeyError}
    (folder / "examples.json").write_text(json.dumps(table))


def test_nsynth_items(tmp_path):
    make_nsynth(tmp_path)
    dataset = NSynth(tmp_path, "test")
    assert len(dataset) == 3
    item = dataset[1]
    audio = item.pop("audio")
    assert audio.shape == (64,)
    assert audio.dtype == torch.float32
    expected = soundfile.read(tmp_path / "nsynth-test" / "audio" / f"{NOTES[1]}.wav", dtype="float32")[0]
    np.testing.assert_array_equal(audio.numpy(), expected)
    assert item.pop("qualities").tolist() == [0, 1] + [0] * 8
    assert item == {
        "sr": 16_000,
        "pitch": 66,
        "velocity": 100,
        "instrument": 417,
        "instrument_name": "guitar_acoustic_010",
        "family": "guitar",
        "source": "acoustic",
        "note": "guitar_acoustic_010-066-100",
    }
    assert dataset[-1]["note"] == NOTES[2]
    assert repr(dataset) == "NSynth('test', 3 items)"
    with pytest.raises(IndexError):
        dataset[3]


def test_nsynth_makes_batches_in_workers(tmp_path):
    make_nsynth(tmp_path)
    (batch,) = DataLoader(NSynth(tmp_path, "test"), batch_size=3, num_workers=1)
    assert batch["audio"].shape == (3, 64)
    assert batch["pitch"].tolist() == [22, 66, 108]
    assert batch["qualities"].shape == (3, 10)


def test_nsynth_places(tmp_path):
    folder = make_nsynth(tmp_path, "valid")
    for root, split in ((tmp_path, "valid"), (tmp_path, "validation"), (folder, "valid"), (str(tmp_path), "valid")):
        assert len(NSynth(root, split)) == 3
    with pytest.raises(DataError, match="nsynth-train"):
        NSynth(folder, "train")  # not the valid split's folder in its stead


@pytest.mark.parametrize("name", ["pitch", "instrument_family_str", "qualities", "note_str"])
def test_nsynth_missing_field_names_file_and_row(tmp_path, name):
    change_note(make_nsynth(tmp_path), **{name: KeyError})
    with pytest.raises(DataError, match=rf"examples\.json, row 2 \(.*: KeyError\('{name}'\)"):
        NSynth(tmp_path, "test")


def test_nsynth_audio_missing_empty_or_broken(tmp_path):
    wav = make_nsynth(tmp_path) / "audio" / f"{NOTES[1]}.wav"
    content = wav.read_bytes()
    for broken in (b"", content[:20], content[:44], content[:-30], b"no sound at all"):
        wav.write_bytes(broken)
        with pytest.raises(DataError, match=rf"examples\.json, row '{NOTES[1]}'.*{NOTES[1]}\.wav"):
            NSynth(tmp_path, "test")[1]
    wav.unlink()
    with pytest.raises(DataError, match=rf"row '{NOTES[1]}'.*{NOTES[1]}\.wav"):
        NSynth(tmp_path, "test")[1]


DAMAGED_JSON = {
    "empty": b"",
    "truncated": b'{"a": {"note_str": "a", "pi',
    "html": b"<html>404</html>",
    "latin-1": '{"é": 1}'.encode("latin-1"),
    "utf-16": '{"a": 1}'.encode("utf-16"),
    "number": b"3",
    "null": b"null",
    "rows are numbers": b'{"a": 1}',
    "deep": b"[" * 100_000,
    "huge number": b'{"a": ' + b"9" * 10_000 + b"}",
}


@pytest.mark.parametrize("kind", DAMAGED_JSON)
def test_damaged_json_names_the_file(tmp_path, kind):
    (make_nsynth(tmp_path) / "examples.json").write_bytes(DAMAGED_JSON[kind])
    with pytest.raises(DataError, match=r"examples\.json"):
        NSynth(tmp_path, "test")


# ---- Speech Commands: word folders, validation_list.txt, testing_list.txt, _background_noise_


SPEAKERS = {"valid": "11aa22bb", "test": "33cc44dd", "train": "0a7c2a8d"}


def make_commands(folder: Path, words: tuple[str, ...] = ("yes", "no", *DIGITS)) -> Path:
    names = {split: [f"{word}/{speaker}_nohash_0.wav" for word in words] for split, speaker in SPEAKERS.items()}
    names["train"] += [f"{word}/{SPEAKERS['train']}_nohash_1.wav" for word in words]
    for name in (name for split in names.values() for name in split):
        write_wav(folder / name, 100)
    write_wav(folder / "_background_noise_" / "white_noise.wav", 300)
    (folder / "_background_noise_" / "README.md").write_text("noise")
    (folder / "README.md").write_text("Speech Commands Data Set v0.02")
    (folder / "validation_list.txt").write_text("\n".join(names["valid"]) + "\n")
    (folder / "testing_list.txt").write_text("\n".join(names["test"]) + "\n")
    return folder


def test_speech_commands_items_and_splits(tmp_path):
    make_commands(tmp_path / "speech_commands_v0.02")
    sizes = {split: len(SpeechCommands(tmp_path, split)) for split in ("train", "valid", "validation", "test")}
    assert sizes == {"train": 24, "valid": 12, "validation": 12, "test": 12}
    dataset = SpeechCommands(tmp_path, "train")
    assert dataset.words == tuple(sorted(("yes", "no", *DIGITS)))
    item = dataset[2 * dataset.words.index("no") + 1]
    expected = soundfile.read(tmp_path / "speech_commands_v0.02" / item["name"], dtype="float32")[0]
    np.testing.assert_array_equal(item["audio"].numpy(), np.pad(expected, (0, 16_000 - len(expected))))
    del item["audio"]
    assert item == {
        "sr": 16_000,
        "word": "no",
        "label": dataset.words.index("no"),
        "speaker": "0a7c2a8d",
        "take": 1,
        "name": "no/0a7c2a8d_nohash_1.wav",
    }
    assert all(item["speaker"] == SPEAKERS["valid"] for item in read_all(SpeechCommands(tmp_path, "valid")))


def test_speech_commands_in_the_folder_itself(tmp_path):
    make_commands(tmp_path)
    assert len(SpeechCommands(tmp_path, "test")) == 12


@pytest.mark.parametrize("place", ["speech_commands_v0.02", "."])
def test_sc09_from_speech_commands(tmp_path, place):
    folder = make_commands(tmp_path / place)
    shutil.rmtree(folder / "yes")  # whoever needs digits only may keep digits only
    dataset = SC09(tmp_path, "valid")
    assert [(item["word"], item["label"]) for item in read_all(dataset)] == [(w, i) for i, w in enumerate(DIGITS)]
    assert dataset[0]["audio"].shape == (16_000,)


def test_speech_commands_other_damage(tmp_path):
    folder = make_commands(tmp_path / "speech_commands_v0.02")
    (folder / "testing_list.txt").write_bytes(b"yes/\xff\xfe.wav\n")
    with pytest.raises(DataError, match=r"testing_list\.txt is damaged or cannot be read.*utf-8"):
        SpeechCommands(tmp_path)
    (folder / "testing_list.txt").unlink()
    with pytest.raises(DataError, match=r"testing_list\.txt"):
        SpeechCommands(tmp_path)


def test_speech_commands_audio_damage(tmp_path):
    folder = make_commands(tmp_path / "speech_commands_v0.02")
    wav = folder / "no" / "0a7c2a8d_nohash_0.wav"
    for broken in (b"", wav.read_bytes()[:-50], b"RIFF"):
        wav.write_bytes(broken)
        with pytest.raises(DataError, match=r"row 'no/0a7c2a8d_nohash_0\.wav'"):
            read_all(SpeechCommands(tmp_path))
    wav.rename(wav.with_name("strange.wav"))
    with pytest.raises(DataError, match=r"v0\.02, row 20 \(no/strange\.wav\): .*named like yes/0a7c2a8d"):
        SpeechCommands(tmp_path)


@pytest.mark.parametrize("name", ["._0a7c2a8d_nohash_0.wav", "._x.wav", ".DS_Store", "Thumbs.db", ".hidden.wav"])
def test_hidden_files_and_folders_are_not_items(tmp_path, name):
    folder = make_commands(tmp_path / "speech_commands_v0.02")
    before = {split: len(SpeechCommands(tmp_path, split)) for split in ("train", "valid", "test")}
    for place in ("yes", "", "__MACOSX/yes", "_background_noise_", ".git"):
        (folder / place).mkdir(parents=True, exist_ok=True)
        (folder / place / name).write_bytes(b"Mac OS X, no sound")
    assert {split: len(SpeechCommands(tmp_path, split)) for split in before} == before
    assert len(read_all(SpeechCommands(tmp_path))) == before["train"]


# ---- MAESTRO: maestro-v3.0.0.csv (the JSON beside it says the same)


PIECES = [
    {
        "canonical_composer": composer,
        "canonical_title": title,
        "split": split,
        "year": year,
        "midi_filename": f"{year}/MIDI-Unprocessed_{i}--AUDIO_{i}_R3_{year}_wav--1.midi",
        "audio_filename": f"{year}/MIDI-Unprocessed_{i}--AUDIO_{i}_R3_{year}_wav--1.wav",
        "duration": 698.66116 + i,
    }
    for i, (composer, title, split, year) in enumerate(
        [
            ("Alban Berg", "Sonata Op. 1", "train", 2018),
            ("Alexander Scriabin", "24 Preludes Op. 11, No. 13-24", "train", 2004),
            ("Franz Liszt", 'Étude "La Campanella"', "validation", 2006),
            ("J. S. Bach / F. Busoni", "Chaconne", "test", 2008),
        ]
    )
]


def make_maestro(root: Path, pieces=PIECES, *, audio: bool = True) -> Path:
    folder = root / "maestro-v3.0.0"
    for i, piece in enumerate(PIECES):
        write_midi(folder / piece["midi_filename"], 60 + i)
        if audio:
            write_wav(folder / piece["audio_filename"], 4410, 44_100, 2)
    write_csv(folder / "maestro-v3.0.0.csv", list(PIECES[0]), pieces)
    return folder


def write_csv(path: Path, columns: list[str], rows: list[dict]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)


def test_maestro_items(tmp_path):
    folder = make_maestro(tmp_path)
    dataset = MAESTRO(tmp_path, "train")
    assert len(dataset) == 2
    item = dataset[1]
    (note,) = item.pop("score").notes
    assert (note.pitch, note.start, note.duration, note.velocity) == (61, 0.0, 1.0, 80)
    path = item.pop("audio")
    assert item == {
        "composer": "Alexander Scriabin",
        "title": "24 Preludes Op. 11, No. 13-24",
        "year": 2004,
        "duration": 699.66116,
        "name": PIECES[1]["midi_filename"],
    }
    assert path == folder / PIECES[1]["audio_filename"]
    expected = soundfile.read(path, dtype="float32")[0].T
    np.testing.assert_array_equal(audio.load(path, start=0.02, duration=0.01)[0].numpy(), expected[:, 882:1323])
    for split in ("valid", "validation"):
        assert [item["title"] for item in read_all(MAESTRO(folder, split))] == ['Étude "La Campanella"']
    assert next(iter(DataLoader(dataset, batch_size=None, num_workers=1)))["year"] == 2018


def test_maestro_midi_only(tmp_path):
    make_maestro(tmp_path, audio=False)
    assert MAESTRO(tmp_path, "train")[0]["audio"] is None


@pytest.mark.parametrize(
    ("field", "value"),
    [("split", "training"), ("split", ""), ("year", "last"), ("duration", "long")],
)
def test_maestro_wrong_field_names_file_and_row(tmp_path, field, value):
    make_maestro(tmp_path, [*PIECES[:2], PIECES[2] | {field: value}, PIECES[3]])
    with pytest.raises(DataError, match=rf"maestro-v3\.0\.0\.csv, row 3 \(.*Liszt.*{value}"):
        MAESTRO(tmp_path, "train")


@pytest.mark.parametrize("content", [None, b"", b"MThd", midi_bytes()[:-9], b"RIFF" * 30])
def test_maestro_missing_or_damaged_midi_names_file_and_row(tmp_path, content):
    path = make_maestro(tmp_path) / PIECES[1]["midi_filename"]
    path.unlink() if content is None else path.write_bytes(content)
    with pytest.raises(DataError, match=r"maestro-v3\.0\.0\.csv, row '2004/.*"):
        MAESTRO(tmp_path)[1]


# ---- Groove: groove/info.csv; 60 of its rows have no audio


TAKES = [
    {
        "drummer": drummer,
        "session": f"{drummer}/{session}",
        "id": f"{drummer}/{session}/{number}",
        "style": style,
        "bpm": 138,
        "beat_type": kind,
        "time_signature": signature,
        "midi_filename": f"{drummer}/{session}/{number}_{style.replace('/', '-')}_138_{kind}_{signature}.mid",
        "audio_filename": f"{drummer}/{session}/{number}_{style.replace('/', '-')}_138_{kind}_{signature}.wav",
        "duration": 27.872308,
        "split": split,
    }
    for drummer, session, number, style, kind, signature, split in [
        ("drummer1", "eval_session", 1, "funk/groove1", "beat", "4-4", "test"),
        ("drummer1", "session1", 2, "funk", "fill", "6-8", "train"),
        ("drummer3", "session2", 3, "jazz/swing", "beat", "3-4", "train"),
        ("drummer7", "session3", 4, "rock", "beat", "4-4", "validation"),
    ]
]
TAKES[2]["audio_filename"] = ""


def make_groove(root: Path, takes=TAKES, *, audio: bool = True) -> Path:
    folder = root / "groove"
    for i, take in enumerate(TAKES):
        write_midi(folder / take["midi_filename"], 36 + i, channel=9)
        if audio and take["audio_filename"]:
            write_wav(folder / take["audio_filename"], 441, 44_100)
    write_csv(folder / "info.csv", list(TAKES[0]), takes)
    return folder


def test_groove_items(tmp_path):
    folder = make_groove(tmp_path)
    dataset = Groove(tmp_path, "train")
    item = dataset[0]
    score, path = item.pop("score"), item.pop("audio")
    assert item == {
        "name": TAKES[1]["midi_filename"],
        "drummer": "drummer1",
        "session": "drummer1/session1",
        "id": "drummer1/session1/2",
        "style": "funk",
        "bpm": 138,
        "beat_type": "fill",
        "time_signature": (6, 8),
        "duration": 27.872308,
    }
    assert [(track.is_drum, track.notes[0].pitch) for track in score.tracks] == [(True, 37)]
    assert path == folder / TAKES[1]["audio_filename"]
    assert [item["id"] for item in read_all(Groove(folder, "valid"))] == ["drummer7/session3/4"]


def test_groove_row_without_audio(tmp_path):
    make_groove(tmp_path)
    assert [item["audio"] is None for item in read_all(Groove(tmp_path, "train"))] == [False, True]


@pytest.mark.parametrize(
    ("field", "value"),
    [("split", ""), ("bpm", "fast"), ("bpm", ""), ("bpm", "138.5"), ("time_signature", "4/4"), ("duration", "long")],
)
def test_groove_wrong_field_names_file_and_row(tmp_path, field, value):
    make_groove(tmp_path, [*TAKES[:2], TAKES[2] | {field: value}, TAKES[3]])
    with pytest.raises(DataError, match=r"info\.csv, row 3 \("):
        Groove(tmp_path, "test")


@pytest.mark.parametrize(
    ("old", "new", "place"),
    [
        ("bpm,beat_type", "tempo,beat_type", r"row 1 .*KeyError\('bpm'\)"),
        (",27.872308,train", ",train", r"row 2 .*could not convert string to float: 'train'"),
        (",27.872308,train", ',27.872308,"train', "damaged"),
    ],
)
def test_groove_damaged_table(tmp_path, old, new, place):
    edit(make_groove(tmp_path) / "info.csv", old, new)
    with pytest.raises(DataError, match=rf"info\.csv.*{place}"):
        Groove(tmp_path, "test")


def test_groove_empty_or_undecodable_table(tmp_path):
    file = make_groove(tmp_path) / "info.csv"
    content = file.read_bytes()
    file.write_bytes(content.replace(b"jazz/swing", b"jazz/\xff\xfe\xfd"))
    with pytest.raises(DataError, match=r"info\.csv is damaged or cannot be read.*utf-8"):
        Groove(tmp_path)
    file.write_bytes(b"")
    with pytest.raises(DataError, match=r"info\.csv: split 'train' has no items"):
        Groove(tmp_path)
    file.write_bytes(content.splitlines(keepends=True)[0])
    with pytest.raises(DataError, match=r"info\.csv: split 'train' has no items"):
        Groove(tmp_path)
    file.write_bytes(b"\xef\xbb\xbf" + content.replace(b"\r\n", b"\n"))
    assert len(Groove(tmp_path)) == 2
    file.unlink()
    file.mkdir()
    with pytest.raises(DataError, match=r"info\.csv is damaged or cannot be read"):
        Groove(tmp_path)


# ---- all of them


LOADERS = [NSynth, SpeechCommands, SC09, MAESTRO, Groove]


@pytest.mark.parametrize("loader", LOADERS)
@pytest.mark.parametrize("folder", ["", "none"])
def test_set_that_is_not_there_tells_how_to_get_it(tmp_path, loader, folder):
    with pytest.raises(DataError, match=r"is missing.*download=True \(.*[MG]B\), or unpack https?://.*there yourself"):
        loader(tmp_path / folder)


@pytest.mark.parametrize("loader", LOADERS)
@pytest.mark.parametrize("split", ["dev", "", None, 3, "Train", ["train"]])
def test_wrong_split(tmp_path, loader, split):
    with pytest.raises(ValueError, match="train, valid"):
        loader(tmp_path, split)


def pack_tar(folder: Path, prefix: str) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        archive.add(folder, prefix)
    return buffer.getvalue()


def pack_zip(folder: Path, prefix: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(folder.rglob("*")):
            archive.write(path, f"{prefix}/{path.relative_to(folder).as_posix()}")
    return buffer.getvalue()


def serve(monkeypatch, name: str, archive: Path, content: bytes) -> None:
    """Publish an archive, with its hash, in the catalogue; every download reads the file of that name."""
    archive.parent.mkdir(exist_ok=True)
    archive.write_bytes(content)
    known_hash = f"sha256:{hashlib.sha256(content).hexdigest()}"
    url = f"http://localhost/{archive.name}"
    monkeypatch.setitem(SETS, name, dataclasses.replace(SETS[name], url=url, known_hash=known_hash))

    def read(self, url, file, pooch):
        Path(file).write_bytes((archive.parent / url.rsplit("/", 1)[1]).read_bytes())

    monkeypatch.setattr(pooch.HTTPDownloader, "__call__", read)


def test_downloads_and_unpacks_as_published(tmp_path, monkeypatch):
    made, server, root = tmp_path / "made", tmp_path / "server", tmp_path / "root"
    serve(monkeypatch, "nsynth-test", server / "n.tar.gz", pack_tar(make_nsynth(made), "nsynth-test"))
    serve(monkeypatch, "speech-commands", server / "s.tar.gz", pack_tar(make_commands(made / "words"), "."))
    serve(monkeypatch, "maestro", server / "m.zip", pack_zip(make_maestro(made), "maestro-v3.0.0"))
    serve(monkeypatch, "groove", server / "g.zip", pack_zip(make_groove(made), "groove"))
    for _ in range(2):  # the second time nothing is fetched
        assert len(NSynth(root, "test", download=True)) == 3
        assert len(SpeechCommands(root, "test", download=True)) == 12
        assert len(SC09(root, "test", download=True)) == 10
        assert len(MAESTRO(root, "test", download=True)) == 1
        assert len(Groove(root, "test", download=True)) == 1
        shutil.rmtree(server, ignore_errors=True)
    folders = {"nsynth-test", "speech_commands_v0.02", "maestro-v3.0.0", "groove"}
    assert {path.name for path in root.iterdir()} == folders


def test_download_with_a_wrong_hash_leaves_nothing(tmp_path, monkeypatch):
    content = pack_zip(make_groove(tmp_path / "made"), "groove")
    serve(monkeypatch, "groove", tmp_path / "server" / "g.zip", content)
    (tmp_path / "server" / "g.zip").write_bytes(content[:-1] + b"!")
    with pytest.raises(DataError, match="SHA256"):
        Groove(tmp_path / "root", download=True)
    assert not list((tmp_path / "root").iterdir())


def test_a_folder_that_holds_something_else_is_not_replaced(tmp_path, monkeypatch):
    serve(monkeypatch, "groove", tmp_path / "server" / "g.zip", pack_zip(make_groove(tmp_path / "made"), "groove"))
    (tmp_path / "root" / "groove").mkdir(parents=True)
    (tmp_path / "root" / "groove" / "mine.txt").write_text("mine")
    with pytest.raises(DataError, match="already exists"):
        Groove(tmp_path / "root", download=True)
    assert [path.name for path in (tmp_path / "root" / "groove").iterdir()] == ["mine.txt"]
    assert [path.name for path in (tmp_path / "root").iterdir()] == ["groove"]


def test_published_addresses():
    sources = [known for known in SETS.values() if known.url]
    assert len({source.url for source in sources}) == len(sources) == 8
    for source in sources:
        assert re.fullmatch(r"https?://[\w./-]+\.(zip|tar\.gz)", source.url)
        assert re.fullmatch("sha256:[0-9a-f]{64}|md5:[0-9a-f]{32}", source.known_hash)


def test_no_file_is_left_open(tmp_path):
    make_nsynth(tmp_path)
    make_maestro(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error", ResourceWarning)
        read_all(NSynth(tmp_path, "test"))
        read_all(MAESTRO(tmp_path, "test"))
