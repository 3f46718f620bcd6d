"""The index of melodies: what goes in comes out and is found, and a damaged file says so."""

import io
import json
import subprocess
import sys
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from musicai.data.folk import FolkTune
from musicai.notes import Melody, Note, Score, Track
from musicai.search import Contour, Lines, MelodyIndex, Query, index
from musicai.search._scale import builder, circuits, planes, sliding, store

ODD = Melody(
    (
        Note(60, 0.5, 1 / 3),
        Note(127, 5 / 6, 1 / 3),
        Note(0, 7 / 6, 1 / 3),
        Note(61, 4, 0.0625),
        Note(62, 5, 7),
    ),
    'Ünïcode "quoted"\n/ 曲',
    "Bb minor",
    93.7,
    (12, 8),
)


def melody(seed: int, notes: int = 40, name: str = "") -> Melody:
    rng = np.random.default_rng(seed)
    lengths = rng.choice([0.25, 0.5, 0.5, 1.0, 1.5], notes)
    return Melody.from_pitches(60 + rng.integers(-8, 9, notes), lengths, name=name or f"Tune {seed}")


@pytest.fixture(scope="module")
def tunes() -> list[Melody]:
    return [melody(i, 20 + i % 50) for i in range(120)]


@pytest.fixture(scope="module")
def small(tunes) -> MelodyIndex:
    return MelodyIndex.build(tunes, progress=False)


@pytest.fixture(params=["every line", "places"])
def way(request, monkeypatch):
    if request.param == "places":
        monkeypatch.setattr(index, "EXHAUSTIVE", 0)


@pytest.mark.parametrize("where", ["a file", "memory"])
def test_pieces_come_back_exactly(tmp_path, where):
    path = tmp_path / "my.index" if where == "a file" else None
    made = MelodyIndex.build([ODD, melody(1)], path, progress=False)
    made = MelodyIndex.open(path) if path else made
    found = [made.find(piece)[0] for piece in (ODD, melody(1))]
    assert [match.id for match in found] == ["0", "1"]
    assert [match.piece for match in found] == [ODD, melody(1)]
    assert found[0].title == ODD.name
    assert len(made) == 2


@given(st.lists(st.tuples(st.integers(0, 127), st.floats(0.01, 4), st.floats(0, 4)), min_size=1, max_size=20))
@settings(max_examples=30)
def test_any_rhythm_comes_back_to_a_twenty_thousandth_of_a_beat(rows):
    notes, start = [], 0.0
    for pitch, duration, rest in rows:
        notes.append(Note(pitch, start, duration))
        start += duration + rest
    (line,) = [MelodyIndex.build([Melody(tuple(notes))], progress=False).lines]
    assert line.pitches.tolist() == [note.pitch for note in notes]
    assert np.abs(line.starts - [note.start for note in notes]).max() <= 1 / builder.TICKS
    assert np.abs(line.durations - [note.duration for note in notes]).max() <= 2 / builder.TICKS


def test_lines_are_those_of_the_pieces(tunes, small):
    expected = Lines.from_pieces(tunes)
    for name in ("offsets", "pieces", "pitches"):
        assert getattr(small.lines, name).tolist() == getattr(expected, name).tolist()
    assert np.allclose(small.lines.starts, expected.starts)
    assert np.allclose(small.lines.durations, expected.durations)


def test_lines_can_be_indexed_as_they_are(tunes):
    made = MelodyIndex.build([*tunes[:3], Lines.from_pieces(tunes[3:6]), tunes[6]], progress=False)
    assert len(made) == 7
    assert made.lines.pieces.tolist() == list(range(7))
    assert [made.find(tunes[i])[0].id for i in range(7)] == list("0123456")
    assert made.find(tunes[4])[0].title == ""
    assert made.find(tunes[6])[0].piece == tunes[6]


def test_many_rhythms_take_more_bytes(tmp_path):
    """Played music has thousands of different durations."""
    rng = np.random.default_rng(0)
    played = Melody.from_pitches(60 + rng.integers(0, 12, 2000), rng.uniform(0.1, 1, 2000))
    made = MelodyIndex.build([played], tmp_path / "played.index", progress=False)
    assert made._store["notes"].dtype == np.uint32
    assert np.allclose(made.lines.starts, played.starts, atol=1e-4)


