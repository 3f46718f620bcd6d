"""A collection in LanceDB gives the answers that the one-machine index gives. Skipped without the extra `scale`."""

import numpy as np
import pytest

from musicai.notes import Melody, Note, Score, Track
from musicai.search import MelodyIndex

pytest.importorskip("lancedb", reason="the extra `scale` is not installed")
pytest.importorskip("lance_ray", reason="the extra `scale` is not installed")


def tune(seed: int, notes: int = 60) -> Melody:
    rng = np.random.default_rng(seed)
    pitches = 60 + np.cumsum(rng.integers(-4, 5, notes)) % 24
    durations = rng.choice([0.5, 1.0, 1.5], notes)
    return Melody.from_pitches(
        pitches.tolist(), durations.tolist(), name=f"Tune {seed}", key="D major", tempo=90 + seed
    )


@pytest.fixture(scope="module")
def pieces() -> list:
    duet = Score((Track(tune(1000).notes), Track(tune(1001).transpose(-24).notes)), name="Duet")
    return [*(tune(seed) for seed in range(120)), duet]


@pytest.fixture(scope="module")
def indices(pieces, tmp_path_factory) -> tuple[MelodyIndex, MelodyIndex]:
    from musicai.search._scale import lance

    address = f"lance://{tmp_path_factory.mktemp('lance')}"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lance, "BLOCK", 50)  # several files and index segments
        lance.write_lance(pieces, address, ids=[f"no. {i}" for i in range(len(pieces))], workers=2)
    here = MelodyIndex.build(pieces, ids=[f"no. {i}" for i in range(len(pieces))], progress=False)
    return here, MelodyIndex.open(address)


@pytest.mark.parametrize("few", [0, 1000], ids=["full text", "all pieces"])
def test_same_answers_as_one_machine(indices, pieces, monkeypatch, few):
    from musicai.search._scale import lance

    monkeypatch.setattr(lance, "FEW", few)
    here, there = indices
    vars(there).pop("_few", None)
    assert len(here) == len(there) == len(pieces)
    rng = np.random.default_rng(0)
    for i in rng.integers(len(pieces), size=10).tolist():
        line = pieces[i] if isinstance(pieces[i], Melody) else tune(1001).transpose(-24)
        first = int(rng.integers(len(line) - 12))
        query = Melody(line.notes[first : first + 12]).transpose(3)
        ours, theirs = here.find(query), there.find(query)
        assert theirs[0].id == ours[0].id == f"no. {i}"
        if few:
            assert [match.id for match in theirs] == [match.id for match in ours]
        best, same = theirs[0], ours[0]
        assert best.title == same.title == pieces[i].name
        assert best.piece == same.piece
        assert best.unlikely == same.unlikely
        assert (best.start, best.end, best.transposition) == (same.start, same.end, same.transposition)


@pytest.mark.parametrize("few", [0, 1000], ids=["full text", "all pieces"])
def test_errors(indices, tmp_path, monkeypatch, few):
    from musicai.search._scale import lance

    monkeypatch.setattr(lance, "FEW", few)
    vars(indices[1]).pop("_few", None)
    for query, k, problem in (([60, 62], 10, "give at least 3, not 2"), ([60, 62, 64, 65, 67], 0, "at least 1")):
        with pytest.raises(ValueError, match=problem):
            indices[1].find(query, k)
    with pytest.raises(FileNotFoundError, match="no table 'melodies'"):
        MelodyIndex.open(f"lance://{tmp_path}/nothing")


def test_addresses(tmp_path, monkeypatch):
    from musicai.search._scale.lance import _folder

    monkeypatch.chdir(tmp_path)
    assert _folder("lance://s3://bucket/music/") == "s3://bucket/music"
    assert _folder("lance:///data/folk") == "/data/folk"
    assert _folder("lance://folk") == str(tmp_path / "folk")


def test_words_are_those_of_the_readable_definition():
    from musicai.search._scale.lance import _words
    from musicai.search.ngrams import words_of

    melody, other = tune(5), tune(6)
    readable = [(pattern, intervals) for _, pattern, intervals, _ in words_of(melody.pitches)]
    words = _words(melody.pitches).split()
    assert len(words) == len(readable)
    assert len(set(zip(words, readable, strict=True))) == len(set(words)) == len(set(readable))
    assert words == _words(melody.transpose(5).pitches).split() != _words(other.pitches).split()
    assert _words([60, 62]) == ""


def test_notes_survive_the_table():
    from musicai.search._scale.lance import _blocks, _lines

    pieces = [tune(3), Score((Track([Note(60, 0, 1)]), Track([Note(67, 0, 2), Note(69, 2, 1)]))), tune(4)]
    (block,) = _blocks(pieces, None)
    lines = _lines(block)
    from musicai.search.lines import Lines

    for name, values in vars(Lines.from_pieces(pieces)).items():
        assert np.array_equal(getattr(lines, name), values), name
