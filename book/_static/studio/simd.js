/**
 * One row of the dynamic programming in warping.js for 16 keys or tunings at once, in WebAssembly: a browser has no
 * other way to add and compare eight 16-bit numbers in one instruction. Python: _fast/warping.py, `relax` and `_row`.
 *
 * In JavaScript, with x[u] for 16 numbers side by side, and sums that stop at 32767:
 *
 *   for (u = 0; u < cells; u++) {
 *     best = min(one[u + 1], one[u] + bend, two[u + 1] + before[line[u]] + bend);
 *     out[u + 2] = best + cost[line[u]];
 *   }
 */

const I32 = 0x7f, V128 = 0x7b, NOTHING = 0x40;
const PARAMS = ["one", "two", "out", "before", "cost", "line", "end", "bend"]; // addresses in bytes, but for bend
const LOCALS = Object.fromEntries([...PARAMS, "row", "bends"].map((name, i) => [name, i]));
const get = (name) => [0x20, LOCALS[name]], set = (name) => [0x21, LOCALS[name]];
const constant = (value) => [0x41, value], ADD = [0x6a], LESS = [0x49];
const loadNumber = [0x28, 2, 0], load = (offset) => [0xfd, 0x00, 1, offset];
const store = (offset) => [0xfd, 0x0b, 1, offset];
const SPLAT = [0xfd, 0x10], PLUS = [0xfd, 0x8f, 0x01], MIN = [0xfd, 0x96, 0x01]; // of 16-bit numbers; sums saturate
const WIDTH = 32; // bytes of 16 numbers

/** Half of the numbers of one cell, `half` bytes after its start. */
function halfCell(half) {
  return [
    ...get("out"),
    ...get("one"), ...load(WIDTH + half),
    ...get("one"), ...load(half), ...get("bends"), ...PLUS, ...MIN,
    ...get("two"), ...load(WIDTH + half), ...get("before"), ...get("row"), ...ADD, ...load(half), ...PLUS,
    ...get("bends"), ...PLUS, ...MIN,
    ...get("cost"), ...get("row"), ...ADD, ...load(half), ...PLUS,
    ...store(2 * WIDTH + half),
  ];
}

function advance(name, bytes) {
  return [...get(name), ...constant(bytes), ...ADD, ...set(name)];
}

const BODY = [
  ...[2, 1, I32, 1, V128], // the locals after the parameters: row and bends
  ...get("bend"), ...SPLAT, ...set("bends"),
  ...[0x03, NOTHING], // loop
  ...get("line"), ...loadNumber, ...set("row"),
  ...halfCell(0), ...halfCell(WIDTH / 2),
  ...advance("one", WIDTH), ...advance("two", WIDTH), ...advance("out", WIDTH), ...advance("line", 4),
  ...get("line"), ...get("end"), ...LESS, ...[0x0d, 0], // again, if line < end
  ...[0x0b, 0x0b], // the end of the loop, and of the function
];

/** A number in seven bits per byte. */
const leb = (value) => (value < 128 ? [value] : [(value & 127) | 128, ...leb(value >> 7)]);
const section = (id, content) => [id, ...leb(content.length), ...content];
const text = (name) => [name.length, ...Array.from(name, (letter) => letter.charCodeAt(0))];

/**
 * Make the function that fills a row.
 *
 * @param {WebAssembly.Memory} memory where its numbers are
 * @returns {function} of PARAMS; line holds the address of each frame's costs, counted from the row's first, as int32
 */
export function makeRow(memory) {
  const module = new Uint8Array([
    ...[0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
    ...section(1, [1, 0x60, PARAMS.length, ...PARAMS.map(() => I32), 0]),
    ...section(2, [1, ...text("studio"), ...text("memory"), 2, 0, 1]),
    ...section(3, [1, 0]),
    ...section(7, [1, ...text("row"), 0, 0]),
    ...section(10, [1, ...leb(BODY.length), ...BODY]),
  ]);
  return new WebAssembly.Instance(new WebAssembly.Module(module), { studio: { memory } }).exports.row;
}
