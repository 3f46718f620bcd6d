"""Write tunes note by note: the model proposes, hard controls forbid, soft controls steer by feedback. Chapter 7."""

from dataclasses import replace

import numpy as np
from tqdm.auto import tqdm

from musicai.composition.controls import Controls, beat_ticks, metric_levels, scale_of
from musicai.composition.tunes import LENGTHS, PITCHES, REST, TICKS, Plan, decode
from musicai.composition.writer import TuneWriter
from musicai.notes import Melody

WIDEST = 24  # semitones: a wider range leaves the model its middle
# Modes with too few tunes to learn from: how far above its tonic lies the one that the model is told, and which mode.
UNSEEN = {"lydian": (0, "major"), "phrygian": (0, "minor"), "locrian": (1, "major")}
CHROMATIC = 1.0, 4.0  # nats off a note outside the scale of a known or an unseen mode, but for leading notes in minor
LENGTHS = np.array(LENGTHS)  # ticks of each class of duration
REACH = 2.0  # nats, by the end, for a pitch beyond those used so far: tunes use all of their range
# Nats, at a cadence, for an end on the tonic (more if the source is close) and for a last note of a beat or more.
HOME, LONG = 6.0, 4.5
CADENCES = 0.81, 0.95  # the share of songs that shall end with a cadence, and in triple time, as in the train split
DISTANT = 0.1  # closeness below which the model doesn't see the source: it has learned from sources that resemble
# How strongly the soft controls steer, tuned on the valid split of the folk corpus.
DENSITY_GAIN, SYNCOPATION_GAIN, CLOSENESS_GAIN = 4.0, 3.0, 2.0


