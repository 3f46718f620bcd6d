"""Convert ABC tunes to notes by the ABC standard 2.1, in one pass over the text, with one method per kind of token.

An accidental lasts until the bar line, and only for its own letter and octave. `scripts/check_abc.py` compares the
notes of every tune in the folk corpus with music21's reading of the same text.
"""

import os
import re
import warnings
from collections.abc import Iterator
from fractions import Fraction
from functools import cache
from itertools import accumulate
from json import detect_encoding

from musicai.notes import notation
from musicai.notes.midi import MAX_BYTES, naming, write_file
from musicai.notes.notation import FIFTHS, MODES, Chord, Speller, Value, signature_of
from musicai.notes.note import STEPS, Note, Track, require
from musicai.notes.score import Melody, Score

ALTERATIONS = {"^^": 2, "^": 1, "=": 0, "_": -1, "__": -2}
TUPLETS = {2: 3, 3: 2, 4: 3, 6: 2, 8: 3}  # p notes in the time of q; for 5, 7 and 9 the metre decides

_LENGTH = r"(\d*)(/*)(\d*)"
_NOTE = r"(?:(\^\^?|__?|=)(\d*/\d*)?)?([A-Ga-g])([,']*)" + _LENGTH
_NOTE_AND_TIE = re.compile(_NOTE + "(-?)")
_TOKEN = re.compile(
    rf"""
      (?P<field>^[ \t]*([A-Zmrsw+]):(?![|:])(.*))
    | (?P<inline_field>\[([A-Za-z]):([^\]\n]*)\])
    | (?P<bar>((?:\[?[|:]*\|[|:\]]*|:+)(?:[ \t]*\d[\d,.-]*)?|\[\d[\d,.-]*))
    | (?P<tuplet>\(([2-9])(?::(\d*))?(?::(\d*))?)
    | (?P<grace>\{{([^}}\n]*)\}})
    | (?P<chord>\[([^\]\[|\n]*)\]{_LENGTH})
    | (?P<note>{_NOTE})
    | (?P<rest>[zx]{_LENGTH})
    | (?P<bar_rest>[ZX](\d*))
    | (?P<broken>(>+|<+))
    | (?P<tie>-)
    """,
    re.MULTILINE | re.VERBOSE,
)
_MODE = r"(?:[ \t]*(?i:m|(?:maj|min|ion|dor|phr|lyd|mix|aeo|loc)[a-z]*))?"
# A bar line after the key means that the music begins on the same line; a clef has letters that no music has.
_KEY_LINE = re.compile(rf"^[ \t]*K:(?:[ \t]*[A-G][#b]?{_MODE}(?=[^|\nh-tw]*\|)|.*$)", re.MULTILINE)
_COMMENT = re.compile(r"^%%begin(\w+)[\s\S]*?^%%end\1.*\n?|^[ \t]*%.*\n?|(?<!\\)%.*", re.MULTILINE)
_OLD_CHORD = re.compile(rf"\+(?!f+\+)((?:{_NOTE})+)\+")  # "+CEG+" of ABC 1.6; "+ff+" is loudness
_NOT_NOTES = re.compile(
    r"""
      (?:"[^"\n]*"|![^!\s|]+!|H)x(?=[ \t]*[\[|:])   # a fermata over a bar line: this x takes no time
    | "[^"\n]*"                                     # a chord symbol or words
    | !(?:[^!\s|]+|[^!\n|]*[h-t][^!\n|]*)!          # a decoration; with a blank it needs a word: a lone "!" ends a line
    | \+(?=[^+\s|]*[A-Za-z])[^+\s|]+\+             # a decoration of ABC 2.0, but not the metre 2+2+3/8
    | &[^|\n]*                                      # the second layer of a bar
    """,
    re.VERBOSE,
)


def read_abc(path: str | os.PathLike, expand_repeats: bool = False) -> list[Melody]:
    """Read the tunes of an ABC file: the first voice of each, and the top notes of chords.

    >>> tunes = read_abc("tunes.abc")  # doctest: +SKIP

    Args:
        path: a file in UTF-8, UTF-16 or Windows-1252.
        expand_repeats: whether to write out repeats, as they are played (`musicai.notes.unfold_repeats`).

    Returns: the melodies, in order. Tunes that cannot be read are left out, with one warning that counts them.

    Raises:
        ValueError: if no tune can be read, or the file is over 8 MiB; the message names the file and the reason.
        OSError: if there is no such file, or it cannot be read.

    Chapter 6.
    """
    name, found, wrong = os.fsdecode(path), [], []
    for text in _read_texts(path):
        try:
            row = parse_tune(text, expand_repeats)
            found.append(Melody(*(row[key] for key in ("notes", "name", "key", "tempo", "time_signature"))))
        except ValueError as error:
            wrong.append(f"{label_of(text)}: {error}".removeprefix(" '': "))  # a tune without number and title
    if not found:
        raise ValueError(f"{name}: no tune can be read; {wrong[0]}")
    if wrong:
        left_out = f"{len(wrong)} of {len(wrong) + len(found)} tunes left out"
        warnings.warn(f"{name}: {left_out}; the first is {wrong[0]}", stacklevel=2)
    return found


