"""The book's schematic drawings, in the text's own colour, so that they suit light pages and dark ones."""

import re
from pathlib import Path

from .display import Html

FOLDER = Path(__file__).with_suffix("")


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
