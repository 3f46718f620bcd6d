"""An accompaniment for a melody and its chords: a pattern per metre, chords that move as little as they can. Chapter 7.

>>> from musicai.notes import Melody
>>> from musicai.composition.harmony import ChordSpan
>>> jig = Melody.from_pitches([67, 71, 74] * 4, 0.5, time_signature=(6, 8))
>>> chords, bass = accompany(jig, [ChordSpan(0, 6, 7, "major")])
>>> [(note.start, note.pitch) for note in bass.notes]  # the last bar is one long chord
[(0.0, 43), (1.5, 38), (3.0, 43)]
"""

import re
from collections.abc import Iterator, Sequence

import numpy as np

from musicai.composition.harmony import SLACK, ChordSpan, rhythm_of, sounding
from musicai.notes import Melody, Note, Track

# What is played in a bar, in equal steps: B the bass plays the root, F the bass plays the fifth, c the chord is struck,
# "." holds what sounds, "-" is silence. A hymn has bass and chord together, wherever a bar or a chord begins.
PATTERNS = {(6, 8): "BccFcc", (9, 8): "B.cF.cB.c"}  # jigs and slip jigs
PATTERNS |= {(4, 4): "B-c-F-c-", (2, 2): "B-c-F-c-", (2, 4): "BcFc", (3, 4): "B.c.c."}  # reels, marches, waltzes
PATTERNS |= {(3, 2): "", (4, 2): ""}  # hymns
GUITAR, CELLO = 24, 42  # General MIDI programs
BASS = 36  # C2: the bass plays in the octave above it
CHORD = range(36, 60)  # the lowest note of a chord, from C2 to B3
CENTRE = 57  # the pitch around which chords lie if the melody leaves room


def accompany(melody: Melody, chords: Sequence[ChordSpan], *, pickup: float = 0.0) -> tuple[Track, Track]:
    """Write chords and a bass below a melody.

    >>> from musicai.composition.harmony import add_chords
    >>> tune = Melody.from_pitches([64, 67, 65, 62, 60], [2, 2, 2, 2, 4], key="C major")
    >>> [track.name for track in accompany(tune, add_chords(tune))]
    ['chords', 'bass']

    Each chord takes the position nearest to the last one in which all its notes lie below the melody, if there is one.
    The last bar is held.

    Args:
        melody: what is accompanied; its metre chooses the pattern.
        chords: as `add_chords` gives them, in order.
        pickup: how many beats come before the first full bar.

    Returns: the tracks "chords" (a guitar) and "bass" (a cello), both softer than the melody.

    Chapter 7.
    """
    softest = min((note.velocity for note in melody.notes), default=80)
    struck, low, hand, last = [], [], None, None
    for start, end, letter, chord in strokes(melody.time_signature, chords, pickup):
        if letter == "c":
            ceiling = min((note.pitch for note in sounding(melody, start, end)), default=127)
            hand = voice_chord(chord, hand, ceiling)
            struck += [Note(pitch, start, end - start, max(1, softest * 6 // 10)) for pitch in hand]
        else:
            tone = chord.pitch_classes[2 if letter == "F" and chord is last else 0]  # a new chord begins with its root
            low.append(Note(BASS + (tone - BASS) % 12, start, end - start, max(1, softest * 8 // 10)))
            last = chord
    return Track(struck, GUITAR, name="chords"), Track(low, CELLO, name="bass")


def strokes(
    meter: tuple[int, int], chords: Sequence[ChordSpan], pickup: float = 0.0
) -> Iterator[tuple[float, float, str, ChordSpan]]:
    """What is struck from the first chord to the end of the last: (start, end, "B", "F" or "c", chord), in beats."""
    text, bar = pattern_of(meter), sum(rhythm_of(meter))
    end = chords[-1].end if chords else 0.0
    for begin in np.arange(pickup - bar * np.ceil(pickup / bar), end - SLACK, bar):
        final = begin + bar > end - SLACK
        for chord in chords:
            left, right = max(begin, chord.start), min(begin + bar, chord.end)
            if left < right - SLACK and (final or not text):
                yield from ((left, right, letter, chord) for letter in "Bc")
            elif left < right - SLACK:
                step = bar / len(text)
                for stroke in re.finditer(r"[BFc]\.*", text):
                    at, held = begin + stroke.start() * step, len(stroke[0]) * step
                    if left - SLACK < at < right - SLACK:
                        yield at, min(at + held, right), stroke[0][0], chord


def pattern_of(meter: tuple[int, int]) -> str:
    """The pattern that is usual in a metre; in rare metres, each span begins with the bass, and chords follow.

    >>> pattern_of((6, 8)), pattern_of((5, 4)), pattern_of((7, 8))
    ('BccFcc', 'B.c.c.B.c.', 'BcccBcc')
    """
    if meter in PATTERNS:
        return PATTERNS[meter]
    hold = "" if meter[1] > 4 else "."
    counts = [max(1, round(span * (2 if meter[1] > 4 else 1))) for span in rhythm_of(meter)]
    return "".join(f"B{hold}" + f"c{hold}" * (count - 1) for count in counts)


def voice_chord(chord: ChordSpan, previous: Sequence[int] | None, ceiling: int = 127) -> tuple[int, ...]:
    """The close position of three notes that lies below `ceiling`, if one does, and is nearest to the previous chord.

    >>> voice_chord(ChordSpan(0, 1, 0, "major"), None), voice_chord(ChordSpan(1, 2, 5, "major"), (55, 60, 64))
    ((52, 55, 60), (57, 60, 65))
    """
    root, third, *_, last = chord.pitch_classes  # the bass has the root, and nobody misses a seventh chord's fifth
    tones = (root, third, last)
    positions = [[low + (tone - low) % 12 for tone in tones] for low in CHORD if low % 12 in tones]

    def cost(notes: list[int]) -> float:
        way = np.abs(np.subtract(notes, previous or notes)).sum()
        return way + 0.2 * abs(np.mean(notes) - CENTRE) + 100 * max(0, notes[-1] - ceiling + 1)

    return tuple(min(map(sorted, positions), key=cost))
