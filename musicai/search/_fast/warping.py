"""Contours against every line of a collection: all keys and tempos roughly, then the best lines finely. Chapter 6.

Roughly, pitches count modulo the octave, so there are 12 keys. Their costs are 16-bit integers that lie side by side in
one register, and each step of the dynamic programming does all keys at once.
"""

from collections.abc import Sequence
from functools import partial

import numpy as np
import torch
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

from musicai.search.contours import Contour
from musicai.search.lines import Lines
from musicai.search.warping import BEND, TEMPOS, pitch_cost, query_frames
from musicai.threads import Workers

ROUGH, FINE = 4.0, 8.0  # frames per second
REFINED, POLISHED = 300, 30  # lines that are compared finely, and at other tunings and tempos too
WAYS = 2  # keys and tempos per line that are compared finely
FRACTIONS = 3  # of a semitone
LANES, FULL = 16, 32767  # keys in a register, of which 12 are used; the cost of what is impossible
LONGEST = 4096  # frames of a line; what comes later in it is not searched
MARGIN = 48  # semitones: contours this much lower or higher than a line's range fit into the tables
LOT = 256  # lines handed to a thread at once

I16, I32 = ir.IntType(16), ir.IntType(32)
ROW = ir.VectorType(I16, LANES)


def compiled(function):
    """Compile, and keep the machine code on disk if there is a place for it; all it depends on is in this file."""
    options = {"error_model": "numpy", "nogil": True}
    try:
        return njit(cache=True, **options)(function)
    except RuntimeError:
        return njit(**options)(function)


