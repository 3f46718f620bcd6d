"""Finding melodies: is the right tune first, how fast, and how sure? Simulated queries beside real ones, and peers.

    python benchmarks/search.py --eval FOLDER [--only recordings,million] [--quick] [--json FILE] [--million 1000000]

Each figure stands beside the bar it has to reach, with a 95 % bootstrap interval over queries; for real recordings,
over recordings, because the excerpts of one succeed and fail together. Simulated queries are cut out of random tunes at
random positions and transposed by up to six semitones. "Mild" errors are 8 % substitutions, 4 % deletions, 4 %
insertions, 2 % octaves, and durations up to 15 % longer or shorter. Only the tune itself is a right answer: a version
of it counts as wrong, except in lines that say so (a third of the tunes have versions). Peers get the same queries, in
the key of the tune if they know no transposition; matchers.py describes them, and those that are not installed are left
out. The million consists of the folk corpus and of tunes that nobody wrote (distractors.py).

`--eval` names a folder of hums and recordings that may not be distributed; without it, their rows say "not at hand".
"""

import argparse
import csv
import json
import math
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from functools import cached_property
from importlib.util import find_spec
from itertools import product
from pathlib import Path

import numpy as np
from asking import ask, rank_of
from matchers import FolkFriendStyle, Music21Windows, spoiled
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from musicai.audio import load
from musicai.data import FolkCorpus, FolkTune
from musicai.data import variants as known_variants
from musicai.data.splits import group_duplicates
from musicai.notes import Melody, Score, Track, hz_to_midi, read_midi
from musicai.search import Contour, MelodyIndex, Query, excerpt, hum, perturb, read_query, warp_all

TYPED = [  # notes, errors compared with "mild", rhythm, bar for Top-10, most milliseconds
    ("8 exact notes", 8, 0, False, 0.90, math.nan),
    ("8 exact notes with rhythm", 8, 0, True, 0.97, math.nan),
    ("12 mild notes", 12, 1, False, 0.96, 60),
    ("12 mild notes with rhythm", 12, 1, True, 0.98, 60),
    ("24 notes, twice the errors", 24, 2, False, 0.99, math.nan),
]
RATE = 44100 / 256  # frames per second of the contours in the evaluation folder
ROWS: dict[str, Callable] = {}


@dataclass
class Result:
    """One line of the table. `bar` is the target: a lower limit, or an upper one if `at_most`; NaN if there is none."""

    what: str
    bar: float
    value: float
    low: float = math.nan
    high: float = math.nan
    count: int = 1
    at_most: bool = False
    peers: dict[str, float] = field(default_factory=dict)

    def __str__(self) -> str:
        reached = self.value <= self.bar if self.at_most else self.value >= self.bar
        passed, bar = ("ok" if reached else "NO", f"{'<=' if self.at_most else '>='}{self.bar:7.4g}")
        passed, bar = ("  ", "") if math.isnan(self.bar) else (passed, bar)
        sure = "" if math.isnan(self.low) else f"[{self.low:.3f}, {self.high:.3f}]"
        peers = ", ".join(f"{name} {value:.3f}" for name, value in self.peers.items())
        return f"{passed} {self.what:<58}{bar:>9} {self.value:9.4g} {sure:16} {self.count:6,}  {peers}"


def reciprocal_rank(ranks: Iterable[float]) -> np.ndarray:
    """1 / rank, where an infinite rank stands for "not found"."""
    return 1 / np.asarray(ranks, dtype=float)


def in_top_10(ranks: Iterable[float]) -> np.ndarray:
    """1 for ranks up to 10, otherwise 0."""
    return (np.asarray(ranks) <= 10).astype(float)


def interval(values: Iterable[float], groups: Iterable | None = None, rounds: int = 2000) -> tuple[float, float]:
    """The 95 % bootstrap interval of a mean: groups (by default, single values) are drawn with replacement."""
    values = np.asarray(values, dtype=float)
    _, group = np.unique(np.arange(len(values)) if groups is None else list(groups), return_inverse=True)
    sums, sizes = np.bincount(group, values), np.bincount(group)
    drawn = np.random.default_rng(0).integers(len(sizes), size=(rounds, len(sizes)))
    low, high = np.percentile(sums[drawn].sum(1) / sizes[drawn].sum(1), [2.5, 97.5])
    return float(low), float(high)


