"""ABC tunes to notes, by the ABC standard 2.1: one pass over the text, one method per kind of token.

An accidental lasts until the bar line, for its own letter and octave. `scripts/check_abc.py` compares the notes of
every tune in the folk corpus with music21's reading of the same text.
"""

import re
from collections.abc import Iterable, Iterator
from fractions import Fraction
from functools import cache

# By the first three letters: the mode's full name, and how many sharps fewer than major on the same tonic it has.
MODES = {"": ("major", 0), "maj": ("major", 0), "ion": ("major", 0), "lyd": ("lydian", -1), "mix": ("mixolydian", 1)}
MODES |= {"dor": ("dorian", 2), "m": ("minor", 3), "min": ("minor", 3), "aeo": ("minor", 3), "phr": ("phrygian", 4)}
MODES |= {"loc": ("locrian", 5)}
GERMAN_KEYS = {"H": "B", "Es": "Eb", "As": "Ab"}
FIFTHS = "FCGDAEB"  # the order of the sharps in a signature; that of the flats is its reverse
STEPS = dict(zip("CDEFGAB", (0, 2, 4, 5, 7, 9, 11), strict=True))
ALTERATIONS = {"^^": 2, "^": 1, "=": 0, "_": -1, "__": -2}
TUPLETS = {2: 3, 3: 2, 4: 3, 6: 2, 8: 3}  # p notes in the time of q; for 5, 7 and 9 the metre decides

_COMMENTS = re.compile(r"^%%begin(\w+)[\s\S]*?^%%end\1.*\n?|^[ \t]*%.*\n?|(?<!\\)%.*", re.MULTILINE)
# Chord symbols and decorations. O'Neill's "Hx|" is a fermata over a bar line: this x, which anchors it, takes no time.
# A decoration has no spaces unless one of its letters shows that it is words: a lone "!" only ends a line.
_WORDS = re.compile(
    r"""(?:"[^"\n]*"|![^!\s|]+!|H)x(?=[ \t]*[\[|:]) | "[^"\n]*" | ![^!\s|]+! | ![^!\n|]*[h-t][^!\n|]*!""", re.VERBOSE
)
_LENGTH = r"(\d*)(/*)(\d*)"
_NOTE = r"(?:(\^\^?|__?|=)(\d*/\d*)?)?([A-Ga-g])([,']*)" + _LENGTH
_NOTE_AND_TIE = re.compile(_NOTE + "(-?)")
_TOKEN = re.compile(
    rf"""
      (?P<field>^[ \t]*([A-Zmrsw+]):(?![|:])(.*))
    | (?P<inline_field>\[([A-Za-z]):([^\]\n]*)\])
    | (?P<bar>\[?[|:]*\|[|:\]]*|:+|\[\d)
    | (?P<tuplet>\((\d)(?::(\d*))?(?::(\d*))?)
    | (?P<grace>\{{([^}}\n]*)\}})
    | (?P<chord>\[([^\]\[|\n]*)\]{_LENGTH})
    | (?P<plus>\+([^+\s|]+)\+)
    | (?P<note>{_NOTE})
    | (?P<rest>[zx]{_LENGTH})
    | (?P<measure_rest>[ZX](\d*))
    | (?P<broken>(>+|<+))
    | (?P<tie>-)
    | (?P<overlay>&)
    """,
    re.MULTILINE | re.VERBOSE,
)


def parse_block(texts: Iterable[str]) -> list[dict]:
    """Parse tunes; one that cannot be read gives {"number", "name", "error"} in its place.

    >>> parse_block(["X:1\\nT:Scale\\nM:2/4\\nL:1/8\\nK:G\\nFG|"])[0]["notes"]
    [[66, 67], [0.0, 0.5], [0.5, 0.5]]

    Args:
        texts: the ABC text of each tune, from its `X:` line on.

    Returns: per tune a dict with number, name, key ("A minor"), tempo (quarter notes per minute), time_signature and
        notes: [MIDI pitches, starts, durations], both times in beats (quarter notes).

    Source: the ABC music standard 2.1, abcnotation.com. Chapter 1.
    """
    rows = []
    for text in texts:
        try:
            rows.append(parse_tune(text))
        except (ValueError, ZeroDivisionError) as error:
            rows.append({"number": _header_field(text, "X"), "name": _header_field(text, "T"), "error": str(error)})
    return rows


