"""Split tunes without leaks: copies, near-copies and namesakes of a tune never end up in different splits.

How it works, in the order in which `split_tunes` does it:

1. `group_duplicates` finds the groups. Two tunes are near-copies when they share enough short runs of intervals
   (`shingles`); intervals do not change when a tune is transposed.
2. `title_key` joins groups whose tunes have the same title: versions of a tune can differ in most of their notes.
3. `melody_key` makes a fingerprint of each group's first tune, and `split_of` hashes it into "train" (80 %), "valid"
   (10 %) or "test" (10 %): the same on every machine, with no list to keep and no seed to lose.

>>> from musicai.notes import Melody
>>> tune = Melody.from_pitches([60, 62, 64, 65, 67, 65, 64, 62, 60, 67, 60])
>>> split_tunes([tune, tune.transpose(5)])
['train', 'train']

`FolkCorpus(split)` uses `split_tunes` directly; folders of files apply `split_of` to their paths. Chapter 1.
"""

import hashlib
import re
import unicodedata
from collections.abc import Iterable, Sequence

import numpy as np

from musicai.notes import Melody

SPLITS = ("train", "valid", "test")
SHINGLE = 7  # intervals per run: unrelated tunes share shorter runs, and longer ones break at every change
OVERLAP = 0.25  # near-copies: this share of the runs of the tune that has fewer is also in the other
ARTICLES = ("the", "a", "an")
DANCES = (  # these and numbers may follow a title
    r"air|clog|double|fling|highland|hornpipe|jig|march|minuet|polka|quadrille|reel|rant|single|slip|slipjig|song|"
    r"strathspey|waltz|no|setting|sett?|version|1st|2n?d|3r?d|\d+"
)
PLAIN = (  # a title of nothing else says nothing
    DANCES + r"|irish|scotch|scots|english|french|german|trumpet|favou?rite|new|old|quick|step|quickstep|cotill?i?on|"
    r"cottilon|allemanda?|untitled|do|tune|dance"
)
NEIGHBOURS = 4  # how many later owners of a shingle to compare each owner with; keeps the work linear


def split_tunes(melodies: Sequence[Melody], same: Iterable[tuple[int, int]] = ()) -> list[str]:
    """Put tunes into "train", "valid" and "test" so that near-duplicates and tunes of one title stay together.

    >>> from musicai.notes import Melody
    >>> tune = Melody.from_pitches([60, 62, 64, 65, 67, 65, 64, 62, 60, 67, 60])
    >>> split_tunes([tune, tune.transpose(5)])
    ['train', 'train']

    Args:
        melodies: the tunes. Adding tunes at the end leaves every group whose first tune was already there in its split,
            unless a new tune links two groups.
        same: pairs of positions of tunes that are known to be the same.

    Returns: the split of each tune, which is that of the first tune in its group.

    Chapter 1.
    """
    copies, first_of = group_duplicates(melodies), {}
    titles = [(first_of.setdefault(key, i), i) for i, m in enumerate(melodies) if (key := title_key(m.name))]
    firsts = _groups([*enumerate(copies), *titles, *same], len(copies))
    return [split_of(melody_key(melodies[first])) for first in firsts]


def title_key(title: str) -> str:
    """Reduce a title to the words that tell tunes apart, so that other spellings of it give the same key.

    >>> title_key("Devil's Dream., The"), title_key("DEVILS DREAM -- REEL"), title_key("An Irish Air")
    ('devils dream', 'devils dream', '')

    Args:
        title: any text; what's in brackets, articles, and the dance or number at its end don't count.

    Returns: lower-case words, or "" if the title only says what kind of tune it is.

    Chapter 6.
    """
    plain = unicodedata.normalize("NFKD", title).encode("ascii", "ignore").decode().lower().replace("&", " and ")
    words = re.findall("[a-z0-9]+", re.sub(r"\(.*?\)|\[.*?\]|['`]", "", plain))
    words = [word for word in words if word not in ARTICLES]
    while len(words) > 1 and re.fullmatch(DANCES, words[-1]):
        words.pop()
    return " ".join(words) if any(not re.fullmatch(PLAIN, word) for word in words) else ""


def group_duplicates(melodies: Iterable[Melody], overlap: float = OVERLAP) -> np.ndarray:
    """Find the groups of near-duplicates: copies, transpositions and near-copies of a tune share one id.

    >>> from musicai.notes import Melody
    >>> tune = Melody.from_pitches([60, 62, 64, 65, 67, 65, 64, 62, 60, 67, 60])
    >>> group_duplicates([tune, tune.transpose(5), Melody.from_pitches([60, 60, 67, 67, 69, 69, 67])]).tolist()
    [0, 0, 2]

    Two tunes are near-copies if at least the share `overlap` of the shorter one's runs of intervals (`shingles`) occurs
    in the other, and near-copies of near-copies join the same group. Time and memory grow almost linearly with the
    number of tunes, because the owners of a run are compared with a few neighbours rather than all with all.

    Args:
        melodies: the tunes.
        overlap: the share of runs in common, above 0 and at most 1, that makes two tunes near-copies.

    Returns: the group of every melody (int64), given as the position of the group's first melody.

    Source: shingling as for web pages, Broder 1997. Chapter 1.
    """
    first_of: dict[bytes, int] = {}  # merge exact copies first: a thousand of them would crowd each of their runs
    pairs = [(first_of.setdefault(_intervals(m).tobytes(), i), i) for i, m in enumerate(melodies)]
    count, firsts = len(pairs), list(first_of.values())
    sets = [shingles(np.frombuffer(whole, dtype=np.int16)) for whole in first_of]
    for a, b in _candidates(sets, overlap):
        if len(np.intersect1d(sets[a], sets[b])) >= overlap * min(len(sets[a]), len(sets[b])):
            pairs.append((firsts[a], firsts[b]))
    return _groups(pairs, count)


