// A keyboard and a microphone whose notes or sound go to Python through a hidden text field of ipywidgets: singing.py
// calls this with the root element, the CSS class of that field, the notes to begin with and the sampling rate to send.
// Python empties the field once it has answered.
(root, wire, example, rate) => {
root.setAttribute("role", "group");
root.setAttribute("aria-label", "Keyboard and microphone");
root.style.maxWidth = "36em";
const act = says => `<button type="button" data-do="${says.toLowerCase()}" style="margin:3px;padding:3px 12px">${says}</button>`;
root.innerHTML = `
  <div data-board style="height:7em"></div>
  <input aria-label="Notes" style="width:100%;margin-top:6px;box-sizing:border-box">
  ${act("Find")}${act("Clear")}${act("Record")}
  <output style="font-size:0.85em">The keys play anywhere. To search, run this cell in Jupyter or Colab.</output>`;
root.querySelector("input").value = example;
const LOW = 60, HIGH = 84, LONGEST = 15;
const TYPED = "awsedftgyhujkolp;'";  // the computer's keys for C4, C#4, ...
const [board, field, status] = ["[data-board]", "input", "output"].map(s => root.querySelector(s));
const say = text => { status.textContent = text; };
let audio = null, recorder = null;
const context = () => audio ??= new AudioContext();

const sound = p => {
  const c = context(), tone = c.createOscillator(), level = c.createGain();
  tone.type = "triangle";
  tone.frequency.value = 440 * 2 ** ((p - 69) / 12);
  level.gain.setValueAtTime(0.3, c.currentTime);
  level.gain.exponentialRampToValueAtTime(0.001, c.currentTime + 0.6);
  tone.connect(level).connect(c.destination);
  tone.start();
  tone.stop(c.currentTime + 0.6);
};
const strike = p => {
  field.value = `${field.value} ${keyName(p)}`.trim();
  sound(p);
};

drawKeys(board, LOW, HIGH);

const send = text => {
  const line = document.querySelector(`.${wire} textarea`);
  const stored = document.querySelector('script[type="application/vnd.jupyter.widget-state+json"]');  // a rendered page
  if (!line || stored) return say("There is no Python here: run this cell in Jupyter or Colab.");
  line.value = text;
  line.dispatchEvent(new Event("input", { bubbles: true }));
  line.dispatchEvent(new Event("change", { bubbles: true }));
  const asked = Date.now();
  const wait = () => {
    if (line.value !== text) say("");
    else if (Date.now() - asked < 60_000) setTimeout(wait, 100);
    else say("No answer. Searching needs Python: run this cell in Jupyter or Colab.");
  };
  say("Searching ...");
  wait();
};

const base64 = samples => {
  const bytes = new Uint8Array(Int16Array.from(samples, v => 32_767 * Math.max(-1, Math.min(1, v))).buffer);
  let text = "";
  for (let i = 0; i < bytes.length; i += 8_192) text += String.fromCharCode(...bytes.subarray(i, i + 8_192));
  return btoa(text);
};
const heard = async parts => {
  const whole = await context().decodeAudioData(await new Blob(parts).arrayBuffer());
  const resampler = new OfflineAudioContext(1, Math.max(1, Math.round(whole.duration * rate)), rate);
  const source = resampler.createBufferSource();
  source.buffer = whole;
  source.connect(resampler.destination);
  source.start();
  send("audio:" + base64((await resampler.startRendering()).getChannelData(0)));
};
const record = async button => {
  if (recorder) return recorder.stop();
  try {  // what cleans up speech would take a hum for noise
    const clean = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };
    const stream = await navigator.mediaDevices.getUserMedia({ audio: clean }), parts = [];
    recorder = new MediaRecorder(stream);
    recorder.ondataavailable = e => parts.push(e.data);
    recorder.onstop = () => {
      stream.getTracks().forEach(track => track.stop());
      recorder = null;
      button.textContent = "Record";
      heard(parts).catch(error => say(`The recording cannot be read: ${error.message}`));
    };
    recorder.start();
    setTimeout(() => recorder?.stop(), 1_000 * LONGEST);
    button.textContent = "Stop";
    say(`Sing, hum or whistle, for ${LONGEST} seconds at most.`);
  } catch (error) {
    recorder = null;
    say(`No microphone: ${error.message}`);
  }
};

root.onclick = e => {
  const { p, do: what } = e.target.dataset;
  if (p) strike(Number(p));
  if (what === "find") field.value.trim() ? send(field.value.trim()) : say("Play a few notes first.");
  if (what === "clear") field.value = "";
  if (what === "record") record(e.target);
};
root.onkeydown = e => {
  if (e.target === field) {
    e.stopPropagation();  // a notebook has shortcuts of its own
    if (e.key === "Enter") root.querySelector('[data-do="find"]').click();
  } else if (TYPED.includes(e.key) && !e.ctrlKey && !e.metaKey && !e.altKey) {
    e.preventDefault();
    e.stopPropagation();
    if (!e.repeat) strike(LOW + TYPED.indexOf(e.key));
  }
};
}