def calibration_error(probabilities: Iterable[float], right: Iterable[bool], bins: int = 10) -> float:
    """The expected calibration error: |mean probability - share of right answers| in bins of equal width, weighted."""
    probabilities, right = np.asarray(probabilities, dtype=float), np.asarray(right, dtype=float)
    place = np.minimum((probabilities * bins).astype(int), bins - 1)
    return float(np.abs(np.bincount(place, probabilities - right, bins)).sum() / len(right))


def scored(what: str, bars: dict[Callable, float], ranks: list, peers: dict | None = None, groups=None) -> list[Result]:
    """One result for each measure of the ranks."""
    found = []
    for measure, bar in bars.items():
        values, name = measure(ranks), {in_top_10: "Top-10", reciprocal_rank: "MRR"}[measure]
        others = {peer: float(measure(theirs).mean()) for peer, theirs in (peers or {}).items()}
        sure = interval(values, groups)
        found.append(Result(f"{what}: {name}", bar, values.mean(), *sure, len(ranks), peers=others))
    return found


def share(what: str, bar: float, hits: Iterable, groups=None, at_most: bool = False) -> Result:
    """How often something is so."""
    return Result(what, bar, float(np.mean(hits)), *interval(hits, groups), len(hits), at_most)


def slowest(what: str, bar: float, seconds: list[float], quantile: float) -> Result:
    """A quantile of times, in milliseconds, without the first, in which code is compiled."""
    return Result(what, bar, 1000 * float(np.quantile(seconds[1:], quantile)), count=len(seconds) - 1, at_most=True)


def row(function: Callable) -> Callable:
    """Register a part of the table under the name of its function."""
    ROWS[function.__name__] = function
    return function


