"""Engraved scores: every note is on the page, and the page can be read on any background."""

import re
from xml.etree import ElementTree

import pytest

from musicai.composition import Controls, Song
from musicai.notes import Melody, Note, Score, Track, engrave

pytest.importorskip("verovio")


@pytest.fixture(scope="module")
def tune():
    return Melody.from_pitches([60, 62, None, 63, 67], [1, 0.5, 0.5, 1.5, 0.5], key="C minor", name='A "1" & <2>')


def test_every_note_is_engraved_once(tune):
    svg = engrave(tune)
    assert len(re.findall('class="note"', svg)) == 4
    assert len(re.findall('class="rest"', svg)) == 1
    assert engrave(tune.to_score()) == svg == tune.show() == tune.to_score().show()


def test_it_is_well_formed_svg_with_a_text_for_those_who_cannot_see_it(tune):
    root = ElementTree.fromstring(engrave(tune))
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert root.get("role") == "img"
    assert root.get("aria-label") == 'Engraved score: A "1" & <2>'


def test_the_ink_has_the_colour_of_the_text(tune):
    svg = engrave(tune)
    assert 'fill="currentColor"' in svg
    colours = set(re.findall(r'(?<![-\w])(?:fill|stroke|color)="([^"]*)"', svg))
    assert colours <= {"currentColor", "none", "transparent"}


def test_a_notebook_shows_a_picture(tune):
    svg = engrave(tune)
    assert svg in svg._repr_html_()
    song = Song(tune, Controls("C minor", (4, 4), 120.0, 1, ("A",), (48, 72), chords=False))
    assert song.show().count('class="note"') == 4


def test_parts_have_staves_and_names():
    score = Score([Track([Note(60, 0, 4)], name="flute"), Track([Note(40, 0, 4)], name="cello")])
    svg = engrave(score)
    assert svg.count('class="staff"') == 2
    assert "flute" in svg
    assert "cello" in svg


def test_nothing_is_engraved_as_a_rest():
    assert engrave(Score([])).count("<svg") >= 1
