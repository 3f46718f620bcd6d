"""What a piece has in common with known tunes: the longest run is exact, copies are found, and new tunes pass."""

from dataclasses import replace

import numpy as np
import pytest

from musicai.composition import certify, longest_run
from musicai.composition.novelty import HUMAN
from musicai.notes import Melody, Note, Score, Track, write_score
from musicai.search import Lines, MelodyIndex


def random_tune(rng, notes, name="", scale=(0, 2, 4, 5, 7, 9, 11)):
    pitches = 60 + rng.choice(scale, notes)
    return Melody.from_pitches(pitches.tolist(), rng.choice([0.25, 0.5, 1 / 3, 1], notes).tolist(), name=name)


def same(a, i, b, j, n):
    """Whether n notes of two melodies, from i and from j on, are the same run, by the definition."""
    p, q = a.pitches[i : i + n], b.pitches[j : j + n]
    if len(p) < n or len(q) < n or not np.array_equal(np.diff(p), np.diff(q)):
        return False
    x, y = np.diff(a.starts[i : i + n]), np.diff(b.starts[j : j + n])
    return np.allclose(x[1:] / x[:-1], y[1:] / y[:-1], atol=1e-6)


def naive(melody, tunes):
    """The longest run in O(n m): from every pair of notes on, for as long as it goes."""
    best = 0
    for tune in tunes:
        for i in range(len(melody)):
            for j in range(len(tune)):
                n = max(best + 1, 3)
                while same(melody, i, tune, j, n):
                    best, n = n, n + 1
    return best


@pytest.mark.parametrize("seed", range(12))
def test_the_longest_run_is_the_one_of_the_definition(seed):
    rng = np.random.default_rng(seed)
    scale = (0, 2, 4) if seed % 2 else (0,) if seed == 4 else (0, 2, 4, 5, 7, 9, 11)
    tunes = [random_tune(rng, int(n), scale=scale) for n in rng.integers(1, 25, 6)]
    melody = random_tune(rng, 20, scale=scale)
    if seed > 5:  # with a copy, transposed and at another pace
        copied = [Note(n.pitch - 3, 4 + 2 * n.start, n.duration) for n in melody.notes[3 : 3 + seed]]
        tunes[2] = Melody(tuple(copied), name="copy")
    lines = Lines.from_pieces(tunes)
    length, here, there = longest_run(melody, lines)
    assert length == naive(melody, tunes)
    if length:
        i = int(np.searchsorted(lines.offsets, there, side="right")) - 1
        assert same(melody, here, tunes[i], there - lines.offsets[i], length)
        assert not any(same(melody, here, tunes[k], j, length) for k in range(i) for j in range(len(tunes[k])))


def test_a_run_never_crosses_from_one_tune_into_the_next():
    tune = Melody.from_pitches(range(60, 72))
    halves = [Melody.from_pitches(range(60, 66)), Melody.from_pitches(range(66, 72))]
    assert longest_run(tune, Lines.from_pieces(halves))[0] == 6


@pytest.fixture(scope="module")
def collection():
    rng = np.random.default_rng(0)
    tunes = [random_tune(rng, 60, f"Tune {i}") for i in range(40)]
    return tunes, MelodyIndex.build(tunes, ids=[f"t/{i}" for i in range(40)], progress=False)


def test_a_copy_is_found_in_any_key_and_at_any_pace(collection):
    tunes, index = collection
    stretched = tuple(replace(n, start=2 * n.start, duration=2 * n.duration) for n in tunes[7].notes)
    copy = replace(tunes[7], notes=stretched).transpose(5)
    novelty = certify(copy, index)
    assert not novelty.original
    assert novelty.longest == 60
    assert novelty.where == ("Tune 7", "t/7", 0.0, 0)
    assert (novelty.nearest[0].id, novelty.likeness) == ("t/7", pytest.approx(1, abs=0.02))
    assert "Not original" in str(novelty)
    assert "Tune 7" in str(novelty)


def test_a_stretch_in_the_middle_is_found_where_it_is(collection):
    tunes, index = collection
    rng = np.random.default_rng(5)
    before, after = random_tune(rng, 17), random_tune(rng, 11)
    part, shift = tunes[9].notes[20:40], before.duration - tunes[9].notes[20].start
    inner = [replace(note, start=note.start + shift) for note in part]
    end = inner[-1].end
    piece = Melody((*before.notes, *inner, *(replace(n, start=n.start + end) for n in after.notes)))
    novelty = certify(piece, index)
    assert 20 <= novelty.longest <= 24
    assert novelty.where.title == "Tune 9"
    assert abs(novelty.where.note - 17) <= 2
    assert novelty.where.start == tunes[9].notes[20 + novelty.where.note - 17].start
    assert not novelty.original


def test_a_copy_with_a_note_changed_here_and_there_is_not_original(collection):
    tunes, index = collection
    notes = [replace(n, pitch=n.pitch + 1) if i % 7 == 3 else n for i, n in enumerate(tunes[3].notes)]
    novelty = certify(Melody(tuple(notes)), index)
    assert novelty.longest <= HUMAN[1]
    assert novelty.nearest[0].id == "t/3"
    assert not novelty.original


def test_a_new_tune_is_original(collection):
    novelty = certify(random_tune(np.random.default_rng(9), 60), collection[1])
    assert novelty.original
    assert 3 <= novelty.longest < 12
    assert str(novelty).startswith("Original")


def test_a_score_is_judged_by_its_melody_and_a_file_by_what_is_in_it(collection, tmp_path):
    tunes, index = collection
    new = random_tune(np.random.default_rng(9), 60)
    accompaniment = Track(tunes[4].transpose(-24).notes, name="bass")
    song = Score((Track(new.notes, name="melody"), accompaniment))
    assert certify(song, index).original
    plain = Score((Track(new.notes, name="flute"), accompaniment))
    assert certify(plain, index).where.title == "Tune 4"  # a copy in any voice counts
    for name in ("song.mid", "song.musicxml", "song.abc"):
        write_score(tmp_path / name, tunes[4])
        assert certify(tmp_path / name, index).where[:3] == ("Tune 4", "t/4", 0.0)
    index_path = tmp_path / "tunes.index"
    MelodyIndex.build(tunes[:3], index_path, progress=False)
    assert certify(str(tmp_path / "song.mid"), index_path).original


def test_few_notes_are_no_copy_and_two_are_refused(collection):
    tunes, index = collection
    assert certify(Melody(tunes[0].notes[:5]), index).original  # anybody writes five notes like these
    with pytest.raises(ValueError, match="no line of three notes"):
        certify(Melody.from_pitches([60, 62]), index)
    with pytest.raises(FileNotFoundError):
        certify("nothing.mid", index)
    with pytest.raises(ValueError, match="a score's name ends in"):
        certify("nothing.wav", index)