def test_ids():
    folk = [FolkTune(melody(i).notes, "Same", collection="mine", number="7") for i in range(2)]
    made = MelodyIndex.build([*folk, melody(2)], progress=False)
    assert [made.find(piece)[0].id for piece in (*folk, melody(2))] == ["mine/7", "mine/7#1", "2"]
    named = MelodyIndex.build((melody(i) for i in range(2)), ids=["a/b.mid", "c.mid"], progress=False)
    assert named.find(melody(1))[0].id == "c.mid"
    with pytest.raises(ValueError, match="shorter"):
        MelodyIndex.build([melody(0), melody(1)], ids=["one"], progress=False)


def test_whoever_searches_for_notes_needs_no_torch(tunes, tmp_path):
    MelodyIndex.build(tunes, path := str(tmp_path / "tunes.index"), progress=False)
    asked = " ".join(map(str, tunes[7].pitches[:12]))
    find = ["find", asked, "--index", path]
    code = f"import sys; from musicai.cli import main; main({find}); print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "Tune 7  [7]" in run.stdout.splitlines()[0]
    assert not {"torch", "soundfile", "scipy.sparse"} & set(run.stdout.splitlines()[-1].split())


@pytest.mark.parametrize("rhythm", [True, False])
def test_exact_excerpts_are_found_at_any_key_and_tempo(way, tunes, small, rhythm):
    for i in range(0, 120, 7):
        first = (i * 5) % (len(tunes[i]) - 12)
        notes = slice(first, first + 12)
        pitches, starts = tunes[i].pitches[notes] + i % 11 - 5.0, (tunes[i].starts[notes] - 3) * 0.4
        best = small.find(Query(pitches, starts if rhythm else None))[0]
        assert (best.id, best.transposition) == (str(i), 5 - i % 11)
        assert best.start == pytest.approx(tunes[i].notes[first].start)
        assert best.end == pytest.approx(tunes[i].notes[first + 11].end)
        assert best.pairs.tolist() == [[j, first + j] for j in range(12)]
        assert best.tempo_ratio == pytest.approx(2.5) if rhythm else np.isnan(best.tempo_ratio)
        assert best.piece == tunes[i]
        assert 0 <= best.probability <= 1


def test_mistakes_are_forgiven(way, tunes, small):
    for i in range(0, 120, 9):
        pitches = np.delete(tunes[i].pitches[:18].astype(float), 12)
        pitches[5] += 3
        assert small.find(Query(pitches))[0].id == str(i)


def test_both_ways_agree_on_the_best(tunes, small, monkeypatch):
    queries = [Query(tune.pitches[2:16].astype(float), tune.starts[2:16]) for tune in tunes[::10]]
    every = [small.find(query, k=1)[0] for query in queries]
    monkeypatch.setattr(index, "EXHAUSTIVE", 0)
    some = [small.find(query, k=1)[0] for query in queries]
    assert [(m.id, m.start, m.score) for m in every] == [(m.id, m.start, m.score) for m in some]


@pytest.mark.parametrize("compared", [20_000, 60])
def test_contours_are_found(tunes, small, compared, monkeypatch):
    monkeypatch.setattr(index, "SUNG", compared)  # lines, of 120
    rate = 20.0
    for i in (30, 77):
        length = tunes[i].notes[24].start
        which = np.searchsorted(tunes[i].starts, np.arange(0, length, 2 / rate), side="right") - 1
        pitches = (tunes[i].pitches[which] - 3).astype(np.float32)  # two beats per second
        best = small.find(Contour(pitches, np.ones_like(pitches), rate))[0]
        assert (best.id, best.transposition) == (str(i), 3)
        assert best.start == pytest.approx(0, abs=0.6)
        assert best.pairs.shape == (0, 2)


def test_one_long_note_is_found_nowhere_in_a_large_collection(small, monkeypatch):
    monkeypatch.setattr(index, "SUNG", 60)
    hum = Contour(np.full(40, 60, np.float32), np.ones(40, np.float32), 20.0)
    assert small.find(Query(np.empty(0), contours=(hum,))) == []


def test_a_score_is_one_match_by_its_best_line(way):
    high, low = melody(1), melody(2).transpose(-24)
    score = Score((Track(high.notes), Track(low.notes)), name="Duet", key="G major", tempos=((0, 66),))
    made = MelodyIndex.build([melody(3), score], progress=False)
    assert len(made) == 2
    for voice in (high, low):
        first, *others = made.find(voice)
        assert (first.title, first.id, first.piece.tempo, first.piece.key) == ("Duet", "1", 66, "G major")
        assert first.piece.notes == voice.notes
        assert "1" not in [match.id for match in others]


