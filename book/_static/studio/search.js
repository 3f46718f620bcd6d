/**
 * Find the tunes that a few notes may be from: musicai.search.MelodyIndex in the browser, on the same tunes, with the
 * same scores and probabilities.
 */

import { Aligner, logOf, weigh } from "./alignment.js";
import { Collection } from "./collection.js";
import { judge } from "./confidence.js";
import { compareAll } from "./likelihood.js";
import { argsort, searchRight } from "./numbers.js";
import { Places } from "./places.js";
import { sketch, warpAll } from "./warping.js";

const LEAST = 3; // notes of a query
const EXHAUSTIVE = 600000; // notes: in smaller collections, every line is aligned; Python takes twice that by pitch
const CANDIDATES = 100000; // places at which it is aligned otherwise, divided by the number of its notes,
const FEWER = 12; // and once more by how many times as long it is as this: the longer, the surer are the first places
const ONE_KEY = -500; // the cost of a change of key where none is allowed
const APART = 8; // notes: places that are closer are aligned together
const WEIGHED = 500, TIMED = 100; // lines whose alignments are all weighed, without and with rhythm
const LONG = 40, PART = 24, PARTS = 24; // notes: a longer query is searched for by parts, at most so many
const RIVALS = 12; // matches that are looked at to judge the best
const SKETCHED = 100; // lines that a contour is compared with in detail

export class TuneIndex {
  /**
   * @param {Uint8Array} bytes what scripts/studio_index.py packed
   * @param {{exhaustive: number}} settings the notes up to which a collection is searched without a first pass
   */
  constructor(bytes, { exhaustive = EXHAUSTIVE } = {}) {
    this.lines = new Collection(bytes);
    this.fitted = this.lines.header.fitted;
    this.exhaustive = exhaustive;
    this.places = this.lines.pitches.length > exhaustive ? new Places(this.lines) : null; // parts may need it later
  }

  get length() {
    return this.lines.length;
  }

  /**
   * Find the tunes that notes may be from, best first. Python: MelodyIndex.find.
   *
   * @param {{pitch: number, start: number, duration: number}[]} notes start and duration in any unit
   * @param {number} k the most matches to return
   * @param {{rhythm: boolean}} settings whether the times count; say no for notes that were clicked in one's own time
   * @returns {object[]} at most one match per tune: {id, title, probability, likely, score, start, end, transposition,
   *   pairs, played, tune}. `start` and `end` are in beats of the tune with its repeats, `played`; `pairs` holds
   *   [note of the query, note of `played`], and each note of `played` has its place in the written `tune` as `source`.
   */
  find(notes, k = 5, { rhythm = true } = {}) {
    const count = notes.length;
    if (count < LEAST) throw new Error(`one or two notes are found everywhere; give at least ${LEAST}, not ${count}`);
    const query = queryOf(notes, rhythm), weights = this.weigh(query);
    const lines = count > LONG ? this.addParts(query) : this.weighBest(query, weights, Math.max(k, rhythm ? TIMED : WEIGHED));
    const best = lines.sort(byScore).slice(0, Math.max(k, RIVALS));
    const matches = best.map((found) => this.match(weights, found));
    return judge(this.fitted.confidence, matches, query, this.length).slice(0, k).map((match) => this.describe(match));
  }

  /** What the notes of a query are worth, if its key does not change. */
  weigh({ pitches, starts }) {
    return weigh({ ...this.fitted.costs, change: ONE_KEY }, pitches, starts);
  }

  /** The best lines, with their scores by all alignments, in the key of the best one. */
  weighBest(query, weights, most) {
    const runs = this.runs(query, this.exhaustive), { scores, shifts } = this.score(weights, runs);
    const lines = bestTunes(scores, runs.which, most).map((i) => ({ line: runs.which[i], shift: shifts[i] }));
    return this.weighAll(weights, lines);
  }

  /** The lines that a long query's parts may be from, with the sums of their scores. Python: _find_long. */
  addParts({ pitches, starts }) {
    const notes = pitches.length, count = Math.min(PARTS, Math.ceil((2 * notes) / PART) - 1);
    const totals = new Map(), step = (notes - PART) / (count - 1);
    for (let i = 0; i < count; i++) {
      const first = i + 1 < count ? Math.floor(i * step) : notes - PART, cut = (x) => x && x.slice(first, first + PART);
      const part = { pitches: cut(pitches), starts: cut(starts) }, best = new Map();
      const runs = this.runs(part, Math.floor(this.exhaustive / count)), { scores } = this.score(this.weigh(part), runs);
      runs.which.forEach((line, j) => best.set(line, Math.max(best.get(line) ?? 0, scores[j])));
      for (const [line, score] of best) totals.set(line, (totals.get(line) ?? 0) + score);
    }
    return Array.from(totals, ([line, total]) => ({ line, score: (total * notes) / (count * PART) }));
  }

  /** The runs of notes that are worth aligning: which line each is in, its first note and the one after its last. */
  runs(query, small) {
    if (this.lines.pitches.length > small) return this.candidates(query);
    const which = Int32Array.from({ length: this.length }, (_, i) => i), { offsets } = this.lines;
    return { which, firsts: offsets, lasts: offsets.subarray(1) };
  }

