// Files to take home: standard MIDI files and WAV.

const TICKS = 480; // per beat

/** Big-endian bytes of a number. */
const bytes = (value, count) => Array.from({ length: count }, (_, i) => (value >>> (8 * (count - 1 - i))) & 255);

/** A MIDI quantity: seven bits per byte, all but the last with the top bit set. */
function quantity(value) {
  const found = [value & 127];
  for (let rest = value >>> 7; rest; rest >>>= 7) found.unshift((rest & 127) | 128);
  return found;
}

const ascii = (text) => Array.from(text, (letter) => letter.charCodeAt(0) & 127);

/** A track of a MIDI file: events [tick, order at that tick, bytes], one after another. */
function track(events) {
  events.sort((a, b) => a[0] - b[0] || a[1] - b[1]);
  const content = events.flatMap(([tick, , event], i) => [...quantity(tick - (events[i - 1]?.[0] ?? 0)), ...event]);
  content.push(0, 0xff, 0x2f, 0);
  return [...ascii("MTrk"), ...bytes(content.length, 4), ...content];
}

/** What a part plays, on a channel of its own. */
function partTrack({ title, program, notes }, channel) {
  const events = [[0, 0, [0xff, 0x03, ...quantity(title.length), ...ascii(title)]], [0, 1, [0xc0 | channel, program]]];
  for (const { pitch, start, duration, velocity } of notes) {
    events.push([Math.round(start * TICKS), 3, [0x90 | channel, pitch, velocity]]);
    events.push([Math.round((start + duration) * TICKS), 2, [0x80 | channel, pitch, 0]]); // before a new note
  }
  return track(events);
}

/**
 * A MIDI file.
 * @param {{title: string, program: number, notes: object[]}[]} parts notes in beats; General MIDI's programs, from 0
 * @param {{tempo: number, meter: number[]}} song
 * @returns {Uint8Array}
 */
export function midiFile(parts, { tempo, meter }) {
  const beginning = track([
    [0, 0, [0xff, 0x51, 3, ...bytes(Math.round(6e7 / tempo), 3)]],
    [0, 1, [0xff, 0x58, 4, meter[0], Math.round(Math.log2(meter[1])), 24, 8]],
  ]);
  const header = [...ascii("MThd"), ...bytes(6, 4), ...bytes(1, 2), ...bytes(1 + parts.length, 2), ...bytes(TICKS, 2)];
  return Uint8Array.from([...header, ...beginning, ...parts.flatMap(partTrack)]);
}

/**
 * A WAV file of 16 bits.
 * @param {Float32Array} samples mono
 * @param {number} rate samples per second
 * @returns {Uint8Array}
 */
export function wavFile(samples, rate) {
  const view = new DataView(new ArrayBuffer(44 + 2 * samples.length));
  const text = (at, word) => ascii(word).forEach((letter, i) => view.setUint8(at + i, letter));
  text(0, "RIFF");
  view.setUint32(4, 36 + 2 * samples.length, true);
  text(8, "WAVEfmt ");
  view.setUint32(16, 16, true);
  view.setUint16(20, 1, true); // PCM
  view.setUint16(22, 1, true); // one channel
  view.setUint32(24, rate, true);
  view.setUint32(28, 2 * rate, true);
  view.setUint16(32, 2, true);
  view.setUint16(34, 16, true);
  text(36, "data");
  view.setUint32(40, 2 * samples.length, true);
  samples.forEach((x, n) => view.setInt16(44 + 2 * n, Math.max(-1, Math.min(1, x)) * 32767, true));
  return new Uint8Array(view.buffer);
}

/** Offer a file for download. */
export function download(content, name, type) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([content], { type }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}
