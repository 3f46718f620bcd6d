"""The keyboard: a key for each sound, in its place, that holds what it plays."""

import base64
import io
import re

import numpy as np
import pytest
import soundfile

from musicai.notebook import keyboard

SR = 16_000


def tone(hertz):
    return 0.5 * np.sin(2 * np.pi * hertz * np.arange(SR // 2) / SR)


def buttons(html):
    found = re.findall(r'<button[^>]*aria-label="([^"]+)" data-sound="data:audio/mpeg;base64,([^"]+)"[^>]*>', html)
    return {name: base64.b64decode(data) for name, data in found}


def test_each_key_holds_its_own_sound():
    made = keyboard({60: tone(500), 61: tone(1_000), 64: tone(2_000)}, SR, "Three tones")
    found = buttons(made.html)
    assert sorted(found) == ["C#4", "C4", "E4"]
    for name, hertz in (("C4", 500), ("C#4", 1_000), ("E4", 2_000)):
        audio, sr = soundfile.read(io.BytesIO(found[name]))
        spectrum = np.abs(np.fft.rfft(audio))
        assert abs(spectrum.argmax() * sr / len(audio) - hertz) < 5
    assert repr(made) == "Three tones: 3 keys, C4 to E4"


def test_keys_without_a_sound_are_drawn_but_are_no_buttons():
    html = keyboard({60: tone(500), 64: tone(900)}, SR).html
    assert len(buttons(html)) == 2
    assert html.count("opacity:0.3") == 3  # C sharp, D, D sharp


def test_black_ends_get_their_white_neighbours():
    html = keyboard({61: tone(500), 70: tone(600)}, SR).html
    lefts = [float(x) for x in re.findall(r"left:([-\d.]+)%", html)]
    assert min(lefts) >= 0
    assert html.count("height:100%") == 7  # C to B


def test_the_keys_fill_the_width_and_stay_within():
    html = keyboard(dict.fromkeys(range(60, 73), tone(440)), SR).html
    placed = [(float(x), float(w)) for x, w in re.findall(r"left:([-\d.]+)%;top:0;width:([\d.]+)%", html)]
    assert len(placed) == 13
    assert min(x for x, _ in placed) == 0
    assert max(x + w for x, w in placed) == pytest.approx(100, abs=0.1)


@pytest.mark.parametrize("sounds", [{}, {60: []}, {60: [np.nan, 1.0]}])
def test_what_cannot_be_played_is_refused(sounds):
    with pytest.raises(ValueError, match=r"no sound|cannot be played|NaN"):
        keyboard(sounds, SR)


def test_the_label_cannot_break_the_page():
    html = keyboard({60: tone(440)}, SR, '<script>"x"').html
    assert "<script>" not in html
