/**
 * Align a query with part of a line, in any key and at any tempo: musicai/search/alignment.py and costs.py.
 *
 * `best[i, j]` is the score of the best chain of notes that agree, ending with note i of the query on note j of the
 * line. It continues one of the chains a few notes back. Scores are whole numbers, as in Python, so they are the same.
 */

import { clip, rint } from "./numbers.js";

const UNITS = 16, ROOM = 1250; // numbers per nat, and nats that fit into 16 bits
const OCTAVE = 32, TICKS = 48; // logarithms of times per factor of two; the grid of times per beat
const FAR = 96; // three octaves of tempo: further off costs no more
const NEVER = -20000, LONGEST = 32767; // the score of what is impossible; ticks: longer times count as this
const LOGS = Int16Array.from({ length: LONGEST + 1 }, (_, t) => rint(OCTAVE * Math.log2(Math.max(t, 1) / TICKS)));

/** From one note that agrees to the next: how many notes further in the query and in the line. Python: STEPS. */
export const STEPS = [];
for (let size = 1; size <= 6; size++) {
  for (let a = 1; a <= size; a++) {
    for (let b = 1; b <= size; b++) {
      if (Math.max(a, b) === size && Math.abs(a - b) < (size > 4 ? 2 : 3)) STEPS.push([a, b]);
    }
  }
}

function comb(n, k) {
  let ways = 1;
  for (let i = 1; i <= k; i++) ways = (ways * (n - k + i)) / i;
  return Math.round(ways);
}

/** The log-probability of going on by so many notes. Python: Costs.step. */
function stepCost(costs, a, b) {
  const both = Math.min(a, b);
  const unclear = a === b ? 0 : (both - 1) * costs.other + Math.log(comb(Math.max(a, b) - 1, both - 1));
  return costs.right + Math.max(a - b, 0) * costs.insertion + Math.max(b - a, 0) * costs.deletion + unclear;
}

/** log2 of a time in beats. Python: LOGS. */
export const logOf = (beats) => LOGS[clip(rint(TICKS * beats), 1, LONGEST)];

/** Round pitches to semitones, having shifted them so that they are as close to semitones as possible. */
function inTune(pitches) {
  let real = 0, imaginary = 0;
  for (const pitch of pitches) {
    real += Math.cos(2 * Math.PI * pitch);
    imaginary += Math.sin(2 * Math.PI * pitch);
  }
  const offset = Math.atan2(imaginary, real) / (2 * Math.PI);
  return Int32Array.from(pitches, (pitch) => rint(pitch - offset));
}

/** Logarithms of the time from note i to note i + k, (notes, notes + 1) end to end. Python: costs._spans. */
function spansOf(starts) {
  const n = starts.length, spans = new Int32Array(n * (n + 1));
  const tiny = 1e-4 * Math.max(starts[n - 1] - starts[0], 1e-9);
  for (let i = 0; i < n; i++) {
    for (let k = 0; i + k < n; k++) {
      spans[i * (n + 1) + k] = clip(rint(OCTAVE * Math.log2(Math.max(starts[i + k] - starts[i], tiny))), -3000, 3000);
    }
  }
  return spans;
}

/** What it is worth that each note is in time. */
function beatsOf(costs, spans, n) {
  const beats = new Float64Array(n);
  for (let i = 0; i + 1 < n; i++) {
    const change = i ? spans[i * (n + 1) + 1] - spans[(i - 1) * (n + 1) + 1] : 0;
    beats[i] = costs.steady - costs.ratios[clip(rint((change * 4) / OCTAVE), -16, 16) + 16];
  }
  return beats;
}

/**
 * Work out what each note of a query is worth, in whole numbers. Python: Costs.weigh.
 *
 * @param {object} costs the fitted costs
 * @param {ArrayLike<number>} queryPitches (notes,) MIDI numbers, perhaps with fractions
 * @param {ArrayLike<number>|null} starts (notes,) onsets in any unit; null without rhythm
 */
