"""A piece of HTML that also reads well as plain text."""

import base64
from html import escape
from typing import Any


class Html:
    """HTML for the notebook and the page; `text` says the same where only text can be shown.

    >>> Html("<b>C4</b>", "C4")
    C4
    """

    def __init__(self, html: str, text: str):
        self.html = html
        self.text = text

    def _repr_html_(self) -> str:
        return self.html

    def __repr__(self) -> str:
        return self.text


def attribute(text: str) -> str:
    """`text` as the value of an HTML attribute, without the quotes."""
    return escape(" ".join(str(text).split()), quote=True)


def data_uri(data: bytes, mime: str) -> str:
    """The bytes themselves as an address, so that the page needs no file beside it."""
    return f"data:{mime};base64,{base64.b64encode(data).decode('ascii')}"


def bundle_to_html(data: dict[str, Any]) -> str:
    """A display's mime bundle as one piece of HTML: its richest form that needs no script."""
    if "text/html" in data:
        return data["text/html"]
    for mime in ("image/png", "image/jpeg"):
        if mime in data:
            text = attribute(data.get("text/plain", "figure"))
            return f'<img alt="{text}" style="max-width:100%" src="data:{mime};base64,{data[mime]}">'
    return f"<pre>{escape(str(data.get('text/plain', '')))}</pre>"
