// The tune model: a WaveNet over notes that looks up the tune's own past. The counterpart of
// musicai/composition/network.py and writer.py. Up to four tunes are written side by side: see layers.js.

import { LANES, addRow, addValue, apply, gate, readTensors, rectify, scoreKey, softmax } from "./layers.js";
import { COLUMNS, FIRST_SLOT, LENGTHS, REST, SLOTS, TuneMemory, TuneSource, layoutOf, planRow, writeRow } from "./tunes.js";

const D = LENGTHS.length;
const P = REST + 1;
const HEADS = 4;
const INTERVALS = 26; // classes of an interval: 0 unknown, then from an octave (or more) down to one up
const STATES = 11;
const SIZES = [12, 8, P, P, 33, 12, D + 1, P + 1, 145, 145, 17, 17, 17, 7, 14, 14, INTERVALS]; // classes per column
const OFFSETS = SIZES.map((_, i) => SIZES.slice(0, i).reduce((sum, size) => sum + size, 0));
const PARTS = [0, D + 1, D + P + 2, D + P + 2 + STATES]; // where the embeddings of a slot's numbers begin
const BEFORE = 7; // the column of the pitch of the note before
const LEFT = 9; // the column of the ticks up to the next bar line
const AFTER = D + SIZES[LEFT] + 1; // where the embeddings of what the note's end means begin

/** The class of the interval between two pitch columns: 0 if one is unknown or a rest, or else 1 to 25 (`interval`). */
function interval(one, two) {
  const known = one > 0 && one < P && two > 0 && two < P;
  return known ? Math.min(Math.max(two - one, -12), 12) + 13 : 0;
}

/** The weights of the model (`TuneWaveNet`). */
export class TuneNetwork {
  /** @param {Uint8Array} bytes what scripts/studio_tunes.py writes */
  constructor(bytes) {
    const { header, tensors } = readTensors(bytes);
    const table = (name) => tensors.get(`${name}.weight`).values;
    const layer = (name) => {
      const { values, rows, columns } = tensors.get(`${name}.weight`);
      const even = rows + (rows % 2); // an odd layer gets a row of zeros
      const [weight, bias] = [new Float32Array(even * columns), new Float32Array(even)];
      weight.set(values);
      bias.set(tensors.get(`${name}.bias`)?.values ?? []);
      return { weight, bias, rows: even, columns };
    };
    Object.assign(this, { config: header.config, tensors });
    [this.embed, this.slot, this.given] = ["embed", "slot", "given"].map(table);
    this.slots = layer("slots");
    this.blocks = Array.from({ length: header.config.layers }, (_, i) => ({
      conv: layer(`stack.blocks.${i}.conv`), // its columns: the input of 2 ** i notes ago, then this one
      skip: layer(`stack.blocks.${i}.skip`),
      residual: tensors.has(`stack.blocks.${i}.residual.weight`) ? layer(`stack.blocks.${i}.residual`) : null,
    }));
    [this.query, this.key, this.value, this.out] = ["query", "key", "value", "out"].map((x) => layer(`recall.${x}`));
    [this.duration, this.durationOut] = [layer("duration"), layer("duration_out")];
    [this.pitch, this.pitchOut] = [layer("pitch"), layer("pitch_out")];
  }
}

/** Writes up to four tunes note by note: ask for logits, draw, append, until all are finished (`TuneWriter`). */
export class TuneWriter {
  /**
   * @param {TuneNetwork} network
   * @param {import("./tunes.js").Plan[]} plans one per tune
   * @param {(object[] | null)[]} sources for each tune, notes in its key and on its time axis, or null
   */
  constructor(network, plans, sources) {
    const { width, skip, slot, hidden, layers } = network.config;
    const activations = (channels) => new Float64Array((channels + (channels % 2)) * LANES);
    this.network = network;
    this.memories = plans.map((plan) => new TuneMemory(layoutOf(plan)));
    this.sources = plans.map((plan, i) => sources[i] && new TuneSource(sources[i], plan));
    this.plans = plans.map(planRow);
    this.rows = Array.from({ length: LANES }, () => new Int32Array(COLUMNS)); // the inputs of each lane
    this.advice = activations(SLOTS * slot);
    this.both = activations(width + skip);
    [this.x, this.skip] = [this.both.subarray(0, width * LANES), this.both.subarray(width * LANES)];
    this.pair = activations(2 * width); // a block's input of some notes ago, and this one
    [this.gates, this.z, this.query, this.found] = [2 * width, width, width, width].map(activations);
    [this.hidden, this.durations, this.pitches] = [hidden, D + SLOTS, P + SLOTS + INTERVALS - 1].map(activations);
    this.rings = Array.from({ length: layers }, (_, i) => Array.from({ length: 2 ** i }, () => activations(width)));
    this.keys = [activations(width)];
    this.values = [];
    const longest = Math.max(...this.memories.map((memory) => memory.layout.end));
    this.scores = new Float64Array((longest + 1) * LANES);
    this.#look();
  }

  /** Whether all tunes have reached their ends. */
  get finished() {
    return this.memories.every((memory) => memory.finished);
  }

  /**
   * For the next note of each tune, logits of its duration; class d of tune i is at place 4 d + i.
   * @returns {Float64Array} overwritten by the next call
   */
  durationLogits() {
    const { hidden, durations, network } = this;
    apply(network.duration, this.skip, hidden);
    rectify(hidden);
    apply(network.durationOut, hidden, durations);
    this.#copy(durations, D, FIRST_SLOT);
    return durations;
  }

