"""Which melody does a person mean? A tune of the index by its number, id or title; notes; or a file. Chapter 7."""

import json
import re
from difflib import get_close_matches
from pathlib import Path

import numpy as np

from musicai.data.splits import title_key
from musicai.notes import Melody, Note
from musicai.search import MelodyIndex, default_index, read_query
from musicai.search.queries import NOTATION, SOUND

PITCHES = re.compile(r"(?:[A-G][#b]?\d\s+)*[A-G][#b]?\d", re.IGNORECASE)  # "E4 F#4": no tune is called so
COLLECTIONS = {"oneill": "oneills1850", "ryan": "ryansMammoth", "aird": "airdsAirs"}


def read_source(text: str, index: MelodyIndex | None = None) -> Melody | str:
    """Find the melody that a person means.

    >>> read_source("O'Neill 28").name  # doctest: +SKIP
    "O'Connell's Lamentation"

    Args:
        text: a number in a collection ("O'Neill 28", "Ryan 5", "Aird 12"), the id of a tune ("oneills1850/28"), a title
            ("Miss McLeod's Reel"), notes ("E4 E4 F4"), or the name of a file.
        index: the tunes; the default index if None.

    A title comes before notes: what reads as both, such as "Abba", is the tune if one is called so.

    Returns: the tune, or for notes and files the text as it is, which `read_query` can read.

    Raises:
        ValueError: if nothing fits; the message lists the nearest titles.
        FileNotFoundError: if there is no such file.

    Chapter 7.
    """
    text = text.strip()
    if text.lower().endswith(NOTATION + SOUND):
        if not Path(text).expanduser().is_file():
            raise FileNotFoundError(f"{text}: no such file")
        return text
    if PITCHES.fullmatch(text):
        return text
    index = index or default_index()
    titles = index.titles()
    ids = {name: i for i, (name, _) in enumerate(titles)}
    number = re.fullmatch(r"(o.?neill|ryan|aird)\D*?(\d+)", text, re.IGNORECASE)
    if number:
        i = _numbered(COLLECTIONS[re.sub(r"\W", "", number[1].lower())], int(number[2]), ids)
    elif text in ids:
        i = ids[text]
    else:
        i = _titled(text, [title for _, title in titles])
    return text if i is None else index.read_line(int(np.searchsorted(index.lines.pieces, i)))[1]


def _numbered(collection: str, number: int, ids: dict[str, int]) -> int:
    """The tune with a number that is printed in the book; Ryan's tunes have none and are counted from 1."""
    ours = {name: i for name, i in ids.items() if name.startswith(collection)}
    if not ours:
        raise ValueError(f"{collection} is not among the tunes here; pip install 'musicai[corpus]' brings it")
    printed = {int(found[1]): i for name, i in ours.items() if (found := re.fullmatch(r"\D*\d*/0*(\d+)", name))}
    if len(printed) <= len(ours) / 2:
        printed = dict(enumerate(ours.values(), 1))
    if number not in printed:
        raise ValueError(f"{collection} has no tune {number}; its numbers go from {min(printed)} to {max(printed)}")
    return printed[number]


def _titled(text: str, titles: list[str]) -> int | None:
    """The first tune with that title, or None if the text is notes."""
    keys = [title_key(title) for title in titles]
    wanted = title_key(text) or text.lower()
    if wanted in keys:
        return keys.index(wanted)
    try:
        read_query(text)
        return None
    except ValueError:
        near = get_close_matches(wanted, sorted(set(keys) - {""}), n=3, cutoff=0.5)
        shown = " or ".join(f'"{titles[keys.index(key)]}"' for key in near) or "a title"
        raise ValueError(f'no tune is called "{text:.60}"; try {shown}, "O\'Neill 28", notes or a file') from None


def read_match(text: str) -> Melody:
    """Read the best match from what `musicai find --json` prints.

    >>> piece = '{"key": "C major", "tempo": 120, "time_signature": [4, 4], "notes": [[60, 0, 1]]}'
    >>> read_match(f'[{{"title": "One note", "piece": {piece}}}]').name
    'One note'

    Args:
        text: JSON.

    Returns: the tune of the first match.

    Raises:
        ValueError: if there is no match, or this is something else.

    Chapter 7.
    """
    try:
        match = json.loads(text)[0]
        piece, notes = match["piece"], tuple(Note(*row) for row in match["piece"]["notes"])
        return Melody(notes, match["title"], piece["key"], piece["tempo"], piece["time_signature"])
    except IndexError:
        raise ValueError("`musicai find --json` found nothing to start from") from None
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"this is not what `musicai find --json` prints ({error!r:.80})") from error
