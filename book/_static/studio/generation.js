// Writing tunes note by note: the model proposes, hard controls forbid, soft controls steer by feedback. The counterpart of
// musicai/composition/generation.py, but for varied returns such as the A' of AA'.

import { LENGTHS, LOWEST, REST, TICKS, baseOf, clamp } from "./tunes.js";
import { beatTicks, lettersOf, metricLevels, modulo, scaleOf, spanOf } from "./controls.js";
import { LANES } from "./layers.js";
import { TuneWriter } from "./network.js";

/** Semitones: a wider range leaves the model its middle. */
export const WIDEST = 24;

/** Modes with too few tunes to learn from: how far above its tonic lies the one the model is told, and which mode. */
export const UNSEEN = { lydian: [0, "major"], phrygian: [0, "minor"], locrian: [1, "major"] };

const CHROMATIC = [1, 4]; // nats off a note outside the scale of a known or an unseen mode, but for leading notes in minor
const REACH = 2; // nats, by the end, for a pitch beyond those used so far
const HOME = 6; // nats, at a cadence, for an end on the tonic; twice that at full closeness
const LONG = 4.5; // nats, at a cadence, for a last note of a beat or more
const CADENCES = [0.81, 0.95]; // the share of songs that shall end with one, and of songs in triple time
const DISTANT = 0.1; // closeness below which the model doesn't see the source
const [DENSITY_GAIN, SYNCOPATION_GAIN, CLOSENESS_GAIN] = [4, 3, 2];
const D = LENGTHS.length;
const P = REST + 1;
const LOG_BEATS = LENGTHS.map((ticks) => Math.log(ticks / TICKS));

/** Numbers of each tick from the end: the sum from each place on. */
function sumsFrom(numbers) {
  const sums = Float64Array.from(numbers);
  for (let t = sums.length - 2; t >= 0; t--) sums[t] += sums[t + 1];
  return sums;
}

/** Log odds, of 0.0005 at the least and 0.9995 at the most. */
function logOdds(share) {
  const p = clamp(share, 0.0005, 0.9995);
  return Math.log(p / (1 - p));
}

/**
 * What the model is told of the controls (`plan_of`).
 * @param {import("./controls.js").Controls} controls
 * @returns {import("./tunes.js").Plan}
 */
export function planOf(controls) {
  const { meter, form, density, syncopation } = controls;
  const [lowest, high] = controls.range;
  const low = Math.max(lowest, Math.floor((lowest + high - WIDEST) / 2));
  const sections = lettersOf(form).map(() => controls.bars / form.length);
  const [step, mode] = UNSEEN[controls.mode] ?? [0, controls.mode];
  const tonic = (controls.tonic + step) % 12;
  return { tonic, mode, meter, sections, pickup: 0, range: [low, Math.min(high, low + WIDEST)], density, syncopation };
}

/** The hard controls as tables over the ticks of a tune as written (`Rules`). */
export class Rules {
  /**
   * @param {import("./controls.js").Controls} controls
   * @param {import("./tunes.js").Plan} plan
   * @param {() => number} random uniform in [0, 1)
   */
  constructor(controls, plan, random) {
    const letters = lettersOf(controls.form);
    this.span = spanOf(controls);
    this.total = this.span * letters.length;
    this.closing = (letters.indexOf(controls.form.at(-1)) + 1) * this.span; // where the song ends
    this.cadence = random() < CADENCES[controls.meter[0] === 3 ? 1 : 0]; // `shall_close`
    const times = Array.from({ length: this.total + 1 }, (_, t) => t);
    const counts = letters.map((letter) => controls.form.filter((other) => other === letter).length);
    this.weight = times.map((t) => counts[Math.floor(t / this.span)] ?? 0); // how often a tick sounds
    this.fits = this.#fits(beatTicks(controls.meter));
    this.stronger = strongerTable(controls.meter); // whether a note of each class lasts over a stronger tick than its own
    this.#pitches(controls, plan);
  }

