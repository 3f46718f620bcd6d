"""Train, valid, test without leaks: stable hashes, fingerprints of melodies, groups of near-duplicates."""

import hashlib
from collections.abc import Iterable, Sequence

import numpy as np

SPLITS = ("train", "valid", "test")
SHINGLE = 7  # intervals in one run: shorter ones are shared by unrelated tunes, longer ones break at every change
OVERLAP = 0.25  # near-duplicates: this share of the runs of the tune with fewer is in the other too
NEIGHBOURS = 4  # how many later owners of a shingle each owner is compared with: keeps the work linear


def check_split(split: str) -> str:
    """Return `split` if it is one of SPLITS; raise ValueError naming it otherwise."""
    if split not in SPLITS:
        raise ValueError(f"split {split!r} is not one of {', '.join(SPLITS)}")
    return split


def split_of(key: str) -> str:
    """Put a key into "train" (80 %), "valid" (10 %) or "test" (10 %), the same one on every machine and for ever.

    >>> split_of("the same key")
    'train'

    Data that is added later moves nothing that was there, unlike a shuffle with a seed. Chapter 1.
    """
    share = int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest(), "big") / 2**64
    return "train" if share < 0.8 else "valid" if share < 0.9 else "test"


def melody_key(melody) -> str:
    """Fingerprint of a Melody (32 hex digits) that ignores its name, transposition, tempo and leading rests.

    Two melodies have equal keys when their intervals and the proportions of their durations are equal, so writing the
    same tune in double note values changes nothing. Chapter 1.
    """
    pitches = np.array([note.pitch for note in melody.notes], dtype=np.int64)
    starts = np.array([note.start for note in melody.notes], dtype=np.float64)
    gaps = np.diff(starts)
    unit = gaps.min() if len(gaps) else 1.0
    rhythm = np.rint(12 * gaps / unit).astype(np.int64) if unit > 0 else gaps.astype(np.int64)
    digest = hashlib.blake2b(np.diff(pitches).astype("<i2").tobytes(), digest_size=16)
    digest.update(b"|" + rhythm.astype("<i8").tobytes() + b"|" + str(len(pitches)).encode())
    return digest.hexdigest()


def shingles(melody, size: int = SHINGLE) -> np.ndarray:
    """Hashes (sorted, distinct uint64) of every run of `size` intervals of a melody, repeated pitches merged.

    A tune that is too short for one run gets a single hash of all it has. Chapter 1.
    """
    return _shingles(_intervals(melody), size)


def _intervals(melody) -> np.ndarray:
    intervals = np.diff(np.array([note.pitch for note in melody.notes], dtype=np.int16))
    return intervals[intervals != 0]  # "da-da" or "daa": versions of a tune differ in repeated notes


def _shingles(intervals: np.ndarray, size: int) -> np.ndarray:
    if len(intervals) < size:
        digest = hashlib.blake2b(intervals.astype("<i2").tobytes(), digest_size=8).digest()
        return np.frombuffer(digest, dtype="<u8").astype(np.uint64)
    return np.unique(_hash_rows(np.lib.stride_tricks.sliding_window_view(intervals + 128, size).astype(np.uint64)))


def _hash_rows(runs: np.ndarray) -> np.ndarray:
    """A 64-bit hash of each row: polynomial in an odd base, then the finaliser of splitmix64."""
    base = np.uint64(0x9E3779B97F4A7C15)
    hashes = np.zeros(len(runs), dtype=np.uint64)
    for column in runs.T:
        hashes = hashes * base + column  # wraps modulo 2**64, as meant
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        hashes = (hashes ^ (hashes >> np.uint64(shift))) * np.uint64(factor)
    return hashes ^ (hashes >> np.uint64(31))


def group_duplicates(melodies: Iterable, overlap: float = OVERLAP) -> np.ndarray:
    """Group id of every melody (int64): copies, transpositions and near-copies of a tune share one id.

    >>> group_duplicates([tune, tune.transpose(5), other])  # doctest: +SKIP
    array([0, 0, 2])

    An id is the position of the group's first melody. Two tunes are near-copies when `overlap` of the shorter one's
    runs of intervals (`shingles`) are in the other; near-copies of near-copies join the same group. Time and memory
    grow nearly linearly with the number of melodies: the owners of a run are compared with a few neighbours, not all
    with all. Give whole groups to one split: `split_of` of anything that the group shares. Chapter 1.
    """
    first_of: dict[bytes, int] = {}  # exact copies first: a thousand of them would crowd every run of theirs
    parent = np.array([first_of.setdefault(_intervals(m).tobytes(), i) for i, m in enumerate(melodies)], dtype=np.int64)
    firsts = list(first_of.values())
    sets = [_shingles(np.frombuffer(whole, dtype=np.int16), SHINGLE) for whole in first_of]
    for a, b in _candidates(sets, overlap):
        one, two = _find(parent, firsts[a]), _find(parent, firsts[b])
        if one != two and _overlap(sets[a], sets[b]) >= overlap:
            parent[max(one, two)] = min(one, two)
    return np.array([_find(parent, i) for i in range(len(parent))], dtype=np.int64)


def _candidates(sets: Sequence[np.ndarray], overlap: float) -> np.ndarray:
    """Pairs (n, 2) of melodies that share enough shingles to be worth an exact comparison."""
    if not len(sets):
        return np.empty((0, 2), dtype=np.int64)
    sizes = np.array([len(one) for one in sets], dtype=np.int64)
    hashes, owners = np.concatenate(sets), np.repeat(np.arange(len(sets)), sizes)
    order = np.argsort(hashes, kind="stable")  # stable: the owners of one shingle stay in ascending order
    hashes, owners = hashes[order], owners[order]
    pairs = []
    for lag in range(1, NEIGHBOURS + 1):
        same = hashes[lag:] == hashes[:-lag]
        pairs.append(owners[:-lag][same] * len(sets) + owners[lag:][same])
    codes, shared = np.unique(np.concatenate(pairs), return_counts=True)
    first, second = codes // len(sets), codes % len(sets)
    # a quarter of the overlap asked for: crowded shingles are only seen between neighbours
    enough = shared >= np.maximum(1, overlap / 4 * np.minimum(sizes[first], sizes[second]))
    return np.stack([first[enough], second[enough]], axis=1)


def _overlap(a: np.ndarray, b: np.ndarray) -> float:
    return len(np.intersect1d(a, b, assume_unique=True)) / min(len(a), len(b))


def _find(parent: np.ndarray, i: int) -> int:
    while parent[i] != i:
        parent[i] = parent[parent[i]]  # halve the path: next time it is short
        i = parent[i]
    return int(i)
