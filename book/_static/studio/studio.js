// The front page's studio: a few notes in, the tune found, a new one composed and performed. It holds no music itself;
// workers do the work, and the modules beside this one draw, sound and save.

import { Engine } from "./engine.js";
import { Keyboard, nameOf, readNames } from "./keyboard.js";
import { readable, showChoices, showMatches, verdict } from "./matches.js";
import { Player, record } from "./sound.js";
import { Roll, drawLine } from "./roll.js";
import { download, midiFile, wavFile } from "./files.js";
import { SAMPLE_RATE } from "./synthesis.js";
import { MODES, TONICS } from "./choices.js";
import { describe, keptIn, partsOf } from "./song.js";

const LEAST = 4; // notes to search for
const LONGEST = 12; // seconds of singing
const DRAFTS = 4; // tunes that are written to choose one from

/** Begin, once the page is there. */
export function start(base, source) {
  const root = document.getElementById("studio");
  if (root) new Studio(root, new Engine(source, base), new Engine(source, base));
}

/** Note how long something took, for the browser's own tools and for tests. */
async function timed(name, work) {
  const begin = performance.now();
  const result = await work();
  performance.measure(`studio: ${name}`, { start: begin, end: performance.now() });
  return result;
}

class Studio {
  /** Sound has a worker of its own, so that a key sounds at once while tunes are searched or written. */
  constructor(root, mind, sounds) {
    this.root = root;
    this.mind = mind;
    this.sounds = sounds;
    this.player = new Player();
    this.at = (name) => root.querySelector(`#studio-${name}`);
    this.roll = new Roll(this.at("roll"));
    this.hint = this.at("incipit").firstElementChild; // shown as long as there are no notes
    this.held = new Map(); // what ends the sound of each key that is down
    this.timed = null; // the notes with their rhythm, if they have one
    this.contour = null; // the pitch of what was sung, from moment to moment
    this.chosen = null; // the place of the match to compose from
    this.matches = [];
    this.song = null;
    this.seed = 1;
    this.#connect();
    const soon = globalThis.requestIdleCallback ?? setTimeout;
    soon(() => this.#try(() => this.#loadInstrument()));
    root.addEventListener("pointerover", () => this.#preload(), { once: true });
    root.addEventListener("focusin", () => this.#preload(), { once: true });
    root.dataset.ready = "";
  }

  async #loadInstrument() {
    const names = await this.sounds.load("instrument");
    const select = this.at("name");
    if (!select.options.length) showChoices(select, names.map((name) => [name, name.replace("_", " ")]));
  }

  /** Fetch what will be needed, in the order in which it will be. */
  #preload() {
    this.#try(async () => {
      await this.#loadInstrument();
      await this.mind.load("index");
      await this.mind.load("tunes");
    });
  }

  #connect() {
    const on = (name, event, act) => this.at(name).addEventListener(event, () => this.#try(act));
    showChoices(this.at("tonic"), TONICS.map((name, i) => [i, name]));
    showChoices(this.at("mode"), MODES.map((name) => [name, name]));
    for (const button of this.at("examples").children) {
      const { notes, lengths } = button.dataset; // names, and sixteenth notes
      button.addEventListener("click", () => this.#try(() => this.#playExample(notes, lengths)));
    }
    const keys = new Keyboard(this.at("keys"), (pitch) => this.#try(() => this.#press(pitch)), (pitch) => this.#release(pitch));
    keys.listenToLetters(this.root);
    on("notes", "input", () => this.#write(this.at("notes").value));
    this.at("notes").addEventListener("keydown", (event) => event.key === "Enter" && this.#try(() => this.#find()));
    on("undo", "click", () => this.#write(this.at("notes").value.trim().split(/\s+/).slice(0, -1).join(" ")));
    on("clear", "click", () => this.#write(""));
    on("find", "click", () => this.#find());
    on("sing", "click", () => this.#sing());
    on("close", "input", () => (this.at("close-text").value = `${this.at("close").value}\u00a0%`));
    on("compose", "click", () => this.#compose(1));
    on("another", "click", () => this.#compose(this.seed + 1));
    on("play", "click", () => (this.playing ? this.#stop() : this.#play()));
    on("midi", "click", () => this.#saveMidi());
    on("wav", "click", () => this.#saveWav());
  }

  /** Do something, and say what went wrong if it did. */
  async #try(act) {
    try {
      await act();
    } catch (error) {
      this.#say(error.message);
    }
  }

  #say(text) {
    if (this.at("status").textContent !== text) this.at("status").textContent = text;
  }

  /** Take these notes, given by name and perhaps with a rhythm, and draw them. */
  #write(names, notes = null) {
    if (this.at("notes").value !== names) this.at("notes").value = names;
    this.timed = notes;
    this.contour = null;
    const drawn = notes ?? this.#read();
    const pitches = drawn.map(({ pitch }) => pitch);
    const to = Math.max(12, ...drawn.map(({ start, duration }) => start + duration));
    const view = { from: 0, to, low: Math.min(67, ...pitches), high: Math.max(72, ...pitches) };
    this.at("incipit").replaceChildren(drawn.length ? drawLine(drawn, view) : this.hint);
    this.#say(this.matches.length && names ? "The notes have changed. Press “Find the tune” to search again." : "");
  }

  /** The notes by name, one beat each; those that can't be read yet are left out. */
  #read() {
    try {
      return readNames(this.at("notes").value).map((pitch, i) => ({ pitch, start: i, duration: 1 }));
    } catch {
      return [];
    }
  }

  // ---- 1. notes

  async #press(pitch) {
    this.#write(`${this.at("notes").value.trim()} ${nameOf(pitch)}`.trim());
    this.held.set(pitch, null);
    await timed("first sound", async () => {
      await this.player.wake();
      await this.#loadInstrument();
      const samples = await this.sounds.ask("note", { pitch, name: this.at("name").value });
      const end = this.player.sound(samples);
      if (this.held.has(pitch)) this.held.set(pitch, end);
      else setTimeout(end, 250); // a key that was only touched sounds briefly
    });
  }

  #release(pitch) {
    const end = this.held.get(pitch);
    this.held.delete(pitch);
    if (end) setTimeout(end, 120);
  }

  async #playExample(names, lengths) {
    const beats = lengths.split(" ").map((length) => length / 4);
    let start = 0;
    const notes = readNames(names).map((pitch, i) => ({ pitch, start: (start += beats[i]) - beats[i], duration: beats[i] }));
    this.#write(names, notes);
    await this.player.wake();
    await this.#loadInstrument();
    this.#perform(notes, { tempo: 112, seed: 0 });
    await this.#find();
  }

  async #sing() {
    if (this.recording) return this.recording.abort();
    if (!navigator.mediaDevices?.getUserMedia || !globalThis.MediaRecorder) {
      throw new Error("This page gets no microphone from this browser. Play the keys, or type the notes.");
    }
    await this.player.wake();
    const button = this.at("sing");
    this.recording = new AbortController();
    const timer = setTimeout(() => this.recording.abort(), 1000 * LONGEST);
    try {
      button.textContent = "Stop, and find it";
      button.setAttribute("aria-pressed", "true");
      this.#say("Listening. Sing, hum or whistle, then stop.");
      const samples = await record(this.player.context, this.recording.signal);
      this.#say("Listening to what you sang …");
      const given = { samples, rate: this.player.context.sampleRate };
      const { contour, notes } = await timed("listen", () => this.mind.ask("hear", given));
      if (notes.length < LEAST) throw new Error("That was too short, or too quiet: I heard fewer than four notes. Try again, a little longer.");
      this.#write(notes.map(({ pitch }) => nameOf(Math.round(pitch))).join(" "), notes);
      this.contour = contour;
    } catch (error) {
      const refused = ["NotAllowedError", "NotFoundError", "SecurityError"].includes(error.name);
      throw refused ? new Error("There is no microphone, or this page isn’t allowed to use it. Play the keys, or type the notes.") : error;
    } finally {
      clearTimeout(timer);
      this.recording = null;
      button.textContent = "Sing or hum it";
      button.setAttribute("aria-pressed", "false");
    }
    await this.#find();
  }

  // ---- 2. the tune

  async #find() {
    readNames(this.at("notes").value); // says which name is wrong, if one is
    const notes = this.timed ?? this.#read();
    if (notes.length < LEAST) throw new Error("Play at least four notes; ten are better, since a few notes fit too many tunes.");
    this.root.classList.add("open"); // at once, so that nothing moves when the answer comes
    this.#say("Searching …");
    await this.mind.load("index");
    this.matches = await timed("find", () => this.mind.ask("find", { notes, rhythm: this.timed !== null, contour: this.contour }));
    showMatches(this.at("matches"), this.matches, (i) => this.#choose(i));
    this.#choose(0);
    this.#say(verdict(this.matches));
  }

  #choose(i) {
    this.chosen = i;
    const { tonic, mode } = this.matches[i].tune;
    if (tonic !== null) this.at("tonic").value = tonic;
    if (mode !== null) this.at("mode").value = mode;
  }

  // ---- 3. a new one

  async #compose(seed) {
    await this.player.wake();
    this.#stop();
    const value = (name) => this.at(name).value;
    const asked = { tonic: Number(value("tonic")), mode: value("mode"), bars: Number(value("bars")), closeness: value("close") / 100 };
    const progress = this.at("progress");
    progress.classList.add("busy");
    progress.value = 0;
    this.#say("Composing …");
    try {
      await this.mind.load("tunes");
      const given = { match: this.chosen, ...asked, seed, drafts: DRAFTS };
      this.song = await timed("compose", () => this.mind.ask("compose", given, (done) => (progress.value = done)));
    } finally {
      progress.classList.remove("busy");
    }
    this.seed = seed;
    this.song.title = this.chosen === null ? "A new tune" : `After ${readable(this.matches[this.chosen].title)}`;
    this.#show();
    await this.#play();
  }

  #show() {
    const { notes, meter } = this.song;
    const [kept, text] = [keptIn(this.song), describe(this.song, this.seed)];
    this.roll.draw(notes, { bar: (4 * meter[0]) / meter[1], pickup: 0, mark: (note) => (kept(note) ? "kept" : "") });
    this.at("roll").setAttribute("aria-label", `Piano roll. ${text} ${notes.length} notes, ${notes.filter(kept).length} of them kept.`);
    this.#say(text);
    for (const name of ["play", "another", "midi", "wav"]) this.at(name).disabled = false;
  }

  /** The parts as the knobs stand now. */
  get #parts() {
    return partsOf(this.song, this.at("name").value, this.at("band").checked);
  }

  async #play() {
    await this.player.wake();
    const { tempo } = this.song;
    const turn = this.#perform(this.#parts.flatMap(({ notes }) => notes), { tempo, seed: this.seed });
    this.at("play").textContent = "Stop";
    const follow = () => {
      if (this.playing !== turn) return;
      if (this.player.finished) return this.#stop();
      this.roll.moveTo((this.player.position * tempo) / 60);
      requestAnimationFrame(follow);
    };
    follow();
    await turn.rendered;
  }

  /** Let a tune sound as it is rendered. */
  #perform(notes, { tempo, seed }) {
    this.#stop();
    this.player.begin();
    const turn = { parts: [] };
    this.playing = turn;
    const begin = performance.now();
    const add = (samples) => {
      if (this.playing !== turn) return;
      if (!turn.parts.length) performance.measure("studio: first piece", { start: begin, end: performance.now() });
      turn.parts.push(samples);
      this.player.add(samples);
    };
    const given = { notes, tempo, seed, name: this.at("name").value };
    turn.rendered = timed("stream", () => this.sounds.ask("play", given, add));
    return turn;
  }

  #stop() {
    if (!this.playing) return;
    this.playing = null;
    this.player.stop();
    this.sounds.ask("stop");
    this.roll.moveTo(null);
    this.at("play").textContent = "Play";
  }

  #saveMidi() {
    download(midiFile(this.#parts, this.song), "music-ai.mid", "audio/midi");
  }

  async #saveWav() {
    const notes = this.#parts.flatMap((part) => part.notes);
    const given = { notes, tempo: this.song.tempo, seed: this.seed, name: this.at("name").value };
    const samples = await timed("render", () => this.sounds.ask("render", given));
    download(wavFile(samples, SAMPLE_RATE), "music-ai.wav", "audio/wav");
  }
}
