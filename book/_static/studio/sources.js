// How the melody that a song starts from would go in the song's key, metre, form and range. The counterpart of `lay_out`
// in musicai/composition/sources.py.

import { TICKS, barTicks } from "./tunes.js";
import { countBars, cut, findForm, findPickup, lettersOf, metricLevels, modulo, scaleOf, spanOf } from "./controls.js";

/**
 * Carry a melody over to the key, metre, form and range of a song; repeats are not written out (`lay_out`).
 * @param {import("./controls.js").Melody} source
 * @param {import("./controls.js").Controls} controls
 * @returns {import("./controls.js").Note[]} on the time axis of the sections as they are written
 */
export function layOut(source, controls) {
  const [old, bar, length] = [barTicks(source.meter), barTicks(controls.meter), spanOf(controls)];
  const [first, count, pitches] = [findPickup(source), countBars(source), carryPitches(source, controls)];
  const notes = source.notes.map((note, i) => ({
    pitch: pitches[i],
    start: Math.round(note.start * TICKS) - first,
    end: Math.round((note.start + note.duration) * TICKS) - first,
  }));
  const onsets = new Set(notes.map((note) => note.start));
  const found = [];
  firstBars(source, controls).forEach((start, j) => {
    const section = [];
    for (let i = 0; i < length / bar; i++) {
      const line = ((start + i) % count) * old;
      const inside = notes.filter((note) => Math.floor(note.start / old) === line / old);
      const places = moveOnsets(inside.map((note) => note.start - line), old, controls.meter);
      inside.forEach(({ pitch, start, end }, k) => {
        const ticks = onsets.has(end) ? length : Math.floor(((end - start) * bar) / old);
        section.push({ pitch, start: i * bar + places[k], end: i * bar + places[k] + Math.max(3, ticks) });
      });
    }
    if (section.length === 0) section.push({ pitch: pitches[0], start: 0, end: length });
    section[0].start = 0;
    section.at(-1).end = length;
    section.forEach(({ pitch, start, end }, k) => {
      const stop = section[k + 1]?.start ?? length;
      const duration = Math.min(end, stop) - start;
      if (stop > start) found.push({ pitch, start: (j * length + start) / TICKS, duration: duration / TICKS });
    });
  });
  return found;
}

/**
 * Put the sections of a melody in the order in which they sound (`play_out`).
 * @param {import("./controls.js").Note[]} written each section once, one after another
 * @param {import("./controls.js").Controls} controls with the form
 */
export function playOut(written, controls) {
  const [letters, span] = [lettersOf(controls.form), spanOf(controls)];
  const parts = cut(written, span, letters.length);
  return controls.form.flatMap((letter, k) =>
    parts[letters.indexOf(letter)].map((note) => ({
      ...note,
      start: Math.round(note.start * TICKS + k * span) / TICKS,
    })),
  );
}

/** The bar of the source at which each section of the song begins (`_first_bars`). */
function firstBars(source, controls) {
  const form = findForm(source);
  const each = Math.floor(countBars(source) / form.length);
  const own = lettersOf(form).sort().map((letter) => form.indexOf(letter) * each);
  return lettersOf(controls.form).map((_, i) => own[i] ?? i * (controls.bars / controls.form.length));
}

/** Find places for a bar's onsets in another metre: in order, near where they were, strong if possible (`move_onsets`). */
export function moveOnsets(ticks, old, meter) {
  const levels = metricLevels(meter);
  const bar = levels.length;
  if (old === bar || ticks.length === 0) return ticks;
  const step = [12, 6, 1].find((size) => bar >= size * ticks.length && (size < 12 || bar % 36 === 0));
  const grid = Array.from({ length: Math.ceil(bar / step) }, (_, i) => i * step);
  const strongest = Math.max(...levels);
  const aims = ticks.map((tick) =>
    grid.map((place) => Math.abs(place - (tick * bar) / old) / 12 + 0.4 * (strongest - levels[place])),
  );
  const moves = grid.map((place) => grid.map((other) => {
    if (other <= place) return Infinity;
    return Math.max(...levels.subarray(place + 1, other)) > levels[place] ? 2 : 0;
  }));
  return bestPath(aims, moves).map((i) => grid[i]);
}

/** The cheapest path, one place per row of `aims`, by the Viterbi algorithm; `moves` costs what it takes to move on. */
function bestPath(aims, moves) {
  let best = aims[0];
  const back = [];
  for (const aim of aims.slice(1)) {
    const from = aim.map((_, to) => lowest(best.map((cost, i) => cost + moves[i][to])));
    best = aim.map((cost, to) => best[from[to]] + moves[from[to]][to] + cost);
    back.unshift(from);
  }
  const path = [lowest(best)];
  for (const pointers of back) path.unshift(pointers[path[0]]);
  return path;
}

/** The place of the first of the lowest numbers. */
function lowest(numbers) {
  return numbers.reduce((best, x, i) => (x < numbers[best] ? i : best), 0);
}

/** The same steps of another scale, in the octave in which most notes are in range; others are folded (`_carry_pitches`). */
function carryPitches(source, controls) {
  const [low, high] = controls.range;
  const [old, scale] = [scaleOf(source.mode), scaleOf(controls.mode)];
  const table = Array.from({ length: 12 }, (_, semitone) => {
    const step = old.filter((other) => other <= semitone).length - 1;
    const room = (scale[step + 1] ?? 12) - scale[step] - 1;
    return scale[step] + Math.min(semitone - old[step], room);
  });
  const shift = source.tonic + modulo(controls.tonic - source.tonic + 6, 12) - 6;
  const moved = source.notes.map(({ pitch }) => {
    const above = pitch - source.tonic;
    return 12 * Math.floor(above / 12) + table[modulo(above, 12)] + shift;
  });
  const octaves = [0, -1, 1, -2, 2, -3, 3, -4, 4, -5, 5];
  const outside = octaves.map((k) => moved.filter((pitch) => pitch + 12 * k < low || pitch + 12 * k > high).length);
  const octave = octaves[lowest(outside)];
  const inside = Array.from({ length: high - low + 1 }, (_, i) => low + i);
  const own = inside.filter((pitch) => scale.includes(modulo(pitch - controls.tonic, 12)));
  return moved.map((place) => {
    let pitch = place + 12 * octave;
    pitch += 12 * (Math.max(0, Math.ceil((low - pitch) / 12)) - Math.max(0, Math.ceil((pitch - high) / 12)));
    return pitch >= low && pitch <= high ? pitch : own[lowest(own.map((other) => Math.abs(other - pitch)))];
  });
}
