"""The front page's studio in headless Chromium: from a file, without a network, and with a tune that is sung."""

import base64
import io
import json
import shutil
import statistics
import threading
import time
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import soundfile

from musicai.notes import read_midi
from tests.conftest import CHROMEDRIVER, CHROMIUM, FLAGS

ROOT = Path(__file__).parents[1]
STUDIO = ROOT / "book" / "_static" / "studio"
PHONE = 390
MINSTREL = ["D4", "G4", "A4", "C5", "B4", "A4", "G4", "B4"]  # The Minstrel Boy
WATCH = """
window.heard = []; window.files = []; window.shift = 0;
const copy = AudioBuffer.prototype.copyToChannel;
AudioBuffer.prototype.copyToChannel = function (samples, ...rest) {
  heard.push({ length: samples.length, peak: samples.reduce((most, x) => Math.max(most, Math.abs(x)), 0) });
  return copy.call(this, samples, ...rest);
};
const url = URL.createObjectURL;
URL.createObjectURL = (blob) => (files.push(blob), url.call(URL, blob));
new PerformanceObserver((list) => {
  for (const entry of list.getEntries()) if (!entry.hadRecentInput) window.shift += entry.value;
}).observe({ type: "layout-shift", buffered: true });
"""
PAGE = """<!doctype html><html lang="en" data-theme="light"><head><meta charset="utf-8"><title>studio</title>
<meta name="viewport" content="width=device-width"><link rel="icon" href="data:,">
<style>:root { --pst-color-primary: #06c; --pst-color-background: #fff; --pst-color-surface: #f4f4f5;
--pst-color-border: #ccc; --pst-color-text-base: #222; --pst-color-text-muted: #555; }</style>
<link rel="stylesheet" href="../_static/custom.css"></head>
<body><article class="bd-article">STUDIO</article></body></html>"""


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """A folder with a page that holds the studio and nothing else, and the scripts beside it, as in the book."""
    from scripts.build_studio import build

    build()
    folder = tmp_path_factory.mktemp("site")
    (folder / "book").mkdir()
    (folder / "book" / "preface.html").write_text(PAGE.replace("STUDIO", (STUDIO / "studio.html").read_text()))
    shutil.copytree(STUDIO, folder / "_static" / "studio")
    shutil.copy(STUDIO.parent / "custom.css", folder / "_static")
    return folder


@pytest.fixture(autouse=True)
def _own_size(request):
    """The other tests of the session find the window as it was."""
    yield
    if "browser" in request.fixturenames:
        request.getfixturevalue("browser").execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


class Visitor:
    """Somebody who uses the page."""

    def __init__(self, driver, url: str, width: int = 1000):
        self.driver = driver
        driver.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": 1500, "deviceScaleFactor": 1, "mobile": width < 600},
        )
        hook = driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": WATCH})
        for kind in ("browser", "performance"):
            driver.get_log(kind)  # forget what was logged before
        driver.get(url)
        driver.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", hook)
        self.wait(lambda: self.js("return document.querySelectorAll('#studio-name option').length > 0"))

    def js(self, script: str, *arguments):
        return self.driver.execute_script(script, *arguments)

    def wait(self, condition, seconds: float = 30):
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, f"the page still says: {self.status}"
            time.sleep(0.02)

    def click(self, name: str):
        element = self.driver.find_element("id", f"studio-{name}")
        self.js("arguments[0].scrollIntoView({ block: 'center', behavior: 'instant' })", element)
        element.click()

    def press(self, note: str):
        self.driver.find_element("css selector", f"#studio-keys [aria-label='{note.replace('#', ' sharp ')}']").click()

    def choose(self, name: str, value):
        script = "arguments[0].value = arguments[1]; arguments[0].dispatchEvent(new Event('input'))"
        self.js(script, self.driver.find_element("id", f"studio-{name}"), str(value))

    @property
    def status(self) -> str:
        return self.js("return document.getElementById('studio-status').textContent")

    def find(self) -> list[str]:
        self.click("find")
        self.wait(lambda: self.status.startswith(("Found", "Perhaps", "It’s")))
        return self.js("return [...document.querySelectorAll('.studio-match .title')].map((x) => x.textContent)")

    def compose(self, button: str = "compose") -> str:
        before = self.status
        self.click(button)
        self.wait(lambda: "Take" in self.status and self.status != before)
        return self.status

    def drawn(self) -> list[str]:
        """Where the notes of the piano roll are."""
        return self.js("return [...document.querySelectorAll('.studio-roll .note')].map((x) => x.outerHTML)")

    def median(self, name: str) -> int:
        times = self.js("return performance.getEntriesByName(arguments[0]).map((x) => x.duration)", f"studio: {name}")
        return round(statistics.median(times))

    def file(self, kind: str) -> bytes:
        script = "const [kind, done] = arguments; const file = files.findLast(({ type }) => type === kind);"
        script += (
            "const reader = new FileReader(); reader.onload = () => done(reader.result); reader.readAsDataURL(file)"
        )
        return base64.b64decode(self.driver.execute_async_script(script, kind).split(",")[1])

    def errors(self) -> list[str]:
        return [row["message"] for row in self.driver.get_log("browser") if row["level"] == "SEVERE"]

    def addresses(self) -> set[str]:
        rows = [json.loads(row["message"])["message"] for row in self.driver.get_log("performance")]
        sent = [row["params"]["request"]["url"] for row in rows if row["method"] == "Network.requestWillBeSent"]
        return {url.split(":")[0] for url in sent}


