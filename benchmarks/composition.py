"""Composed songs beside real held-out tunes: can a program tell them apart, do they obey, and what do they copy?

    python benchmarks/composition.py [--model runs/tunes] [--count 200] [--only human,judge] [--json FILE]

* human: the longest run of notes that a real tune of the test split shares with the tunes that the model has learned
  from (training and validation splits), and the likeness of the nearest of them: the median, the 90th and the 99th
  percentile. `musicai.composition.novelty` has the first two of the run and the second of the likeness as constants.
* judge: for each of these tunes whose sections are equally long, one is composed in its key, metre, sections and range,
  without a source. Gradient boosting learns to tell the real from the composed by n-grams of degrees and intervals,
  rhythm, repetition, range and endings. AUC is that of five folds, none of which divides a family of tunes or a title;
  .50 means that it cannot tell. Repeats are not played out, and what comes before the first bar line is left out.
* copied: the longest runs of these, beside the real ones.
* keys: how often music21's analyser hears the written key of real tunes, by mode. It knows major and minor, so a mode
  counts if the key of the same signature, or the one with the same tonic and third, is heard.
* obeys: random requests, written to MIDI and read by symusic. Key, metre, tempo, bars, form and range are checked by
  code that shares nothing with the generator. The key is what music21's analyser hears in the melody, as above, by each
  of three profiles: its own choice (Aarden's), which the generator knows as well, and two that it does not.
* files: these songs in MIDI, MusicXML and ABC, as music21 and symusic read them. (In ABC, music21 knows no locrian.)
* hostile: requests in which some arguments are nonsense: a song that obeys, or one error that names an argument.
* speed: seconds for 32 bars with chords and bass, on one core, after two songs.

The closeness dial, density and syncopation are measured by controls.py, bits per note by tunes.py.
"""

import argparse
import json
import math
import re
import tempfile
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import music21
import numpy as np
from readers import on_grid, read_by_music21, read_by_symusic, rounded
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GroupKFold, cross_val_predict
from symusic import Score as Midi

import musicai
from musicai.composition import TuneWaveNet, certify, encode, longest_run, songs
from musicai.data import FolkCorpus
from musicai.data.splits import group_duplicates, title_key
from musicai.notes import Melody, Note, pitch_class
from musicai.search import MelodyIndex

