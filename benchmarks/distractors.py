"""Made-up tunes in any number, to measure how a search fares among a million that cannot be right.

    python benchmarks/distractors.py [--count 100000]      # how fast, how many are dropped, and are they confusable?

The model draws one note after another. Each is a note of the corpus, chosen among those that come at the same place in
the bar and after the same notes, up to four of them; how often a shorter memory is used instead follows Witten and Bell
(1991): the more different notes have followed, the sooner a new one is likely. Length, key and form (which bars repeat
which) come from a real tune. Whatever shares a run of 12 intervals with a tune of the corpus is dropped, because it
could pass for a version of that tune and would then be a right answer.

"Confusable" is measured: 12 notes with mild errors are looked for among 4,000 real tunes, and among made-up ones with
only the right tune real. If a model's tunes are too easy to tell from real ones, the second figure is much higher.
"""

import argparse
import time
from collections.abc import Iterator, Sequence

import numpy as np
from numba import njit

from musicai.data import FolkCorpus
from musicai.notes import Melody
from musicai.notes.keys import pitch_class
from musicai.search.lines import Lines

TICKS = 24  # per beat: divides by 3 and by 8
ORDER = 5  # contexts: place in the bar, then the last pitch, its duration, and up to three notes before it
RUN = 12  # intervals, without repeated notes, that a made-up tune may not share with a real one
LONGEST = 500  # notes


class TuneModel:
    """A model of the tunes it is given. `lines(n)` yields n made-up tunes, chunk by chunk.

    >>> model = TuneModel(FolkCorpus(limit=60))
    >>> sum(len(lines) for lines in model.lines(20, near_copies=True))
    20
    """

    def __init__(self, tunes: Sequence[Melody]):
        tunes = [tune for tune in tunes if 16 <= len(tune) <= LONGEST]
        self.offsets = np.cumsum([0, *map(len, tunes)])
        self.notes = np.concatenate([_columns(tune) for tune in tunes])  # (notes, 4): degree, step, duration, place
        self.bars = np.array([_bar(tune) for tune in tunes])
        self.tonics = np.array([_tonic(tune) for tune in tunes])
        lengths = np.repeat(np.diff(self.offsets), np.diff(self.offsets))
        here = np.arange(len(self.notes)) - np.repeat(self.offsets[:-1], np.diff(self.offsets))
        self.last = here == lengths - 1
        family = np.repeat(2 * self.bars + [_minor(tune) for tune in tunes], np.diff(self.offsets))
        self.groups = [_groups(context, self.notes, self.last) for context in self._contexts(family, here)]
        self.forms = [
            _form(self.notes[a:b], bar) for a, b, bar in zip(self.offsets, self.offsets[1:], self.bars, strict=False)
        ]
        flat = np.concatenate([tune.pitches for tune in tunes])
        self.runs = np.unique(_runs(flat, np.repeat(np.arange(len(tunes)), np.diff(self.offsets)))[0])

    def _contexts(self, family: np.ndarray, here: np.ndarray) -> Iterator[np.ndarray]:
        """For each order, an integer per note: equal where the place in the bar and the notes before are equal."""
        codes = family * 1000 + self.notes[:, 3]
        pitch, step = self.notes[:, 0] + 100, self.notes[:, 1]
        pasts = [(1, pitch), (1, step), (2, pitch * 1000 + step), (3, pitch * 1000 + step), (4, pitch * 1000 + step)]
        yield codes
        for back, what in pasts:
            before = np.where(here >= back, np.roll(what, back), -1)
            codes = np.unique(np.stack([codes, before]), axis=1, return_inverse=True)[1].reshape(-1)
            yield codes

    def lines(self, count: int, seed: int = 0, chunk: int = 20_000, near_copies: bool = False) -> Iterator[Lines]:
        """Yield `count` made-up tunes as `Lines` of `chunk` tunes or fewer; the same for the same seed and chunk."""
        members, first, size, types = (np.stack(column) for column in zip(*self.groups, strict=True))
        rng, made = np.random.default_rng(seed), 0
        forms = np.concatenate(self.forms)
        bounds = np.cumsum([0, *map(len, self.forms)])
        while made < count:
            donors = rng.integers(len(self.bars), size=chunk)
            model = (self.notes, self.last, members, first, size, types)
            music, lengths = _draw(rng, donors, self.offsets, self.bars, forms, bounds, *model)
            pitches = music[:, :, 0] + self.tonics[donors][:, None]
            inside = np.arange(LONGEST) < lengths[:, None]
            keep = lengths >= 16
            if not near_copies:
                codes, owners = _runs(pitches[inside], np.repeat(np.arange(chunk), lengths))
                keep[owners[np.isin(codes, self.runs)]] = False
            keep &= np.cumsum(keep) <= count - made
            made += int(keep.sum())
            inside &= keep[:, None]
            ticks = music[inside] / np.float32(TICKS)
            offsets = np.cumsum([0, *lengths[keep]], dtype=np.int64)
            pieces = np.arange(len(offsets) - 1, dtype=np.int32)
            yield Lines(offsets, pieces, pitches[inside].astype(np.uint8), ticks[:, 1], ticks[:, 2])


