"""Finding melodies: is the right tune first, how fast, and how sure? Simulated queries beside real ones, and peers.

    python benchmarks/search.py --eval FOLDER [--only recordings,million] [--quick] [--json FILE] [--million 1000000]

Each figure stands beside the bar it has to reach, with a 95 % bootstrap interval over queries; for real recordings,
over recordings, because the excerpts of one succeed and fail together. Simulated queries are cut out of random tunes at
random positions and transposed by up to six semitones. "Mild" errors are 8 % substitutions, 4 % deletions, 4 %
insertions, 2 % octaves, and durations up to 15 % longer or shorter. Only the tune itself is a right answer: a version
of it counts as wrong. Peers get the same queries, in the key of the tune if they know no transposition; matchers.py
describes them, and those that are not installed are left out. The million consists of the folk corpus and of tunes that
nobody wrote (distractors.py).

`--eval` names a folder of hums and recordings that may not be distributed; without it, their rows say "not at hand".
"""

import argparse
import json
import math
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from musicai.search.contours import Contour
from musicai.search.humming import excerpt, hum, perturb

from musicai.data import FolkCorpus
from musicai.data.splits import group_duplicates
from musicai.notes import Melody, hz_to_midi
from musicai.search import MelodyIndex
from musicai.search.queries import Query, read_query

TYPED = [  # notes, errors compared with "mild", rhythm, bar for Top-10
    ("8 exact notes", 8, 0, False, 0.90),
    ("8 exact notes with rhythm", 8, 0, True, 0.97),
    ("12 mild notes", 12, 1, False, 0.96),
    ("12 mild notes with rhythm", 12, 1, True, 0.98),
    ("24 notes, twice the errors", 24, 2, False, 0.99),
]
RATE = 44100 / 256  # frames per second of the contours in the evaluation folder
ROWS: dict[str, Callable] = {}


@dataclass
class Result:
    """One line of the table. `bar` is the target, to be reached from below, or from above if `at_most`."""

    what: str
    bar: float
    value: float
    low: float = math.nan
    high: float = math.nan
    count: int = 1
    at_most: bool = False
    peers: dict[str, float] = field(default_factory=dict)

    def __str__(self) -> str:
        sure = f"[{self.low:.3f}, {self.high:.3f}]" if self.low == self.low else ""
        passed = "  " if self.bar != self.bar else "ok" if self.reached() else "NO"
        bar = "" if self.bar != self.bar else f"{'<=' if self.at_most else '>='}{self.bar:7.4g}"
        peers = ", ".join(f"{name} {value:.3f}" for name, value in self.peers.items())
        return f"{passed} {self.what:<58}{bar:>9} {self.value:9.4g} {sure:16} {self.count:6,}  {peers}"

    def reached(self) -> bool:
        return self.value <= self.bar if self.at_most else self.value >= self.bar


def reciprocal_rank(ranks: np.ndarray) -> np.ndarray:
    """1 / rank, where an infinite rank stands for "not found"."""
    return 1 / np.asarray(ranks, dtype=float)


def in_top_10(ranks: np.ndarray) -> np.ndarray:
    return (np.asarray(ranks) <= 10).astype(float)


def interval(values: np.ndarray, groups: Iterable | None = None, rounds: int = 2000) -> tuple[float, float]:
    """The 95 % bootstrap interval of a mean: groups (by default, single values) are drawn with replacement."""
    values = np.asarray(values, dtype=float)
    _, group = np.unique(np.arange(len(values)) if groups is None else list(groups), return_inverse=True)
    sums, sizes = np.bincount(group, values), np.bincount(group)
    drawn = np.random.default_rng(0).integers(len(sizes), size=(rounds, len(sizes)))
    low, high = np.percentile(sums[drawn].sum(1) / sizes[drawn].sum(1), [2.5, 97.5])
    return float(low), float(high)


def calibration_error(probabilities: np.ndarray, right: np.ndarray, bins: int = 10) -> float:
    """The expected calibration error: |mean probability - share of right answers| in bins of equal width, weighted."""
    probabilities, right = np.asarray(probabilities, dtype=float), np.asarray(right, dtype=float)
    place = np.minimum((probabilities * bins).astype(int), bins - 1)
    return float(np.abs(np.bincount(place, probabilities - right, bins)).sum() / len(right))


