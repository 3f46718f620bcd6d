// What there is to choose from: tunes to try, keys, modes and instruments.

/** Titles, the notes that these tunes begin with, and their lengths in sixteenth notes. */
export const EXAMPLES = [
  ["The Irish Washerwoman", "D5 C5 B4 G4 G4 D4 G4 G4 B4 G4 B4 D5", "1 1 2 2 2 2 2 2 2 2 2 2"],
  ["Londonderry Air", "F#4 G4 A4 B4 A4 B4 E5 D5 B4 A4 G4 E4", "2 2 2 6 2 2 2 2 2 2 2 4"],
  ["Drowsy Maggie", "E4 B4 E4 D5 E4 B4 E4 E4 B4 E4 A4 F#4", "4 2 2 2 2 2 2 4 2 2 2 2"],
  ["The Minstrel Boy", "D4 G4 A4 C5 B4 A4 G4 B4 D5 G5 F#5 G5", "2 6 2 2 2 2 2 4 4 4 2 2"],
  ["Garryowen", "G5 F#5 E5 D5 C5 B4 A4 G4 B4 C5 B4 B4", "1 1 2 2 2 2 2 2 3 1 2 2"],
  ["The Rakes of Mallow", "G4 B4 G4 B4 G4 B4 C5 B4 A4 G4 F#4 A4", "2 2 2 2 2 2 1 1 1 1 2 2"],
];

/** The names of the pitch classes. */
export const TONICS = ["C", "C♯", "D", "E♭", "E", "F", "F♯", "G", "A♭", "A", "B♭", "B"];

/** The modes that folk tunes have. */
export const MODES = ["major", "minor", "dorian", "mixolydian", "lydian", "phrygian", "locrian"];

/** General MIDI's numbers of the instruments, from 0. */
export const PROGRAMS = { flute: 73, violin: 40, clarinet: 71, nylon_guitar: 24, harp: 46 };
