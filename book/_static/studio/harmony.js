// Chords for a melody, by a hidden Markov model that learned from the Nottingham tunes, and an accompaniment. The
// counterpart of musicai/composition/harmony.py (without what learns) and accompaniment.py.

import { beatsOf, modulo, scaleOf, sum } from "./controls.js";
import { roundEven } from "./tunes.js";

const QUALITIES = { major: [0, 4, 7], minor: [0, 3, 7], seventh: [0, 4, 7, 10], diminished: [0, 3, 6] };
const CHORDS = Object.keys(QUALITIES).flatMap((quality) => Array.from({ length: 12 }, (_, root) => ({ root, quality })));
const COUNT = CHORDS.length; // 48 states; their roots are counted from the tonic
const FRAME = 0.5; // beats of a frame in Nottingham
const SLACK = 1e-6; // beats: rounding errors
const TRUST = 0.8; // what the melody counts for
const FOREIGN = 2.5; // nats that each note outside the scale costs a chord, in modes that Nottingham hardly has
const BASS = 36; // C2: the bass plays in the octave above it
const CENTRE = 57; // the pitch around which chords lie if the melody leaves room
// What is played in a bar: the bass plays the root (B) or the fifth (F), the chord is struck (c), "." holds, "-" is silence.
const PATTERNS = { "6/8": "BccFcc", "9/8": "B.cF.cB.c", "4/4": "B-c-F-c-", "2/2": "B-c-F-c-", "2/4": "BcFc" };
Object.assign(PATTERNS, { "3/4": "B.c.c.", "3/2": "", "4/2": "" });

/**
 * A chord and how long it lasts, in beats (`ChordSpan`).
 * @typedef {{start: number, end: number, root: number, quality: string}} ChordSpan
 */

/** The pitch classes of a chord, the root first. */
function tonesOf({ root, quality }) {
  return QUALITIES[quality].map((step) => (root + step) % 12);
}

/**
 * Find chords for a melody, in the style of the Nottingham tunes (`add_chords`).
 * @param {import("./controls.js").Melody} melody that begins with a whole bar
 * @param {Map<string, {values: Float32Array}>} tensors from `readTensors`, with the log probabilities of the chords
 * @returns {ChordSpan[]} from the first beat to the end of the last bar; neighbours differ
 */
export function addChords({ notes, meter, tonic, mode }, tensors) {
  const [first, steps, sings] = ["first", "steps", "sings"].map((name) => tensors.get(`chords.${name}`).values);
  const [edges, places] = spansOf(notes, meter);
  const scale = scaleOf(mode);
  const row = scale.includes(3) ? 1 : 0; // major or minor
  const isForeign = (tone) => mode !== "major" && mode !== "minor" && !scale.includes(tone);
  const fines = CHORDS.map((chord) => FOREIGN * tonesOf(chord).filter(isForeign).length);
  const scores = evidence(notes, edges, tonic, sings).map((span) => span.map((score, s) => TRUST * score - fines[s]));
  scores[0] = scores[0].map((score, s) => score + first[row * COUNT + s]);
  const step = (t, from, to) => steps[((row * 6 + places[t + 1]) * COUNT + from) * COUNT + to];
  const found = [];
  bestPath(scores, step).forEach((state, t, path) => {
    if (t > 0 && state === path[t - 1]) found.at(-1).end = edges[t + 1];
    else found.push({ start: edges[t], end: edges[t + 1], root: (CHORDS[state].root + tonic) % 12, quality: CHORDS[state].quality });
  });
  return found;
}

/** The lengths in beats of the spans that make up a bar (`rhythm_of`). */
function rhythmOf([count, lower]) {
  const unit = 4 / lower;
  const compound = count > 3 && count % 3 === 0;
  const parts = compound ? count / 3 : Math.min(count, Math.max(1, Math.floor((count * unit + 0.5) / 2)));
  return Array.from({ length: parts }, (_, i) => (Math.floor(count / parts) + (i < count % parts ? 1 : 0)) * unit);
}

/** The edges of a melody's spans, and the place of each in its section: 0 to 5 (`spans_of`). */
function spansOf(notes, meter) {
  const rhythm = rhythmOf(meter);
  const bars = Math.max(1, Math.ceil(beatsOf(notes) / sum(rhythm) - SLACK));
  const [edges, places] = [[0], []];
  for (let left = bars - 1; left >= 0; left--) {
    rhythm.forEach((beats, i) => {
      edges.push(edges.at(-1) + beats);
      places.push(2 * ({ 0: 2, 4: 1 }[left % 8] ?? 0) + (i > 0 ? 1 : 0));
    });
  }
  return [edges, places];
}