def _columns(tune: Melody) -> np.ndarray:
    starts = np.rint(TICKS * tune.starts).astype(np.int64)
    durations = np.maximum(1, np.rint(TICKS * tune.durations)).astype(np.int64)
    steps = np.append(np.diff(starts), durations[-1])
    return np.stack([tune.pitches - _tonic(tune), steps, np.minimum(durations, steps), starts % _bar(tune)], axis=1)


def _bar(tune: Melody) -> int:
    return TICKS * 4 * tune.time_signature[0] // tune.time_signature[1]


def _tonic(tune: Melody) -> int:
    """The tonic at or below 67 (G4), so that degrees lie around 0 to 12."""
    return 67 - (67 - pitch_class((tune.key or "C").split()[0])) % 12


def _minor(tune: Melody) -> bool:
    return any(mode in tune.key for mode in ("minor", "dorian", "phrygian"))


def _form(notes: np.ndarray, bar: int) -> np.ndarray:
    """For each bar, the first bar with the same notes."""
    bars = np.cumsum(np.append(0, notes[:-1, 1])) // bar
    seen: dict[bytes, int] = {}
    return np.array([seen.setdefault(notes[bars == b].tobytes(), b) for b in range(int(bars[-1]) + 1)])


def _groups(codes: np.ndarray, notes: np.ndarray, last: np.ndarray) -> tuple[np.ndarray, ...]:
    """(members, first, size, types): the notes with the same context as note i are members[first[i]:][:size[i]].

    A tune's last note is never a member, as nothing follows it; `types` counts the different members.
    """
    _, group = np.unique(codes, return_inverse=True)
    members = np.argsort(group + last * (group.max() + 1), kind="stable")[: (~last).sum()]
    count = np.bincount(group[members], minlength=group.max() + 1)
    kinds = np.unique(np.stack([group[members], *notes[members, :2].T]), axis=1)[0]
    types = np.bincount(kinds, minlength=len(count))
    members = np.append(members, np.zeros(len(codes) - len(members), np.int64))
    return members, (np.cumsum(count) - count)[group], count[group], types[group]


