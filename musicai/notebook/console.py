"""The whole system on one panel: play or sing, choose a match, turn the knobs, and hear a new song. Chapter 8."""

import base64
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from html import escape
from importlib.util import find_spec
from itertools import count
from pathlib import Path

import ipywidgets as widgets
import numpy as np
from IPython.display import display

import musicai
from musicai import performance
from musicai.notes import Melody

from .display import Html, attempt, attribute, data_uri, scripted
from .figures import render
from .players import player, without_caption
from .plots import plot_piano_roll

AS_FOUND = "as found"
MODES = ("major", "minor", "dorian", "mixolydian")
KEYS = [f"{tonic} {mode}" for mode in MODES for tonic in ("C", "D", "Eb", "E", "F", "G", "A", "Bb")]
KINDS = {"mid": "audio/midi", "musicxml": "application/xml", "json": "application/json"}
SAME = "this.href=this.closest('.musicai-song').querySelector('audio').src"  # the sound is in the page only once
EXAMPLE = "D5 C5 B4 G4 G4 D4 G4 G4 B4 G4 B4 D5"
SR = 16_000  # of the sound that comes from the microphone, and of the sampled instruments
_number = count(1)


def studio(index=None, *, example=EXAMPLE, key=AS_FOUND, bars=16, closeness=0.5, performer="auto", seed=1) -> None:
    """Show keys, a microphone, and the knobs of `musicai.song`; the song is shown, played and offered for download.

    The keys sound anywhere, but finding and composing need a running notebook. The rendered page shows the song that
    was made for the example.

    >>> studio(bars=16, closeness=0.4)  # doctest: +SKIP

    Args:
        index: where to look, as in `musicai.find`.
        example: the query to begin with.
        key, bars, closeness, performer, seed: of the example, as in `musicai.song`; the knobs start from them.

    Raises:
        ValueError: if nothing is found for the example, or a control is not possible.

    Chapter 8.
    """
    found, choice, live = [], widgets.Dropdown(description="From"), widgets.HTML()
    first = {"key": key, "bars": bars, "closeness": closeness, "performer": performer, "seed": seed}
    knobs, mark = knobs_for(first), f"musicai-studio-{next(_number)}"
    hide_first = f"<style>.{mark}{{display:none}}</style>"
    button = widgets.Button(description="Compose and perform", button_style="primary", layout={"width": "auto"})

    def find(query, k: int) -> Sequence:
        found[:] = musicai.find(query, index=index, k=k)
        choice.options = [(match.title or "(no title)", i) for i, match in enumerate(found)]
        choice.index = 0 if found else None
        return found

    def make(_button) -> None:
        live.value = f"{hide_first}<p role='status'>Composing and performing ...</p>"
        live.value = hide_first + attempt(lambda: song_html(song_for(found[choice.value], knobs)))

    sing(find, example=example)
    button.on_click(make)
    panel = widgets.VBox([choice, *knobs.values(), button, live])
    panel.add_class("musicai-needs-python")  # the book's style sheet hides what is dead on its pages
    display(panel)
    if not found:
        raise ValueError(f"nothing is found for example={example!r}; give another one")
    made = song_html(song_for(found[0], knobs))
    display(Html(f'<div class="{mark}">{made}</div>', f"A song made from {example}, with a player"))


def song_for(match, knobs: dict):
    """The song that the knobs ask for."""
    asked = {name: knob.value for name, knob in knobs.items() if knob.value != AS_FOUND}
    return musicai.song(match, progress=False, **asked)


def knobs_for(first: dict) -> dict:
    """The knobs of the panel, by the argument of `musicai.song` that they set."""
    knobs = {
        "key": widgets.Dropdown(options=[AS_FOUND, *KEYS]),
        "bars": widgets.Dropdown(options=[8, 16, 24, 32], value=16),
        "closeness": widgets.FloatSlider(0.5, min=0, max=1, step=0.05),
        "humanize": widgets.FloatSlider(0.3, min=0, max=1, step=0.05),
        "performer": widgets.Dropdown(options=["auto", "gan", "sampled", "wavenet"]),
        "seed": widgets.IntText(1),
    }
    for name, knob in knobs.items():
        knob.description, knob.value = name.capitalize(), first.get(name, knob.value)
    return knobs


