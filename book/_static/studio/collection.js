/**
 * The tunes that the page searches: packed by scripts/studio_index.py, unpacked and played out here.
 *
 * The notes of all tunes, with their repeats, lie end to end in flat arrays, as in musicai.search.Lines.
 */

class Reader {
  constructor(bytes) {
    this.bytes = bytes;
    this.at = 0;
  }

  byte() {
    return this.bytes[this.at++];
  }

  /** A whole number: seven bits per byte, the lowest first. */
  number() {
    let value = 0, scale = 1, byte;
    do {
      byte = this.byte();
      value += (byte & 127) * scale;
      scale *= 128;
    } while (byte > 127);
    return value;
  }

  signed() {
    const value = this.number();
    return value % 2 ? -(value + 1) / 2 : value / 2;
  }
}

export class Collection {
  /**
   * @param {Uint8Array} bytes what `pack` in scripts/studio_index.py wrote
   *
   * Then `offsets[i]` to `offsets[i + 1]` are the notes of tune i as it is played: `pitches` are MIDI numbers,
   * `onsets`, `steps` (the time to the next note) and `durations` are in ticks, and `sources` says which note of the
   * written tune each of them is, or -1.
   */
  constructor(bytes) {
    const length = new DataView(bytes.buffer, bytes.byteOffset).getUint32(0, true), text = new TextDecoder();
    const header = JSON.parse(text.decode(bytes.subarray(4, 4 + length)));
    const streams = {};
    let at = 4 + length;
    for (const [name, size] of Object.entries(header.streams)) streams[name] = bytes.subarray(at, (at += size));
    this.header = header;
    this.titles = text.decode(streams.titles).split("\n");
    this.ids = fullIds(text.decode(streams.ids).split("\n"));
    this.readTunes(new Reader(streams.facts), new Reader(streams.notes));
  }

  get length() {
    return this.header.count;
  }

  readTunes(facts, notes) {
    const { header } = this;
    const unpack = () => readNotes(header, facts, notes);
    this.written = [];
    const played = [];
    for (let i = 0; i < header.count; i++) {
      const numbers = { key: facts.number(), meter: facts.number(), tempo: facts.number(), section: facts.number() };
      const tune = { ...numbers, ...unpack() };
      const spans = Array.from({ length: facts.number() }, () => [facts.signed(), facts.number()]);
      this.written.push(tune);
      played.push(spans.length ? playSpans(tune, spans, header.grid) : { ...unpack(), sources: null });
    }
    this.layOut(played);
  }

  layOut(played) {
    const total = played.reduce((sum, tune) => sum + tune.pitches.length, 0);
    this.offsets = new Int32Array(played.length + 1);
    this.pitches = new Uint8Array(total);
    for (const name of ["onsets", "steps", "durations", "sources"]) this[name] = new Int32Array(total);
    this.sources.fill(-1);
    played.forEach((tune, i) => {
      const at = this.offsets[i];
      for (const name of ["pitches", "onsets", "steps", "durations"]) this[name].set(tune[name], at);
      if (tune.sources) this.sources.set(tune.sources, at);
      this.offsets[i + 1] = at + tune.pitches.length;
    });
  }

  /** Tune i as it is written, with repeats not played out: enough to show it and to compose from it. */
  tune(i) {
    const { header, written } = this, tune = written[i];
    const [tonic, mode] = header.keys[tune.key], [sections, pickup] = header.sections[tune.section];
    const facts = { title: this.titles[i], id: this.ids[i], meter: header.meters[tune.meter], tonic, mode };
    return { ...facts, sections, pickup, tempo: header.tempos[tune.tempo], notes: this.notesOf(tune) };
  }

  /** Tune i as it is played; `source` is the note's place in the written tune. */
  played(i) {
    const [first, last] = this.offsets.subarray(i, i + 2), part = { sources: this.sources.subarray(first, last) };
    for (const name of ["pitches", "onsets", "durations"]) part[name] = this[name].subarray(first, last);
    return this.notesOf(part).map((note, k) => ({ ...note, source: part.sources[k] }));
  }

  notesOf({ pitches, onsets, durations }) {
    const { ticks } = this.header;
    const note = (pitch, i) => ({ pitch, start: onsets[i] / ticks, duration: durations[i] / ticks });
    return Array.from(pitches, note);
  }
}

/** One tune's notes: every byte stands for an interval and a rhythm; 255 announces a pair without a byte of its own. */
function readNotes({ pairs, rhythms, firsts }, facts, notes) {
  const count = facts.number();
  let pitch = facts.number(), onset = firsts[facts.number()];
  const pitches = new Uint8Array(count), [onsets, steps, durations] = [0, 1, 2].map(() => new Int32Array(count));
  for (let i = 0; i < count; i++) {
    const code = notes.byte();
    const [interval, rhythm] = code < pairs.length && code < 255 ? pairs[code] : [notes.byte() - 128, notes.number()];
    const [step, duration] = rhythms[rhythm];
    pitches[i] = pitch += interval;
    onsets[i] = onset;
    steps[i] = step;
    durations[i] = duration;
    onset += step;
  }
  return { pitches, onsets, steps, durations };
}

/** Play the spans (from the end of the last one, length) of a tune one after the other. */
function playSpans(tune, spans, grid) {
  const sources = [], onsets = [];
  let end = 0, now = 0;
  for (const [skip, length] of spans) {
    const start = end + skip * grid;
    end = start + length * grid;
    for (let i = lowerBound(tune.onsets, start); i < tune.onsets.length && tune.onsets[i] < end; i++) {
      sources.push(i);
      onsets.push(tune.onsets[i] - start + now);
    }
    now += end - start;
  }
  const durations = sources.map((i) => tune.durations[i]), count = sources.length;
  const last = onsets[count - 1] + durations[count - 1];
  const steps = onsets.map((onset, i) => Math.max(1, (i + 1 < count ? onsets[i + 1] : last) - onset));
  return { pitches: sources.map((i) => tune.pitches[i]), onsets, steps, durations, sources };
}

function lowerBound(sorted, x) {
  let low = 0, high = sorted.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (sorted[middle] < x) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** An empty line is the id before, with a number that is higher by one. */
function fullIds(lines) {
  let id = "";
  return lines.map((line) => (id = line || id.replace(/\d+$/, (number) => Number(number) + 1)));
}
