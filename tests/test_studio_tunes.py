"""The page composes as the package does: JavaScript against Python, with the same weights and random numbers."""

import json
import shutil
import subprocess
import sys
import threading
from collections import Counter
from contextlib import suppress
from dataclasses import replace
from functools import cache, partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch

import musicai
from musicai.composition import (
    TuneWaveNet,
    TuneWriter,
    accompany,
    add_chords,
    encode,
    lay_out,
    read_controls,
    songs,
    source_melody,
)
from musicai.composition.generation import Rules, Steering, plan_of
from musicai.composition.network import bits_per_note, example
from musicai.composition.tunes import LENGTHS, TuneLayout
from musicai.data import FolkCorpus
from musicai.notes import Melody, pitch_class
from musicai.notes.keys import MINOR_KEYS
from musicai.notes.notation import MODES

ROOT = Path(__file__).parents[1]
STUDIO = ROOT / "book" / "_static" / "studio"
sys.path.insert(0, str(ROOT / "scripts"))

from studio_tunes import pack_tunes, stored_tensors, write_tunes  # noqa: E402

NODE = shutil.which("node")
pytestmark = pytest.mark.skipif(NODE is None, reason="node is not installed")


@pytest.fixture(scope="module")
def model():
    """The shipped model with the weights that the page has."""
    model = TuneWaveNet.from_pretrained("tunes").eval()
    for (values, scales), parameter in zip(stored_tensors(model).values(), model.parameters(), strict=True):
        if scales is not None:
            values = values * scales
            if parameter.ndim == 3:
                values = values.reshape(len(values), parameter.shape[2], -1).swapaxes(1, 2)
        parameter.data = torch.tensor(np.ascontiguousarray(values)).view_as(parameter)
    return model


@pytest.fixture(scope="module")
def run_script(tmp_path_factory):
    """Run JavaScript that has the studio's modules beside it, the model as `bytes` and the fixture as `given`."""
    folder = tmp_path_factory.mktemp("studio")
    for path in STUDIO.glob("*.js"):
        shutil.copy(path, folder)
    (folder / "package.json").write_text('{"type": "module"}')
    (folder / "tunes.bin").write_bytes(pack_tunes(TuneWaveNet.from_pretrained("tunes")))

    def run(script: str, given: object):
        (folder / "given.json").write_text(json.dumps(given))
        head = 'import { readFileSync } from "node:fs";\nconst bytes = new Uint8Array(readFileSync("tunes.bin"));\n'
        head += 'const given = JSON.parse(readFileSync("given.json"), (_, x) => (x === "nan" ? NaN : x));\n'
        (folder / "script.js").write_text(head + script)
        done = subprocess.run([NODE, "script.js"], cwd=folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-2000:]
        return json.loads(done.stdout)

    return run


def plain(plan) -> dict:
    """A plan or controls as JavaScript takes them."""
    return {name: "nan" if value != value else value for name, value in vars(plan).items()}


def notes_of(melody: Melody | None) -> list | None:
    return melody and [{"pitch": n.pitch, "start": n.start, "duration": n.duration} for n in melody.notes]


LOGITS = """
import { LANES } from "./layers.js";
import { TuneNetwork, TuneWriter } from "./network.js";
const network = new TuneNetwork(bytes);
const found = [];
for (let i = 0; i < given.length; i += LANES) {
  const group = given.slice(i, i + LANES);
  const writer = new TuneWriter(network, group.map((g) => g.plan), group.map((g) => g.source));
  const rows = group.map(() => []);
  const lane = (logits, k, count) => Array.from({ length: count }, (_, c) => logits[c * LANES + k]);
  for (let t = 0; !writer.finished && group.some((g) => t < g.durations.length); t++) {
    const durations = group.map((g) => g.durations[t] ?? 0);
    const one = Array.from(writer.durationLogits());
    const two = Array.from(writer.pitchLogits(durations));
    group.forEach((g, k) => t < g.durations.length && rows[k].push([...lane(one, k, 25), ...lane(two, k, 62)]));
    writer.append(durations, group.map((g) => g.pitches[t] ?? 0));
  }
  found.push(...rows);
}
console.log(JSON.stringify(found));
"""