def rank_of(answers: list[int], right: set[int]) -> float:
    """The place, from 1, of the first right answer; infinite if there is none."""
    return next((place for place, answer in enumerate(answers, 1) if answer in right), math.inf)


def numbers(matches: list) -> list[int]:
    """The positions in the collection of the pieces found."""
    return [int(match.id) for match in matches]


def make_index(pieces: list, path: Path | None = None) -> MelodyIndex:
    """An index whose ids are the positions of the pieces."""
    return MelodyIndex.build(pieces, path, ids=[str(i) for i in range(len(pieces))], progress=False)


def row(function: Callable) -> Callable:
    """Register a row of the table under the name of its function."""
    ROWS[function.__name__] = function
    return function


def scored(what: str, bars: dict[Callable, float], ranks: list[float], peers: dict | None = None, groups=None) -> list:
    """One Result for each measure of the ranks."""
    found = []
    for measure, bar in bars.items():
        values, name = measure(ranks), {in_top_10: "Top-10", reciprocal_rank: "MRR"}[measure]
        others = {peer: float(np.mean(measure(theirs))) for peer, theirs in (peers or {}).items()}
        found.append(
            Result(f"{what}: {name}", bar, float(np.mean(values)), *interval(values, groups), len(ranks), peers=others)
        )
    return found


