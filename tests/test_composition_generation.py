"""Hard controls hold whatever the model says: random logits, checked by code that shares nothing with the generator."""

import math

import numpy as np
import pytest
from composition_helpers import RandomWriter
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import musicai
from musicai.composition import density, generation, songs, syncopation
from musicai.composition.controls import closeness
from musicai.notes import Melody

LETTERS = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
WHITE = {"major": "C", "dorian": "D", "phrygian": "E", "lydian": "F", "mixolydian": "G", "minor": "A", "locrian": "B"}
BARS_EACH = {"A": 8, "AB": 4, "AABB": 2, "ABA'": 3, "AA'BB'": 4, "ABACA''": 2, "AAAA": 1}
TUNE = Melody.from_pitches(
    [67, 69, 71, 72, 74, 71, 67, 69, 67, 66, 64, 62] * 4, [1, 0.5, 0.5, 1, 0.5, 0.5] * 8, key="G major", tempo=90
)


@pytest.fixture(autouse=True)
def random_model(monkeypatch):
    use_random_logits(monkeypatch)


def use_random_logits(monkeypatch):
    monkeypatch.setattr(generation, "TuneWriter", RandomWriter)
    monkeypatch.setattr(songs, "load_model", lambda: None)
    monkeypatch.setattr(songs, "DRAFTS", 2)


def scale(tonic: str, mode: str) -> set[int]:
    """The white keys from the mode's own white key, moved to the tonic."""
    start = LETTERS[WHITE[mode]]
    here = LETTERS[tonic[0]] + tonic.count("#") - tonic.count("b")
    return {(white - start + here) % 12 for white in LETTERS.values()}


def sections(melody: Melody, count: int, span: float) -> list[list[tuple]]:
    """The notes of each equal part, with times from its beginning."""
    parts = [[] for _ in range(count)]
    for note in melody.notes:
        i = math.floor(note.start / span + 1e-9)
        assert note.end <= (i + 1) * span + 1e-9, f"{note} crosses the end of its section"
        parts[i].append((note.pitch, round(note.start - i * span, 6), round(note.duration, 6)))
    return parts


def kept_bars(one: list[tuple], two: list[tuple], bar: float, bars: int) -> int:
    split = [[[n for n in part if math.floor(n[1] / bar + 1e-9) == i] for i in range(bars)] for part in (one, two)]
    return sum(a == b for a, b in zip(*split, strict=True))


def labels(form: str) -> list[str]:
    return [
        form[i] + "'" * (len(form[i + 1 :]) - len(form[i + 1 :].lstrip("'")))
        for i in range(len(form))
        if form[i] != "'"
    ]


