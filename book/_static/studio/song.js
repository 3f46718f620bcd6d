// What the page does with a composed song: who plays what, which notes are kept, and how to say it.

import { PROGRAMS, TONICS } from "./choices.js";

const CHORDS = { key: "chords", name: "nylon_guitar", velocity: 52 };
const BASS = { key: "bass", name: "harp", velocity: 70 };

/**
 * The parts of a song.
 * @param {object} song as the worker composed it
 * @param {string} name the instrument of the melody
 * @param {boolean} accompanied whether chords and a bass play along
 * @returns {{title: string, program: number, notes: object[]}[]} whose notes know their instrument and velocity
 */
export function partsOf(song, name, accompanied) {
  const parts = [{ key: "notes", name, velocity: 90 }, ...(accompanied ? [CHORDS, BASS] : [])];
  return parts.map(({ key, name, velocity }) => ({
    title: key === "notes" ? song.title : key,
    program: PROGRAMS[name] ?? 0,
    notes: song[key].map((note) => ({ ...note, name, velocity })),
  }));
}

/**
 * Which notes of a song its source has, too, at the same place.
 * @param {{source: object[] | null}} song
 * @returns {(note: {pitch: number, start: number}) => boolean}
 */
export function keptIn({ source }) {
  const place = ({ pitch, start }) => `${pitch} ${Math.round(24 * start)}`;
  const known = new Set((source ?? []).map(place));
  return (note) => known.has(place(note));
}

/** A song in a sentence. */
export function describe({ title, bars, tonic, mode, closeness }, seed) {
  const like = closeness === null ? "" : `, ${Math.round(100 * closeness)}\u00a0% like the tune`;
  return `${title}: ${bars} bars in ${TONICS[tonic]} ${mode}${like}. Take ${seed}.`;
}
