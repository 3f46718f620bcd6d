"""What the past of a tune says about its next note: the look-up that `TuneWaveNet` reads. Chapter 7.

Tunes repeat themselves, exactly or nearly, after one, two, four or eight bars and from section to section. So before
every note we look up what was played at the same place of the bar then, and what followed the last time the latest few
notes were heard. Each of these is a slot: a note that the model may copy, and how well its advice has worked so far.
"""

from bisect import bisect_right
from collections.abc import Sequence

import numpy as np

from musicai.composition.tunes import LENGTHS, REST, TuneLayout

LAGS = (1, 2, 4, 8)  # bars
SLOTS = ("half a bar ago", "1 bar ago", "2 bars ago", "4 bars ago", "8 bars ago", "previous section", "its end",
         "the section before", "longest match", "longest match here in the bar", "source", "source, next")  # fmt: skip
OWN = 10  # slots that look into the tune's own past; the others read the source
RUNS = np.array([0, 1, 2, 3, 4, 5, 5, 6, 6, 7, 7, 7, 7, 8])  # 0..8 for a run of so many notes
STATES = 2 + 9  # of a slot: 0 empty, 1 the note began earlier, 2.. it begins here, after a run of 0, 1, ... hits
PLACE = (145, 145, 17, 17, 17, 7)  # classes of each number of `TuneMemory.place`; what is larger counts as the largest
NOTHING = (0, 0, 0)

Slot = tuple[int, int, int]  # duration + 1, pitch + 1, state; zeros where there is nothing to advise


