"""ABC tunes to notes through music21's tokens: the same notes as its full parse, twelve times sooner.

music21 takes 3 ms to read a tune's tokens (pitch, length, tie, tuplet are then known) and 40 ms more to build measures,
beams, clefs and spanners from them. A melody needs none of these.
"""

import re
from fractions import Fraction
from functools import cache

PARSER_VERSION = 1  # raise it when the notes that come out change: cached ones are then parsed again
MODES = {"major": 0, "ionian": 0, "mixolydian": 1, "dorian": 2, "minor": 3, "aeolian": 3, "phrygian": 4, "lydian": -1}


def parse_block(texts: tuple[str, ...]) -> list[dict]:
    """Parse tunes; a tune that music21 cannot read gives {"number", "name", "error"} in its place."""
    from music21 import abcFormat

    rows = []
    for text in texts:
        try:
            rows.append(_parse_tune(text, abcFormat))
        except Exception as error:  # music21 raises whatever its code runs into: any of them means "this tune"
            reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
            rows.append({"number": _field(text, "X"), "name": _field(text, "T"), "error": reason})
    return rows


def _field(text: str, letter: str) -> str:
    """The first header field of this letter in an ABC text, or ""."""
    for line in text.splitlines():
        if line.strip().startswith(f"{letter}:"):
            return line.split(":", 1)[1].split("%")[0].strip()
    return ""


def _parse_tune(text: str, abcFormat) -> dict:
    text = re.sub(r"^\[V:([^\]\n]*)\]", r"V:\1\n", text, flags=re.MULTILINE)  # music21 reads "[V:1]" as a chord
    tokens = _first_voice(abcFormat.ABCFile().readstr(text))
    header = [token for token in tokens if isinstance(token, abcFormat.ABCMetadata)]
    notes = join_ties(_sounding(tokens, abcFormat))
    if not notes:
        raise ValueError("no notes")
    return {
        "number": _field(text, "X"),
        "name": _field(text, "T"),
        "key": next((_key_name(*token.getKeySignatureParameters()) for token in header if token.isKey()), ""),
        "tempo": next((_quarters_a_minute(token) for token in header if token.isTempo()), 120.0),
        "time_signature": _meter(header),
        "notes": [list(column) for column in zip(*notes, strict=True)],  # pitches, starts, durations
    }


def _first_voice(handler) -> list:
    """Tokens of the header and of the first voice that has notes, its lines put together where voices alternate."""
    header, *lines = handler.splitByVoice()
    if not lines:
        return header.tokens
    names = [line.tokens[0].data.split()[0] for line in lines]  # "1" of `V:1 clef=treble`
    first = next((name for name, line in zip(names, lines, strict=True) if line.hasNotes()), "")
    return header.tokens + [
        token for name, line in zip(names, lines, strict=True) if name == first for token in line.tokens
    ]


def _sounding(tokens, abcFormat):
    """(pitch, start, duration, tie) of each note in beats; the top note of a chord; no rests, no grace notes."""
    now = Fraction(0)
    for token in tokens:
        if not isinstance(token, abcFormat.ABCNote) or token.inGrace:
            continue
        duration = _length(token)
        pitch = _pitch(token, abcFormat)
        if pitch is not None and duration > 0:
            yield pitch, now, duration, token.tie
        now += duration


def _length(token) -> Fraction:
    """Length of a note in beats, exact: a third of a beat stays a third."""
    length = Fraction(token.quarterLength).limit_denominator(10_080)
    return length * Fraction(token.activeTuplet.tupletMultiplier()) if token.activeTuplet else length


def _pitch(token, abcFormat) -> int | None:
    """MIDI pitch of a note, of the top note of a chord; None for a rest."""
    if isinstance(token, abcFormat.ABCChord):
        return max(
            (_midi(note.pitchName) for note in token.subTokens if isinstance(note, abcFormat.ABCNote)), default=None
        )
    return None if token.isRest else _midi(token.pitchName)


@cache
def _midi(name: str) -> int:
    from music21.pitch import Pitch

    return Pitch(name).midi


def join_ties(sounding) -> list[tuple[int, float, float]]:
    """(pitch, start, duration) of the notes that are heard: a note tied to the one before it lengthens that one.

    O'Neill's transcribers also wrote slurs as ties, so a tie counts only between equal pitches with no gap.
    """
    notes: list[list] = []
    open_tie = False
    for pitch, start, duration, tie in sounding:
        if open_tie and tie in ("stop", "continue") and notes[-1][0] == pitch and notes[-1][1] + notes[-1][2] == start:
            notes[-1][2] += duration
        else:
            notes.append([pitch, start, duration])
        open_tie = tie in ("start", "continue")
    return [(pitch, float(start), float(duration)) for pitch, start, duration in notes]


def _key_name(sharps: int, mode: str | None) -> str:
    """Name of the key with so many sharps (flats below 0), as "A minor"; "" without a mode (Highland pipes)."""
    if mode not in MODES:
        return ""
    fifths = sharps + MODES[mode] + 1  # steps from F on the line of fifths
    tonic = "FCGDAEB"[fifths % 7] + ("#" * (fifths // 7) if fifths >= 0 else "b" * -(fifths // 7))
    return f"{tonic} {'major' if mode == 'ionian' else 'minor' if mode == 'aeolian' else mode}"


def _quarters_a_minute(token) -> float:
    mark = token.getMetronomeMarkObject()
    tempo = mark.getQuarterBPM() if mark is not None else None
    return float(tempo) if tempo and tempo > 0 else 120.0


def _meter(header) -> tuple[int, int]:
    """The first time signature; 4/4 for a tune that says "none" or nothing."""
    found = (token.getTimeSignatureParameters() for token in header if token.isMeter())
    return next(((beats, unit) for beats, unit, _ in filter(None, found)), (4, 4))
