/** How likely someone makes a query of a line, by all of its alignments: musicai/search/alignment.py, `likelihood`. */

import { rint } from "./numbers.js";

/**
 * The forward algorithm: the sum over all ways to explain each note of the query in one key and at one tempo.
 *
 * @param {{errors: number[], extra: number[], missing: number, inTime: number[]}} mistakes how likely each is, by its
 *   size in semitones, or in parts of an octave of time
 * @param {Int32Array} query (notes,) MIDI numbers
 * @param {Uint8Array} line (notes,) MIDI numbers
 * @param {number} shift semitones from the query to the line
 * @param {Int32Array|null} steps (notes - 1,) log2 of the times between the query's notes; null without rhythm
 * @param {Int32Array} lineSteps (notes,) likewise of the line
 * @param {number} tempo what to add to the line's steps
 */
function likelihood({ errors, extra, missing, inTime }, query, line, shift, steps, lineSteps, tempo) {
  const sizeOf = (interval) => Math.min(Math.abs(interval), 13), timed = steps ? steps.length : 0;
  const extras = Float64Array.from(query, (pitch, i) => (i ? extra[sizeOf(pitch - query[i - 1])] : 0));
  const reached = new Float64Array(query.length + 1); // with the first i notes explained, up to this note of the line
  let total = 0;
  for (let j = 0; j < line.length; j++) {
    let before = (reached[0] = 1); // it may start anywhere
    for (let i = 0; i < query.length; i++) {
      let error = errors[sizeOf(line[j] - query[i] - shift)];
      if (i < timed) error *= inTime[Math.min(Math.abs(steps[i] - lineSteps[j] - tempo), inTime.length - 1)];
      const now = before * error + reached[i] * extras[i] + reached[i + 1] * missing;
      before = reached[i + 1];
      reached[i + 1] = now;
    }
    total += reached[query.length];
  }
  return total / line.length;
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
  if (!rhythm) return Math.log(likelihood(mistakes, pitches, line, shift, null) + 1e-300) + sum;
  const steps = Int32Array.from({ length: n - 1 }, (_, i) => spans[i * (n + 1) + 1]);
  const usual = rint(mean(steps) - mean(lineSteps)), found = [];
  for (let tempo = -40; tempo <= 40; tempo += 4)
    found.push(likelihood(mistakes, pitches, line, shift, steps, lineSteps, usual + tempo));
  return Math.log(mean(found) + 1e-300) + sum - (n - 1) * (steady + Math.log(mistakes.spread));
}
