// A new song from a found melody, or from nothing, under the reader's own parameters. The counterpart of
// musicai/composition/song.py and requests.py.

import { MODES, clamp } from "./tunes.js";
import { closeness, countBars, density, findForm, keyScores, median, modulo } from "./controls.js";
import { scaleOf, sourceMelody, sum, syncopation } from "./controls.js";
import { Rules, WIDEST, planOf, writeTunes } from "./generation.js";
import { accompany, addChords } from "./harmony.js";
import { TuneNetwork } from "./network.js";
import { layOut, playOut } from "./sources.js";

/** Tunes that are written to choose one from. */
export const DRAFTS = 8;

const TEMPERATURE = 0.9;
const TOLERANCE = 0.05; // an error of the soft controls that counts as much as a nat in four notes
const CLEAR = 0.03; // the margin by which a key is clear
const MOTIF = 8; // a source of fewer bars is a motif, and the song is as long as one without a source
const RANGES = [[63, 3], [81.4, 2.4]]; // means and deviations of the ends of the folk tunes' ranges
const HOMELY = 7; // how much more often a range's low end is the tonic or the fifth than another note of the scale
const RULES = 2 ** 20; // the stream of random numbers of the rules; drafts have 0, 1, ...
const RANGE = 2 ** 21; // the stream of the range

/**
 * A generator of uniform random numbers in [0, 1): mulberry32, started from a seed and the number of a stream.
 * @param {number} seed
 * @param {number} stream
 * @returns {() => number}
 */
export function randomOf(seed, stream) {
  let state = (Math.imul(seed ^ (seed / 2 ** 32), 0x9e3779b1) ^ Math.imul(stream + 1, 0x85ebca6b)) >>> 0;
  const random = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  random(); // the first number still resembles that of the neighbouring seeds
  return random;
}

/** Composes songs: `new Composer(bytes).compose({ tune, bars: 16, closeness: 0.5, seed: 1 })`. */
export class Composer {
  /** @param {Uint8Array} bytes what scripts/studio_tunes.py writes */
  constructor(bytes) {
    this.network = new TuneNetwork(bytes);
    this.randomOf = randomOf; // tests give other random numbers
  }

  /**
   * Write a song (`compose`).
   * @param {object} asked
   * @param {import("./controls.js").Melody | null} asked.tune what to start from, or null
   * @param {number} [asked.tonic] its pitch class, 0 (C) to 11 (B); by default the tune's, or D
   * @param {string} [asked.mode] "major", "minor", "dorian", "mixolydian" or another of `MODES`; by default the tune's
   * @param {number} [asked.bars] how many sound, repeats included; by default as many as the tune has
   * @param {number} [asked.closeness] how much of the tune is kept, 0 to 1; 0.5 by default
   * @param {number} [asked.seed] the same seed gives the same song
   * @param {number} [asked.drafts] tunes that are written to choose one from
   * @param {(share: number) => void} [onProgress] told which share of the drafts is written
   * @returns {{notes: import("./controls.js").Note[], meter: number[], tempo: number, tonic: number, mode: string,
   *   bars: number, form: string, closeness: number | null, source: import("./controls.js").Note[] | null}} the song as it
   *   sounds, the closeness obtained, and the tune it started from in the song's key and form
   */
  compose({ tune = null, seed = 0, drafts = DRAFTS, ...asked }, onProgress = () => {}) {
    const source = tune && sourceMelody(tune);
    const controls = readControls(source, asked, this.randomOf(seed, RANGE));
    const laid = source && layOut(source, controls);
    const heard = laid && playOut(laid, controls);
    const written = controls.closeness === 1 ? laid : this.#write(controls, laid, heard, seed, drafts, onProgress);
    const notes = playOut(written, controls);
    const { meter, tempo, tonic, mode, bars, form } = controls;
    const obtained = heard && closeness(notes, heard);
    return { notes, meter, tempo, tonic, mode, bars, form: form.join(""), closeness: obtained, source: heard };
  }

  /**
   * Chords for a song, and a chord part and a bass that play them (`Song.score`).
   * @param {import("./controls.js").Melody} song as `compose` returns it
   * @returns {{spans: import("./harmony.js").ChordSpan[], chords: import("./controls.js").Note[],
   *   bass: import("./controls.js").Note[]}}
   */
  accompany(song) {
    const spans = addChords(song, this.network.tensors);
    return { spans, ...accompany(song, spans) };
  }

  /** The best of several drafts (`_write`). */
  #write(controls, laid, heard, seed, drafts, onProgress) {
    const rules = new Rules(controls, planOf(controls), this.randomOf(seed, RULES));
    const randoms = Array.from({ length: drafts }, (_, i) => this.randomOf(seed, i));
    const found = writeTunes(this.network, controls, laid, rules, randoms, onProgress);
    const usual = median(found.map((draft) => draft.likelihood));
    const scores = found.map(({ notes, likelihood }) => {
      return fitOf(notes, -Math.abs(likelihood - usual), controls, heard, rules.cadence);
    });
    return found[scores.indexOf(Math.max(...scores))].notes;
  }
}

