"""Shards: what is written comes back, piece by piece, shuffled, from workers; damage is named. Made-up millions."""

import json
import os
import pickle
import subprocess
import sys
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader

import musicai.data
from musicai.data import DataError, ShardedArrays, ShardedMelodies, variations, write_shards
from musicai.data.shards import PARTS
from musicai.notes import Melody, Note


def melody(rng, i):
    lengths = rng.choice([0.25, 0.5, 1 / 3, 1.0, 1.75], rng.integers(0, 30))
    starts = 0.5 + np.concatenate([[0], np.cumsum(lengths)])[:-1] if len(lengths) else []
    notes = zip(rng.integers(30, 100, len(lengths)), starts, lengths, rng.integers(1, 128, len(lengths)), strict=True)
    return Melody(
        tuple(Note(int(p), round(float(s) * 480) / 480, round(float(d) * 480) / 480, int(v)) for p, s, d, v in notes),
        name=f"Tune é {i}",
        key="D minor",
        tempo=90.5,
        time_signature=(6, 8),
    )


@pytest.fixture
def melodies():
    rng = np.random.default_rng(0)
    return [melody(rng, i) for i in range(100)]


@pytest.fixture
def shards(melodies, tmp_path):
    assert write_shards(iter(melodies), tmp_path / "shards", shard_pieces=30) == 100
    return ShardedMelodies(tmp_path / "shards", verify=True)


def close(a: Melody, b: Melody) -> bool:
    rows = [[(n.pitch, n.start, n.duration, n.velocity) for n in m.notes] for m in (a, b)]
    same = (a.name, a.key, a.tempo, a.time_signature) == (b.name, b.key, b.tempo, b.time_signature)
    return same and len(a.notes) == len(b.notes) and np.allclose(*rows, rtol=0, atol=1 / 480)


def test_random_access_gives_what_was_written(shards, melodies):
    assert len(shards) == 100
    assert len(shards.shards) == 4
    for i in (99, 0, 29, 30, 31, 60, 59, -1, -100):
        assert close(shards[i], melodies[i])
    for i in (100, -101):
        with pytest.raises(IndexError):
            shards[i]


def test_iteration_and_stream(shards, melodies):
    assert all(close(a, b) for a, b in zip(shards, melodies, strict=True))
    names = [m.name for m in melodies]
    one = [m.name for m in shards.stream(seed=1, buffer=20)]
    assert sorted(one) == sorted(names)
    assert one != names
    assert one == [m.name for m in shards.stream(seed=1, buffer=20)]
    assert one != [m.name for m in shards.stream(seed=2, buffer=20)]
    for buffer in (1, 1000):
        assert sorted(m.name for m in shards.stream(buffer=buffer)) == sorted(names)


def test_notes_are_ticks(shards, melodies):
    rows = shards.notes(7)
    assert rows["pitch"].tolist() == melodies[7].pitches.tolist()
    np.testing.assert_allclose(rows["start"] / 480, [n.start for n in melodies[7].notes], atol=1e-9)


times = st.lists(st.tuples(st.integers(0, 127), st.integers(1, 127), st.floats(0.01, 50)), max_size=20)


@given(times)
@settings(max_examples=40, deadline=None)
def test_any_melody_survives(tmp_path_factory, rows):
    folder = tmp_path_factory.mktemp("any") / "shards"
    start, notes = 0.0, []
    for pitch, velocity, length in rows:
        notes.append(Note(pitch, start, length, velocity))
        start += length
    write_shards([Melody(tuple(notes))], folder)
    back = ShardedMelodies(folder)[0]
    assert [(n.pitch, n.velocity) for n in back.notes] == [(n.pitch, n.velocity) for n in notes]
    for a, b in zip(back.notes, notes, strict=True):
        assert abs(a.start - b.start) <= 0.5 / 480 + 1e-9
        assert abs(a.end - b.end) <= 0.5 / 480 + 1e-9


def test_arrays(tmp_path):
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal((int(rng.integers(0, 9)), 3)).astype(np.float32) for _ in range(25)]
    write_shards(arrays, tmp_path / "a", shard_pieces=10)
    back = ShardedArrays(tmp_path / "a", verify=True)
    for i, array in enumerate(arrays):
        np.testing.assert_array_equal(back[i], array)
        assert back[i].dtype == np.float32
    back[0][...] = 7  # a copy: nothing happens to the file
    np.testing.assert_array_equal(back[0], arrays[0])


