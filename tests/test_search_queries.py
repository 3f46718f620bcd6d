"""What people search with becomes one kind of query, or one clear error."""

import contextlib
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from musicai.audio import Audio, save
from musicai.notes import Melody, Note, Score, Track, write_midi
from musicai.search import read_query

ODE = [64, 64, 65, 67, 67, 65, 64, 62]
SR = 16_000


def tones(pitches=ODE, seconds=0.4) -> np.ndarray:
    time = np.arange(int(seconds * SR)) / SR
    notes = [0.3 * np.sin(2 * np.pi * 440 * 2 ** ((p - 69) / 12) * time) * np.minimum(1, 20 * time) for p in pitches]
    return np.concatenate(notes).astype(np.float32)


@pytest.mark.parametrize(
    "text",
    [
        "E4 E4 F4 G4 G4 F4 E4 D4",
        "e4 e4 f4 g4 g4 f4 e4 d4",
        "E4,E4,F4,G4,G4,F4,E4,D4",
        "64 64 65 67 67 65 64 62",
        "64, 64, 65, 67, 67, 65, 64, 62",
        "EEFG GFED",
        "E E F G G F E D",
        "X:1\nK:C\nEEFG GFED|",
        ODE,
        tuple(ODE),
        np.array(ODE),
        torch.tensor(ODE),
        ["E4", "E4", "F4", "G4", "G4", "F4", "E4", "D4"],
        Melody.from_pitches(ODE),
        Melody.from_pitches(ODE).to_score(),
    ],
    ids=repr,
)
def test_every_way_to_write_ode_to_joy(text):
    assert read_query(text).pitches.tolist() == ODE


def test_accidentals_and_octaves():
    assert read_query("F#4 Bb3 C##5").pitches.tolist() == [66, 58, 74]
    assert read_query("F♯4 B♭3").pitches.tolist() == [66, 58]
    assert read_query("G A B C D").pitches.tolist() == [67, 69, 71, 72, 74]  # each as close as possible
    assert read_query("Eb F Bb").pitches.tolist() == [63, 65, 70]
    assert read_query("g2 a2 b2 c'2 B2").pitches.tolist() == [79, 81, 83, 84, 71]  # ABC


@pytest.mark.parametrize(
    ("text", "pitches"),
    [
        ("D5 C5 H4 B4", [74, 72, 71, 70]),  # the German H, beside which B is B flat
        ("D5 C5 H4 Bb4 B♭4 A4", [74, 72, 71, 70, 70, 69]),  # unless it says so itself
        ("c5 h4 bb4 b4", [72, 71, 70, 70]),
        ("D Fis As H Des", [62, 66, 68, 71, 73]),
        ("do ré mi fa# sol la si do", [60, 62, 64, 66, 67, 69, 71, 72]),
        ("Do4 Sol4 La3", [60, 67, 57]),
        ("F𝄪4 B𝄫4 D♮5 C₅", [67, 69, 74, 72]),
        ("d c b g", [62, 60, 59, 55]),
        ("D5-C5-B4-G4", [74, 72, 71, 67]),
        ("D5; C5; B4", [74, 72, 71]),
        ("D5 C5 | B4 G4", [74, 72, 71, 67]),
        ("D5 C5 r B4", [74, 72, 71]),
        ("['D5', 'C5', 'B4']", [74, 72, 71]),
        ("[74, 72, 71]", [74, 72, 71]),
        ("C-1 C4", [0, 60]),
        ("G4 E2 D2 | C8", [67, 64, 62, 60]),  # ABC, whose numbers are lengths
        ('"G"dcBG "D"GD', [74, 72, 71, 67, 67, 62]),  # with chord symbols
        (np.array(["D5", "C5"]), [74, 72]),
        (["D", "C", "B"], [62, 60, 59]),
        (range(60, 63), [60, 61, 62]),
    ],
)
def test_notes_as_people_write_them(text, pitches):
    assert read_query(text).pitches.tolist() == pitches


def test_music21_stream():
    music21 = pytest.importorskip("music21")
    stream = music21.converter.parse("tinynotation: 4/4 c4 d8 e8 f2")
    assert read_query(stream).pitches.tolist() == [60, 62, 64, 65]
    assert read_query(stream).starts.tolist() == [0, 1, 1.5, 2]


@pytest.mark.parametrize("order", ["time last", "time first", "rate first", "list", "one column", "samples in a list"])
def test_sound_as_other_libraries_give_it(order):
    wave = np.stack([tones([69])] * 2)
    given = {"time last": (wave, SR), "time first": (wave.T, SR), "rate first": (SR, wave.T), "list": [wave, SR]}
    given |= {"one column": (wave[:1].T, SR), "samples in a list": (wave[0].tolist(), SR)}
    np.testing.assert_allclose(read_query(given[order]).pitches, [69], atol=0.05)


