"""Scores in files of any kind, chosen by their endings. Chapter 6."""

import os
from pathlib import Path
from xml.sax.saxutils import quoteattr

from musicai.extras import require
from musicai.notes.abc import read_abc_score, write_abc
from musicai.notes.midi import read_midi, write_midi
from musicai.notes.musicxml import read_musicxml, score_bytes, write_musicxml
from musicai.notes.score import Melody, Score

MIDI, XML, ABC = (read_midi, write_midi), (read_musicxml, write_musicxml), (read_abc_score, write_abc)
KINDS = {".mid": MIDI, ".midi": MIDI, ".musicxml": XML, ".xml": XML, ".mxl": XML, ".abc": ABC}
READABLE = KINDS | {".kar": MIDI, ".rmi": MIDI}  # karaoke, and MIDI in a RIFF file


def read_score(path: str | os.PathLike, expand_repeats: bool = False) -> Score:
    """Read a score from a MIDI, MusicXML or ABC file.

    >>> read_score("song.musicxml")  # doctest: +SKIP

    Args:
        path: a file that ends in .mid, .midi, .kar, .rmi, .musicxml, .xml, .mxl or .abc; of several tunes in an ABC
            file, the first is read (`read_abc` reads all).
        expand_repeats: whether to write out repeats in MusicXML and ABC, as they are played.

    Returns: the score.

    Raises:
        ValueError: if the ending is another, or the file cannot be read; the message names it.
        OSError: if there is no such file.

    Chapter 6.
    """
    read = _kind(path, READABLE)[0]
    return read(path) if read is read_midi else read(path, expand_repeats)


def write_score(path: str | os.PathLike, score: Score | Melody) -> None:
    """Write a score or a melody as a MIDI, MusicXML or ABC file.

    >>> write_score("song.mxl", Melody.from_pitches([60, 62, 64]))  # doctest: +SKIP

    Args:
        path: the file, which ends in .mid, .midi, .musicxml, .xml, .mxl or .abc.
        score: the music.

    Raises:
        ValueError: if the ending is another, or that kind of file cannot hold the score.
        OSError: if the file cannot be written.

    Chapter 6.
    """
    _kind(path, KINDS)[1](path, score)


def _kind(path: str | os.PathLike, kinds: dict) -> tuple:
    name = os.fsdecode(path)
    if (suffix := Path(name).suffix.lower()) not in kinds:
        raise ValueError(f"{name}: a score's name ends in {', '.join(kinds)}, not in {suffix!r}")
    return kinds[suffix]


# ---- engraving


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
