/**
 * Where in a line does a contour fit, at any key and tempo? Subsequence dynamic time warping, as in
 * musicai/search/warping.py and _fast/warping.py, for a few lines that `sketch` has found among all.
 */

import { argsort, median, rint } from "./numbers.js";
import { makeRow } from "./simd.js";

const RATE = 8; // frames per second
const REFINEMENTS = [[RATE, Infinity], [2 * RATE, 10]]; // frames per second, and how many lines are compared so finely
const PACES = Array.from({ length: 5 }, (_, i) => 0.14 * 2 ** (i / 2)); // seconds per note
const CHANGES = [2 ** -0.25, 1, 2 ** 0.25]; // of a pace, in the second comparison
const CAP = 2, OCTAVE = 0.25, BEND = 0.25; // semitones, semitones, and the cost of a step at half or twice the tempo
const WAYS = 2; // keys and paces per line that are compared finely
const LANES = 16, KEYS = Array.from({ length: LANES }, (_, key) => key); // what is compared at once; 12 keys are used
const TUNINGS = Array.from({ length: LANES }, (_, i) => (i < 8 ? i : i + 88) / 8 - 0.5); // two octaves, in steps of 1/8
const FULL = 32767, LONGEST = 8192, PITCHES = 224; // what is impossible; frames of a line; pitches a line may have
const SKETCH = { rate: 4, paces: [0.2, 0.4] }; // of the comparison with all lines

/** What it costs to hear a pitch where the line has another, from 0 to 1. Python: pitch_cost. */
function pitchCost(difference, octave) {
  const size = Math.abs(difference), folded = Math.abs(difference - 12 * rint(difference / 12));
  return Math.min(Math.min(size, octave + folded) / CAP, 1) ** 2;
}

/** The median pitch of each frame, 0 where there is none, and how sure it is. Python: query_frames. */
function queryFrames({ pitches, confidences, rate }, frames) {
  const count = Math.max(1, Math.trunc((pitches.length / rate) * frames));
  const groups = Array.from({ length: count }, () => []);
  pitches.forEach((_, i) => groups[Math.min(Math.trunc((i * frames) / rate), count - 1)].push(i));
  const voiced = (group) => group.map((i) => pitches[i]).filter((pitch) => !Number.isNaN(pitch));
  const mean = (group) => group.reduce((sum, i) => sum + confidences[i], 0) / group.length;
  const middle = (group) => (voiced(group).length ? median(voiced(group)) : 0);
  return { pitches: groups.map(middle), weights: groups.map(mean) };
}

/** A contour without the silence at both ends, in frames, moved to whole semitones. Python: _query. */
function queryOf(contour, rate) {
  const voiced = Array.from(contour.pitches, (pitch) => !Number.isNaN(pitch));
  const trim = (values) => values.subarray(voiced.indexOf(true), voiced.lastIndexOf(true) + 1);
  const part = { pitches: trim(contour.pitches), confidences: trim(contour.confidences), rate: contour.rate };
  const { pitches, weights } = queryFrames(part, rate);
  const sum = (f) => pitches.reduce((total, pitch, t) => total + weights[t] * f(2 * Math.PI * pitch), 0);
  const tuning = Math.atan2(sum(Math.sin), sum(Math.cos)) / (2 * Math.PI);
  return { pitches: pitches.map((pitch) => pitch - tuning), weights, tuning };
}

/** A query's costs in WebAssembly's memory, with room for the lines that it is compared with. */
class Warper {
  /**
   * @param {{pitches: number[], weights: number[]}} query
   * @param {number} height pitches that a line may have: 12, or PITCHES
   * @param {number[]} lanes semitones by which the query is moved
   * @param {number} octave as for `pitchCost`
   */
  constructor({ pitches, weights }, height, lanes, octave) {
    const row = (LONGEST + 2) * LANES, frames = pitches.length, cells = frames * height * LANES;
    const pages = Math.ceil((2 * (3 * row + cells) + 4 * LONGEST) / 65536);
    const memory = new WebAssembly.Memory({ initial: pages });
    this.totals = [0, 1, 2].map((i) => new Int16Array(memory.buffer, 2 * i * row, row));
    this.table = new Int16Array(memory.buffer, 6 * row, cells);
    this.line = new Int32Array(memory.buffer, 6 * row + 2 * cells, LONGEST);
    this.fillRow = makeRow(memory);
    Object.assign(this, { frames, height, sum: weights.reduce((a, b) => a + b, 0) });
    this.fillTable(pitches, weights, lanes, octave);
  }

