"""Write tunes note by note: the model proposes, hard controls forbid, soft controls steer by feedback. Chapter 7."""

from dataclasses import dataclass

import numpy as np
from tqdm.auto import tqdm

from musicai.composition.controls import TICKS, Controls, beat_ticks, metric_levels, scale_of
from musicai.composition.tunes import DURATIONS, PITCHES, REST, Plan
from musicai.composition.writer import TuneWriter
from musicai.notes import Melody, Note

WIDEST = 24  # semitones: a wider range leaves the model its middle
CHROMATIC = 1.0  # nats off a note outside the scale, unless it leads to the tonic of a minor key
UNSEEN = {"lydian": "major", "phrygian": "minor", "locrian": "minor"}  # modes with too few tunes to learn from
LENGTHS = np.rint(DURATIONS * TICKS).astype(int)
# How strongly the soft controls steer, tuned on the valid split of the folk corpus.
DENSITY_GAIN, SYNCOPATION_GAIN, CLOSENESS_GAIN = 2.0, 2.0, 2.0


@dataclass(frozen=True)
class Draft:
    """A tune that was written.

    Args:
        melody: on the time axis of the sections as written, as in `lay_out`.
        likelihood: the mean log probability of a note under the model, in nats.

    Chapter 7.
    """

    melody: Melody
    likelihood: float


