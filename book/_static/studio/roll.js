// Piano rolls: notes as bars in a picture that scales with the page.

const SVG = "http://www.w3.org/2000/svg";
const ROOM = 1.5; // semitones above the highest and below the lowest note

/** An SVG element with attributes. */
function element(name, attributes) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

/**
 * Draw notes in one line.
 * @param {{pitch: number, start: number, duration: number}[]} notes
 * @param {{from: number, to: number, low: number, high: number, lines: number[], mark: (note, i) => string}} view
 *   the beats and pitches to show, the beats of bar lines, and the class of each note
 * @returns {SVGElement}
 */
export function drawLine(notes, { from, to, low, high, lines = [], mark = () => "" }) {
  const height = high - low + 2 * ROOM;
  const svg = element("svg", { viewBox: `0 0 ${to - from} ${height}`, preserveAspectRatio: "none", "aria-hidden": "true" });
  for (const beat of lines.filter((beat) => beat >= from && beat <= to)) {
    svg.append(element("line", { class: "bar", x1: beat - from, x2: beat - from, y1: 0, y2: height }));
  }
  for (const [i, note] of notes.entries()) {
    const [start, end] = [Math.max(note.start, from), Math.min(note.start + note.duration, to)];
    if (end - start < 0.01) continue;
    const width = Math.max(0.05, end - start - 0.06);
    const y = high - note.pitch + ROOM - 0.5;
    svg.append(element("rect", { class: `note ${mark(note, i)}`, x: start - from, y, width, height: 1 }));
  }
  return svg;
}

/** A tune on several lines, with a cursor that moves with the sound. */
export class Roll {
  /** @param {HTMLElement} place */
  constructor(place) {
    this.place = place;
    this.lines = [];
  }

  /**
   * Draw a tune.
   * @param {{pitch: number, start: number, duration: number}[]} notes
   * @param {{bar: number, pickup: number, mark: (note) => string}} options beats of a bar and of the pickup
   */
  draw(notes, { bar, pickup, mark }) {
    const pitches = notes.map((note) => note.pitch);
    const [low, high] = [Math.min(...pitches), Math.max(...pitches)];
    const last = Math.max(...notes.map((note) => note.start + note.duration));
    const bars = Math.max(1, Math.round((last - pickup) / bar));
    const perLine = Math.min(bars, this.place.clientWidth < 520 ? 4 : 8);
    this.place.replaceChildren();
    this.lines = [];
    for (let first = 0; first < bars; first += perLine) {
      const from = first === 0 ? 0 : pickup + first * bar;
      const to = Math.max(pickup + (first + perLine) * bar, from + 1);
      const lines = Array.from({ length: perLine + 1 }, (_, i) => pickup + (first + i) * bar);
      const svg = drawLine(notes, { from, to, low, high, lines, mark });
      const height = high - low + 2 * ROOM;
      const cursor = element("line", { class: "cursor", x1: 0, x2: 0, y1: 0, y2: height, visibility: "hidden" });
      svg.append(cursor);
      this.place.append(svg);
      this.lines.push({ from, to, cursor, rects: [...svg.querySelectorAll(".note")] });
    }
  }

  /** Put the cursor on a beat; null takes it away. */
  moveTo(beat) {
    for (const { from, to, cursor, rects } of this.lines) {
      const here = beat !== null && beat >= from && beat < to;
      cursor.setAttribute("visibility", here ? "visible" : "hidden");
      if (here) cursor.setAttribute("transform", `translate(${beat - from} 0)`);
      for (const rect of rects) {
        const [x, width] = [Number(rect.getAttribute("x")), Number(rect.getAttribute("width"))];
        rect.classList.toggle("sounding", here && beat - from >= x && beat - from < x + width);
      }
    }
  }
}
