"""The keyboard: a key for each sound, in its place, that holds what it plays."""

import base64
import io
import json
import re

import numpy as np
import pytest
import soundfile

from musicai.notebook import keyboard

SR = 16_000


def tone(hertz):
    return 0.5 * np.sin(2 * np.pi * hertz * np.arange(SR // 2) / SR)


def sounds_of(made):
    found = re.search(r'"\), "[^"]*", (\{.*\})\);', made.html)[1]
    return {int(pitch): base64.b64decode(address.split(",")[1]) for pitch, address in json.loads(found).items()}


@pytest.fixture
def keys(browser, tmp_path):
    """Shows a keyboard in a browser; for each key its name, whether it plays, and its left, width and height."""

    def keys(made):
        page = tmp_path / "keys.html"
        page.write_text(f"<!doctype html><meta charset=utf-8>{made.html}", encoding="utf-8")
        browser.get(page.as_uri())
        one = "[k.ariaLabel, !k.disabled, ...['left', 'width', 'height'].map(side => parseFloat(k.style[side]))]"
        return browser.execute_script(f"return [...document.querySelectorAll('button')].map(k => {one})")

    return keys


def test_each_key_holds_its_own_sound():
    made = keyboard({60: tone(500), 61: tone(1_000), 64: tone(2_000)}, SR, "Three tones")
    found = sounds_of(made)
    assert list(found) == [60, 61, 64]
    for pitch, hertz in ((60, 500), (61, 1_000), (64, 2_000)):
        audio, sr = soundfile.read(io.BytesIO(found[pitch]))
        spectrum = np.abs(np.fft.rfft(audio))
        assert abs(spectrum.argmax() * sr / len(audio) - hertz) < 5
    assert repr(made) == "Three tones: 3 keys, C4 to E4"


def test_keys_without_a_sound_are_drawn_but_cannot_be_clicked(keys):
    found = {name: plays for name, plays, *_ in keys(keyboard({60: tone(500), 64: tone(900)}, SR))}
    assert found == {"C4": True, "C#4": False, "D4": False, "D#4": False, "E4": True}


def test_a_click_plays_the_keys_sound(keys, browser):
    made = keyboard({61: tone(500), 70: tone(600)}, SR)
    keys(made)
    browser.execute_script("window.Audio = class { constructor(x) { this.x = x; } play() { window.played = this.x; } }")
    browser.find_element("css selector", "[data-p='70']").click()
    played = browser.execute_script("return window.played")
    assert base64.b64decode(played.split(",")[1]) == sounds_of(made)[70]


def test_black_ends_get_their_white_neighbours(keys):
    found = keys(keyboard({61: tone(500), 70: tone(600)}, SR))
    assert [name for name, *_, height in found if height == 100] == ["C4", "D4", "E4", "F4", "G4", "A4", "B4"]
    assert min(left for _, _, left, *_ in found) >= 0


def test_the_keys_fill_the_width_and_stay_within(keys):
    placed = [(left, width) for _, _, left, width, _ in keys(keyboard(dict.fromkeys(range(60, 73), tone(440)), SR))]
    assert len(placed) == 13
    assert min(x for x, _ in placed) == 0
    assert max(x + w for x, w in placed) == pytest.approx(100, abs=0.1)


@pytest.mark.parametrize("sounds", [{}, {60: []}, {60: [np.nan, 1.0]}])
def test_what_cannot_be_played_is_refused(sounds):
    with pytest.raises(ValueError, match=r"no sound|cannot be played|NaN"):
        keyboard(sounds, SR)


def test_the_label_cannot_break_the_page(keys, browser):
    assert len(keys(keyboard({60: tone(440)}, SR, '</script><b>"x"'))) == 1
    assert (
        browser.execute_script("return document.querySelector('[role=group] > div').textContent") == '</script><b>"x"'
    )
