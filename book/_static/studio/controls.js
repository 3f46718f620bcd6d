// What one may ask of a song, and how a melody measures up to it; and the melody that a song starts from: its bars, its
// form, and how it would go in another key and metre. The counterpart of musicai/composition/controls.py and sources.py.

import { MODES, TICKS, barTicks } from "./tunes.js";

/**
 * A note; `start` and `duration` are in beats (quarter notes).
 * @typedef {{pitch: number, start: number, duration: number}} Note
 */

/**
 * A melody with its metre and key (`Melody`).
 * @typedef {{notes: Note[], meter: number[], tonic: number, mode: string, tempo: number}} Melody
 */

/**
 * What a song is asked to be (`Controls`).
 * @typedef {object} Controls
 * @property {number} tonic its pitch class, 0 (C) to 11 (B)
 * @property {string} mode one of `MODES`
 * @property {number[]} meter numerator and denominator
 * @property {number} tempo beats per minute
 * @property {number} bars how many sound, repeats included
 * @property {string[]} form the section that each equal part of the song is
 * @property {number[]} range the lowest and the highest MIDI pitch
 * @property {number} density notes per beat, or NaN for the model's choice
 * @property {number} syncopation the share of syncopated notes, or NaN for the model's choice
 * @property {number} closeness to the source, from 0 to 1
 * @property {number} temperature of the draws
 */

const SAME = 0.75; // closeness from which two sections count as one that repeats
// How much speaks for a bar line: see PICKUP_WEIGHTS in sources.py.
const PICKUP_WEIGHTS = [5.7, -4.3, 3.4, 1.5, 1.9, 1.4, -5.3, 0.9];
// How well each step of a major and of a minor scale fits, as listeners judged it, and as folk songs use it.
const PROFILES = [
  [
    [6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88],
    [6.33, 2.68, 3.52, 5.38, 2.6, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17],
  ],
  [
    [17.77, 0.15, 14.93, 0.16, 19.8, 11.36, 0.29, 22.06, 0.15, 8.15, 0.23, 4.95],
    [18.26, 0.74, 14.05, 16.86, 0.7, 14.44, 0.7, 18.62, 4.57, 1.93, 7.38, 1.76],
  ],
];

/** The remainder, from 0 up to but not including `n`. */
export function modulo(x, n) {
  return ((x % n) + n) % n;
}

/** The sum of numbers. */
export function sum(numbers) {
  return numbers.reduce((total, x) => total + x, 0);
}

/** The mean of numbers, or NaN if there are none. */
export function mean(numbers) {
  return sum(numbers) / numbers.length;
}

/** The median of numbers. */
export function median(numbers) {
  const sorted = Float64Array.from(numbers).sort();
  const half = sorted.length >> 1;
  return sorted.length % 2 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
}

/** Beats up to the end of the last note. */
export function beatsOf(notes) {
  return notes.reduce((end, note) => Math.max(end, note.start + note.duration), 0);
}

/** Notes per beat (`density`). */
export function density(notes) {
  return notes.length / beatsOf(notes);
}

/** The share of notes that last over a stronger place of the bar than their own (`syncopation`). */
export function syncopation(notes, meter, pickup = 0) {
  const levels = metricLevels(meter);
  const found = notes.map((note) => {
    const start = Math.round(note.start * TICKS) - pickup;
    const level = levels[modulo(start, levels.length)];
    for (let t = 1; t < Math.round(note.duration * TICKS); t++) {
      if (levels[modulo(start + t, levels.length)] > level) return 1;
    }
    return 0;
  });
  return mean(found);
}

/** The F1 score of the notes of two melodies on one time axis, as pairs of onset and pitch (`closeness`). */
export function closeness(one, two) {
  const [ours, theirs] = [one, two].map((notes) => new Set(notes.map((n) => 128 * Math.round(n.start * TICKS) + n.pitch)));
  const common = [...ours].filter((note) => theirs.has(note)).length;
  return (2 * common) / Math.max(1, ours.size + theirs.size);
}

/** Rank the positions of a bar, tick by tick: its beginning is strongest (`metric_levels`). */
export function metricLevels(meter) {
  const bar = barTicks(meter);
  let unit = beatTicks(meter);
  const beats = Math.floor(bar / unit);
  const grids = [[bar], ...(beats > 2 && beats % 2 === 0 ? [[bar / 2]] : []), [unit]];
  let parts = meter[0] % 3 === 0 && unit * meter[1] > 4 * TICKS ? 3 : 2;
  while (unit > TICKS / 8 && unit % parts === 0) {
    grids.push([unit / parts, ...(parts === 2 && unit % 3 === 0 ? [unit / 3] : [])]);
    unit /= parts;
    parts = 2;
  }
  const levels = new Uint8Array(bar);
  grids.reverse().forEach((grid, level) => {
    for (const step of grid) for (let t = 0; t < bar; t += step) levels[t] = level + 1;
  });
  return levels;
}

/** The ticks of a felt beat: three of the lower number in compound metres, else one (`beat_ticks`). */
export function beatTicks(meter) {
  const compound = meter[0] % 3 === 0 && (meter[0] > 3 || meter[1] > 4);
  return Math.floor(((compound ? 3 : 1) * 4 * TICKS) / meter[1]);
}

/** The semitones of a mode's scale above its tonic (`scale_of`). */
export function scaleOf(mode) {
  const steps = [0, 1, 2, 3, 4, 5, 6].map((fifth) => modulo(7 * (fifth - MODES.indexOf(mode)), 12));
  return steps.sort((a, b) => a - b);
}