def test_eight_notes_are_found_composed_with_and_heard(browser, site):
    page = Visitor(browser, (site / "book" / "preface.html").as_uri())
    for note in MINSTREL:
        page.press(note)
    page.wait(lambda: len(page.js("return heard")) == len(MINSTREL))
    assert all(note["peak"] > 0.01 for note in page.js("return heard"))
    assert page.js("return document.getElementById('studio-notes').value").split() == MINSTREL
    titles = [page.find() for _ in range(3)]
    assert titles[0][0] == "The Minstrel Boy"
    page.js("heard.length = 0")
    text = page.compose()
    assert text.startswith("After The Minstrel Boy: 16 bars in ")
    page.wait(lambda: page.js("return performance.getEntriesByName('studio: stream').length") == 1)
    played = page.js("return heard")
    page.click("midi")
    song = read_midi(page.file("audio/midi"))
    assert [track.name for track in song.tracks] == ["After The Minstrel Boy", "chords", "bass"]
    assert len(song.tracks[0].notes) == len(page.drawn())
    assert sum(part["length"] for part in played) / 16_000 == pytest.approx(song.seconds(song.duration) + 0.15, abs=0.2)
    assert 0.05 < max(part["peak"] for part in played) < 1
    assert page.js("return document.getElementById('studio-play').textContent") == "Stop"
    page.wait(lambda: page.js("return document.querySelectorAll('.studio-roll .sounding').length") > 0)
    page.click("play")
    for count in range(1, 4):
        page.click("wav")
        page.wait(
            lambda count=count: page.js("return files.filter(({ type }) => type === 'audio/wav').length") == count
        )
    samples, rate = soundfile.read(io.BytesIO(page.file("audio/wav")))
    assert (rate, len(samples)) == (16_000, sum(part["length"] for part in played))
    for _ in range(2):
        page.compose("another")
        page.wait(lambda: page.js("return document.getElementById('studio-play').textContent") == "Stop")
        page.click("play")
    names = ("first sound", "find", "compose", "first piece", "render")
    print("\nmedians in ms:", ", ".join(f"{name} {page.median(name)}" for name in names))
    assert page.js("return shift") < 0.1
    assert page.errors() == []
    assert page.addresses() <= {"file", "data", "blob"}


def test_the_knobs_change_the_tune(browser, site):
    page = Visitor(browser, (site / "book" / "preface.html").as_uri(), PHONE)
    assert page.js("return document.documentElement.scrollWidth") <= PHONE
    page.choose("notes", " ".join(MINSTREL))
    page.find()
    page.choose("bars", 8)
    page.choose("close", 90)
    near = page.compose(), page.drawn()
    page.choose("close", 0)
    far = page.compose(), page.drawn()
    like = [int(text.split("\u00a0% like")[0].split()[-1]) for text, _ in (near, far)]
    assert like[0] > 70 > 40 > like[1]
    kept = [sum("kept" in note for note in notes) / len(notes) for _, notes in (near, far)]
    assert kept[0] > 0.6 > 0.4 > kept[1]
    page.click("band")
    page.choose("tonic", 2)
    page.choose("mode", "dorian")
    moved = page.compose()
    assert "8 bars in D dorian" in moved
    assert page.drawn() != far[1]
    again = page.drawn()
    page.compose("another")
    assert page.drawn() != again
    assert page.js("return document.documentElement.scrollWidth") <= PHONE
    assert page.errors() == []


