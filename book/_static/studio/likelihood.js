/** How likely someone makes a query of a line, by all of its alignments: musicai/search/alignment.py, `likelihood`. */

import { rint } from "./numbers.js";

/**
 * The forward algorithm: the sum over all ways to explain each note of the query in one key, on average over tempos.
 *
 * @param {{errors: number[], extra: number[], missing: number, inTime: number[]}} mistakes how likely each is, by its
 *   size in semitones, or in parts of an octave of time
 * @param {Int32Array} query (notes,) MIDI numbers
 * @param {Uint8Array} line (notes,) MIDI numbers
 * @param {number} shift semitones from the query to the line
 * @param {Int32Array} steps (notes - 1,) log2 of the times between the query's notes; empty without rhythm
 * @param {Int32Array} lineSteps (notes,) likewise of the line
 * @param {number[]} tempos what to add to the line's steps
 */
function likelihood({ errors, extra, missing, inTime }, query, line, shift, steps, lineSteps, tempos) {
  const sizeOf = (interval) => Math.min(Math.abs(interval), 13), many = tempos.length, late = inTime.length - 1;
  const extras = Float64Array.from(query, (pitch, i) => (i ? extra[sizeOf(pitch - query[i - 1])] : 0));
  // for each tempo, with the first i notes explained, up to this note of the line; it may start anywhere
  const reached = new Float64Array((query.length + 1) * many).fill(1, 0, many), before = new Float64Array(many);
  let total = 0;
  for (let j = 0; j < line.length; j++) {
    before.fill(1);
    for (let i = 0; i < query.length; i++) {
      const error = errors[sizeOf(line[j] - query[i] - shift)], timed = i < steps.length;
      const off = timed ? steps[i] - lineSteps[j] : 0;
      for (let k = 0, at = i * many; k < many; k++, at++) {
        const here = timed ? error * inTime[Math.min(Math.abs(off - tempos[k]), late)] : error;
        const now = before[k] * here + reached[at] * extras[i] + reached[at + many] * missing;
        before[k] = reached[at + many];
        reached[at + many] = now;
      }
    }
    for (let k = 0; k < many; k++) total += reached[query.length * many + k];
  }
  return total / many / line.length;
}

const mean = (values) => values.reduce((a, b) => a + b, 0) / values.length;

/**
 * How much likelier a query is as part of a line, by all of its alignments, than as notes at large, in nats.
 * Python: _fast/alignment.weigh.
 *
 * @param {object} weights of the query, from `weigh` in alignment.js
 * @param {Int32Array} lineSteps (notes,) log2 of how long each note of the line lasts
 * @param {number} steady the cost of a note in time
 */
export function compareAll(mistakes, weights, line, shift, lineSteps, steady) {
  const { pitches, gains, beats, spans, units, rhythm } = weights, n = pitches.length;
  const sum = (gains.reduce((a, b) => a + b, 0) + beats.reduce((a, b) => a + b, 0)) / units;
  if (!rhythm) return Math.log(likelihood(mistakes, pitches, line, shift, [], lineSteps, [0]) + 1e-300) + sum;
  const steps = Int32Array.from({ length: n - 1 }, (_, i) => spans[i * (n + 1) + 1]);
  const usual = rint(mean(steps) - mean(lineSteps)), tempos = Array.from({ length: 21 }, (_, k) => usual + 4 * k - 40);
  const found = likelihood(mistakes, pitches, line, shift, steps, lineSteps, tempos);
  return Math.log(found + 1e-300) + sum - (n - 1) * (steady + Math.log(mistakes.spread));
}