/** The log probability of what the melody sings in each span under each chord, per half beat (`evidence`). */
function evidence(notes, edges, tonic, sings) {
  return edges.slice(1).map((end, t) => {
    const scores = new Float64Array(COUNT);
    const first = Math.min(edges[t] + FRAME, end);
    [[edges[t], first], [first, end]].forEach(([left, right], table) => {
      for (const note of notes) {
        const shared = Math.min(note.start + note.duration, right) - Math.max(note.start, left);
        const tone = modulo(note.pitch - tonic, 12);
        if (shared > 0) for (let s = 0; s < COUNT; s++) scores[s] += (shared / FRAME) * sings[(table * COUNT + s) * 12 + tone];
      }
    });
    return scores;
  });
}

/** The best path through the states of a chain, by the Viterbi algorithm (`best_path`). */
function bestPath(scores, step) {
  const ahead = [scores.at(-1)]; // how good what follows each state can be
  for (let t = scores.length - 2; t >= 0; t--) {
    const next = ahead[0];
    ahead.unshift(scores[t].map((score, from) => score + Math.max(...next.map((good, to) => good + step(t, from, to)))));
  }
  const path = [];
  ahead.forEach((good, t) => {
    const choice = t === 0 ? good : good.map((score, to) => score + step(t - 1, path[t - 1], to));
    path.push(choice.indexOf(Math.max(...choice)));
  });
  return path;
}

/**
 * Write chords and a bass below a melody (`accompany`).
 * @param {import("./controls.js").Melody} melody
 * @param {ChordSpan[]} spans as `addChords` gives them
 * @returns {{chords: import("./controls.js").Note[], bass: import("./controls.js").Note[]}} to be played at 0.6 and 0.8 of
 *   the melody's velocity
 */
export function accompany({ notes, meter }, spans) {
  const [chords, bass] = [[], []];
  let hand = null;
  let last = null;
  for (const { start, end, letter, chord } of strokes(meter, spans)) {
    const duration = end - start;
    if (letter === "c") {
      const heard = notes.filter((note) => note.start < end - SLACK && note.start + note.duration > start + SLACK);
      hand = voiceChord(chord, hand, Math.min(127, ...heard.map((note) => note.pitch)));
      chords.push(...hand.map((pitch) => ({ pitch, start, duration })));
    } else {
      const tone = tonesOf(chord)[letter === "F" && chord === last ? 2 : 0]; // a new chord begins with its root
      bass.push({ pitch: BASS + modulo(tone - BASS, 12), start, duration });
      last = chord;
    }
  }
  return { chords, bass };
}

/** What is struck, from the first chord to the end of the last (`strokes`). */
function strokes(meter, spans) {
  const text = PATTERNS[meter.join("/")] ?? patternOf(meter);
  const [bar, finish] = [sum(rhythmOf(meter)), spans.at(-1).end];
  const found = [];
  for (let begin = 0; begin < finish - SLACK; begin += bar) {
    const held = begin + bar > finish - SLACK || text === ""; // the last bar is one long chord
    for (const chord of spans) {
      const [left, right] = [Math.max(begin, chord.start), Math.min(begin + bar, chord.end)];
      if (left >= right - SLACK) continue;
      if (held) for (const letter of "Bc") found.push({ start: left, end: right, letter, chord });
      for (const stroke of held ? [] : text.matchAll(/[BFc]\.*/g)) {
        const start = begin + (stroke.index * bar) / text.length;
        const end = Math.min(start + (stroke[0].length * bar) / text.length, right);
        if (left - SLACK < start && start < right - SLACK) found.push({ start, end, letter: stroke[0][0], chord });
      }
    }
  }
  return found;
}

/** The pattern of an unusual metre: each span begins with the bass, and chords follow (`pattern_of`). */
function patternOf(meter) {
  const [hold, steps] = meter[1] > 4 ? ["", 2] : [".", 1];
  const counts = rhythmOf(meter).map((span) => Math.max(1, roundEven(span * steps)));
  return counts.map((count) => `B${hold}${`c${hold}`.repeat(count - 1)}`).join("");
}

/** The position of three notes that lies below `ceiling`, if one does, and is nearest to the previous one (`voice_chord`). */
function voiceChord(chord, previous, ceiling) {
  const all = tonesOf(chord);
  const tones = [all[0], all[1], all.at(-1)]; // the bass has the root, and nobody misses a seventh chord's fifth
  let [best, least] = [null, Infinity];
  for (let low = 36; low < 60; low++) {
    if (!tones.includes(low % 12)) continue;
    const position = tones.map((tone) => low + modulo(tone - low, 12)).sort((a, b) => a - b);
    const way = sum(position.map((pitch, i) => Math.abs(pitch - (previous ?? position)[i])));
    const cost = way + 0.2 * Math.abs(sum(position) / 3 - CENTRE) + 100 * Math.max(0, position[2] - ceiling + 1);
    if (cost < least) [best, least] = [position, cost];
  }
  return best;
}