def warp_all(
    contours: Sequence[Contour], lines: Lines, candidates: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Compare the excerpts of one recording with every line, at any key and tempo.

    Args:
        contours: the excerpts, all in the same key and about the same tempo; the cost is that of all together. Longer
            ones are cut into several, see `Contour.excerpts`.
        lines: the collection.
        candidates: the lines to compare, by number; None for all.

    Raises:
        ValueError: if there is no pitch in any of them.

    Returns: float32 arrays with an entry for every line or candidate, in that order: costs per frame, from 0 to about
        1; where the first excerpt starts and ends, in beats; semitones from the contour to the line; and beats per
        second. All but the costs are NaN for lines that were only compared roughly, which cost more than the others.

    Chapter 6.
    """
    which = np.arange(len(lines)) if candidates is None else np.asarray(candidates, dtype=np.int64)
    contours = [part for contour in contours for part in contour.excerpts()]
    if not contours:
        raise ValueError("no contour has a pitch: track_contour says so where it finds none")
    rough = sum(_rough(contour, lines, which) for contour in contours)[..., :12] / len(contours)  # 12 keys
    rough = rough.reshape(len(which), 12 * len(TEMPOS))
    results = np.full((5, len(which)), np.nan, np.float32)
    results[0] = rough.min(1)
    best = np.argsort(results[0], kind="stable")[:REFINED]
    tempos, keys = np.divmod(np.argsort(rough[best], axis=1, kind="stable")[:, :WAYS], 12)
    fine = _fine(contours, lines, which[best], TEMPOS[tempos], _octaves(contours, lines, which[best], keys))
    top = np.argsort(fine[0], kind="stable")[:POLISHED]
    tempos, shifts = (grid.ravel() for grid in np.meshgrid(2.0 ** (np.arange(-1, 2) / 4), np.arange(-1, 2) / FRACTIONS))
    fine[:, top] = _fine(contours, lines, which[best[top]], fine[4, top, None] * tempos, fine[3, top, None] + shifts)
    rest = np.setdiff1d(np.arange(len(which)), best)
    if len(rest):
        reached = np.max(fine[0], where=np.isfinite(fine[0]), initial=0)
        results[0, rest] += max(0.0, reached - results[0, rest].min())
    tunings = [_query(contour, FINE)[2] for contour in contours]
    fine[3] -= tunings[0]
    fine[4] = (fine[2] - fine[1]) / contours[0].seconds
    results[:, best] = fine
    return tuple(results)


def _rough(contour: Contour, lines: Lines, which: np.ndarray) -> np.ndarray:
    """Costs (lines, tempos, LANES), per frame."""
    pitches, weights, _ = _query(contour, ROUGH)
    keys = np.arange(LANES) - np.arange(12)[:, None]
    difference = pitches[:, None, None] + keys  # (frames, pitch classes, keys)
    table = weights[:, None, None] * pitch_cost(difference - 12 * np.round(difference / 12))
    scale = min(300.0, 0.8 * FULL / (table.max((1, 2)).sum() + 1))
    compare = partial(
        _rough_lot, np.rint(scale * table).astype(np.int16), np.int16(round(scale * BEND)), TEMPOS / ROUGH
    )
    arrays = (lines.offsets, lines.pitches, lines.starts, lines.durations)
    with Workers(torch.device("cpu")) as workers:
        lots = [which[i : i + LOT] for i in range(0, len(which), LOT)]
        costs = list(workers.map(lambda lot: compare(*arrays, lot), lots))
    costs = np.concatenate([np.zeros((0, len(TEMPOS), LANES), np.int16), *costs])
    return np.where(costs == FULL, np.inf, costs / (scale * weights.sum())).astype(np.float32)


def _octaves(contours, lines: Lines, which: np.ndarray, keys: np.ndarray) -> np.ndarray:
    """Semitones (lines, 2 * keys) that bring the first contour to each key, near the middle of each line."""
    pitches, weights, _ = _query(contours[0], FINE)
    middles = np.array([np.median(lines.pitches[slice(*lines.offsets[i : i + 2])]) for i in which])
    below = np.floor((middles[:, None] - np.median(pitches[weights > 0]) - keys) / 12)
    return np.concatenate([keys + 12 * below, keys + 12 * (below + 1)], axis=1)


def _fine(contours, lines: Lines, which: np.ndarray, tempos: np.ndarray, shifts: np.ndarray) -> np.ndarray:
    """The cheapest of several ways (lines, ways) to play each line: cost, start, end, shift and tempo (5, lines)."""
    tempos = np.tile(tempos, (1, shifts.shape[1] // tempos.shape[1]))
    whole, part = np.divmod(np.rint(shifts * FRACTIONS).astype(np.int64), FRACTIONS)
    found = []
    for contour in contours:
        pitches, weights, _ = _query(contour, FINE)
        line, parts = np.arange(-MARGIN, 128 + MARGIN), np.arange(FRACTIONS)[:, None, None] / FRACTIONS
        tables = weights[:, None] * pitch_cost(pitches[:, None] + parts - line) / weights.sum()
        arrays = (lines.offsets, lines.pitches, lines.starts, lines.durations)
        bend = np.float32(BEND / weights.sum())
        found.append(_fine_lot(tables.astype(np.float32), bend, *arrays, which, tempos / FINE, whole - MARGIN, part))
    total = np.mean([one[0] for one in found], axis=0)
    rows, way = np.arange(len(which)), total.argmin(1) if len(which) else np.zeros(0, int)
    columns = (total, *found[0][1:], shifts, tempos)
    return np.stack([column[rows, way] for column in columns])


def _query(contour: Contour, rate: float) -> tuple[np.ndarray, np.ndarray, float]:
    """Pitches (frames,) moved to whole semitones, weights, and by how many semitones they were too high."""
    pitches, weights = query_frames(contour, rate)
    tuning = float(np.angle((weights * np.exp(2j * np.pi * pitches)).sum()) / (2 * np.pi))
    return pitches - tuning, weights, tuning


@intrinsic
def relax(_, before, skip, twice, twice_cost, cost, out, bend):
    """One cell of `warp` for all keys; the arguments but the last are addresses of LANES int16 each."""

    def generate(context, builder, signature, args):
        saturating = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(ROW, [ROW, ROW]), f"llvm.sadd.sat.v{LANES}i16"
        )
        undefined, zeros = ir.Constant(ROW, ir.Undefined), ir.Constant(ir.VectorType(I32, LANES), [0] * LANES)
        bends = builder.insert_element(undefined, args[6], ir.Constant(I32, 0))
        bends = builder.shuffle_vector(bends, undefined, zeros)

        def load(i):
            return builder.load(builder.inttoptr(args[i], ROW.as_pointer()), align=2)

        def add(a, b):
            return builder.call(saturating, [a, b])

        def lower(a, b):
            return builder.select(builder.icmp_signed("<", a, b), a, b)

        bent = add(lower(load(1), add(load(2), load(3))), bends)
        total = add(lower(load(0), bent), load(4))
        builder.store(total, builder.inttoptr(args[5], ROW.as_pointer()), align=2)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 6, types.int16), generate


@compiled
def _row(one, two, out, cost_before, cost, classes, bend):
    """A row of the table from the rows one and two before it, all given by their addresses."""
    for u in range(classes.size):
        cell, row = 2 * LANES * u, 2 * LANES * np.int64(classes[u])
        after = cell + 2 * LANES
        relax(one + after, one + cell, two + after, cost_before + row, cost + row, out + after + 2 * LANES, bend)


@compiled
def _cells(pitches, starts, durations, step, out):
    """`line_frames` into `out`; returns how many there are."""
    count = int((starts[-1] + durations[-1] - starts[0]) / step)
    count = min(max(1, count), out.size)
    note = 0
    for u in range(count):
        middle = starts[0] + (u + 0.5) * step
        while note + 1 < starts.size and starts[note + 1] <= middle:
            note += 1
        out[u] = pitches[note]
    return count


@compiled
def _rough_lot(table, bend, steps, offsets, pitches, starts, durations, which):
    """Costs (lines, steps, LANES) of the best path; `table` is int16 (frames, 12 pitch classes, LANES)."""
    total = np.empty((3, (LONGEST + 2) * LANES), np.int16)
    classes = np.empty(LONGEST, np.int16)
    costs = np.full((which.size, steps.size, LANES), FULL, np.int16)
    base, size, tables, height = total.ctypes.data, 2 * total.shape[1], table.ctypes.data, 2 * 12 * LANES
    for i in range(which.size):
        a, b = offsets[which[i]], offsets[which[i] + 1]
        for k in range(steps.size):
            count = _cells(pitches[a:b], starts[a:b], durations[a:b], steps[k], classes)
            for u in range(count):
                classes[u] %= 12
            total[:, : (count + 2) * LANES] = FULL
            total[2, LANES : (count + 1) * LANES] = 0  # before the first frame, a path may be anywhere
            for t in range(len(table)):
                one, two, out = (t + 2) % 3, (t + 1) % 3, t % 3
                before, now = tables + max(t - 1, 0) * height, tables + t * height
                _row(base + one * size, base + two * size, base + out * size, before, now, classes[:count], bend)
                if t == 0:
                    total[2, : (count + 2) * LANES] = FULL
            last = total[(len(table) - 1) % 3]
            for u in range(2, count + 2):
                for lane in range(LANES):
                    costs[i, k, lane] = min(costs[i, k, lane], last[u * LANES + lane])
    return costs


@compiled
def warp_line(table, line, bend):
    """`warp` with the costs `table[t, line[u]]`; returns the cost, the start and the end."""
    n, m = len(table), line.size
    total, start = np.full((3, m + 2), np.inf, np.float32), np.zeros((3, m + 2), np.int32)
    for t in range(n):
        one, two, out = (t + 2) % 3, (t + 1) % 3, t % 3
        for u in range(m):
            if t == 0:
                total[out, u + 2], start[out, u + 2] = table[0, line[u]], u
                continue
            best, origin = total[one, u + 1], start[one, u + 1]
            skip, twice = total[one, u] + bend, total[two, u + 1] + table[t - 1, line[u]] + bend
            if skip < best:
                best, origin = skip, start[one, u]
            if twice < best:
                best, origin = twice, start[two, u + 1]
            total[out, u + 2], start[out, u + 2] = best + table[t, line[u]], origin
    last = (n - 1) % 3
    end = np.argmin(total[last])
    return total[last, end], start[last, end], end - 1


@compiled
def _fine_lot(tables, bend, offsets, pitches, starts, durations, which, steps, whole, part):
    """Costs, starts and ends in beats (3, lines, ways); the contour is moved by `part` in the tables, and `whole`."""
    out = np.zeros((3, *steps.shape))
    line = np.empty(LONGEST, np.int16)
    for i in range(which.size):
        a, b = offsets[which[i]], offsets[which[i] + 1]
        for way in range(steps.shape[1]):
            step = steps[i, way]
            count = _cells(pitches[a:b], starts[a:b], durations[a:b], step, line)
            for u in range(count):
                line[u] = min(max(line[u] - whole[i, way], 0), tables.shape[2] - 1)
            cost, start, end = warp_line(tables[part[i, way]], line[:count], bend)
            out[0, i, way] = cost
            out[1, i, way], out[2, i, way] = starts[a] + start * step, starts[a] + end * step
    return out
