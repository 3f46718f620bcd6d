"""Fit what alignment costs and how sure a match is, and write the few numbers to `musicai/search/fitted.json`.

    python scripts/fit_search.py costs                # from simulated mistakes in the training split
    python scripts/fit_search.py confidence           # with the costs that are there: calibration and thresholds
    python scripts/fit_search.py report               # on queries from the validation and test splits
    python scripts/fit_search.py sound --table F.npz  # a calibration for sound, from measured scores

Two simulated people make the mistakes, so that the costs do not depend on one simulator's habits: `search.perturb`, who
goes on at once after a note left out, and a second one who keeps the beat. First come the numbers that can be counted,
and a mixture of Gaussians over the errors of pitch; then each cost is moved up and down as long as the right tune gains
probability over others. `report` compares hand-set costs, the counted ones and the final ones. Chapter 6.
"""

import argparse
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from itertools import product
from pathlib import Path

import numpy as np
from scipy.optimize import minimize

from musicai.data import FolkCorpus
from musicai.data.splits import group_duplicates, split_tunes, title_key
from musicai.gmm import GaussianMixture
from musicai.search import confidence, index
from musicai.search._fast.alignment import align, align_all, weigh
from musicai.search.costs import OCTAVE, STEPS, Costs
from musicai.search.humming import perturb
from musicai.search.lines import Lines

KINDS = ("pitches", "notes")
USED = {"pitches": [0, 1, 4, 5]}  # of `confidence.features`: fits as well without the others, and their signs vary
FITTED = Path(confidence.__file__).with_name("fitted.json")
TASKS = ((8, 0), (12, 1), (12, 2), (24, 2))  # notes, and how many times the mild mistakes
TUNED = {"edge": 0.5, "change": 1.0, "slip": 0.5, "wrong": 0.5, "octave": 0.6, "deletion": 0.5, "insertion": 0.5,
         "other": 0.6, "right": 0.15, "steady": 0.4, "slope": 1.5, "loose": 0.5}  # fmt: skip


