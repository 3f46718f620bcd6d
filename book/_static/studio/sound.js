// Out of the loudspeaker and into the microphone.

import { random } from "./instrument.js";
import { SAMPLE_RATE } from "./synthesis.js";

const LEAD = 0.06; // seconds between the first samples and their sound
const [ROOM, ECHO] = [0.35, 0.9]; // the share of the echo, and its seconds until it is 60 dB weaker
const MEND = 0.02; // seconds of a fade that ends a sound early

/** A small room to play in: the sound itself, and a little of it through noise that dies away. */
function room(context) {
  const [entrance, wet] = [new GainNode(context), new GainNode(context, { gain: ROOM })];
  const echo = context.createBuffer(2, ECHO * SAMPLE_RATE, SAMPLE_RATE);
  for (const side of [0, 1]) {
    const [samples, draw] = [echo.getChannelData(side), random(side)];
    for (let n = 0; n < samples.length; n++) samples[n] = (2 * draw() - 1) * Math.exp((-6.9 * n) / samples.length);
  }
  entrance.connect(context.destination);
  entrance.connect(new ConvolverNode(context, { buffer: echo })).connect(wet).connect(context.destination);
  return entrance;
}

/** Plays single notes, and tunes that arrive piece by piece. */
export class Player {
  #sources = [];
  #next = 0;
  #start = 0;

  /** Make the audio context, or wake it up; browsers allow that only after a click or a key. */
  async wake() {
    if (!this.context) {
      this.context = new AudioContext({ sampleRate: SAMPLE_RATE }); // at this rate, pieces join without a seam
      this.out = room(this.context);
    }
    if (this.context.state !== "running") await this.context.resume();
  }

  #source(samples, when) {
    const buffer = this.context.createBuffer(1, Math.max(1, samples.length), SAMPLE_RATE);
    buffer.copyToChannel(samples, 0);
    const gain = new GainNode(this.context);
    const source = new AudioBufferSourceNode(this.context, { buffer });
    source.connect(gain).connect(this.out);
    source.start(when);
    return { source, gain: gain.gain };
  }

  #end({ source, gain }) {
    const now = this.context.currentTime;
    gain.setValueAtTime(1, now);
    gain.linearRampToValueAtTime(0, now + MEND);
    source.stop(now + MEND);
  }

  /**
   * Sound a note at once.
   * @param {Float32Array} samples
   * @returns {() => void} ends it early
   */
  sound(samples) {
    const sounding = this.#source(samples, 0);
    return () => this.#end(sounding);
  }

  /** Begin a new tune. */
  begin() {
    this.stop();
    this.#next = 0;
  }

  /** Add the next piece of the tune; if it comes too late, the tune waits for it. */
  add(samples) {
    const earliest = this.context.currentTime + LEAD;
    if (this.#next === 0) this.#start = this.#next = earliest;
    if (this.#next < earliest - LEAD) {
      this.#start += earliest - this.#next;
      this.#next = earliest;
    }
    this.#sources.push(this.#source(samples, this.#next));
    this.#next += samples.length / SAMPLE_RATE;
  }

  /** Seconds since the tune began. */
  get position() {
    return this.#next === 0 ? 0 : Math.max(0, this.context.currentTime - this.#start);
  }

  /** Whether everything that was added has sounded. */
  get finished() {
    return this.#next > 0 && this.context.currentTime > this.#next;
  }

  /** End the tune. */
  stop() {
    for (const sounding of this.#sources) this.#end(sounding);
    this.#sources = [];
  }
}

/**
 * Record from the microphone until `signal` says stop.
 * @param {AudioContext} context whose sample rate the recording gets
 * @param {AbortSignal} signal
 * @returns {Promise<Float32Array>}
 */
export async function record(context, signal) {
  const stream = await navigator.mediaDevices.getUserMedia({ audio: { echoCancellation: false, noiseSuppression: false } });
  try {
    const recorder = new MediaRecorder(stream);
    const pieces = [];
    recorder.ondataavailable = ({ data }) => pieces.push(data);
    const stopped = new Promise((resolve) => (recorder.onstop = resolve));
    recorder.start();
    signal.addEventListener("abort", () => recorder.state === "recording" && recorder.stop());
    if (signal.aborted) recorder.stop();
    await stopped;
    const sound = await context.decodeAudioData(await new Blob(pieces).arrayBuffer());
    return sound.getChannelData(0).slice();
  } finally {
    for (const track of stream.getTracks()) track.stop();
  }
}
