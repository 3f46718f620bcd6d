/**
 * Where in a line does a contour fit, at any key and tempo? Subsequence dynamic time warping, as in
 * musicai/search/warping.py and _fast/warping.py, for a few lines that `sketch` has found among all.
 */

import { argsort, median, rint } from "./numbers.js";

const RATE = 8; // frames per second
const PACES = Array.from({ length: 5 }, (_, i) => 0.14 * 2 ** (i / 2)); // seconds per note
const CHANGES = [2 ** -0.25, 1, 2 ** 0.25]; // of a pace, in the second comparison
const CAP = 2, OCTAVE = 0.25, BEND = 0.25; // semitones, semitones, and the cost of a step at half or twice the tempo
const REFINED = 100, WAYS = 2; // lines that are compared finely, and keys and paces for each
const KEYS = Array.from({ length: 12 }, (_, key) => key);
const TUNINGS = Array.from({ length: 16 }, (_, i) => (i < 8 ? i : i + 88) / 8 - 0.5); // two octaves, in steps of 1/8
const FULL = 32767, LONGEST = 4096, PITCHES = 224; // what is impossible; frames of a line; pitches a line may have
const SKETCH = { rate: 4, paces: [0.2, 0.4] }; // of the comparison with all lines

/** What it costs to hear a pitch where the line has another, from 0 to 1. Python: pitch_cost. */
function pitchCost(difference, octave) {
  const size = Math.abs(difference), folded = Math.abs(difference - 12 * rint(difference / 12));
  return Math.min(Math.min(size, octave + folded) / CAP, 1) ** 2;
}

/** The median pitch of each frame, 0 where there is none, and how sure it is. Python: query_frames. */
function queryFrames({ pitches, confidences, rate }, frames) {
  const count = Math.max(1, Math.trunc((pitches.length / rate) * frames)), groups = Array.from({ length: count }, () => []);
  pitches.forEach((_, i) => groups[Math.min(Math.trunc((i * frames) / rate), count - 1)].push(i));
  const voiced = (group) => group.map((i) => pitches[i]).filter((pitch) => !Number.isNaN(pitch));
  const mean = (group) => group.reduce((sum, i) => sum + confidences[i], 0) / group.length;
  const middle = (group) => (voiced(group).length ? median(voiced(group)) : 0);
  return { pitches: groups.map(middle), weights: groups.map(mean) };
}

/** A contour without the silence at both ends, in frames, moved to whole semitones. Python: _query. */
function queryOf(contour, rate) {
  const voiced = Array.from(contour.pitches, (pitch) => !Number.isNaN(pitch));
  const part = [voiced.indexOf(true), voiced.lastIndexOf(true) + 1];
  const trimmed = { ...contour, pitches: contour.pitches.subarray(...part), confidences: contour.confidences.subarray(...part) };
  const { pitches, weights } = queryFrames(trimmed, rate);
  const sum = (f) => pitches.reduce((total, pitch, t) => total + weights[t] * f(2 * Math.PI * pitch), 0);
  const tuning = Math.atan2(sum(Math.sin), sum(Math.cos)) / (2 * Math.PI);
  return { pitches: pitches.map((pitch) => pitch - tuning), weights, tuning, seconds: trimmed.pitches.length / contour.rate };
}

/**
 * The costs of a query's frames at each pitch that a line may have, moved by each of `lanes` semitones.
 *
 * @returns {{table: Int32Array, scale: number, frames: number, height: number, lanes: number}} (frames, height, lanes)
 */
function tableOf({ pitches, weights }, height, lanes, octave) {
  const size = lanes.length, costs = new Float64Array(pitches.length * height * size);
  let most = 1;
  pitches.forEach((pitch, t) => {
    let worst = 0;
    for (let row = 0; row < height; row++) {
      const place = height === PITCHES && row >= 176 ? row - PITCHES : row; // 0 to 175, then -48 to -1
      for (let lane = 0; lane < size; lane++) {
        const cost = weights[t] * pitchCost(pitch + lanes[lane] - place, octave);
        costs[(t * height + row) * size + lane] = cost;
        worst = Math.max(worst, cost);
      }
    }
    most += worst;
  });
  const scale = Math.min(300, (0.8 * FULL) / most);
  const sum = weights.reduce((a, b) => a + b, 0);
  return { table: Int32Array.from(costs, (cost) => rint(scale * cost)), scale, sum, frames: pitches.length, height, lanes: size };
}

/** Room for the totals of three rows, and where in the line each path started. */
class Work {
  constructor() {
    const row = () => new Int32Array((LONGEST + 2) * TUNINGS.length);
    this.totals = [row(), row(), row()];
    this.starts = [row(), row(), row()];
    this.line = new Int32Array(LONGEST);
  }

  /**
   * Read a line every `step` beats, again from its start after its end. Python: line_frames.
   *
   * @returns {number} frames
   */
  read({ pitches, starts, end }, step, more, shift, height) {
    const count = Math.max(1, Math.trunc((end - starts[0]) / step)), frames = Math.min(count + Math.min(more, count), LONGEST);
    for (let u = 0, at = 0; u < Math.min(count, frames); u++) {
      const middle = starts[0] + (u + 0.5) * step;
      while (at + 1 < starts.length && starts[at + 1] <= middle) at++;
      this.line[u] = (((pitches[at] - shift) % height) + height) % height;
    }
    for (let u = count; u < frames; u++) this.line[u] = this.line[u - count];
    return frames;
  }

