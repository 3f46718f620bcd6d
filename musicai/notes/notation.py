"""From notes to notation: voices, bars, note values, tuplets, ties and spelling, for MusicXML and ABC. Chapter 6."""

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import lcm

from musicai.notes.note import Note, Track
from musicai.notes.score import Score

MODES = ("lydian", "major", "mixolydian", "dorian", "minor", "phrygian", "locrian")  # each has one sharp fewer
FIFTHS = "FCGDAEB"  # the order of the sharps in a signature; that of the flats is its reverse
FINE = 10_080  # exact times are multiples of a beat divided by one of this number's divisors up to 48
COARSE = 24  # times that are not exact are rounded to 32nds and to triplets of 16ths
MAX_BARS = 20_000
SPANS = [odd * Fraction(2) ** k for odd in (1, 3) for k in range(-5, 4)]  # of a tuplet, in beats


@dataclass(frozen=True)
class Chord:
    """Notes that begin and end together, in beats."""

    start: Fraction
    stop: Fraction
    notes: tuple[Note, ...]


@dataclass(frozen=True)
class Value:
    """A note, chord or rest as it is written; what no single value can express is several, tied together.

    Args:
        chord: what sounds, or None for a rest.
        duration: in beats, as it sounds.
        power, dots: a quarter note times 2 ** power, with dots.
        tuplet: (actual, normal) notes, or (1, 1).
        edges: whether it begins and ends a tuplet.
        ties: whether it's tied to the value before and to the one after.
    """

    chord: Chord | None
    duration: Fraction
    power: int
    dots: int
    tuplet: tuple[int, int]
    edges: tuple[bool, bool]
    ties: tuple[bool, bool]


def join_ties(rows: Iterable[tuple]) -> list[list]:
    """Join tied notes: [line, start, duration, ...] from (line, start, duration, ..., tied from, tied to).

    A note is tied to one before it on the same line (whatever says so: a pitch, or a voice and a pitch) that ends where
    it begins; it keeps whatever else is said of the first of them.
    """
    notes: list[list] = []
    open_ties: dict[tuple, list] = {}
    for line, start, duration, *rest, tied_from, tied_to in rows:
        before = open_ties.get((line, start)) if tied_from and open_ties else None  # hashing a fraction takes long
        if before:
            (note := before.pop(0))[2] += duration
        else:
            notes.append(note := [line, start, duration, *rest])
        if tied_to:
            open_ties.setdefault((line, start + duration), []).append(note)
    return notes


def on_grid(note: Note) -> tuple[Fraction, Fraction]:
    """Find the exact start and stop that floats stand for; times that no notation fits are rounded to 1/24 beat."""
    start, stop = _on_grid(note.start), _on_grid(note.end)
    return start, stop if stop > start else start + Fraction(1, COARSE)


def _on_grid(beat: float) -> Fraction:
    near = Fraction(beat).limit_denominator(48)
    return near if FINE % near.denominator == 0 and abs(near - beat) < 1e-4 else Fraction(round(beat * COARSE), COARSE)


def voices(track: Track, chords: bool) -> list[list[Chord]]:
    """Divide a track into voices in which nothing overlaps; the first one tends to be the highest."""
    together: dict[tuple, list] = {}
    for note in track.notes:
        alone = () if chords else (note.pitch, len(together))
        together.setdefault((*on_grid(note), *alone), []).append(note)
    found: list[list[Chord]] = []
    for (start, stop, *_), notes in sorted(together.items(), key=lambda x: (x[0][0], -x[1][-1].pitch)):
        chord = Chord(start, stop, tuple(notes))
        voice = next((voice for voice in found if voice[-1].stop <= start), None)
        if voice is None:
            found.append(voice := [])
        voice.append(chord)
    return found


def bars(score: Score) -> list[tuple[Fraction, Fraction, tuple[int, int]]]:
    """List (start, stop, time signature) of every bar; a change of time signature begins a new bar."""
    changes = {Fraction(round(beat * 8), 8): tuple(pair) for beat, *pair in score.time_signatures}
    end, found = max((on_grid(note)[1] for note in score.notes), default=Fraction(1)), []
    for (start, pair), until in zip(changes.items(), [*list(changes)[1:], None], strict=True):
        while start < (end if until is None else min(until, end)):
            stop = start + Fraction(4 * pair[0], pair[1])
            found.append((start, stop if until is None else min(stop, until), pair))
            start = found[-1][1]
            if len(found) > MAX_BARS:
                raise ValueError(f"the music lasts {float(end):,.0f} beats, over {MAX_BARS:,} bars; write a part of it")
    return found


