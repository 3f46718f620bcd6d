/**
 * From a hum or a whistle to its pitch over time: musicai/search/contours.py and musicai/audio/pitch.py.
 *
 * YIN's difference function says how much each frame differs from itself a period later. Its deepest dips are the
 * candidates, one more candidate is "no pitch", and Viterbi's algorithm finds the cheapest path through them.
 */

import { clip, median } from "./numbers.js";
import { resample } from "./resampling.js";

const BAND = 6000; // Hz: twice the highest frequency that is listened to
const RATE = 16000, HOP = 160, SIZE = 896; // Hz and samples: 100 frames per second, each made from 56 ms
const MIDDLE = 340; // samples: the middle of what is compared within a frame, at 200 Hz
const LOWEST = 55, HIGHEST = 2500; // Hz: from a bass to a tin whistle
const CANDIDATES = 10; // periods considered per frame
const UNVOICED = 0.7, SWITCH = 0.08; // the cost of a frame without pitch, and of a change from or to one
const JUMP = 0.7, FAR = 1; // the cost of a leap of an octave between neighbouring frames; no leap costs more than FAR
const LONGER = 0.02; // per octave: among equally good multiples of a period, take the shortest
const SOUNDING = 0.25; // seconds of pitch without which nothing can be found
const BLOCK = 2000; // frames whose loudness is compared
const LAGS = Math.round(RATE / LOWEST) + 2, WINDOW = SIZE - LAGS;

/**
 * Follow the pitch of a voice or an instrument that plays one melody. Python: track_contour.
 *
 * @param {Float32Array} samples (time,) from one microphone
 * @param {number} sr their rate in Hz
 * @returns {{contour, notes}} contour: {pitches (frames,) MIDI numbers with fractions, NaN where there is no pitch,
 *   confidences (frames,) from 0 to 1, rate in frames per second}; notes: {pitch, start, duration} in seconds
 */
export function listen(samples, sr) {
  const { costs, pitches, frames } = candidatesOf(frameable(resample(samples, sr, RATE, BAND / 2)));
  const path = cheapest(costs, pitches, frames), contour = contourOf(path, costs, pitches), notes = notesOf(contour);
  const voiced = contour.pitches.filter((pitch) => !Number.isNaN(pitch)).length;
  if (voiced < SOUNDING * contour.rate || !notes.length) {
    throw new Error("no pitch found in the sound: sing or play one melody, close to the microphone");
  }
  return { contour, notes };
}

/** Centre the wave on zero and put silence around it, so that the first frame is about its beginning. */
function frameable(wave) {
  const mean = wave.reduce((sum, x) => sum + x, 0) / wave.length, padded = new Float32Array(wave.length + SIZE);
  wave.forEach((x, i) => (padded[MIDDLE + i] = x - mean));
  return padded;
}

/** The costs and pitches (frames, CANDIDATES) of the deepest dips; a missing one costs Infinity. */
function candidatesOf(wave) {
  const frames = Math.floor((wave.length - SIZE) / HOP) + 1, loudest = loudestOf(wave, frames);
  const costs = new Float32Array(frames * CANDIDATES).fill(Infinity), pitches = new Float32Array(costs.length);
  const d = new Float32Array(LAGS);
  for (let t = 0; t < frames; t++) {
    if (energyOf(wave, t * HOP) <= 1e-5 * loudest[Math.floor(t / BLOCK)]) continue; // 50 dB below the loudest
    yinDifference(wave, t * HOP, d);
    takeDips(d, costs.subarray(t * CANDIDATES, (t + 1) * CANDIDATES), pitches.subarray(t * CANDIDATES));
  }
  return { costs, pitches, frames };
}

function energyOf(wave, at) {
  let sum = 0;
  for (let i = at; i < at + WINDOW; i++) sum += wave[i] * wave[i];
  return sum;
}

/** The energy of the loudest frame of each block. */
function loudestOf(wave, frames) {
  const loudest = new Float64Array(Math.ceil(frames / BLOCK)).fill(1e-12);
  for (let t = 0; t < frames; t++) {
    const block = Math.floor(t / BLOCK);
    loudest[block] = Math.max(loudest[block], energyOf(wave, t * HOP));
  }
  return loudest;
}

/** YIN's cumulative mean normalised difference, into `d` (lags,). Python: yin_difference. */
function yinDifference(wave, at, d) {
  d[0] = 1;
  let sum = 0;
  for (let lag = 1; lag < LAGS; lag++) {
    let difference = 0;
    for (let i = at; i < at + WINDOW; i++) {
      const change = wave[i] - wave[i + lag];
      difference += change * change;
    }
    sum += difference;
    d[lag] = sum > 0 ? (difference * lag) / sum : 1;
  }
}