class Bench:
    """The data that the rows share, made when first needed."""

    def __init__(self, quick: bool = False, folder: Path | None = None, million: int = 1_000_000):
        self.quick, self.folder, self.million = quick, folder, million

    def some(self, count: int) -> int:
        """How many queries to ask: a tenth of `count` if it has to be quick."""
        return max(10, count // 10) if self.quick else count

    def real(self, name: str) -> Path | None:
        path = self.folder / name if self.folder else None
        return path if path and path.exists() else None

    @cached_property
    def tunes(self) -> list[Melody]:
        return list(FolkCorpus(expand_repeats=True))

    @cached_property
    def index(self) -> MelodyIndex:
        return make_index(self.tunes)

    @cached_property
    def groups(self) -> np.ndarray:
        return group_duplicates(self.tunes)

    @cached_property
    def friend(self):
        from matchers import FolkFriendStyle

        return FolkFriendStyle(self.tunes)

    def queries(self, count: int, notes: int, times: float, seed: int) -> Iterator[tuple]:
        """(number of the tune, shift in semitones, (pitches, starts, durations) in the key of the tune)."""
        rng = np.random.default_rng(seed)
        for i in rng.choice(len(self.tunes), count, replace=count > len(self.tunes)).tolist():
            shift = int(rng.integers(-6, 7))
            yield i, shift, perturb(excerpt(self.tunes[i], notes, rng), rng, times=times)


def as_query(notes: tuple, shift: int, rhythm: bool) -> Query:
    pitches, starts, durations = notes
    return Query(pitches + shift, starts, durations) if rhythm else Query(pitches + shift)


@row
def typed(bench: Bench) -> Iterator[Result]:
    """Typed notes among the tunes of the folk corpus."""
    for seed, (what, notes, times, rhythm, bar) in enumerate(TYPED):
        ranks, spent, peers = [], [], {}
        for i, shift, played in bench.queries(bench.some(400), notes, times, seed):
            query, began = as_query(played, shift, rhythm), time.perf_counter()
            found = bench.index.find(query, k=10)
            spent.append(1000 * (time.perf_counter() - began))
            ranks.append(rank_of(numbers(found), {i}))
            pitches, _, durations = played
            if rhythm:
                peers.setdefault("FolkFriend-style", []).append(
                    rank_of(bench.friend.rank(pitches, durations, 0.5), {i})
                )
        yield from scored(what, {in_top_10: bar}, ranks, peers)
        limit = 60 if notes == 12 else math.nan
        yield Result(f"{what}: median ms", limit, statistics.median(spent[1:]), count=len(spent), at_most=True)


@row
def music21(bench: Bench) -> Iterator[Result]:
    """music21.search takes a second per query for 300 tunes, so both search these only."""
    from matchers import Music21Windows

    some = np.random.default_rng(0).choice(len(bench.tunes), 300, replace=False).tolist()
    ours, theirs = make_index([bench.tunes[i] for i in some]), Music21Windows([bench.tunes[i] for i in some])
    ranks, peers = [], []
    rng = np.random.default_rng(1)
    for place in rng.integers(300, size=bench.some(100)).tolist():
        played = perturb(excerpt(bench.tunes[some[place]], 12, rng), rng)
        ranks.append(rank_of(numbers(ours.find(as_query(played, 0, False), k=300)), {place}))
        peers.append(rank_of(theirs.rank(played[0]), {place}))
    yield from scored("12 mild notes among 300 tunes", {reciprocal_rank: math.nan}, ranks, {"music21": peers})


@row
def hums(bench: Bench) -> Iterator[Result]:
    """Real hums among the 2,048 songs of the evaluation set: whole, and windows of 5 seconds."""
    from musicai.audio import load
    from musicai.notes import read_midi

    if not (folder := bench.real("qbsh")):
        return
    with tempfile.TemporaryDirectory() as place, zipfile.ZipFile(next(folder.glob("*.zip"))) as archive:
        names = sorted(name for name in archive.namelist() if name.endswith(".mid"))
        archive.extractall(place)
        songs = [read_midi(Path(place) / name) for name in names]
    index = make_index(songs)
    ranks, spent, ratios, windows, sources = [], [], [], [], []
    for path in sorted(folder.glob("*.wav")):
        right = {i for i, name in enumerate(names) if Path(name).stem == path.stem}
        index.find(read_query(path))  # the first search compiles
        began = time.perf_counter()
        found = index.find(read_query(path))
        spent.append(time.perf_counter() - began)
        ranks.append(rank_of(numbers(found), right))
        ratios.append(runner_up(index, read_query(path)))
        audio, sr = load(path, mono=True)
        for first in range(0, audio.shape[-1] - 5 * sr + 1, sr):
            found = index.find(read_query((audio[..., first : first + 5 * sr], sr)))
            windows.append(rank_of(numbers(found), right))
            sources.append(path.stem)
    first = np.array(windows) == 1
    yield Result("real hums: worst rank of the right song", 1, max(ranks), count=len(ranks), at_most=True)
    yield Result("real hums: least cost of another song / cost of the best", 1.6, min(ratios), count=len(ratios))
    yield Result("real hums: most seconds from file to answer", 1, max(spent), count=len(spent), at_most=True)
    yield Result("5 s of a real hum: first", 0.9, first.mean(), *interval(first, sources), len(first))


def runner_up(index: MelodyIndex, query: Query) -> float:
    """The second-best song's cost divided by the best one's, by the contour alone."""
    from musicai.search.warping import warp_all

    costs = warp_all(query.contours, index.lines)[0]
    best = np.full(int(index.lines.pieces.max()) + 1, np.inf)
    np.minimum.at(best, index.lines.pieces, costs)
    first, second = np.partition(best, 1)[:2]
    return float(second / first)


@row
def recordings(bench: Bench) -> Iterator[Result]:
    """Excerpts of 12 seconds of commercial recordings, alone and four together. Any tune of the same title is right."""
    if not (folder := bench.real("recordings")):
        return
    titles = {r["recording"]: r["titles in our corpus"].split("; ") for r in read_csv(folder / "same_title.csv")}
    right = {k: {i for i, t in enumerate(bench.tunes) if t.name in names} for k, names in titles.items()}
    played = played_notes(folder / "pyin_notes.csv")
    ranks, friends, owners, together = [], [], [], {}
    for name, hertz in np.load(folder / "contours.npz").items():
        owner, excerpt_number = name.split(".")
        contour = contour_of(hertz)
        together.setdefault(owner, []).append(contour)
        ranks.append(rank_of(numbers(bench.index.find(contour_query([contour]), k=1000)), right[owner]))
        friends.append(rank_of(bench.friend.rank(*played[owner, excerpt_number]), right[owner]))
        owners.append(owner)
    both = {"FolkFriend-style": friends}
    yield from scored("real, 12 s excerpts", {in_top_10: 0.58, reciprocal_rank: 0.48}, ranks, both, owners)
    ratio = reciprocal_rank(ranks).mean() / max(reciprocal_rank(friends).mean(), 1e-9)
    yield Result("real, 12 s excerpts: MRR / that of FolkFriend's way", 1.5, ratio, count=len(ranks))
    joined = [rank_of(numbers(bench.index.find(contour_query(c), k=1000)), right[o]) for o, c in together.items()]
    yield from scored("real, four excerpts together", {in_top_10: 0.66, reciprocal_rank: 0.57}, joined)


def contour_of(hertz: np.ndarray) -> Contour:
    voiced = hertz > 0
    pitches = np.where(voiced, hz_to_midi(np.where(voiced, hertz, 440.0)), np.nan).astype(np.float32)
    return Contour(pitches, voiced.astype(np.float32), RATE)


def contour_query(contours: list[Contour]) -> Query:
    pitches, starts, durations, _ = contours[0].notes()
    return Query(pitches, starts, durations, tuple(contours))


def read_csv(path: Path) -> list[dict]:
    import csv

    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file, skipinitialspace=True))