  /** The costs (frames, height, LANES) in whole numbers that never add up to more than FULL. */
  fillTable(pitches, weights, lanes, octave) {
    const costs = new Float64Array(this.table.length);
    let most = 1;
    for (let t = 0, at = 0; t < pitches.length; t++) {
      let worst = 0;
      for (let row = 0; row < this.height; row++) {
        const place = this.height === PITCHES && row >= 176 ? row - PITCHES : row; // 0 to 175, then -48 to -1
        for (const lane of lanes) {
          costs[at] = weights[t] * pitchCost(pitches[t] + lane - place, octave);
          worst = Math.max(worst, costs[at++]);
        }
      }
      most += worst;
    }
    this.scale = Math.min(300, (0.8 * FULL) / most);
    this.bend = rint(this.scale * BEND);
    for (let at = 0; at < costs.length; at++) this.table[at] = rint(this.scale * costs[at]);
  }

  /** Read a line every `step` beats, again from its start after its end; return the frames. Python: line_frames. */
  read({ pitches, starts, end }, step, shift) {
    const { line, height, frames } = this, count = Math.max(1, Math.trunc((end - starts[0]) / step));
    this.cells = Math.min(count + Math.min(frames, count), LONGEST);
    for (let u = 0, at = 0; u < Math.min(count, this.cells); u++) {
      const middle = starts[0] + (u + 0.5) * step;
      while (at + 1 < starts.length && starts[at + 1] <= middle) at++;
      line[u] = 2 * LANES * ((((pitches[at] - shift) % height) + height) % height);
    }
    for (let u = count; u < this.cells; u++) line[u] = line[u - count];
  }

  /** The cost of the cheapest path through the line in each lane, in whole numbers. Python: _warp. */
  warp(costs) {
    const { totals, table, line, cells, frames, height, bend } = this;
    const width = (cells + 2) * LANES, size = 2 * height * LANES;
    for (const row of totals) row.fill(FULL, 0, width);
    totals[2].fill(0, LANES, (cells + 1) * LANES); // before the first frame, a path may be anywhere
    const at = totals.map((row) => row.byteOffset), end = line.byteOffset + 4 * cells;
    for (let t = 0, cost = table.byteOffset; t < frames; t++, cost += size) {
      const before = t ? cost - size : cost;
      this.fillRow(at[(t + 2) % 3], at[(t + 1) % 3], at[t % 3], before, cost, line.byteOffset, end, bend);
      if (t === 0) totals[2].fill(FULL, 0, width);
    }
    const last = totals[(frames - 1) % 3];
    costs.fill(FULL);
    for (let i = 2 * LANES; i < width; i++) if (last[i] < costs[i % LANES]) costs[i % LANES] = last[i];
  }

  /** In which frames of the line the cheapest path in one lane starts and ends. Python: warping.warp. */
  path(lane) {
    const { table, line, cells, frames, height, bend } = this, size = height * LANES;
    const row = (value) => new Float64Array(cells + 2).fill(value);
    const cost = (t, u) => table[Math.max(t, 0) * size + line[u] / 2 + lane];
    let [one, two, from, fromTwo] = [row(0), row(Infinity), row(0).map((_, u) => u - 1), row(0)];
    one[0] = one[cells + 1] = Infinity;
    for (let t = 0; t < frames; t++) {
      const out = row(Infinity), to = row(0);
      for (let u = 0; u < cells; u++) {
        const step = one[u + 1], skip = one[u] + bend, twice = two[u + 1] + cost(t - 1, u) + bend;
        const best = Math.min(step, skip, twice);
        out[u + 2] = best + cost(t, u);
        to[u + 2] = step === best ? from[u + 1] : skip === best ? from[u] : fromTwo[u + 1];
      }
      [one, two, from, fromTwo] = [out, t ? one : row(Infinity), to, from];
    }
    const end = one.indexOf(one.reduce((a, b) => Math.min(a, b)));
    return { first: from[end], last: end - 1 };
  }
}

