"""The studio in a notebook: its knobs make the song that `musicai.song` makes, and its downloads are that song."""

import base64
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
from IPython.utils.capture import capture_output

import musicai
from musicai import notebook as nb
from musicai.notes import Melody, read_midi

TUNE = Melody.from_pitches([64, 64, 65, 67, 67, 65, 64, 62, 60, 60, 62, 64, 64, 62, 62], tempo=100, key="C major")
MATCH = SimpleNamespace(piece=TUNE, title="Ode <to> Joy", probability=0.93, unlikely=False, start=2.0, end=6.0)


class Panel:
    """A studio whose finder always finds the same tune, with its parts by name."""

    def __init__(self, monkeypatch, **controls):
        monkeypatch.setattr(musicai, "find", lambda query, index, k: [MATCH][:k], raising=False)
        self.asked, real = [], musicai.song

        def song(source, progress, **controls):
            self.asked.append(controls)
            return real(source.piece, progress=progress, **controls | {"performer": "sampled"})

        monkeypatch.setattr(musicai, "song", song, raising=False)
        with capture_output() as captured:
            nb.studio(bars=8, closeness=0.4, seed=2, **controls)
        self.example = captured.outputs[-1].data["text/html"]
        view = captured.outputs[-2].data["application/vnd.jupyter.widget-view+json"]["model_id"]
        from ipywidgets.widgets import widget

        self.box = (getattr(widget, "_instances", None) or widget.Widget.widgets)[view]
        self.choice, *self.knobs, self.button, self.live = self.box.children

    def knob(self, name):
        return next(knob for knob in self.knobs if knob.description == name.capitalize())


@pytest.fixture(scope="module", autouse=True)
def shell():
    from IPython.core.interactiveshell import InteractiveShell

    yield InteractiveShell.instance()
    InteractiveShell.clear_instance()


@pytest.fixture
def panel(monkeypatch):
    return Panel(monkeypatch)


def saved(html: str, kind: str) -> bytes:
    return base64.b64decode(re.search(rf'download="song\.{kind}" href="data:[^,]+,([^"]+)"', html)[1])


def test_the_example_is_a_finished_song_with_what_was_obtained(panel, tmp_path):
    path = tmp_path / "song.mid"
    path.write_bytes(saved(panel.example, "mid"))
    assert read_midi(path).tracks[0].notes[-1].end == pytest.approx(32, abs=4)  # eight bars of four beats
    assert saved(panel.example, "musicxml").startswith(b"<?xml")
    assert "<audio" in panel.example
    assert "<svg" in panel.example
    assert "<th scope='row'>closeness</th>" in panel.example
    assert panel.choice.options == (("Ode <to> Joy", 0),)


def test_the_knobs_are_the_arguments_of_song(panel):
    panel.knob("key").value, panel.knob("bars").value = "D dorian", 16
    panel.button.click()
    assert len(panel.asked) == 2, panel.live.value
    assert panel.asked[-1] == {
        "bars": 16,
        "closeness": 0.4,
        "humanize": 0.3,
        "performer": "auto",
        "seed": 2,
        "key": "D dorian",
    }
    assert "<audio" in panel.live.value, panel.live.value[-500:]


def test_an_error_is_said_where_the_song_would_be(panel, monkeypatch):
    def song(*args, **kwargs):
        raise ValueError("compose: bars=<0>")

    monkeypatch.setattr(musicai, "song", song, raising=False)
    panel.button.click()
    assert "ValueError: compose: bars=&lt;0&gt;" in panel.live.value


def test_the_pages_hide_what_needs_python(panel):
    assert "musicai-needs-python" in panel.box._dom_classes
    style = (Path(__file__).parent.parent / "book/_static/custom.css").read_text()
    assert re.search(r"\.musicai-needs-python \{ display: none; \}", style)


def test_nothing_found_is_refused(monkeypatch):
    monkeypatch.setattr(musicai, "find", lambda query, index, k: [], raising=False)
    with capture_output(), pytest.raises(ValueError, match="nothing is found for example='x y'"):
        nb.studio(example="x y")