  /**
   * For the next note of each tune, logits of its pitch, given its duration; class p of tune i is at place 4 p + i.
   * @param {ArrayLike<number>} drawn the class of duration of each tune
   * @returns {Float64Array} overwritten by the next call
   */
  pitchLogits(drawn) {
    const { hidden, pitches, network, rows } = this;
    apply(network.pitch, this.skip, hidden);
    for (let lane = 0; lane < this.memories.length; lane++) this.#give(lane, drawn[lane]);
    rectify(hidden);
    apply(network.pitchOut, hidden, pitches);
    this.#copy(pitches, P, FIRST_SLOT + 1);
    const steps = (P + SLOTS) * LANES; // where the logits of the intervals begin, but for class 0, which has none
    for (let p = 0; p < P; p++) {
      for (let lane = 0; lane < LANES; lane++) {
        const step = interval(rows[lane][BEFORE], p + 1);
        if (step > 0) pitches[p * LANES + lane] += pitches[steps + (step - 1) * LANES + lane];
      }
    }
    return pitches;
  }

  /** Append a note to each tune that isn't finished: the classes of its duration and its pitch. */
  append(durations, pitches) {
    this.memories.forEach((memory, i) => {
      if (memory.finished) return;
      this.sources[i]?.append(memory.now, pitches[i]);
      memory.append(durations[i], pitches[i]);
    });
    if (!this.finished) this.#look();
  }

  /** Compute the state before the next note. */
  #look() {
    this.memories.forEach((memory, i) => {
      if (!memory.finished) writeRow(this.plans[i], memory, this.sources[i], this.rows[i]);
    });
    this.#step();
  }

  /** One pass over one note of each tune (`TuneWaveNet.step`); the state replaces the skip path. */
  #step() {
    const { network, x, skip, pair, gates, z, query, found } = this;
    const t = this.values.length;
    this.#embed();
    this.values.push(new Float64Array(x.length));
    apply(network.value, x, this.values[t]);
    network.blocks.forEach((block, i) => {
      const ring = this.rings[i][t % this.rings[i].length];
      pair.set(ring);
      pair.set(x, x.length);
      ring.set(x);
      apply(block.conv, pair, gates);
      gate(gates, z);
      apply(block.skip, z, skip, true);
      if (block.residual !== null) apply(block.residual, z, x, true);
    });
    apply(network.query, skip, query);
    this.#attend();
    this.keys.push(new Float64Array(x.length));
    apply(network.key, skip, this.keys[t + 1]);
    apply(network.out, found, skip, true);
    rectify(skip);
  }

  /** The embedding of the inputs, as it goes to the convolutions and to the skip path. */
  #embed() {
    const { network, both, advice, rows } = this;
    const size = network.config.slot;
    advice.fill(0);
    for (let lane = 0; lane < LANES; lane++) {
      for (let k = 0; k < SLOTS; k++) {
        const [d, p, state] = rows[lane].subarray(FIRST_SLOT + 3 * k);
        const places = [d, PARTS[1] + p, PARTS[2] + state, PARTS[3] + interval(rows[lane][BEFORE], p)];
        for (const place of places) addRow(network.slot, place, size, advice, k * size * LANES + lane);
      }
    }
    rectify(advice);
    apply(network.slots, advice, both);
    for (let lane = 0; lane < LANES; lane++) {
      for (let j = 0; j < FIRST_SLOT; j++) {
        addRow(network.embed, OFFSETS[j] + rows[lane][j], both.length / LANES, both, lane);
      }
    }
  }

  /** What followed the states that were like this one (`Recall.attend`, before its last layer). */
  #attend() {
    const { query, keys, values, found, scores } = this;
    const count = values.length;
    const size = query.length / HEADS;
    const scale = Math.sqrt(size / LANES);
    found.fill(0);
    for (let from = 0; from < query.length; from += size) {
      for (let t = 0; t < count; t++) scoreKey(query, keys[t], from, from + size, scale, scores, t * LANES);
      for (let lane = 0; lane < LANES; lane++) softmax(scores, count, lane);
      for (let t = 0; t < count; t++) addValue(found, values[t], from, from + size, scores, t * LANES);
    }
  }

  /** Tell the pitch's head what the duration means: whether the slots agree with it, and where the note ends. */
  #give(lane, d) {
    const row = this.rows[lane];
    const size = this.network.config.hidden;
    const after = Math.max(row[LEFT] - LENGTHS[d] + 1, 0); // 0 if the note goes on over the bar line
    const ends = after === 1 ? 1 + (row[LEFT + 2] === 1 ? 1 : 0) + (row[LEFT + 3] === 1 ? 1 : 0) : 0;
    const add = (place) => addRow(this.network.given, place, size, this.hidden, lane);
    [d, D + after, AFTER + ends].forEach(add);
    for (let k = 0; k < SLOTS; k++) {
      const advice = row[FIRST_SLOT + 3 * k];
      add(AFTER + 4 + 3 * k + (advice > 0 ? 1 : 0) + (advice === d + 1 ? 1 : 0)); // no advice, another, or this one
    }
  }

  /** Add to the logits of what each slot advises the slot's own output (`_copying`). */
  #copy(logits, classes, column) {
    for (let lane = 0; lane < LANES; lane++) {
      for (let k = 0; k < SLOTS; k++) {
        const advised = this.rows[lane][column + 3 * k];
        if (advised > 0) logits[(advised - 1) * LANES + lane] += logits[(classes + k) * LANES + lane];
      }
    }
  }
}
