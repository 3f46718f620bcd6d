// EM for two Gaussians on a line, which the reader steps and whose start the reader drags. interact.py calls this
// with the root element, a label, the data, the starting means and the half-width of the axis.
(root, label, x, start_means, REACH) => {
root.style = "max-width:600px;background:#fcfcfc;color:#222;border-radius:4px;padding:6px";
const button = (n, says) => `<button type="button" data-n="${n}" style="margin:3px;padding:3px 12px">${says}</button>`;
root.innerHTML = `
  <svg viewBox="0 0 600 245" style="width:100%;touch-action:none" role="group"
    aria-label="A histogram under two Gaussians; drag the two triangles to choose where their means start"></svg>
  <div data-label style="text-align:center;font-size:0.85em"></div>
  ${button(1, "one step")}${button(10, "ten steps")}${button(0, "start again")}
  <div style="font-size:0.85em;min-height:3.2em"><output></output></div>`;
root.querySelector("[data-label]").textContent = label;
const K = [0, 1], colour = ["#0072B2", "#D55E00"], svg = root.querySelector("svg");
const px = v => 300 + 290 * v / REACH, unpx = p => (p - 300) * REACH / 290, py = d => 205 - 320 * d / REACH;
const sum = a => a.reduce((s, v) => s + v, 0);
const normal = (v, m, s) => Math.exp(-0.5 * ((v - m) / s) ** 2) / s / Math.sqrt(2 * Math.PI);
let start = [...start_means], w, m, s, n, held = null;
const joint = v => K.map(k => w[k] * normal(v, m[k], s[k]));
const step = () => {  // E step, M step
  const r = x.map(v => { const j = joint(v), p = sum(j); return p > 0 ? j.map(q => q / p) : [0.5, 0.5]; });
  const count = K.map(k => sum(r.map(q => q[k])) + 1e-12);
  w = count.map(c => c / x.length);
  m = K.map(k => sum(x.map((v, i) => r[i][k] * v)) / count[k]);
  s = K.map(k => Math.sqrt(sum(x.map((v, i) => r[i][k] * (v - m[k]) ** 2)) / count[k] + 1e-9));
  n += 1;
};
const grid = [...Array(401).keys()].map(i => REACH * (i / 200 - 1));
const line = (f, stroke, width) => `<path fill="none" stroke="${stroke}" stroke-width="${width}" d="M` +
  grid.map(v => px(v).toFixed(1) + " " + Math.max(py(f(v)), 2).toFixed(1)).join("L") + '"/>';
const bar = 2 * REACH / 60;
const bars = [...Array(60).keys()].map(i => {
  const a = i * bar - REACH, d = x.filter(v => v >= a && v < a + bar).length / x.length / bar;
  return `<rect x="${px(a)}" y="${py(d)}" width="${px(bar) - 300}" height="${205 - py(d)}" fill="#ccc"/>`;
}).join("");
const ticks = [-1, -0.5, 0, 0.5, 1].map(t =>
  `<text x="${px(t * REACH)}" y="240" font-size="13" text-anchor="middle">${t * REACH}</text>`).join("");
const handle = k => `<path data-k="${k}" tabindex="0" role="slider" aria-label="start of mean ${k + 1}"
  aria-valuemin="${-REACH}" aria-valuemax="${REACH}" aria-valuenow="${start[k].toFixed(2)}" fill="${colour[k]}"
  style="cursor:ew-resize" d="M${px(start[k])} 200l13 23h-26z"/>`;
const draw = () => {
  const hills = K.map(k => line(v => joint(v)[k], colour[k], 2.5)).join("");
  svg.innerHTML = bars + hills + line(v => sum(joint(v)), "#000", 1) + ticks + K.map(handle).join("");
  const level = sum(x.map(v => Math.log(sum(joint(v)) + 1e-300))) / x.length;
  const show = a => a.map(v => v.toFixed(2)).join(" and ");
  root.querySelector("output").textContent =
    `step ${n}: log-likelihood ${level.toFixed(3)} per example; means ${show(m)}; weights ${show(w)}`;
};
const reset = () => { w = [0.5, 0.5]; m = [...start]; s = [0.5, 0.5]; n = 0; draw(); };
const move = (k, v) => { start[k] = Math.min(REACH, Math.max(-REACH, v)); reset(); };
svg.onpointerdown = e => {
  held = e.target.dataset.k ?? null;
  if (held !== null) svg.setPointerCapture(e.pointerId);
};
svg.onpointermove = e => {
  const box = svg.getBoundingClientRect();
  if (held !== null) move(held, unpx((e.clientX - box.left) / box.width * 600));
};
svg.onpointerup = svg.onpointercancel = () => { held = null; };
svg.onkeydown = e => {
  const k = e.target.dataset.k, by = { ArrowLeft: -0.05, ArrowRight: 0.05 }[e.key];
  if (k === undefined || !by) return;
  e.preventDefault();
  move(k, start[k] + by * REACH);
  svg.querySelector(`[data-k="${k}"]`).focus();
};
root.onclick = e => {
  const times = e.target.dataset.n;
  if (times === undefined) return;
  if (times === "0") reset();
  for (let i = 0; i < times; i++) step();
  draw();
};
reset();
}
