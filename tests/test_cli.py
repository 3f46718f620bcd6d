"""The command line: what it prints is true, what goes wrong is one line, and exit codes say which kind it was."""

import hashlib
import shutil
import subprocess
import sys
import tomllib
import types
import zipfile
from dataclasses import replace
from pathlib import Path

import pooch
import pytest
from cli_helpers import run

import musicai
from musicai import cli
from musicai.data import Groove, catalogue
from musicai.data.catalogue import SETS

ROOT = Path(__file__).parent.parent


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MUSICAI_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "cache"


def process(*words, **options):
    return subprocess.Popen(
        [sys.executable, "-m", "musicai", *words],
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        **options,
    )


# ---- the skeleton


def test_help_names_every_verb_and_version_is_the_packages(capsys):
    for words in ((), ("--help",)):
        out, err = run(capsys, *words)
        assert not err
        assert all(any(line.split()[:1] == [verb.__name__[1:]] for line in out) for verb in cli.VERBS)
    assert run(capsys, "--version")[0] == [f"musicai {musicai.__version__}"]
    assert all(run(capsys, verb.__name__[1:], "--help")[0] for verb in cli.VERBS)


def test_help_and_the_list_of_sets_load_neither_torch_nor_numpy():
    code = "import sys; from musicai.cli import main\ntry: main({})\nexcept SystemExit: pass\nprint(*sys.modules)"
    for words in (["--help"], ["data"]):
        out = subprocess.run(
            [sys.executable, "-c", code.format(words)], capture_output=True, text=True, check=True, cwd=ROOT
        ).stdout
        assert not {"torch", "numpy", "music21", "requests"} & set(out.splitlines()[-1].split())


def test_python_m_musicai_and_the_entry_point():
    out, err = process("--version").communicate(timeout=60)
    assert (out, err) == (f"musicai {musicai.__version__}\n", "")
    assert tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"] == {"musicai": "musicai.cli:main"}


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["trian"], "invalid choice: 'trian' (choose from"),
        (["data", "fech"], "invalid choice: 'fech' (choose from"),
        (["data", "fetch", "grove"], "invalid choice: 'grove' (choose from"),
        (["data", "fetch"], "required: name"),
        (["train", "--steps", "3.5"], "invalid int value: '3.5'"),
        (["train", "--seed", "x"], "invalid int value: 'x'"),
        (["train", "--nothing"], "--nothing"),
    ],
)
def test_a_command_that_makes_no_sense_shows_the_usage_and_is_code_2(capsys, words, hint):
    out, err = run(capsys, *words, code=2)
    assert not out
    assert err[0].startswith("usage: musicai")
    assert hint in err[-1]


def test_a_pipe_that_closes_is_quiet():
    for words in (["data"], ["--help"]):
        started = process(*words, bufsize=0)
        started.stdout.close()
        assert started.stderr.read() == ""
        assert started.wait(timeout=60) in (0, 1)