class TuneMemory:
    """A tune that grows note by note: `place()` and `slots` say what is known before the next one.

    >>> memory = TuneMemory(TuneLayout((0, 48, 96), (0,), 96))
    >>> for pitch in (24, 26):
    ...     memory.append(11, pitch)  # quarter notes
    >>> memory.slots[1]  # one bar ago, a quarter note of pitch class 24 began
    (12, 25, 2)

    Args:
        layout: the bars and the sections.

    Attributes:
        now: where the next note begins, in ticks.
        notes: the classes (duration, pitch) so far.
        low, high: the lowest and the highest pitch class so far.
        slots: the advice of each of the first `OWN` slots.

    Chapter 7.
    """

    def __init__(self, layout: TuneLayout):
        self.layout, self.now, self.bar = layout, 0, bisect_right(layout.lines, 0) - 1
        self.notes: list[tuple[int, int]] = []
        self.onsets: list[int] = []
        self.low, self.high = REST, 0  # the lowest and the highest pitch class so far
        self.at: dict[int, int] = {}  # tick -> the note that begins there
        self.runs = [0] * OWN  # how many notes in a row each slot has got right
        # of each note: its code, its place in the bar, and how many notes before it equal the latest ones
        self.codes, self.places, self.matches = np.zeros((3, layout.end + 2), np.int64)
        self.slots = self._look_up()

    def append(self, duration: int, pitch: int) -> None:
        """Append a note of these classes."""
        t, lines, code = len(self.notes), self.layout.lines, duration * (REST + 1) + pitch
        hits = [slot[:2] == (duration + 1, pitch + 1) and slot[2] > 1 for slot in self.slots]
        self.runs = [run + 1 if hit else 0 for run, hit in zip(self.runs, hits, strict=True)]
        self.codes[t], self.places[t], self.at[self.now] = code, self.now - lines[self.bar], t
        self.matches[1 : t + 1] = np.where(self.codes[:t] == code, self.matches[:t] + 1, 0)
        if pitch != REST:
            self.low, self.high = min(self.low, pitch), max(self.high, pitch)
        self.notes.append((duration, pitch))
        self.onsets.append(self.now)
        self.now += LENGTHS[duration]
        while self.bar < len(lines) - 2 and lines[self.bar + 1] <= self.now:
            self.bar += 1
        self.slots = self._look_up()

    def place(self) -> list[int]:
        """Where the next note begins.

        Returns: ticks since the bar line and up to the next, bars since the section began, bars left in it and in the
        tune, and the number of the section.
        """
        lines, bar, (number, first, stop) = self.layout.lines, self.bar, self._section()
        left = min(lines[bar + 1], self.layout.end) - self.now
        found = (self.now - lines[bar], left, bar - first + 1, stop - bar, len(lines) - 1 - bar, number)
        return [min(max(number, 0), most - 1) for number, most in zip(found, PLACE, strict=True)]

    def _section(self) -> tuple[int, int, int]:
        """The section of this bar: its number, its first bar, and the first bar after it."""
        starts = (*self.layout.starts, len(self.layout.lines) - 1)
        number = max(bisect_right(starts, self.bar) - 1, 0)
        return number, starts[number], starts[number + 1]

    def _look_up(self) -> list[Slot]:
        """The advice of each slot."""
        lines, starts, bar, (number, first, stop) = self.layout.lines, self.layout.starts, self.bar, self._section()
        bars = [bar - lag for lag in LAGS]
        bars += [starts[number - 1] + bar - first, first + bar - stop] if number > 0 else [-1, -1]
        bars += [starts[number - 2] + bar - first] if number > 1 else [-1]
        position = self.now - lines[bar]
        ticks = [lines[b] + position if 0 <= b < bar and lines[b] + position < lines[b + 1] else -1 for b in bars]
        ticks = [self.now - (lines[bar + 1] - lines[bar]) // 2, *ticks]
        found = [self._sounding(tick, run) for tick, run in zip(ticks, self.runs, strict=False)]
        count = max(len(self.notes), 1)
        anywhere = self.matches[:count]
        for lengths in (anywhere, np.where(self.places[:count] == position, anywhere, 0)):
            latest = count - 1 - int(lengths[::-1].argmax())
            found.append(self._advice(latest, lengths[latest]) if lengths[latest] else NOTHING)
        return found

    def _sounding(self, tick: int, run: int) -> Slot:
        """What sounded at a tick: a note that began there, or what was left of one."""
        if not 0 <= tick < self.now:
            return NOTHING
        if tick in self.at:
            return self._advice(self.at[tick], run)
        i = bisect_right(self.onsets, tick) - 1
        duration, pitch = self.notes[i]
        return up_to(self.onsets[i] + LENGTHS[duration] - tick), pitch + 1, 1

    def _advice(self, i: int, run: int) -> Slot:
        duration, pitch = self.notes[i]
        return duration + 1, pitch + 1, 2 + int(RUNS[min(run, len(RUNS) - 1)])


class Source:
    """A source on the time axis of the tune being written: what it plays, and how closely the tune keeps to it.

    >>> source = Source([0, 24], [24, 24], [24, 26])
    >>> source.slots(12)  # the first note began earlier and lasts another eighth; the second comes next
    [(8, 25, 1), (12, 27, 6)]

    Args:
        onsets: the start of every note, in ticks, ascending.
        ticks: how long each lasts.
        pitches: the class of each.

    Chapter 7.
    """

    def __init__(self, onsets: Sequence[int], ticks: Sequence[int], pitches: Sequence[int]):
        self.onsets, self.ticks, self.pitches = list(onsets), list(ticks), list(pitches)
        self.closeness = 0.5  # a running share of the notes that the tune took from here

    def append(self, now: int, pitch: int) -> None:
        """Take note that this pitch begins at this tick of the tune."""
        i = bisect_right(self.onsets, now) - 1
        hit = i >= 0 and self.onsets[i] == now and self.pitches[i] == pitch
        self.closeness += (hit - self.closeness) / 6

    def slots(self, now: int) -> list[Slot]:
        """The note at tick `now` and the one after it; the state of the second is the closeness."""
        found = [NOTHING, NOTHING]
        i = bisect_right(self.onsets, now) - 1
        if i >= 0 and (left := self.onsets[i] + self.ticks[i] - now) > 0:
            found[0] = up_to(left), self.pitches[i] + 1, 2 if self.onsets[i] == now else 1
        if i + 1 < len(self.onsets):
            found[1] = up_to(self.ticks[i + 1]), self.pitches[i + 1] + 1, 2 + int(8.99 * self.closeness)
        return found


def up_to(ticks: int) -> int:
    """1 + the class of the longest duration of at most so many ticks, which are at least 1."""
    return bisect_right(LENGTHS, ticks)
