"""`musicai song` and `musicai perform`: options reach the code, files are written in time, errors are one line."""

import json
from pathlib import Path

import pytest
from cli_helpers import run
from composition_helpers import RandomWriter

import musicai
from musicai import chain
from musicai.audio import load
from musicai.composition import generation, novelty, songs, sources
from musicai.notes import Melody, Note, Score, Track, read_score, write_score
from musicai.search import MelodyIndex


@pytest.fixture(scope="module")
def index():
    tunes = [[60 + (7 * i + k * k * (i + 3)) % 13 for k in range(32)] for i in range(9)]
    pieces = [
        Melody.from_pitches(tune, 0.5, name=f"Reel {'ABCDEFGHI'[i]}", key="G major") for i, tune in enumerate(tunes)
    ]
    return MelodyIndex.build(pieces, progress=False)


@pytest.fixture(autouse=True)
def quick(monkeypatch, index, tmp_path):
    monkeypatch.setattr(generation, "TuneWriter", RandomWriter)
    monkeypatch.setattr(songs, "load_model", lambda: None)
    monkeypatch.setattr(songs, "DRAFTS", 2)
    for module in (novelty, sources):
        monkeypatch.setattr(module, "default_index", lambda: index)
    monkeypatch.setattr("musicai.search.library.default_index", lambda: index)
    monkeypatch.chdir(tmp_path)


SONG = ("song", "reel e", "--bars", "4", "--performer", "sampled")


def test_a_song_is_told_of_and_written(capsys, tmp_path):
    words = ("--key", "D dorian", "--closeness", "0.4", "--instruments", "melody=harp", "--score", "song.musicxml")
    out, err = run(capsys, *SONG, *words, "--out", "song.wav")
    assert not err
    assert out[0].startswith("find: Reel E [4], ")
    assert any(line.split()[:3] == ["key", "D", "dorian"] for line in out)
    assert any("riginal" in line for line in out)
    assert "perform: melody: harp, chords: nylon_guitar, bass: cello" in out
    assert out[-1].startswith("song.wav: ")
    assert out[-1].endswith("song.json makes it again")
    assert {path.name for path in tmp_path.iterdir()} == {"song.wav", "song.musicxml", "song.json"}
    assert read_score("song.musicxml").tracks[0].program == 46
    assert json.loads(Path("song.json").read_text())["compose"]["closeness"] == 0.4


def test_it_is_made_again_from_its_recipe(capsys):
    first, _ = run(capsys, *SONG, "--out", "song.mp3")
    again, _ = run(capsys, "song", "--from", "song.json", "--out", "again.mp3")
    assert again[:-1] == first[:-1]
    for suffix in ("mp3", "json"):
        assert Path(f"song.{suffix}").read_bytes() == Path(f"again.{suffix}").read_bytes()
    assert "takes no query" in run(capsys, "song", "--from", "song.json", "--bars", "4", "--out", "x.mp3", code=1)[1][0]


def test_a_song_from_another_index_is_compared_with_its_tunes_too(capsys):
    own = Melody.from_pitches([50 + (k * k * 5 + 3 * k) % 17 for k in range(32)], 0.5, name="Own", key="G major")
    MelodyIndex.build([own], "own.index", progress=False)
    out, _ = run(capsys, "song", "own", "--closeness", "1", "--index", "own.index", *SONG[2:], "--out", "song.wav")
    known, here = (out[i] for i, line in enumerate(out) if line.startswith(("Original", "Not original")))
    assert known.startswith("Original")
    assert here.startswith("Not original")
    assert out[out.index(here) - 1] == "Among the tunes of own.index:"


