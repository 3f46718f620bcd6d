"""Made-up millions: excerpts of real tunes, transposed; the names of `musicai.data`."""

import subprocess
import sys

import numpy as np
import pytest

import musicai.data
from musicai.data import ShardedMelodies, variations, write_shards
from musicai.notes import Melody


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
