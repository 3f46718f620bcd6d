// The distilled instrument: a small network that turns a note into curves, which synthesis.js turns into sound. The
// counterpart of musicai/performance/distilled.py.

import { FRAMES, HARMONICS, HOP, ROWS, SAMPLE_RATE, addHarmonics, audible, extend, filterNoise, regularise } from "./synthesis.js";

const SLOPE = 0.2; // of the leaky ReLUs
const GAIN = 0.6; // of a melody: the last note still sounds while the next one begins
const RELEASE = 0.15; // seconds
const TAKES = 2; // of the same note

/**
 * Random numbers that are the same everywhere (mulberry32).
 * @param {number} seed
 * @returns {() => number} a function whose values are uniform in [0, 1)
 */
export function random(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

/** One draw from a normal distribution (Box and Muller). */
function normal(draw) {
  return Math.sqrt(-2 * Math.log(1 - draw())) * Math.cos(2 * Math.PI * draw());
}

/** The number that 16 bits stand for (IEEE 754 half precision; no model has infinite weights). */
function halfToNumber(bits) {
  const exponent = (bits >> 10) & 31;
  const size = exponent ? (1024 + (bits & 1023)) * 2 ** (exponent - 25) : (bits & 1023) * 2 ** -24;
  return bits & 0x8000 ? -size : size;
}

/** Read a safetensors file of float16: its tensors by name, and its metadata. */
function readSafetensors(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const size = view.getUint32(0, true);
  const { __metadata__: metadata, ...entries } = JSON.parse(new TextDecoder().decode(bytes.subarray(8, 8 + size)));
  const tensors = {};
  for (const [name, { data_offsets: [from, to] }] of Object.entries(entries)) {
    const length = (to - from) / 2;
    tensors[name] = Float32Array.from({ length }, (_, i) => halfToNumber(view.getUint16(8 + size + from + 2 * i, true)));
  }
  return { tensors, metadata };
}

/** A matrix product: a (n, k) times b (k, m), both by rows. */
function multiply(a, b, k) {
  const n = a.length / k;
  const m = b.length / k;
  const product = new Float64Array(n * m);
  for (let i = 0; i < n; i++) {
    for (let j = 0; j < k; j++) {
      const factor = a[i * k + j];
      const row = j * m;
      if (factor === 0) continue;
      for (let c = 0, p = i * m; c < m; c++, p++) product[p] += factor * b[row + c];
    }
  }
  return product;
}

/** What plays notes: a network, and a bank of oscillators with filtered noise. */
export class Instrument {
  /** @param {Uint8Array} bytes a safetensors file as scripts/studio_instrument.py writes it */
  constructor(bytes) {
    const { tensors, metadata } = readSafetensors(bytes);
    this.tensors = tensors;
    /** [name, lowest pitch, highest pitch] of each instrument. */
    this.ranges = JSON.parse(metadata.config).instruments;
    /** The names of the instruments. */
    this.names = this.ranges.map(([name]) => name);
  }

  /** y = W x + b, for a layer of the network. */
  #linear(layer, x) {
    const product = multiply(this.tensors[`curves.${layer}.weight`], x, x.length);
    return product.map((value, i) => value + this.tensors[`curves.${layer}.bias`][i]);
  }

  /**
   * The curves of a note, one row of `FRAMES` values after another.
   * @param {{pitch: number, velocity: number, z: ArrayLike<number>, name: string}} note z: 16 numbers, one take each
   * @returns {Float64Array}
   */
  curves({ pitch, velocity, z, name }) {
    const place = this.names.indexOf(name);
    if (place < 0) throw new Error(`there is no instrument ${name}: choose from ${this.names.join(", ")}`);
    const embedding = this.tensors["curves.condition.instrument.weight"];
    const size = embedding.length / this.names.length;
    const bumps = Array.from(this.tensors["curves.condition.centres"], (c) => 2 * Math.exp(-((pitch - c) ** 2) / 18));
    const loud = (2 * velocity) / 127 - 1;
    const described = [...embedding.subarray(place * size, (place + 1) * size), ...bumps, (pitch - 60) / 24, loud, loud ** 2];
    const norm = Math.hypot(...z);
    let h = [...this.#linear("condition.mix", described), ...Array.from(z, (x) => (4 * x) / norm)];
    for (const layer of ["dense.0", "dense.1"]) h = this.#linear(layer, h).map((x) => (x > 0 ? x : SLOPE * x));
    const { "curves.rows": rows, "curves.times": times } = this.tensors;
    const across = rows.length / ROWS;
    const weighted = multiply(rows, this.#linear("weights", h), across);
    const [wide, count] = [weighted.length / ROWS, audible(pitch)];
    for (const first of [0, HARMONICS]) weighted.fill(0, (first + count) * wide, (first + HARMONICS) * wide); // spared
    return regularise(multiply(weighted, times, times.length / FRAMES), pitch);
  }

  /**
   * One note as sound: it lasts `seconds`, and is then released.
   * @param {{pitch: number, velocity: number, seconds: number, name: string, seed: number, z?, phases?, noise?}} note
   *   the seed draws z, the phases of the 96 harmonics and the noise, unless they are given
   * @returns {Float32Array}
   */
  sound({ pitch, velocity, seconds, name, seed = 0, release = RELEASE, z, phases, noise }) {
    const draw = random(seed);
    const length = Math.round(SAMPLE_RATE * (seconds + release));
    const frames = Math.ceil(length / HOP);
    z ??= Float64Array.from({ length: 16 }, () => normal(draw));
    phases ??= Float64Array.from({ length: HARMONICS }, () => 2 * Math.PI * draw());
    noise ??= Float64Array.from({ length: frames * HOP }, () => Math.sqrt(12) * (draw() - 0.5));
    const curves = extend(this.curves({ pitch, velocity, z, name }), frames);
    const audio = filterNoise(curves, frames, noise);
    addHarmonics(audio, curves, frames, pitch, phases);
    const gain = (velocity / 100) ** 2;
    const peak = gain * audio.reduce((most, x) => Math.max(most, Math.abs(x)), 0);
    const scale = gain / Math.max(1, peak / 0.99);
    const fade = Math.min(length, Math.max(Math.round(SAMPLE_RATE * release), SAMPLE_RATE / 200));
    return Float32Array.from({ length }, (_, n) => {
      const left = n - (length - fade) + 1;
      return audio[n] * scale * (left > 0 ? 0.5 + 0.5 * Math.cos((Math.PI * left) / fade) : 1);
    });
  }

  /**
   * Render a melody, piece by piece: each piece follows the last one, so the first can sound while the rest is made.
   * @param {{pitch: number, start: number, duration: number, velocity?: number, name?: string}[]} notes in beats
   * @param {{tempo: number, name: string, seed?: number}} options beats per minute; who plays notes without a name
   * @yields {Float32Array}
   */
  *stream(notes, { tempo, name, seed = 0 }) {
    const perBeat = (60 * SAMPLE_RATE) / tempo;
    const sorted = [...notes].sort((a, b) => a.start - b.start);
    let open = new Float32Array(0); // what still sounds after the samples that were given away
    let given = 0;
    const take = this.#takes(seed);
    for (const { pitch, start, duration, velocity = 90, name: own = name } of sorted) {
      const from = Math.round(start * perBeat);
      if (from - given >= SAMPLE_RATE / 2) {
        yield padded(open.subarray(0, from - given), from - given);
        open = open.slice(from - given);
        given = from;
      }
      const seconds = Math.min(60, Math.max(0.02, (duration * 60) / tempo));
      const note = take({ pitch: this.within(pitch, own), velocity, seconds, name: own });
      const mixed = padded(open, Math.max(open.length, from - given + note.length));
      for (let n = 0; n < note.length; n++) mixed[from - given + n] += GAIN * note[n];
      open = mixed;
    }
    yield open;
  }

  /** A function that sounds notes: two takes of each in turn, so that nothing is rendered often or sounds mechanical. */
  #takes(seed) {
    const known = new Map();
    return (note) => {
      const key = JSON.stringify(note);
      const { sounds, count } = known.get(key) ?? { sounds: [], count: 0 };
      sounds[count % TAKES] ??= this.sound({ ...note, seed: seed * 10007 + known.size * TAKES + (count % TAKES) });
      known.set(key, { sounds, count: count + 1 });
      return sounds[count % TAKES];
    };
  }

  /**
   * Render a melody as a whole; see `stream`.
   * @returns {Float32Array} mono, at 16 kHz
   */
  render(notes, options) {
    const parts = [...this.stream(notes, options)];
    const whole = new Float32Array(parts.reduce((sum, part) => sum + part.length, 0));
    let at = 0;
    for (const part of parts) {
      whole.set(part, at);
      at += part.length;
    }
    return whole;
  }

  /** The pitch, moved by octaves into the range of an instrument. */
  within(pitch, name) {
    const [, lowest, highest] = this.ranges[this.names.indexOf(name)];
    while (pitch < lowest) pitch += 12;
    while (pitch > highest) pitch -= 12;
    return pitch;
  }
}

/** A copy of some samples, cut or filled with silence. */
function padded(samples, length) {
  const copy = new Float32Array(length);
  copy.set(samples.subarray(0, length));
  return copy;
}