def parse_tune(text: str) -> dict:
    """The first voice of one ABC tune, as `parse_block` describes it; ValueError says why a tune cannot be read."""
    clean = _WORDS.sub(" ", _COMMENTS.sub("", text))
    key_line = re.search(r"^[ \t]*K:.*$", clean, re.MULTILINE)
    if key_line is None:
        raise ValueError("no key: the header of a tune must end with a line such as K:G")
    rule = re.search(r"propagate-accidentals[= \t]+(octave|pitch|not)", text)
    header = "\n".join(f"{letter}:{_header_field(clean[: key_line.end()], letter)}" for letter in "MLK")
    body = re.split(r"\n[ \t]*\n", clean[key_line.end() :].strip())[0]  # an empty line ends a tune
    for voice_text in _voices(body):
        voice = _Voice(rule[1] if rule else "octave")
        voice.read(f"{header}\n{voice_text}")
        if notes := join_ties(voice.sounding()):
            return {
                "number": _header_field(text, "X"),
                "name": _header_field(text, "T"),
                "key": voice.keys[0] if voice.keys else "",
                "tempo": _tempo(_header_field(clean, "Q")),
                "time_signature": next(filter(None, voice.metres), (4, 4)),
                "notes": [list(column) for column in zip(*notes, strict=True)],
            }
    raise ValueError("no notes")


def join_ties(sounding: Iterable[tuple]) -> list[tuple[int, float, float]]:
    """(pitch, start, duration) of the notes heard, from (pitch, start, duration, tied to the next note).

    O'Neill's transcribers also wrote slurs as ties, so a tie counts only between equal pitches with no gap.
    """
    notes: list[list] = []
    open_tie = False
    for pitch, start, duration, tied in sounding:
        if open_tie and notes[-1][0] == pitch and notes[-1][1] + notes[-1][2] == start:
            notes[-1][2] += duration
        else:
            notes.append([pitch, start, duration])
        open_tie = tied
    return [(pitch, float(start), float(duration)) for pitch, start, duration in notes]


def _header_field(text: str, letter: str) -> str:
    """The first field of this letter, or ""."""
    found = re.search(rf"^[ \t]*{letter}:([^%\n]*)", text, re.MULTILINE)
    return found[1].strip() if found else ""


def _voices(body: str) -> Iterator[str]:
    """The text of each voice, its lines put together where voices alternate; what precedes the first V: goes to all."""
    common, *rest = re.split(r"^[ \t]*V:(.*)|\[V:([^\]\n]*)\]", body, flags=re.MULTILINE)
    voices: dict[tuple, str] = {}
    for line, inline, text in zip(rest[::3], rest[1::3], rest[2::3], strict=True):
        name = tuple((line or inline or "").split()[:1])  # "1" of `V:1 clef=treble`
        voices[name] = voices.get(name, common) + text
    yield common
    yield from voices.values()


