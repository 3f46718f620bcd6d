"""What one may ask of a song: every argument of `compose` checked, with defaults from the source. Chapter 7."""

import math
import re
import secrets
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from musicai.composition.sources import count_bars, find_form, lay_out, play_out
from musicai.notes import PITCH_CLASSES, Melody, note_name
from musicai.notes.notation import name_in_key
from musicai.search.queries import read_names

from .controls import Controls, density, read_key, read_meter, read_number, refuse, scale_of, syncopation

KEY, METER, TEMPO, BARS = "D major", (4, 4), 120.0, 32  # without a source
LOWEST, HIGHEST = (63.0, 3.0), (81.4, 2.4)  # means and deviations of the range's ends in the folk corpus's train split
HOMELY = 7.0  # how much more often its low end is the tonic or the fifth than another note of the scale
MOTIF, MOST_BARS = 8, 256  # a source of fewer bars is a motif, and the song is as long as one without a source


def read_controls(source: Melody | None, asked: Mapping[str, object]) -> Controls:
    """Check the arguments of `compose`, and take those that are None from the source.

    >>> read_controls(None, {"key": "Dm", "bars": 16}).form
    ('A', 'A', 'B', 'B')

    Args:
        source: a melody with a key and a metre, or None.
        asked: the arguments by their names.

    Returns: the controls.

    Raises:
        ValueError: as in `compose`.

    Chapter 7.
    """
    given = {name: value for name, value in asked.items() if value is not None}

    def number(name: str, default: object, low: float, high: float, whole: bool = False) -> float:
        return read_number(name, given.get(name, default), low, high, whole)

    if source is None and "closeness" in given:
        raise refuse("closeness", given["closeness"], "a source as well: without one, there is nothing to be close to")
    for name in ("chords", "strict"):
        if not isinstance(given.get(name, True), bool | np.bool_):
            raise refuse(name, given[name], "True or False")
    if (voices := number("voices", 1, 1, 4, True)) not in (1, 4):
        raise refuse("voices", given["voices"], "1, or 4 for four voices")
    key = read_key(given.get("key", source.key if source else KEY))
    meter = read_meter(given.get("meter", source.time_signature if source else METER))
    tempo = number("tempo", np.clip(source.tempo, 20, 400) if source else TEMPO, 20, 400)
    request = Controls(
        key, meter, tempo, *_bars_and_form(source, given), range=(0, 127), voices=voices,
        closeness=number("closeness", 0.5 if source else 0, 0, 1), temperature=number("temperature", 0.9, 0.1, 2),
        chords=bool(given.get("chords", True)), strict=bool(given.get("strict", False)),
        seed=number("seed", secrets.randbelow(2**32), 0, 2**63 - 1, True),
    )  # fmt: skip
    if "range" in given:
        request = replace(request, range=read_range(given["range"], request.tonic, request.mode))
    laid = play_out(lay_out(source, request), request) if source else None
    if "range" not in given:
        low, high = (int(laid.pitches.min()), int(laid.pitches.max())) if laid else usual_range(request)
        wide = 11 if laid is None or count_bars(source) >= MOTIF else 19  # 11: room for every triad; 19: the median
        low = min(127 - wide, max(0, low - max(0, wide - (high - low) + 1) // 2))
        request = replace(request, range=(low, max(high, low + wide)))
    soft = {"density": (density, 0.25, 4), "syncopation": (syncopation, 0, 1)}
    for name, (measure, *limits) in soft.items():
        value = number(name, None, *limits) if name in given else measure(laid) if laid else math.nan
        request = replace(request, **{name: value})
    return request


def usual_range(request: Controls) -> tuple[int, int]:
    """Draw a range such as folk tunes in this key have: the lowest note is mostly a tonic or a fifth."""
    pitches, rng = np.arange(50, 95), np.random.default_rng((request.seed, 2**21))
    steps = (pitches - request.tonic) % 12
    shares = [np.isin(steps, scale_of(request.mode)) * np.exp(-(((pitches - mean) / deviation) ** 2) / 2)
              for mean, deviation in (LOWEST, HIGHEST)]  # fmt: skip
    shares[0] = shares[0] * np.where(np.isin(steps, (0, 7)), HOMELY, 1)
    return tuple(int(rng.choice(pitches, p=share / share.sum())) for share in shares)


def _bars_and_form(source: Melody | None, given: Mapping[str, object]) -> tuple[int, tuple[str, ...]]:
    """How many bars, and in which form: what is not given follows from what is, or from the source."""
    own = min(count_bars(source), MOST_BARS) if source else 0
    usual = own if own >= MOTIF else BARS
    bars = read_number("bars", given.get("bars", usual), 1, MOST_BARS, whole=True)
    if "form" not in given:
        forms = [find_form(source)] * (own >= MOTIF) if source else []
        fit = (form for form in (*forms, tuple("AABB"), tuple("AB")) if bars % len(form) == 0 and bars >= 2 * len(form))
        return bars, next(fit, ("A",))
    form = read_form(given["form"])
    count, each = len(form), 1 + any("'" in label for label in form)
    if "bars" not in given:
        return count * max(each, round(usual / count)), form
    if bars % count or bars < count * each:
        fit = sorted({max(each, bars // count) * count, max(each, -(-bars // count)) * count})
        long = ", long enough to vary," * (each > 1)
        raise ValueError(
            f"form={''.join(form)!r} has {count} equal sections{long} which do not fit bars={bars}: give "
            f"{' or '.join(map(str, fit))} bars, or a form that fits"
        )
    return bars, form


def read_form(form: object) -> tuple[str, ...]:
    """Check a form such as "AABA'", in which each A' varies an A before it.

    >>> read_form("AABA'")
    ('A', 'A', 'B', "A'")
    """
    labels = re.findall("[A-Z]'*", form.upper().replace("’", "'")) if isinstance(form, str) else []
    if not labels or "".join(labels) != form.upper().replace("’", "'") or len(labels) > MOST_BARS:
        raise refuse("form", form, """letters such as "AABB", with "A'" for an A that returns varied""")
    for i, label in enumerate(labels):
        if label[0] not in labels[: i + (label == label[0])]:
            raise refuse("form", form, f"""{label[0]} before {label}, which varies it, as in "{label[0]}{label}\"""")
    return tuple(labels)


def read_range(limits: object, tonic: int, mode: str) -> tuple[int, int]:
    """Check a range such as ("D4", "B5"), in which the triad on the tonic must find room.

    >>> read_range(("d4", 83), 2, "dorian")
    (62, 83)
    """
    try:
        names = [x if isinstance(x, str) else note_name(read_number("range", x, 0, 127, True)) for x in limits]
        low, high = read_names(" ".join(name[:1].upper() + name[1:] for name in names))
        good = names[0][-1:].isdigit() and 0 <= low <= high <= 127
    except (TypeError, ValueError, IndexError):
        good = False
    if not good:
        raise refuse("range", limits, 'the lowest and the highest note, such as ("D4", "B5") or (62, 83)')
    triad = [(tonic + step) % 12 for step in scale_of(mode)[:5:2]]
    if any((pitch - low) % 12 + low > high for pitch in triad):
        root = min((p for p in range(tonic, 121, 12)), key=lambda p: (abs(p - low), p))
        key = f"{PITCH_CLASSES[tonic]} {mode}"
        fits = f"{name_in_key(root, key)} to {name_in_key(root + scale_of(mode)[4], key)}"
        raise refuse("range", limits, f"one in which the tonic triad finds room, such as {fits}")
    return low, high