def read_abc_score(path: str | os.PathLike, expand_repeats: bool = False) -> Score:
    """Read the first tune of an ABC file with all its voices, one per track; errors are those of `read_abc`."""
    with naming(path):
        parts, rows = zip(*_parse_voices(_read_texts(path)[0], expand_repeats), strict=True)
    tracks = [Track(row["notes"], name=part) for part, row in zip(parts, rows, strict=True)]
    tempos, metres = ((0.0, rows[0]["tempo"]),), ((0.0, *rows[0]["time_signature"]),)
    return Score(tuple(tracks), tempos, metres, rows[0]["key"], rows[0]["name"])


def tunes_in(text: str) -> list[str]:
    """Divide a text into tunes, each from its `X:` line up to the next one."""
    return re.split(r"^(?=[ \t]*X:)", text, flags=re.MULTILINE)[1:]


def _read_texts(path: str | os.PathLike) -> list[str]:
    """The text of every tune in a file; metre, length and tempo before the first apply to all that have none."""
    with open(os.path.expanduser(path), "rb") as file:
        data = file.read(MAX_BYTES + 1)
    require(len(data) <= MAX_BYTES, f"{os.fsdecode(path)}: over {MAX_BYTES >> 20} MiB of ABC; divide the file")
    try:
        text = data.decode(detect_encoding(data))  # as in JSON, the first character is ASCII or a byte order mark
    except UnicodeDecodeError:
        text = data.decode("cp1252", "replace")
    text = "\n".join(text.splitlines())
    if not (tunes := tunes_in(text)):
        return [text]
    shared = "".join(f"{line}\n" for line in re.findall("^[MLQ]:.*", text[: text.index(tunes[0])], re.MULTILINE))
    return [re.sub("^(?=[ \t]*K:)", shared.replace("\\", r"\\"), tune, count=1, flags=re.MULTILINE) for tune in tunes]


def parse_tune(text: str, expand_repeats: bool = False) -> dict:
    """Parse the first voice of one ABC tune.

    >>> parse_tune("X:1\\nT:Scale\\nM:2/4\\nL:1/8\\nK:G\\nFG|")["notes"][0]
    Note(pitch=66, start=0.0, duration=0.5, velocity=80)

    Args:
        text: the tune, starting at its `X:` line.
        expand_repeats: whether to write out repeats, as they are played (`musicai.notes.unfold_repeats`).

    Returns: a dict with number, name, key ("A minor"), tempo (quarter notes per minute), time_signature, notes and
    bars: (beat, signs) of each bar line, or nothing if repeats are written out.

    Raises:
        ValueError: if the tune cannot be read; the message says why.

    Source: the ABC music standard 2.1, abcnotation.com. Chapter 1.
    """
    return next(_parse_voices(text, expand_repeats))[1]


def _parse_voices(text: str, expand_repeats: bool) -> Iterator[tuple[str, dict]]:
    """Parse each voice that has notes: its name, and a dict as in `parse_tune`."""
    text = "\n".join(text.splitlines())  # also reads files from Windows and old Macs
    clean = _NOT_NOTES.sub(" ", _OLD_CHORD.sub(r"[\1]", _COMMENT.sub("", text)))
    key_line = _KEY_LINE.search(clean)
    require(key_line is not None, "no key: the header of a tune must end with a line such as K:G")
    header = "\n".join(f"{letter}:{_first_field(clean[: key_line.end()], letter)}" for letter in "MLK")
    body = re.split(r"\n[ \t]*\n", clean[key_line.end() :].strip())[0]  # an empty line ends a tune
    parts = dict(re.findall(r'^[ \t]*V:[ \t]*(\S+).*?\b(?:name|nm)="([^"\n]*)"', text, re.MULTILINE))
    facts = {"number": _first_field(text, "X"), "name": _first_field(text, "T").replace("\\%", "%")}
    silent = True
    try:
        for part, lines in _voices(body):
            voice = _Voice(f"{header}\n{lines}")
            # O'Neill's transcribers also wrote slurs as ties, so a tie counts only between equal pitches with no gap.
            if notes := notation.join_ties(voice.sounding(expand_repeats)):
                facts |= {"key": (voice.keys or [""])[0], "time_signature": next(filter(None, voice.metres), (4, 4))}
                facts |= {"tempo": _tempo(_first_field(clean, "Q")), "bars": () if expand_repeats else voice.lines()}
                yield parts.get(part, "").replace("\\%", "%"), facts | {"notes": tuple(Note(*note) for note in notes)}
                silent = False
    except ZeroDivisionError:
        raise ValueError("a length is divided by zero") from None
    require(not silent, "no notes")