class _Voice:
    """Reads one voice. Each method below handles the token of its name in `_TOKEN`."""

    def __init__(self, propagate: str):
        self.propagate = propagate  # to the bar line: "octave", "pitch" (in all octaves) or "not"
        self.events: list[list] = []  # [pitch or None for a rest, duration in beats, tied to the next note]
        self.signature: dict[str, int] = {}  # alteration of each letter
        self.accidentals: dict[int | str, int] = {}  # in force until the bar line, by natural pitch or by letter
        self.keys: list[str] = []
        self.metres: list[tuple[int, int] | None] = []
        self.unit = ""  # the length of a note without a number, as a part of a whole note: "1/8"
        self.sounded = self.tied = (-1, 0)  # natural pitch and alteration: of the last note, of one tied to the next
        self.next_factor: Fraction | None = None  # for the second note of a broken rhythm
        self.tuplet_ratio, self.tuplet_left = Fraction(1), 0
        self.silent = False  # the second layer of a bar ("&")

    def read(self, text: str) -> None:
        """Take in the tokens of a text, one after another."""
        for token in _TOKEN.finditer(text):
            if self.silent and token.lastgroup not in {"bar", "field", "inline_field"}:
                continue
            getattr(self, f"_{token.lastgroup}")(*token.groups()[token.lastindex :])

    def sounding(self) -> Iterator[tuple]:
        """(pitch, start, duration, tied to the next) of every note, in beats."""
        start = Fraction(0)
        for pitch, duration, tied in self.events:
            if pitch is not None and duration > 0:
                yield pitch, start, duration, tied
            start += duration

    def _field(self, letter: str, value: str, *_) -> None:
        value = value.strip()
        if letter == "K":
            name, signature = _key(value)
            if signature is not None:
                self.keys.append(name)
                self.signature = signature
                self.accidentals.clear()
        elif letter == "M":
            self.metres.append(_metre(value))
        elif letter == "L" and value:
            self.unit = _unit(value)

    _inline_field = _field

    def _bar(self, *_) -> None:
        self.accidentals.clear()
        self.silent = False

    def _overlay(self, *_) -> None:
        self.silent = True

    def _tuplet(self, p: str, q: str | None, r: str | None, *_) -> None:
        if int(p) < 2:
            return
        compound = bool(self.metres) and self.metres[-1] in {(6, 8), (9, 8), (12, 8)}
        notes_in_time_of = int(q or TUPLETS.get(int(p), 3 if compound else 2))
        self.tuplet_ratio, self.tuplet_left = Fraction(notes_in_time_of, int(p)), int(r or p)

    def _grace(self, inside: str, *_) -> None:
        """Grace notes take no time, but their accidentals last to the bar line as well."""
        sounded = self.sounded
        for note in _NOTE_AND_TIE.finditer(inside):
            self._pitch(*note.groups()[:4])
        self.sounded = sounded

    def _chord(self, inside: str, *length) -> None:
        """The top note; a chord lasts as long as its first note says, times the number behind the bracket."""
        notes = [note.groups() for note in _NOTE_AND_TIE.finditer(inside)]
        if not notes:
            return
        tied_from = self.tied
        pitches = []
        for note in notes:
            self.tied = tied_from
            pitches.append((self._pitch(*note[:4]), note[-1] == "-", self.sounded))
        pitch, tied, self.sounded = max(pitches)
        self._add(pitch, notes[0][4:7], _beats("1/4", *length[:3]))
        if tied:
            self._tie()

    def _plus(self, inside: str, *_) -> None:
        """A decoration of ABC 2.0 (`+trill+`, `+f+`), or a chord of ABC 1.6 (`+CEG+`)."""
        if inside.strip("f") and re.fullmatch(f"(?:{_NOTE})+", inside):
            self._chord(inside, "", "", "")

    def _note(self, accidental, fraction, letter, octave, *length) -> None:
        self._add(self._pitch(accidental, fraction, letter, octave), length[:3])

    def _rest(self, *length) -> None:
        self._add(None, length[:3])

    def _measure_rest(self, count: str, *_) -> None:
        beats, unit = (self.metres and self.metres[-1]) or (4, 4)
        self.events.append([None, int(count or 1) * Fraction(4 * beats, unit), False])

    def _broken(self, marks: str, *_) -> None:
        """`a>b`: the first of two notes takes half of the second; `>>` three quarters of it."""
        short = Fraction(1, 2 ** len(marks))
        before, self.next_factor = (2 - short, short) if marks[0] == ">" else (short, 2 - short)
        if self.events:
            self.events[-1][1] *= before

    def _tie(self, *_) -> None:
        if self.events:
            self.events[-1][2] = True
            self.tied = self.sounded

    def _pitch(self, accidental: str | None, fraction: str | None, letter: str, octave: str) -> int:
        """The MIDI pitch of a note; remembers its accidental until the bar line."""
        if fraction:
            raise ValueError(f"{accidental}{fraction}{letter}: a microtone has no MIDI pitch")
        step = letter.upper()
        natural = 60 + STEPS[step] + 12 * (letter.islower() + octave.count("'") - octave.count(","))
        place = step if self.propagate == "pitch" else natural
        if accidental:
            alteration = ALTERATIONS[accidental]
            if self.propagate != "not":
                self.accidentals[place] = alteration
        elif self.tied[0] == natural:  # a tie over the bar line keeps the pitch
            alteration = self.tied[1]
        else:
            alteration = self.accidentals.get(place, self.signature.get(step, 0))
        self.sounded = natural, alteration
        return natural + alteration

    def _add(self, pitch: int | None, length: tuple[str, str, str], times: Fraction | None = None) -> None:
        """Append a note or a rest."""
        duration = _beats(self.unit or self._default_unit(), *length)
        if times is not None:
            duration *= times
        if self.next_factor is not None:
            duration *= self.next_factor
        if self.tuplet_left:
            duration *= self.tuplet_ratio
            self.tuplet_left -= 1
        self.events.append([pitch, duration, False])
        self.next_factor, self.tied = None, (-1, 0)

    def _default_unit(self) -> str:
        beats, unit = self.metres[0] or (4, 4)
        self.unit = "1/8" if Fraction(beats, unit) >= Fraction(3, 4) else "1/16"
        return self.unit