def test_ctrl_c_is_130_without_a_traceback(capsys, recipes, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt("stopped after step 3")

    monkeypatch.setattr(sys.modules["musicai.recipes"], "train", interrupted)
    assert run(capsys, "train", "drums", code=130)[1] == ["musicai: interrupted: stopped after step 3"]


# ---- train


@pytest.fixture
def recipes(monkeypatch):
    calls = []

    def train(name, *, out=None, steps=None, seed=0, progress=True):
        calls.append((name, str(out), steps, seed))
        if name == "broken":
            raise RuntimeError("it broke\nin two lines")
        return Path(out)

    module = types.SimpleNamespace(RECIPES={"drums": "a WaveGAN of drums", "broken": "no good"}, train=train)
    monkeypatch.setitem(sys.modules, "musicai.recipes", module)
    monkeypatch.setattr(musicai, "recipes", module, raising=False)
    return calls


def test_train_without_a_name_lists_the_recipes(capsys, recipes):
    assert [line.split(maxsplit=1) for line in run(capsys, "train")[0]] == [
        ["drums", "a WaveGAN of drums"],
        ["broken", "no good"],
    ]
    assert not recipes


def test_train_hands_its_options_on_and_prints_the_folder(capsys, recipes):
    assert run(capsys, "train", "drums")[0] == [str(Path("runs", "drums"))]
    words = ["train", "drums", "--steps", "3", "--out", "here", "--seed", "7"]
    assert run(capsys, *words)[0] == ["here"]
    assert recipes == [("drums", str(Path("runs", "drums")), None, 0), ("drums", "here", 3, 7)]


@pytest.mark.parametrize("trace", ["run.safetensors", "ladder"])
def test_train_goes_on_with_a_run_but_leaves_other_folders_alone(capsys, recipes, tmp_path, trace):
    (tmp_path / "here").mkdir()
    run(capsys, "train", "drums", "--out", "here")
    (tmp_path / "here" / "thesis.tex").touch()
    assert "something other than a training run" in run(capsys, "train", "drums", "--out", "here", code=1)[1][0]
    (tmp_path / "here" / trace).touch()
    run(capsys, "train", "drums", "--out", "here")
    assert len(recipes) == 2


def test_train_fails_in_one_line(capsys, recipes):
    assert run(capsys, "train", "broken", code=1)[1] == ["musicai: error: it broke in two lines"]


def test_train_suggests_a_recipe_and_refuses_no_steps(capsys):
    assert "did you mean drums" in run(capsys, "train", "drum", code=1)[1][0]
    assert "'xyz'; the recipes are instrument, " in run(capsys, "train", "xyz", code=1)[1][0]
    assert "steps=0: give a whole number" in run(capsys, "train", "drums", "--steps", "0", code=1)[1][0]


def test_nothing_is_left_of_a_run_with_a_bad_seed(capsys, tmp_path):
    assert "seed=-1: give a whole number of 0 or more" in run(capsys, "train", "drums", "--seed=-1", code=1)[1][0]
    assert not list(tmp_path.iterdir())


def test_stdout_may_be_closed(monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)  # as after `musicai train >&-`
    assert cli.main(["train"]) == 0


# ---- data


def rows(lines: list[str]) -> dict[str, tuple[str, str]]:
    """By name: size and place, as `musicai data` prints them."""
    pairs = zip(lines[2::2], lines[3::2], strict=True)
    return {first.split()[0]: (first[16:25].strip(), second.strip()) for first, second in pairs}


def make_groove(root: Path, audio: bool = True) -> Path:
    """One take, in the published form."""
    folder = root / "groove"
    take = folder / "drummer1" / "session1"
    take.mkdir(parents=True)
    header = "drummer,session,id,style,bpm,beat_type,time_signature,midi_filename,audio_filename,duration,split\n"
    row = "drummer1,drummer1/session1,drummer1/session1/1,funk,138,beat,4-4,drummer1/session1/1.mid,{},27.8,train\n"
    (folder / "info.csv").write_text(header + row.format("drummer1/session1/1.wav" if audio else ""))
    events = b"\x00\x99\x24\x50\x83\x60\x89\x24\x00\x00\xff\x2f\x00"
    (take / "1.mid").write_bytes(b"MThd\0\0\0\6\0\0\0\1\1\xe0MTrk" + len(events).to_bytes(4, "big") + events)
    if audio:
        (take / "1.wav").write_bytes(b"x" * 2_000_000)
    return folder


def test_data_lists_every_set_its_size_and_place(capsys, cache):
    assert rows(run(capsys, "data")[0])["groove"] == ("not here", "musicai data fetch groove (3 MB)")
    assert not cache.exists()
    (cache / "groove").mkdir(parents=True)
    (cache / "groove" / ".DS_Store").touch()
    assert rows(run(capsys, "data")[0])["groove"][0] == "not here"
    shutil.rmtree(cache)
    make_groove(cache)
    out, err = run(capsys, "data")
    assert not err
    assert out[0] == f"cache folder: {cache}"
    found = rows(out)
    assert found.keys() == SETS.keys()
    shipped = ROOT / "musicai" / "data" / "shipped"
    size = (shipped / "polyphonic" / "Nottingham.mat").stat().st_size
    assert found["nottingham"] == (f"{size / 1e6:.1f} MB", str(shipped / "polyphonic"))
    notes = sum(path.stat().st_size for path in (shipped / "notes").glob("[!d]*.*"))
    assert found["notes"] == (f"{notes / 1e6:.1f} MB", str(shipped / "notes"))
    assert found["groove"] == found["groove-audio"] == ("2.0 MB", str(cache / "groove"))
    assert found["nsynth-train"] == ("not here", "musicai data fetch nsynth-train (about 24 GB)")
    assert sum("CC BY-NC-SA 4.0" in line for line in out) == 2


def test_data_says_when_music21_is_not_installed(capsys, monkeypatch):
    pytest.importorskip("music21")
    assert rows(run(capsys, "data")[0])["folk"][1].endswith("corpus")
    monkeypatch.setattr(catalogue, "find_spec", lambda name: None)
    assert rows(run(capsys, "data")[0])["folk"] == ("not here", "pip install 'musicai[corpus]'")
    assert "pip install 'musicai[corpus]'" in run(capsys, "data", "fetch", "folk", code=1)[1][0]


def test_the_catalogue_counts_what_the_loaders_count():
    from musicai.data import JSBChorales, MusicAIDrums, MusicAINotes, Nottingham

    for name, loader in {
        "notes": MusicAINotes,
        "drums": MusicAIDrums,
        "chorales": JSBChorales,
        "nottingham": Nottingham,
    }.items():
        splits = (None,) if loader in (MusicAINotes, MusicAIDrums) else ("train", "valid", "test")
        count = sum(len(loader(split)) for split in splits)
        assert SETS[name].about.startswith(f"{count:,} "), name


def serve(monkeypatch, tmp_path) -> Path:
    """Publish a Groove of one take."""
    archive = tmp_path / "server" / "groove.zip"
    made = make_groove(tmp_path / "server", audio=False)
    with zipfile.ZipFile(archive, "w") as packed:
        for path in made.rglob("*"):
            packed.write(path, path.relative_to(made.parent))
    known_hash = f"sha256:{hashlib.sha256(archive.read_bytes()).hexdigest()}"
    entry = replace(SETS["groove"], known_hash=known_hash)
    monkeypatch.setitem(SETS, "groove", entry)
    monkeypatch.setattr(pooch.HTTPDownloader, "__call__", lambda _, url, file, pup: file.write(archive.read_bytes()))
    return archive


def test_fetch(capsys, cache, tmp_path, monkeypatch):
    archive = serve(monkeypatch, tmp_path)
    for _ in range(2):  # the second time it is here already
        assert run(capsys, "data", "fetch", "groove")[0] == [str(cache / "groove")]
        archive.unlink(missing_ok=True)
    assert [path.name for path in cache.iterdir()] == ["groove"]
    assert len(Groove(cache)) == 1


def test_fetch_fails_in_one_line_and_leaves_nothing(capsys, cache, tmp_path, monkeypatch):
    archive = serve(monkeypatch, tmp_path)
    archive.write_bytes(b"another")
    assert "SHA256 hash of downloaded file" in run(capsys, "data", "fetch", "groove", code=1)[1][0]
    archive.unlink()
    assert "No such file" in run(capsys, "data", "fetch", "groove", code=1)[1][0]
    assert not list(cache.iterdir())
    make_groove(cache, audio=False)  # the MIDI files are here, their recordings are wanted
    assert "remove or move it first" in run(capsys, "data", "fetch", "groove-audio", code=1)[1][0]


def test_a_cache_folder_that_cannot_be_used_is_one_line(capsys, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("MUSICAI_CACHE", str(tmp_path / "file" / "cache"))
    assert f"cannot download {SETS['groove'].url} to {tmp_path}" in run(capsys, "data", "fetch", "groove", code=1)[1][0]
    assert run(capsys, "data")[0][0] == f"cache folder: {tmp_path / 'file' / 'cache'}"  # a look needs no writing
