// What there is to choose from: keys, modes and instruments.

/** The names of the pitch classes. */
export const TONICS = ["C", "C♯", "D", "E♭", "E", "F", "F♯", "G", "A♭", "A", "B♭", "B"];

/** The modes that folk tunes have. */
export const MODES = ["major", "minor", "dorian", "mixolydian", "lydian", "phrygian", "locrian"];

/** General MIDI's numbers of the instruments, from 0. */
export const PROGRAMS = { flute: 73, violin: 40, clarinet: 71, nylon_guitar: 24, harp: 46 };
