// A piano keyboard of two octaves, for a mouse, fingers, the arrow keys and the letters of a computer's keyboard.

/** The lowest and the highest key. */
export const LOWEST = 60;
export const HIGHEST = 84;

const NAMES = ["C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B"];
const STEPS = { C: 0, D: 2, E: 4, F: 5, G: 7, A: 9, B: 11 };
const LETTERS = "KeyA KeyW KeyS KeyE KeyD KeyF KeyT KeyG KeyY KeyH KeyU KeyJ KeyK KeyO KeyL KeyP Semicolon".split(" ");

/** The name of a MIDI number: 60 is C4. */
export function nameOf(pitch) {
  return NAMES[pitch % 12] + (Math.floor(pitch / 12) - 1);
}

/**
 * Read the names of notes, such as "E4 F#4 Bb4"; a name without a number is in the octave of the note before.
 * @param {string} text
 * @returns {number[]} MIDI numbers
 */
export function readNames(text) {
  const pitches = [];
  let octave = 4;
  for (const word of text.trim().split(/[\s,]+/).filter(Boolean)) {
    const found = /^([A-G])([#♯b♭]?)(-?\d)?$/i.exec(word);
    if (!found) throw new Error(`“${word}” is not the name of a note. Write names such as E4, F#4 or Bb4.`);
    octave = found[3] === undefined ? octave : Number(found[3]);
    const sign = { "#": 1, "♯": 1, b: -1, "♭": -1 }[found[2]] ?? 0;
    const pitch = STEPS[found[1].toUpperCase()] + sign + 12 * (octave + 1);
    if (pitch < 21 || pitch > 108) throw new Error(`${word} is outside the piano. Write octaves from 1 to 7.`);
    pitches.push(pitch);
  }
  return pitches;
}

/** The keyboard itself. */
export class Keyboard {
  /**
   * @param {HTMLElement} element where to put the keys
   * @param {(pitch: number) => void} press is called as a key goes down
   * @param {(pitch: number) => void} release is called as it comes up
   */
  constructor(element, press, release) {
    this.keys = new Map();
    this.press = (pitch) => {
      this.keys.get(pitch)?.classList.add("down");
      press(pitch);
    };
    this.release = (pitch) => {
      this.keys.get(pitch)?.classList.remove("down");
      release(pitch);
    };
    let white = 0;
    for (let pitch = LOWEST; pitch <= HIGHEST; pitch++) {
      const key = document.createElement("button");
      const black = NAMES[pitch % 12].length > 1;
      key.type = "button";
      key.className = black ? "black" : "white";
      key.style.setProperty("--place", white);
      key.tabIndex = pitch === LOWEST ? 0 : -1;
      key.setAttribute("aria-label", nameOf(pitch).replace("#", " sharp "));
      if (pitch % 12 === 0) key.textContent = nameOf(pitch);
      this.#listen(key, pitch);
      element.append(key);
      this.keys.set(pitch, key);
      white += black ? 0 : 1;
    }
    element.style.setProperty("--count", white);
  }

  #listen(key, pitch) {
    let down = false;
    const up = () => down && ((down = false), this.release(pitch));
    const go = () => !down && ((down = true), this.press(pitch));
    key.addEventListener("pointerdown", (event) => event.button === 0 && go());
    for (const name of ["pointerup", "pointerleave", "pointercancel", "blur"]) key.addEventListener(name, up);
    key.addEventListener("click", ({ detail }) => detail === 0 && !down && (go(), setTimeout(up, 400))); // no pointer
    key.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1, ArrowUp: 12, ArrowDown: -12 }[event.key];
      if (step) {
        event.preventDefault();
        this.#focus(Math.max(LOWEST, Math.min(HIGHEST, pitch + step)));
      } else if ([" ", "Enter"].includes(event.key)) {
        event.preventDefault();
        if (!event.repeat) go();
      }
    });
    key.addEventListener("keyup", (event) => [" ", "Enter"].includes(event.key) && up());
  }

  #focus(pitch) {
    for (const [other, key] of this.keys) key.tabIndex = other === pitch ? 0 : -1;
    this.keys.get(pitch).focus();
  }

  /** Let the letters play wherever `element` has the focus, but for fields to write in. */
  listenToLetters(element) {
    const pitchOf = (event) => {
      const place = LETTERS.indexOf(event.code);
      const writing = event.target.matches("input:not([type=range]), select") || event.ctrlKey || event.metaKey || event.altKey;
      return place < 0 || writing ? null : LOWEST + place;
    };
    const down = new Set();
    element.addEventListener("keydown", (event) => {
      const pitch = pitchOf(event);
      if (pitch !== null && !event.repeat) {
        down.add(pitch);
        this.press(pitch);
      }
    });
    element.addEventListener("keyup", (event) => {
      const pitch = pitchOf(event);
      if (down.delete(pitch)) this.release(pitch);
    });
  }
}