def played_notes(path: Path) -> dict[tuple, tuple]:
    """(recording, excerpt) -> (pitches, durations in seconds)."""
    found: dict = {}
    for note in read_csv(path):
        pitches, durations = found.setdefault((note["recording"], note["excerpt"]), ([], []))
        pitches.append(float(note["pitch_midi"]))
        durations.append(float(note["duration_s"]))
    return found


@row
def simulated_hums(bench: Bench) -> Iterator[Result]:
    """Ten seconds of a simulated hum, clean and with noise in a room."""
    for what, bar, settings in (("clean", 0.95, {}), ("10 dB noise and room", 0.88, {"snr": 10.0, "room": 0.5})):
        rng, ranks = np.random.default_rng(5), []
        for i in rng.choice(len(bench.tunes), bench.some(200), replace=False).tolist():
            query = read_query(hum(bench.tunes[i], rng, seconds=10.0, **settings))
            ranks.append(rank_of(numbers(bench.index.find(query, k=1000)), {i}))
        yield from scored(f"simulated hum, 10 s, {what}", {reciprocal_rank: bar}, ranks)


@row
def variants(bench: Bench) -> Iterator[Result]:
    """Versions of a tune in two collections, adjudicated: one of them, or its first 24 notes, has to find the other."""
    from musicai.search.variants import variant_pairs

    pairs = [(a, b) for a, b, same in variant_pairs(bench.tunes) if same]
    for what, notes, bar in (("whole tune", None, 0.85), ("first 24 notes", 24, math.nan)):
        ranks = []
        for a, b in pairs:
            for query, right in ((a, b), (b, a)):
                melody = Melody(bench.tunes[query].notes[:notes])
                others = [i for i in numbers(bench.index.find(melody, k=1000)) if i != query]
                ranks.append(rank_of(others, {right}))
        yield from scored(
            f"variants, {what}", {reciprocal_rank: bar}, ranks, groups=np.repeat(np.arange(len(pairs)), 2)
        )


@row
def rejection(bench: Bench) -> Iterator[Result]:
    """Half of the groups of versions are left out of an index, so that queries from them have no right answer."""
    inside = np.array([group % 2 == 0 for group in bench.groups])
    index = make_index([tune for tune, kept in zip(bench.tunes, inside, strict=True) if kept])
    place, probabilities, hits = np.cumsum(inside) - 1, [], []
    for seed, (what, notes, rhythm, bar) in enumerate(
        (("24 notes", 24, False, 0.9), ("12 with rhythm", 12, True, 0.5))
    ):
        known, strange = [], []
        for i, shift, played in bench.queries(bench.some(800), notes, 1, 100 + seed):
            best = index.find(as_query(played, shift, rhythm), k=1)[0]
            right = bool(inside[i] and int(best.id) == place[i])
            probabilities.append(best.probability)
            hits.append(right)
            if right or not inside[i]:
                (known if right else strange).append((best.probability, best.unlikely))
        (scores, doubts), (others, refused) = (np.array(rows, dtype=float).T for rows in (known, strange))
        kept = scores > np.quantile(others, 0.99)
        yield Result(f"{what}: kept at 1 % false accepts", bar, kept.mean(), *interval(kept), len(kept))
        yield Result(f"{what}: not called unlikely", math.nan, 1 - doubts.mean(), *interval(1 - doubts), len(doubts))
        wrong = 1 - refused
        yield Result(f"{what}: false accepts", 0.01, wrong.mean(), *interval(wrong), len(wrong), at_most=True)
    error = calibration_error(probabilities, hits)
    yield Result("calibration error of these probabilities", 0.05, error, count=len(hits), at_most=True)


