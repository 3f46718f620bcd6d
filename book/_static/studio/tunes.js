// Tunes as the model reads and writes them: classes of durations and pitches, plans, layouts, and the look-up of a
// tune's own past and of its source. The counterpart of musicai/composition/tunes.py and memory.py.

import { searchRight } from "./numbers.js";

/** Ticks per beat (quarter note). */
export const TICKS = 24;
/** The ticks of each class of duration. */
export const LENGTHS = [1, 2, 3, 4, 6, 8, 9, 12, 16, 18, 21, 24, 30, 32, 36, 42, 48, 54, 60, 66, 72, 84, 96, 120, 144];
/** Semitones from the plan's base to pitch class 0 of the model. */
export const LOWEST = -24;
/** The last class of pitch. */
export const REST = 61;
/** The modes, each with one sharp fewer than the one before. */
export const MODES = ["lydian", "major", "mixolydian", "dorian", "minor", "phrygian", "locrian"];
/** Slots of advice that each row of the network's input has; the last two read the source. */
export const SLOTS = 12;
/** The columns of the network's input. */
export const COLUMNS = 53;
/** The first column of the first slot; each slot has three. */
export const FIRST_SLOT = 17;

const METERS = ["2/2", "4/4", "2/4", "6/8", "9/8", "3/4", "3/8", "12/8", "6/4", "5/4", "3/2"];
const CENTRE = 71; // the MIDI number in the middle of most tunes' ranges
const LAGS = [1, 2, 4, 8]; // bars
const OWN = 10; // slots that look into the tune's own past
const RUNS = [0, 1, 2, 3, 4, 5, 5, 6, 6, 7, 7, 7, 7, 8]; // 0..8 for a run of so many notes
const MOST = [145, 145, 17, 17, 17, 7]; // classes of each number of a place
const OCTAVE = 12;
const UP_TO = Uint8Array.from({ length: LENGTHS.at(-1) + 1 }, (_, ticks) => searchRight(LENGTHS, ticks));

/**
 * What is fixed before the first note of a tune is written (`Plan`).
 * @typedef {object} Plan
 * @property {number} tonic its pitch class, 0 (C) to 11 (B)
 * @property {string} mode one of `MODES`
 * @property {number[]} meter numerator and denominator
 * @property {number[]} sections the bars of each section as written
 * @property {number} pickup beats before the first whole bar
 * @property {number[]} range the lowest and highest MIDI pitch
 * @property {number} density notes per beat, or NaN
 * @property {number} syncopation the share of syncopated notes, or NaN
 */

/**
 * Where a tune's bars and sections begin, in ticks from its first note (`TuneLayout`).
 * @typedef {{lines: number[], starts: number[], end: number}} Layout
 */

/** Round to the nearest whole number, halves to the even one, as Python does. */
export function roundEven(x) {
  const nearest = Math.round(x);
  return Math.abs(x % 1) === 0.5 && nearest % 2 !== 0 ? nearest - 1 : nearest;
}

/** `x`, or the nearer limit. */
export function clamp(x, low, high) {
  return Math.min(Math.max(x, low), high);
}

/** The ticks of a bar. */
export function barTicks(meter) {
  return Math.floor((4 * TICKS * meter[0]) / meter[1]);
}

/** The MIDI number of the tonic that a plan's pitches are counted from (`Plan.base`). */
export function baseOf(plan) {
  return 60 + plan.tonic + 12 * roundEven(((plan.range[0] + plan.range[1]) / 2 - CENTRE) / 12);
}

/**
 * The layout of a plan: every bar is complete, but for the pickup and the last (`TuneLayout.of`).
 * @param {Plan} plan
 * @returns {Layout}
 */
export function layoutOf(plan) {
  const bar = barTicks(plan.meter);
  const pickup = Math.round(plan.pickup * TICKS);
  const count = plan.sections.reduce((sum, bars) => sum + bars, 0);
  const first = pickup > 0 ? 1 : 0;
  const lines = Array.from({ length: count + first + 1 }, (_, k) => pickup + bar * (k - first));
  const starts = [];
  let start = first;
  for (const bars of plan.sections) {
    starts.push(start);
    start += bars;
  }
  return { lines, starts, end: count * bar };
}

