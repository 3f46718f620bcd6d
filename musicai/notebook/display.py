"""HTML that also reads well as plain text."""

import base64
from html import escape
from typing import Any


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


def bundle_to_html(data: dict[str, Any]) -> str:
    """Turn the MIME bundle of a display into HTML, using its richest form that needs no script."""
    if "text/html" in data:
        return data["text/html"]
    for mime in ("image/png", "image/jpeg"):
        if mime in data:
            text = attribute(data.get("text/plain", "figure"))
            return f'<img alt="{text}" style="max-width:100%" src="data:{mime};base64,{data[mime]}">'
    return f"<pre>{escape(str(data.get('text/plain', '')))}</pre>"
