// The list of tunes found, and lists to choose from.

import { drawLine } from "./roll.js";

const SHOWN = 4; // bars of a tune

/**
 * Fill a menu.
 * @param {HTMLSelectElement} select
 * @param {[string | number, string][]} choices values and texts
 */
export function showChoices(select, choices) {
  select.replaceChildren(...choices.map(([value, text]) => new Option(text, value)));
}

/** A probability in percent that is never quite certain, with a space at which no line breaks. */
function percent(probability) {
  return `${Math.min(99, Math.round(100 * probability))}\u00a0%`;
}

/** How sure, in words that stay true at the ends. */
function sureness({ probability, likely }) {
  return likely ? `${percent(probability)} sure` : probability < 0.005 ? "unlikely" : percent(probability);
}

/** What to say about the tunes found. */
export function verdict([best, second]) {
  const title = readable(best.title);
  if (best.likely) return `Found: ${title}, ${percent(best.probability)} sure.${second?.likely ? relative(title, second) : ""}`;
  if (best.probability > 0.2) return `Perhaps ${title}, ${percent(best.probability)}. A few more notes would tell.`;
  return "It’s probably not in here. These come closest, and you can compose with them all the same.";
}

/** Books print many tunes twice, some of them under another title. */
function relative(title, second) {
  const other = readable(second.title);
  return other === title ? " The books have it twice." : ` ${other} fits as well: one tune may have several titles.`;
}

/** A title without capitals throughout, as some books print them. */
export function readable(title) {
  const shown = title.replace(/\s*--\s*/g, ", ").replace(/[\s.,]+$/, "");
  if (shown !== shown.toUpperCase()) return shown;
  return shown.toLowerCase().replace(/(^|[\s("-])(\p{L})/gu, (_, before, letter) => before + letter.toUpperCase());
}

/** Where in the tune the notes are, in words. */
function whereabouts(start, bar) {
  const first = Math.floor(start / bar + 0.01) + 1;
  return first === 1 ? "at the start" : `from bar ${first}`;
}

/** The bars around a match, with the notes that match. */
function incipit({ start, end, pairs, played, tune }) {
  const bar = (4 * tune.meter[0]) / tune.meter[1];
  const from = Math.max(0, Math.floor(start / bar + 0.01) * bar);
  const to = from + SHOWN * bar;
  const notes = played.notes ?? played;
  const seen = notes.filter((note) => note.start < to && note.start + note.duration > from).map(({ pitch }) => pitch);
  const matched = new Set(pairs.map(([, note]) => notes[note]));
  const lines = Array.from({ length: SHOWN + 1 }, (_, i) => from + i * bar);
  const sung = (note) => pairs.length === 0 && note.start >= start - 0.01 && note.start < end;
  const mark = (note) => (matched.has(note) || sung(note) ? "kept" : "");
  return drawLine(notes, { from, to, low: Math.min(...seen), high: Math.max(...seen), lines, mark });
}

/**
 * Show the tunes found, the first one chosen.
 * @param {HTMLElement} place
 * @param {object[]} matches from TuneIndex.find
 * @param {(i: number) => void} choose is called with the place of the one that the reader picks
 */
export function showMatches(place, matches, choose) {
  const rows = matches.map((match, i) => {
    const row = document.createElement("label");
    row.className = match.likely ? "studio-match" : "studio-match unlikely";
    const radio = Object.assign(document.createElement("input"), { type: "radio", name: "studio-match", checked: i === 0 });
    radio.addEventListener("change", () => choose(i));
    const title = Object.assign(document.createElement("span"), { className: "title", textContent: readable(match.title) });
    const bar = (4 * match.tune.meter[0]) / match.tune.meter[1];
    const text = `${sureness(match)} · ${whereabouts(match.start, bar)}`;
    const facts = Object.assign(document.createElement("span"), { className: "facts", textContent: text });
    row.append(radio, title, facts, incipit(match));
    return row;
  });
  place.replaceChildren(...rows);
}