/** What of a line is compared: its notes, where they start in beats, where it ends, and how far apart they are. */
function readLine({ pitches, onsets, durations, offsets, header }, i) {
  const [first, last] = offsets.subarray(i, i + 2), { ticks } = header;
  const starts = Float64Array.from(onsets.subarray(first, last), (onset) => onset / ticks);
  const end = starts.at(-1) + durations[last - 1] / ticks;
  let logs = 0;
  for (let k = 1; k < starts.length; k++) logs += Math.log(starts[k] - starts[k - 1]);
  const beats = starts.length > 1 ? Math.exp(logs / (starts.length - 1)) : 1; // between notes: Python, beats_per_note
  return { pitches: pitches.subarray(first, last), starts, end, beats };
}

/** The costs per frame of all ways to compare a line: at each of `paces`, moved by `shifts` and by each lane. */
function compare(warper, line, paces, shifts, rate) {
  const costs = new Float64Array(paces.length * LANES), scale = warper.scale * warper.sum;
  paces.forEach((pace, i) => {
    warper.read(line, line.beats / (rate * pace), shifts[i]);
    warper.warp(costs.subarray(i * LANES, (i + 1) * LANES));
  });
  return costs.map((cost) => (cost === FULL ? Infinity : cost / scale));
}

/** The lines that a contour fits best in a quick comparison with all of them, by pitch class and in wide frames. */
export function sketch(contour, lines, count) {
  const { rate, paces } = SKETCH, warper = new Warper(queryOf(contour, rate), 12, KEYS, 0);
  const costs = new Float64Array(lines.length), still = paces.map(() => 0);
  for (let i = 0; i < lines.length; i++) {
    costs[i] = Math.min(...compare(warper, readLine(lines, i), paces, still, rate));
  }
  return argsort(costs).slice(0, count);
}

/**
 * Compare a contour with lines, first by pitch class in 12 keys, then finely. Python: warp_all.
 *
 * @param {number[]} which the lines
 * @returns {{cost, start, end, transposition}[]} for each line; start and end in beats, transposition in semitones
 */
export function warpAll(contour, lines, which) {
  const still = PACES.map(() => 0), rough = new Warper(queryOf(contour, RATE), 12, KEYS, 0);
  const ways = which.map((i) => {
    const costs = compare(rough, readLine(lines, i), PACES, still, RATE);
    return argsort(costs).filter((way) => way % LANES < 12).slice(0, WAYS);
  });
  const found = which.map(() => ({ cost: 0 }));
  for (const [rate, count] of REFINEMENTS) {
    const sung = queryOf(contour, rate), warper = new Warper(sung, PITCHES, TUNINGS, OCTAVE);
    const order = argsort(found.map(({ cost }) => cost)), best = order.slice(0, count), rest = order.slice(count);
    for (const at of best) found[at] = refine(warper, readLine(lines, which[at]), ways[at], sung, rate);
    const reached = Math.max(0, ...best.map((at) => found[at].cost).filter(Number.isFinite));
    const more = rest.length ? Math.max(0, reached - found[rest[0]].cost) : 0; // the others come after these
    for (const at of rest) found[at].cost += more;
  }
  return found;
}

/** The best of all ways to compare a line finely. Python: _refine. */
function refine(warper, line, ways, sung, rate) {
  const middle = median(sung.pitches.filter((_, t) => sung.weights[t] > 0)), center = median(line.pitches);
  const shift = (key) => key + 12 * Math.floor((center - middle - key) / 12);
  const paces = CHANGES.flatMap((change) => ways.map((way) => PACES[Math.floor(way / LANES)] * change));
  const shifts = CHANGES.flatMap(() => ways.map((way) => shift(way % LANES)));
  const costs = compare(warper, line, paces, shifts, rate), best = argsort(costs)[0], way = Math.floor(best / LANES);
  const step = line.beats / (rate * paces[way]);
  warper.read(line, step, shifts[way]);
  const { first, last } = warper.path(best % LANES), beat = (frame) => line.starts[0] + frame * step;
  const transposition = shifts[way] + TUNINGS[best % LANES] - sung.tuning;
  return { cost: costs[best], start: beat(first), end: beat(last), transposition };
}
