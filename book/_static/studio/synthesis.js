// Curves into sound: oscillators and filtered noise. The counterpart of musicai/gan/curves.py, which describes the curves.

/** Samples per second. */
export const SAMPLE_RATE = 16000;

/** Samples per frame of the curves, the frames and rows of a note, and the harmonics (the first rows). */
export const HOP = 128;
export const FRAMES = 128;
export const HARMONICS = 96;
export const ROWS = 256;

const BANDS = ROWS - 2 * HARMONICS; // of the noise
const N_FFT = 512;
const LOG_RANGE = (Math.LN10 * 90) / 40; // the natural logarithm of an amplitude, per unit of level
const NOISE_GAIN = 10;

/** The frequency of a MIDI number, in Hz. */
export const midiToHz = (pitch) => 440 * 2 ** ((pitch - 69) / 12);

/** The amplitude of a level; the floor is silence. */
const levelToAmplitude = (level) => (level > -0.999 ? Math.exp((Math.min(level, 1.2) - 1) * LOG_RANGE) : 0);

/** The frequency ratio of a mistuning. */
function mistuningToRatio(mistuning) {
  const m = Math.max(-0.95, Math.min(0.95, mistuning));
  return 2 ** ((0.5 * m) / (1 - Math.abs(m)) / 12);
}

/** The number of harmonics of a note that are at least half a harmonic below 8 kHz. */
export function audible(pitch) {
  return Math.min(HARMONICS, Math.ceil(SAMPLE_RATE / 2 / midiToHz(pitch) - 1.5));
}

/** Remove the harmonics above 8 kHz, and the mistuning of those that are barely audible; in place. */
export function regularise(curves, pitch) {
  const count = audible(pitch);
  for (let k = 0; k < HARMONICS; k++) {
    for (let t = 0; t < FRAMES; t++) {
      const level = k * FRAMES + t;
      if (k >= count) curves[level] = -1;
      curves[level + HARMONICS * FRAMES] *= Math.max(0, Math.min(1, (curves[level] + 1) / 0.3));
    }
  }
  return curves;
}

/** Cut or sustain curves to a number of frames: back and forth over their second half, with their decay. */
export function extend(curves, frames) {
  const half = FRAMES / 2;
  const decay = frames > FRAMES ? decayPerFrame(curves) : 0;
  const longer = new Float64Array(ROWS * frames);
  for (let t = 0; t < frames; t++) {
    const last = FRAMES - 1;
    const index = t <= last ? t : last - Math.abs(((t - half) % (2 * (last - half))) - (last - half));
    for (let r = 0; r < ROWS; r++) {
      let value = curves[r * FRAMES + index];
      if (r < HARMONICS || r >= 2 * HARMONICS) value += t > last ? decay * (t - index) : 0;
      longer[r * frames + t] = t > last ? Math.max(-1, value) : value;
    }
  }
  return longer;
}

/** The slope of the level over a note's second half; 0 if it is sustained. */
function decayPerFrame(curves) {
  const half = FRAMES / 2;
  let slope = 0;
  let squares = 0;
  for (let t = half; t < FRAMES; t++) {
    let power = 1e-10;
    for (let k = 0; k < HARMONICS; k++) power += levelToAmplitude(curves[k * FRAMES + t]) ** 2;
    const time = t - half - (half - 1) / 2;
    slope += (Math.log10(power) * time) / 4.5;
    squares += time * time;
  }
  slope /= squares;
  return (slope * 45 * SAMPLE_RATE) / HOP < -3 ? slope : 0;
}

/** Add the harmonics to `audio`: cosines whose amplitude and frequency are linear within each frame. */
export function addHarmonics(audio, curves, frames, pitch, phases) {
  const f0 = midiToHz(pitch);
  const amplitude = new Float64Array(frames + 1);
  const cycles = new Float64Array(frames);
  for (let k = 0; (k + 1) * f0 < SAMPLE_RATE / 2 && k < HARMONICS; k++) {
    for (let t = 0; t < frames; t++) {
      cycles[t] = ((k + 1) * f0 * mistuningToRatio(curves[(HARMONICS + k) * frames + t])) / SAMPLE_RATE;
      amplitude[t] = cycles[t] < 0.5 ? levelToAmplitude(curves[k * frames + t]) : 0;
    }
    amplitude[frames] = 2 * amplitude[frames - 1] - (frames > 1 ? amplitude[frames - 2] : 0);
    let phase = phases[k] / (2 * Math.PI);
    for (let t = 0; t < frames; t++) {
      const bend = t + 1 < frames ? (cycles[t + 1] - cycles[t]) / HOP : 0;
      if (amplitude[t] > 1e-5 || Math.abs(amplitude[t + 1]) > 1e-5) {
        oscillate(audio, t * HOP, amplitude[t], (amplitude[t + 1] - amplitude[t]) / HOP, phase, cycles[t], bend);
      }
      phase = (phase + HOP * cycles[t] + (bend * HOP * (HOP - 1)) / 2) % 1;
    }
  }
}