def test_empty(tmp_path):
    assert write_shards([], tmp_path / "none") == 0
    assert list(ShardedMelodies(tmp_path / "none")) == []


def test_workers_read_the_same(shards, melodies):
    shards[0]  # a map is open
    assert len(pickle.dumps(shards)) < 5_000  # the map does not travel
    loader = DataLoader(shards, batch_size=None, num_workers=2, shuffle=False)
    assert [m.name for m in loader] == [m.name for m in melodies]


@pytest.mark.parametrize("part", PARTS)
def test_damage_is_named(shards, part):
    file = shards.path / f"00001.{part}.npy"
    whole = file.read_bytes()
    flipped = whole[:-1] + bytes([whole[-1] ^ 0xFF])
    for damaged, verify in ((whole[:-1], False), (flipped, True)):
        file.write_bytes(damaged)
        with pytest.raises(DataError, match=rf"00001\.{part}\.npy: missing, truncated or damaged"):
            ShardedMelodies(shards.path, verify=verify)
    file.write_bytes(b"x" * len(whole))
    opened = ShardedMelodies(shards.path)
    assert opened[0].name == "Tune é 0"  # other shards still read
    with pytest.raises(DataError, match=rf"00001\.{part}\.npy: not a readable array"):
        opened[40]
    file.unlink()
    with pytest.raises(DataError, match=rf"00001\.{part}\.npy: missing"):
        ShardedMelodies(shards.path)


def test_flipped_contents_never_leak_other_errors(shards):
    """Any byte of a file may be wrong: a melody or a DataError comes out, nothing else."""
    rng = np.random.default_rng(0)
    for part in PARTS:
        file = shards.path / f"00000.{part}.npy"
        whole = file.read_bytes()
        for _ in range(40):
            damaged = bytearray(whole)
            for at in rng.integers(0, len(whole), 3):
                damaged[at] = int(rng.integers(256))
            file.write_bytes(damaged)
            opened = ShardedMelodies(shards.path)
            for i in range(0, 30, 5):
                with suppress(DataError):
                    assert isinstance(opened[i], Melody)
        file.write_bytes(whole)


@pytest.mark.parametrize("text", ["", "[]", "{}", "not json", '{"format": "musicai-shards-1", "kind": "melodies"}'])
def test_bad_manifest_is_named(shards, text):
    (shards.path / "manifest.json").write_text(text)
    with pytest.raises(DataError, match=r"manifest\.json"):
        ShardedMelodies(shards.path)


def test_wrong_kind_or_no_folder(shards, tmp_path):
    with pytest.raises(DataError, match="holds melodies"):
        ShardedArrays(shards.path)
    with pytest.raises(DataError, match=r"manifest\.json"):
        ShardedMelodies(tmp_path / "nowhere")


def test_failed_write_leaves_the_old_shards(shards, melodies):
    def breaks():
        yield melodies[0]
        raise RuntimeError("the source broke")

    with pytest.raises(RuntimeError, match="the source broke"):
        write_shards(breaks(), shards.path)
    assert len(ShardedMelodies(shards.path, verify=True)) == 100
    assert [path.name for path in shards.path.parent.iterdir()] == ["shards"]
    write_shards(melodies[:3], shards.path)
    assert len(ShardedMelodies(shards.path)) == 3
    assert [path.name for path in shards.path.parent.iterdir()] == ["shards"]


@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()])
def test_whatever_fails_the_old_shards_or_the_new_ones_are_there(shards, melodies, monkeypatch, error):
    """A renaming fails, or all breaks off just after it: the first of 13, one between, the last but one, the last."""
    folder, real = shards.path, os.replace
    for after in (False, True):
        for failing in (1, 7, 12, 13):
            calls = []

            def replace(source, target, calls=calls, failing=failing, after=after):
                calls.append(target)
                if len(calls) == failing and not after:
                    raise error
                real(source, target)
                if len(calls) == failing:
                    raise error

            with monkeypatch.context() as patch, suppress(OSError, KeyboardInterrupt):
                patch.setattr(os, "replace", replace)
                write_shards(melodies[:3] * 3, folder, shard_pieces=3)
            found = ShardedMelodies(folder, verify=True)
            assert [m.name for m in found] in ([m.name for m in melodies], [m.name for m in melodies[:3] * 3])
            assert len(list(folder.iterdir())) == 1 + 4 * len(found.shards)
            if len(found) == 9:
                write_shards(melodies, folder, shard_pieces=30)
        assert len(calls) == 13
    assert [path.name for path in folder.parent.iterdir()] == ["shards"]