  /** Which durations may begin at each tick: (total + 1) x D. */
  #fits(beat) {
    const fits = new Uint8Array((this.total + 1) * D);
    const reached = new Uint8Array(this.total + 1); // from where the rest of the section can be filled
    for (let t = this.total; t >= 0; t--) {
      reached[t] = t === this.total ? 1 : 0;
      const section = (Math.floor(t / this.span) + 1) * this.span;
      const end = t % 6 === 0 ? section : Math.min(section, (Math.floor(t / beat) + 1) * beat);
      for (let d = 0; d < D; d++) {
        const after = t + LENGTHS[d];
        const heard = LENGTHS[d] > 1 || t % 2 === 0; // two notes of one tick each in a row are a chord to some programs
        fits[t * D + d] = t === this.total || (heard && after <= end && reached[Math.min(after, this.total)]) ? 1 : 0;
        if (fits[t * D + d]) reached[t] = 1;
      }
    }
    return fits;
  }

  /** Which pitches are allowed, and the biases against those outside the scale and, at a cadence, for the tonic. */
  #pitches({ tonic, mode, range, closeness }, plan) {
    this.lowest = baseOf(plan) + LOWEST; // the MIDI number of class 0
    const scale = scaleOf(mode);
    this.pitches = new Uint8Array(P);
    this.chromatic = new Float64Array(P);
    this.home = new Float64Array(P);
    for (let p = 0; p < REST; p++) {
      const step = modulo(this.lowest + p - tonic, 12);
      const leading = mode === "minor" && (step === 9 || step === 11);
      this.pitches[p] = this.lowest + p >= range[0] && this.lowest + p <= range[1] ? 1 : 0;
      this.chromatic[p] = scale.includes(step) || leading ? 0 : -CHROMATIC[mode in UNSEEN ? 1 : 0];
      this.home[p] = step === 0 && this.cadence ? HOME * (1 + closeness) : 0;
    }
    this.pitches[REST] = 1;
  }

  /** Whether a note of class d at tick t is syncopated, as 1 or 0. */
  syncopated(t, d) {
    return this.stronger[(t * D + d) % this.stronger.length];
  }

  /** The bias, in nats, for a note of class d at tick t that ends the song (`final`). */
  final(t, d) {
    return this.cadence && t + LENGTHS[d] === this.closing && LENGTHS[d] >= TICKS ? LONG : 0;
  }
}

/** For each tick of a bar and each class of duration, whether the note lasts over a stronger tick: bar x D. */
function strongerTable(meter) {
  const levels = metricLevels(meter);
  const table = new Uint8Array(levels.length * D);
  levels.forEach((level, t) => {
    LENGTHS.forEach((ticks, d) => {
      for (let k = t + 1; k < t + ticks; k++) if (levels[k % levels.length] > level) table[t * D + d] = 1;
    });
  });
  return table;
}

/** What the soft controls know of the source, for all drafts: tables over the ticks. */
export class Attraction {
  /**
   * @param {import("./controls.js").Controls} controls
   * @param {Rules} rules
   * @param {import("./controls.js").Note[] | null} source laid out in the tune's own time
   */
  constructor(controls, rules, source) {
    this.controls = controls;
    this.rules = rules;
    this.left = sumsFrom(rules.weight).map((ticks) => ticks / TICKS); // beats still to sound
    this.pitch = new Uint8Array(rules.total + 1).fill(REST); // of the source's notes, where they begin
    for (const note of source ?? []) {
      const p = note.pitch - rules.lowest;
      if (p >= 0 && p < REST) this.pitch[Math.round(note.start * TICKS)] = p;
    }
    this.theirs = sumsFrom(rules.weight.map((weight, t) => (this.pitch[t] !== REST ? weight : 0))); // notes still to come
    this.next = new Int32Array(rules.total + 2).fill(1e9); // the first onset of the source at or after each tick
    for (let t = rules.total; t >= 0; t--) this.next[t] = this.isOnset(t) ? t : this.next[t + 1];
  }

  /** Whether a note of the source, or a section, begins at this tick. */
  isOnset(t) {
    return t <= this.rules.total && (this.pitch[t] !== REST || t % this.rules.span === 0);
  }

