"""The keyboard and the microphone in the page, and what Python answers."""

import base64
from types import SimpleNamespace

import numpy as np
import pytest
from IPython.utils.capture import capture_output

from musicai import notebook as nb
from musicai.notebook import console as singing
from musicai.notes import Melody

TUNE = Melody.from_pitches([64, 64, 65, 67, 67, 65, 64, 62], tempo=100)
MATCH = SimpleNamespace(piece=TUNE, title="Ode <to> Joy", probability=0.93, unlikely=False, start=2.0, end=6.0)
FAKE_MICROPHONE = """
Object.defineProperty(navigator, "mediaDevices", { value: { getUserMedia: async wanted => {
    window.wanted = wanted;
    const c = new AudioContext(), tone = c.createOscillator(), end = c.createMediaStreamDestination();
    tone.frequency.value = 330;
    tone.connect(end);
    tone.start();
    return end.stream;
} } });
"""


def instances():
    """All living widgets by id; the name moved in ipywidgets 8."""
    from ipywidgets.widgets import widget

    return getattr(widget, "_instances", None) or widget.Widget.widgets


class Finder:
    """Keeps what it was asked, and always finds the same."""

    def __init__(self, matches=(MATCH,)):
        self.asked, self.matches = [], list(matches)

    def __call__(self, query, k):
        self.asked.append(query)
        return self.matches[:k]


def shown(find, **options):
    """The board's HTML, the wire, the live answer and the example's answer."""
    with capture_output() as captured:
        nb.sing(find, **options)
    board, box, example = captured.outputs
    view = box.data["application/vnd.jupyter.widget-view+json"]["model_id"]
    wire, live = instances()[view].children
    return board.data["text/html"], wire, live, example.data["text/html"]


@pytest.fixture(autouse=True)
def shell():
    from IPython.core.interactiveshell import InteractiveShell

    yield InteractiveShell.instance()
    InteractiveShell.clear_instance()


def test_the_example_is_answered_at_once_and_escaped():
    find = Finder()
    _, _, live, example = shown(find, example="E4 <b>")
    assert find.asked == ["E4 <b>"]
    assert live.value == ""
    assert "E4 &lt;b&gt;" in example
    assert "Ode &lt;to&gt; Joy" in example
    assert "93%" in example
    assert 'aria-label="Ode &lt;to&gt; Joy"' in example


def test_the_player_holds_the_passage_and_no_more():
    import io
    import re

    import soundfile

    html = singing._row(MATCH)
    audio, sr = soundfile.read(io.BytesIO(base64.b64decode(re.search(r'base64,([^"]+)"', html)[1])))
    assert 4 * 0.6 - 0.1 < len(audio) / sr < 4 * 0.6 + 1.5  # four beats at 100 a minute, and the release


def test_notes_and_sound_reach_find_and_the_wire_is_cleared():
    find = Finder()
    _, wire, live, _ = shown(find)
    wire.value = "C4 D4 E4"
    assert find.asked[-1] == "C4 D4 E4"
    assert wire.value == ""
    assert "C4 D4 E4" in live.value
    sung = (1000 * np.sin(np.arange(1600))).astype("<i2")
    wire.value = "audio:" + base64.b64encode(sung.tobytes()).decode()
    audio, sr = find.asked[-1]
    assert sr == 16_000
    np.testing.assert_allclose(audio, sung / 32_768, atol=1e-6)
    assert "What you sang" in live.value


def test_nothing_found_and_errors_are_said():
    _, wire, live, _ = shown(Finder([]))
    wire.value = "C4 D4"
    assert "nothing found" in live.value

    def refuse(query, k):
        raise ValueError("no note in <x>" if query == "x" else "too short")

    _, wire, live, example = shown(refuse)
    assert "too short" in example
    wire.value = "x"
    assert "ValueError: no note in &lt;x&gt;" in live.value


def test_unlikely_matches_are_marked():
    assert "unlikely" in singing._row(SimpleNamespace(**(vars(MATCH) | {"unlikely": True, "probability": 0.02})))


def open_board(browser, tmp_path):
    html, wire, _, _ = shown(Finder())
    (mark,) = wire._dom_classes
    page = tmp_path / "board.html"
    page.write_text(f'<meta charset="utf-8">{html}<div class="{mark}"><textarea></textarea></div>')
    browser.get(page.as_uri())
    return f"document.querySelector('.{mark} textarea')"


