/** How likely someone makes a query of a line, by all of its alignments: musicai/search/alignment.py, `likelihood`. */

/**
 * The forward algorithm: the sum over all ways to explain each note of the query in one key.
 *
 * @param {{errors: number[], extra: number[], missing: number}} mistakes how likely each is, by its size in semitones
 * @param {Int32Array} query (notes,) MIDI numbers
 * @param {Uint8Array} line (notes,) MIDI numbers
 * @param {number} shift semitones from the query to the line
 */
function likelihood({ errors, extra, missing }, query, line, shift) {
  const sizeOf = (interval) => Math.min(Math.abs(interval), 13);
  const extras = Float64Array.from(query, (pitch, i) => (i ? extra[sizeOf(pitch - query[i - 1])] : 0));
  const reached = new Float64Array(query.length + 1); // with the first i notes explained, up to this note of the line
  let total = 0;
  for (const pitch of line) {
    let before = (reached[0] = 1); // it may start anywhere
    for (let i = 0; i < query.length; i++) {
      const now = before * errors[sizeOf(pitch - query[i] - shift)] + reached[i] * extras[i] + reached[i + 1] * missing;
      before = reached[i + 1];
      reached[i + 1] = now;
    }
    total += reached[query.length];
  }
  return total / line.length;
}

/**
 * How much likelier a query is as part of a line, by all of its alignments, than as notes at large, in nats.
 * Python: _fast/alignment.weigh.
 *
 * @param {object} weights of the query, from `weigh` in alignment.js
 */
export function compareAll(mistakes, weights, line, shift) {
  const sum = weights.gains.reduce((a, b) => a + b, 0) / weights.units;
  return Math.log(likelihood(mistakes, weights.pitches, line, shift) + 1e-300) + sum;
}
