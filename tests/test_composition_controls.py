"""What a song may be asked for: known answers, and one clear error for everything that cannot be had."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from musicai.composition import Song, closeness, density, lay_out, source_melody, syncopation
from musicai.composition.controls import Controls, metric_levels, read_key, read_meter, scale_of
from musicai.composition.requests import read_controls, read_form, read_range
from musicai.composition.sources import cut, find_form, find_pickup, play_out
from musicai.notes import Melody, Note, Score, Track, read_score, write_score

MODES = ["major", "dorian", "phrygian", "lydian", "mixolydian", "minor", "locrian"]  # from C, D, E, ... on white keys
TUNE = Melody.from_pitches([67, 69, 71, 72, 74, 71, 67, 69] * 4, [1, 0.5, 0.5, 2] * 8, key="G major", tempo=90)


def test_metric_levels_of_common_time():
    levels = metric_levels((4, 4))[::12]  # eighths: bar, half bar, beats, between
    assert levels.tolist() == [6, 3, 4, 3, 5, 3, 4, 3]
    assert metric_levels((3, 4))[::24].tolist() == [5, 4, 4]
    assert metric_levels((4, 4))[8] == metric_levels((4, 4))[12]  # a triplet ranks with the eighth


@pytest.mark.parametrize(
    ("meter", "durations", "expected"),
    [
        ((4, 4), [1, 1, 1, 1], 0),
        ((4, 4), [0.5, 1, 1, 1, 0.5], 3 / 5),
        ((4, 4), [1, 2, 1], 1 / 3),  # over the half bar
        ((3, 4), [1, 2], 0),  # the second and the third beat are equally strong
        ((6, 8), [0.5, 1, 0.5, 1], 0),
        ((6, 8), [1, 1, 1], 1 / 3),  # over the second beat
        ((4, 4), [1 / 3] * 12, 0),
        ((4, 4), [1 / 3, 2 / 3, 1, 2], 0),
        ((4, 4), [3, 2, 3], 2 / 3),  # over the bar line and over the half bar
    ],
)
def test_syncopation_counted_by_hand(meter, durations, expected):
    melody = Melody.from_pitches([60] * len(durations), durations, time_signature=meter)
    assert syncopation(melody) == pytest.approx(expected)


def test_syncopation_counts_from_the_first_bar_line():
    melody = Melody.from_pitches([60] * 3, [1, 2, 2])
    assert syncopation(melody, pickup=1) == 0
    assert syncopation(melody) == pytest.approx(2 / 3)


def test_closeness_is_symmetric_and_exact():
    other = Melody(TUNE.notes[::2])
    assert closeness(TUNE, TUNE) == 1
    assert closeness(TUNE, other) == closeness(other, TUNE) == pytest.approx(2 * 16 / 48)
    assert closeness(TUNE, TUNE.transpose(1)) == 0
    assert density(TUNE) == 1
    assert math.isnan(density(Melody(())))
    assert math.isnan(syncopation(Melody(())))


def test_scales_are_the_white_keys():
    white = [0, 2, 4, 5, 7, 9, 11]
    for start, mode in zip(white, MODES, strict=True):
        assert scale_of(mode) == sorted((w - start) % 12 for w in white)


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("D dorian", "D dorian"), ("d", "D major"), ("Bbm", "Bb minor"), ("F# Ionian", "F# major"), ("CM", "C major"),
        ("g♯ aeolian", "G# minor"), ("A mix", "A mixolydian"), ("B# major", "C major"), ("Eb-lydian", "Eb lydian"),
    ],
)  # fmt: skip
def test_keys_are_read_as_people_write_them(text, key):
    assert read_key(text) == key


def test_forms_and_metres():
    assert read_form("aaba’") == ("A", "A", "B", "A'")
    assert read_meter(" 12 / 8 ") == read_meter([12, 8]) == (12, 8)
    assert read_range(("C4", 67), 0, "major") == (60, 67)
    for limits in (("c4", "h4"), ("do4", "Si4"), [60, "Ces5"], ("C4", "B4")):
        assert read_range(limits, 0, "major") == (60, 71)
    assert read_range(("H3", "B4"), 4, "minor") == (59, 70)  # as in German


HOSTILE = {
    "key": ["H major", "D dorish", "", 3, "D dorian extra", "Dd", ["D"], "C" * 5000, "Ddor major"],
    "meter": ["6/7", "0/4", "4/0", "4", (4, 4, 4), 6, "33/2", "1/16", (4.5, 4), ("a", 4), "6/8/2", (10**400, 4), ""],
    "tempo": [0, -1, math.nan, math.inf, "fast", 1e9, True, [120], 10**400],
    "bars": [0, -4, 2.5, math.nan, math.inf, 10**9, "16", True, 257],
    "form": ["AABB?", "", "A'B", "BA'", 4, "'", "A B", "A" * 300],
    "range": [("D4", "E4"), ("B5", "D4"), ("D4",), "D4", "DB", ("C", "G"), 60, ("D4", "x"), (math.nan, 70), (60, 200),
              ("D4", 10**400), ("D4", ""), ()],
    "density": [0, -1, math.nan, 100, "dense", True],
    "syncopation": [-0.1, 1.1, math.nan, "some", 10**400],
    "closeness": [-0.1, 1.1, math.nan, "near", None.__class__],
    "voices": [0, 2, 3, 5, "four", True, math.nan],
    "chords": ["yes", 1, 2.0, math.nan],
    "strict": ["no", 0],
    "temperature": [0, -1, math.nan, 100, "hot"],
    "seed": [-1, 1.5, "one", math.nan, 2**70],
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_what_cannot_be_had_is_refused_by_name(name):
    for value in HOSTILE[name]:
        with pytest.raises(ValueError, match=f"{name}=.*: give") as error:
            read_controls(TUNE, {name: value})
        assert len(str(error.value)) < 300


def test_refusals_say_what_would_fit():
    with pytest.raises(ValueError, match=r"form='AABB'.*bars=10: give 8 or 12 bars"):
        read_controls(None, {"bars": 10, "form": "AABB"})
    with pytest.raises(ValueError, match=r"bars=4: give 8 bars"):
        read_controls(None, {"bars": 4, "form": "AABA'"})
    with pytest.raises(ValueError, match="such as D4 to A4"):
        read_controls(None, {"range": ("D4", "G4"), "key": "D minor"})
    with pytest.raises(ValueError, match="such as Bb3 to F4"):
        read_controls(None, {"range": ("A3", "D4"), "key": "Bb major"})
    with pytest.raises(ValueError, match="without one, there is nothing to be close to"):
        read_controls(None, {"closeness": 0.5})


def test_defaults_come_from_the_source():
    found = read_controls(TUNE, {})
    assert (found.key, found.meter, found.tempo, found.bars, found.form) == ("G major", (4, 4), 90, 8, ("A", "A"))
    assert (found.range, found.density, found.syncopation, found.closeness) == ((65, 76), 1.0, 0.0, 0.5)


def test_defaults_without_a_source():
    found = read_controls(None, {"bars": 6})
    assert (found.key, found.meter, found.tempo, found.form) == ("D major", (4, 4), 120.0, ("A", "B"))
    assert math.isnan(found.density)
    assert read_controls(None, {"form": "ABACA"}).bars == 30
    assert read_controls(None, {"bars": 1}).form == ("A",)


@settings(deadline=None, max_examples=200)
@given(
    name=st.sampled_from(sorted(HOSTILE)),
    value=st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=12)
    | st.tuples(st.integers(), st.text()),
)
def test_any_value_gives_controls_or_one_clear_error(name, value):
    try:
        found = read_controls(TUNE, {name: value})
    except ValueError as error:
        assert name in str(error)  # noqa: PT017
    else:
        assert isinstance(found, Controls)


def test_sources_that_are_none_are_refused():
    for source in ("", "   ", 5, list, "hello world", [], [60, "x"], object(), b"EFG", Melody(())):
        with pytest.raises(ValueError, match=r"give|no notes"):
            source_melody(source)


def test_sources_of_every_kind(tmp_path):
    write_score(tmp_path / "tune.musicxml", TUNE)
    score = Score((Track(TUNE.notes), Track([Note(36, 0, 4)])), key="G major")
    for source in (TUNE, score, tmp_path / "tune.musicxml", str(tmp_path / "tune.musicxml")):
        found = source_melody(source)
        assert found.pitches.tolist() == TUNE.pitches.tolist()
        assert found.key == "G major"
    assert source_melody("E4 E4 F4 G4 G4 F4 E4 D4 C4 C4").key == "C major"
    assert source_melody([64, 65, 67]).durations.tolist() == [0.5] * 3
    song = Song(TUNE, read_controls(TUNE, {}))
    assert source_melody(song) == source_melody(TUNE)
    write_score(tmp_path / "song.mid", song)
    assert read_score(tmp_path / "song.mid").tracks[0].name == "melody"
    write_score(tmp_path / "empty.mid", Score([]))
    with pytest.raises(ValueError, match=r"the source '.*empty\.mid' has no notes"):
        source_melody(tmp_path / "empty.mid")


def test_a_pickup_is_found():
    waltz = Melody.from_pitches(
        [67, 72, 72, 72, 74, 76, 72, 67], [1, 2, 1, 2, 1, 2, 1, 3], key="C major", time_signature=(3, 4)
    )
    assert find_pickup(waltz) == 1
    assert find_pickup(TUNE) == 0


def test_forms_are_found():
    a, b, c = [60, 62, 64, 65], [67, 65, 64, 62], [72, 71, 69, 67]
    for form in ("AABB", "AABA", "ABAC"):
        pitches = [pitch for letter in form for pitch in {"A": a, "B": b, "C": c}[letter] * 4]
        melody = Melody.from_pitches(pitches, 1, key="C major")
        assert "".join(find_form(melody)) == form


def test_a_source_whose_notes_are_no_ticks_long_is_cut():
    """A folk tune's quintuplets: a fifth of half a beat ends between ticks, and its follower begins on the first."""
    lengths = [0.1] * 5 + [0.5] + [1] * 31
    melody = Melody.from_pitches([60, 62, 64, 65, 67, 60] + [60, 64, 67] * 10 + [60], lengths, key="C major")
    rows = cut(melody, 96, 8)
    assert [len(part) for part in rows] == [9] + [4] * 7
    for part in rows:
        assert (np.diff(part.starts) >= part.durations[:-1] - 1e-9).all()
    tiny = Melody((Note(60, 0, 0.01), Note(62, 0.01, 0.99)), key="C major")
    assert cut(tiny, 96, 1)[0].pitches.tolist() == [62]