def values(voice: Sequence[Chord], start: Fraction, stop: Fraction) -> Iterator[Value]:
    """Yield what a voice has in the bar from `start` to `stop`: values that add up to the bar."""
    parts = _parts(voice, start, stop)
    while parts:
        begin, end, _ = parts[0]
        span, tuplet = (end - begin, (1, 1)) if _binary(end) else _tuplet([part[1] for part in parts], begin, stop)
        inside = [part for part in parts if part[0] < begin + span]
        parts = parts[len(inside) :]
        first, last, chord = inside[-1]
        if last > begin + span:  # a note that sounds on after the tuplet
            inside[-1] = (first, begin + span, chord)
            parts.insert(0, (begin + span, last, chord))
        yield from _tied(inside, tuplet)


def beat_of(metre: tuple[int, int]) -> Fraction:
    """The beat of a metre, which beams don't cross: three eighths in 6/8, and at most a quarter note in 4/4 or 2/2."""
    unit = Fraction(4, metre[1])
    return 3 * unit if metre[0] % 3 == 0 and unit < 1 else min(Fraction(1), unit * metre[0])


def beams(line: Sequence[Value], metre: tuple[int, int]) -> list[list[str]]:
    """Find the beams of each value in a bar, from the outermost: "begin", "continue", "end" or a hook."""
    groups, now, part, found = [], Fraction(0), 0, []
    for i, value in enumerate(line):
        part += value.edges[0]  # a beam from inside a tuplet to outside it would draw in what is outside
        groups.append((now // beat_of(metre), part) if value.chord and value.power < 0 else (-1 - i, part))
        now, part = now + value.duration, part + value.edges[1]
    for i, value in enumerate(line):
        sides = [k for k in (i - 1, i + 1) if 0 <= k < len(line) and groups[k] == groups[i]]
        kinds = []
        for level in range(1, 1 - value.power if sides else 1):
            near = [k for k in sides if line[k].power <= -level]
            alone = "forward hook" if sides[0] > i else "backward hook"
            kinds.append("continue" if len(near) == 2 else alone if not near else "begin" if near[0] > i else "end")
        found.append(kinds)
    return found


def _parts(voice: Sequence[Chord], start: Fraction, stop: Fraction) -> list[tuple]:
    """(start, stop, chord or None for a rest), one after another, for the whole bar."""
    parts, at = [], start
    for chord in voice[bisect_right(voice, start, key=lambda chord: chord.stop) :]:
        if chord.start >= stop:
            break
        if chord.start > at:
            parts.append((at, chord.start, None))
        at = min(chord.stop, stop)
        parts.append((max(chord.start, start), at, chord))
    return [*parts, (at, stop, None)] if at < stop else parts


def _binary(x: Fraction) -> bool:
    return x.denominator & (x.denominator - 1) == 0


def _tuplet(ends: list[Fraction], start: Fraction, stop: Fraction) -> tuple[Fraction, tuple[int, int]]:
    """Choose the span of a tuplet and its (actual, normal): the simplest, if possible one at whose end a note ends."""
    found = []
    for span in {*SPANS, stop - start}:
        inside = [(end - start) / span for end in ends if end < start + span]
        if inside and span <= stop - start:
            actual = lcm(*(part.denominator for part in inside))
            actual //= actual & -actual  # without its factors of two
            normal = 3 if span.numerator % 3 == 0 and actual > 3 else 1
            while 2 * normal < actual:
                normal *= 2
            if actual > 1:
                found.append((actual > 9, start + span not in ends, actual, span, normal))
    *_, actual, span, normal = min(found)
    return span, (actual, normal)


def _tied(parts: Iterable[tuple], tuplet: tuple[int, int]) -> list[Value]:
    """Write each part as note values, tied together."""
    ratio, rows = Fraction(*tuplet), []
    for first, last, chord in parts:
        at = first
        for power, dots in _note_values((last - first) * ratio):
            begin, at = at, at + Fraction(2) ** power * (2 - Fraction(1, 2**dots)) / ratio
            ties = (begin > chord.start, at < chord.stop) if chord else (False, False)
            rows.append((chord, at - begin, power, dots, ties))
    last = len(rows) - 1
    brackets = [(tuplet != (1, 1) and i == 0, tuplet != (1, 1) and i == last) for i in range(len(rows))]
    return [Value(*row[:4], tuplet, edges, row[4]) for row, edges in zip(rows, brackets, strict=True)]


def _note_values(length: Fraction) -> Iterator[tuple[int, int]]:
    """The (power, dots) of values, longest first, that add up to a length in quarter notes."""
    while length:
        power = min(3, length.numerator.bit_length() - length.denominator.bit_length())
        dots = next(dots for dots in (1, 0) if Fraction(2) ** power * (2 - Fraction(1, 2**dots)) <= length)
        length -= Fraction(2) ** power * (2 - Fraction(1, 2**dots))
        yield power, dots


def signature_of(key: str) -> tuple[int, str] | None:
    """Find a key's signature (sharps, or minus flats; at most seven) and its name spelled so, or None if unknown."""
    tonic, _, mode = key.partition(" ")
    if (mode := mode or "major") not in MODES or not re.fullmatch("[A-G][#b]?", tonic):
        return None
    fifths = FIFTHS.index(tonic[0]) + 7 * (tonic.count("#") - tonic.count("b")) - MODES.index(mode)
    fifths = (fifths + 7) % 12 - 7 if abs(fifths) > 7 else fifths
    return fifths, key_name(fifths, mode)


def key_name(fifths: int, mode: str) -> str:
    """Name the key with a signature of so many sharps, or minus flats."""
    place = fifths + MODES.index(mode)  # of the tonic, in fifths above F
    return FIFTHS[place % 7] + "#" * (place // 7) + "b" * -(place // 7) + f" {mode}"


class Speller:
    """Spells pitches in a key, with as few accidentals as it takes in one bar.

    >>> Speller(2).spell(61), Speller(0).spell(61)  # C#, which belongs to D major but not to C major
    (('C', 1, 4, False), ('C', 1, 4, True))
    """

    def __init__(self, fifths: int):
        self.fifths = fifths
        self.signature = {letter: (fifths + 6 - i) // 7 for i, letter in enumerate(FIFTHS)}
        self.altered: set[str] = set()

    def new_bar(self) -> None:
        """Forget the accidentals of the last bar."""
        self.altered.clear()

    def spell(self, pitch: int) -> tuple[str, int, int, bool]:
        """Find a pitch's (letter, alteration, octave, whether an accidental must be written)."""
        lowest = self.fifths - 2  # of the twelve neighbours on the line of fifths: in C, from Eb to G#
        place = lowest + (7 * (pitch - 5) - lowest) % 12  # in fifths above F
        letter, alteration = FIFTHS[place % 7], place // 7
        written = alteration != self.signature[letter] or letter in self.altered
        if written:
            self.altered.add(letter)
        return letter, alteration, (pitch - alteration) // 12 - 1, written


def name_in_key(pitch: int, key: str) -> str:
    """Name a MIDI pitch as a key spells it; where the key is unknown, with sharps, as `note_name` does.

    >>> name_in_key(70, "F major"), name_in_key(70, "B minor"), name_in_key(70, "")
    ('Bb4', 'A#4', 'A#4')

    Args:
        pitch: a whole number from 0 to 127.
        key: a tonic and a mode, such as "D dorian", or "".

    Returns: letter, sharps or flats, and octave.

    Chapter 7.
    """
    fifths, _ = signature_of(key) or (2, "")  # two sharps: D major has the five sharps of `note_name` nearby, no flats
    letter, alteration, octave, _ = Speller(fifths).spell(pitch)
    return letter + "#" * alteration + "b" * -alteration + str(octave)


# ---- repeats


THICK = re.compile(r"\|\||\|\]|\[\|(?!\])")  # `[|]` is an invisible bar line
# Also `:` or `|:|` alone, which some write for `:|`.
END = re.compile(r"(?<![|:])(:+)(?= ?[|\[\d])|(?<![|:])::|\|:\||^ ?:$")
START = re.compile(r"[|:][\] ]*:[ :]*$")
ENDING = re.compile(r"(\d)(?:-(\d))?")


def unfold_repeats(bars: Mapping[float, str], stop: float) -> list[tuple[float, float]]:
    """List the spans (start, stop) of a piece in the order in which they are played.

    >>> unfold_repeats({0: "|:", 4: "|1", 6: ":|2"}, 8)  # |: CDEF |1 GA :|2 Bc |
    [(0, 4), (4, 6), (0, 4), (6, 8)]

    A repeat without `|:` goes back to the last double bar, the last repeat or the beginning. "D.C." and "D.S." are not
    followed.

    Args:
        bars: the bar lines by position, in ABC's signs, in ascending order; several at one position are joined by
            blanks. Plain ones may be left out.
        stop: where the piece ends.

    Returns: the spans; together, they are the piece as it sounds.

    Source: the ABC music standard 2.1, sections 4.8 to 4.10. Chapter 6.
    """
    order, body, endings, opened, start = [], [], [], False, 0
    for position, text in (*bars.items(), (stop, "|:")):
        (endings[-1][1] if endings else body).extend([(start, position)] * (position > start))
        start = position
        numbers = {n for a, b in ENDING.findall(text) for n in range(int(a), int(b or a) + 1)}
        end, starts = END.search(text), START.search(text) is not None
        known = {n for which, _ in endings for n in which}
        closes = end or starts or (THICK.search(text) and (endings or not opened))
        if known & numbers or (closes and not numbers):
            passes = 1 + len(end[1] or ":") if end and known <= {1} else max(known, default=1)
            for n in range(1, min(passes, 9) + 1):
                order += body + next((spans for which, spans in endings if n in which), [])
            body, endings, opened = [], [], starts
        if numbers:
            endings.append((numbers, []))
    return order