class Rules:
    """The hard controls as tables over the ticks of a tune as written.

    Args:
        controls: of the tune.
        plan: of the model, which pitches are counted from.
        varied: the tick of a section from which a varied return is written anew.

    Chapter 7.
    """

    def __init__(self, controls: Controls, plan: Plan, varied: int):
        levels, labels = metric_levels(controls.meter), list(controls.sections)
        self.span = controls.bars_each * len(levels)
        self.total = self.span * len(labels)
        times = np.arange(self.total + 1)
        base = np.array([label[0] == label and label + "'" in controls.form for label in labels])
        kept = np.append(np.repeat(base, self.span), False) & (
            times % self.span < varied
        )  # a return repeats this exactly
        end = np.where(kept, times // self.span * self.span + varied, (times // self.span + 1) * self.span)
        self.weight = np.repeat(list(controls.sections.values()), self.span).astype(float)
        after = times[:, None] + LENGTHS
        # A note that starts between thirty-seconds belongs to a triplet, which does not cross the beat.
        beat = beat_ticks(controls.meter)
        fits = (after <= end[:, None]) & ((times[:, None] % 3 == 0) | (after <= (times // beat + 1)[:, None] * beat))
        reaches = times % self.span == 0
        for t in range(self.total - 1, -1, -1):
            fits[t] &= reaches[np.minimum(after[t], self.total)]
            reaches[t] = fits[t].any()
        fits[-1] = True  # what is finished is ignored
        self.fits = fits
        bar = np.arange(len(levels))
        stronger = [
            [levels[np.arange(t + 1, t + d) % len(bar)].max(initial=0) > levels[t] for d in LENGTHS] for t in bar
        ]
        self.stronger = np.array(stronger)[times % len(bar)]
        self.midi = np.array([plan.midi(i) for i in range(len(PITCHES))])
        steps = (self.midi - controls.tonic) % 12
        in_scale = np.isin(steps, scale_of(controls.mode))
        self.pitches = np.append((self.midi >= controls.range[0]) & (self.midi <= controls.range[1]), True)
        self.pitches[:-1] &= in_scale | (not controls.strict)
        leading = (controls.mode == "minor") & np.isin(steps, (9, 11))
        self.chromatic = np.append(~in_scale & ~leading, False) * -CHROMATIC
        self.closing = (labels.index(controls.form[-1]) + 1) * self.span  # where the song ends
        self.origin = np.full(self.total + 1, -1)  # the tick from which a varied return copies
        for i, label in enumerate(labels):
            if label[0] != label:
                base = labels.index(label[0]) * self.span
                self.origin[i * self.span : (i + 1) * self.span] = base + np.arange(self.span)
        self.fresh = times % self.span >= varied


class Steering:
    """The soft controls: what has been obtained so far and is still needed becomes a bias on the next draw.

    Args:
        controls: of the tune.
        rules: of the tune.
        source: laid out in the tune's own time, or None.
        count: the number of tunes that are written together.

    Chapter 7.
    """

    def __init__(self, controls: Controls, rules: Rules, source: Melody | None, count: int):
        self.controls, self.rules = controls, rules
        self.left = np.append(np.cumsum(rules.weight[::-1])[::-1], 0) / TICKS  # beats still to sound
        self.pitch = np.full(rules.total + 1, REST)  # of the source's notes, where they begin
        for note in source.notes if source else ():
            if 0 <= note.pitch - rules.midi[0] < REST:
                self.pitch[round(note.start * TICKS)] = note.pitch - rules.midi[0]
        theirs = np.append(rules.weight, 0) * (self.pitch != REST)
        self.theirs = np.cumsum(theirs[::-1])[::-1]  # notes of the source still to come
        onsets = np.append(np.flatnonzero((self.pitch != REST) | (np.arange(rules.total + 1) % rules.span == 0)), 10**9)
        after = np.arange(rules.total + 1)[:, None] + LENGTHS
        meets = np.isin(after, onsets)
        follows = after == onsets[np.searchsorted(onsets, np.arange(rules.total + 1), side="right")][:, None]
        self.meets = (meets.astype(float) + follows) / 2
        self.notes, self.syncopated, self.hits = np.zeros((3, count))

    def needs(self, t: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """What the rest of each tune needs to end as asked: density, syncopation, and the source's notes to keep."""
        c, left = self.controls, np.maximum(self.left[t], 1e-9)
        density = self.left[0] and (c.density * self.left[0] - self.notes) / left
        so_far = (self.notes + 4) / (self.left[0] - left + 2)
        density = np.where(np.isnan(density), so_far, np.clip(density, 0.1, 8))
        coming = density * left
        syncopation = (c.syncopation * (self.notes + coming) - self.syncopated) / np.maximum(coming, 1)
        kept = (c.closeness * (self.notes + coming + self.theirs[0]) / 2 - self.hits) / np.maximum(self.theirs[t], 1)
        return density, syncopation, kept

    def duration_bias(self, t: np.ndarray) -> np.ndarray:
        """Float64 (tunes, D): towards short or long, syncopated or plain, meeting the source's onsets or not."""
        c, (density, syncopation, kept) = self.controls, self.needs(t)
        bias = np.zeros((len(t), len(LENGTHS)))
        if c.density == c.density:
            bias -= DENSITY_GAIN * np.log(density / c.density)[:, None] * np.log(LENGTHS / TICKS)
        if c.syncopation == c.syncopation:
            pull = SYNCOPATION_GAIN * np.clip((syncopation - c.syncopation) / (c.syncopation + 0.02), -4, 4)
            bias += pull[:, None] * self.rules.stronger[t]
        if c.closeness > 0:
            bias += self.pull(kept)[:, None] * self.meets[t]
        return bias

    def pitch_bias(self, t: np.ndarray) -> np.ndarray:
        """Float64 (tunes, P): towards the source's note, if it has one here, or away from it."""
        bias = np.zeros((len(t), REST + 1))
        if self.controls.closeness > 0:
            here = np.flatnonzero(self.pitch[t] != REST)
            bias[here, self.pitch[t[here]]] = self.pull(self.needs(t)[2])[here]
        return bias

    def pull(self, kept: np.ndarray) -> np.ndarray:
        """How strongly the source attracts, in nats."""
        return logit(np.array(self.controls.closeness)) + CLOSENESS_GAIN * (
            logit(kept) - logit(self.controls.closeness)
        )

    def count(self, t: np.ndarray, durations: np.ndarray, pitches: np.ndarray) -> None:
        """Take note of what was drawn at ticks `t`."""
        weight = np.append(self.rules.weight, 0)[t] * (pitches != REST)
        self.notes += weight
        self.syncopated += weight * self.rules.stronger[t, durations]
        self.hits += weight * (pitches == self.pitch[t])


def logit(share) -> np.ndarray:
    """Log odds."""
    share = np.clip(share, 0.002, 0.998)
    return np.log(share / (1 - share))


def plan_of(controls: Controls) -> Plan:
    """What the model is told of the controls."""
    low, high = controls.range
    if high - low > WIDEST:
        low = (low + high - WIDEST) // 2
        high = low + WIDEST
    mode = UNSEEN.get(controls.mode, controls.mode)
    sections = (controls.bars_each,) * len(controls.sections)
    soft = (controls.density, controls.syncopation)
    return Plan(controls.tonic, mode, controls.meter, sections, 0.0, (low, high), *soft)


def write_tunes(
    model, controls: Controls, source: Melody | None = None, count: int = 8, progress: bool = False
) -> list[Draft]:
    """Write several tunes under the same controls.

    >>> drafts = write_tunes(TuneWaveNet.from_pretrained("tunes"), controls)  # doctest: +SKIP

    Every draw multiplies the model's probabilities by the soft controls' and strikes out what the hard ones forbid. A
    duration is only allowed if the rest of its section can still be filled.

    Args:
        model: a TuneWaveNet.
        controls: of all tunes.
        source: a melody that `lay_out` made, or None.
        count: how many to write; each has its own random numbers, whatever the count.
        progress: whether to show a bar.

    Returns: the tunes.

    Chapter 7.
    """
    plan, rngs = plan_of(controls), [np.random.default_rng((controls.seed, i)) for i in range(count)]
    source = source if controls.closeness > 0 else None
    varied = (
        controls.bars_each - np.random.default_rng((controls.seed, 2**21)).integers(max(1, controls.bars_each // 2)) - 1
    )
    rules = Rules(controls, plan, varied * len(metric_levels(controls.meter)))
    steering, writer = Steering(controls, rules, source, count), TuneWriter(model, [plan] * count, [source] * count)
    rows, t = np.arange(count), np.zeros(count, np.int64)
    likelihood, same = np.zeros(count), np.zeros(count, bool)
    bar = tqdm(total=rules.total, desc="writing", unit="tick", disable=not progress)
    drawn = np.full((2, count, rules.total + 1), -1)  # the classes of what begins at each tick
    while (live := t < rules.total).any():
        old = np.where(rules.origin[t] >= 0, drawn[:, rows, rules.origin[t]], -1)  # what a varied return comes from
        same = (same | (t % rules.span == 0)) & (old[0] >= 0)
        copied = np.where(rules.fresh[t], -1, old)
        draws = np.array([rng.random(2) for rng in rngs]).T
        logits = writer.duration_logits() / controls.temperature
        durations, chances = draw(logits, steering.duration_bias(t), rules.fits[t], draws[0], copied[0])
        logits = writer.pitch_logits(durations) / controls.temperature
        allowed = np.repeat(rules.pitches[None], count, 0)
        allowed[(t == 0) | (t + LENGTHS[durations] == rules.closing), REST] = False
        vary = np.flatnonzero(same & rules.fresh[t])
        allowed[vary, old[1, vary]] = False
        bias = steering.pitch_bias(t) + rules.chromatic
        pitches, more = draw(logits, bias, allowed, draws[1], copied[1])
        writer.append(durations, pitches)
        steering.count(t, durations, pitches)
        same &= (durations == old[0]) & (pitches == old[1])
        drawn[:, rows[live], t[live]] = durations[live], pitches[live]
        likelihood += live * (chances + more)
        t = np.where(live, t + LENGTHS[durations], t)
        bar.update(t.min() - bar.n)
    bar.close()
    return [_draft(drawn[:, row], likelihood[row], rules, controls) for row in rows]


def draw(logits, bias: np.ndarray, allowed: np.ndarray, draws: np.ndarray, copied: np.ndarray) -> tuple:
    """Draw one class per row, by inverting its cumulative probability.

    Args:
        logits: of the model, (rows, classes).
        bias: added to them, (rows, classes).
        allowed: what may be drawn, bool (rows, classes).
        draws: uniform numbers, (rows,).
        copied: the class that is taken without a draw, or -1, (rows,).

    Returns: the classes, and their log probabilities before bias and prohibition.
    """
    logits = np.asarray(logits, dtype=np.float64)
    rows, shifted = np.arange(len(logits)), np.where(allowed, logits + bias, -np.inf)
    chances = np.cumsum(np.exp(shifted - shifted.max(1, keepdims=True)), 1)
    found = (chances <= draws[:, None] * chances[:, -1:]).sum(1)
    found = np.where(copied >= 0, copied, found)
    top = logits.max(1)
    return found, logits[rows, found] - top - np.log(np.exp(logits - top[:, None]).sum(1))


def _draft(drawn: np.ndarray, likelihood: float, rules: Rules, controls: Controls) -> Draft:
    ticks = np.flatnonzero(drawn[0] >= 0)
    rows = [(int(rules.midi[p]), t / TICKS, int(LENGTHS[d]) / TICKS)
            for t, d, p in zip(ticks.tolist(), *drawn[:, ticks].tolist(), strict=True) if p != REST]  # fmt: skip
    notes = tuple(Note(*row) for row in rows)
    melody = Melody(notes, key=controls.key, tempo=controls.tempo, time_signature=controls.meter)
    return Draft(melody, likelihood / len(ticks))
