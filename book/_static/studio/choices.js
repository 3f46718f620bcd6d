// What there is to choose from: tunes to try, keys, modes and instruments.

/** Titles, and the notes that these tunes begin with. */
export const EXAMPLES = [
  ["The Irish Washerwoman", "D5 C5 B4 G4 G4 D4 G4 G4 B4 G4 B4"],
  ["Londonderry Air", "F#4 G4 A4 B4 A4 B4 E5 D5 B4 A4 G4 E4"],
  ["Drowsy Maggie", "E4 B4 E4 D5 E4 B4 E4 E4 B4 E4 A4 F#4"],
  ["The Minstrel Boy", "D4 G4 A4 C5 B4 A4 G4 B4 D5 G5 F#5 G5"],
  ["Garryowen", "G5 F#5 E5 D5 C5 B4 A4 G4 B4 C5 B4 B4"],
  ["The Soldier’s Joy", "F#4 G4 A4 F#4 D4 F#4 A4 F#4 D4 F#4 A4 D5"],
];

/** The names of the pitch classes. */
export const TONICS = ["C", "C♯", "D", "E♭", "E", "F", "F♯", "G", "A♭", "A", "B♭", "B"];

/** The modes that folk tunes have. */
export const MODES = ["major", "minor", "dorian", "mixolydian", "lydian", "phrygian", "locrian"];

/** General MIDI's numbers of the instruments, from 0. */
export const PROGRAMS = { flute: 73, violin: 40, clarinet: 71, nylon_guitar: 24, harp: 46 };