def test_logits_at_every_note_of_real_tunes(run_script, model):
    """In several metres, with and without a source, density and syncopation."""
    rng, meters = np.random.default_rng(0), {}
    for melody in FolkCorpus(limit=200):
        with suppress(ValueError):
            tune = encode(melody)
            if tune.layout == TuneLayout.of(tune.plan):
                meters.setdefault(melody.time_signature, []).append((melody, tune))
    groups = [sorted(group, key=lambda pair: len(pair[1].durations)) for group in meters.values()]
    tunes = [pair for group in groups for pair in group[:4]]
    assert len(tunes) >= 20
    assert len(groups) >= 5
    given, plans, sources = [], [], []
    for i, (melody, tune) in enumerate(tunes):
        # every other tune follows itself, with some notes changed and some left out
        notes = [replace(n, pitch=n.pitch + int(rng.integers(-1, 2))) for n in melody.notes if rng.random() < 0.8]
        sources.append(replace(melody, notes=tuple(notes)) if i % 2 else None)
        plans.append(replace(tune.plan, density=1.7, syncopation=0.1) if i % 3 == 0 else tune.plan)
        notes = {"durations": tune.durations.tolist(), "pitches": tune.pitches.tolist()}
        given.append({"plan": plain(plans[i]), "source": notes_of(sources[i]), **notes})
    found, writer = run_script(LOGITS, given), TuneWriter(model, plans, sources)
    assert [len(rows) for rows in found] == [len(tune.durations) for _, tune in tunes]
    for t in range(max(map(len, found))):
        here = [i for i, rows in enumerate(found) if t < len(rows)]
        durations, pitches = np.zeros((2, len(tunes)), int)
        for i in here:
            durations[i], pitches[i] = given[i]["durations"][t], given[i]["pitches"][t]
        expected = np.hstack([writer.duration_logits(), writer.pitch_logits(durations)])
        np.testing.assert_allclose([found[i][t] for i in here], expected[here], atol=1e-4, err_msg=f"note {t}")
        writer.append(durations, pitches)


def test_int8_weights_cost_next_to_nothing(model):
    tunes = [encode(melody) for melody in FolkCorpus("valid", limit=200)][:10]
    examples = [(example(tune), tune) for tune in tunes]
    shipped = bits_per_note(TuneWaveNet.from_pretrained("tunes").eval(), examples)
    assert sum(bits_per_note(model, examples)) == pytest.approx(sum(shipped), abs=0.005)


TABLES = """
import { Attraction, Draw, Rules, Steering, planOf } from "./generation.js";
import { layOut } from "./sources.js";
import { readControls } from "./compose.js";
import { sourceMelody } from "./controls.js";
const found = given.map(({ tune, asked, cadence, range, drawn }) => {
  const source = tune && sourceMelody(tune);
  const controls = readControls(source, asked, () => range.shift());
  const plan = planOf(controls);
  const rules = new Rules(controls, plan, () => (cadence ? 0 : 0.99));
  const laid = source && layOut(source, controls);
  const steering = new Steering(new Attraction(controls, rules, controls.closeness ? laid : null));
  const biases = drawn.map(([t, duration, pitch]) => {
    const [one, two] = [new Float64Array(25), new Float64Array(62)];
    steering.durationBias(t, one);
    steering.pitchBias(t, two);
    steering.count(t, duration, pitch);
    return [...one, ...two];
  });
  const fits = Array.from(rules.fits);
  const table = (f) => fits.map((_, i) => f(Math.floor(i / 25), i % 25));
  const [stronger, final] = [table((t, d) => rules.syncopated(t, d)), table((t, d) => rules.final(t, d))];
  const [pitches, chromatic, home] = [rules.pitches, rules.chromatic, rules.home].map((x) => Array.from(x));
  return { controls, plan, laid, fits, stronger, final, pitches, chromatic, home, biases };
});
console.log(JSON.stringify(found));
"""


@cache
def cases() -> list[tuple[Melody | None, dict]]:
    """Sources and what is asked: all modes, the metres of the corpus's first tunes, with their repeats and without."""
    melodies, seen = [], Counter()
    for repeats in (True, False):
        for melody in FolkCorpus(limit=60, expand_repeats=repeats):
            seen[repeats, melody.time_signature] += 1
            melodies += [melody] * (seen[repeats, melody.time_signature] <= 2)
    motif = Melody.from_pitches([64, 64, 65, 67, 67, 65, 64, 62])
    rng, found = np.random.default_rng(1), []
    modes = ("major", "minor", "dorian", "mixolydian", "phrygian", "lydian", "locrian")
    for i, melody in enumerate([*melodies, motif, None, None, None, None]):
        key = {"key": f"{MINOR_KEYS[int(rng.integers(12))]} {modes[i % 7]}"} if i % 4 else {}
        near = {"closeness": float(rng.choice([0, 0.05, 0.3, 0.6, 0.9]))} if melody else {}
        found.append((melody, {"bars": (8, 16, 32, None)[i % 4], "seed": i, **key, **near}))
    return found


def asked_of(asked: dict) -> dict:
    """The same for JavaScript."""
    rest = {name: asked[name] for name in ("bars", "closeness", "seed") if asked.get(name) is not None}
    tonic, mode = asked["key"].split() if "key" in asked else (None, None)
    return rest if tonic is None else rest | {"tonic": pitch_class(tonic), "mode": mode}