@row
def million(bench: Bench) -> Iterator[Result]:
    """The corpus and made-up tunes: built in one process, searched in another, whose memory is measured."""
    with tempfile.TemporaryDirectory(prefix="musicai-million-") as folder:
        path = str(Path(folder, "million.index"))
        built, size = stage("build", path, bench.million), Path(path).stat().st_size
        yield Result(f"{built['tunes']:,} tunes: minutes to build", 15, built["seconds"] / 60, at_most=True)
        yield Result("bytes per tune", 1200, size / built["tunes"], count=int(built["notes"]), at_most=True)
        asked = stage("ask", path, bench.some(400))
    for notes, bar in (("12", 0.7), ("24", 0.94)):
        yield from scored(f"{notes} mild notes among them", {in_top_10: bar}, asked[notes]["ranks"])
        late = float(np.quantile(asked[notes]["ms"], 0.95))
        yield Result(f"{notes} mild notes: ms, 95th percentile", 100, late, count=len(asked[notes]["ms"]), at_most=True)
    yield Result("MB resident, with Python and its libraries", 500, asked["mb"], at_most=True)


def stage(name: str, *arguments) -> dict:
    """Run a part of the row `million` in a process of its own."""
    command = [sys.executable, __file__, "--stage", name, *map(str, arguments)]
    return json.loads(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines()[-1])


def build_million(path: str, count: str) -> dict:
    """Build the index of `count` tunes; the time to make them up does not count."""
    from distractors import TuneModel

    tunes, waited, notes = list(FolkCorpus()), 0.0, 0
    made = TuneModel(tunes).lines(int(count) - len(tunes))

    def pieces() -> Iterator:
        nonlocal waited, notes
        yield from tunes
        while True:
            began = time.perf_counter()
            lines = next(made, None)
            waited += time.perf_counter() - began
            if lines is None:
                return
            notes += len(lines.pitches)
            yield lines

    began = time.perf_counter()
    index = MelodyIndex.build(pieces(), path, progress=False)
    return {"seconds": time.perf_counter() - began - waited, "tunes": len(index), "notes": notes}


def ask_million(path: str, count: str) -> dict:
    """Ranks and times of mild queries from the corpus, which stands first in the index, and the most memory held."""
    index, bench, found = MelodyIndex.open(path), Bench(), {}
    bench.tunes = list(FolkCorpus())
    ids = index.ids[: len(bench.tunes)]
    for notes in (12, 24):
        ranks, spent = [], []
        for i, shift, played in bench.queries(int(count), notes, 1, 300 + notes):
            query, began = as_query(played, shift, False), time.perf_counter()
            matches = index.find(query)
            spent.append(1000 * (time.perf_counter() - began))
            ranks.append(rank_of([match.id for match in matches], {ids[i]}))
        found[str(notes)] = {"ranks": ranks, "ms": spent[1:]}
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return found | {"mb": int(status["VmHWM"].split()[0]) / 1024}


STAGES = {"build": build_million, "ask": ask_million}


@row
def fingerprints(bench: Bench) -> Iterator[Result]:
    """Clips of 1 to 10 seconds, with noise in a room, among recordings of 30 seconds."""
    import soundfile

    from musicai.search import AudioIndex

    rng, count = np.random.default_rng(7), 100 if bench.quick else 1000
    with tempfile.TemporaryDirectory(prefix="musicai-clips-") as folder:
        clips = [record(bench.tunes, rng) for _ in range(count)]
        for i, clip in enumerate(clips):
            soundfile.write(f"{folder}/{i}.wav", clip, 16000)
        index = AudioIndex.build(folder)
    for seconds, bar in ((1, 0.70), (2, 0.90), (3, 0.95), (5, 0.98), (10, 0.99)):
        hits = []
        for i in rng.integers(count, size=bench.some(1000)).tolist():
            start = rng.uniform(0, 30 - seconds)
            found = index.find((spoiled(clips[i], start, seconds, rng), 16000), k=1)
            hits.append(bool(found) and Path(found[0].path).stem == str(i) and abs(found[0].start - start) < 0.5)
        yield Result(
            f"fingerprint, {seconds} s at 5 dB in a room: first", bar, np.mean(hits), *interval(hits), len(hits)
        )