def test_karaoke_and_riff_midi(tmp_path):
    for name in ("a.kar", "a.rmi"):
        write_midi(tmp_path / name, Melody.from_pitches(ODE, 0.5))
        assert read_query(tmp_path / name).pitches.tolist() == ODE


def test_rhythm_comes_with_abc_and_melodies_but_not_with_names():
    assert read_query("E2 F/ z G").starts.tolist() == [0.0, 1.0, 1.75]
    melody = Melody((Note(60, 1, 1), Note(62, 3, 0.5), Note(64, 4, 1)))
    assert read_query(melody).starts.tolist() == [1, 3, 4]
    assert read_query(melody).durations.tolist() == [1, 0.5, 1]
    assert read_query("60 62 64").starts is None


def test_score_is_searched_by_its_highest_voice():
    score = Score((Track([Note(60, 0, 2), Note(48, 2, 2)]), Track([Note(72, 0, 2), Note(74, 2, 2), Note(76, 4, 1)])))
    assert read_query(score).pitches.tolist() == [72, 74, 76]


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("hello world", '"hello world" is neither notes nor an existing file'),
        ("", "neither notes nor an existing file"),
        ("   ", "neither notes nor an existing file"),
        ("z z z", "neither notes"),
        ("hum.txt.gz/../x", "neither notes nor an existing file"),
        ("128 60 61", "pitch 128 in .* is outside the MIDI range"),
        ([60, float("nan")], "pitch nan in the list is outside the MIDI range"),
        ([], "cannot search for"),
        (None, "cannot search for None"),
        (3.5, "cannot search for 3.5"),
        ({"a": 1}, "cannot search for"),
        (["C4", 60], "a list must hold|cannot search for"),
        (Melody(()), "the melody has no notes"),
        ("\x00", "neither notes nor an existing file"),
        ("C4 " * 5000 + "?", "neither notes nor an existing file"),
        (Path("."), "files to search with end in"),
        ("X:1\nT:no key", "neither notes"),
        ((np.zeros(SR), SR), "no pitch"),
        ((np.random.default_rng(0).normal(size=2 * SR) * 0.1, SR), "no pitch"),
        ((np.zeros(0), SR), "no|empty"),
        ((np.full(SR, np.nan), SR), "NaN|nan|finite"),
        ((np.zeros(SR), 0), "sample rate|sr"),
        ((np.zeros(SR), "fast"), "sample rate|sr"),
    ],
)
def test_what_cannot_be_searched_for_says_why(query, message):
    with pytest.raises(ValueError, match=message):
        read_query(query)


@pytest.mark.parametrize("name", ["none.wav", "none.mid", "none.abc", "none.musicxml"])
def test_missing_file(name, tmp_path):
    with pytest.raises(FileNotFoundError, match=name):
        read_query(tmp_path / name)
    with pytest.raises(FileNotFoundError, match=name):
        read_query(str(tmp_path / name))


def test_files_of_notes(tmp_path):
    melody = Melody.from_pitches(ODE, 0.5)
    write_midi(tmp_path / "ode.mid", melody)
    (tmp_path / "ode.abc").write_text("X:1\nT:Ode\nM:4/4\nL:1/8\nK:C\nEEFG GFED|\n\nX:2\nK:C\nCCC|\n")
    for name in ("ode.mid", "ode.abc"):
        query = read_query(str(tmp_path / name))
        assert query.pitches.tolist() == ODE
        assert query.starts.tolist() == melody.starts.tolist()


def test_sound_has_a_contour(tmp_path):
    wave = tones()
    save(tmp_path / "ode.wav", torch.from_numpy(wave), SR)
    for query in ((wave, SR), Audio(torch.from_numpy(wave), SR), str(tmp_path / "ode.wav"), (np.stack([wave] * 2), SR)):
        (contour,) = read_query(query).contours
        voiced = contour.pitches[~np.isnan(contour.pitches)]
        assert np.isin(np.rint(voiced), ODE).mean() > 0.9
    excerpts = read_query([(wave, SR), str(tmp_path / "ode.wav")])
    assert len(excerpts.contours) == 2


def test_long_recording_is_cut_into_excerpts():
    wave = np.tile(tones(), 20)  # 64 s
    query = read_query((wave, SR))
    assert len(query.contours) == 5
    half_silent = np.concatenate([wave, np.zeros_like(wave)])
    assert 0 < len(read_query((half_silent, SR)).contours) < 6


@given(st.text(max_size=30))
@example("~0")  # not the home of anybody
def test_any_text_gives_a_query_or_one_error(text):
    with contextlib.suppress(ValueError, FileNotFoundError):
        assert len(read_query(text).pitches) > 0