def tune_of(melody: Melody | None) -> dict | None:
    """A melody as search.js gives it."""
    if melody is None:
        return None
    tonic, mode = melody.key.split() if melody.key else (None, None)
    key = {"tonic": tonic and pitch_class(tonic), "mode": mode}
    return {"notes": notes_of(melody), "tempo": melody.tempo, "meter": list(melody.time_signature), **key}


def any_notes(rules, rng) -> list[tuple[int, int, int]]:
    """Notes that the rules allow, to the end of the tune: (tick, duration, pitch) in classes."""
    t, found = 0, []
    while t < rules.total:
        duration = rng.choice(np.flatnonzero(rules.fits[t]))
        found.append((t, int(duration), int(rng.choice(np.flatnonzero(rules.pitches)))))
        t += LENGTHS[duration]
    return found


def test_requests_rules_and_biases(run_script):
    """What is asked, with defaults from the source; what the rules forbid; how the controls steer at every step."""
    given, expected, rng = [], [], np.random.default_rng(2)
    for melody, asked in cases():
        source = melody and source_melody(melody)
        request = read_controls(source, asked)
        plan = plan_of(request)
        rules, laid = Rules(request, plan), source and lay_out(source, request)
        drawn = any_notes(rules, rng)
        expected.append((request, plan, rules, laid))
        draws = np.random.default_rng((request.seed, 2**21)).random(2).tolist()
        case = {"tune": tune_of(melody), "asked": asked_of(asked), "cadence": bool(rules.home.any())}
        given.append({**case, "range": draws, "drawn": drawn})
    assert len(given) >= 12
    found = run_script(TABLES, given)
    for i, (request, plan, rules, laid) in enumerate(expected):
        ours, controls = found[i], found[i]["controls"]
        for name in ("tonic", "mode", "meter", "tempo", "bars", "form", "range", "closeness", "temperature"):
            assert list_of(controls[name]) == list_of(getattr(request, name)), (name, given[i]["asked"])
        for name in ("density", "syncopation"):
            np.testing.assert_allclose(
                float("nan" if controls[name] is None else controls[name]), getattr(request, name), rtol=1e-9
            )
        for name in ("tonic", "mode", "meter", "sections", "pickup", "range"):
            assert list_of(ours["plan"][name]) == list_of(getattr(plan, name)), name
        assert (ours["laid"] or []) == (notes_of(laid) or [])
        live = np.arange(rules.total)  # what follows the last tick is ignored
        shape = (rules.total + 1, len(LENGTHS))
        for name in ("fits", "stronger", "final"):
            np.testing.assert_array_equal(np.reshape(ours[name], shape)[live], getattr(rules, name)[live], name)
        for name in ("pitches", "chromatic", "home"):
            np.testing.assert_array_equal(ours[name], getattr(rules, name), name)
        steering = Steering(request, rules, laid if request.closeness else None, 1)
        for (t, duration, pitch), bias in zip(given[i]["drawn"], ours["biases"], strict=True):
            now = np.array([t])
            wanted = np.hstack([steering.duration_bias(now)[0], steering.pitch_bias(now)[0]])
            np.testing.assert_allclose(bias, wanted, rtol=1e-9, atol=1e-9)
            steering.count(now, np.array([duration]), np.array([pitch]))


def list_of(value):
    return list(value) if isinstance(value, tuple) else value


SONGS = """
import { Composer } from "./compose.js";
const composer = new Composer(bytes);
const songs = given.map(({ tune, asked, streams }) => {
  composer.randomOf = (seed, stream) => {
    const numbers = streams[stream].values();
    return () => numbers.next().value;
  };
  return composer.compose({ tune, ...asked, drafts: 4 });
});
console.log(JSON.stringify(songs));
"""


def test_the_same_random_numbers_give_the_same_song(run_script, model, monkeypatch):
    """Found tune, request, drafts, and the choice among them."""
    monkeypatch.setattr(songs, "load_model", lambda: model)
    monkeypatch.setattr(songs, "DRAFTS", 4)
    given, expected = [], []
    for melody, asked in cases()[::4]:
        asked = {**asked, "bars": 8}
        expected.append(musicai.compose(melody, **asked))
        draws = {i: np.random.default_rng((asked["seed"], i)).random(400).tolist() for i in range(4)}
        request = expected[-1].request
        draws[2**20] = [0.0 if Rules(request, plan_of(request)).home.any() else 0.99]  # whether it ends on a cadence
        draws[2**21] = np.random.default_rng((asked["seed"], 2**21)).random(2).tolist()
        given.append({"tune": tune_of(melody), "asked": asked_of(asked), "streams": draws})
    assert len(given) >= 5
    for ours, theirs in zip(run_script(SONGS, given), expected, strict=True):
        assert ours["notes"] == notes_of(theirs.melody)
        assert ours["form"] == "".join(theirs.request.form)
        assert ours["closeness"] == (pytest.approx(theirs.controls["closeness"][1]) if theirs.source else None)


