/**
 * A query is laid over every place of the collection, and the notes that agree are counted: the first pass of the
 * search, musicai/search/_scale/sliding.py.
 *
 * Each note has a symbol: the interval to the next note, and a class of how much longer that lasts.
 */

import { clip, rint } from "./numbers.js";

const LONGEST = 16; // notes of the query that are compared
const LEAP = 15; // semitones: wider intervals count as this
const CHANGES = [0.35, 0.76, 1.32, 2.8]; // how many times as long the next note is: the limits between five classes
const END = 7; // instead of a class where a line ends; instead of an interval, there is a 0
const KEPT = [0.75, 0.85]; // how likely intervals and changes survive the mistakes of a query
const GROUP = 4, SLIP = 4; // between groups of notes, one may be missing or extra, which costs this many bits
const EDGE = 32; // places beyond either end of the collection

function changeOf(step, next) {
  const ratio = next / Math.max(step, 1e-9);
  let kind = 0;
  while (kind < CHANGES.length && ratio >= CHANGES[kind]) kind++;
  return kind;
}

function intervalOf(from, to) {
  return clip(rint(to) - rint(from), -LEAP, LEAP) + LEAP + 1;
}

/** The symbols of a query's notes but the last, as {intervals, changes}. Python: symbols_of. */
function querySymbols(pitches, steps) {
  const n = pitches.length - 1, symbols = { intervals: new Uint8Array(n), changes: new Uint8Array(n) };
  for (let i = 0; i < n; i++) {
    symbols.intervals[i] = intervalOf(pitches[i], pitches[i + 1]);
    symbols.changes[i] = i === n - 1 ? END : changeOf(steps[i], steps[i + 1]);
  }
  return symbols;
}

export class Places {
  /** @param {Collection} lines */
  constructor(lines) {
    const size = lines.pitches.length;
    this.size = size;
    this.intervals = new Uint8Array(size + 2 * EDGE);
    this.changes = new Uint8Array(size + 2 * EDGE).fill(END);
    this.counts = new Int32Array(256); // of each pair of an interval and a class
    this.total = new Uint8Array(size + 2 * EDGE - LONGEST);
    this.other = new Uint8Array(this.total.length);
    for (let i = 0; i + 1 < lines.offsets.length; i++) this.addLine(lines, lines.offsets[i], lines.offsets[i + 1]);
  }

  addLine({ pitches, steps }, first, last) {
    for (let i = first; i < last; i++) {
      const interval = i + 1 < last ? intervalOf(pitches[i], pitches[i + 1]) : 0;
      const change = i + 2 < last ? changeOf(steps[i], steps[i + 1]) : END;
      this.intervals[EDGE + i] = interval;
      this.changes[EDGE + i] = change;
      this.counts[interval * 8 + change]++;
    }
  }

  /**
   * The places at which the query begins if it, or the part in its middle, agrees best, in order; at most `count`.
   * Python: find_places.
   *
   * @param {ArrayLike<number>} pitches (notes,)
   * @param {ArrayLike<number>|null} starts (notes,), or null without rhythm
   */
  find(pitches, starts, count) {
    const skip = Math.max(0, (pitches.length - LONGEST) >> 1);
    const part = pitches.slice(skip, skip + LONGEST), when = starts && starts.slice(skip, skip + LONGEST);
    const steps = Array.from(part, (_, i) => (when ? (i + 1 < when.length ? when[i + 1] - when[i] : 0) : 1));
    const wanted = querySymbols(part, steps), { worths, unit } = this.weigh(wanted);
    if (!starts) worths.changes.fill(0);
    this.slide(wanted, worths, Math.trunc(SLIP * unit));
    return this.best(count).map((place) => place - skip);
  }

  /** What it is worth that each interval and each change agrees, and how many of it make a bit. Python: weigh. */
  weigh(wanted) {
    const shares = this.shares();
    const bits = (kept, chance) => Math.max(0, Math.log2(kept / chance) - Math.log2((1 - kept) / (1 - chance)));
    const intervals = Array.from(wanted.intervals, (symbol) => bits(KEPT[0], shares.intervals[symbol]));
    const changes = Array.from(wanted.changes, (symbol) => (symbol === END ? 0 : bits(KEPT[1], shares.changes[symbol])));
    const sum = [...intervals, ...changes].reduce((a, b) => a + b, 0), unit = Math.min(2, 250 / Math.max(1, sum));
    const whole = (worths) => Uint8Array.from(worths, (x) => rint(x * unit));
    return { worths: { intervals: whole(intervals), changes: whole(changes) }, unit };
  }

  /** How common each interval and each change is in the collection. */
  shares() {
    const counts = this.counts.map((count) => Math.max(count, 1)), sum = counts.reduce((a, b) => a + b, 0);
    const shares = { intervals: new Float64Array(32), changes: new Float64Array(8) };
    counts.forEach((count, symbol) => {
      shares.intervals[symbol >> 3] += count / sum;
      shares.changes[symbol & 7] += count / sum;
    });
    return shares;
  }

  /** Score every place, in `total`: sums of bytes, and after each group the best of a place and its neighbours. */
  slide(wanted, worths, cost) {
    this.total.fill(0);
    for (let k = 0; k < wanted.intervals.length; k += GROUP) {
      if (k) this.slip(cost);
      for (const kind of ["intervals", "changes"]) {
        const group = worths[kind].subarray(k, k + GROUP);
        if (group.some((worth) => worth)) addGroup(this[kind], wanted[kind].subarray(k, k + GROUP), group, k, this.total);
      }
    }
  }

  /** The best of each place and its neighbours, which cost something. Python: _slip. */
  slip(cost) {
    const { total, other } = this, last = total.length - 1;
    other[0] = other[last] = 0;
    for (let i = 1; i < last; i++) {
      const beside = (total[i - 1] > total[i + 1] ? total[i - 1] : total[i + 1]) - cost;
      other[i] = beside > total[i] ? beside : total[i];
    }
    this.total = other;
    this.other = total;
  }

  /** As many of the best places as `count` allows, taking all or none of those with the same score. */
  best(count) {
    const seen = new Int32Array(257), scores = this.total.subarray(EDGE, EDGE + this.size);
    for (let i = 0; i < scores.length; i++) seen[scores[i]]++;
    let least = 256, taken = 0;
    while (least > 1 && taken + seen[least - 1] <= count) taken += seen[--least];
    const places = new Int32Array(taken);
    for (let i = 0, n = 0; n < taken; i++) if (scores[i] >= least) places[n++] = i;
    return places;
  }
}

/** Add to each place what it is worth that a group of symbols agrees, k notes on. Python: _add. */
function addGroup(symbols, wanted, worths, k, total) {
  const [a, b, c, d] = [0, 1, 2, 3].map((i) => (i < wanted.length ? wanted[i] : 255));
  const [worthA, worthB, worthC, worthD] = [0, 1, 2, 3].map((i) => worths[i] ?? 0);
  let second = symbols[k], third = symbols[k + 1], fourth = symbols[k + 2], first;
  for (let i = 0; i < total.length; i++) {
    first = second;
    second = third;
    third = fourth;
    fourth = symbols[i + k + 3];
    let sum = first === a ? worthA : 0;
    if (second === b) sum += worthB;
    if (third === c) sum += worthC;
    if (fourth === d) sum += worthD;
    total[i] += sum;
  }
}