def record(tunes: list[Melody], rng: np.random.Generator) -> np.ndarray:
    """Thirty seconds of two tunes at once on two instruments, as int16 at 16 kHz."""
    from musicai.performance import INSTRUMENTS, perform

    total = np.zeros(30 * 16000, np.float32)
    for _ in range(2):
        tune, sound = tunes[rng.integers(len(tunes))], np.zeros(0, np.float32)
        sound = perform(tune, str(rng.choice(sorted(INSTRUMENTS)))).samples.mean(0).numpy()
        total += np.resize(sound, len(total))
    return np.int16(30000 * total / np.abs(total).max())


def spoiled(clip: np.ndarray, start: float, seconds: float, rng: np.random.Generator) -> np.ndarray:
    """Part of a clip in a room that rings for half a second, with noise that is 5 dB softer."""
    from scipy.signal import lfilter, oaconvolve

    first = int(16000 * start)
    part = clip[first : first + int(16000 * seconds)].astype(np.float32)
    tail = rng.standard_normal(8000) * 10 ** (-3 * np.arange(8000) / 8000)
    wet = part + oaconvolve(part, tail / np.sqrt((tail**2).sum()))[: len(part)]
    noise = lfilter([1], [1, -0.9], rng.standard_normal(len(part)))
    wet = wet + noise * np.sqrt((wet**2).mean() / (noise**2).mean()) * 10 ** (-5 / 20)
    return (wet / np.abs(wet).max()).astype(np.float32)


@row
def lance(bench: Bench) -> Iterator[Result]:
    """LanceDB: the same answers as on one machine, and its full-text search alone as a peer."""
    if not (find_spec("lancedb") and find_spec("lance_ray")):
        return
    from musicai.search._scale.lance import _words, write_lance

    ranks, text, same = [], [], []
    with tempfile.TemporaryDirectory(prefix="musicai-lance-") as folder:
        ids = [str(i) for i in range(len(bench.tunes))]
        write_lance(bench.tunes, f"lance://{folder}", ids=ids, workers=2)
        index = MelodyIndex.open(f"lance://{folder}")
        for i, shift, played in bench.queries(bench.some(200), 12, 1, 400):
            query = as_query(played, shift, True)
            ours, theirs = (numbers(one.find(query)) for one in (bench.index, index))
            same.append(float(ours == theirs))
            ranks.append(rank_of(theirs, {i}))
            found = index._table.search(_words(query.pitches), query_type="fts", fts_columns="words").limit(10)
            text.append(rank_of([int(row["id"]) for row in found.select(["id"]).to_list()], {i}))
    yield Result("LanceDB, built by two Ray workers: same Top-10", 1.0, np.mean(same), *interval(same), len(same))
    peers = {"LanceDB full text": text}
    yield from scored("12 mild notes with rhythm, LanceDB", {in_top_10: math.nan}, ranks, peers)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--eval", type=Path, help="the folder of hums and recordings")
    parser.add_argument("--only", default=",".join(ROWS), help="names of rows, with commas (default: all)")
    parser.add_argument("--quick", action="store_true", help="a tenth of the queries")
    parser.add_argument("--json", type=Path, help="also write the results to this file")
    parser.add_argument("--million", type=int, default=1_000_000, help="how many tunes the row `million` has")
    parser.add_argument("--stage", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.stage:
        print(json.dumps(STAGES[options.stage[0]](*options.stage[1:])))
        return
    bench, results = Bench(options.quick, options.eval, options.million), []
    print(f"   {'':<58}{'bar':>9} {'ours':>9} {'95 %':16} {'n':>6}  peers")
    for name in options.only.split(","):
        began, found = time.perf_counter(), 0
        for result in ROWS[name](bench):
            results.append(asdict(result) | {"row": name})
            print(result, flush=True)
            found += 1
        print(f"   {name}: {f'{time.perf_counter() - began:.0f} s' if found else 'not at hand'}", flush=True)
    if options.json:
        options.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