class Bench:
    """The data that the rows share, made when first needed."""

    def __init__(self, quick: bool = False, folder: Path | None = None, million: int = 1_000_000):
        self.quick, self.folder, self.million = quick, folder, million

    def some(self, count: int) -> int:
        """How many queries to ask: a tenth of `count` if it has to be quick."""
        return max(10, count // 10) if self.quick else count

    def real(self, name: str) -> Path | None:
        """A part of the evaluation folder, if it is at hand."""
        path = self.folder / name if self.folder else None
        return path if path and path.exists() else None

    @cached_property
    def corpus(self) -> list[FolkTune]:
        return list(FolkCorpus(expand_repeats=True))

    @cached_property
    def tunes(self) -> list[Melody]:
        # as melodies, so that an index calls them by their positions
        return [Melody(t.notes, t.name, t.key, t.tempo, t.time_signature) for t in self.corpus]

    @cached_property
    def index(self) -> MelodyIndex:
        return MelodyIndex.build(self.tunes, progress=False)

    @cached_property
    def pairs(self) -> list[tuple[int, int]]:
        """The positions of the adjudicated versions of one tune in two collections."""
        places = {tune.id: i for i, tune in enumerate(self.corpus)}
        return [(places[a], places[b]) for a, b, same in known_variants() if same]

    @cached_property
    def groups(self) -> np.ndarray:
        """The group of versions that each tune is in: near-copies, and what was adjudicated to be one tune."""
        same = np.array([*enumerate(group_duplicates(self.tunes)), *self.pairs]).T
        graph = coo_array((np.ones(same.shape[1]), same), (len(self.tunes), len(self.tunes)))
        return connected_components(graph, directed=False)[1]

    def versions(self, i: int) -> set[int]:
        """Tune i and its versions."""
        return set(np.flatnonzero(self.groups == self.groups[i]).tolist())

    @cached_property
    def friend(self) -> FolkFriendStyle:
        return FolkFriendStyle(self.tunes)

    def queries(self, count: int, notes: int, times: float, rhythm: bool, seed: int) -> Iterator[tuple]:
        """Yield the number of a tune, a query from it, and the query's pitches and durations in the key of the tune."""
        rng = np.random.default_rng(seed)
        for i in rng.choice(len(self.tunes), count, replace=count > len(self.tunes)).tolist():
            pitches, starts, durations = perturb(excerpt(self.tunes[i], notes, rng), rng, times=times)
            moved = pitches + rng.integers(-6, 7)
            yield i, Query(moved, starts, durations) if rhythm else Query(moved), (pitches, durations)


@row
def typed(bench: Bench) -> Iterator[Result]:
    """Typed notes among the tunes of the folk corpus."""
    for seed, (what, notes, times, rhythm, bar, limit) in enumerate(TYPED):
        ranks, versions, spent, friend = [], [], [], []
        for i, query, played in bench.queries(bench.some(1000), notes, times, rhythm, seed):
            began = time.perf_counter()
            found = ask(bench.index, query)
            spent.append(time.perf_counter() - began)
            ranks.append(rank_of(found, {i}))
            versions.append(rank_of(found, bench.versions(i)))
            friend += [rank_of(bench.friend.rank(*played, eighth=0.5), {i})] if rhythm else []
        yield from scored(what, {in_top_10: bar}, ranks, {"FolkFriend-style": friend} if rhythm else None)
        yield from scored("  the same, if a version of the tune is right too", {in_top_10: math.nan}, versions)
        yield slowest(f"{what}: median ms", limit, spent, 0.5)


@row
def music21(bench: Bench) -> Iterator[Result]:
    """music21.search takes about a second per query for 300 tunes, so both search only those."""
    some = Bench()
    some.tunes = [bench.tunes[i] for i in np.random.default_rng(0).choice(len(bench.tunes), 300, replace=False)]
    peer, ranks, theirs = Music21Windows(some.tunes), [], []
    for i, query, (pitches, _) in some.queries(bench.some(100), 12, 1, False, 1):
        ranks.append(rank_of(ask(some.index, query, 300), {i}))
        theirs.append(rank_of(peer.rank(pitches), {i}))
    yield from scored("12 mild notes among 300 tunes", {reciprocal_rank: math.nan}, ranks, {"music21": theirs})


@row
def hums(bench: Bench) -> Iterator[Result]:
    """Real hums among the 2,048 songs of the evaluation set: whole, and windows of 5 seconds."""
    if not (folder := bench.real("qbsh")):
        return
    with tempfile.TemporaryDirectory() as place, zipfile.ZipFile(next(folder.glob("*.zip"))) as archive:
        archive.extractall(place)
        paths = sorted(Path(place).rglob("*.mid"))
        index = MelodyIndex.build(map(read_midi, paths), progress=False)
    ranks, spent, ratios, windows, sources = [], [], [], [], []
    for path in sorted(folder.glob("*.wav")):
        right = {i for i, song in enumerate(paths) if song.stem == path.stem}
        for _ in range(2):  # the first search compiles
            began = time.perf_counter()
            found = ask(index, path)
            seconds = time.perf_counter() - began
        ranks.append(rank_of(found, right))
        spent.append(seconds)
        ratios.append(runner_up(index, read_query(path)))
        audio, sr = load(path, mono=True)
        for first in range(0, audio.shape[-1] - 5 * sr + 1, sr):
            windows.append(rank_of(ask(index, (audio[..., first : first + 5 * sr], sr)), right))
            sources.append(path.stem)
    yield Result("real hums: worst rank of the right song", 1, max(ranks), count=len(ranks), at_most=True)
    yield Result("real hums: least cost of another song / cost of the best", 1.6, min(ratios), count=len(ratios))
    yield Result("real hums: most seconds from file to answer", 1, max(spent), count=len(spent), at_most=True)
    yield share("5 s of a real hum: first", 0.9, np.array(windows) == 1, sources)


def runner_up(index: MelodyIndex, query: Query) -> float:
    """The second-best song's cost divided by the best one's, by the contour alone."""
    best = np.full(len(index), np.inf)
    np.minimum.at(best, index.lines.pieces, warp_all(query.contours, index.lines)[0])
    first, second = np.partition(best, 1)[:2]
    return float(second / first)


@row
def recordings(bench: Bench) -> Iterator[Result]:
    """Excerpts of 12 seconds of recordings, alone and four together; any tune of the same title is right."""
    if not (folder := bench.real("recordings")):
        return
    titles = {r["recording"]: r["titles in our corpus"].split("; ") for r in read_csv(folder / "same_title.csv")}
    right = {k: {i for i, t in enumerate(bench.tunes) if t.name in names} for k, names in titles.items()}
    notes: dict[str, list] = {}
    for r in read_csv(folder / "pyin_notes.csv"):
        note = [float(r[key]) for key in ("onset_s", "duration_s", "pitch_midi")]
        notes.setdefault(f"{r['recording']}.{r['excerpt']}", []).append(note)
    ranks, friend, owners, together = [], [], [], {}
    contours = np.load(folder / "contours.npz")
    for name in contours.files[: 32 if bench.quick else None]:
        owners.append(name.split(".")[0])
        contour = contour_of(contours[name], notes[name])
        together.setdefault(owners[-1], []).append(contour)
        ranks.append(rank_of(ask(bench.index, contour, 1000), right[owners[-1]]))
        friend.append(rank_of(bench.friend.rank(*np.transpose(notes[name])[:0:-1]), right[owners[-1]]))
    both = {"FolkFriend-style": friend}
    yield from scored("real, 12 s excerpts", {in_top_10: 0.58, reciprocal_rank: 0.48}, ranks, both, owners)
    ratio = reciprocal_rank(ranks).mean() / max(reciprocal_rank(friend).mean(), 1e-9)
    yield Result("real, 12 s excerpts: MRR / that of FolkFriend's way", 1.5, ratio, count=len(ranks))
    joined = [rank_of(ask(bench.index, parts, 1000), right[owner]) for owner, parts in together.items()]
    yield from scored("real, four excerpts together", {in_top_10: 0.66, reciprocal_rank: 0.57}, joined)


def contour_of(hertz: np.ndarray, notes: list) -> Contour:
    """A contour of the evaluation folder, with its pauses.

    The file runs the voiced frames of an excerpt together. The notes (rows of onset, duration and pitch) that the same
    tracker found have their times, so the frames are laid among them, in order, where they agree best.
    """
    pitches, ends = hz_to_midi(hertz[hertz > 0]), sum(notes[-1][:2])
    sounding = np.full(max(len(pitches), math.ceil(RATE * ends)), np.nan)
    for start, duration, pitch in notes:
        sounding[round(RATE * start) : round(RATE * (start + duration))] = pitch
    late = np.arange(len(sounding) - len(pitches) + 1)  # by how many frames of pauses so far
    total, came = np.zeros(len(late)), []
    for i, pitch in enumerate(pitches):
        least = np.minimum.accumulate(total)
        earlier = np.maximum.accumulate(np.where(total == least, late, 0))
        came.append(np.where(least + 0.5 < total, earlier, late))  # each pause costs as much as half a semitone
        off = np.minimum(np.abs(sounding[i : i + len(late)] - pitch), 2)
        total = np.minimum(total, least + 0.5) + np.where(np.isnan(off), 0.7, off)
    found, place = np.full(len(sounding), np.nan, np.float32), int(total.argmin())
    for i in reversed(range(len(pitches))):
        found[i + place], place = pitches[i], came[i][place]
    return Contour(found, np.isfinite(found).astype(np.float32), RATE)


def read_csv(path: Path) -> list[dict]:
    """The rows of a table."""
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file, skipinitialspace=True))