def click(browser, selector):
    browser.find_element("css selector", selector).click()


def test_clicks_and_typed_keys_become_notes(browser, tmp_path):
    line = open_board(browser, tmp_path)
    browser.execute_script(f"{line}.addEventListener('change', e => {{ window.sent = e.target.value; }})")
    click(browser, '[data-do="clear"]')
    click(browser, '[aria-label="E4"]')
    browser.find_element("css selector", '[aria-label="E4"]').send_keys("jw")
    click(browser, '[aria-label="F#4"]')
    assert browser.execute_script("return document.querySelector('input').value") == "E4 B4 C#4 F#4"
    click(browser, '[data-do="find"]')
    assert browser.execute_script("return window.sent") == "E4 B4 C#4 F#4"
    assert browser.execute_script("return document.querySelector('output').textContent") == "Searching ..."
    browser.execute_script(f"{line}.value = ''")  # as Python does
    wait_until(browser, "return document.querySelector('output').textContent === ''")
    keys = browser.execute_script("return [...document.querySelectorAll('[data-p]')].map(k => k.ariaLabel)")
    assert keys[0] == "C4" and keys[-1] == "C6" and len(keys) == 25  # noqa: PT018


def test_a_recording_reaches_python_as_sound(browser, tmp_path):
    line = open_board(browser, tmp_path)
    browser.execute_script(FAKE_MICROPHONE)
    click(browser, '[data-do="record"]')
    browser.execute_async_script("setTimeout(arguments[0], 900)")
    click(browser, '[data-do="record"]')
    wait_until(browser, f"return {line}.value.startsWith('audio:')")
    sent = browser.execute_script(f"return {line}.value")
    sound = np.frombuffer(base64.b64decode(sent.removeprefix("audio:")), dtype="<i2") / 32_768
    assert len(sound) > 4_000
    spectrum = np.abs(np.fft.rfft(sound * np.hanning(len(sound))))
    assert abs(spectrum.argmax() * 16_000 / len(sound) - 330) < 10
    assert browser.execute_script("return Object.values(window.wanted.audio)") == [False] * 3


def wait_until(browser, script):
    from selenium.webdriver.support.ui import WebDriverWait

    WebDriverWait(browser, 60).until(lambda driver: driver.execute_script(script))


RENDERED = "document.body.insertAdjacentHTML('beforeend', '<script type=\"{}\">{{}}</script>')"


@pytest.mark.parametrize("absence", ["{line}.remove()", RENDERED.format("application/vnd.jupyter.widget-state+json")])
def test_without_python_the_board_says_so(browser, tmp_path, absence):
    line = open_board(browser, tmp_path)
    browser.execute_script(absence.replace("{line}", line))
    click(browser, '[data-do="find"]')
    assert "run this cell" in browser.execute_script("return document.querySelector('output').textContent")


# The flipbook


def test_a_flipbook_turns_its_pages(browser, tmp_path):
    pages = []
    for n in range(3):
        fig, ax = nb.figure()
        ax.plot([0, n])
        pages.append((fig, f"Step {n}", nb.player(np.zeros(800), 8_000, f"Sound {n}")))
    with capture_output() as captured:
        nb.flipbook(pages)
    html = captured.outputs[0].data["text/html"]
    (tmp_path / "book.html").write_text(html)
    browser.get((tmp_path / "book.html").as_uri())
    visible = "return [...document.querySelectorAll('img')].filter(i => i.offsetParent).map(i => i.alt).join()"
    assert browser.execute_script(visible) == "Step 0"
    turn = "const s = document.querySelector('input'); s.value = 2; s.dispatchEvent(new Event('input'))"
    browser.execute_script(turn)
    assert browser.execute_script(visible) == "Step 2"
    assert browser.execute_script(visible.replace("img", "audio").replace("i.alt", "i.ariaLabel")) == "Sound 2"


def test_a_flipbook_without_pages_or_texts_is_refused():
    with pytest.raises(ValueError, match="at least one page"):
        nb.flipbook([])
    with pytest.raises(ValueError, match="says nothing"):
        nb.flipbook([(nb.figure()[0], " ")])