/** One frame of one harmonic, by rotation: no cosine is computed per sample. */
function oscillate(audio, start, amplitude, slope, phase, cycles, bend) {
  const turn = 2 * Math.PI;
  let [x, y] = [Math.cos(turn * phase), Math.sin(turn * phase)]; // the oscillator
  let [c, s] = [Math.cos(turn * cycles), Math.sin(turn * cycles)]; // what turns it on by one sample
  const [p, q] = [Math.cos(turn * bend), Math.sin(turn * bend)]; // what speeds that up
  for (let n = start; n < start + HOP; n++) {
    audio[n] += amplitude * x;
    amplitude += slope;
    const nextX = x * c - y * s;
    y = x * s + y * c;
    x = nextX;
    const nextC = c * p - s * q;
    s = c * q + s * p;
    c = nextC;
  }
}

/** Shape white noise by the curves' bands: a short-time Fourier transform, filters, and back. */
export function filterNoise(curves, frames, noise) {
  const out = new Float64Array(frames * HOP + N_FFT);
  const weight = new Float64Array(out.length);
  const [re, im, bands] = [N_FFT, N_FFT, BANDS + 1].map((length) => new Float64Array(length));
  const padded = new Float64Array(out.length);
  padded.set(noise, N_FFT / 2);
  for (let t = 0; t <= frames; t++) {
    const frame = Math.min(t, frames - 1);
    for (let b = 0; b < BANDS; b++) {
      bands[b] = levelToAmplitude(curves[(2 * HARMONICS + b) * frames + frame]) / NOISE_GAIN;
    }
    for (let n = 0; n < N_FFT; n++) re[n] = WINDOW[n] * padded[t * HOP + n];
    im.fill(0);
    fourier(re, im, 1);
    for (let f = 0; f < N_FFT; f++) {
      const g = Math.min(f, N_FFT - f);
      const filter = (1 - SHARE[g]) * bands[BAND[g]] + SHARE[g] * bands[BAND[g] + 1];
      re[f] *= filter;
      im[f] *= filter;
    }
    fourier(re, im, -1);
    for (let n = 0; n < N_FFT; n++) {
      out[t * HOP + n] += (WINDOW[n] * re[n]) / N_FFT;
      weight[t * HOP + n] += WINDOW[n] ** 2;
    }
  }
  return Float64Array.from({ length: frames * HOP }, (_, n) => out[n + N_FFT / 2] / weight[n + N_FFT / 2]);
}

/** The periodic Hann window. */
const WINDOW = Float64Array.from({ length: N_FFT }, (_, n) => 0.5 - 0.5 * Math.cos((2 * Math.PI * n) / N_FFT));

/** Where each frequency lies among the bands, which are evenly spaced in mel: in whole bands, and the rest. */
const mel = (hz) => Math.log10(1 + hz / 700);
const PLACES = Array.from({ length: N_FFT / 2 + 1 }, (_, f) => {
  return (mel((f * SAMPLE_RATE) / N_FFT) / mel(SAMPLE_RATE / 2)) * (BANDS - 1);
});
const BAND = Uint8Array.from(PLACES, Math.floor);
const SHARE = Float64Array.from(PLACES, (place, f) => place - BAND[f]);

/** exp(-2 pi i n / N_FFT) for the Fourier transform: cosines and sines. */
const COS = Float64Array.from({ length: N_FFT }, (_, n) => Math.cos((2 * Math.PI * n) / N_FFT));
const SIN = Float64Array.from({ length: N_FFT }, (_, n) => Math.sin((2 * Math.PI * n) / N_FFT));

/** The fast Fourier transform in place (Cooley and Tukey); `sign` -1 gives the inverse, but for the factor 1 / N. */
function fourier(re, im, sign) {
  for (let i = 1, j = 0; i < N_FFT; i++) {
    let bit = N_FFT >> 1;
    for (; j & bit; bit >>= 1) j ^= bit;
    j ^= bit;
    if (i < j) {
      [re[i], re[j]] = [re[j], re[i]];
      [im[i], im[j]] = [im[j], im[i]];
    }
  }
  for (let size = 2; size <= N_FFT; size *= 2) {
    const step = N_FFT / size;
    for (let start = 0; start < N_FFT; start += size) {
      for (let k = 0; k < size / 2; k++) {
        const a = start + k;
        const b = a + size / 2;
        const c = COS[k * step];
        const d = sign * SIN[k * step];
        const x = re[b] * c + im[b] * d;
        const y = im[b] * c - re[b] * d;
        re[b] = re[a] - x;
        im[b] = im[a] - y;
        re[a] += x;
        im[a] += y;
      }
    }
  }
}