@row
def simulated(bench: Bench) -> Iterator[Result]:
    """Ten seconds of a simulated hum, clean, and with noise in a room."""
    for what, bar, settings in (("clean", 0.95, {}), ("10 dB noise and room", 0.88, {"snr": 10.0, "room": 0.5})):
        rng, ranks, versions = np.random.default_rng(5), [], []
        for i in rng.choice(len(bench.tunes), bench.some(200), replace=False).tolist():
            found = ask(bench.index, hum(bench.tunes[i], rng, seconds=10.0, **settings), 1000)
            ranks.append(rank_of(found, {i}))
            versions.append(rank_of(found, bench.versions(i)))
        yield from scored(f"simulated hum, 10 s, {what}", {reciprocal_rank: bar}, ranks)
        yield from scored("  the same, if a version of the tune is right too", {reciprocal_rank: math.nan}, versions)


@row
def variants(bench: Bench) -> Iterator[Result]:
    """Adjudicated versions of a tune: one, or its first 24 notes, has to find the others, in other collections.

    What its own collection holds does not compete, as its copies of the tune are neither right nor wrong answers.
    """
    source, versions = [tune.collection for tune in bench.corpus], {}
    for a, b in bench.pairs:
        versions.setdefault(a, set()).add(b)
        versions.setdefault(b, set()).add(a)
    versions = {a: kept for a, them in versions.items() if (kept := {b for b in them if source[b] != source[a]})}
    asked = np.random.default_rng(6).permutation(sorted(versions)).tolist()[: bench.some(1000)]
    for what, notes, bar in (("whole tune", None, 0.85), ("first 24 notes", 24, math.nan)):
        found = [ask(bench.index, Melody(bench.tunes[i].notes[:notes]), 100) for i in asked]
        ranks = [
            rank_of([j for j in those if source[j] != source[i]], versions[i])
            for i, those in zip(asked, found, strict=True)
        ]
        yield from scored(f"variants, {what}", {reciprocal_rank: bar}, ranks, groups=bench.groups[asked])