@dataclass(frozen=True)
class Corpus:
    """The folk corpus, its lines, which tunes are near-copies or versions of each other, and the splits."""

    lines: Lines
    copies: np.ndarray
    groups: np.ndarray
    splits: np.ndarray

    @classmethod
    def load(cls) -> "Corpus":
        """Read the corpus; tunes with the same title or many runs of notes in common are one group."""
        tunes = FolkCorpus().tunes
        copies, first_of = group_duplicates(tunes), {}
        groups = copies.copy()
        for i, tune in enumerate(tunes):
            if key := title_key(tune.name):
                groups[groups == groups[i]] = groups[first_of.setdefault(key, i)]
        return cls(Lines.from_pieces(tunes), copies, groups, np.array(split_tunes(tunes)))

    def notes(self, tune: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Pitches, starts and durations."""
        where = slice(*self.lines.offsets[tune : tune + 2])
        return tuple(x[where].astype(float) for x in (self.lines.pitches, self.lines.starts, self.lines.durations))

    def some(self, tunes: np.ndarray) -> Lines:
        """The lines of these tunes."""
        columns = [np.concatenate(x).astype(np.float32) for x in zip(*map(self.notes, tunes), strict=True)]
        return Lines(np.cumsum([0, *np.diff(self.lines.offsets)[tunes]]), tunes, *columns)

    def queries(self, splits, count, notes, times, seed) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
        """Tunes, pitches and starts: notes from anywhere in a tune, with mistakes, in any key and at any tempo."""
        rng = np.random.default_rng(seed)
        pool = np.flatnonzero(np.isin(self.splits, splits) & (np.diff(self.lines.offsets) >= notes))
        for k in range(count):
            tune = rng.choice(pool)
            first = rng.integers(np.diff(self.lines.offsets)[tune] - notes + 1)
            row = tuple(x[first : first + notes] for x in self.notes(tune))
            person = perturb if k % 2 or "train" not in splits else keep_the_beat
            pitches, starts, _ = person(row, rng, times=times) if times else row
            yield tune, pitches + rng.integers(-6, 7), starts * 2 ** rng.uniform(-1, 1)


def keep_the_beat(row: tuple, rng: np.random.Generator, times: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Make mistakes as `perturb` does, but so that time goes on below a note left out, and an extra note takes none."""
    pitches, starts, durations = row
    told = []  # pitch, time until the next note
    for pitch, time in zip(pitches, np.append(np.diff(starts), durations[-1]), strict=True):
        fate = rng.random() / times
        if fate < 0.04 and told:
            told[-1][1] += time
            continue
        error = rng.choice([-2, -1, 1, 2]) if fate < 0.12 else rng.choice([-12, 12]) if fate < 0.14 else 0
        extra = rng.random() < 0.04 * times
        told += [[pitch + error, time / (1 + extra)]] + [[pitch + rng.integers(-4, 5), time / 2]] * extra
    pitches, times_ = np.array(told).T
    times_ = times_ * (1 + 0.15 * times * rng.uniform(-1, 1, len(times_)))
    return pitches, np.cumsum(times_) - times_, times_


def background(corpus: Corpus) -> dict[str, tuple]:
    """How likely intervals and changes of rhythm are in tunes, a seventh of them disturbed by mistakes."""
    rng, intervals, ratios = np.random.default_rng(0), np.full(49, 0.5), np.ones(33)
    for tune in np.flatnonzero(corpus.splits == "train"):
        pitches, starts, _ = corpus.notes(tune)
        times = np.diff(starts) * rng.uniform(0.85, 1.15, len(starts) - 1)
        quarters = np.rint(4 * np.diff(np.log2(np.maximum(times, 1e-3)))).astype(int)
        np.add.at(intervals, np.diff(pitches).astype(int).clip(-24, 24) + 24, 1)
        np.add.at(ratios, quarters.clip(-16, 16) + 16, 1)
    intervals, ratios = (0.86 * x / x.sum() + 0.14 / len(x) for x in (intervals, ratios))
    return {"intervals": rounded(np.log(intervals)), "ratios": rounded(np.log(4 * ratios / OCTAVE))}


def rounded(values) -> tuple[float, ...]:
    return tuple(round(float(x), 3) for x in values)


def counted(corpus: Corpus, costs: Costs, count: int) -> Costs:
    """Align queries with their own tunes, count the steps, and fit a mixture to the errors of pitch."""
    errors, taken = [], np.ones(len(STEPS))
    for notes, times in TASKS[1:3]:
        for tune, pitches, starts in corpus.queries(["train"], count, notes, times, seed=1):
            line, onsets, _ = corpus.notes(tune)
            found = align(pitches, starts, line, onsets, costs)
            i, j = found.pairs.T
            errors += list(line[j] - np.rint(pitches[i]) - found.transposition)
            for step in map(tuple, np.diff(found.pairs, axis=0)):
                taken[STEPS.index(step)] += step in STEPS
    chances = dict(zip(STEPS, np.log(taken / taken.sum()), strict=True))
    missing, extra = ((1, 2), (2, 1))
    print("steps:", {step: round(float(np.exp(x)), 4) for step, x in chances.items()})
    rows = np.array(errors)[:, None]
    means = np.array([[0.0], [0.0], [-12.0], [12.0], [0.0]])  # in tune, slips, two octaves, anything
    widths = np.array([0.1, 2.0, 0.5, 0.5, 8.0]) ** -2
    mixture = GaussianMixture(5, covariance_type="spherical", means_init=means, precisions_init=widths,
                              reg_covar=0.01, random_state=0).fit(rows)  # fmt: skip
    print(
        "mixture:", *(np.round(x, 3).tolist() for x in (mixture.weights_, mixture.means_[:, 0], mixture.covariances_))
    )
    return replace(costs, **costs_of_errors(mixture), deletion=chances[missing], insertion=chances[extra])


def costs_of_errors(mixture: GaussianMixture) -> dict[str, float]:
    """The costs of right and wrong pitches by a mixture of Gaussians over errors in semitones, right notes included."""
    fine = np.arange(-24.5, 24.5, 1 / 16) + 1 / 32
    density = np.exp(np.asarray(mixture.score_samples(fine[:, None]))) / 16
    chance = density.reshape(49, 16).sum(axis=1)  # of the errors -24..24
    size = np.abs(np.arange(-24, 25))
    parts = {"right": size == 0, "slip": (size > 0) & (size < 3), "octave": size == 12}
    parts["wrong"] = ~np.any(list(parts.values()), axis=0) & (size < 12)
    return {name: float(np.log(max(chance[part].mean(), 1e-6))) for name, part in parts.items()}


def by_hand(costs: Costs) -> Costs:
    """Hand-set costs, for comparison: a match +10, a slip -8, an octave -13, anything else -25, a gap -14, over 4."""
    flat = dict.fromkeys(["deletion", "insertion", "edge"], -3.5)
    return replace(costs, intervals=(-2.5,) * 49, right=0.0, slip=-4.5, octave=-5.75, wrong=-8.75, other=-3.5, **flat)


def loss(corpus: Corpus, costs: Costs, tasks: list) -> float:
    """The mean of minus the log-probability of the right tune among others, which stand for all."""
    total = 0.0
    for candidates, pitches, starts, weight in tasks:
        scores = align_all(pitches, starts, corpus.lines, candidates, costs)[0].astype(float)
        total += min(8, np.log1p(weight * np.exp((scores[1:] - scores[0]).clip(-50, 50)).sum()))
    return total / len(tasks)


def refine(corpus: Corpus, costs: Costs, count: int, rounds: int = 3, rivals: int = 300) -> Costs:
    """Move one cost at a time, as long as that helps."""
    rng, tasks = np.random.default_rng(2), []
    for notes, times in TASKS:
        for tune, pitches, starts in corpus.queries(["train"], count, notes, times, seed=notes + times):
            others = rng.choice(np.flatnonzero(corpus.groups != corpus.groups[tune]), rivals, replace=False)
            weight = len(corpus.lines) / rivals
            tasks += [(np.append(tune, others), pitches, rhythm, weight) for rhythm in (None, starts)]
    best = loss(corpus, costs, tasks)
    for turn in range(rounds):
        for name, size in TUNED.items():
            for sign in (1, -1):
                before = best
                while True:
                    moved = replace(costs, **{name: round(getattr(costs, name) + sign * size * 0.6**turn, 3)})
                    if (found := loss(corpus, moved, tasks)) > best - 2e-4:
                        break
                    best, costs = found, moved
                if best < before:
                    break
        print(f"round {turn}: loss {best:.4f}", {k: round(getattr(costs, k), 2) for k in TUNED}, flush=True)
    return costs


def evidence(corpus: Corpus, splits, count: int, seed: int, kinds=KINDS, sizes=(300, 1000, 4248)) -> np.ndarray:
    """Rows (timed, notes, times, size, present, score, margin, right) of queries with and without their tune."""
    rng, rows = np.random.default_rng(seed), []
    for notes in (6, 8, 10, 12, 16, 24, 40):
        for times in (0, 1, 2):
            for tune, pitches, starts in corpus.queries(splits, count, notes, times, seed + 97 * notes + times):
                for timed in map(KINDS.index, kinds):
                    rhythm, close = starts if timed else None, len(pitches) <= index.LONG  # as in `find`
                    costs, most = (Costs.one_key(), (index.WEIGHED, index.TIMED)[timed]) if close else (None, None)
                    rough, shifts = align_all(pitches, rhythm, corpus.lines, costs=costs)
                    for size, present in product(sizes, (0, 1)):
                        kept = rng.permutation(len(corpus.lines))[:size]
                        own = corpus.groups[kept] == corpus.groups[tune]
                        chosen = np.append(tune, kept[kept != tune][: size - 1]) if present else kept[~own]
                        chosen = chosen[np.argsort(-rough[chosen], kind="stable")[:most]]
                        scores = weigh(pitches, rhythm, corpus.some(chosen), shifts[chosen]) if close else rough[chosen]
                        found = judge(corpus, scores, chosen, corpus.groups[tune])
                        rows.append((timed, len(pitches), times, size, present, *found))
    return np.array(rows)


def judge(corpus: Corpus, scores: np.ndarray, lines: np.ndarray, own: int) -> tuple[float, float, bool]:
    """The best of the lines' scores, its margin over the next tunes, and whether it is right."""
    order = np.argsort(-scores, kind="stable")[: index.RIVALS]
    best, copies = float(scores[order[0]]), corpus.copies[lines[order]]
    margin = confidence.measure_margin(best, scores[order][copies != copies[0]].tolist())
    return best, margin, corpus.groups[lines[order[0]]] == own


def calibrate(score, margin, length, size, right, kind="notes") -> np.ndarray:
    """Logistic regression on `confidence.features`, with a little weight decay."""
    x = np.array([confidence.features(*row, kind) for row in zip(score, margin, length, size, strict=True)])
    used = USED.get(kind, range(x.shape[1]))
    x[:, np.setdiff1d(np.arange(x.shape[1]), used)] = 0
    scale = np.maximum(np.abs(x).max(axis=0), 1e-9)
    sign = np.where(right, 1.0, -1.0)

    def objective(w):
        z = sign * (x / scale @ w)
        return np.logaddexp(0, -z).mean() + 1e-5 * w @ w, 2e-5 * w - (x / scale).T @ (sign / (1 + np.exp(z))) / len(x)

    return minimize(objective, np.zeros(x.shape[1]), jac=True, method="L-BFGS-B").x / scale


def chances(coefficients, score, margin, length, size, kind="notes") -> np.ndarray:
    """`confidence.probability` of many matches."""
    x = np.array([confidence.features(*row, kind) for row in zip(score, margin, length, size, strict=True)])
    return 1 / (1 + np.exp(-np.clip(x @ coefficients, -30, 30)))


def limits(probabilities: np.ndarray, lengths: np.ndarray, parts: int = 6) -> tuple[float, ...]:
    """What 1 % of the queries for nothing exceed, on the logit scale: a straight line in the log of their length."""
    order = np.array_split(np.argsort(lengths, kind="stable"), parts)
    tops = [np.quantile(probabilities[part], 0.99) for part in order]
    where = [np.log(lengths[part]).mean() for part in order]
    logits = np.log(tops) - np.log1p(-np.array(tops))
    if np.ptp(where) == 0:
        return rounded((logits.max(), 0.0))
    slope, constant = np.polyfit(where, logits, 1)
    return rounded((constant, slope))


def calibration_error(probabilities: np.ndarray, right: np.ndarray, bins: int = 10) -> float:
    """The expected calibration error in bins of equal width."""
    which = np.minimum((probabilities * bins).astype(int), bins - 1)
    return sum(abs((probabilities - right)[which == b].sum()) for b in range(bins)) / len(right)


def save(key: str, value: dict) -> None:
    """Replace one entry of the file."""
    found = json.loads(FITTED.read_text()) | {key: value}
    inside = {k: ",\n".join(f'  "{name}": {json.dumps(x)}' for name, x in entry.items()) for k, entry in found.items()}
    FITTED.write_text("{\n" + ",\n".join(f' "{k}": {{\n{text}\n }}' for k, text in inside.items()) + "\n}\n")


def fit_costs(corpus: Corpus, count: int) -> None:
    start = replace(Costs.default(), **background(corpus))
    costs = refine(corpus, counted(corpus, start, 4 * count), count)
    save("costs", {k: round(v, 3) if isinstance(v, float) else v for k, v in asdict(costs).items()})


def fit_confidence(corpus: Corpus, count: int, kinds=KINDS) -> None:
    found = json.loads(FITTED.read_text())["confidence"]
    rows = evidence(corpus, ["train"], count, 3, kinds)
    for kind in kinds:
        _, length, _, size, present, score, margin, right = rows[rows[:, 0] == KINDS.index(kind)].T
        coefficients = calibrate(score, margin, length, size, right > 0, kind)
        p = chances(coefficients, score, margin, length, size)
        limit = limits(p[present == 0], length[present == 0])
        found[kind] = {"coefficients": rounded(coefficients), "threshold": limit}
        print(kind, found[kind], "calibration error", round(calibration_error(p, right), 4))
    save("confidence", found)


def interval(values: np.ndarray) -> str:
    """The mean and a 95 % bootstrap interval."""
    means = np.random.default_rng(0).choice(values, (1000, len(values))).mean(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return f"{values.mean():.3f} [{low:.3f}, {high:.3f}]"


def report(corpus: Corpus, count: int) -> None:
    fitted = Costs.default()
    kinds = {"by hand": by_hand(fitted), "counted": counted(corpus, fitted, 200), "fitted": fitted}
    for notes, times in TASKS:
        queries = list(corpus.queries(["valid", "test"], count, notes, times, seed=4))
        for timed in (False, True):
            for name, costs in kinds.items():
                ranks, worst = [], []
                for tune, pitches, starts in queries:
                    scores, _ = align_all(pitches, starts if timed else None, corpus.lines, costs=costs)
                    own = corpus.groups == corpus.groups[tune]
                    ranks.append((scores[~own] > scores[own].max()).sum())
                    worst.append((scores[~own] >= scores[own].max()).sum())
                top = " ".join(f"Top-{k} {interval(np.array(ranks) < k)}" for k in (1, 10))
                against = f"ties against us {np.mean(np.array(worst) < 10):.3f}"
                print(
                    f"{notes} notes, {times} x mild, {'rhythm' if timed else 'pitch'}, {name}: {top}, {against}",
                    flush=True,
                )
    report_confidence(evidence(corpus, ["valid", "test"], max(count // 10, 2), seed=5))


def report_confidence(rows: np.ndarray) -> None:
    for timed, kind in enumerate(KINDS):
        if not (rows[:, 0] == timed).any():
            continue
        _, length, times, size, present, score, margin, right = rows[rows[:, 0] == timed].T
        p = np.array([confidence.probability(*row, kind) for row in zip(score, margin, length, size, strict=True)])
        print(f"{kind}: expected calibration error {calibration_error(p, right):.3f} of {len(p)}")
        print(
            "  by size", {int(n): round(calibration_error(p[size == n], right[size == n]), 3) for n in np.unique(size)}
        )
        accepted = p >= [confidence.threshold(kind, n) for n in length]
        print(f"  false accepts {interval(accepted[present == 0])}")
        for t in np.unique(times):
            for low, high in ((1, 8), (9, 14), (20, 40)):
                part = (times == t) & (length >= low) & (length <= high)
                kept = accepted[part & (present == 1) & (right == 1)]
                false = accepted[part & (present == 0)]
                print(f"  {low}-{high} notes, {t:.0f} x mild: kept {kept.mean():.3f}, false {false.mean():.4f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["costs", "confidence", "report", "sound"])
    parser.add_argument("--count", type=int, default=60, help="queries per task")
    parser.add_argument("--kinds", nargs="+", default=KINDS, choices=KINDS, help="of confidence to fit")
    parser.add_argument(
        "--table", type=Path, help="arrays score, margin, seconds, size, right, present of sound queries"
    )
    args = parser.parse_args()
    if args.what == "sound":
        table = np.load(args.table)
        row = [table[name] for name in ("score", "margin", "seconds", "size")]
        absent = ~table["present"].astype(bool)
        coefficients = calibrate(*row, table["right"], "sound")
        p = chances(coefficients, *row, "sound")
        limit = limits(p[absent], table["seconds"][absent])
        found = json.loads(FITTED.read_text())["confidence"]
        save("confidence", found | {"sound": {"coefficients": rounded(coefficients), "threshold": limit}})
        return
    if args.what == "confidence":
        fit_confidence(Corpus.load(), args.count, args.kinds)
    else:
        {"costs": fit_costs, "report": report}[args.what](Corpus.load(), args.count)


if __name__ == "__main__":
    main()
