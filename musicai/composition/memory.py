"""What the past of a tune says about its next note: the look-up that `TuneWaveNet` reads. Chapter 7.

Tunes repeat themselves, exactly or nearly, after one, two, four or eight bars and from section to section. So before
every note we look up what was played at the same place of the bar then, and what followed the last time the latest few
notes were heard. Each of these is a slot: a note that the model may copy, and how well its advice has worked so far.
"""

from bisect import bisect_right
from collections.abc import Sequence

import numpy as np

from musicai.composition.tunes import LENGTHS, REST, Layout

LAGS = (1, 2, 4, 8)  # bars
SLOTS = ("half a bar ago", "1 bar ago", "2 bars ago", "4 bars ago", "8 bars ago", "previous section", "its end", "the section before",
         "longest match", "longest match here in the bar", "source", "source, next")  # fmt: skip
OWN = 10  # slots that look into the tune's own past; the others read the source
RUNS = np.array([0, 1, 2, 3, 4, 5, 5, 6, 6, 7, 7, 7, 7, 8])  # 0..8 for a run of so many notes
STATES = 2 + 9  # of a slot: 0 empty, 1 the note began earlier, 2.. it begins here, after a run of 0, 1, ... hits
POSITIONS, BARS, SECTIONS = 145, 17, 7  # classes of the fields below; all that is larger counts as the largest
NOTHING = (0, 0, 0)


class TuneMemory:
    """A tune that grows note by note: `place()` and `slots()` say what is known before the next one.

    >>> memory = TuneMemory(Layout((0, 48, 96), (0,), 96))
    >>> for pitch in (24, 26):
    ...     memory.append(13, pitch)  # quarter notes
    >>> memory.slots()[0]  # one bar ago, a quarter note of pitch class 24 began; each number is 1 more than the class
    (14, 25, 2)

    Args:
        layout: the bars and the sections.

    Chapter 7.
    """

    def __init__(self, layout: Layout):
        self.layout, self.now, self.bar = layout, 0, bisect_right(layout.lines, 0) - 1
        self.onsets: list[int] = []
        self.notes: list[tuple[int, int]] = []  # (duration, pitch)
        self.at: dict[int, int] = {}  # tick -> the note that begins there
        self.runs = [0] * (OWN - 2)  # how many notes in a row each slot has got right
        self.codes, self.places, self.matches = np.zeros(
            (3, layout.end + 2), np.int64
        )  # matches[j]: length of the common suffix
        self.found = self.slots()

    def append(self, duration: int, pitch: int) -> None:
        """Append a note of these classes."""
        t, layout = len(self.notes), self.layout
        hit = (duration + 1, pitch + 1)
        self.runs = [
            run + 1 if slot[:2] == hit and slot[2] > 1 else 0 for run, slot in zip(self.runs, self.found, strict=False)
        ]
        code = duration * (REST + 1) + pitch
        self.codes[t], self.places[t] = code, self.now - layout.lines[self.bar]
        self.matches[1 : t + 1] = np.where(self.codes[:t] == code, self.matches[:t] + 1, 0)
        self.at[self.now] = t
        self.onsets.append(self.now)
        self.notes.append((duration, pitch))
        self.now += LENGTHS[duration]
        while self.bar < len(layout.lines) - 2 and layout.lines[self.bar + 1] <= self.now:
            self.bar += 1
        self.found = self.slots()

    def place(self) -> tuple[int, ...]:
        """Where the next note begins: in the bar, in the section and in the tune.

        Returns: ticks since the bar line and up to the next, bars since the section began, bars left in it and in the
            tune, and the number of the section.
        """
        lines, starts, bar = self.layout.lines, self.layout.starts, self.bar
        section = max(bisect_right(starts, bar) - 1, 0)
        stop = (*starts, len(lines) - 1)[section + 1]
        ticks = self.now - lines[bar], min(lines[bar + 1], self.layout.end) - self.now
        bars = bar - starts[section] + 1, stop - bar, len(lines) - 1 - bar
        return (
            *(min(max(x, 0), POSITIONS - 1) for x in ticks),
            *(min(x, BARS - 1) for x in bars),
            min(section, SECTIONS - 1),
        )

    def slots(self) -> list[tuple[int, int, int]]:
        """The advice of each of the tune's own slots: (duration + 1, pitch + 1, state), zeros where there is none."""
        bar, starts = self.bar, self.layout.starts
        section = bisect_right(starts, bar) - 1
        bars = [bar - lag for lag in LAGS]
        stop = (*starts, len(self.layout.lines) - 1)[section + 1]
        bars += [starts[section - 1] + bar - starts[section], starts[section] - stop + bar] if section > 0 else [-1, -1]
        bars += [starts[section - 2] + bar - starts[section]] if section > 1 else [-1]
        lines, position = self.layout.lines, self.now - self.layout.lines[bar]
        ticks = [lines[b] + position if 0 <= b < bar and lines[b] + position < lines[b + 1] else -1 for b in bars]
        ticks = [self.now - (lines[bar + 1] - lines[bar]) // 2, *ticks]
        return [*map(self._sounding, ticks, self.runs), *self._matches(position)]

    def _sounding(self, tick: int, run: int) -> tuple[int, int, int]:
        """What sounded at a tick."""
        if not 0 <= tick < self.now:
            return NOTHING
        if (i := self.at.get(tick)) is not None:
            duration, pitch = self.notes[i]
            return duration + 1, pitch + 1, 2 + int(RUNS[min(run, 13)])
        i = bisect_right(self.onsets, tick) - 1
        duration, pitch = self.notes[i]
        return up_to(self.onsets[i] + LENGTHS[duration] - tick), pitch + 1, 1

    def _matches(self, position: int) -> list[tuple[int, int, int]]:
        """What followed the longest match of the latest notes, anywhere and where the bar was as far on as now."""
        t, best = len(self.notes), []
        matches = self.matches[:t]
        for lengths in (matches, np.where(self.places[:t] == position, matches, 0)):
            i = t - 1 - int(lengths[::-1].argmax()) if t else 0
            if t and lengths[i]:
                duration, pitch = self.notes[i]
                best.append((duration + 1, pitch + 1, 2 + int(RUNS[min(lengths[i], 13)])))
            else:
                best.append(NOTHING)
        return best


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
        """Note that the tune has this pitch begin at this tick."""
        i = bisect_right(self.onsets, now) - 1
        hit = i >= 0 and self.onsets[i] == now and self.pitches[i] == pitch
        self.closeness += (hit - self.closeness) / 6

    def slots(self, now: int) -> list[tuple[int, int, int]]:
        """The note at tick `now` and the one after it, as in `TuneMemory.slots`; the second state is the closeness."""
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