def label_of(text: str) -> str:
    """The number and title of a tune, as messages name it."""
    return f"{_first_field(text, 'X')} {_first_field(text, 'T')!r}"


def _first_field(text: str, letter: str) -> str:
    found = re.search(rf"^[ \t]*{letter}:((?:\\%|[^%\n])*)", text, re.MULTILINE)
    return found[1].strip() if found else ""


def _voices(body: str) -> Iterator[tuple[str, str]]:
    """Yield each voice's id and text, joining its lines if voices alternate; what precedes the first V: goes to all."""
    common, *rest = re.split(r"^[ \t]*V:(.*)|\[V:([^\]\n]*)\]", body, flags=re.MULTILINE)
    voices: dict[str, str] = {}
    for line, inline, text in zip(rest[::3], rest[1::3], rest[2::3], strict=True):
        name, *_ = [*(line or inline or "").split(), ""]  # "1" of `V:1 clef=treble`
        voices[name] = voices.get(name, common) + text
    yield "", common
    yield from voices.items()


class _Voice:
    """Reads one voice. Each method below `sounding` handles the token of its name in `_TOKEN`."""

    def __init__(self, text: str):
        # each event: [(natural MIDI pitch, alteration) or None for a rest, duration in beats, tied to the next note]
        self.events: list[list] = [[None, Fraction(0), False]]
        self.bars: dict[int, str] = {}  # bar lines by the number of events before them
        self.keys, self.metres = [], []  # names; (beats, unit) or None for a free metre
        self.unit = ""  # the length of a note without a number, as a part of a whole note: "1/8"
        self.signature, self.accidentals = {}, {}  # alterations by letter; by natural pitch, until the bar line
        self.next_factor, self.tuplet_ratio, self.tuplet_left = 1, 1, 0  # the first: for the second of a broken rhythm
        for token in _TOKEN.finditer(text):
            getattr(self, f"_{token.lastgroup}")(*token.groups()[token.lastindex :])

    def sounding(self, expand_repeats: bool) -> Iterator[tuple]:
        """Yield (pitch, start, duration, True, tied to the next) for every note, in beats."""
        start, whole = Fraction(0), len(self.events)
        for first, stop in notation.unfold_repeats(self.bars, whole) if expand_repeats else [(0, whole)]:
            for pitch, duration, tied in self.events[first:stop]:
                if pitch and duration:
                    yield sum(pitch), start, duration, True, tied
                start += duration

    def lines(self) -> tuple[tuple[float, str], ...]:
        """The bar lines: (beat, signs) of each."""
        starts = list(accumulate((duration for _, duration, _ in self.events), initial=Fraction(0)))
        return tuple((float(starts[i]), signs.strip()) for i, signs in self.bars.items())

    def _field(self, letter: str, value: str, *_) -> None:
        value = value.strip()
        if letter == "K" and (key := _key(value)):
            name, self.signature = key
            self.keys.append(name)
            self.accidentals.clear()
        elif letter == "M":
            self.metres.append(_metre(value))
            beats, part = self.metres[-1] or (4, 4)
            self.unit = self.unit or ("1/8" if 4 * beats >= 3 * part else "1/16")
        elif letter == "L" and value:
            self.unit = value.replace(" ", "")
            require(re.fullmatch(r"0*[1-9]\d*(/0*[1-9]\d*)?", self.unit) is not None, f"L:{value}: not a length")

    _inline_field = _field

    def _bar(self, text: str, *_) -> None:
        self.accidentals.clear()
        self.bars[len(self.events)] = f"{self.bars.get(len(self.events), '')} {text}"

    def _tuplet(self, p: str, q: str | None, r: str | None, *_) -> None:
        in_time_of = int(q or TUPLETS.get(int(p), 3 if self.metres[-1] in {(6, 8), (9, 8), (12, 8)} else 2))
        self.tuplet_ratio, self.tuplet_left = Fraction(in_time_of, int(p)), int(r or p)

    def _grace(self, inside: str, *_) -> None:
        """Grace notes take no time, but their accidentals also last until the bar line."""
        for note in _NOTE_AND_TIE.findall(inside):
            self._pitch(*note[:4])

    def _chord(self, inside: str, *length) -> None:
        """Keep the top note; a chord lasts as long as its first note, times the number after the bracket."""
        if notes := _NOTE_AND_TIE.findall(inside):
            pitches = [self._pitch(*note[:4]) for note in notes]
            top = max(range(len(notes)), key=lambda i: sum(pitches[i]))
            self._add(pitches[top], notes[0][4:7], _beats("1/4", *length[:3]))
            self.events[-1][2] = bool(notes[top][-1])

    def _note(self, accidental, fraction, letter, octave, *length) -> None:
        self._add(self._pitch(accidental, fraction, letter, octave), length)

    def _rest(self, *length) -> None:
        self._add(None, length)

    def _bar_rest(self, count: str, *_) -> None:
        beats, part = self.metres[-1] or (4, 4)
        self.events.append([None, int(count or 1) * Fraction(4 * beats, part), False])

    def _broken(self, marks: str, *_) -> None:
        """`a>b`: the first of two notes takes half of the second; with `>>`, three quarters of it."""
        short = Fraction(1, 2 ** len(marks))
        before, self.next_factor = (2 - short, short) if marks[0] == ">" else (short, 2 - short)
        self.events[-1][1] *= before

    def _tie(self, *_) -> None:
        self.events[-1][2] = True

    def _pitch(self, accidental: str | None, fraction: str | None, letter: str, octave: str) -> tuple[int, int]:
        """Find the natural MIDI pitch and the alteration of a note, and remember its accidental until the bar line."""
        require(not fraction, f"{accidental}{fraction}{letter}: a microtone has no MIDI pitch")
        step = letter.upper()
        last, _, tied = self.events[-1]
        natural = 60 + STEPS[step] + 12 * (letter.islower() + octave.count("'") - octave.count(","))
        if accidental:
            self.accidentals[natural] = ALTERATIONS[accidental]
        elif tied and last and last[0] == natural:  # a tie across the bar line keeps the pitch
            return last
        return natural, self.accidentals.get(natural, self.signature.get(step, 0))

    def _add(self, pitch: tuple[int, int] | None, length: tuple[str, ...], times: Fraction | int = 1) -> None:
        """Append a note or a rest."""
        factor = times * self.next_factor * (self.tuplet_ratio if self.tuplet_left else 1)
        duration = _beats(self.unit, *length[:3])
        self.events.append([pitch, duration if factor == 1 else duration * factor, False])
        self.next_factor, self.tuplet_left = 1, max(0, self.tuplet_left - 1)