@njit(cache=True)
def _draw(rng, donors, offsets, bars, forms, bounds, notes, last, members, first, size, types):
    """(tunes, LONGEST, 3): degree, start and duration in ticks; and the number of notes of each tune."""
    music = np.zeros((len(donors), LONGEST, 3), np.int16)
    lengths = np.zeros(len(donors), np.int64)
    begins = np.zeros(LONGEST, np.int64)  # the first note of each bar, -1 if none begins with it
    origin = np.zeros(LONGEST, np.int64)  # the note of the corpus that each note was
    for t in range(len(donors)):
        donor, bar = donors[t], bars[donors[t]]
        form = forms[bounds[donor] : bounds[donor + 1]]
        begins[:] = -1
        now, n, order, at = 0, 0, ORDER, offsets[donor]
        while n < LONGEST - 1 and now < bar * len(form):
            measure = now // bar
            if now % bar == 0:
                begins[measure] = n
                source = form[measure]
                if source < measure and begins[source] >= 0 and begins[source + 1] > begins[source]:
                    a, b = begins[source], begins[source + 1]
                    if n + b - a < LONGEST:
                        for k in range(a, b):
                            music[t, n] = music[t, k]
                            music[t, n, 1] += (measure - source) * bar
                            origin[n] = origin[k]
                            n += 1
                        now, order, at = now + bar, 2, origin[n - 1] + 1
                        continue
            while order > 0 and (
                size[order, at] == 0 or rng.random() * (size[order, at] + types[order, at]) < types[order, at]
            ):
                order -= 1
            if size[order, at] == 0:
                break  # nothing ever followed here: the tune ends early
            at = members[order, first[order, at] + rng.integers(0, size[order, at])]
            music[t, n, 0], music[t, n, 1], music[t, n, 2] = notes[at, 0], now, notes[at, 2]
            origin[n] = at
            now += notes[at, 1]
            n += 1
            order = min(ORDER, max(2, order + 1))
            at += 1
        lengths[t] = n
    return music, lengths


def _runs(pitches: np.ndarray, owners: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The runs of RUN intervals in tunes laid end to end, each coded as one number, and the tune that each is in."""
    new = np.append(True, (np.diff(pitches) != 0) | (np.diff(owners) != 0))
    steps, owners = np.clip(np.diff(pitches[new]), -15, 15).astype(np.int64) + 16, owners[new]
    codes = sum(steps[i : len(steps) - RUN + 1 + i] << 5 * i for i in range(RUN))
    inside = owners[RUN:] == owners[:-RUN]
    return codes[inside], owners[RUN:][inside]


def top_10(index, tunes: list[Melody], ids: list[str], notes: int = 12) -> float:
    """How often a tune is among the first ten for some of its notes, with mild errors."""
    from musicai.search import excerpt, perturb, read_query

    found = []
    for seed, (tune, name) in enumerate(zip(tunes, ids, strict=True)):
        pitches = perturb(excerpt(tune, notes, seed), seed)[0]
        found.append(name in [match.id for match in index.find(read_query(pitches.clip(0, 127).tolist()))])
    return float(np.mean(found))


def main() -> None:
    from musicai.search import MelodyIndex

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--queries", type=int, default=200)
    options = parser.parse_args()
    tunes = list(FolkCorpus())
    began = time.perf_counter()
    model = TuneModel(tunes)
    print(f"trained on {len(tunes):,} tunes in {time.perf_counter() - began:.1f} s")
    began = time.perf_counter()
    notes = sum(len(lines.pitches) for lines in model.lines(options.count))
    print(f"{options.count:,} tunes of {notes / options.count:.0f} notes in {time.perf_counter() - began:.1f} s")
    asked = np.random.default_rng(0).choice(len(tunes), options.queries, replace=False).tolist()
    some, names = [tunes[i] for i in asked], [str(i) for i in range(options.queries)]
    others = [tune for i, tune in enumerate(tunes) if i not in set(asked)][:4000]
    print("Top-10 of 12 mild notes,")
    print(
        f"    among 4,000 real tunes:    {top_10(MelodyIndex.build([*some, *others], progress=False), some, names):.3f}"
    )
    for what, near_copies in (("made-up tunes", False), ("and with near-copies", True)):
        made = model.lines(4000, near_copies=near_copies)
        index = MelodyIndex.build([*some, *made], ids=None, progress=False)
        print(f"    {what + ':':27}{top_10(index, some, names):.3f}")


if __name__ == "__main__":
    main()