export function weigh(costs, queryPitches, starts) {
  const pitches = inTune(queryPitches), n = pitches.length, rhythm = starts !== null;
  const units = Math.min(UNITS, (ROOM * UNITS) / (16 * n));
  const whole = (values) => Int32Array.from(values, (x) => rint(units * x));
  const spans = rhythm ? spansOf(starts) : new Int32Array(n * (n + 1));
  const gain = (_, i) => (i ? -costs.intervals[clip(pitches[i] - pitches[i - 1], -24, 24) + 24] : 0);
  const few = STEPS.filter((step) => Math.max(...step) <= Math.max(2, Math.floor(n / 4) + 1));
  const rates = { edge: costs.edge, change: costs.change, slip: costs.slip, wrong: costs.wrong, octave: costs.octave };
  rates.slope = rhythm ? (16 / OCTAVE) * costs.slope : 0;
  rates.loose = costs.loose;
  for (const name of Object.keys(rates)) rates[name] = rint(units * rates[name]);
  const gains = whole(Array.from(pitches, gain)), steps = whole(few.map((step) => stepCost(costs, ...step)));
  const beats = whole(rhythm ? beatsOf(costs, spans, n) : new Float64Array(n));
  return { pitches, spans, gains, beats, steps, rates, units, rhythm };
}

/** The tables of one query and one line after the other; they are made once, so that nothing is made in a loop. */
export class Aligner {
  /**
   * @param {object} weights of the query, from `weigh`
   * @param {number} longest notes of the longest line
   */
  constructor(weights, longest) {
    this.weights = weights;
    this.width = longest;
    this.furthest = 1 + Math.max(...STEPS.slice(0, weights.steps.length).flat());
    for (const name of ["pitches", "ticks", "guess", "end"]) this[name] = new Int32Array(longest);
    for (const name of ["best", "tempo", "step"]) this[name] = new Int32Array(longest * weights.pitches.length);
    this.heads = new Int32Array(this.furthest * 256);
    this.links = new Int32Array(this.furthest * longest);
  }

  /**
   * Fill in the tables for the notes `first` to `last` of a collection. Python: alignment.chain.
   *
   * @param {Collection} lines
   * @param {number} origin the onset, in ticks of the collection, that counts as 0
   */
  chain(lines, first, last, origin) {
    const scale = lines.header.ticks, { weights, pitches, ticks } = this;
    this.count = last - first;
    for (let j = 0; j < this.count; j++) {
      pitches[j] = lines.pitches[first + j];
      ticks[j] = rint(TICKS * Math.fround((lines.onsets[first + j] - origin) / scale));
    }
    if (weights.rhythm) this.guessTempo();
    this.linkIntervals();
    for (let i = 0; i < weights.pitches.length; i++) this.fillRow(i);
  }

  /** The tempo if the query starts at each note of the line: from the time that as many notes take. */
  guessTempo() {
    const { ticks, guess, count, weights } = this, n = weights.pitches.length;
    for (let j = 0; j < count; j++) {
      const end = Math.min(j + n - 1, count - 1);
      guess[j] = end > j ? LOGS[clip(ticks[end] - ticks[j], 1, LONGEST)] - weights.spans[end - j] : 0;
    }
  }

  /** Chain up the notes that are the same interval away from the note b before, so that those are found at once. */
  linkIntervals() {
    const { pitches, count, width, heads, links, furthest } = this;
    heads.fill(-1);
    for (let b = 1; b < furthest; b++) {
      for (let j = b; j < count; j++) {
        const head = b * 256 + 128 + pitches[j] - pitches[j - b];
        links[b * width + j] = heads[head];
        heads[head] = j;
      }
    }
  }

  fillRow(i) {
    const { weights, width, count, best, tempo, step, guess } = this, row = i * width, start = i * weights.rates.edge;
    for (let j = 0; j < count; j++) {
      best[row + j] = start; // a chain that starts here
      tempo[row + j] = guess[j];
      step[row + j] = 0;
    }
    for (let number = 0; number < weights.steps.length; number++) {
      if (STEPS[number][0] <= i) this.extend(i, number, STEPS[number][0], STEPS[number][1]);
      if (number === 0 && i > 0) this.changeKey(i);
    }
  }

  /**
   * Continue the chains that end a notes before in the query and b in the line, where the interval since then is the
   * same in both. Python: alignment._extend.
   */
  extend(i, number, a, b) {
    const { weights, width, heads, links } = this, worth = weights.steps[number] + weights.gains[i];
    const interval = weights.pitches[i] - weights.pitches[i - a];
    if (Math.abs(interval) > 127) return;
    for (let j = heads[b * 256 + 128 + interval]; j >= 0; j = links[b * width + j]) {
      this.proceed(i, number, a, b, j, a === b && a > 1 ? worth + this.wrong(i, j, a) : worth);
    }
  }

  /** The next note in both, but in another key. */
  changeKey(i) {
    const { weights, pitches, count } = this, worth = weights.rates.change + weights.gains[i];
    const interval = weights.pitches[i] - weights.pitches[i - 1];
    for (let j = 1; j < count; j++) {
      if (pitches[j] - pitches[j - 1] !== interval) this.proceed(i, 0, 1, 1, j, worth);
    }
  }