class Rules:
    """The hard controls as tables over the ticks of a tune as written.

    Args:
        controls: of the tune.
        plan: of the model, which pitches are counted from.

    Chapter 7.
    """

    def __init__(self, controls: Controls, plan: Plan):
        levels, labels = metric_levels(controls.meter), list(controls.sections)
        bar, self.span, self.total = len(levels), controls.span, controls.span * len(labels)
        self.closing = (labels.index(controls.form[-1]) + 1) * self.span  # where the song ends
        times = np.arange(self.total + 1)
        section, place = np.divmod(times, self.span)
        self.weight = np.append(np.repeat(list(controls.sections.values()), self.span), 0)  # how often a tick sounds
        # A varied return copies its first section up to a bar in its second half, and is fresh from there on.
        bases = np.array([labels.index(label[0]) for label in (*labels, labels[0])])
        bars, rng = self.span // bar, np.random.default_rng((controls.seed, 2**20))
        varied = rng.integers(-(-bars // 2), max(2, bars)) * bar
        self.origin = np.where(bases[section] < section, bases[section] * self.span + place, -1)
        self.fresh = place >= varied
        # No note crosses the end of its section, or of what a return copies; off the sixteenths, nor the end of a beat.
        copied = np.isin(section, [base for i, base in enumerate(bases[:-1]) if base < i]) & ~self.fresh
        end = section * self.span + np.where(copied, varied, self.span)
        beat, after = beat_ticks(controls.meter), times[:, None] + LENGTHS
        end = np.where(times % 6 == 0, end, np.minimum(end, (times // beat + 1) * beat))
        # Two notes of one tick each in a row are a chord to some programs, and one of them would begin at an odd tick.
        self.fits = (after <= end[:, None]) & ((LENGTHS > 1) | (times[:, None] % 2 == 0))
        reached = place == 0  # whatever is left can be filled
        for t in range(self.total - 1, -1, -1):
            self.fits[t] &= reached[np.minimum(after[t], self.total)]
            reached[t] = self.fits[t].any()
        self.fits[-1] = True  # what is finished is ignored
        inner = [[levels[np.arange(t + 1, t + d) % bar].max(initial=0) for d in LENGTHS] for t in range(bar)]
        self.stronger = (np.array(inner) > levels[:, None])[times % bar]
        self.midi = np.array([plan.midi(i) for i in range(len(PITCHES))])
        steps = (self.midi - controls.tonic) % 12
        foreign = ~np.isin(steps, scale_of(controls.mode))
        inside = (self.midi >= controls.range[0]) & (self.midi <= controls.range[1])
        self.pitches = np.append(inside & ~(foreign & controls.strict), True)
        leading = (controls.mode == "minor") & np.isin(steps, (9, 11))
        self.chromatic = np.append(foreign & ~leading, False) * -CHROMATIC[controls.mode in UNSEEN]
        cadence = shall_close(controls)
        self.home = np.append(steps == 0, False) * HOME * (1 + controls.closeness) * cadence
        self.final = ((after == self.closing) & (LENGTHS >= TICKS)) * LONG * cadence


def shall_close(controls: Controls) -> bool:
    """Whether a song shall end on its tonic; drawn once for all of its drafts.

    Args:
        controls: with the metre and the seed.

    Returns: True for the share CADENCES of all seeds.

    Chapter 7.
    """
    return np.random.default_rng((controls.seed, 2**22)).random() < CADENCES[controls.meter[0] == 3]


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
        self.controls, self.rules, times = controls, rules, np.arange(rules.total + 1)
        self.left = np.cumsum(rules.weight[::-1])[::-1] / TICKS  # beats still to sound
        self.pitch = np.full(rules.total + 1, REST)  # of the source's notes, where they begin
        for note in source.notes if source else ():
            if 0 <= note.pitch - rules.midi[0] < REST:
                self.pitch[round(note.start * TICKS)] = note.pitch - rules.midi[0]
        self.theirs = np.cumsum((rules.weight * (self.pitch != REST))[::-1])[::-1]  # notes of the source still to come
        onsets = np.append(np.flatnonzero((self.pitch != REST) | (times % rules.span == 0)), 10**9)
        after = times[:, None] + LENGTHS
        follows = after == onsets[np.searchsorted(onsets, times, side="right")][:, None]
        self.meets = (np.isin(after, onsets) + follows.astype(float)) / 2
        self.notes, self.syncopated, self.hits = np.zeros((3, count))
        self.low, self.high = np.full(count, REST), np.zeros(count, int)  # reached so far

    def needs(self, t: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """What the rest of each tune needs to end as asked: density, syncopation, share of the source to keep."""
        c, left = self.controls, np.maximum(self.left[t], 1e-9)
        density = np.clip((c.density * self.left[0] - self.notes) / left, 0.1, 8)
        usual = (self.notes + 4) / (self.left[0] - left + 2)
        coming = np.where(np.isnan(density), usual, density) * left
        syncopation = (c.syncopation * (self.notes + coming) - self.syncopated) / np.maximum(coming, 1)
        kept = (c.closeness * (self.notes + coming + self.theirs[0]) / 2 - self.hits) / np.maximum(self.theirs[t], 1)
        return density, syncopation, kept

    def pull(self, kept: np.ndarray) -> np.ndarray:
        """How strongly the source attracts, in nats, (tunes,), if this share of it is still to be kept."""
        asked = logit(self.controls.closeness)
        return asked + CLOSENESS_GAIN * (logit(kept) - asked)

    def duration_bias(self, t: np.ndarray) -> np.ndarray:
        """Towards short or long, syncopated or plain, meeting the source's onsets: (tunes, D)."""
        c, (density, syncopation, kept) = self.controls, self.needs(t)
        bias = -DENSITY_GAIN * np.log(density / c.density)[:, None] * np.log(LENGTHS / TICKS)
        swing = np.clip((syncopation - c.syncopation) / 0.05, -4, 4)
        bias = np.nan_to_num(bias) + np.nan_to_num(SYNCOPATION_GAIN * swing)[:, None] * self.rules.stronger[t]
        bias += self.rules.final[t]
        return bias + (np.maximum(self.pull(kept), 0)[:, None] * self.meets[t] if c.closeness else 0)

    def pitch_bias(self, t: np.ndarray) -> np.ndarray:
        """Towards the source's note, or away from it, and towards the ends of the range not reached yet: (tunes, P)."""
        classes = np.arange(REST + 1)
        bias = (
            REACH * (t / self.rules.total)[:, None] * ((classes < self.low[:, None]) | (classes > self.high[:, None]))
        )
        bias[:, REST] = 0
        near = classes == np.where(self.pitch[t] < REST, self.pitch[t], -1)[:, None]
        return bias + (near * self.pull(self.needs(t)[2])[:, None] if self.controls.closeness else 0)

    def count(self, t: np.ndarray, durations: np.ndarray, pitches: np.ndarray) -> None:
        """Take note of what was drawn at ticks `t`."""
        weight = self.rules.weight[t] * (pitches != REST)
        self.notes += weight
        self.syncopated += weight * self.rules.stronger[t, durations]
        self.hits += weight * (pitches == self.pitch[t])
        self.low, self.high = np.minimum(self.low, pitches), np.maximum(self.high, np.where(pitches < REST, pitches, 0))


def logit(share) -> np.ndarray:
    """Log odds, of 0.0005 at the least and 0.9995 at the most."""
    share = np.clip(share, 0.0005, 0.9995)
    return np.log(share / (1 - share))


def plan_of(controls: Controls) -> Plan:
    """What the model is told of the controls."""
    low, high = controls.range
    low = max(low, (low + high - WIDEST) // 2)
    limits, (step, mode) = (low, min(high, low + WIDEST)), UNSEEN.get(controls.mode, (0, controls.mode))
    sections = (controls.bars // len(controls.form),) * len(controls.sections)
    tonic, soft = (controls.tonic + step) % 12, (controls.density, controls.syncopation)
    return Plan(tonic, mode, controls.meter, sections, 0.0, limits, *soft)


def write_tunes(model, controls: Controls, source: Melody | None = None, *, count=8, progress=False) -> list:
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

    Returns: (melody, mean log probability of a note under the model, in nats) for each; the sections follow one another
    as they are written, as in `lay_out`.

    Chapter 7.
    """
    plan, rngs = plan_of(controls), [np.random.default_rng((controls.seed, i)) for i in range(count)]
    rules, source = Rules(controls, plan), source if controls.closeness else None
    steering, seen = Steering(controls, rules, source, count), source if controls.closeness >= DISTANT else None
    writer = TuneWriter(model, [plan] * count, [seen] * count)
    rows, t, likelihood, same = np.arange(count), np.zeros(count, int), np.zeros(count), np.zeros(count, bool)
    drawn = np.full((2, count, rules.total + 1), -1)  # the classes of what begins at each tick
    bar = tqdm(total=rules.total, desc="writing", unit="tick", disable=not progress)
    while (live := t < rules.total).any():
        old = np.where(rules.origin[t] >= 0, drawn[:, rows, rules.origin[t]], -1)  # what a varied return comes from
        same = (same | (t % rules.span == 0)) & (old[0] >= 0)
        copied, draws = np.where(rules.fresh[t], -1, old), np.array([rng.random(2) for rng in rngs]).T
        logits = writer.duration_logits() / controls.temperature
        durations, chances = draw(logits, steering.duration_bias(t), rules.fits[t], draws[0], copied[0])
        logits = writer.pitch_logits(durations) / controls.temperature
        allowed = np.tile(rules.pitches, (count, 1))
        closing = t + LENGTHS[durations] == rules.closing
        allowed[(t == 0) | closing, REST] = False
        vary = np.flatnonzero(same & rules.fresh[t])  # a return's first own note differs
        allowed[vary, old[1, vary]] = False
        bias = steering.pitch_bias(t) + rules.chromatic + closing[:, None] * rules.home
        pitches, more = draw(logits, bias, allowed, draws[1], copied[1])
        writer.append(durations, pitches)
        steering.count(t, durations, pitches)
        same &= (durations == old[0]) & (pitches == old[1])
        drawn[:, rows[live], t[live]] = durations[live], pitches[live]
        likelihood += live * (chances + more)
        t = np.where(live, t + LENGTHS[durations], t)
        bar.update(t.min() - bar.n)
    bar.close()
    melodies = [decode(*drawn[:, row, drawn[0, row] >= 0], plan) for row in rows]
    melodies = [replace(melody, key=controls.key, tempo=controls.tempo) for melody in melodies]
    return list(zip(melodies, likelihood / (drawn[0] >= 0).sum(1), strict=True))


def draw(logits: np.ndarray, bias: np.ndarray, allowed: np.ndarray, draws: np.ndarray, copied: np.ndarray) -> tuple:
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
    logits -= logits.max(1, keepdims=True)
    shifted = np.where(allowed, logits + bias, -np.inf)
    chances = np.cumsum(np.exp(shifted - shifted.max(1, keepdims=True)), 1)
    found = (chances <= (1 - 1e-12) * draws[:, None] * chances[:, -1:]).sum(1)
    found = np.where(copied >= 0, copied, found)
    return found, np.take_along_axis(logits, found[:, None], 1)[:, 0] - np.log(np.exp(logits).sum(1))