def test_what_cannot_be_written_is_refused_before_the_work_begins(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(chain, "song", None)
    assert "--out song.mid: the name must end in .wav" in run(capsys, *SONG, "--out", "song.mid", code=1)[1][0]
    words = (*SONG, "--out", "song.mp3", "--score")
    assert "--score song.mp3: the name must end in .mid" in run(capsys, *words, "song.mp3", code=1)[1][0]
    assert "there is no folder nowhere" in run(capsys, *words, "nowhere/song.mid", code=1)[1][0]
    assert not list(tmp_path.iterdir())


def test_after_an_interruption_the_score_is_there(capsys, monkeypatch, tmp_path):
    def interrupted(score, *_, **__):
        if score.tracks:  # the options are tried on a score without any
            raise KeyboardInterrupt

    monkeypatch.setattr(chain, "perform", interrupted)
    _, err = run(capsys, *SONG, "--out", "song.mp3", "--score", "song.mid", code=130)
    assert err == ["musicai: interrupted"]
    assert {path.name for path in tmp_path.iterdir()} == {"song.mid", "song.json"}
    assert read_score("song.mid").notes


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (("no such tune",), "musicai: error: find: no tune is called"),
        (("nothing.wav",), "musicai: error: find: nothing.wav: no such file"),
        (("reel e", "--key", "H"), "musicai: error: compose: key='H'"),
        (("reel e", "--instruments", "kazoo"), "musicai: error: perform: no instrument 'kazoo'"),
        (("--from", "nothing.json"), "nothing.json"),
    ],
)
def test_an_error_is_one_line_that_names_the_step(capsys, tmp_path, words, error):
    out, err = run(capsys, "song", *words, "--out", "song.mp3", code=1)
    assert not out
    assert len(err) == 1
    assert error in err[0]
    assert not list(tmp_path.iterdir())


def test_perform_plays_a_score(capsys):
    tracks = [Track([Note(60 + i, i, 1) for i in range(3)], name="one"), Track([Note(48, 0, 3)], name="two")]
    write_score("duo.mid", Score(tracks))
    words = ("--performer", "sampled", "--out", "duo.wav")
    out, err = run(capsys, "perform", "duo.mid", "--instruments", "flute,cello", *words)
    assert not err
    assert out == ["duo.wav: 2 s; one: flute, two: cello"]
    flute = load("duo.wav")[0]
    run(capsys, "perform", "duo.mid", "--instruments", "two=cello", *words)
    assert load("duo.wav")[0].shape != flute.shape or (load("duo.wav")[0] != flute).any()


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (("duo.mid",), "duo.mid"),
        (("tune.abc", "--instruments", "kazoo"), "no instrument 'kazoo'"),
        (("tune.abc", "--performer", "robot"), "robot"),
        (("tune.txt",), "tune.txt"),
    ],
)
def test_a_score_that_cannot_be_played_is_one_line(capsys, words, error):
    write_score("tune.abc", Melody.from_pitches([60, 62, 64]))
    _, err = run(capsys, "perform", *words, "--out", "sound.wav", code=1)
    assert len(err) == 1
    assert error in err[0]


def test_the_verbs_come_in_the_order_of_the_chain(capsys):
    out, _ = run(capsys, "--help")
    verbs = [line.split()[0] for line in out if line.startswith("    ") and not line.startswith("     ")]
    assert verbs[:4] == ["find", "compose", "perform", "song"]
    assert musicai.song is chain.song


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (("song", "hum.wav", "--out", "hum.wav"), "--out hum.wav: that is the file to start from"),
        (("compose", "--from", "tune.mid", "--out", "./tune.mid"), "that is the file to start from"),
        (("song", "song.json", "--out", "a.wav"), "write --from song.json"),
        (("perform", "gone.mid", "--out", "a.wav"), "gone.mid: No such file or directory"),
    ],
)
def test_nothing_is_lost_by_a_slip(capsys, words, error):
    for name in ("hum.wav", "tune.mid"):
        Path(name).write_bytes(b"precious")
    _, err = run(capsys, *words, code=1)
    assert error in err[0]
    assert Path("hum.wav").read_bytes() == Path("tune.mid").read_bytes() == b"precious"


def test_python_takes_titles_as_the_command_line_does():
    made = musicai.compose("reel e", bars=4)
    assert made.source.name == "Reel E"
    with pytest.raises(ValueError, match="reel z"):
        musicai.compose("reel zzz", bars=4)
