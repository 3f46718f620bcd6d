"""Scores as printed music: SVG, engraved by Verovio from our MusicXML. Chapter 8."""

from xml.sax.saxutils import quoteattr

from musicai.extras import require
from musicai.notes.musicxml import score_bytes
from musicai.notes.score import Melody, Score

OPTIONS = {  # of Verovio; one page as high as the music, unless that would be higher than a page can be
    "pageWidth": 1800, "pageHeight": 60_000, "adjustPageHeight": True, "scale": 40, "svgViewBox": True,
    "footer": "none", "pageMarginLeft": 60, "pageMarginRight": 20, "xmlIdSeed": 1,
}  # fmt: skip


class Engraving(str):
    """An engraved score as SVG text, which a notebook shows as a picture.

    >>> Engraving('<svg xmlns="http://www.w3.org/2000/svg"/>')._repr_html_()
    '<div style="max-width: 60em"><svg xmlns="http://www.w3.org/2000/svg"/></div>'

    Chapter 8.
    """

    def _repr_html_(self) -> str:
        return f'<div style="max-width: 60em">{self}</div>'


def engrave(score: Score | Melody) -> Engraving:
    """Engrave a score or a melody.

    >>> engrave(Melody.from_pitches([60, 62, 64, 65])).count('class="note"')
    4

    The ink has the colour of the surrounding text, so that it can be read on a light and on a dark page.

    Args:
        score: the music.

    Returns: SVG, a str; it is one picture, or several in a row if the score is very long.

    Raises:
        ValueError: if the score has more than 20,000 bars.
        ModuleNotFoundError: if Verovio is not installed.

    Chapter 8.
    """
    verovio = require("verovio", "notation", "engraving")
    toolkit = verovio.toolkit()
    toolkit.setOptions(OPTIONS)
    toolkit.loadData(score_bytes(score.to_score() if isinstance(score, Melody) else score).decode())
    svg = "\n".join(toolkit.renderToSVG(page) for page in range(1, toolkit.getPageCount() + 1))
    label = quoteattr(f"Engraved score{': ' * bool(score.name)}{score.name}")
    svg = svg.replace("<svg viewBox", f'<svg role="img" aria-label={label} viewBox')
    return Engraving(svg.replace('color="black"', 'fill="currentColor"'))
