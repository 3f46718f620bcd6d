/**
 * A query is laid over every place of the collection, and the notes that agree are counted: the first pass of the
 * search, musicai/search/_scale/sliding.py.
 *
 * Each note has a symbol: the interval to the next note, and a class of how much longer that lasts.
 */

import { clip, rint } from "./numbers.js";

const LONGEST = 24; // notes of the query that are compared
const LEAP = 15; // semitones: wider intervals count as this
const CHANGES = [0.35, 0.76, 1.32, 2.8]; // how many times as long the next note is: the limits between five classes
const END = 7; // instead of a class where a line ends; instead of an interval, there is a 0
const KEPT = [0.75, 0.85]; // how likely intervals and changes survive the mistakes of a query
const GROUP = 4, SLIP = 3; // between groups of notes, one may be missing or extra, which costs this much
const UNIT = 0.75, FULL = 98, HIGHEST = 7; // worths: units per bit, the most of a whole query, and of one note
const MOST = 7; // groups of intervals or of changes that are compared: those that tell most
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

/** The symbols of a query's notes but the last. Python: symbols_of. */
function querySymbols(pitches, steps) {
  const last = pitches.length - 2, change = (i) => (i === last ? END : changeOf(steps[i], steps[i + 1]));
  const symbol = (i) => (intervalOf(pitches[i], pitches[i + 1]) << 3) | change(i);
  return Uint8Array.from({ length: pitches.length - 1 }, (_, i) => symbol(i));
}

export class Places {
  /** @param {Collection} lines */
  constructor(lines) {
    const size = lines.pitches.length;
    this.size = size;
    this.symbols = new Uint8Array(size + 2 * EDGE).fill(END);
    this.counts = new Int32Array(256); // of each symbol
    this.total = new Uint8Array(size + 2 * EDGE - LONGEST);
    this.other = new Uint8Array(this.total.length);
    for (let i = 0; i + 1 < lines.offsets.length; i++) this.addLine(lines, lines.offsets[i], lines.offsets[i + 1]);
  }

  addLine({ pitches, steps }, first, last) {
    for (let i = first; i < last; i++) {
      const interval = i + 1 < last ? intervalOf(pitches[i], pitches[i + 1]) : 0;
      const symbol = (interval << 3) | (i + 2 < last ? changeOf(steps[i], steps[i + 1]) : END);
      this.symbols[EDGE + i] = symbol;
      this.counts[symbol]++;
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
    this.slide(this.weigh(querySymbols(part, steps), starts !== null), SLIP);
    return this.best(count).map((place) => place - skip);
  }

  /**
   * What it is worth for each note of the query that a place has a symbol: that the interval agrees, and the change.
   * Python: weigh.
   *
   * @returns {Uint8Array[]} for each note, the worth of all 256 symbols
   */
  weigh(wanted, rhythm) {
    const shares = this.shares();
    const bits = (kept, chance) => Math.max(0, Math.log2(kept / chance) - Math.log2((1 - kept) / (1 - chance)));
    const intervals = Array.from(wanted, (symbol) => bits(KEPT[0], shares.intervals[symbol >> 3]));
    const lasting = (change) => (change === END ? 0 : bits(KEPT[1], shares.changes[change]));
    const changes = Array.from(wanted, (symbol) => lasting(symbol & 7));
    const [pitch, time] = roundMost([intervals, changes.map((x) => (rhythm ? x : 0))]);
    return Array.from(wanted, (symbol, i) => {
      const same = (other) => [other >> 3 === symbol >> 3, (other & 7) === (symbol & 7)];
      return Uint8Array.from({ length: 256 }, (_, other) => same(other)[0] * pitch[i] + same(other)[1] * time[i]);
    });
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
  slide(worths, cost) {
    this.total.fill(0);
    for (let k = 0; k < worths.length; k += GROUP) {
      if (k) this.slip(cost);
      addGroup(this.symbols.subarray(k), worths.slice(k, k + GROUP), this.total);
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

/** The worths of intervals and of changes in units, 0 but in the MOST groups that tell most. Python: round_most. */
function roundMost(rows) {
  const told = (row, i) => row.slice(i - (i % GROUP), i - (i % GROUP) + GROUP).reduce((a, b) => a + b, 0);
  const sums = rows.flatMap((row) => row.filter((_, i) => i % GROUP === 0).map((_, g) => told(row, g * GROUP)));
  const least = sums.sort((a, b) => b - a)[MOST - 1] ?? 0;
  const most = rows.map((row) => row.map((worth, i) => (told(row, i) < least ? 0 : worth)));
  const unit = Math.min(UNIT, FULL / Math.max(1, most.flat().reduce((a, b) => a + b, 0)));
  return most.map((row) => row.map((worth) => clip(rint(unit * worth), 0, HIGHEST)));
}

/** Add to each place what its symbol and the next three are worth. Python: _add. */
function addGroup(symbols, worths, total) {
  const [a, b, c, d] = Array.from({ length: GROUP }, (_, i) => worths[i] ?? new Uint8Array(256));
  let first, second = symbols[0], third = symbols[1], fourth = symbols[2];
  for (let i = 0; i < total.length; i++) {
    first = second;
    second = third;
    third = fourth;
    fourth = symbols[i + 3];
    total[i] += a[first] + b[second] + c[third] + d[fourth];
  }
}
