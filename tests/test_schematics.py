"""The schematic drawings: well-formed, described, readable on light and dark pages, used by a chapter."""

import re
from xml.etree import ElementTree

import pytest

from musicai.notebook import schematic
from musicai.notebook.display import FOLDER
from tests.test_repository import ROOT

NAMES = sorted(path.stem for path in FOLDER.glob("*.svg"))


def luminance(colour: str) -> float:
    """WCAG 2.2, relative luminance."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    r, g, b = (x / 12.92 if x <= 0.04045 else ((x + 0.055) / 1.055) ** 2.4 for x in parts)
    return 0.2126 * r + 0.7152 * g + 0.0722 * b


@pytest.mark.parametrize("name", NAMES)
def test_a_drawing_is_described_and_its_colours_can_be_read(name):
    drawing = schematic(name)
    root = ElementTree.fromstring(drawing.html)
    assert root.get("role") == "img"
    assert len(root.get("aria-label")) > 80
    assert repr(drawing) == root.get("aria-label")
    colours = set(re.findall('(?:fill|stroke)="(#[0-9a-f]{6})"', drawing.html))
    for light in map(luminance, colours):
        assert 1.05 / (light + 0.05) >= 4.5  # on white
        assert (light + 0.05) / (luminance("#14181e") + 0.05) >= 3.5  # on the dark page


@pytest.mark.parametrize("name", NAMES)
def test_a_chapter_shows_it(name):
    assert any(f'schematic(\\"{name}\\")' in path.read_text("utf-8") for path in ROOT.glob("notebooks/*.ipynb"))


def test_an_unknown_name_is_refused():
    with pytest.raises(ValueError, match="no schematic 'cat'; choose from aliasing, dilations"):
        schematic("cat")