@row
def rejection(bench: Bench) -> Iterator[Result]:
    """Half of the groups of versions are left out of an index, so that queries from them have no right answer."""
    inside, chances, hits = bench.groups % 2 == 0, [], []
    place = np.cumsum(inside) - 1
    index = MelodyIndex.build([bench.tunes[i] for i in np.flatnonzero(inside)], progress=False)
    for seed, (what, notes, rhythm, bar) in enumerate(
        (("24 notes", 24, False, 0.9), ("12 with rhythm", 12, True, 0.5))
    ):
        known, strange = [], []
        for i, query, _ in bench.queries(bench.some(800), notes, 1, rhythm, 100 + seed):
            best = index.find(query, k=1)[0]
            right = bool(inside[i] and int(best.id) == place[i])
            chances.append(best.probability)
            hits.append(right)
            if right or not inside[i]:
                (known if right else strange).append((best.probability, best.unlikely))
        (sure, doubted), (rivals, refused) = np.array(known, dtype=float).T, np.array(strange, dtype=float).T
        yield share(f"{what}: kept at 1 % false accepts", bar, sure > np.quantile(rivals, 0.99))
        yield share(f"{what}: kept by the shipped threshold", math.nan, 1 - doubted)
        yield share(f"{what}: false accepts by the shipped threshold", 0.01, 1 - refused, at_most=True)
    error = calibration_error(chances, hits)
    yield Result("calibration error of these probabilities", 0.05, error, count=len(hits), at_most=True)


@row
def million(bench: Bench) -> Iterator[Result]:
    """The corpus and made-up tunes: built in one process, searched in another, whose memory is measured."""
    with tempfile.TemporaryDirectory(prefix="musicai-million-") as folder:
        path = Path(folder, "million.index")
        built = stage("search.py", "--build", path, bench.million)
        size = path.stat().st_size / built["tunes"]
        yield Result(f"{built['tunes']:,} tunes: minutes to build", 15, built["seconds"] / 60, at_most=True)
        yield Result("bytes per tune", 1200, size, count=built["tunes"], at_most=True)
        asked = stage("asking.py", path, write_queries(bench.some(400), Path(folder, "queries.json")))
    for what, bar in (("12", math.nan), ("24", math.nan), ("12 with rhythm", 0.7), ("24 with rhythm", 0.94)):
        ranks, spent = asked[what]
        yield from scored(f"mild notes among {built['tunes']:,}: {what}", {in_top_10: bar}, ranks)
        yield slowest("    ms, 95th percentile", 100, spent, 0.95)
    yield Result("MB resident at most, with Python and its libraries", 500, asked["mb"], at_most=True)


def stage(script: str, *arguments) -> dict:
    """Run a part of the row `million` in a process of its own."""
    command = [sys.executable, Path(__file__).with_name(script), *map(str, arguments)]
    return json.loads(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines()[-1])


def build_million(path: str, count: str) -> dict:
    """Build the index of `count` tunes, the corpus first; the time to make tunes up does not count."""
    from distractors import TuneModel

    waited, tunes = 0.0, [Melody(tune.notes) for tune in FolkCorpus()]
    made = TuneModel(list(FolkCorpus())).lines(int(count) - len(tunes))

    def pieces() -> Iterator:
        nonlocal waited
        yield from tunes
        began = time.perf_counter()
        for lines in made:
            waited += time.perf_counter() - began
            yield lines
            began = time.perf_counter()

    began = time.perf_counter()
    index = MelodyIndex.build(pieces(), path, progress=False)
    return {"seconds": time.perf_counter() - began - waited, "tunes": len(index)}


def write_queries(count: int, path: Path) -> Path:
    """Write mild queries to a file, so that the process that asks them need not hold the corpus."""
    bench = Bench()
    bench.tunes = list(FolkCorpus())
    asked = {}
    for notes in (12, 24):
        queries = list(bench.queries(count, notes, 1, True, 300 + notes))
        asked[f"{notes}"] = [(i, query.pitches.tolist()) for i, query, _ in queries]
        asked[f"{notes} with rhythm"] = [(i, query.pitches.tolist(), query.starts.tolist()) for i, query, _ in queries]
    path.write_text(json.dumps(asked))
    return path