/** Keep the cheapest dips of a difference function, sorted; lags and depths are refined by a parabola. Python: dips. */
function takeDips(d, costs, pitches) {
  for (let lag = 1; lag < LAGS - 1; lag++) {
    const [before, here, after] = [d[lag - 1], d[lag], d[lag + 1]];
    if (!(here < before && here <= after)) continue;
    const curvature = Math.max(before - 2 * here + after, 1e-9);
    const beside = clip((0.5 * (before - after)) / curvature, -0.5, 0.5);
    const frequency = RATE / (lag + beside), octaves = Math.log2(HIGHEST / frequency);
    if (frequency < LOWEST || octaves < 0) continue;
    const cost = here - ((before - after) * beside) / 4 + LONGER * octaves;
    insert(costs, pitches, cost, 69 + 12 * Math.log2(frequency / 440));
  }
}

/** Insert into the sorted costs, if it is among the lowest. */
function insert(costs, pitches, cost, pitch) {
  let at = CANDIDATES - 1;
  if (cost >= costs[at]) return;
  for (; at > 0 && costs[at - 1] > cost; at--) {
    costs[at] = costs[at - 1];
    pitches[at] = pitches[at - 1];
  }
  costs[at] = cost;
  pitches[at] = pitch;
}

/** For each frame the candidate on the cheapest path, or CANDIDATES where there is no pitch. Python: _cheapest. */
function cheapest(costs, pitches, frames) {
  const states = CANDIDATES + 1, back = new Uint8Array(frames * states);
  const costOf = (t, c) => (c < CANDIDATES ? costs[t * CANDIDATES + c] : UNVOICED);
  let total = Float64Array.from({ length: states }, (_, c) => costOf(0, c)), next = new Float64Array(states);
  for (let t = 1; t < frames; t++) {
    for (let to = 0; to < states; to++) {
      let best = 0, least = Infinity;
      for (let from = 0; from < states; from++) {
        const through = total[from] + stepCost(pitches, t, from, to);
        if (through < least) [best, least] = [from, through];
      }
      back[t * states + to] = best;
      next[to] = least + costOf(t, to);
    }
    [total, next] = [next, total];
  }
  const path = new Uint8Array(frames);
  path[frames - 1] = total.indexOf(Math.min(...total));
  for (let t = frames - 1; t > 0; t--) path[t - 1] = back[t * states + path[t]];
  return path;
}

function stepCost(pitches, t, from, to) {
  if (from === CANDIDATES || to === CANDIDATES) return from === to ? 0 : SWITCH;
  const leap = Math.abs(pitches[(t - 1) * CANDIDATES + from] - pitches[t * CANDIDATES + to]);
  return Math.min((JUMP / 12) * leap, FAR);
}

function contourOf(path, costs, pitches) {
  const at = (t) => t * CANDIDATES + path[t], voiced = (t) => path[t] < CANDIDATES;
  const pitch = (_, t) => (voiced(t) ? pitches[at(t)] : NaN);
  const confidence = (_, t) => (voiced(t) ? clip(1 - costs[at(t)], 0, 1) : 0);
  const [all, sure] = [pitch, confidence].map((of) => Float32Array.from(path, of));
  return { pitches: all, confidences: sure, rate: RATE / HOP };
}

/**
 * Cut a contour where the pitch leaves the note so far, or where the sound stops. Python: Contour.notes.
 *
 * @param {number} shortest seconds; anything shorter is a slide or an ornament, and is dropped
 * @param {number} apart semitones from the median of the note so far that begin a new note
 */
export function notesOf({ pitches, rate }, shortest = 0.08, apart = 0.7) {
  const cuts = [0];
  let note = [];
  pitches.forEach((pitch, i) => {
    const silent = Number.isNaN(pitch), middle = note.length ? median(note.slice(-40)) : 0;
    const gone = () => pitches.subarray(i, i + 3).every((ahead) => Math.abs(ahead - middle) > apart);
    if (note.length ? silent || gone() : !silent) {
      cuts.push(i);
      note = [];
    }
    if (!silent) note.push(pitch);
  });
  const spans = cuts.map((cut, i) => [cut, cuts[i + 1] ?? pitches.length]);
  const voiced = (a, b) => pitches.subarray(a, b).filter((pitch) => !Number.isNaN(pitch));
  const sung = spans.map(([a, b]) => ({ a, b, voiced: voiced(a, b) }));
  return sung
    .filter(({ a, b, voiced }) => b - a >= shortest * rate && voiced.length)
    .map(({ a, b, voiced }) => ({ pitch: median(voiced), start: a / rate, duration: (b - a) / rate }));
}