MODES = {"lydian": 4, "major": 0, "mixolydian": 5, "dorian": 10, "minor": 9, "phrygian": 8, "locrian": 7}
KEYS = ("C", "Db", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B")
METERS = ("4/4", "6/8", "2/4", "3/4", "2/2", "9/8", "12/8", "3/8")
FORMS = ("AABB", "AB", "AABA", "AABA'", "A", "ABAC", "AA'B", "ABAB")
SIZES = (0.25, 1 / 3, 0.5, 0.75, 1, 1.5, 2, 3)
PROFILES = {"key": "key", "key, Temperley's profile": "temperley", "key, Bellman's profile": "bellman"}
NONSENSE = {
    "key": ("H major", "D dorish", "", 3, "Dd", ["D"], "C" * 5000), "meter": ("6/7", "0/4", "4/0", (4, 4, 4), 6),
    "tempo": (0, -1, math.nan, math.inf, "fast", True, 10**400), "bars": (0, -4, 2.5, math.nan, 10**9, "16", True, 257),
    "form": ("AABB?", "", "A'B", "BA'", 4, "A" * 300), "range": (("D4", "E4"), ("B5", "D4"), "D4", 60, (60, 200), None),
    "density": (0, -1, math.nan, 100, "dense"), "syncopation": (-0.1, 1.1, math.nan, "some", 10**400),
    "closeness": (-0.1, 1.1, math.nan, "near", 0.5), "voices": (0, 2, 5, "four", True), "chords": ("yes", 1, math.nan),
    "strict": ("no", 0), "temperature": (0, -1, math.nan, 100, "hot"), "seed": (-1, 1.5, "one", 2**70),
}  # fmt: skip
SOURCES = (
    "E4 E4 F4 G4",
    "",
    "   ",
    5,
    list,
    "no such file.mid",
    [],
    [60, "x"],
    [60, 62, 64],
    object(),
    b"EFG",
    Melody(()),
)


def percentiles(values, *which: float) -> list[float]:
    """Rounded, for a table."""
    return [round(float(x), 3) for x in np.percentile(list(values), which)]


# ---- real tunes and their doubles


def real_tunes(split: str) -> list[tuple]:
    """(tune from its first bar line on, plan, family) of the tunes whose sections are equally long."""
    corpus, found = FolkCorpus(split), []
    families, first_of = group_duplicates(corpus), {}
    for tune, family in zip(corpus, families.tolist(), strict=True):
        try:
            plan = encode(tune).plan
        except ValueError:
            continue
        if len(set(plan.sections)) == 1 and len(plan.sections) <= 8 and np.ptp(plan.range) >= 11:
            family = first_of.setdefault(title_key(tune.name) or family, family)
            notes = [Note(n.pitch, n.start - plan.pickup, n.duration) for n in tune.notes if n.start >= plan.pickup]
            found.append((Melody(tuple(notes), tune.name, tune.key, 120.0, tune.time_signature), plan, family))
    return found


def double(tune: Melody, plan, seed: int) -> Melody:
    """A composed tune with the same plan."""
    form, bars = "ABCDEFGH"[: len(plan.sections)], sum(plan.sections)
    asked = {"key": tune.key, "meter": plan.meter, "bars": bars, "form": form, "range": plan.range}
    return musicai.compose(None, **asked, chords=False, seed=seed).melody


def bars_of(melody: Melody) -> list[tuple]:
    """What is in each bar: pitches, onsets and durations."""
    bar, found = 4 * melody.time_signature[0] / melody.time_signature[1], {}
    for note in melody.notes:
        i = int(on_grid(note.start) // bar)
        found.setdefault(i, []).append((note.pitch, on_grid(note.start - i * bar), on_grid(note.duration)))
    return [tuple(found.get(i, ())) for i in range(max(found) + 1)]


def repeated(melody: Melody) -> float:
    """The share of bars that are exactly as an earlier one."""
    bars = bars_of(melody)
    return sum(bar in bars[:i] for i, bar in enumerate(bars)) / len(bars)


def features(melody: Melody, plan) -> np.ndarray:
    """What the judge sees."""
    degrees, intervals = (melody.pitches - plan.tonic) % 12, np.clip(melody.intervals, -12, 12)
    sizes = np.abs(np.subtract.outer(melody.durations, SIZES)).argmin(1)
    bars, bar = bars_of(melody), plan.bar
    places = np.minimum((np.mod(melody.starts + 1e-6, bar) / bar * 12).astype(int), 11)
    counts = [np.bincount(degrees, minlength=12), np.bincount(intervals + 12, minlength=25)]
    counts += [np.bincount(degrees[:-1] * 12 + degrees[1:], minlength=144)]
    contour = np.sign(intervals) * (1 + (np.abs(intervals) > 2) + (np.abs(intervals) > 4)) + 3
    counts += [np.bincount(contour[:-2] * 49 + contour[1:-1] * 7 + contour[2:], minlength=343)]
    counts += [np.bincount(sizes, minlength=8), np.bincount(sizes[:-1] * 8 + sizes[1:], minlength=64)]
    counts += [np.bincount(places, minlength=12)]
    shares = np.concatenate([count / max(1, count.sum()) for count in counts])
    rhythms = [tuple(note[1:] for note in notes) for notes in bars]
    echoes = [np.mean([a == b for a, b in zip(x, x[lag:], strict=False)] or [0]) for x in (bars, rhythms)
              for lag in (1, 2, 4, 8)]  # fmt: skip
    steps = np.array([np.ptp([n[0] for n in notes]) if notes else 0 for notes in bars])
    ends = [bars[min(len(bars), k * plan.sections[0]) - 1] for k in range(1, len(plan.sections) + 1)]
    closes = [(end[-1][0] - plan.tonic) % 12 if end else -1 for end in (ends[0], ends[-1])]
    more = [np.ptp(melody.pitches), melody.pitches.mean() - min(plan.range), repeated(melody), *echoes, *closes]
    more += [degrees[0], melody.intervals[-1], melody.intervals[-2], len(set(rhythms)) / len(bars), steps.mean()]
    more += [steps.std(), len(melody) / melody.duration, np.mean(np.abs(melody.intervals)), len(set(melody.pitches))]
    more += [np.mean(np.diff(np.sign(intervals)) != 0), melody.durations.sum() / melody.duration, plan.bar]
    runs = [len(run) for run in "".join("+" if x > 0 else "-" for x in intervals).replace("+-", "+ -").split()]
    return np.concatenate(
        [shares, more, [max(runs), list(MODES).index(plan.mode)], np.bincount(steps, minlength=25)[:25]]
    )


def auc(ones: list, others: list) -> float:
    """How well a judge tells two lists of (melody, plan, family) apart, on families that it has not seen."""
    x = np.array([features(melody, plan) for melody, plan, _ in (*ones, *others)])
    y, families = np.repeat([0, 1], [len(ones), len(others)]), [family for *_, family in (*ones, *others)]
    judge = HistGradientBoostingClassifier(max_iter=150, learning_rate=0.06, max_leaf_nodes=8, random_state=0)
    guesses = cross_val_predict(judge, x, y, groups=families, cv=GroupKFold(5), method="predict_proba")
    return float(roc_auc_score(y, guesses[:, 1]))


# ---- requests and what became of them


def random_request(rng: np.random.Generator, tunes: list[Melody]) -> tuple:
    """A source (or none) and hard controls; every third request has a source."""
    form = str(rng.choice(FORMS))
    each = int(rng.choice([2, 4, 8]))
    low = int(rng.integers(52, 66))
    asked = {"key": f"{rng.choice(KEYS)} {rng.choice(list(MODES))}", "meter": str(rng.choice(METERS))}
    asked |= {"tempo": int(rng.integers(50, 220)), "form": form, "bars": each * len(form.replace("'", ""))}
    asked |= {"range": (low, low + int(rng.integers(12, 25))), "seed": int(rng.integers(2**31))}
    return tunes[rng.integers(len(tunes))] if rng.random() < 1 / 3 else None, asked


def bars_in(notes: list, first: int, count: int, bar: float) -> list[list]:
    """The notes that begin in each of some bars, in time from its beginning."""
    return [
        [(p, on_grid(s - k * bar), d) for p, s, d in notes if k * bar <= s + 1e-6 < (k + 1) * bar]
        for k in range(first, first + count)
    ]


def keeps_form(notes: list, form: str, bars: int, bar: float) -> bool:
    """Whether equal letters are equal, and a letter with an apostrophe keeps half of its bars and changes others."""
    labels = [letter + "'" * (after == "'") for letter, after in pairwise(form + " ") if letter != "'"]
    each = bars // len(labels)
    parts = [bars_in(notes, i * each, each, bar) for i in range(len(labels))]
    for label, part in zip(labels, parts, strict=True):
        model = parts[labels.index(label[0])]
        changed = sum(a != b for a, b in zip(part, model, strict=True))
        if changed > each / 2 or (changed == 0) != (label == label[0]):
            return False
    return True


def hears(notes: list, key: str, profile: str = "key") -> bool:
    """Whether music21 hears the key by a profile: "key" is its default."""
    stream = music21.stream.Stream()
    for pitch, start, length in notes:
        stream.insert(start, music21.note.Note(pitch, quarterLength=length))
    found = stream.analyze(profile)
    tonic, mode = pitch_class(key.split()[0]), key.split()[1]
    pair = (found.tonic.pitchClass, found.mode)
    if mode in ("major", "minor"):
        return pair == (tonic, mode)
    major = (tonic - {"lydian": 5, "mixolydian": 7, "dorian": 2, "phrygian": 4, "locrian": 11}[mode]) % 12
    third = "major" if mode in ("lydian", "mixolydian") else "minor"
    return pair in {(major, "major"), ((major + 9) % 12, "minor"), (tonic, third)}


def obedience(path: Path, asked: dict) -> dict[str, bool]:
    """Which of the hard controls hold in a MIDI file."""
    midi = Midi(path)
    ticks, meter = midi.ticks_per_quarter, midi.time_signatures[0]
    (track,) = (track for track in midi.tracks if track.name == "melody")
    notes = sorted((n.pitch, n.time / ticks, n.duration / ticks) for n in track.notes)
    notes.sort(key=lambda note: note[1])
    bar = 4 * meter.numerator / meter.denominator
    end, pitches = max(s + d for _, s, d in notes), [p for p, *_ in notes]
    return {
        "meter": f"{meter.numerator}/{meter.denominator}" == asked["meter"],
        "tempo": abs(midi.tempos[0].qpm - asked["tempo"]) < 0.01,
        "bars": -(-(end - 1e-6) // bar) == asked["bars"],
        "form": keeps_form([(p, on_grid(s), on_grid(d)) for p, s, d in notes], asked["form"], asked["bars"], bar),
        "range": asked["range"][0] <= min(pitches) and max(pitches) <= asked["range"][1],
        **{name: hears(notes, asked["key"], profile) for name, profile in PROFILES.items()},
    }


# ---- the rows


def human(state: dict) -> dict:
    """What real test tunes share with the training tunes."""
    tunes = list(FolkCorpus("test", expand_repeats=True))[:: state["step"]]
    found = [certify(tune, state["index"]()) for tune in tunes if len(tune) > 11]
    runs, alike = [one.longest for one in found], [one.likeness for one in found]
    return {
        "count": len(found),
        "longest run: median, p90, p99": percentiles(runs, 50, 90, 99),
        "likeness: median, p90, p99": percentiles(alike, 50, 90, 99),
        "original": float(np.mean([one.original for one in found])),
    }


def judge(state: dict) -> dict:
    """Real and composed tunes, and a judge."""
    real, composed = state["pairs"]()
    valid = real_tunes("valid")
    rows = {"count": len(real), "AUC": auc(real, composed), "AUC of real against real": auc(real, valid)}
    for name, measure in {
        "bars repeated": lambda tune, plan: repeated(tune),
        "ends on the tonic": lambda tune, plan: tune.notes[-1].pitch % 12 == plan.tonic,
        "range in semitones": lambda tune, plan: np.ptp(tune.pitches),
    }.items():
        rows[name] = [round(float(np.mean([measure(t, p) for t, p, _ in some])), 3) for some in (composed, real)]
    return rows


def copied(state: dict) -> dict:
    """The longest runs of composed and of real tunes in the training tunes."""
    lines = state["index"]().lines
    return {
        f"longest run of {name} tunes: median, p90": percentiles([longest_run(t, lines)[0] for t, *_ in some], 50, 90)
        for name, some in zip(("real", "composed"), state["pairs"](), strict=True)
    }


def keys(state: dict) -> dict:
    """The share of real tunes whose written key is heard, and how many there are."""
    tunes, rows = [], {}
    for split in ("train", "valid", "test"):
        tunes += [tune for tune in FolkCorpus(split, expand_repeats=True) if tune.key]
    rng = np.random.default_rng(0)
    for mode in MODES:
        some = [tune for tune in tunes if tune.key.endswith(f" {mode}")]
        some = [some[i] for i in rng.permutation(len(some))[: 200 // state["step"]]]
        notes = [[(note.pitch, note.start, note.duration) for note in tune.notes] for tune in some]
        for name, profile in PROFILES.items():
            held = [hears(one, tune.key, profile) for one, tune in zip(notes, some, strict=True)]
            rows[f"{name}, {mode}"] = [round(float(np.mean(held)), 3) if held else None, len(held)]
    return rows


def obeys(state: dict) -> dict:
    """Random requests and the share that is kept."""
    checks = []
    for path, asked, _ in state["songs"]():
        checks.append(obedience(path, asked))
        if not all(held for name, held in checks[-1].items() if name not in PROFILES):
            print("broken:", {name for name, held in checks[-1].items() if not held}, asked)
    rows = {"count": len(checks)} | {name: float(np.mean([one[name] for one in checks])) for name in checks[0]}
    for mode in MODES:
        some = [
            one["key"]
            for one, (_, asked, _) in zip(checks, state["songs"](), strict=True)
            if asked["key"].endswith(f" {mode}")
        ]
        rows[f"key, {mode}"] = [round(float(np.mean(some)), 3) if some else None, len(some)]
    return rows


def files(state: dict) -> dict:
    """The share of songs that other programs read as they were written."""
    right = {}
    for path, asked, score in state["songs"]():
        notes = rounded([(note.pitch, note.start, note.duration) for note in score.notes])
        programs = [(".mid", read_by_symusic), (".mid", read_by_music21), (".musicxml", read_by_music21)]
        programs += [(".abc", read_by_symusic)]
        programs += [(".abc", read_by_music21)] * ("locrian" not in asked["key"])
        for suffix, read in programs:
            found = read(path.with_suffix(suffix))
            same = found.notes == notes and found.meter == score.time_signatures[0][1:]
            same &= abs(found.tempo - score.tempos[0][1]) < 0.01
            right.setdefault(f"{suffix} by {read.__name__[8:]}", []).append(same)
    return {name: [float(np.mean(held)), len(held)] for name, held in right.items()}


def hostile(state: dict) -> dict:
    """What becomes of requests in which up to two arguments, the source or all of them are nonsense."""
    rng, found = np.random.default_rng(2), {"a song": 0, "one error": 0, "something else": 0}
    for _ in range(state["hostile"]):
        _, asked = random_request(rng, [None])
        names = rng.permutation(list(NONSENSE))[: rng.integers(3)].tolist()
        asked |= {"bars": 8, "form": "AB"} | {name: NONSENSE[name][rng.integers(len(NONSENSE[name]))] for name in names}
        source = SOURCES[rng.integers(len(SOURCES))] if rng.random() < 0.4 else None
        try:
            result = "a song" if musicai.compose(source, **asked).melody.notes else "something else"
        except (ValueError, FileNotFoundError) as error:
            named = any(f"{name}=" in str(error) for name in names)
            named |= source is not None and bool(re.search("give|no notes|no such file", str(error)))
            result = "one error" if named and len(str(error)) < 300 else "something else"
        except Exception as error:
            result, names = "something else", [*names, repr(error)]
        found[result] += 1
        if result == "something else":
            print("broken:", repr(source), asked, names)
    return found


def speed(state: dict) -> dict:
    """Seconds for a song of 32 bars, with its accompaniment, once everything is loaded and compiled."""
    taken, _ = [], [musicai.compose(None, bars=32, seed=seed).score for seed in (4, 5)]
    for seed in range(4):
        start = time.process_time()
        assert musicai.compose(None, bars=32, seed=seed).score.tracks
        taken.append(time.process_time() - start)
    return {"seconds of one core for 32 bars": round(float(np.median(taken)), 2)}


ROWS: dict[str, Callable] = {row.__name__: row for row in (human, judge, copied, keys, obeys, files, hostile, speed)}


def once(make: Callable) -> Callable:
    """Make it when it is first needed."""
    kept = []
    return lambda: kept[0] if kept or kept.append(make()) is None else None


def make_index() -> MelodyIndex:
    """The tunes that the model has learned from, with their repeats written out, as in the default index."""
    known = [tune for split in ("train", "valid") for tune in FolkCorpus(split, expand_repeats=True)]
    return MelodyIndex.build(known, progress=False)


def make_pairs(count: int) -> tuple[list, list]:
    """Real test tunes, and a composed one for each."""
    real = real_tunes("test")[:count]
    return real, [(double(tune, plan, i), plan, family) for i, (tune, plan, family) in enumerate(real)]


def make_songs(count: int, folder: Path) -> list[tuple]:
    """(MIDI file, request, score) of random requests; MusicXML and ABC files lie beside it."""
    rng, tunes, made = np.random.default_rng(0), list(FolkCorpus("test", expand_repeats=True)), []
    for i in range(count):
        source, asked = random_request(rng, tunes)
        composed = musicai.compose(source, **asked)
        for suffix in (".abc", ".musicxml", ".mid"):
            composed.save(path := (folder / f"{i}.x").with_suffix(suffix))
        made.append((path, asked, composed.score))
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="tunes", help="the name of a checkpoint, or a folder")
    parser.add_argument("--count", type=int, default=200, help="random requests")
    parser.add_argument("--hostile", type=int, default=500, help="hostile requests")
    parser.add_argument("--tunes", type=int, default=1000, help="the most pairs of real and composed tunes")
    parser.add_argument("--step", type=int, default=1, help="look at every so many tunes for the human row")
    parser.add_argument("--only", default=",".join(ROWS), help="rows, with commas")
    parser.add_argument("--json", help="where to write the figures")
    args = parser.parse_args()
    if args.model != "tunes":
        model = TuneWaveNet.from_pretrained(args.model)
        songs.load_model = lambda: model
    figures = {}
    with tempfile.TemporaryDirectory() as folder:
        state = {"step": args.step, "hostile": args.hostile}
        state |= {"index": once(make_index), "pairs": once(lambda: make_pairs(args.tunes))}
        state["songs"] = once(lambda: make_songs(args.count, Path(folder)))
        for name in args.only.split(","):
            figures[name] = ROWS[name](state)
            for what, value in figures[name].items():
                print(f"{name:8} {what:48} {value}", flush=True)
    if args.json:
        Path(args.json).write_text(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