def test_bad_input_is_answered_in_words(browser, site):
    page = Visitor(browser, (site / "book" / "preface.html").as_uri())
    page.click("find")
    page.wait(lambda: "at least four notes" in page.status)
    page.choose("notes", "E4 H4 F4 G4")
    page.click("find")
    page.wait(lambda: "“H4” is not the name of a note" in page.status)
    page.js("Object.defineProperty(navigator, 'mediaDevices', { value: undefined })")
    page.click("sing")
    page.wait(lambda: "no microphone" in page.status)
    assert page.errors() == []


def test_the_keyboard_alone_is_enough(browser, site):
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.keys import Keys

    page = Visitor(browser, (site / "book" / "preface.html").as_uri())

    def send(*keys):
        ActionChains(browser).send_keys(*keys).perform()

    def tab_to(name: str):
        for _ in range(30):
            if page.js("return document.activeElement.id || document.activeElement.ariaLabel") == name:
                ring = page.js("return getComputedStyle(document.activeElement).outlineStyle")
                assert ring != "none", f"{name} does not show its focus"
                return
            send(Keys.TAB)
        pytest.fail(f"no way to {name} by the Tab key")

    tab_to("C4")
    send(Keys.ARROW_RIGHT, Keys.ARROW_RIGHT, Keys.ENTER)  # D4
    send("g", "h", "k", "j", "h", "g", "j")  # letters are keys, too
    assert page.js("return document.getElementById('studio-notes').value").split() == MINSTREL
    tab_to("studio-find")
    send(Keys.ENTER)
    page.wait(lambda: page.status.startswith(("Found", "Perhaps")))
    tab_to("studio-bars")
    send("8")
    tab_to("studio-compose")
    send(Keys.ENTER)
    page.wait(lambda: "8 bars" in page.status)
    tab_to("studio-play")
    send(Keys.SPACE)
    page.wait(lambda: page.js("return document.getElementById('studio-play').textContent") == "Play")


def sing(path: Path) -> float:
    """Write The Minstrel Boy as a hum, a voice's harmonics with a little vibrato; returns its seconds."""
    pitches, beats = [62, 67, 69, 72, 71, 69, 67, 71, 74, 79, 78, 79], [1, 3, 1, 1, 1, 1, 1, 2, 2, 2, 1, 1]
    sr, parts = 48_000, []
    for pitch, beat in zip(pitches, beats, strict=True):
        n = np.arange(round(0.28 * beat * sr))
        cents = 20 * np.sin(2 * np.pi * 5.5 * n / sr)
        phase = 2 * np.pi * np.cumsum(440 * 2 ** ((pitch - 12 - 69 + cents / 100) / 12)) / sr
        tone = sum(np.sin(k * phase) / k**1.5 for k in range(1, 9))
        parts.append(0.2 * tone * np.minimum(1, np.minimum(n, n[::-1]) / (0.03 * sr)))
    soundfile.write(path, np.concatenate([*parts, np.zeros(sr)]), sr, subtype="PCM_16")
    return sum(map(len, parts)) / sr


def test_a_hum_is_found(site, tmp_path):
    if not (CHROMIUM and CHROMEDRIVER):
        pytest.skip("Chromium or chromedriver is not installed")
    from selenium import webdriver

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

    seconds = sing(tmp_path / "hum.wav")
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=site))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    fake = ["use-fake-device-for-media-stream", "use-fake-ui-for-media-stream"]
    fake.append(f"use-file-for-fake-audio-capture={tmp_path / 'hum.wav'}%noloop")
    for flag in [*FLAGS, *(f"--{flag}" for flag in fake), f"--user-data-dir={tmp_path / 'profile'}"]:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(CHROMEDRIVER))
    try:
        page = Visitor(driver, f"http://localhost:{server.server_port}/book/preface.html")
        page.click("sing")
        page.wait(lambda: page.status.startswith("Listening. Sing"))
        time.sleep(seconds + 0.5)
        page.click("sing")
        page.wait(lambda: page.status.startswith(("Found", "Perhaps", "It’s", "That")))
        assert page.status.startswith("Found: The Minstrel Boy"), page.status
        print(f"\na hum: heard in {page.median('listen')} ms, found in {page.median('find')} ms")
        assert page.errors() == []
        assert page.addresses() <= {"http", "data", "blob"}
    finally:
        driver.quit()
        server.shutdown()