def asked(key="G major", meter=(4, 4), bars=8, form="AA", limits=(55, 86), **rest) -> Controls:
    return Controls(key, meter, 90.0, bars, tuple(form), limits, **rest)


def test_a_source_laid_out_in_its_own_place_is_itself():
    for form in ("AA", "A"):
        request = asked(form=form)
        assert play_out(lay_out(TUNE, request), request).notes == TUNE.notes


@pytest.mark.parametrize("key", ["A major", "F# major", "C major", "Db major"])
def test_a_source_is_transposed_by_the_smallest_interval(key):
    found = lay_out(TUNE, asked(key))
    steps = found.pitches - TUNE.pitches[: len(found)]
    assert len(set(steps.tolist())) == 1
    assert -6 <= steps[0] <= 6


def test_steps_of_the_scale_follow_the_mode():
    scale = Melody.from_pitches([60, 62, 64, 65, 67, 69, 71, 72, 66, 60], 0.8, key="C major")
    found = lay_out(scale, asked("C phrygian", bars=2, form="A", limits=(55, 86)))
    assert found.pitches.tolist() == [60, 61, 63, 65, 67, 68, 70, 72, 66, 60]
    strict = lay_out(scale, asked("C phrygian", bars=2, form="A", limits=(55, 86), strict=True))
    assert strict.pitches.tolist()[8] == 65


def test_notes_out_of_range_are_folded():
    found = lay_out(TUNE, asked(limits=(43, 54)))
    assert set((found.pitches % 12).tolist()) == set((TUNE.pitches % 12).tolist())
    assert 43 <= found.pitches.min() <= found.pitches.max() <= 54


def test_bars_are_scaled_into_another_metre():
    found = lay_out(TUNE, asked(meter=(6, 8), form="A"))
    assert found.starts[:4].tolist() == [0, 0.5, 1, 1.5]
    assert found.duration == 24
    assert np.allclose(found.starts * 2, np.rint(found.starts * 2))