  /** Places that are close together become one run; one that crosses the border between two lines becomes two. */
  candidates({ pitches, starts }) {
    const { offsets } = this.lines, notes = pitches.length, room = 2 + Math.floor(notes / 6), total = offsets.at(-1);
    this.places ??= new Places(this.lines);
    const places = this.places.find(pitches, starts, Math.floor(CANDIDATES / Math.max(notes, Math.floor(notes ** 2 / FEWER))));
    const found = { which: [], firsts: [], lasts: [] };
    for (let i = 0, begin = 0; i < places.length; i++) {
      if (i + 1 < places.length && places[i + 1] - places[i] <= APART) continue;
      const first = Math.max(places[begin] - room, 0), last = Math.min(places[i] + notes + room, total);
      begin = i + 1;
      for (let line = searchRight(offsets, first) - 1; offsets[line] < last; line++) {
        const [from, to] = [Math.max(first, offsets[line]), Math.min(last, offsets[line + 1])];
        if (to - from < LEAST) continue;
        found.which.push(line);
        found.firsts.push(from);
        found.lasts.push(to);
      }
    }
    return found;
  }

  /**
   * How well the query fits each run, and the semitones from the query to it. A score is that of a random place in a
   * run; make it one in the whole line.
   */
  score(weights, { which, firsts, lasts }) {
    const { offsets, onsets } = this.lines;
    let longest = 0;
    for (let i = 0; i < which.length; i++) longest = Math.max(longest, lasts[i] - firsts[i]);
    const aligner = new Aligner(weights, longest);
    const scores = new Float64Array(which.length), shifts = new Int32Array(which.length);
    for (let i = 0; i < which.length; i++) {
      const whole = offsets[which[i]], origin = firsts[i] === whole ? 0 : onsets[firsts[i]];
      aligner.chain(this.lines, firsts[i], lasts[i], origin);
      shifts[i] = aligner.shift();
      scores[i] = Math.fround(aligner.score()) + Math.log((lasts[i] - firsts[i]) / (offsets[which[i] + 1] - whole));
    }
    return { scores, shifts };
  }

  /** The lines with their scores by all alignments. Python: weigh. */
  weighAll(weights, lines) {
    const { offsets, pitches, header } = this.lines, { steady } = this.fitted.costs;
    const score = ({ line, shift }) => {
      const part = pitches.subarray(offsets[line], offsets[line + 1]);
      return compareAll(header.mistakes, weights, part, shift, this.stepsOf(line), steady);
    };
    return lines.map((found) => ({ ...found, score: score(found) }));
  }

  /** log2 of how long each note of a line lasts until the next. */
  stepsOf(line) {
    const { offsets, onsets, durations, header } = this.lines, [first, last] = offsets.subarray(line, line + 2);
    const at = (j) => Math.fround(onsets[j] / header.ticks), end = Math.fround(durations[last - 1] / header.ticks);
    return Int32Array.from({ length: last - first }, (_, i) =>
      logOf(first + i + 1 < last ? at(first + i + 1) - at(first + i) : end));
  }

  /**
   * Find the tunes that a hum may be from, best first. Python: MelodyIndex.find of a Contour, but for the first pass,
   * which is quicker and rougher.
   *
   * @param {{pitches: Float32Array, confidences: Float32Array, rate: number}} contour from `listen`
   * @returns {object[]} as from `find`, without pairs
   */
  findContour(contour, k = 5) {
    const which = sketch(contour, this.lines, SKETCHED), { offsets, pitches } = this.lines;
    const matches = warpAll(contour, this.lines, which).map(({ cost, transposition, ...span }, i) => {
      const line = which[i], part = pitches.subarray(offsets[line], offsets[line + 1]);
      return { line, score: -cost, transposition: Math.round(transposition), pairs: [], pitches: part, ...span };
    });
    const best = matches.sort(byScore).slice(0, Math.max(k, RIVALS));
    const query = { kind: "sound", length: contour.pitches.length / contour.rate };
    return judge(this.fitted.confidence, best, query, this.length).slice(0, k).map((match) => this.describe(match));
  }

  match(weights, { line, score }) {
    const { offsets, pitches, onsets, durations, header } = this.lines;
    const [first, last] = offsets.subarray(line, line + 2);
    const aligner = new Aligner(weights, last - first);
    aligner.chain(this.lines, first, last, 0);
    const found = aligner.trace(), begin = first + found.start, end = first + found.end - 1;
    const span = { start: onsets[begin] / header.ticks, end: (onsets[end] + durations[end]) / header.ticks };
    return { line, ...found, score: score ?? found.score, ...span, pitches: pitches.subarray(first, last) };
  }

  describe({ line, probability, likely, score, start, end, transposition, pairs }) {
    const tune = this.lines.tune(line), { id, title } = tune;
    const found = { id, title, probability, likely, score, start, end, transposition, pairs };
    return { ...found, played: this.lines.played(line), tune };
  }
}

/** Best first; equally good ones are in the order of the collection. */
function byScore(a, b) {
  return b.score - a.score || a.line - b.line;
}

function queryOf(notes, rhythm) {
  const starts = rhythm ? notes.map((note) => note.start) : null;
  return { pitches: notes.map((note) => note.pitch), starts, kind: rhythm ? "notes" : "pitches", length: notes.length };
}

/** The best run of each of the k best lines; equally good ones are in the order of the collection. */
function bestTunes(scores, which, k) {
  const found = [], seen = new Set();
  for (const i of argsort(scores.map((score) => -score))) {
    if (seen.has(which[i])) continue;
    seen.add(which[i]);
    found.push(i);
    if (found.length === k) break;
  }
  return found;
}
