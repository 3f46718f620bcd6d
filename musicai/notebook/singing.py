"""A keyboard and a microphone in the page; Python looks up what was played or sung."""

import base64
from collections.abc import Callable, Sequence
from dataclasses import replace
from html import escape
from itertools import count
from typing import Any

import ipywidgets as widgets
import numpy as np
from IPython.display import display

import musicai
from musicai.notes import Melody
from musicai.performance import render

from .display import Html, scripted
from .players import player, without_caption

SR = 16_000  # of the sound that comes from the microphone, and of the sampled instruments
_number = count(1)


def sing(
    find: Callable[..., Sequence[Any]] | None = None, *, example: str = "E4 E4 F4 G4 G4 F4 E4 D4", k: int = 5
) -> None:
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

    def answer(change: Any) -> None:
        if text := change["new"]:
            live.value = f"<style>.{mark}{{display:none}}</style>{_answer(find, text, k)}"
            wire.value = ""  # tells the page that the answer is there

    wire.observe(answer, names="value")
    board = scripted("sing.js", mark, f"{mark}-wire", example, SR)
    display(Html(board, "[Interaction: a keyboard and a microphone; needs a browser]"))
    display(widgets.VBox([wire, live]))
    display(Html(f'<div class="{mark}">{_answer(find, example, k)}</div>', f"{example}: the matches, with players"))


def _answer(find: Callable[..., Sequence[Any]], text: str, k: int) -> str:
    """The matches of a query as a table, or why there are none."""
    try:
        if sung := text.startswith("audio:"):
            pcm = np.frombuffer(base64.b64decode(text.removeprefix("audio:")), dtype="<i2")
        matches = find((pcm.astype(np.float32) / 32_768, SR) if sung else text, k=k)
    except Exception as error:  # a callback has nowhere else to report to
        return f'<pre style="white-space:pre-wrap">{escape(f"{type(error).__name__}: {error}")}</pre>'
    asked = "What you sang" if sung else escape(text)
    if not matches:
        return f"<p>{asked}: nothing found.</p>"
    head = '<tr><th scope="col">Tune</th><th scope="col">Probability</th><th scope="col">Where it matches</th></tr>'
    return f'<p>{asked}:</p><table style="width:100%"><thead>{head}</thead>{"".join(map(_row, matches))}</table>'


def _row(match: Any) -> str:
    """One match: its title, how sure it is, and a player of the passage that matches."""
    inside = [note for note in match.piece.notes if match.start - 0.01 <= note.start < match.end]
    passage = [replace(note, start=note.start - inside[0].start) for note in inside]
    title = match.title or "(no title)"
    sound = player(render(Melody(tuple(passage), tempo=match.piece.tempo)).mean(0), SR, title)
    sure = f"{match.probability:.0%}{', unsure' if match.unlikely else ''}"
    return f'<tr><th scope="row">{escape(title)}</th><td>{sure}</td><td>{without_caption(sound)}</td></tr>'