def song_html(song) -> str:
    """A player, the piano roll, the printed score where Verovio is installed, what was obtained, and downloads."""
    from musicai.composition.controls import tell  # only where a song is shown: it takes seconds to import

    title = song.melody.name or "A new song"
    roll = render(plot_piano_roll(song.score), f"The notes of {title}, one colour per part")
    printed = f"<details><summary>Printed score</summary>{song.score.show()}</details>" if find_spec("verovio") else ""
    got = ((name, tell(value)) for name, (_, value) in song.controls.items())
    rows = "".join(f"<tr><th scope='row'>{name}</th><td>{escape(value)}</td></tr>" for name, value in got)
    links = [f'<a download="song.{kind}" href="{uri}">song.{kind}</a>' for kind, uri in downloads(song)]
    links.append(f'<a download="song.mp3" href="#" onclick="{attribute(SAME)}">song.mp3</a>')
    sound = player(song.audio.samples, song.audio.sr, title).html
    return f'<div class="musicai-song">{sound}{roll.html}{printed}<table>{rows}</table><p>{" ".join(links)}</p></div>'


def downloads(song) -> list[tuple[str, str]]:
    """The song as a MIDI, a MusicXML and a JSON file: their kinds and data: URIs."""
    with tempfile.TemporaryDirectory() as folder:
        paths = {kind: Path(folder, f"song.{kind}") for kind in KINDS}
        for path in paths.values():
            song.save(path)
        return [(kind, data_uri(path.read_bytes(), KINDS[kind])) for kind, path in paths.items()]


# ---- the keyboard and the microphone


def sing(find: Callable[..., Sequence] | None = None, *, example: str = EXAMPLE, k: int = 5) -> None:
    """Show piano keys and a record button, and below them the tunes that Python finds, each with a player.

    Click the keys, or click one and go on with the letters a, w, s, e, d, ... of the computer's keyboard; or write note
    names or ABC into the field. The keys sound anywhere, but searching needs a running notebook. The rendered page
    shows what was found for the example.

    >>> sing(MelodyIndex.open("tunes.index").find)  # doctest: +SKIP

    Args:
        find: called with a query, text or (audio, sr), and `k`; by default `musicai.find`.
        example: the query to begin with.
        k: how many tunes to show.

    Chapter 6.
    """
    find = find or musicai.find
    wire, live = widgets.Textarea(continuous_update=False, layout={"display": "none"}), widgets.HTML()
    mark = f"musicai-sing-{next(_number)}"
    wire.add_class(f"{mark}-wire")

    def answer(change) -> None:
        if text := change["new"]:
            live.value = f"<style>.{mark}{{display:none}}</style>{attempt(lambda: _answer(find, text, k))}"
            wire.value = ""  # tells the page that the answer is there

    wire.observe(answer, names="value")
    board = scripted("sing.js", mark, f"{mark}-wire", example, SR)
    display(Html(board, "[Interaction: a keyboard and a microphone; needs a browser]"))
    display(widgets.VBox([wire, live]))
    first = attempt(lambda: _answer(find, example, k))
    display(Html(f'<div class="{mark}">{first}</div>', f"{example}: the matches, with players"))


def _answer(find: Callable[..., Sequence], text: str, k: int) -> str:
    """The matches of a query as a table."""
    if sung := text.startswith("audio:"):
        pcm = np.frombuffer(base64.b64decode(text.removeprefix("audio:")), dtype="<i2")
    matches = find((pcm.astype(np.float32) / 32_768, SR) if sung else text, k=k)
    asked = "What you sang" if sung else escape(text)
    if not matches:
        return f"<p>{asked}: nothing found.</p>"
    head = '<tr><th scope="col">Tune</th><th scope="col">Probability</th><th scope="col">Where it matches</th></tr>'
    return f'<p>{asked}:</p><table style="width:100%"><thead>{head}</thead>{"".join(map(_row, matches))}</table>'


def _row(match) -> str:
    """One match: its title, how sure it is, and a player of the passage that matches."""
    inside = [note for note in match.piece.notes if match.start - 0.01 <= note.start < match.end]
    passage = [replace(note, start=note.start - inside[0].start) for note in inside]
    title = match.title or "(no title)"
    sound = player(performance.render(Melody(tuple(passage), tempo=match.piece.tempo)).mean(0), SR, title)
    sure = f"{match.probability:.0%}{', unlikely' if match.unlikely else ''}"
    return f'<tr><th scope="row">{escape(title)}</th><td>{sure}</td><td>{without_caption(sound)}</td></tr>'