  /** Take the step from [i - a, j - b] to [i, j] if it is better than the best one so far. */
  proceed(i, number, a, b, j, worth) {
    const { weights, width, best, tempo, step } = this, { rates } = weights, beat = weights.beats[i - a];
    const here = i * width + j, before = here - a * width - b, score = best[before] + worth;
    if (score + Math.max(beat, rates.loose) <= best[here]) return; // not even if it is in time
    let inTime = 0, pace = 0;
    if (weights.rhythm) {
      const off = this.offBeat(i - a, a, j - b, b, tempo[before]);
      inTime = Math.max(beat - ((rates.slope * Math.min(Math.abs(off), FAR)) >> 4), rates.loose);
      pace = tempo[before] + (off >> 2);
    }
    if (score + inTime <= best[here]) return;
    best[here] = score + inTime;
    tempo[here] = pace;
    step[here] = number + 1;
  }

  /** The score of the pairs of notes between two that agree, which disagree. Python: alignment._wrong. */
  wrong(i, j, a) {
    const { weights, pitches } = this, { rates, gains } = weights;
    let sum = 0;
    for (let back = 1; back < a; back++) {
      const error = Math.abs(pitches[j] - pitches[j - back] - weights.pitches[i] + weights.pitches[i - back]);
      sum += gains[i - back] + (error === 12 ? rates.octave : error <= 2 ? rates.slip : rates.wrong);
    }
    return sum;
  }

  /**
   * By how much the next note is out of time. Who leaves out a note either goes on at once or waits for the next one:
   * the closer of the two counts. Python: alignment._keep_time.
   */
  offBeat(i, a, j, b, tempo) {
    const { ticks, weights } = this, row = i * (weights.pitches.length + 1);
    const one = LOGS[clip(ticks[j + 1] - ticks[j], 1, LONGEST)] - weights.spans[row + 1] - tempo;
    const two = LOGS[clip(ticks[j + b] - ticks[j], 1, LONGEST)] - weights.spans[row + a] - tempo;
    return Math.abs(one) <= Math.abs(two) ? one : two;
  }

  /** The score of the best chain that ends at each note of the line, the rest of the query being left out. */
  ends() {
    const { weights, width, count, best, end } = this, n = weights.pitches.length;
    end.fill(NEVER, 0, count);
    for (let i = 0; i < n; i++) {
      const rest = weights.rates.edge * (n - 1 - i);
      for (let j = 0; j < count; j++) end[j] = Math.max(end[j], best[i * width + j] + rest);
    }
    return end;
  }

  /** The best chain's end: its note of the query and of the line. */
  last() {
    const { weights, width, best, count } = this, n = weights.pitches.length, end = this.ends();
    let j = 0;
    for (let at = 1; at < count; at++) if (end[at] > end[j]) j = at;
    let i = 0;
    while (best[i * width + j] + weights.rates.edge * (n - 1 - i) < end[j]) i++;
    return [i, j];
  }

  /** The transposition of the best chain. */
  shift() {
    const [i, j] = this.last();
    return this.pitches[j] - this.weights.pitches[i];
  }

  /** In nats, averaged over all places where the chain could end. Python: _fast/alignment._score. */
  score() {
    const end = this.ends(), { count } = this, { units } = this.weights;
    let top = NEVER, total = 0;
    for (let j = 0; j < count; j++) top = Math.max(top, end[j]);
    for (let j = 0; j < count; j++) if (end[j] > top - 12 * units) total += Math.exp((end[j] - top) / units);
    return top / units + Math.log(total / count);
  }

  /**
   * Follow the best chain back from its end. Python: alignment.trace.
   *
   * @returns {{score, start, end, transposition, pairs}} pairs are [note of the query, note of the line]
   */
  trace() {
    const { weights, width, step, count, end, pitches } = this;
    let [i, j] = this.last(), total = 0;
    for (let at = 0; at < count; at++) total += Math.exp((end[at] - end[j]) / weights.units);
    const score = end[j] / weights.units + Math.log(total / count), transposition = pitches[j] - weights.pitches[i];
    const pairs = [[i, j]];
    for (let number; (number = step[i * width + j]); ) {
      const [a, b] = STEPS[number - 1];
      for (let back = 1; a === b && back < a; back++) pairs.push([i - back, j - back]);
      i -= a;
      j -= b;
      pairs.push([i, j]);
    }
    pairs.reverse();
    return { score, start: pairs[0][1], end: pairs.at(-1)[1] + 1, transposition, pairs };
  }
}
