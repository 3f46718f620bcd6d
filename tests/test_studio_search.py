"""The front page finds what `musicai.find` finds: its JavaScript against the Python definition, on the same tunes."""

import base64
import importlib.util
import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from musicai.data import FolkCorpus
from musicai.notes import pitch_class
from musicai.search import MelodyIndex, index
from musicai.search.humming import excerpt, perturb
from musicai.search.queries import Query

pytest.importorskip("music21", reason="the folk corpus comes with music21")
NODE = shutil.which("node")
pytestmark = pytest.mark.skipif(NODE is None, reason="node, which runs JavaScript, is not installed")

ROOT = Path(__file__).parents[1]
STUDIO = ROOT / "book" / "_static" / "studio"
LENGTHS = (5, 8, 16, 30, 60, 150)
ASK = """
import { readFileSync } from "node:fs";
import { TuneIndex } from "./search.js";
const { exhaustive, queries } = JSON.parse(readFileSync("queries.json"));
const tunes = new TuneIndex(new Uint8Array(readFileSync("index.bin")), { exhaustive });
const answers = queries.map(({ notes, rhythm }) => tunes.find(notes, 5, { rhythm }));
const short = ({ played, tune, ...match }) => match;
console.log(JSON.stringify({ answers: answers.map((matches) => matches.map(short)) }));
"""
READ = """
import { readFileSync } from "node:fs";
import { Collection } from "./collection.js";
const all = new Collection(new Uint8Array(readFileSync("index.bin")));
const tunes = Array.from({ length: 80 }, (_, i) => ({ ...all.tune(i), played: all.played(i) }));
console.log(JSON.stringify({ sizes: [all.pitches.length, all.length], tunes }));
"""


def load_script(name: str):
    spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


studio_index = load_script("studio_index")


def run_node(folder: Path, script: str):
    """Run a module that may import those of the page, and read the JSON that it prints."""
    for path in STUDIO.glob("*.js"):
        shutil.copy(path, folder)
    (folder / "package.json").write_text('{"type": "module"}')
    (folder / "script.js").write_text(script)
    done = subprocess.run([NODE, "script.js"], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def tunes():
    """Tunes as written, and as played."""
    return FolkCorpus(limit=330), FolkCorpus(limit=330, expand_repeats=True)


@pytest.fixture(scope="module")
def rows(tunes):
    """Ten of eleven tunes; the others are absent."""
    return [row for i, row in enumerate(studio_index.folk_rows(*tunes)) if i % 11]


@pytest.fixture(scope="module")
def collection(rows):
    return MelodyIndex.build([row.played for row in rows], ids=[row.id for row in rows], progress=False)


def make_queries(tunes, seed=0) -> list[tuple[np.ndarray, np.ndarray | None]]:
    """Exact, with mistakes, in another key and tempo, and of absent tunes; with and without rhythm."""
    rng, queries = np.random.default_rng(seed), []
    for length in LENGTHS:
        for kind in ("exact", "mistakes", "moved", "both", "absent", "random"):
            at = 11 * int(rng.integers(len(tunes) // 11)) + (0 if kind == "absent" else int(rng.integers(1, 11)))
            part = excerpt(tunes[at], length, rng)
            pitches, starts, _ = perturb(part, rng, times=float(kind in ("mistakes", "both")))
            if kind in ("moved", "both"):
                pitches, starts = pitches + rng.integers(-7, 8), starts * rng.uniform(0.5, 2)
            if kind == "random":
                pitches = 60.0 + np.cumsum(rng.integers(-4, 5, len(pitches)))
            queries += [(pitches, starts), (pitches, None)] if len(pitches) >= 3 else []
    return queries


def ask_page(folder: Path, rows, queries, exhaustive: int) -> dict:
    """The page's answers to queries."""
    (folder / "index.bin").write_bytes(studio_index.pack(rows))
    asked = [
        {"notes": [{"pitch": p, "start": s} for p, s in zip(*some, strict=True)], "rhythm": starts is not None}
        for pitches, starts in queries
        for some in [(pitches.tolist(), [0] * len(pitches) if starts is None else starts.tolist())]
    ]
    (folder / "queries.json").write_text(json.dumps({"exhaustive": exhaustive, "queries": asked}))
    return run_node(folder, ASK)


def assert_same(answer: list[dict], matches) -> None:
    """The same best five, where equally good ones may change places."""
    for mine, theirs in zip(answer, matches, strict=False):
        assert mine["score"] == pytest.approx(theirs.score, abs=1e-4)
        assert mine["probability"] == pytest.approx(theirs.probability, abs=1e-3)
        (same,) = [match for match in matches if match.id == mine["id"]]
        assert same.score == pytest.approx(theirs.score, abs=1e-6)
        assert (mine["title"], mine["likely"]) == (same.title, not same.unlikely)
        assert (mine["start"], mine["end"]) == pytest.approx((same.start, same.end), abs=1e-6)
        assert (mine["transposition"], mine["pairs"]) == (same.transposition, same.pairs.tolist())


@pytest.mark.parametrize("exhaustive", [index.EXHAUSTIVE, 0], ids=["all lines", "first pass"])
def test_javascript_finds_what_python_finds(tunes, rows, collection, exhaustive, tmp_path, monkeypatch):
    monkeypatch.setattr(index, "EXHAUSTIVE", exhaustive)
    queries = make_queries(tunes[1])
    answers = ask_page(tmp_path, rows, queries, exhaustive)["answers"]
    assert len(queries) >= 40
    for (pitches, starts), answer in zip(queries, answers, strict=True):
        assert len(answer) == 5
        assert_same(answer, collection.find(Query(pitches, starts, starts), k=12))


def test_collection_is_as_written_and_as_played(rows, tmp_path):
    (tmp_path / "index.bin").write_bytes(studio_index.pack(rows))
    read = run_node(tmp_path, READ)
    assert read["sizes"] == [sum(len(row.played) for row in rows), len(rows)]
    for row, tune in zip(rows[:80], read["tunes"], strict=True):
        for notes, melody in ((tune["notes"], row.written), (tune["played"], row.played)):
            assert [note["pitch"] for note in notes] == melody.pitches.tolist()
            np.testing.assert_allclose([note["start"] for note in notes], melody.starts, atol=1e-4)
            np.testing.assert_allclose([note["duration"] for note in notes], melody.durations, atol=1e-4)
        sources = [note["source"] for note in tune["played"]]
        assert all(
            at == -1 or tune["notes"][at]["pitch"] == n["pitch"] for at, n in zip(sources, tune["played"], strict=True)
        )
        assert (tune["id"], tune["title"], tuple(tune["meter"])) == (
            row.id,
            row.written.name,
            row.written.time_signature,
        )
        assert pitch_class(row.written.key.split()[0]) == tune["tonic"]
        assert (row.written.key.split()[1], row.written.tempo) == (tune["mode"], tune["tempo"])


def test_default_collection_without_music21_is_the_shipped_one(monkeypatch):
    monkeypatch.setattr(studio_index.util, "find_spec", lambda name: None)
    monkeypatch.setattr(studio_index, "Nottingham", lambda split: [])  # which takes its time
    rows = studio_index.default_rows()
    assert len(rows) == 382
    assert all(len(row.played) for row in rows)


def test_index_is_a_script_that_works_from_a_file(rows, tmp_path):
    path = studio_index.write_index(tmp_path, rows[:3])
    found = re.fullmatch(
        r'globalThis.STUDIO_DATA = \{ \.\.\.globalThis.STUDIO_DATA, index: "(.+)" \};\n', path.read_text()
    )
    assert base64.b64decode(found[1]) == studio_index.pack(rows[:3])
