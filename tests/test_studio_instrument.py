"""The page's instrument plays what Python's plays: the same curves, and the same sound to 40 dB."""

import base64
import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch

from musicai.gan.curves import HARMONICS, HOP, extend, fade_out, play_curves
from musicai.performance.distilled import DistilledInstrument
from scripts.studio_instrument import write_instrument

STUDIO = Path(__file__).parents[1] / "book" / "_static" / "studio"
NOTES = [
    {"name": "flute", "pitch": 72, "velocity": 90, "seconds": 0.3},
    {"name": "violin", "pitch": 62, "velocity": 60, "seconds": 1.7},  # longer than the curves: sustained
    {"name": "harp", "pitch": 50, "velocity": 120, "seconds": 2.5},  # longer, and it decays
    {"name": "nylon_guitar", "pitch": 84, "velocity": 20, "seconds": 0.02},
]
PLAY = """
import { readFileSync, writeFileSync } from "node:fs";
import "./instrument.data.js";
import { Instrument } from "./instrument.js";
const instrument = new Instrument(new Uint8Array(Buffer.from(STUDIO_DATA.instrument, "base64")));
const fixtures = JSON.parse(readFileSync("notes.json"));
const out = (name, samples) => writeFileSync(name, Float32Array.from(samples));
fixtures.forEach((note, i) => {
  out(`curves${i}`, instrument.curves(note));
  out(`sound${i}`, instrument.sound({ ...note, release: 0.2 }));
});
const tune = [60, 64, 67, 72, 31].map((pitch, i) => ({ pitch, start: i, duration: 1 }));
const options = { tempo: 90, name: "flute", seed: 3 };
out("render", instrument.render(tune, options));
out("again", instrument.render([...tune].reverse(), options));
out("first", instrument.stream(tune, options).next().value);
console.log(JSON.stringify(instrument.ranges));
"""


@pytest.fixture(scope="module")
def played(tmp_path_factory) -> tuple[Path, list[dict], str]:
    """A folder with what node renders from the fixtures, the fixtures, and what node printed."""
    node = shutil.which("node")
    if not node:
        pytest.skip("node is not installed")
    folder, rng = tmp_path_factory.mktemp("instrument"), np.random.default_rng(0)
    for name in ("instrument.js", "synthesis.js"):
        shutil.copy(STUDIO / name, folder)
    (folder / "package.json").write_text('{"type": "module"}')
    write_instrument(folder)
    notes = []
    for note in NOTES:
        frames = -(-round(16_000 * (note["seconds"] + 0.2)) // HOP)
        drawn = {"z": rng.normal(size=16), "phases": rng.normal(size=HARMONICS), "noise": rng.normal(size=frames * HOP)}
        notes.append(note | {key: value.tolist() for key, value in drawn.items()})
    (folder / "notes.json").write_text(json.dumps(notes))
    (folder / "play.js").write_text(PLAY)
    run = subprocess.run([node, "play.js"], cwd=folder, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    return folder, notes, run.stdout


def read(path: Path) -> torch.Tensor:
    return torch.from_numpy(np.fromfile(path, np.float32))


@pytest.mark.parametrize("i", range(len(NOTES)))
def test_javascript_plays_what_python_plays(played, i):
    folder, notes, _ = played
    note, model = notes[i], DistilledInstrument.from_pretrained("distilled-instrument")
    z, phase, noise = (torch.tensor([note[key]]) for key in ("z", "phases", "noise"))
    pitch, velocity = torch.tensor([float(note["pitch"])]), torch.tensor([float(note["velocity"])])
    with torch.no_grad():
        curves = model.curves(z, pitch, torch.tensor([model.index(note["name"])]), velocity)
        torch.testing.assert_close(read(folder / f"curves{i}").view(256, 128), curves[0], atol=1e-4, rtol=0)
        length = round(16_000 * (note["seconds"] + 0.2))
        longer = extend(curves, -(-length // HOP)).double()
        audio = play_curves(longer, pitch.double(), phase.double(), noise.double()) * (velocity / 100) ** 2
        audio = audio / (audio.abs().amax() / 0.99).clamp_min(1)
        expected = fade_out(audio, length, 3200)[0]
    error = read(folder / f"sound{i}") - expected
    assert 10 * torch.log10(expected.square().sum() / error.square().sum()) > 40


def test_a_tune_is_rendered_in_any_order_and_piece_by_piece(played):
    folder, _, _ = played
    whole = read(folder / "render")
    assert len(whole) == round(16_000 * 4 * 60 / 90) + round(16_000 * (60 / 90 + 0.15))
    assert 0.05 < whole.abs().max() <= 1
    torch.testing.assert_close(read(folder / "again"), whole)
    first = read(folder / "first")
    assert 8_000 <= len(first) <= 16_000
    torch.testing.assert_close(first, whole[: len(first)])


def test_the_page_has_the_instruments_of_the_checkpoint(played):
    model = DistilledInstrument.from_pretrained("distilled-instrument")
    assert json.loads(played[2]) == model.config["instruments"]


def test_the_weights_take_little_room(tmp_path):
    text = write_instrument(tmp_path).read_text()
    assert len(base64.b64decode(text.split('"')[1])) < 300_000