/**
 * Fill in what was not asked from the source (`read_controls`).
 * @param {import("./controls.js").Melody | null} source
 * @param {object} asked as in `Composer.compose`
 * @param {() => number} random
 * @returns {import("./controls.js").Controls}
 */
export function readControls(source, asked, random) {
  const own = source ? countBars(source) : 0;
  const bars = asked.bars ?? (own >= MOTIF ? own : 32);
  const forms = [own >= MOTIF ? findForm(source) : null, [..."AABB"], [..."AB"]].filter((form) => form !== null);
  const request = {
    tonic: asked.tonic ?? source?.tonic ?? 2,
    mode: asked.mode ?? source?.mode ?? "major",
    meter: source?.meter ?? [4, 4],
    tempo: clamp(source?.tempo ?? 120, 20, 400),
    bars,
    form: forms.find((form) => bars % form.length === 0 && bars >= 2 * form.length) ?? ["A"],
    range: [0, 127],
    density: NaN,
    syncopation: NaN,
    closeness: source ? clamp(asked.closeness ?? 0.5, 0, 1) : 0,
    temperature: TEMPERATURE,
  };
  if (!MODES.includes(request.mode)) throw new Error(`mode="${request.mode}": give one of ${MODES.join(", ")}`);
  const laid = source && playOut(layOut(source, request), request);
  const wide = !source || own >= MOTIF ? 11 : 19; // 11: room for every triad; 19: the median
  const range = widened(laid ? rangeOf(laid) : usualRange(request, random), wide);
  if (!laid) return { ...request, range };
  return { ...request, range, density: density(laid), syncopation: syncopation(laid, request.meter) };
}

/** The lowest and the highest pitch. */
function rangeOf(notes) {
  const pitches = notes.map((note) => note.pitch);
  return [Math.min(...pitches), Math.max(...pitches)];
}

/** A range that is at least so wide. */
function widened([lowest, highest], wide) {
  const more = Math.floor(Math.max(0, wide - (highest - lowest) + 1) / 2);
  const low = Math.min(127 - wide, Math.max(0, lowest - more));
  return [low, Math.max(highest, low + wide)];
}

/** Draw a range such as folk tunes in this key have: the lowest note is mostly a tonic or a fifth (`usual_range`). */
export function usualRange({ tonic, mode }, random) {
  const scale = scaleOf(mode);
  const pitches = Array.from({ length: 45 }, (_, i) => 50 + i);
  return RANGES.map(([center, deviation], end) => {
    const shares = pitches.map((pitch) => {
      const step = modulo(pitch - tonic, 12);
      const homely = end === 0 && (step === 0 || step === 7) ? HOMELY : 1;
      return scale.includes(step) ? homely * Math.exp(-(((pitch - center) / deviation) ** 2) / 2) : 0;
    });
    const u = random() * sum(shares);
    let [i, passed] = [0, shares[0]];
    while (passed <= u) passed += shares[++i];
    return pitches[i];
  });
}

/**
 * Score a draft: typical of the model, close to what was asked, recognisably in its key, as wide as its range (`fit_of`).
 * @param {import("./controls.js").Note[]} written
 * @param {number} typicality minus the distance of its likelihood from the median of all drafts
 * @param {import("./controls.js").Controls} controls
 * @param {import("./controls.js").Note[] | null} source as it sounds
 * @param {boolean} cadence whether the song shall end on its tonic
 */
export function fitOf(written, typicality, controls, source, cadence) {
  const notes = playOut(written, controls);
  const wrong = [
    Math.abs(controls.density - density(notes)) / controls.density,
    Math.abs(controls.syncopation - syncopation(notes, controls.meter)),
    source && controls.closeness ? Math.abs(controls.closeness - closeness(notes, source)) : 0,
  ];
  const errors = sum(wrong.map((error) => error || 0)) / TOLERANCE; // NaN where the model chooses
  const [low, high] = rangeOf(notes);
  const narrow = Math.max(0, Math.min(WIDEST, controls.range[1] - controls.range[0]) - (high - low)) / 4;
  const closes = cadence === (modulo(notes.at(-1).pitch, 12) === controls.tonic) ? 4 : 0;
  return 4 * typicality - errors + 3 * Math.min(1, keyFit(notes, controls) / CLEAR) - narrow + closes;
}

/** By how much the asked key, or a relative, beats all others (`key_fit`). */
export function keyFit(notes, { tonic, mode }) {
  const signature = modulo(tonic - 7 * (MODES.indexOf(mode) - 1), 12); // the tonic of the major key that shares it
  const wanted = new Set([MODES.indexOf(mode) > 2 ? 12 + tonic : tonic]); // up to mixolydian, modes have a major third
  if (mode !== "major" && mode !== "minor") wanted.add(signature).add(12 + modulo(signature + 9, 12));
  const hit = Array.from({ length: 24 }, (_, i) => wanted.has(i));
  const margins = keyScores(notes).map((scores) => {
    const best = (wanted) => Math.max(...scores.filter((_, i) => hit[i] === wanted));
    return best(true) - best(false);
  });
  return Math.min(...margins);
}