/** A tune that grows note by note, and what is known before its next one (`TuneMemory`). */
export class TuneMemory {
  /** @param {Layout} layout */
  constructor(layout) {
    this.layout = layout;
    this.now = 0; // where the next note begins, in ticks
    this.bar = searchRight(layout.lines, 0) - 1;
    this.durations = []; // the classes so far
    this.pitches = [];
    this.onsets = [];
    this.low = REST; // the lowest and the highest pitch class so far
    this.high = 0;
    this.at = new Int16Array(layout.end).fill(-1); // the note that begins at each tick
    this.runs = new Int32Array(OWN); // how many notes in a row each slot has got right
    this.places = []; // of each note, in its bar
    this.matches = []; // of each note, how many notes before it equal the latest ones
    this.slots = new Int32Array(3 * OWN); // duration + 1, pitch + 1 and state of each; zeros for no advice
    this.#lookUp();
  }

  /** Whether the tune has reached its end. */
  get finished() {
    return this.now >= this.layout.end;
  }

  /** Append a note of these classes. */
  append(duration, pitch) {
    const t = this.onsets.length;
    const { lines } = this.layout;
    for (let k = 0; k < OWN; k++) {
      const hit = this.slots[3 * k] === duration + 1 && this.slots[3 * k + 1] === pitch + 1 && this.slots[3 * k + 2] > 1;
      this.runs[k] = hit ? this.runs[k] + 1 : 0;
    }
    this.matches.push(0);
    for (let i = t; i > 0; i--) {
      const same = this.durations[i - 1] === duration && this.pitches[i - 1] === pitch;
      this.matches[i] = same ? this.matches[i - 1] + 1 : 0;
    }
    this.places.push(this.now - lines[this.bar]);
    this.at[this.now] = t;
    if (pitch !== REST) {
      this.low = Math.min(this.low, pitch);
      this.high = Math.max(this.high, pitch);
    }
    this.durations.push(duration);
    this.pitches.push(pitch);
    this.onsets.push(this.now);
    this.now += LENGTHS[duration];
    while (this.bar < lines.length - 2 && lines[this.bar + 1] <= this.now) this.bar++;
    this.#lookUp();
  }

  /**
   * Where the next note begins: ticks since the bar line and up to the next, bars since the section began, bars left in
   * it and in the tune, and the number of the section.
   */
  place() {
    const { lines, end } = this.layout;
    const { number, first, stop } = this.#section();
    const left = Math.min(lines[this.bar + 1], end) - this.now;
    const found = [this.now - lines[this.bar], left, this.bar - first + 1, stop - this.bar];
    found.push(lines.length - 1 - this.bar, number);
    return found.map((x, i) => clamp(x, 0, MOST[i] - 1));
  }

  /** The section of this bar: its number, its first bar, and the first bar after it. */
  #section() {
    const { lines, starts } = this.layout;
    const number = Math.max(searchRight(starts, this.bar) - 1, 0);
    return { number, first: starts[number], stop: starts[number + 1] ?? lines.length - 1 };
  }

  /** Ask each slot for its advice. */
  #lookUp() {
    const { lines, starts } = this.layout;
    const { number, first, stop } = this.#section();
    const bar = this.bar;
    const position = this.now - lines[bar];
    const bars = LAGS.map((lag) => bar - lag);
    bars.push(number > 0 ? starts[number - 1] + bar - first : -1, number > 0 ? first + bar - stop : -1);
    bars.push(number > 1 ? starts[number - 2] + bar - first : -1);
    this.#sounding(0, this.now - Math.floor((lines[bar + 1] - lines[bar]) / 2));
    bars.forEach((b, i) => {
      const inside = b >= 0 && b < bar && lines[b] + position < lines[b + 1];
      this.#sounding(i + 1, inside ? lines[b] + position : -1);
    });
    const longest = [0, 0]; // anywhere, and here in the bar
    const latest = [0, 0];
    this.matches.forEach((length, i) => {
      for (let k = 0; k < 2; k++) {
        if (length >= longest[k] && (k === 0 || this.places[i] === position)) {
          longest[k] = length;
          latest[k] = i;
        }
      }
    });
    for (let k = 0; k < 2; k++) this.#advise(8 + k, longest[k] ? latest[k] : -1, longest[k]);
  }

  /** Set a slot to what sounded at a tick: a note that began there, or what was left of one. */
  #sounding(slot, tick) {
    if (tick < 0 || tick >= this.now) return this.#advise(slot, -1);
    if (this.at[tick] >= 0) return this.#advise(slot, this.at[tick], this.runs[slot]);
    const i = searchRight(this.onsets, tick) - 1;
    this.slots[3 * slot] = upTo(this.onsets[i] + LENGTHS[this.durations[i]] - tick);
    this.slots[3 * slot + 1] = this.pitches[i] + 1;
    this.slots[3 * slot + 2] = 1;
  }

  /** Set a slot to note i, or to nothing if i is -1. */
  #advise(slot, i, run = 0) {
    this.slots[3 * slot] = i < 0 ? 0 : this.durations[i] + 1;
    this.slots[3 * slot + 1] = i < 0 ? 0 : this.pitches[i] + 1;
    this.slots[3 * slot + 2] = i < 0 ? 0 : 2 + RUNS[Math.min(run, RUNS.length - 1)];
  }
}