def test_equals_are_in_the_order_of_the_collection(way):
    made = MelodyIndex.build([melody(1, name=f"Copy {i}") for i in range(6)], progress=False)
    assert [match.title for match in made.find(melody(1), k=4)] == [f"Copy {i}" for i in range(4)]
    assert len(made.find(melody(1), k=100)) == 6


def test_best_first(way, tunes, small):
    scores = [match.score for match in small.find(tunes[5], k=30)]
    assert scores == sorted(scores, reverse=True)


@pytest.mark.parametrize("notes", [[], [60], [60, 62]])
def test_too_short_a_query_is_refused(small, notes):
    with pytest.raises(ValueError, match="at least 3"):
        small.find(Query(np.array(notes, dtype=float)))


def test_no_matches_cannot_be_asked_for(small):
    with pytest.raises(ValueError, match="k=0"):
        small.find([60, 62, 64], k=0)


def test_tiny_collections(way):
    assert MelodyIndex.build([], progress=False).find([60, 62, 64]) == []
    assert MelodyIndex.build([Melody(())], progress=False).find([60, 62, 64]) == []
    made = MelodyIndex.build([Melody(()), Melody.from_pitches([60]), melody(1, 5), Melody(())], progress=False)
    assert len(made) == 4
    assert made.find(melody(1, 5))[0].id == "2"


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> bytes:
    path = tmp_path_factory.mktemp("index") / "whole.index"
    MelodyIndex.build([melody(i, 12) for i in range(3)], path, progress=False)
    return path.read_bytes()


def test_a_file_cut_anywhere_is_refused(whole):
    for size in range(len(whole)):
        with pytest.raises(ValueError, match=r"my\.index (is empty|is cut short)"):
            store.Store(io.BytesIO(whole[:size]), "my.index")


def test_other_files_are_refused(tmp_path, whole):
    path = tmp_path / "my.index"
    cases = {
        "is not an index": b"RIFF" + whole[4:],
        "of version 99": whole[:16] + (99).to_bytes(4, "little") + whole[20:],
        "is damaged": whole[:40] + b"?" + whole[41:],
        "damaged; build": whole + b"more",
        "is empty": b"",
    }
    for message, content in cases.items():
        path.write_bytes(content)
        with pytest.raises(ValueError, match=message) as caught:
            MelodyIndex.open(path)
        assert "my.index" in str(caught.value)
        assert "MelodyIndex.build" in str(caught.value)
    for missing in (tmp_path / "none.index", tmp_path):
        with pytest.raises(FileNotFoundError, match="no such index"):
            MelodyIndex.open(missing)


def test_the_header_is_plain(whole):
    _, _, size, length, checksum = store.FRONT.unpack(whole[: store.FRONT.size])
    assert size == len(whole)
    header = whole[store.FRONT.size :][:length]
    assert zlib.crc32(header) == checksum
    assert json.loads(header)["pieces"][:2] == ["<i4", 3]


def test_a_failed_build_leaves_the_old_file(tmp_path):
    path = tmp_path / "my.index"
    MelodyIndex.build([melody(1)], path, progress=False)

    def broken():
        yield melody(2)
        raise RuntimeError("no more tunes")

    with pytest.raises(RuntimeError, match="no more tunes"):
        MelodyIndex.build(broken(), path, progress=False)
    assert MelodyIndex.open(path).find(melody(1))[0].title == "Tune 1"
    assert [item.name for item in tmp_path.iterdir()] == ["my.index"]
    with pytest.raises(FileNotFoundError, match="no folder"):
        MelodyIndex.build([melody(1)], tmp_path / "none" / "my.index", progress=False)


def slid(symbols: np.ndarray, wanted: np.ndarray, worths: np.ndarray) -> list[int]:
    """For each place, the worth of what agrees there, plainly; after every few notes it may move on by one place."""
    notes, edge = len(wanted), planes.BEFORE
    padded = np.concatenate([np.full(edge, sliding.END), symbols, np.full(edge + notes, sliding.END)]).astype(int)
    total = np.zeros(len(symbols) + 2 * edge, int)
    for first in range(0, notes, sliding.GROUP):
        if first:
            near = np.maximum(np.maximum(total[:-2], total[2:]) - circuits.SLIP, 0)
            total[1:-1] = np.maximum(total[1:-1], near)
        for k in range(first, min(first + sliding.GROUP, notes)):
            here = padded[k : k + len(total)]
            total += worths[0, k] * (here >> 3 == wanted[k] >> 3) + worths[1, k] * (here & 7 == wanted[k] & 7)
    return total[edge : edge + len(symbols)].tolist()


