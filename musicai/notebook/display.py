"""HTML that also reads well as plain text."""

import base64
import json
import re
from collections.abc import Callable
from html import escape
from pathlib import Path


class Html:
    """HTML for the notebook and the page, with equivalent text for places that cannot show HTML.

    >>> Html("<b>C4</b>", "C4")
    C4

    Args:
        html: what the browser shows.
        text: what a terminal or a screen reader shows instead.

    Used in Chapters 1 to 7.
    """

    def __init__(self, html: str, text: str):
        self.html = html
        self.text = text

    def _repr_html_(self) -> str:
        return self.html

    def __repr__(self) -> str:
        return self.text


def attribute(text: str) -> str:
    """Escape `text` for use as the value of an HTML attribute; the quotes are not included."""
    return escape(" ".join(str(text).split()), quote=True)


def data_uri(data: bytes, mime: str) -> str:
    """Encode bytes as a data: URI, so that the page needs no separate file."""
    return f"data:{mime};base64,{base64.b64encode(data).decode('ascii')}"


def bundle_to_html(data: dict) -> str:
    """Turn the MIME bundle of a display into HTML, using its richest form that needs no script."""
    if "text/html" in data:
        return data["text/html"]
    for mime in ("image/png", "image/jpeg"):
        if mime in data:
            text = attribute(data.get("text/plain", "figure"))
            return f'<img alt="{text}" style="max-width:100%" src="data:{mime};base64,{data[mime]}">'
    return f"<pre>{escape(str(data.get('text/plain', '')))}</pre>"


def attempt(make: Callable[[], str]) -> str:
    """The HTML that `make` returns, or its error as text: a widget's callback has nowhere else to report to."""
    try:
        return make()
    except Exception as error:
        return f'<pre style="white-space:pre-wrap">{escape(f"{type(error).__name__}: {error}")}</pre>'


def scripted(file: str, mark: str, *arguments) -> str:
    """A box with the id `mark` and a script of this folder that fills it, called with the box and these arguments."""
    keys, script = (Path(__file__).with_name(name).read_text(encoding="utf-8") for name in ("keys.js", file))
    function = script.partition("\n(root")[2].rstrip()
    values = ", ".join(json.dumps(value).replace("</", r"<\/") for value in arguments)
    call = f'((root{function})(document.getElementById("{mark}"), {values});'
    return f'<div id="{mark}">This needs JavaScript.</div><script>{{{keys}{call}}}</script>'


FOLDER = Path(__file__).with_name("schematics")


def schematic(name: str) -> Html:
    """Show one of the book's drawings.

    >>> schematic("gan")
    The two players of a GAN. The generator G turns noise z into sounds. ...

    Args:
        name: "aliasing" or "stft" (Chapter 2), "em" (3), "gan" (4), "dilations" or "lookup" (5).

    Returns: the drawing; its text is what a screen reader says.

    Raises:
        ValueError: for another name.

    Used in Chapters 2 to 5.
    """
    drawings = {path.stem: path for path in FOLDER.glob("*.svg")}
    if name not in drawings:
        raise ValueError(f"no schematic {name!r}; choose from {', '.join(sorted(drawings))}")
    drawing = drawings[name].read_text(encoding="utf-8")
    return Html(drawing, re.search('aria-label="(.*?)"', drawing)[1])
