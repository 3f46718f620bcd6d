"""Contours against every line of a collection: pitch classes in all keys, then the best lines finely. Chapter 6.

The costs in 12 keys, or for 16 small changes of one key, are 16-bit integers that lie side by side in one register, and
each step of the dynamic programming does all of them at once.
"""

from collections.abc import Sequence

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from musicai.search.contours import Contour
from musicai.search.lines import Lines
from musicai.search.warping import BEND, OCTAVE, PACES, beats_per_note, line_frames, pitch_cost, query_frames
from musicai.threads import jit, share

RATE = 8.0  # frames per second
REFINEMENTS = (RATE, 100), (2 * RATE, 10)  # frames per second, and how many lines are compared so finely
WAYS = 2  # keys and paces per line that are compared finely
LANES, FULL = 16, 32767  # numbers in a register; the cost of what is impossible
KEYS = np.arange(LANES)  # of which 12 are used
TUNINGS = np.add.outer([0, 12], np.arange(-4, 4) / 8).ravel()  # semitones: two octaves, and steps of 1/8
CLASSES = np.arange(12)
PITCHES = (np.arange(224) + 48) % 224 - 48  # 0 to 175, then -48 to -1: some room around MIDI's pitches
LONGEST = 8192  # frames of a line; what comes later in it is not searched
FAR = 2 * 3 * (LONGEST + 2) * LANES  # bytes from the totals of three rows to their starts
LOT = 256  # lines handed to a thread at once

I16, I32 = ir.IntType(16), ir.IntType(32)
ROW = ir.VectorType(I16, LANES)


compiled = jit(error_model="numpy", nogil=True)


def warp_all(contours: Sequence[Contour], lines: Lines, candidates=None) -> tuple[np.ndarray, ...]:
    """Compare the excerpts of one recording with every line, in any key and at any tempo.

    >>> from musicai.notes import Melody
    >>> lines = Lines.from_pieces([Melody.from_pitches([60] * 4), Melody.from_pitches([60, 62, 64, 60])])
    >>> sung = np.repeat(np.float32([67, 69, 71, 67]), 20)
    >>> costs, *_ = warp_all([Contour(sung, np.ones_like(sung), rate=40.0)], lines)
    >>> int(costs.argmin())
    1

    >>> from musicai.notes import Melody
    >>> lines = Lines.from_pieces(Melody.from_pitches(p) for p in ([67, 60, 67, 60, 67], [60, 62, 64, 65, 67]))
    >>> sung = Contour(np.repeat(np.float32([65, 67, 69, 70, 72]), 30), np.ones(150, np.float32), rate=100.0)
    >>> costs, starts, ends, transpositions, tempos = warp_all([sung], lines)
    >>> int(costs.argmin()), round(float(transpositions[1])), round(float(tempos[1]), 1)
    (1, -5, 3.3)

    Args:
        contours: the excerpts, all in the same key and about the same tempo; the cost is that of all together.
        lines: the collection.
        candidates: int array, the lines to compare, by number; None for all.

    Raises:
        ValueError: if there is no pitch in any of them.

    Returns: float32 arrays with an entry for every line or candidate, in that order: costs per frame, from 0 to about
        1; where the first excerpt starts and ends, in beats, which may be after the line's end since a tune may begin
        again; semitones from the contour to the line; and beats per second. All but the costs are NaN for lines that
        were only compared roughly, and these cost more than the others.

    Chapter 6.
    """
    which = np.arange(len(lines)) if candidates is None else np.asarray(candidates, dtype=np.int64)
    contours = [contour for contour in contours if contour.voiced.any()]
    if not contours:
        raise ValueError("no contour has a pitch: track_contour says so where it finds none")
    queries = {rate: [_query(contour, rate) for contour in contours] for rate, _ in REFINEMENTS}
    paces, keys = np.tile(PACES, (len(which), 1)), np.zeros((len(which), len(PACES)), int)
    rough, _, _ = _compare(queries[RATE], lines, which, RATE * paces, keys, CLASSES, KEYS, 0, None)
    rough = rough[..., :12].reshape(len(which), 12 * len(PACES))
    results = np.full((5, len(which)), np.nan, np.float32)
    results[0] = rough.min(1)
    for rate, count in REFINEMENTS:
        best = np.argsort(results[0], kind="stable")[:count]
        ways = np.argsort(rough[best], axis=1, kind="stable")[:, :WAYS]
        fine = _refine(queries[rate], lines, which[best], *np.divmod(ways, 12), rate)
        rest = np.setdiff1d(np.arange(len(which)), best)
        if len(rest):
            reached = np.max(fine[0], where=np.isfinite(fine[0]), initial=0)
            results[0, rest] += max(0.0, reached - results[0, rest].min())
        results[:, best] = fine
    return tuple(results)


