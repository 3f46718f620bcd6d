"""Symbols as bit planes: one instruction handles the same bit of 512 places.

The collection is cut into blocks, and each block into LANES stretches of as many rows. A row of a plane has one bit of
each stretch: of its first place, in the next row of its second place, and so on. The place that is k notes further on
is thus k rows further down, in the same lane, and no bits ever have to be moved sideways. A stretch also has some rows
from before its beginning and from after its end.
"""

from collections.abc import Iterator

import numpy as np

from musicai.search._scale.store import Column

LANES, ROWS = 512, 1024  # stretches of a block, and the most places in each
BEFORE, AFTER = 8, 32  # more rows at both ends
WORDS, BITS = LANES // 64, 8  # of 64 bits, in a row; of a symbol


def divide(notes: int) -> tuple[int, int]:
    """How many blocks there are, and how many rows in each."""
    rows = min(ROWS, -(-notes // LANES))
    return -(-notes // max(1, LANES * rows)), rows


def planes_of(symbols: Column, end: int) -> Iterator[np.ndarray]:
    """Yield the planes of each block, uint64 (BITS * rows * WORDS,); `end` is the symbol of what is outside."""
    blocks, rows = divide(symbols.length)
    size = LANES * rows
    for block in range(blocks):
        first, last = block * size - BEFORE, (block + 1) * size + AFTER
        found = np.full(last - first, end, np.uint8)
        some = symbols.read(max(first, 0), min(last, symbols.length))
        found[max(-first, 0) :][: len(some)] = some
        lanes = np.lib.stride_tricks.sliding_window_view(found, rows + BEFORE + AFTER)[::rows].T
        bits = [np.packbits(lanes >> bit & 1, axis=1, bitorder="little") for bit in range(BITS)]
        yield np.ascontiguousarray(np.stack(bits, axis=1)).view("<u8").ravel()