def check(melody: Melody, form: str, bars: int, meter: tuple[int, int], low: int, high: int) -> None:
    bar, names = meter[0] * 4 / meter[1], labels(form)
    assert melody.time_signature == meter
    assert melody.notes[0].start == 0
    assert melody.duration == pytest.approx(bars * bar, abs=1e-9)
    assert low <= min(melody.pitches)
    assert max(melody.pitches) <= high
    assert np.allclose(melody.starts * 24, np.rint(melody.starts * 24))
    parts = sections(melody, len(names), bars // len(names) * bar)
    for name, part in zip(names, parts, strict=True):
        assert part == parts[names.index(name)]
        if "'" in name:
            base = parts[names.index(name[0])]
            assert part != base
            assert kept_bars(part, base, bar, bars // len(names)) >= bars // len(names) / 2


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    tonic=st.sampled_from(["C", "F#", "Bb", "E", "Ab"]),
    mode=st.sampled_from(sorted(WHITE)),
    meter=st.sampled_from([(4, 4), (6, 8), (2, 4), (3, 4), (9, 8), (2, 2), (3, 8), (5, 4), (7, 16), (12, 8), (3, 2)]),
    form=st.sampled_from(sorted(BARS_EACH)),
    low=st.integers(40, 72),
    width=st.integers(12, 36),
    strict=st.booleans(),
    near=st.none() | st.floats(0.01, 0.99),
    dense=st.none() | st.floats(0.3, 4),
    swing=st.none() | st.floats(0, 0.5),
    seed=st.integers(0, 2**40),
)
def test_hard_controls_hold_for_any_model(tonic, mode, meter, form, low, width, strict, near, dense, swing, seed):
    bars = BARS_EACH[form] * len(labels(form))
    found = musicai.compose(
        None if near is None else TUNE, key=f"{tonic} {mode}", meter=meter, tempo=101.5, bars=bars, form=form,
        range=(low, low + width), density=dense, syncopation=swing, closeness=near, strict=strict, seed=seed,
    )  # fmt: skip
    check(found.melody, form, bars, meter, low, low + width)
    assert found.melody.tempo == 101.5
    name, kind = found.melody.key.split()
    assert scale(name, kind) == scale(tonic, mode)
    assert kind == mode
    if strict:
        assert set((found.melody.pitches % 12).tolist()) <= scale(tonic, mode)


@pytest.mark.parametrize("meter", [(4, 4), (6, 8), (3, 4), (5, 8)])
@pytest.mark.parametrize("form", ["AABB", "ABA'C"])
def test_full_closeness_is_the_source_under_the_same_hard_controls(meter, form):
    found = musicai.compose(TUNE, key="E dorian", meter=meter, bars=16, form=form, closeness=1, range=("D4", "D6"))
    bar = meter[0] * 4 / meter[1]
    assert found.controls["closeness"] == (1.0, 1.0)
    assert found.melody.duration == pytest.approx(16 * bar)
    assert set((found.melody.pitches % 12).tolist()) <= scale("E", "dorian")
    sections(found.melody, 4, 4 * bar)


def test_no_closeness_forgets_the_source():
    rest = {"key": "D minor", "meter": "3/4", "bars": 8, "form": "AB", "range": ("C4", "C6"), "density": 1.5, "seed": 7}
    without = musicai.compose(None, **rest, syncopation=0.1)
    assert musicai.compose(TUNE, **rest, syncopation=0.1, closeness=0).melody.notes == without.melody.notes


def test_a_seed_is_a_song_and_other_seeds_are_others():
    one, two = (musicai.compose(TUNE, bars=8, seed=4) for _ in range(2))
    assert one.melody == two.melody
    others = one.variations(3)
    assert len({one.melody, *(other.melody for other in others)}) == 4
    assert [other.melody for other in others] == [other.melody for other in one.variations(3)]
    surprise = musicai.compose(None, bars=4, seed=None)
    again = musicai.compose(None, bars=4, seed=surprise.controls["seed"][0])
    assert surprise.melody == again.melody


def test_a_draft_does_not_depend_on_its_neighbours(monkeypatch):
    class Flat(RandomWriter):
        spread = 0.0

    monkeypatch.setattr(generation, "TuneWriter", Flat)
    request = musicai.compose(None, bars=8).request
    two, five = (generation.write_tunes(None, request, count=n) for n in (2, 5))
    assert two == five[:2]


def test_draws_follow_the_probabilities():
    draws = (np.arange(1000) + 0.5) / 1000
    logits = np.tile(np.log([0.5, 0.2, 0.2, 0.1]), (1000, 1))
    allowed = np.tile([True, True, False, True], (1000, 1))
    found, likelihood = generation.draw(logits, np.zeros(4), allowed, draws, np.full(1000, -1))
    assert np.bincount(found).tolist() == [625, 250, 0, 125]
    np.testing.assert_allclose(np.exp(likelihood[[0, 700, 999]]), [0.5, 0.2, 0.1])


def test_soft_controls_move_what_they_are_asked_to(monkeypatch):
    """Even on random logits, in the mean over several songs."""

    monkeypatch.setattr(RandomWriter, "spread", 1.0)

    def mean(measure, **asked):
        return np.mean([measure(musicai.compose(TUNE, bars=8, seed=seed, **asked)) for seed in range(3)])

    assert mean(lambda s: density(s.melody), density=1, closeness=0) < mean(
        lambda s: density(s.melody), density=2, closeness=0
    )
    swung = [mean(lambda s: syncopation(s.melody), syncopation=share, closeness=0) for share in (0, 0.4)]
    assert swung[0] < swung[1]
    near = [mean(lambda s: closeness(s.melody, s.laid_out), closeness=share) for share in (0.1, 0.5, 0.9)]
    assert near == sorted(near)