def _refine(queries, lines: Lines, which: np.ndarray, paces: np.ndarray, keys: np.ndarray, rate: float) -> np.ndarray:
    """The results of `warp_all` (5, lines), from the numbers of paces and keys (lines, ways) that seemed best."""
    pitches, weights, tuning, seconds = queries[0]
    middles = np.array([np.median(lines.pitches[slice(*lines.offsets[i : i + 2])]) for i in which])
    octaves = np.floor((middles.reshape(-1, 1) - np.median(pitches[weights > 0]) - keys) / 12)
    shifts = np.tile((keys + 12 * octaves).astype(int), (1, 3))
    paces = np.concatenate([PACES[paces] * change for change in 2 ** np.array([-0.25, 0, 0.25])], axis=1)
    costs, starts, ends = _compare(queries, lines, which, rate * paces, shifts, PITCHES, TUNINGS)
    shifts = shifts[..., None] + TUNINGS - tuning
    costs, starts, ends, shifts = (x.reshape(len(which), paces.shape[1] * LANES) for x in (costs, starts, ends, shifts))
    best = np.arange(len(which)), costs.argmin(1)
    return np.stack([costs[best], starts[best], ends[best], shifts[best], (ends - starts)[best] / seconds])


def _query(contour: Contour, rate: float) -> tuple[np.ndarray, np.ndarray, float, float]:
    """Pitches (frames,) moved to whole semitones, weights, by how many semitones they were too high, and seconds."""
    contour = contour.trimmed()
    pitches, weights = query_frames(contour, rate)
    tuning = float(np.angle((weights * np.exp(2j * np.pi * pitches)).sum()) / (2 * np.pi))
    return pitches - tuning, weights, tuning, contour.seconds


def _compare(queries, lines: Lines, which, frames, shifts, rows, lanes, octave=OCTAVE, far=FAR) -> tuple:
    """Costs per frame (lines, ways, LANES), and in beats the starts and ends of the first query.

    In each of the ways (lines, ways) a note of the line lasts as many `frames`, and the queries are moved by one of
    `shifts`. In the lanes, they are moved by `lanes` as well. `rows` are the pitches that a line may have. If `far` is
    None, starts are not tracked.
    """
    found = []
    lots = [slice(i, i + LOT) for i in range(0, len(which) or 1, LOT)]
    for pitches, weights, *_ in queries:
        table = weights[:, None, None] * pitch_cost(pitches[:, None, None] + lanes - rows[:, None], octave)
        scale = min(300.0, 0.8 * FULL / (table.max((1, 2)).sum() + 1))
        args = (np.rint(scale * table).astype(np.int16), np.int16(round(scale * BEND)), far)
        args += (lines.offsets, lines.pitches, lines.starts, lines.durations)
        parts = share(lambda lot, a=args: _lot(*a, which[lot], 1 / frames[lot], shifts[lot]), lots)
        costs, starts, ends = (np.concatenate(part) for part in zip(*parts, strict=True))
        found.append((np.where(costs == FULL, np.inf, costs / np.float32(scale * weights.sum())), starts, ends))
    return sum(costs for costs, _, _ in found) / len(found), found[0][1], found[0][2]