SEEDS = """
import { Composer, randomOf } from "./compose.js";
const composer = new Composer(bytes);
const songs = [1, 1, 2].map((seed) => composer.compose({ tune: given, bars: 8, tonic: 2, mode: "dorian", seed }));
const random = randomOf(7, 3);
const shares = [];
composer.compose({ bars: 8, seed: 5, drafts: 6 }, (share) => shares.push(share));
const copy = composer.compose({ tune: given, bars: 16, closeness: 1 });
console.log(JSON.stringify({ songs, draws: Array.from({ length: 20000 }, random), shares, copy }));
"""


def test_a_seed_is_a_song(run_script):
    melody = cases()[0][0]
    found = run_script(SEEDS, tune_of(melody))
    one, two, other = found["songs"]
    assert one == two
    assert one["notes"] != other["notes"]
    assert (one["tonic"], one["mode"], one["bars"]) == (2, "dorian", 8)
    draws = np.array(found["draws"])
    assert draws.min() >= 0
    assert draws.max() < 1
    np.testing.assert_allclose(np.histogram(draws, 10, (0, 1))[0], 2000, atol=200)
    assert abs(np.corrcoef(draws[:-1], draws[1:])[0, 1]) < 0.03
    assert found["shares"] == sorted(found["shares"])
    assert found["shares"][-1] == 1
    assert found["copy"]["closeness"] == 1


ACCOMPANIED = """
import { Composer } from "./compose.js";
const composer = new Composer(bytes);
console.log(JSON.stringify(given.map((song) => composer.accompany(song))));
"""


def test_chords_and_accompaniment(run_script):
    """In every metre and mode: tunes from their beginning, as if it were a bar line; and a metre with no pattern."""
    melodies = [melody for melody, _ in cases() if melody and melody.key]
    melodies += [replace(melody, key=f"D {mode}") for melody, mode in zip(melodies, MODES, strict=False)]
    melodies.append(replace(melodies[0], time_signature=(7, 8)))
    for melody, theirs in zip(melodies, run_script(ACCOMPANIED, [tune_of(m) for m in melodies]), strict=True):
        spans = add_chords(melody)
        assert [span | {"key": melody.key} for span in theirs["spans"]] == [vars(span) for span in spans]
        for part, track in zip(("chords", "bass"), accompany(melody, spans), strict=True):
            ours = [(n.pitch, n.start, n.duration) for n in track.notes]
            found = [(n["pitch"], n["start"], n["duration"]) for n in theirs[part]]
            np.testing.assert_allclose(sorted(found), sorted(ours), atol=1e-9)


PAGE = """<!doctype html><meta charset="utf-8"><script src="tunes.data.js"></script><script type="module">
import { Composer } from "./compose.js";
const bytes = Uint8Array.from(atob(STUDIO_DATA.tunes), (letter) => letter.charCodeAt(0));
globalThis.composer = new Composer(bytes);
globalThis.timed = (asked) => {
  const start = performance.now();
  return { song: composer.compose(asked), ms: performance.now() - start };
};
</script>"""
PLAIN = """
import { Composer } from "./compose.js";
console.log(JSON.stringify(given.map((asked) => new Composer(bytes).compose(asked))));
"""


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


def test_chromium_writes_the_same_songs(browser, run_script, tmp_path):
    """With the data as the page loads them. The time is only printed: tests run on busy machines."""
    write_tunes(tmp_path)
    assert (tmp_path / "tunes.data.js").stat().st_size < 1.9e6  # of the page's 4 MB
    for path in STUDIO.glob("*.js"):
        if not path.name.endswith(".data.js"):
            shutil.copy(path, tmp_path)
    (tmp_path / "page.html").write_text(PAGE)
    tunes = [tune_of(melody) for melody, _ in cases()[:3]]
    asked = [{"tune": tune, "bars": 16, "closeness": 0.4, "seed": i} for i, tune in enumerate(tunes)]
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=tmp_path))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        browser.get(f"http://127.0.0.1:{server.server_port}/page.html")
        found = [browser.execute_script("return timed(arguments[0])", case) for case in asked]
    finally:
        server.shutdown()
    assert [result["song"] for result in found] == run_script(PLAIN, asked)
    print(f"16 bars in Chromium: median {np.median([result['ms'] for result in found]):.0f} ms")