@cache
def _beats(unit: str, numerator: str, slashes: str, denominator: str) -> Fraction:
    """The length of `a3/2`, `a/` or `a//` in beats, exact: a third of a beat stays a third."""
    return 4 * Fraction(unit) * Fraction(int(numerator or 1), int(denominator) if denominator else 2 ** len(slashes))


def _key(value: str) -> tuple[str, dict[str, int] | None]:
    """Name and signature (letter to alteration) of a K: field; no signature if it sets only the clef."""
    if value[:2] in {"HP", "Hp"}:  # the Highland bagpipe; "Hp" says that its sharps are understood
        return "", {"F": 1, "C": 1} if value[1] == "p" else {}
    value = GERMAN_KEYS.get(value, value)
    found = re.match(r"([A-G])([#b]?)[ \t]*([A-Za-z]*)", value)
    if found is None:
        if value.lower() in {"", "none"}:
            return "", {}
        if re.match(r"clef|treble|bass|alto|tenor|perc|\w+=", value):
            return "", None
        raise ValueError(f"K:{value}: not a key")
    tonic, sign, word = found.groups()
    explicit = word.lower() == "exp"  # "D exp _b": only the accidentals listed
    mode, fewer = MODES.get(word.lower()[:3]) or MODES["m" if word[:1] in {"m", "M"} else ""]
    sharps = FIFTHS.index(tonic) - 1 + 7 * ((sign == "#") - (sign == "b")) - fewer
    signature = {} if explicit else _signature(sharps)
    for accidental, letter in re.findall(r"(?<![a-z])(\^\^?|__?|=)([A-Ga-g])(?![A-Za-z])", value[found.end() :]):
        signature[letter.upper()] = ALTERATIONS[accidental]
    return "" if explicit else f"{tonic}{sign} {mode}", signature


def _signature(sharps: int) -> dict[str, int]:
    """Alteration of each letter for so many sharps, or flats if negative."""
    step = 1 if sharps > 0 else -1
    letters = [FIFTHS[::step][i % 7] for i in range(abs(sharps))]
    return {letter: step * letters.count(letter) for letter in letters}


def _metre(value: str) -> tuple[int, int] | None:
    """(beats, unit) of an M: field, the terms of "2+3/8" added up; None for a free metre."""
    if value in {"C", "C|"}:
        return (4, 4) if value == "C" else (2, 2)
    if value.lower() in {"", "none"}:
        return None
    found = re.search(r"(\d[\d+ ]*)\)?[ \t]*/[ \t]*(\d+)", value)
    if found is None:
        raise ValueError(f"M:{value}: not a metre")
    return sum(map(int, re.findall(r"\d+", found[1]))), int(found[2])


def _unit(value: str) -> str:
    """The unit note length of an L: field, as a part of a whole note."""
    found = re.match(r"(\d+)[ \t]*(?:/[ \t]*(\d+))?", value)
    if found is None:
        raise ValueError(f"L:{value}: not a note length")
    return f"{found[1]}/{found[2] or 1}"


def _tempo(value: str) -> float:
    """Quarter notes per minute of a Q: field; 120 where it gives no number."""
    found = re.search(r"(?:([\d/ ]+)=)?[ \t]*(\d+(?:\.\d+)?)", value)
    if found is None or float(found[2]) == 0:
        return 120.0
    beat = sum(map(Fraction, found[1].split())) if found[1] and found[1].strip() else Fraction(1, 4)
    return float(4 * beat * Fraction(found[2]))
