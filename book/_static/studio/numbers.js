/** Arithmetic as NumPy does it. */

/** Round to the nearest whole number, and halves to the even one, as `np.rint` does. */
export function rint(x) {
  const down = Math.floor(x), part = x - down;
  return part < 0.5 || (part === 0.5 && down % 2 === 0) ? down : down + 1;
}

export function clip(x, low, high) {
  return Math.min(Math.max(x, low), high);
}

/** The first place in sorted numbers at which `x` could stand so that they stay sorted, after all that equal it. */
export function searchRight(sorted, x) {
  let low = 0, high = sorted.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (sorted[middle] <= x) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** The median, or NaN of nothing. */
export function median(values) {
  const sorted = Float64Array.from(values).sort(), half = sorted.length >> 1;
  return sorted.length % 2 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
}

/** The order that sorts numbers, from the lowest; equal ones keep their order. */
export function argsort(values) {
  return Array.from(values.keys()).sort((a, b) => values[a] - values[b]);
}