@cache
def _beats(unit: str, numerator: str, slashes: str, denominator: str) -> Fraction:
    """The exact length of `a3/2`, `a/` or `a//` in beats: a third of a beat stays a third."""
    return 4 * Fraction(unit) * Fraction(int(numerator or 1), int(denominator) if denominator else 2 ** len(slashes))


def _key(value: str) -> tuple[str, dict[str, int]] | None:
    """The name and signature (alteration by letter) of a K: field, or None if it only sets the clef."""
    if value.lower() in {"", "none"} or value[:2] in {"HP", "Hp"}:  # "Hp": the bagpipes, with the sharps written
        return "", {"F": 1, "C": 1} if value[:2] == "Hp" else {}
    found = re.match(r"([A-H])([#b]|s\b)?[ \t]*([A-Za-z]{0,3})", value)
    if found is None:
        require(re.match(r"clef|treble|bass|alto|tenor|perc|\w+=", value) is not None, f"K:{value}: not a key")
        return None
    tonic, sign = found[1].replace("H", "B"), (found[2] or "").replace("s", "b")  # German H and Es
    word = {"ion": "maj", "aeo": "min", "m": "min"}.get(found[3].lower(), found[3].lower())
    mode = next((i for i, name in enumerate(MODES) if name[:3] == word), MODES.index("major"))
    sharps = 0 if word == "exp" else FIFTHS.index(tonic) + 7 * ((sign == "#") - (sign == "b")) - mode
    signature = {letter: (sharps + 6 - i) // 7 for i, letter in enumerate(FIFTHS)}  # 1: sharp, 0: natural, -1: flat
    for accidental, letter in re.findall(r"(?<![a-z])(\^\^?|__?|=)([A-Ga-g])(?![A-Za-z])", value[found.end() :]):
        signature[letter.upper()] = ALTERATIONS[accidental]  # as in "D =c" or, with no other signature, "D exp _b"
    return "" if word == "exp" else f"{tonic}{sign} {MODES[mode]}", signature


def _metre(value: str) -> tuple[int, int] | None:
    """(beats, unit) of an M: field, adding up the terms of "2+3/8"; None for a free metre."""
    if value.lower() in {"", "none"}:
        return None
    found = re.search(r"(\d[\d+ ]*)\)?[ \t]*/[ \t]*(\d+)", {"C": "4/4", "C|": "2/2"}.get(value, value))
    beats, unit = (sum(map(int, re.findall(r"\d+", found[1]))), int(found[2])) if found else (0, 0)
    require(beats > 0 and unit > 0, f"M:{value}: not a metre")
    return beats, unit


def _tempo(value: str) -> float:
    """The quarter notes per minute of a Q: field, or 120 if it gives no number."""
    found = re.search(r"(?:([\d/ ]+)=)?[ \t]*(\d+(?:\.\d+)?)", value)
    if found is None or float(found[2]) == 0:
        return 120.0
    beat = sum(map(Fraction, (found[1] or "1/4").split()))
    return float(4 * beat * Fraction(found[2]))


# ---- writing


def write_abc(path: str | os.PathLike, score: Score | Melody) -> None:
    """Write a score or a melody as one ABC tune.

    Times are exact or rounded as in `write_musicxml`. A track whose notes overlap becomes several voices. Drums,
    loudness, instruments and all tempos but the first are left out. A failed write leaves an existing file as it was.

    >>> write_abc("song.abc", Melody.from_pitches([60, 62, 64]))  # doctest: +SKIP

    Args:
        path: the file to write.
        score: the music.

    Raises:
        ValueError: if the score has more than 20,000 bars.
        OSError: if the file cannot be written.

    Chapter 6.
    """
    write_file(path, score, _tune_bytes)


def _tune_bytes(score: Score) -> bytes:
    signature, (_, beats, part) = signature_of(score.key), score.time_signatures[0]
    tonic, mode = signature[1].split() if signature else ("none", "")
    lines = ["%abc-2.1", "X:1", f"T:{_one_line(score.name)}", f"M:{beats}/{part}", "L:1/8"]
    lines += [f"Q:1/4={score.tempos[0][1]:.12g}", f"K:{tonic}{mode[:3]}"]
    pitched = [track for track in score.tracks if not track.is_drum]
    tracks = [(track.name, line) for track in pitched for line in notation.voices(track, chords=False)]
    for i, (name, line) in enumerate(tracks, 1):
        lines += [f'V:{i} name="{_one_line(name.replace(chr(34), ""))}"'] * bool(name or len(tracks) > 1)
        lines += _music(line, notation.bars(score), Speller(signature[0] if signature else 0))
    return "\n".join([*lines, ""]).encode("utf-8", "replace")


def _one_line(name: str) -> str:
    return " ".join(name.split()).replace("%", "\\%")


def _music(line: list[Chord], measures: list[tuple], speller: Speller) -> list[str]:
    """Lines of music, four bars each; a new metre has a line of its own."""
    lines, metre = [""], measures[0][2]
    for i, (start, stop, pair) in enumerate(measures):
        if pair != metre:
            lines += [f"M:{pair[0]}/{pair[1]}", ""]
        elif i % 4 == 0 and i:
            lines.append("")
        metre = pair
        speller.new_bar()
        text, now = "", start
        whole = list(notation.values(line, start, stop))
        for j, value in enumerate(whole):
            if value.edges[0] and value.tuplet[0] < 10:  # all that ABC has; others are written as fractions
                count = next(k for k, other in enumerate(whole[j:], 1) if other.edges[1])
                normal = "" if (value.tuplet, count) == ((3, 2), 3) else f":{value.tuplet[1]}:{count}"
                text += f"({value.tuplet[0]}{normal}"
            now += value.duration
            text += _token(value, speller) + " " * ((now - start) % notation.beat_of(pair) == 0)
        lines[-1] += f"{text.strip()} | "
    return [line.strip() for line in [*lines[:-1], lines[-1].strip() + "]"] if line.strip()]


def _token(value: Value, speller: Speller) -> str:
    """A note or rest, in eighths."""
    length = 2 * value.duration * (Fraction(*value.tuplet) if value.tuplet[0] < 10 else 1)
    size = "" if length == 1 else re.sub("^1/", "/", str(length))
    if value.chord is None:
        return f"z{size}"
    letter, alteration, octave, written = speller.spell(value.chord.notes[0].pitch)
    sign = next(sign for sign, by in ALTERATIONS.items() if by == alteration) if written else ""
    marks = letter + "," * (4 - octave) if octave < 5 else letter.lower() + "'" * (octave - 5)
    return f"{sign}{marks}{size}{'-' * value.ties[1]}"
