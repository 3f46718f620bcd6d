// What runs beside the page, so that the page never freezes: search, pitch, composing and sound.

import { Composer } from "./compose.js";
import { Instrument } from "./instrument.js";
import { listen } from "./pitch.js";
import { TuneIndex } from "./search.js";

const PARTS = { index: TuneIndex, tunes: Composer, instrument: Instrument };
const MATCHES = 4; // tunes to choose from

/** The bytes of a text in base64. */
function decode(text) {
  return Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
}

/**
 * Answer messages {id, task, given} with {id, result} or {id, error}, and before that with any number of {id, part}.
 * @param {WorkerGlobalScope} scope
 */
export function serve(scope) {
  const loaded = {};
  let matches = [];
  let latest = 0; // the number of the last request to play

  const tasks = {
    /** Build one of the parts from its data. */
    load({ name, data }) {
      loaded[name] = new PARTS[name](decode(data));
      return name === "instrument" ? loaded.instrument.names : name;
    },
    /** Sound to the pitch from moment to moment, and to notes. */
    hear: ({ samples, rate }) => listen(samples, rate),
    /** Notes to tunes, or what was sung, which says more than the notes heard in it. */
    find({ notes, rhythm, contour }) {
      const { index } = loaded;
      matches = contour ? index.findContour(contour, MATCHES) : index.find(notes, MATCHES, { rhythm });
      return matches;
    },
    /** The tune of a match and the knobs to a new song; `match` is its place among those found last. */
    compose({ match, ...knobs }, part) {
      const found = matches[match];
      const tune = found ? { ...found.tune, notes: found.played } : null; // repeats played out, as in Python
      const song = loaded.tunes.compose({ tune, ...knobs }, (done) => part(done));
      return { ...song, ...loaded.tunes.accompany(song) };
    },
    /** One note as sound. */
    note: ({ pitch, name }) => loaded.instrument.sound({ pitch, name, velocity: 90, seconds: 2, seed: pitch }),
    /** A tune as sound, piece by piece, unless another one is asked for in the meantime. */
    async play({ notes, ...options }, part) {
      const mine = ++latest;
      for (const samples of loaded.instrument.stream(notes, options)) {
        part(samples);
        await new Promise((next) => setTimeout(next)); // let other messages in
        if (mine !== latest) return false;
      }
      return true;
    },
    /** A tune as sound, all of it at once. */
    render: ({ notes, ...options }) => loaded.instrument.render(notes, options),
    /** Render no further. */
    stop: () => void latest++,
  };

  scope.onmessage = async ({ data: { id, task, given } }) => {
    try {
      scope.postMessage({ id, result: await tasks[task](given, (part) => scope.postMessage({ id, part })) });
    } catch (error) {
      scope.postMessage({ id, error: error.message });
    }
  };
}
