"""The front page hears what `track_contour` hears, and finds the same tunes by ear: JavaScript against Python."""

import json

import numpy as np
import pytest
import soxr
from test_studio_search import load_script, pytestmark, run_node  # noqa: F401

from musicai.data import FolkCorpus
from musicai.search import MelodyIndex
from musicai.search.contours import track_contour
from musicai.search.humming import hum

studio_index = load_script("studio_index")
LISTEN = """
import { readFileSync } from "node:fs";
import { listen } from "./pitch.js";
import { TuneIndex } from "./search.js";
const tunes = new TuneIndex(new Uint8Array(readFileSync("index.bin")));
const results = JSON.parse(readFileSync("rates.json")).map((sr, i) => {
  const samples = new Float32Array(Uint8Array.from(readFileSync(`${i}.f32`)).buffer);
  const { contour, notes } = listen(samples, sr);
  const matches = tunes.findContour(contour, 5).map(({ played, tune, ...match }) => match);
  return { pitches: [...contour.pitches], confidences: [...contour.confidences], notes, matches };
});
console.log(JSON.stringify(results));
"""
REFUSE = """
import { listen } from "./pitch.js";
const said = (samples) => { try { return listen(samples, 16000); } catch (error) { return error.message; } };
console.log(JSON.stringify([said(new Float32Array(16000)), said(new Float32Array(100))]));
"""


@pytest.fixture(scope="module")
def heard(tmp_path_factory):
    """Hums at several sample rates: the contours that Python finds, what the page makes of them, and the index."""
    folder = tmp_path_factory.mktemp("hums")
    tunes = FolkCorpus(limit=96), FolkCorpus(limit=96, expand_repeats=True)
    rows = studio_index.folk_rows(*tunes)
    (folder / "index.bin").write_bytes(studio_index.pack(rows))
    contours, rates = [], (16_000, 44_100, 48_000, 16_000, 22_050, 16_000)
    for i, rate in enumerate(rates):
        sound, sr = hum(
            rows[13 * i].played, i, seconds=7, voice=("hum", "vowel", "whistle")[i % 3], snr=(None, 15)[i % 2]
        )
        sound = soxr.resample(sound, sr, rate).astype(np.float32) if rate != sr else sound
        sound.tofile(folder / f"{i}.f32")
        contours.append(track_contour(sound, rate))
    (folder / "rates.json").write_text(json.dumps(rates))
    index = MelodyIndex.build([row.played for row in rows], ids=[row.id for row in rows], progress=False)
    return contours, run_node(folder, LISTEN), index


def test_contours_are_the_same(heard):
    """Within 20 cents in 98 % of the frames that both call voiced, which differ in 3 % at most."""
    for contour, result in zip(*heard[:2], strict=True):
        pitches = np.array(result["pitches"], dtype=float)
        assert pitches.shape == contour.pitches.shape
        both = contour.voiced & np.isfinite(pitches)
        assert (contour.voiced == np.isfinite(pitches)).mean() > 0.97
        assert (np.abs(contour.pitches - pitches)[both] < 0.2).mean() > 0.98
        np.testing.assert_allclose(np.median(result["confidences"]), np.median(contour.confidences), atol=0.02)


def test_notes_are_the_same(heard):
    for contour, result in zip(*heard[:2], strict=True):
        pitches, starts, _, _ = contour.notes()
        near = [
            abs(pitches - n["pitch"])[abs(starts - n["start"]) < 0.03].min(initial=9) < 0.2 for n in result["notes"]
        ]
        assert np.mean(near) > 0.9
        assert abs(len(pitches) - len(near)) <= 1


def test_hums_find_the_same_tunes(heard):
    for contour, result in zip(*heard[:2], strict=True):
        matches = {match.id: match for match in heard[2].find(contour, k=12)}
        best = next(iter(matches))
        assert result["matches"][0]["id"] == best
        for mine in result["matches"]:
            theirs = matches[mine["id"]]
            assert mine["score"] == pytest.approx(theirs.score, abs=0.01)
            assert mine["likely"] == (not theirs.unlikely) or abs(mine["probability"] - theirs.probability) < 0.05
        mine, theirs = result["matches"][0], matches[best]
        assert mine["probability"] == pytest.approx(theirs.probability, abs=0.02)
        assert (mine["start"], mine["end"]) == pytest.approx((theirs.start, theirs.end), abs=1)
        assert mine["transposition"] == theirs.transposition


def test_silence_and_clicks_are_refused(tmp_path):
    assert all(answer.startswith("no pitch found") for answer in run_node(tmp_path, REFUSE))
