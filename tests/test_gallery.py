"""The gallery of songs: commands, recipes, sounds and page belong together, and one song is made again."""

import datetime
import json
import re

import numpy as np
import pytest
import torch

from musicai.audio import info, load
from musicai.chain import VERSIONS, song
from musicai.cli import PLAYING
from musicai.performance import loudness
from scripts.gallery import FOLDER, GOOD, PAGE, PIECES, named

ABOUT = json.loads((FOLDER / "about.json").read_text())
NUMBERS = range(1, 1 + len(PIECES))


def recipe(number: int) -> dict:
    return json.loads((FOLDER / f"{number:02d}.json").read_text())


def test_there_are_twelve_songs_and_two_that_failed():
    assert (GOOD, len(PIECES)) == (12, 14)
    names = {path.name for path in FOLDER.iterdir()}
    assert names == {f"{i:02d}.{kind}" for i in NUMBERS for kind in ("mp3", "json", "svg")} | {"about.json"}
    sizes = [path.stat().st_size for path in FOLDER.glob("*.mp3")]
    assert max(sizes) < 250_000
    assert sum(sizes) < 3_000_000


@pytest.mark.parametrize("number", NUMBERS)
def test_a_command_asks_for_what_its_recipe_says(number):
    query, asked = PIECES[number - 1].read()
    made = recipe(number)
    assert made["query"] == query
    asked |= {"range": [*asked["range"]]} if "range" in asked else {}
    composing = {name: value for name, value in asked.items() if name not in (*PLAYING, "progress")}
    assert made["compose"] == composing | {"seed": 0}
    for name in {"performer", "humanize"} & set(asked):
        assert made["perform"][name] == asked[name]
    shown = re.findall(r"```bash\n(.+?)\n```", PAGE.read_text(), re.DOTALL)[number - 1]
    assert re.sub(r" \\\n +", " ", shown) == PIECES[number - 1].command


@pytest.mark.parametrize("number", NUMBERS)
def test_a_sound_has_the_length_and_the_loudness_that_the_page_says(number):
    path = FOLDER / f"{number:02d}.mp3"
    frames, sr = info(path)
    assert 18 < frames / sr < 30
    assert frames / sr == pytest.approx(ABOUT[str(number)]["seconds"], abs=0.1)
    sound = load(path)[0].numpy()
    assert loudness(sound) == pytest.approx(-16, abs=1)
    assert np.abs(sound).max() < 1


def test_the_page_tells_of_every_song():
    text = PAGE.read_text()
    assert [int(number) for number in re.findall(r"^### (\d+)\. ", text, re.MULTILINE)] == [*NUMBERS]
    players = re.findall(r'<audio controls preload="none" aria-label="(.+?)" src="../_static/gallery/(\d+).mp3">', text)
    assert [int(number) for _, number in players] == [*NUMBERS]
    assert len({label for label, _ in players}) == len(PIECES)
    assert text.count('role="img" aria-label="Piano roll of') == len(PIECES)
    for number in NUMBERS:
        about = ABOUT[str(number)]
        said = about["certificate"][0].partition(":")[0]
        assert f"**{said}.** Longest run: {about['measured']['longest']} notes" in text
        made = datetime.date.fromisoformat(about["made"])
        assert f"{made.day} {made:%B %Y}" in text


def test_titles_are_written_as_one_would():
    assert named("SKIVER THE QUILT -- JIG", "ryansMammoth/1#916") == "*Skiver the Quilt* (Ryan)"
    assert named("Soldier's Joy., The", "oneills1850/0564#2692") == "*The Soldier's Joy* (O'Neill 564)"


def test_a_song_from_nothing_comes_out_again(tmp_path):
    """Quick, as nothing is performed. If this fails, composing has changed: run scripts/gallery.py again."""
    number = next(i for i in NUMBERS if not recipe(i)["query"])
    there = recipe(number)
    if (there["versions"], ABOUT[str(number)]["cpu"]) != (VERSIONS, torch.backends.cpu.get_cpu_capability()):
        pytest.skip("the gallery was made with other versions, or on another kind of processor")
    query, asked = PIECES[number - 1].read()
    song(query, **asked).save(tmp_path / "song.json")
    assert json.loads((tmp_path / "song.json").read_text()) == there