  /** How well the end of a note of class d at tick t meets the source's onsets: 0, 0.5 or 1 (`meets`). */
  meets(t, d) {
    const after = t + LENGTHS[d];
    return ((this.isOnset(after) ? 1 : 0) + (after === this.next[t + 1] ? 1 : 0)) / 2;
  }
}

/** The soft controls of one tune: what has been obtained and is still needed becomes a bias on the next draw (`Steering`). */
export class Steering {
  /** @param {Attraction} source */
  constructor(source) {
    Object.assign(this, { source, rules: source.rules, controls: source.controls });
    [this.notes, this.syncopated, this.hits] = [0, 0, 0];
    [this.low, this.high] = [REST, 0]; // reached so far
  }

  /** What the rest of the tune needs to end as asked: density, syncopation, share of the source to keep. */
  needs(t) {
    const { controls: c, source, notes } = this;
    const [all, left] = [source.left[0], Math.max(source.left[t], 1e-9)];
    const density = clamp((c.density * all - notes) / left, 0.1, 8); // NaN if the model chooses
    const usual = (notes + 4) / (all - left + 2);
    const coming = (Number.isNaN(density) ? usual : density) * left;
    const syncopation = (c.syncopation * (notes + coming) - this.syncopated) / Math.max(coming, 1);
    const wanted = (c.closeness * (notes + coming + source.theirs[0])) / 2;
    return { density, syncopation, kept: (wanted - this.hits) / Math.max(source.theirs[t], 1) };
  }

  /** How strongly the source attracts, in nats, if this share of it is still to be kept. */
  pull(kept) {
    const asked = logOdds(this.controls.closeness);
    return asked + CLOSENESS_GAIN * (logOdds(kept) - asked);
  }

  /** Write the bias on each duration: short or long, syncopated or plain, meeting the source's onsets. */
  durationBias(t, bias) {
    const { controls: c, rules, source } = this;
    const { density, syncopation, kept } = this.needs(t);
    const shorter = -DENSITY_GAIN * Math.log(density / c.density) || 0;
    const swing = SYNCOPATION_GAIN * clamp((syncopation - c.syncopation) / 0.05, -4, 4) || 0;
    const pull = c.closeness ? Math.max(this.pull(kept), 0) : 0;
    for (let d = 0; d < D; d++) {
      bias[d] = shorter * LOG_BEATS[d] + swing * rules.syncopated(t, d) + rules.final(t, d) + pull * source.meets(t, d);
    }
  }

  /** Write the bias on each pitch: the source's note, or away from it, and the ends of the range not reached yet. */
  pitchBias(t, bias) {
    const { controls: c, rules, source } = this;
    const beyond = (REACH * t) / rules.total;
    for (let p = 0; p < REST; p++) bias[p] = p < this.low || p > this.high ? beyond : 0;
    bias[REST] = 0;
    if (c.closeness && source.pitch[t] !== REST) bias[source.pitch[t]] += this.pull(this.needs(t).kept);
  }

  /** Take note of what was drawn at tick t. */
  count(t, duration, pitch) {
    if (pitch === REST) return;
    const weight = this.rules.weight[t];
    this.notes += weight;
    this.syncopated += weight * this.rules.syncopated(t, duration);
    this.hits += pitch === this.source.pitch[t] ? weight : 0;
    this.low = Math.min(this.low, pitch);
    this.high = Math.max(this.high, pitch);
  }
}

/** Draws one class of one lane by inverting its cumulative probability (`draw`). */
export class Draw {
  constructor() {
    this.bias = new Float64Array(P);
    this.allowed = new Uint8Array(P);
    this.sums = new Float64Array(P);
    this.logChance = 0; // of the class drawn, before bias and prohibition
  }