/**
 * How well notes fit each key, as listeners judge and as folk songs use the scale (`key_scores`).
 * @returns {number[][]} two rows of correlations, of C major to B major and C minor to B minor
 */
export function keyScores(notes) {
  const weights = Array.from({ length: 12 }, (_, i) => 1e-9 * i); // never constant
  for (const { pitch, duration } of notes) weights[modulo(pitch, 12)] += duration;
  return PROFILES.map((pair) =>
    pair.flatMap((profile) => weights.map((_, tonic) => correlation(weights, profile, tonic))),
  );
}

/** The correlation of weights with a profile that begins at `tonic`. */
function correlation(weights, profile, tonic) {
  const [m, n] = [mean(weights), mean(profile)];
  let [xy, xx, yy] = [0, 0, 0];
  weights.forEach((weight, i) => {
    const [x, y] = [weight - m, profile[modulo(i - tonic, 12)] - n];
    xy += x * y;
    xx += x * x;
    yy += y * y;
  });
  return xy / Math.sqrt(xx * yy);
}

/**
 * A melody that begins in its first bar, with a key (`source_melody`).
 * @param {Melody} tune its key is guessed if `tonic` is null
 * @returns {Melody}
 */
export function sourceMelody(tune) {
  const [top, unit] = tune.meter ?? [];
  const beats = (4 * top) / unit;
  const meter = [2, 4, 8, 16].includes(unit) && beats >= 1 && beats <= 8 ? [top, unit] : [4, 4];
  const bar = (4 * meter[0]) / meter[1];
  const silence = Math.floor(tune.notes[0].start / bar) * bar;
  const notes = tune.notes.map((note) => ({ ...note, start: note.start - silence }));
  const [judged, used] = keyScores(notes);
  const scores = judged.map((score, i) => score + used[i]);
  const best = scores.indexOf(Math.max(...scores));
  const guess = { tonic: best % 12, mode: best < 12 ? "major" : "minor" };
  const key = Number.isInteger(tune.tonic) ? { tonic: tune.tonic, mode: tune.mode ?? "major" } : guess;
  return { notes, meter, ...key, tempo: tune.tempo ?? 120 };
}

/**
 * Guess how many ticks come before the first bar line (`find_pickup`, which returns beats).
 * @param {Melody} melody
 */
export function findPickup({ notes, meter, tonic }) {
  const levels = metricLevels(meter);
  const [bar, strongest, end] = [levels.length, Math.max(...levels), beatsOf(notes) * TICKS];
  const middle = median(notes.map((note) => note.duration));
  const starts = notes.map((note) => Math.round(note.start * TICKS));
  const onsets = new Set(starts);
  let [best, found] = [-Infinity, 0];
  for (let pickup = 0; pickup < bar; pickup += 6) {
    const level = starts.map((start) => levels[modulo(start - pickup, bar)]);
    const on = notes.filter((_, i) => starts[i] >= pickup && (starts[i] - pickup) % bar === 0);
    const home = on.length ? mean(on.map((note) => (modulo(note.pitch, 12) === tonic ? 1 : 0))) : 0;
    const lines = [];
    for (let line = pickup; line < end; line += bar) lines.push(onsets.has(line) ? 1 : 0);
    const evidence = [
      mean(notes.map((note, i) => level[i] * Math.log2(note.duration / middle))),
      syncopation(notes, meter, pickup),
      lines.length ? mean(lines) : 0,
      level.at(-1) / strongest,
      pickup === 12 ? 1 : 0,
      pickup === 24 ? 1 : 0,
      pickup / bar,
      home,
    ];
    const score = sum(evidence.map((x, i) => x * PICKUP_WEIGHTS[i]));
    if (score > best) [best, found] = [score, pickup];
  }
  return found;
}

/** The number of bars of a melody from its first bar line on (`count_bars`). */
export function countBars(melody) {
  const ticks = beatsOf(melody.notes) * TICKS - findPickup(melody);
  return Math.max(1, Math.ceil(ticks / barTicks(melody.meter) - 0.25));
}

/** Cut notes into parts of `span` ticks, with times from the beginning of each (`cut`). */
export function cut(notes, span, count, first = 0) {
  const parts = Array.from({ length: count }, () => []);
  for (const note of notes) {
    const tick = Math.round(note.start * TICKS) - first;
    parts[Math.floor(tick / span)]?.push({ ...note, start: modulo(tick, span) / TICKS });
  }
  return parts;
}

/** The form of a melody whose sections are equally long: a letter for each (`find_form`). */
export function findForm(melody) {
  const [bars, bar, pickup] = [countBars(melody), barTicks(melody.meter), findPickup(melody)];
  for (let count = 2; count < 9; count++) {
    if (bars % count !== 0 || bars / count < 4) continue;
    const parts = cut(melody.notes, (bars / count) * bar, count, pickup);
    const firsts = parts.map((part, i) => parts.findIndex((other, j) => j === i || closeness(part, other) >= SAME));
    const different = [...new Set(firsts)].sort((a, b) => a - b);
    if (different.length < count) return firsts.map((first) => String.fromCharCode(65 + different.indexOf(first)));
  }
  return bars % 2 === 0 && bars >= 8 ? ["A", "B"] : ["A"];
}

/** The letters of a form, in the order in which their sections are written (`Controls.sections`). */
export function lettersOf(form) {
  return [...new Set(form)];
}

/** The ticks of a section (`Controls.span`). */
export function spanOf(controls) {
  return (controls.bars / controls.form.length) * barTicks(controls.meter);
}