/** A source on the time axis of the tune being written, and how closely the tune keeps to it (`Source`). */
export class TuneSource {
  /**
   * @param {{pitch: number, start: number, duration: number}[]} notes in the plan's key, times in beats
   * @param {Plan} plan
   */
  constructor(notes, plan) {
    const lowest = baseOf(plan) + LOWEST;
    this.onsets = [];
    this.ticks = [];
    this.pitches = [];
    this.closeness = 0.5; // a running share of the notes that the tune took from here
    let now = 0;
    const add = (start, ticks, pitch) => {
      this.onsets.push(start);
      this.ticks.push(ticks);
      this.pitches.push(pitch);
    };
    for (const note of notes) {
      const start = Math.round(note.start * TICKS);
      const end = Math.round((note.start + note.duration) * TICKS);
      if (start > now) add(now, start - now, REST);
      add(start, Math.max(end - start, 1), clamp(note.pitch - lowest, 0, REST - 1));
      now = end;
    }
  }

  /** Take note that this pitch begins at this tick of the tune. */
  append(now, pitch) {
    const i = searchRight(this.onsets, now) - 1;
    const hit = i >= 0 && this.onsets[i] === now && this.pitches[i] === pitch;
    this.closeness += ((hit ? 1 : 0) - this.closeness) / 6;
  }

  /** Write the note at tick `now` and the one after it into `row`, three numbers each, from place `start` on. */
  write(now, row, start) {
    const i = searchRight(this.onsets, now) - 1;
    const left = i >= 0 ? this.onsets[i] + this.ticks[i] - now : 0;
    if (left > 0) row.set([upTo(left), this.pitches[i] + 1, this.onsets[i] === now ? 2 : 1], start);
    const next = [upTo(this.ticks[i + 1] ?? 0), this.pitches[i + 1] + 1, 2 + Math.floor(8.99 * this.closeness)];
    if (i + 1 < this.onsets.length) row.set(next, start + 3);
  }
}

/** 1 + the class of the longest duration of at most so many ticks. */
function upTo(ticks) {
  return UP_TO[Math.min(ticks, UP_TO.length - 1)];
}

/** The plan's columns of the network's input (`plan_row`). */
export function planRow(plan) {
  const lowest = baseOf(plan) + LOWEST;
  const [low, high] = plan.range.map((pitch) => clamp(pitch - lowest, 0, REST - 1) + 1);
  const density = Number.isNaN(plan.density) ? 0 : 1 + Math.min(roundEven(8 * plan.density), 31);
  const syncopation = Number.isNaN(plan.syncopation) ? 0 : 1 + Math.min(roundEven(20 * plan.syncopation), 10);
  return [METERS.indexOf(plan.meter.join("/")) + 1, MODES.indexOf(plan.mode) + 1, low, high, density, syncopation];
}

/**
 * All columns for the next note: the plan, the note before, the place, the range so far, and the slots (`input_row`).
 * @param {number[]} plan from `planRow`
 * @param {TuneMemory} memory
 * @param {TuneSource | null} source
 * @param {Int32Array} row what is written, `COLUMNS` long
 */
export function writeRow(plan, memory, source, row) {
  const { durations, pitches } = memory;
  const [before, last] = [pitches.at(-2) ?? REST, pitches.at(-1) ?? REST];
  const missing = [memory.low + 1 - plan[2], plan[3] - memory.high - 1];
  const step = before === REST || last === REST ? 0 : clamp(last - before, -OCTAVE, OCTAVE) + OCTAVE + 1;
  row.fill(0);
  row.set(plan);
  row.set([(durations.at(-1) ?? -1) + 1, (pitches.at(-1) ?? -1) + 1, ...memory.place()], 6);
  row.set([...missing.map((semitones) => 1 + clamp(semitones, 0, 12)), step], 14);
  row.set(memory.slots, FIRST_SLOT);
  source?.write(memory.now, row, FIRST_SLOT + 3 * OWN);
}
