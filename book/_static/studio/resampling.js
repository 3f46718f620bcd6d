/** Another sample rate for a sound, by a windowed sinc. */

const ATTENUATION = 80; // dB: by how much what the band does not hold is made quieter
const PASSED = 0.913; // of the band is let through unchanged, as by soxr, which the Python package uses

/** The modified Bessel function of order 0. */
function bessel(x) {
  let term = 1, sum = 1;
  for (let k = 1; term > 1e-9 * sum; k++) sum += term *= (x / (2 * k)) ** 2;
  return sum;
}

/**
 * Change the sample rate of a sound, keeping what lies below `band`.
 *
 * @param {Float32Array} samples (time,)
 * @param {number} from the rate in Hz
 * @param {number} to the new rate in Hz
 * @param {number} band the highest frequency that is kept, in Hz
 * @returns {Float32Array} (ceil(time * to / from),)
 */
export function resample(samples, from, to, band) {
  const top = Math.min(band, from / 2, to / 2), width = (1 - PASSED) * top, cutoff = top - width / 2;
  const half = Math.ceil((((ATTENUATION - 8) / 2.285) * from) / (2 * Math.PI * width) / 2); // Kaiser's formula
  const phases = to / gcd(from, to), step = from / gcd(from, to);
  const filters = Array.from({ length: phases }, (_, phase) => filterOf(phase / phases, half, cutoff / from));
  const out = new Float32Array(Math.ceil((samples.length * to) / from));
  for (let i = 0; i < out.length; i++) {
    const middle = Math.floor((i * step) / phases), filter = filters[(i * step) % phases];
    const first = Math.max(0, middle - half + 1), last = Math.min(samples.length, middle + half + 1);
    let sum = 0;
    for (let j = first, k = first - middle + half - 1; j < last; j++, k++) sum += samples[j] * filter[k];
    out[i] = sum;
  }
  return out;
}

function gcd(a, b) {
  return b ? gcd(b, a % b) : a;
}

/** A low-pass filter around a point between two samples; `cutoff` is a share of the sample rate. */
function filterOf(offset, half, cutoff) {
  const beta = 0.1102 * (ATTENUATION - 8.7), filter = new Float64Array(2 * half);
  for (let k = 0; k < filter.length; k++) {
    const x = k - half + 1 - offset, within = 1 - (x / half) ** 2;
    const sinc = x === 0 ? 2 * cutoff : Math.sin(2 * Math.PI * cutoff * x) / (Math.PI * x);
    filter[k] = within > 0 ? (sinc * bessel(beta * Math.sqrt(within))) / bessel(beta) : 0;
  }
  return filter;
}