def split_of(key: str) -> str:
    """Hash a key into "train" (80 %), "valid" (10 %) or "test" (10 %), the same on every machine, for ever.

    >>> split_of("the same key")
    'train'

    Unlike a shuffle, this moves nothing that was already there when data are added later.

    Args:
        key: any text that stays the same, such as a path within a folder.

    Returns: the split's name.

    Chapter 1.
    """
    digest = hashlib.blake2b(key.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    share = int.from_bytes(digest, "big") / 2**64
    return "train" if share < 0.8 else "valid" if share < 0.9 else "test"


def check_split(split: str) -> str:
    """Return `split` if it is one of SPLITS; raise ValueError naming it otherwise."""
    if split not in SPLITS:
        raise ValueError(f"split {split!r} is not one of {', '.join(SPLITS)}")
    return split


def melody_key(melody: Melody) -> str:
    """Fingerprint a melody, ignoring its name, transposition, tempo and leading rests.

    >>> from musicai.notes import Melody
    >>> tune = Melody.from_pitches([60, 62, 64])
    >>> melody_key(tune) == melody_key(tune.transpose(5))
    True

    Two melodies have the same key if their intervals and the proportions of their durations are equal, so doubling all
    the note values changes nothing.

    Args:
        melody: the tune.

    Returns: 32 hexadecimal digits.

    Chapter 1.
    """
    gaps = np.diff([note.start for note in melody.notes])
    rhythm = np.rint(12 * gaps / gaps.min(initial=np.inf))
    digest = hashlib.blake2b(melody.intervals.astype("<i2").tobytes(), digest_size=16)
    digest.update(b"|" + rhythm.astype("<i8").tobytes() + b"|" + str(len(melody)).encode())
    return digest.hexdigest()


def shingles(intervals: np.ndarray) -> np.ndarray:
    """Encode each run of SHINGLE intervals as one number (sorted, distinct uint64); a shorter melody gives just one."""
    codes = np.pad(intervals + 128, (0, max(0, SHINGLE - len(intervals))))  # 1..255 each, and 0 beyond the end
    runs = np.lib.stride_tricks.sliding_window_view(codes.astype(np.uint64), SHINGLE)
    return np.unique(runs @ 256 ** np.arange(SHINGLE, dtype=np.uint64))


def _intervals(melody: Melody) -> np.ndarray:
    intervals = melody.intervals.astype(np.int16)
    return intervals[intervals != 0]  # "da-da" or "daa": versions of a tune differ in repeated notes


def _candidates(sets: Sequence[np.ndarray], overlap: float) -> np.ndarray:
    """Find pairs (n, 2) of melodies that share enough shingles to be worth an exact comparison."""
    sizes = np.array([len(one) for one in sets], dtype=np.int64)
    hashes, owners = np.concatenate([np.empty(0, np.uint64), *sets]), np.repeat(np.arange(len(sets)), sizes)
    order = np.argsort(hashes, kind="stable")  # stable: the owners of one shingle stay in ascending order
    hashes, owners = hashes[order], owners[order]
    pairs = []
    for lag in range(1, NEIGHBOURS + 1):
        same = hashes[lag:] == hashes[:-lag]
        pairs.append(owners[:-lag][same] * len(sets) + owners[lag:][same])
    codes, shared = np.unique(np.concatenate(pairs), return_counts=True)
    first, second = codes // len(sets), codes % len(sets)
    # a quarter of the required overlap, because crowded shingles are only seen between neighbours
    enough = shared >= np.maximum(1, overlap / 4 * np.minimum(sizes[first], sizes[second]))
    return np.stack([first[enough], second[enough]], axis=1)


def _groups(pairs: Sequence[tuple[int, int]], count: int) -> np.ndarray:
    """The first melody of the group that each of `count` melodies is in, if each pair belongs together."""
    before = list(range(count))  # an earlier melody of its group for each, or itself if it is the first

    def first(i: int) -> int:
        while before[i] != i:
            before[i] = i = before[before[i]]  # so that the way is shorter next time
        return i

    for pair in pairs:
        one, two = sorted(map(first, pair))
        before[two] = one
    return np.array([first(i) for i in range(count)], dtype=np.int64)