def symbols_in(index: MelodyIndex) -> np.ndarray:
    """The symbols of all notes, which follow from the lines as `symbols_of` says."""
    lines = index.lines
    steps = np.diff(lines.starts, append=0)
    lasts = lines.offsets[1:] - 1
    steps[lasts] = lines.durations[lasts]
    return sliding.symbols_of(lines.pitches, steps, lasts)


def test_planes_hold_the_symbols_of_all_notes(small):
    """The lanes of a block are stretches of the collection, with what lies before and after each."""
    symbols = symbols_in(small)
    blocks, rows = planes.divide(len(symbols))
    words = small._store["planes"].reshape(blocks, planes.BEFORE + rows + planes.AFTER, planes.BITS, planes.WORDS)
    padded = np.full((blocks * planes.LANES + 1) * rows + planes.BEFORE + planes.AFTER, sliding.END)
    padded[planes.BEFORE :][: len(symbols)] = symbols
    rng = np.random.default_rng(0)
    for lane, row in zip(
        rng.integers(0, blocks * planes.LANES, 500), rng.integers(0, words.shape[1], 500), strict=True
    ):
        block, word, bit = lane // planes.LANES, lane % planes.LANES // 64, int(lane % 64)
        found = sum(int(words[block, row, k, word]) >> bit & 1 and 1 << k for k in range(planes.BITS))
        assert found == padded[lane * rows + row]


@pytest.mark.parametrize("notes", [3, 4, 9, 16, 24])
@pytest.mark.parametrize("rhythm", [True, False])
@pytest.mark.parametrize("rows", [2, 1024])
def test_places_are_those_where_most_agrees(tunes, notes, rhythm, rows, monkeypatch):
    monkeypatch.setattr(planes, "ROWS", rows)  # of many blocks or of one
    small = MelodyIndex.build(tunes, progress=False)
    pitches, starts = tunes[7].pitches[3 : 3 + notes] + 4.0, tunes[7].starts[3 : 3 + notes] if rhythm else None
    symbols = symbols_in(small)
    steps = np.ones(notes) if starts is None else np.diff(starts, append=starts[-1])
    wanted = sliding.symbols_of(pitches, steps, np.array([notes - 1]))[:-1]
    bits = sliding.weigh(wanted, small._store["symbol_counts"])
    bits[1] *= rhythm
    told = {(row, k): bits[row, k : k + 4].sum() for row in (0, 1) for k in range(0, notes - 1, 4)}
    for row, k in told:
        if sum(other > told[row, k] for other in told.values()) >= sliding.MOST:
            bits[row, k : k + 4] = 0
    worths = np.rint(bits * min(sliding.UNIT, sliding.FULL / bits.sum())).clip(0, 2**circuits.WORTH - 1).astype(int)
    scores = np.array(slid(symbols, wanted.astype(int), worths))
    for count in (3, 20):
        found = sliding.find_places(small._store, pitches, starts, count)
        assert len(found) <= count
        least = np.sort(scores)[-count - 1]  # as many places have more
        assert found.tolist() == np.flatnonzero(scores > least).tolist()


def test_a_version_whose_parts_are_swapped_or_not_repeated_is_found(way, small):
    sections = [melody(500, 36), melody(501, 36)]

    def joined(*order: int) -> Melody:
        return Melody.from_pitches(
            [pitch for i in order for pitch in sections[i].pitches.tolist()],
            [length for i in order for length in sections[i].durations.tolist()],
        )

    others = [melody(600 + i, 72) for i in range(30)]
    made = MelodyIndex.build([*others, joined(0, 1)], progress=False)
    for order in ((0, 1), (1, 0), (0, 0, 1, 1)):
        match = made.find(joined(*order).transpose(3))[0]
        assert match.id == "30"
        assert match.probability > 0.9


@pytest.mark.parametrize("notes", [41, 1_500, 4_000])
def test_long_queries_get_as_many_answers_as_short_ones(way, small, tunes, notes):
    query = Melody.from_pitches(np.resize(tunes[49].pitches, notes), np.resize(tunes[49].durations, notes))
    found = small.find(query, k=5)
    assert len(found) == 5
    assert found[0].id == "49"