  /** Which of the three rows is the last of the dynamic programming over `cells` frames of the line. Python: _warp. */
  warp(query, bend, cells, tracked) {
    const { totals, starts } = this, { lanes, height, table } = query, width = (cells + 2) * lanes;
    for (const row of totals) row.fill(FULL, 0, width);
    totals[2].fill(0, lanes, (cells + 1) * lanes); // before the first frame, a path may be anywhere
    if (tracked) for (let u = 0; u < cells; u++) starts[2].fill(u, (u + 1) * lanes, (u + 2) * lanes);
    for (let t = 0; t < query.frames; t++) {
      const [one, two, out] = [(t + 2) % 3, (t + 1) % 3, t % 3];
      const cost = t * height * lanes, before = Math.max(t - 1, 0) * height * lanes;
      fillRow(this, one, two, out, table, before, cost, cells, lanes, bend, tracked);
      if (t === 0) totals[2].fill(FULL, 0, width);
    }
    return (query.frames - 1) % 3;
  }
}

/** One row: from one frame of the query to the next, a path moves one frame in the line, or two; or one in two. */
function fillRow(work, one, two, out, table, before, cost, cells, lanes, bend, tracked) {
  const { line } = work, first = work.totals[one], second = work.totals[two], now = work.totals[out];
  const [from, fromTwo, to] = [work.starts[one], work.starts[two], work.starts[out]];
  for (let u = 0; u < cells; u++) {
    const cell = u * lanes, after = cell + lanes, here = after + lanes, price = line[u] * lanes;
    for (let lane = 0; lane < lanes; lane++) {
      let best = first[after + lane], origin = after;
      const skip = first[cell + lane] + bend, twice = second[after + lane] + table[before + price + lane] + bend;
      if (skip < best) {
        best = skip;
        origin = cell;
      }
      const late = twice < best;
      if (late) best = twice;
      if (tracked) to[here + lane] = late ? fromTwo[after + lane] : from[origin + lane];
      const total = best + table[cost + price + lane];
      now[here + lane] = total < FULL ? total : FULL;
    }
  }
}

/** What of a line is compared: its notes, where they start in beats, where it ends, and how far apart they are. */
function readLine({ pitches, onsets, durations, offsets, header }, i) {
  const [first, last] = offsets.subarray(i, i + 2), starts = Float64Array.from(onsets.subarray(first, last), (x) => x / header.ticks);
  const end = starts.at(-1) + durations[last - 1] / header.ticks;
  let logs = 0;
  for (let k = 1; k < starts.length; k++) logs += Math.log(starts[k] - starts[k - 1]);
  const beats = starts.length > 1 ? Math.exp(logs / (starts.length - 1)) : 1; // between notes: Python, beats_per_note
  return { pitches: pitches.subarray(first, last), starts, end, beats };
}

/** The cheapest path in each lane: costs per frame of the query, and in beats where it starts and ends. */
function compare(work, query, line, { pace, shift, rate, tracked }) {
  const step = line.beats / (rate * pace), { lanes } = query;
  const cells = work.read(line, step, query.frames, shift, query.height);
  const last = work.warp(query, rint(query.scale * BEND), cells, tracked), totals = work.totals[last];
  return Array.from({ length: lanes }, (_, lane) => {
    let cost = FULL, at = 0;
    for (let u = 0; u < cells; u++) {
      if (totals[(u + 2) * lanes + lane] < cost) cost = totals[(u + 2) * lanes + lane], (at = u);
    }
    const start = tracked ? line.starts[0] + work.starts[last][(at + 2) * lanes + lane] * step : NaN;
    return { cost: cost === FULL ? Infinity : cost / (query.scale * query.sum), start, end: line.starts[0] + (at + 1) * step };
  });
}

/** The lines that a contour fits best in a quick comparison with all of them, by pitch class and in wide frames. */
export function sketch(contour, lines, count) {
  const query = tableOf(queryOf(contour, SKETCH.rate), 12, KEYS, 0), work = new Work(), costs = new Float64Array(lines.length);
  for (let i = 0; i < lines.length; i++) {
    const line = readLine(lines, i), ways = SKETCH.paces.map((pace) => compare(work, query, line, { pace, shift: 0, rate: SKETCH.rate }));
    costs[i] = Math.min(...ways.flat().map((way) => way.cost));
  }
  return argsort(costs).slice(0, count);
}

/**
 * Compare a contour with lines, first by pitch class in 12 keys, then finely. Python: warp_all.
 *
 * @param {number[]} which the lines, at most REFINED
 * @returns {{cost, start, end, transposition}[]} for each line; start and end in beats, transposition in semitones
 */
export function warpAll(contour, lines, which) {
  const sung = queryOf(contour, RATE), work = new Work();
  const rough = tableOf(sung, 12, KEYS, 0), fine = tableOf(sung, PITCHES, TUNINGS, OCTAVE);
  const middle = median(sung.pitches.filter((_, t) => sung.weights[t] > 0));
  return which.map((i) => {
    const line = readLine(lines, i), costs = PACES.flatMap((pace) => compare(work, rough, line, { pace, shift: 0, rate: RATE }));
    const best = argsort(costs.map((way) => way.cost)).slice(0, WAYS);
    const ways = CHANGES.flatMap((change) => best.map((way) => ({ pace: PACES[Math.floor(way / 12)] * change, key: way % 12 })));
    return refine(work, fine, line, ways, { middle, tuning: sung.tuning });
  });
}

/** The best of all ways to compare a line finely. Python: _refine. */
function refine(work, query, line, ways, { middle, tuning }) {
  const found = ways.flatMap(({ pace, key }) => {
    const shift = key + 12 * Math.floor((median(line.pitches) - middle - key) / 12);
    const lanes = compare(work, query, line, { pace, shift, rate: RATE, tracked: true });
    return lanes.map((lane, i) => ({ ...lane, transposition: shift + TUNINGS[i] - tuning }));
  });
  return found.reduce((best, way) => (way.cost < best.cost ? way : best));
}