def test_a_killed_writer_leaves_nothing_that_blocks_the_next(tmp_path, melodies):
    folder = tmp_path / "new"
    write_shards(melodies[:3], folder)
    (folder / "manifest.json").unlink()  # killed before the very end
    with pytest.raises(DataError, match=r"manifest\.json"):
        ShardedMelodies(folder)
    assert write_shards(melodies[:2], folder) == 2
    assert len(list(folder.iterdir())) == 5
    (folder / "README").write_text("mine")
    assert write_shards(melodies[:1], folder) == 1
    assert (folder / "README").read_text() == "mine"


def test_names_that_are_not_utf8_survive(tmp_path):
    name = os.fsdecode(b"\x90\xbc.mid")
    folder = tmp_path / os.fsdecode(b"shards \x90")
    write_shards([Melody((Note(60, 0.0, 1.0),), name=name)], folder)
    assert ShardedMelodies(folder, verify=True)[0].name == name
    with pytest.raises(DataError, match=r"udc90.*holds melodies") as caught:
        ShardedArrays(folder)
    str(caught.value).encode()


def test_never_replaces_a_folder_of_something_else(tmp_path, melodies):
    (tmp_path / "letters.txt").write_text("dear")
    with pytest.raises(DataError, match="is not a folder of shards"):
        write_shards(melodies, tmp_path)
    assert (tmp_path / "letters.txt").read_text() == "dear"


@pytest.mark.parametrize(
    ("pieces", "message"),
    [
        ([np.zeros(3), np.zeros((3, 2))], r"piece 1: float64 \(3, 2\) among"),
        ([np.zeros(3), np.zeros(3, np.float32)], "piece 1: float32"),
        ([Melody(()), np.zeros(3)], "piece 1: float64"),
        ([np.array(3.0)], "piece 0"),
        ([np.array([None])], "piece 0"),
        (["a tune"], "piece 0: str is neither a Melody nor an array"),
        ([Melody((Note(60, 0.0, 1.0), Note(62, 1.0, 1e-3)))], "piece 0: a note is shorter than 1/480"),
        ([Melody((Note(60, 1e9, 1.0),))], "piece 0: a note .* ends after beat 8,947,848"),
    ],
)
def test_pieces_that_do_not_fit_are_named(tmp_path, pieces, message):
    with pytest.raises(DataError, match=message):
        write_shards(pieces, tmp_path / "shards")
    assert list((tmp_path / "shards").iterdir()) == []


def test_manifest_is_readable_by_people(shards):
    manifest = json.loads((shards.path / "manifest.json").read_text())
    assert manifest["pieces"] == 100
    assert manifest["format"] == "musicai-shards-1"
    assert [line["pieces"] for line in manifest["shards"]] == [30, 30, 30, 10]


@pytest.fixture
def tunes():
    rng = np.random.default_rng(0)
    return [Melody.from_pitches(rng.integers(50, 80, 20).tolist(), 0.5, name=str(i), key="D minor") for i in range(5)]


def test_variations_are_transposed_excerpts(tunes, tmp_path):
    assert write_shards(variations(tunes, 300), tmp_path / "v", shard_pieces=128) == 300
    shards = ShardedMelodies(tmp_path / "v", verify=True)
    lengths, seen, keys = set(), set(), set()
    for piece in shards:
        source = tunes[int(piece.name)].intervals.tolist()
        part = piece.intervals.tolist()
        assert any(source[i : i + len(part)] == part for i in range(len(source)))
        assert piece.notes[0].start == 0
        keys.add(piece.key)
        lengths.add(len(piece.notes))
        seen.add((piece.name, tuple(piece.pitches)))
    assert lengths == set(range(11, 21))
    assert len(seen) > 200
    assert len(keys) == 12


def test_variations_are_reproducible(tunes):
    one, two, other = ([piece.items.tobytes() for piece in variations(tunes, 50, seed=s)] for s in (1, 1, 2))
    assert one == two != other


def test_every_name_is_there():
    for name in musicai.data.__all__:
        assert callable(getattr(musicai.data, name)) or name == "SPLITS", name
    assert musicai.data.download.__name__ == "download"
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = musicai.data.nothing


def test_import_is_light():
    heavy = ("music21", "librosa", "matplotlib", "scipy", "IPython", "symusic")
    code = f"import musicai.data, sys; print([name for name in {heavy} if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
