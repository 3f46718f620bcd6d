"""Truths about tunes in classes: nothing is lost, and bars, sections and pickups are those of the printed tune."""

from contextlib import suppress

import numpy as np
import pytest

from musicai.composition import Plan, TuneLayout, decode, encode
from musicai.composition.tunes import DURATIONS, LOWEST, PITCHES, REST, TICKS
from musicai.data import FolkCorpus
from musicai.data.folk import FolkTune
from musicai.notes import Melody, Note
from musicai.notes.abc import parse_tune

JIG = """X:1
T:Two parts
M:6/8
K:D
A|d2A B2A|1 F3 D2:|2 F3 D3||
|:e|f2e d2c|B3- B2:|
"""


@pytest.fixture(scope="module")
def corpus():
    return FolkCorpus(limit=150)


@pytest.fixture(scope="module")
def encoded(corpus):
    """The melodies that have classes, each with its tune."""
    pairs = []
    for melody in corpus:
        with suppress(ValueError):
            pairs.append((melody, encode(melody)))
    return pairs


def tune_of(text):
    return FolkTune(**parse_tune(text))


def notes(melody):
    return [(n.pitch, round(n.start * TICKS), round(n.end * TICKS)) for n in melody.notes]


def test_a_tune_comes_back_note_for_note(corpus, encoded):
    for melody, tune in encoded:
        again = decode(tune.durations, tune.pitches, tune.plan)
        assert notes(again) == notes(melody)
        assert again.time_signature == melody.time_signature
        assert encode(again).plan.tonic == tune.plan.tonic
        assert tune.layout.end == round(melody.duration * TICKS) == round(DURATIONS[tune.durations].sum() * TICKS)
        assert (tune.plan.range[0], tune.plan.range[1]) == (melody.pitches.min(), melody.pitches.max())
    assert len(corpus) - len(encoded) < 0.01 * len(corpus)


def test_bars_and_sections_of_the_corpus_add_up(corpus, encoded):
    regular = 0
    for _, tune in encoded:
        lines, starts, plan = np.array(tune.layout.lines), tune.layout.starts, tune.plan
        assert (np.diff(lines) > 0).all()
        assert lines[0] <= 0
        assert lines[-1] >= tune.layout.end
        assert list(starts) == sorted(set(starts))
        assert starts[0] == (plan.pickup > 0)
        assert starts[0] + sum(plan.sections) == len(lines) - 1
        regular += TuneLayout.of(plan) == tune.layout
    assert regular > 0.75 * len(corpus)  # the others have second endings, or a last bar that does not count the pickup


def test_bar_lines_are_those_of_the_text():
    row = parse_tune(JIG)
    assert row["bars"][:4] == ((0.5, "|"), (3.5, "|1"), (6.0, ":|2"), (9.0, "|| |:"))
    assert parse_tune(JIG, expand_repeats=True)["bars"] == ()


def test_an_ending_is_no_section_and_a_cut_bar_is_whole():
    tune = encode(tune_of(JIG))
    bar = 3 * TICKS
    # the pickup; a bar; the first ending (2.5 beats); the second; the next section begins with a pickup of its own
    assert tune.plan.pickup == 0.5
    assert tune.layout.lines[:4] == (12 - bar, 12, 12 + bar, 12 + bar + 60)
    assert len(tune.plan.sections) == 2
    plain = tune_of("X:1\nM:2/4\nL:1/8\nK:G\nD|G2B2|A2G:|d|e2d2|B2G:|")
    tune = encode(plain)
    assert tune.layout == TuneLayout.of(tune.plan)
    assert tune.plan.sections == (2, 2)
    assert tune.layout.starts == (1, 3)
    assert tune.layout.lines == (-36, 12, 60, 108, 156, 204)


def test_layout_of_a_plan():
    plan = Plan(7, "major", (9, 8), (4, 8))
    layout = TuneLayout.of(plan)
    assert layout.lines == tuple(range(0, 13 * 108, 108))
    assert layout.starts == (0, 4)
    assert layout.end == plan.length * TICKS == 12 * 108
    with_pickup = TuneLayout.of(Plan(7, "major", (9, 8), (4, 8), pickup=1.0))
    assert with_pickup.end == layout.end
    assert with_pickup.lines[:2] == (24 - 108, 24)
    assert with_pickup.starts == (1, 5)


def test_pitches_are_counted_from_the_tonic_in_any_octave():
    tune = encode(Melody.from_pitches([50, 53, 57], key="D minor"))
    high = encode(Melody.from_pitches([74, 77, 81], key="D minor"))
    assert (tune.pitches == high.pitches).all() or abs(tune.plan.base - high.plan.base) % 12 == 0
    assert [tune.plan.midi(p) for p in tune.pitches] == [50, 53, 57]
    assert tune.plan.base % 12 == 2
    transposed = encode(Melody.from_pitches([53, 56, 60], key="F minor"))
    assert (transposed.pitches - tune.pitches == transposed.pitches[0] - tune.pitches[0]).all()


def test_rests_are_notes_of_their_own_class():
    melody = Melody((Note(74, 1.0, 1.0), Note(76, 3.0, 0.5)), key="D major")
    tune = encode(melody)
    assert [int(p) for p in tune.pitches] == [REST, 12 - LOWEST, REST, 14 - LOWEST]
    assert notes(decode(tune.durations, tune.pitches, tune.plan)) == notes(melody)
    assert len(PITCHES) == REST


@pytest.mark.parametrize(("melody", "match"), [
    (Melody.from_pitches([60]), "has no key"),
    (Melody((), key="C major"), "has no notes"),
    (Melody.from_pitches([60], 5.5, key="C major"), "5.5000 beats is in no class"),
    (Melody.from_pitches([60], 0.1, key="C major"), "not on the grid of 24"),
    (Melody.from_pitches([36, 108], key="C major"), "outside"),
])  # fmt: skip
def test_what_no_class_fits_is_refused(melody, match):
    with pytest.raises(ValueError, match=match):
        encode(melody)