  /** The class drawn from the first `count` ones by the uniform number `u`. */
  take(logits, lane, count, temperature, u) {
    const { bias, allowed, sums } = this;
    let most = -Infinity;
    let highest = -Infinity;
    for (let i = 0; i < count; i++) {
      const x = logits[i * LANES + lane] / temperature;
      most = Math.max(most, x);
      if (allowed[i]) highest = Math.max(highest, x + bias[i]);
    }
    let total = 0;
    let biased = 0;
    for (let i = 0; i < count; i++) {
      const x = logits[i * LANES + lane] / temperature;
      total += Math.exp(x - most);
      biased += allowed[i] ? Math.exp(x + bias[i] - highest) : 0;
      sums[i] = biased;
    }
    let found = 0;
    while (sums[found] <= (1 - 1e-12) * u * biased) found++;
    this.logChance = logits[found * LANES + lane] / temperature - most - Math.log(total);
    return found;
  }
}

/**
 * Write several tunes under the same controls (`write_tunes`).
 * @param {import("./network.js").TuneNetwork} network
 * @param {import("./controls.js").Controls} controls
 * @param {import("./controls.js").Note[] | null} source laid out
 * @param {Rules} rules
 * @param {(() => number)[]} randoms a generator of uniform numbers for each tune
 * @param {(share: number) => void} [onProgress] told which share is done
 * @returns {{notes: import("./controls.js").Note[], likelihood: number}[]} the sections follow one another as written;
 *   the likelihood is the mean log probability of a note under the model, in nats
 */
export function writeTunes(network, controls, source, rules, randoms, onProgress = () => {}) {
  const attraction = new Attraction(controls, rules, controls.closeness ? source : null);
  const seen = controls.closeness >= DISTANT ? source : null;
  const found = [];
  for (let i = 0; i < randoms.length; i += LANES) {
    const group = randoms.slice(i, i + LANES);
    const report = (share) => onProgress((i + share * group.length) / randoms.length);
    found.push(...writeGroup(network, controls, seen, attraction, group, report));
  }
  return found;
}

/** Write up to four tunes side by side. */
function writeGroup(network, controls, source, attraction, randoms, onProgress) {
  const { rules } = attraction;
  const plan = planOf(controls);
  const writer = new TuneWriter(network, randoms.map(() => plan), randoms.map(() => source));
  const steerings = randoms.map(() => new Steering(attraction));
  const [durations, pitches] = [new Int32Array(LANES), new Int32Array(LANES)];
  const likelihoods = new Float64Array(LANES);
  const draw = new Draw();
  const live = (use) => writer.memories.forEach((memory, lane) => memory.finished || use(lane, memory.now));
  while (!writer.finished) {
    const lengths = writer.durationLogits();
    live((lane, t) => {
      steerings[lane].durationBias(t, draw.bias);
      for (let d = 0; d < D; d++) draw.allowed[d] = rules.fits[t * D + d];
      durations[lane] = draw.take(lengths, lane, D, controls.temperature, randoms[lane]());
      likelihoods[lane] += draw.logChance;
    });
    const heights = writer.pitchLogits(durations);
    live((lane, t) => {
      const closing = t + LENGTHS[durations[lane]] === rules.closing;
      steerings[lane].pitchBias(t, draw.bias);
      for (let p = 0; p < P; p++) draw.bias[p] += rules.chromatic[p] + (closing ? rules.home[p] : 0);
      draw.allowed.set(rules.pitches);
      if (t === 0 || closing) draw.allowed[REST] = 0;
      pitches[lane] = draw.take(heights, lane, P, controls.temperature, randoms[lane]());
      likelihoods[lane] += draw.logChance;
      steerings[lane].count(t, durations[lane], pitches[lane]);
    });
    writer.append(durations, pitches);
    onProgress(Math.min(...writer.memories.map((memory) => Math.min(memory.now / rules.total, 1))));
  }
  return writer.memories.map((memory, lane) => ({
    notes: notesOf(memory, rules.lowest),
    likelihood: likelihoods[lane] / memory.onsets.length,
  }));
}

/** The notes of a finished tune, without its rests (`decode`). */
function notesOf({ durations, pitches, onsets }, lowest) {
  const all = pitches.map((p, i) => ({
    pitch: lowest + p,
    start: onsets[i] / TICKS,
    duration: LENGTHS[durations[i]] / TICKS,
  }));
  return all.filter((_, i) => pitches[i] !== REST);
}