@intrinsic
def relax(_, before, skip, twice, twice_cost, cost, out, bend, far):
    """One cell of `warp` in all lanes, from addresses of int16. Starts lie `far` bytes behind totals, or nowhere."""
    tracked = not isinstance(far, types.NoneType)

    def generate(context, builder, signature, args):
        name = f"llvm.sadd.sat.v{LANES}i16"
        saturating = cgutils.get_or_insert_function(builder.module, ir.FunctionType(ROW, [ROW, ROW]), name)
        undefined, zeros = ir.Constant(ROW, ir.Undefined), ir.Constant(ir.VectorType(I32, LANES), [0] * LANES)
        bends = builder.insert_element(undefined, args[6], ir.Constant(I32, 0))
        bends = builder.shuffle_vector(bends, undefined, zeros)

        def place(i, start):
            return builder.inttoptr(builder.add(args[i], args[7]) if start else args[i], ROW.as_pointer())

        def load(i, start=False):
            return builder.load(place(i, start), align=2)

        def add(a, b):
            return builder.call(saturating, [a, b])

        best, origin = load(0), load(0, start=True) if tracked else None
        for i, total in ((1, add(load(1), bends)), (2, add(add(load(2), load(3)), bends))):
            less = builder.icmp_signed("<", total, best)
            best = builder.select(less, total, best)
            origin = builder.select(less, load(i, start=True), origin) if tracked else None
        builder.store(add(best, load(4)), place(5, False), align=2)
        if tracked:
            builder.store(origin, place(5, True), align=2)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 6, types.int16, types.int64 if tracked else types.none), generate


_frames, _beats_per_note = compiled(line_frames), compiled(beats_per_note)


@compiled
def _warp(table, bend, line, work, far):
    """Which row of `work` is the last of `warp`; work is int16 (totals and starts, 3 rows, cells * LANES)."""
    base, size, height, cells = work.ctypes.data, 2 * work.shape[2], 2 * LANES * table.shape[1], line.size
    work[0, :, : (cells + 2) * LANES] = FULL
    work[0, 2, LANES : (cells + 1) * LANES] = 0  # before the first frame, a path may be anywhere
    for u in range(cells):
        work[1, 2, (u + 1) * LANES : (u + 2) * LANES] = u
    for t in range(len(table)):  # each row from the ones one and two before it, all of them given by their addresses
        one, two, out = base + size * ((t + 2) % 3), base + size * ((t + 1) % 3), base + size * (t % 3)
        cost, before = table.ctypes.data + t * height, table.ctypes.data + max(t - 1, 0) * height
        for u in range(cells):
            here, pitch = 2 * LANES * u, 2 * LANES * line[u]
            then = here + 2 * LANES
            relax(one + then, one + here, two + then, before + pitch, cost + pitch, out + then + 2 * LANES, bend, far)
        if t == 0:
            work[0, 2, : (cells + 2) * LANES] = FULL
    return (len(table) - 1) % 3


@compiled
def _lot(table, bend, far, offsets, pitches, starts, durations, which, steps, shifts):
    """Costs, starts and ends (lines, ways, LANES); `steps` are in notes, `table` is (frames, pitches, LANES)."""
    shape = (*steps.shape, LANES)
    costs, firsts, lasts = np.full(shape, FULL, np.int16), np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    work = np.zeros((2, 3, (LONGEST + 2) * LANES), np.int16)
    for i in range(which.size):
        a, b = offsets[which[i]], offsets[which[i] + 1]
        beats = _beats_per_note(starts[a:b])
        for way in range(steps.shape[1]):
            step = beats * steps[i, way]
            line = _frames(pitches[a:b], starts[a:b], durations[a:b], step, len(table))[:LONGEST].astype(np.int64)
            line = (line - shifts[i, way]) % table.shape[1]
            last = _warp(table, bend, line, work, far)
            for u in range(line.size):
                for lane in range(LANES):
                    cost = work[0, last, (u + 2) * LANES + lane]
                    if cost < costs[i, way, lane]:
                        costs[i, way, lane] = cost
                        firsts[i, way, lane] = starts[a] + work[1, last, (u + 2) * LANES + lane] * step
                        lasts[i, way, lane] = starts[a] + (u + 1) * step
    return costs, firsts, lasts