@row
def fingerprints(bench: Bench) -> Iterator[Result]:
    """Clips of 1 to 10 seconds, with noise in a room, among recordings of 30 seconds of two tunes at once."""
    import soundfile

    from musicai.performance import render
    from musicai.search import AudioIndex

    rng, clips = np.random.default_rng(7), []
    with tempfile.TemporaryDirectory(prefix="musicai-clips-") as folder:
        count = 100 if bench.quick else 1000
        for i, tunes in enumerate(rng.permutation(len(bench.tunes))[: count * 11 // 5].reshape(-1, 2)):
            parts = [[note for note in bench.tunes[t].notes if note.start < 60] for t in tunes]  # 30 s at 120 beats
            programs = rng.integers(80, size=2).tolist()
            mix = render(Score([Track(part, program=n) for part, n in zip(parts, programs, strict=True)])).mean(0)
            mix = np.resize(mix, 30 * 16000)
            clips.append(np.int16(30000 * mix / np.abs(mix).max()))
            if i < count:  # the others are absent
                soundfile.write(f"{folder}/{i}.wav", clips[-1], 16000)
        index = AudioIndex.build(folder, progress=False)
    for seconds, bar in ((1, 0.70), (2, 0.90), (3, 0.95), (5, 0.98), (10, 0.99)):
        hits, exact = [], []
        for i in rng.integers(count, size=bench.some(1000)).tolist():
            start = rng.uniform(0, 30 - seconds)
            part = clips[i][int(16000 * start) :][: int(16000 * seconds)]
            found = index.find((spoiled(part / 32768, rng), 16000), k=1)
            hits.append(bool(found) and Path(found[0].path).stem == str(i))
            exact.append(hits[-1] and abs(found[0].start - start) < 0.5)
        yield share(f"fingerprint, {seconds} s, 5 dB noise and room: first", bar, hits)
        yield share("    and the start is right to half a second", math.nan, exact)
        for what, spoil in (("clean", lambda part: part), ("noisy", lambda part: spoiled(part, rng))):
            false = []
            for i, start in product(range(count, len(clips)), rng.uniform(0, 30 - seconds, 3)):
                part = clips[i][int(16000 * start) :][: int(16000 * seconds)] / 32768
                found = index.find((spoil(part), 16000), k=1)
                false.append(bool(found) and not found[0].unlikely)
            yield share(f"    of a recording that is not there, {what}: accepted", 0.01, false, at_most=True)


@row
def lance(bench: Bench) -> Iterator[Result]:
    """LanceDB: the same answers as on one machine, and its full-text search alone as a peer."""
    if not (find_spec("lancedb") and find_spec("lance_ray")):
        return
    from musicai.search._scale.lance import _words, write_lance

    ranks, text, same = [], [], []
    with tempfile.TemporaryDirectory(prefix="musicai-lance-") as folder:
        write_lance(bench.tunes, f"lance://{folder}", workers=2)
        index = MelodyIndex.open(f"lance://{folder}")
        for i, query, _ in bench.queries(bench.some(200), 12, 1, True, 400):
            ours, theirs = ask(bench.index, query), ask(index, query)
            same.append(ours == theirs)
            ranks.append(rank_of(theirs, {i}))
            found = index._table.search(_words(query.pitches), query_type="fts", fts_columns="words").limit(10)
            text.append(rank_of([int(row["id"]) for row in found.select(["id", "_score"]).to_list()], {i}))
    yield share("LanceDB, built by two Ray workers: same Top-10", 1.0, same)
    yield from scored("12 mild notes with rhythm", {in_top_10: math.nan}, ranks, {"LanceDB full text": text})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--eval", type=Path, help="the folder of hums and recordings")
    parser.add_argument("--only", default=",".join(ROWS), help=f"with commas, some of {', '.join(ROWS)}")
    parser.add_argument("--quick", action="store_true", help="a tenth of the queries")
    parser.add_argument("--json", type=Path, help="also write the results to this file")
    parser.add_argument("--million", type=int, default=1_000_000, help="how many tunes the row `million` has")
    parser.add_argument("--build", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.build:
        print(json.dumps(build_million(*options.build)))
        return
    bench, results = Bench(options.quick, options.eval, options.million), []
    print(f"   {'':<58}{'bar':>9} {'ours':>9} {'95 %':16} {'n':>6}  peers")
    for name in options.only.split(","):
        began, before = time.perf_counter(), len(results)
        for result in ROWS[name](bench):
            results.append(asdict(result) | {"row": name})
            print(result, flush=True)
        spent = f"{time.perf_counter() - began:.0f} s" if len(results) > before else "not at hand"
        print(f"   {name}: {spent}", flush=True)
    if options.json:
        options.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
