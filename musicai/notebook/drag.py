"""EM for two Gaussians under the reader's finger: it runs in the page itself, so also where no Python is left."""

import json
from typing import Any

import numpy as np

from .display import Html, attribute

BUTTONS = ((1, "one step"), (10, "ten steps"), (0, "back to the start"))
ALT = "Two Gaussians over a histogram; two triangles to drag show where their means start"
SCRIPT = """
(root => {
const x = DATA, K = [0, 1], colour = ["#0072B2", "#D55E00"], svg = root.querySelector("svg");
const px = v => 300 + 290 * v / REACH, unpx = p => (p - 300) * REACH / 290, py = d => 205 - 320 * d / REACH;
const sum = a => a.reduce((s, v) => s + v, 0);
const normal = (v, m, s) => Math.exp(-0.5 * ((v - m) / s) ** 2) / s / Math.sqrt(2 * Math.PI);
let start = MEANS, w, m, s, n, held = null;
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
    `step ${n}: log-likelihood ${level.toFixed(3)} each; means ${show(m)}; weights ${show(w)}`;
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
})(document.getElementById("musicai-drag-em"));
"""


def drag_em(x: Any, means: tuple[float, float] = (-1.0, 0.0), label: str = "") -> Html:
    """EM for a mixture of two Gaussians on one line, to be stepped, its start to be dragged; no Python needed.

    Weights start equal, standard deviations at 0.5. One in a page. Chapter 3.

    >>> drag_em(brightness, (-1.0, 0.0), "brightness in octaves")  # doctest: +SKIP

    Args:
        x: finite numbers, shape (N,), within a few units of 0.
        means: where the two means start at first.
        label: what the numbers are, with their unit.

    Raises:
        ValueError: `x` is empty or not finite.
    """
    values = np.asarray(x, dtype=float).ravel()
    if not values.size or not np.isfinite(values).all():
        raise ValueError(f"x of shape {values.shape} must hold finite numbers, and at least one")
    reach = max(1, int(np.ceil(np.abs([*values, *means]).max())))
    script = SCRIPT.replace("DATA", json.dumps(values.round(4).tolist())).replace("MEANS", json.dumps(list(means)))
    button = '<button type="button" data-n="{}" style="margin:3px;padding:3px 12px">{}</button>'
    html = (
        '<div id="musicai-drag-em" style="max-width:600px;background:#fcfcfc;color:#222;border-radius:4px;padding:6px">'
        f'<svg viewBox="0 0 600 245" style="width:100%;touch-action:none" role="group" aria-label="{attribute(ALT)}">'
        f'</svg><div style="text-align:center;font-size:0.85em">{attribute(label)}</div>'
        f"{''.join(button.format(n, says) for n, says in BUTTONS)}"
        '<div style="font-size:0.85em;min-height:3.2em"><output>This needs JavaScript.</output></div></div>'
        f"<script>{script.replace('REACH', str(reach))}</script>"
    )
    return Html(html, f"[Interaction: EM on {values.size} numbers, its start to be dragged]")
