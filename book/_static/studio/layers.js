// The layers of the tune model, each for four tunes side by side, so that every weight is fetched once for all four:
// number c of lane i is at place 4 c + i of every array of activations.

/** The number of tunes that are written side by side. */
export const LANES = 4;

/**
 * A layer: y = W x + b.
 * @typedef {{weight: Float32Array, bias: Float32Array, rows: number, columns: number}} Layer
 */

/**
 * Read tensors from the bytes that scripts/studio_tunes.py writes: the length of a header, the header in JSON, and the
 * tensors one after another, float32 or a float32 scale per row and int8.
 * @param {Uint8Array} bytes
 * @returns {{header: object, tensors: Map<string, {values: Float32Array, rows: number, columns: number}>}}
 */
export function readTensors(bytes) {
  const length = new DataView(bytes.buffer, bytes.byteOffset).getUint32(0, true);
  const header = JSON.parse(new TextDecoder().decode(bytes.subarray(4, 4 + length)));
  const tensors = new Map();
  let start = 4 + length;
  const take = (Type, count) => {
    const end = start + count * Type.BYTES_PER_ELEMENT;
    const taken = new Type(bytes.slice(start, end).buffer);
    start = end;
    return taken;
  };
  for (const { name, type, shape } of header.tensors) {
    const [rows, columns = 1] = shape;
    const scales = type === "int8" ? take(Float32Array, rows) : null;
    const stored = take(scales ? Int8Array : Float32Array, rows * columns);
    const values = scales ? Float32Array.from(stored, (q, i) => q * scales[Math.floor(i / columns)]) : stored;
    tensors.set(name, { values, rows, columns });
  }
  return { header, tensors };
}

/**
 * y = W x + b in every lane, or y += W x + b; two rows at a time, so that each x is fetched half as often.
 * @param {Layer} layer with an even number of rows
 * @param {Float64Array} x
 * @param {Float64Array} y
 */
export function apply({ weight, bias, rows, columns }, x, y, add = false) {
  const size = columns * LANES;
  for (let r = 0; r < rows; r += 2) {
    let k = r * columns;
    let l = k + columns;
    let y0 = 0, y1 = 0, y2 = 0, y3 = 0; // of the first row
    let z0 = 0, z1 = 0, z2 = 0, z3 = 0; // and of the second
    for (let i = 0; i < size; i += LANES) {
      const v = weight[k++];
      const w = weight[l++];
      const x0 = x[i], x1 = x[i + 1], x2 = x[i + 2], x3 = x[i + 3];
      y0 += v * x0;
      y1 += v * x1;
      y2 += v * x2;
      y3 += v * x3;
      z0 += w * x0;
      z1 += w * x1;
      z2 += w * x2;
      z3 += w * x3;
    }
    set(y, r * LANES, add, bias[r], y0, y1, y2, y3);
    set(y, (r + 1) * LANES, add, bias[r + 1], z0, z1, z2, z3);
  }
}

/** Set one channel of y to the sums of all lanes, or add them to it. */
function set(y, j, add, b, y0, y1, y2, y3) {
  y[j] = (add ? y[j] : 0) + y0 + b;
  y[j + 1] = (add ? y[j + 1] : 0) + y1 + b;
  y[j + 2] = (add ? y[j + 2] : 0) + y2 + b;
  y[j + 3] = (add ? y[j + 3] : 0) + y3 + b;
}

/** Set negative numbers to zero. */
export function rectify(x) {
  for (let i = 0; i < x.length; i++) if (x[i] < 0) x[i] = 0;
}

/** z = tanh(filter) sigmoid(gate); the filters come first. The tanh is 1 - 2 / (1 + exp(2 x)), which is faster. */
export function gate(gates, z) {
  for (let c = 0; c < z.length; c++) {
    z[c] = (1 - 2 / (1 + Math.exp(2 * gates[c]))) / (1 + Math.exp(-gates[c + z.length]));
  }
}

/** Add a row of a table to one lane of `y`, from place `start` on. */
export function addRow(table, row, size, y, start) {
  for (let c = 0, k = row * size, i = start; c < size; c++, k++, i += LANES) y[i] += table[k];
}

/** Write the scores of one key at places j to j + 3: the products of channels `from` to `to`, lane by lane. */
export function scoreKey(query, key, from, to, scale, scores, j) {
  let s0 = 0, s1 = 0, s2 = 0, s3 = 0;
  for (let i = from; i < to; i += LANES) {
    s0 += query[i] * key[i];
    s1 += query[i + 1] * key[i + 1];
    s2 += query[i + 2] * key[i + 2];
    s3 += query[i + 3] * key[i + 3];
  }
  scores[j] = s0 / scale;
  scores[j + 1] = s1 / scale;
  scores[j + 2] = s2 / scale;
  scores[j + 3] = s3 / scale;
}

/** Add to channels `from` to `to` of `found` one value, weighted lane by lane. */
export function addValue(found, value, from, to, weights, j) {
  const w0 = weights[j], w1 = weights[j + 1], w2 = weights[j + 2], w3 = weights[j + 3];
  for (let i = from; i < to; i += LANES) {
    found[i] += w0 * value[i];
    found[i + 1] += w1 * value[i + 1];
    found[i + 2] += w2 * value[i + 2];
    found[i + 3] += w3 * value[i + 3];
  }
}

/** Turn one lane of scores into weights that sum to 1. */
export function softmax(scores, count, lane) {
  let most = -Infinity;
  let total = 0;
  const end = count * LANES;
  for (let i = lane; i < end; i += LANES) most = Math.max(most, scores[i]);
  for (let i = lane; i < end; i += LANES) {
    scores[i] = Math.exp(scores[i] - most);
    total += scores[i];
  }
  for (let i = lane; i < end; i += LANES) scores[i] /= total;
}
