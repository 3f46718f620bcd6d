"""What the studio writes: MIDI and WAV files that others read, names of notes, and the bundle of its modules."""

import io
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
import soundfile

from musicai.notes import read_midi
from scripts.build_studio import bundle, outdated

STUDIO = Path(__file__).parents[1] / "book" / "_static" / "studio"
NODE = shutil.which("node")
NOTES = [(60, 0, 1), (64, 1, 0.5), (64, 1.5, 1 / 3), (67, 2, 1.5), (48, 300, 2)]
WRITE = """
import { writeFileSync } from "node:fs";
import { midiFile, wavFile } from "./files.js";
import { nameOf, readNames } from "./keyboard.js";
const notes = %s.map(([pitch, start, duration]) => ({ pitch, start, duration, velocity: 77 }));
const parts = [{ title: "After Garryowen", program: 73, notes }, { title: "bass", program: 46, notes: notes.slice(4) }];
writeFileSync("song.mid", midiFile(parts, { tempo: 117, meter: [6, 8] }));
writeFileSync("song.wav", wavFile(Float32Array.of(0, 0.5, -0.5, 1, -1, 2), 16000));
const refused = (text) => { try { return readNames(text); } catch (error) { return error.message; } };
const read = ["E4 F#4 Bb4", "c5, D e\u266d6  G", "C4 H4", "C9"].map(refused);
console.log(JSON.stringify({ read, names: [21, 60, 61, 108].map(nameOf) }));
"""


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> tuple[Path, dict]:
    """The folder that node wrote into, and what it printed."""
    if NODE is None:
        pytest.skip("node is not installed")
    folder = tmp_path_factory.mktemp("files")
    for path in STUDIO.glob("*.js"):
        shutil.copy(path, folder)
    (folder / "package.json").write_text('{"type": "module"}')
    (folder / "script.js").write_text(WRITE % json.dumps(NOTES))
    run = subprocess.run([NODE, "script.js"], cwd=folder, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    return folder, json.loads(run.stdout)


def test_midi_is_read_back(written):
    score = read_midi(written[0] / "song.mid")
    track, bass = score.tracks
    assert [(x.name, x.program, len(x.notes)) for x in score.tracks] == [("After Garryowen", 73, 5), ("bass", 46, 1)]
    assert bass.notes[0].velocity == 77
    assert [(n.pitch, n.start, n.duration) for n in track.notes] == [
        (pitch, pytest.approx(start, abs=1e-3), pytest.approx(duration, abs=1e-3)) for pitch, start, duration in NOTES
    ]
    assert score.seconds(117) == pytest.approx(60, abs=1e-3)


def test_wav_is_read_back(written):
    samples, rate = soundfile.read(io.BytesIO((written[0] / "song.wav").read_bytes()))
    assert rate == 16_000
    assert samples.tolist() == pytest.approx([0, 0.5, -0.5, 1, -1, 1], abs=1e-4)


def test_names_of_notes(written):
    assert written[1]["names"] == ["A0", "C4", "C#4", "C8"]
    first, second, wrong, far = written[1]["read"]
    assert (first, second) == ([64, 66, 70], [72, 74, 87, 91])
    assert "“H4” is not the name of a note" in wrong
    assert "C9 is outside the piano" in far


def test_the_bundle_is_one_classic_script(tmp_path):
    (tmp_path / "low.js").write_text("export const one = 1;\nconst own = 2;\nexport function two() { return own; }\n")
    (tmp_path / "studio.js").write_text(
        'import { one as uno, two } from "./low.js";\nconst own = 3;\nexport function start(base, source) {\n'
        "  globalThis.got = [uno, two(), own, base, source.includes('serve(self)')];\n}\n"
    )
    (tmp_path / "worker.js").write_text('import { one } from "./low.js";\nexport function serve() { return one; }\n')
    text = bundle(tmp_path)
    assert text.count("const one = 1") == 1
    if NODE:
        head = 'globalThis.document = { currentScript: { src: "file:///a/b.js" } };\n'
        (tmp_path / "run.cjs").write_text(f"{head}{text}console.log(JSON.stringify(got));")
        run = subprocess.run([NODE, "run.cjs"], cwd=tmp_path, capture_output=True, text=True, check=True)
        assert json.loads(run.stdout) == [1, 2, 3, "file:///a/", True]


def test_what_cannot_be_bundled_is_refused(tmp_path):
    (tmp_path / "worker.js").write_text("export default 1;\n")
    with pytest.raises(ValueError, match=r"worker\.js: 'export default 1;' is not a form"):
        bundle(tmp_path, ["worker"])
    (tmp_path / "worker.js").write_text('import { x } from "./other.js";\n')
    (tmp_path / "other.js").write_text('import { y } from "./worker.js";\n')
    with pytest.raises(ValueError, match="circle: worker -> other -> worker"):
        bundle(tmp_path, ["worker"])


def test_what_is_newer_than_its_sources_is_kept(tmp_path):
    for name, when in {"old": 1, "target": 2, "new": 3}.items():
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (when, when))
    assert not outdated(tmp_path / "target", [tmp_path / "old"])
    assert outdated(tmp_path / "target", [tmp_path / "old", tmp_path / "new"])
    assert outdated(tmp_path / "missing", [tmp_path / "old"])
