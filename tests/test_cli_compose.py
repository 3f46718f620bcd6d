"""`musicai compose` and `musicai novelty`: options reach the code, what is printed is true, errors are one line."""

import io
import json
from types import SimpleNamespace

import pytest
from cli_helpers import run

import musicai
from musicai.cli import build_parser
from musicai.composition import certify, sources
from musicai.composition.sources import read_match, read_source
from musicai.notes import Melody, read_score, write_score
from musicai.search import MelodyIndex, library

TUNES = {
    "oneills1850/28": "The First Tune",
    "oneills1850/30": "Miss McLeod's Reel",
    "ryansMammoth/1": "Ambrose Hornpipe",
    "ryansMammoth/1#1": "Beads -- Reel",
    "airdsAirs/0012": "Queen of Hearts, The",
}


def tune(i):
    """A tune that no other resembles."""
    pitches = [60 + (7 * i + k * k * (i + 3)) % 13 for k in range(40)]
    return Melody.from_pitches(pitches, [0.5 + 0.25 * ((k * i) % 3) for k in range(40)], key="G major")


@pytest.fixture(scope="module")
def index():
    pieces = [Melody(tune(i).notes, name=name, key="G major") for i, name in enumerate(TUNES.values())]
    return MelodyIndex.build(pieces, ids=list(TUNES), progress=False)


@pytest.fixture
def asked(monkeypatch, tmp_path, index):
    """What a `compose` that gives its source back was asked."""
    seen = {}

    def compose(source=None, **options):
        seen.update(options, source=source)
        melody = source if isinstance(source, Melody) else tune(9)
        controls = {"key": ("D dorian", "D dorian"), "meter": ((6, 8), (6, 8)), "range": (("D4", "B5"), ("E4", "B5"))}
        controls |= {"density": (float("nan"), 1.2345), "bars": (16, 16)}
        given = {"controls": controls, "novelty": certify(melody, index), "score": melody.to_score()}
        return SimpleNamespace(**given, save=lambda path: write_score(path, melody))

    monkeypatch.setattr(musicai, "compose", compose, raising=False)
    monkeypatch.setattr(sources, "default_index", lambda: index)
    monkeypatch.setattr("musicai.composition.novelty.default_index", lambda: index)
    monkeypatch.setattr(library, "default_index", lambda: index)
    monkeypatch.chdir(tmp_path)
    return seen


def test_every_option_reaches_compose(capsys, asked):
    words = "--key|D dorian|--meter|6/8|--tempo|110|--bars|16|--form|AABB|--range|D4|B5|--density|1.2|--syncopation|0.1"
    words += "|--closeness|0.4|--voices|1|--no-chords|--temperature|0.9|--strict|--seed|1|--out|song.mid"
    run(capsys, "compose", "--from", "O'Neill 28", *words.split("|"))
    assert asked.pop("source").name == "The First Tune"
    assert asked.pop("progress") in (False, True)
    expected = {"key": "D dorian", "meter": "6/8", "tempo": 110, "bars": 16, "form": "AABB", "range": ("D4", "B5")}
    expected |= {"density": 1.2, "syncopation": 0.1, "closeness": 0.4, "voices": 1, "chords": False}
    assert asked == expected | {"temperature": 0.9, "strict": True, "seed": 1}


def test_what_is_not_given_is_left_to_compose(capsys, asked):
    run(capsys, "compose", "--out", "song.mid", "--range", "60", "81")
    assert asked.pop("progress") in (False, True)
    assert asked == {"source": None, "range": (60, 81)}
    run(capsys, "compose", "--surprise", "--out", "song.mid")
    assert asked["seed"] is None


def test_it_prints_what_was_asked_and_obtained_and_the_certificate(capsys, asked):
    out, err = run(capsys, "compose", "--from", "Miss McLeod's", "--out", "song.abc")
    assert not err
    assert out[0] == "song.abc"
    rows = {line[:14].strip(): (line[14:30].strip(), line[30:].strip()) for line in out[2:8]}
    assert rows[""] == ("asked", "obtained")
    assert rows["meter"] == ("6/8", "6/8")
    assert rows["range"] == ("D4 to B5", "E4 to B5")
    assert rows["density"] == ("free", "1.23")
    assert out[9].startswith("Not original")
    assert '"Miss McLeod\'s Reel" [oneills1850/30]' in out[11]
    assert read_score("song.abc").melody().notes == tune(1).notes


def test_compose_goes_on_from_what_find_prints(capsys, asked, monkeypatch):
    out, _ = run(capsys, "find", *[f"{p}" for p in tune(3).pitches[:12]], "--json")
    monkeypatch.setattr("sys.stdin", io.StringIO("\n".join(out)))
    run(capsys, "compose", "--from", "-", "--out", "song.mid")
    assert asked["source"].name == "Beads -- Reel"
    assert asked["source"].notes == tune(3).notes
    assert asked["source"].key == "G major"


def test_compose_finds_its_source_in_another_index(capsys, asked):
    own = Melody(tune(7).notes, name="My own", key="G major")
    MelodyIndex.build([own, tune(8)], "my.index", ids=["mine/1", "mine/2"], progress=False)
    write_score("query.mid", own.transpose(5))
    for source in ("my own", "mine/1", " ".join(f"{p}" for p in own.pitches[:16]), "query.mid"):
        out, _ = run(capsys, "compose", "--from", source, "--index", "my.index", "--out", "song.mid")
        assert asked.pop("source").piece == own
        assert out[:2] == ["find: My own [mine/1]", "song.mid"]
        assert out[out.index("Among the tunes of my.index:") + 1].startswith("Original")  # of what the double composed
    out, _ = run(capsys, "compose", "--from", "D4 D4 E4", "--index", "my.index", "--out", "song.mid")  # it isn't there
    assert out[0].startswith("find: not found, so the song starts from your own notes; the nearest: ")
    assert asked["source"].pitches.tolist() == [62, 62, 64]
    _, (line,) = run(capsys, "compose", "--from", "my own", "--index", "no.index", "--out", "song.mid", code=1)
    assert "no.index: no such index" in line
    _, (line,) = run(capsys, "compose", "--index", "my.index", "--out", "song.mid", code=1)
    assert "give --from as well" in line


@pytest.mark.parametrize(
    ("text", "name"),
    {
        "O'Neill 28": "The First Tune",
        "oneill's 30": "Miss McLeod's Reel",
        "Ryan 2": "Beads -- Reel",  # all of Ryan's tunes have the number 1, so they are counted
        "Aird 12": "Queen of Hearts, The",
        "ryansMammoth/1": "Ambrose Hornpipe",
        "miss mcleods": "Miss McLeod's Reel",
        "the queen of hearts": "Queen of Hearts, The",
        "BEADS": "Beads -- Reel",
    }.items(),
)
def test_a_tune_is_found_by_number_id_or_title(index, text, name):
    found = read_source(text, index)
    assert found.name == name
    assert found.notes == tune(list(TUNES.values()).index(name)).notes


def test_notes_and_files_are_left_to_compose(index, tmp_path):
    write_score(tmp_path / "tune.mid", tune(0))
    for text in ("E4 E4 F4", "EEFG GFED", "64 64 65", str(tmp_path / "tune.mid")):
        assert read_source(text, index) == text


@pytest.mark.parametrize(
    ("text", "error"),
    {
        "Miss McLoud": 'no tune is called "Miss McLoud"; try "Miss McLeod\'s Reel"',
        "zzzz": 'no tune is called "zzzz"; try a title, "O\'Neill 28", notes or a file',
        "O'Neill 5000": "oneills1850 has no tune 5000; its numbers go from 28 to 30",
        "nothing.mid": "nothing.mid: no such file",
    }.items(),
)
def test_what_is_unknown_is_one_line_with_what_would_fit(capsys, asked, tmp_path, text, error):
    out, err = run(capsys, "compose", "--from", text, "--out", "song.mid", code=1)
    assert not out
    assert err == [next(iter(err))]
    assert error in err[0]
    assert not list(tmp_path.iterdir())


def test_a_name_that_cannot_be_written_is_refused_before_composing(capsys, asked, tmp_path):
    assert "the name must end in .mid" in run(capsys, "compose", "--out", "song.mp9", code=1)[1][0]
    assert "there is no folder" in run(capsys, "compose", "--out", "nowhere/song.mid", code=1)[1][0]
    assert "--out" in run(capsys, "compose", code=2)[1][-1]
    assert "--bars" in run(capsys, "compose", "--bars", "many", "--out", "song.mid", code=2)[1][-1]
    assert not asked
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("text", ["", "nothing found", "{}", "[{}]", '[{"piece": {"notes": [[1]]}}]', "[1]", "null"])
def test_what_find_did_not_print_is_refused(text):
    with pytest.raises(ValueError, match="is not what `musicai find --json` prints"):
        read_match(text)
    with pytest.raises(ValueError, match="found nothing"):
        read_match("[]")


def test_novelty_of_a_file(capsys, asked, index, tmp_path):
    write_score("copy.mid", tune(1).transpose(3))
    out, err = run(capsys, "novelty", "copy.mid")
    assert not err
    assert out[0].startswith("Not original")
    found = json.loads("\n".join(run(capsys, "novelty", "copy.mid", "--json")[0]))
    assert (found["original"], found["longest"]) == (False, 40)
    assert found["where"] == {"title": "Miss McLeod's Reel", "id": "oneills1850/30", "start": 0.0, "note": 0}
    assert found["nearest"][0]["id"] == "oneills1850/30"
    MelodyIndex.build([tune(2)], tmp_path / "other.index", progress=False)
    assert run(capsys, "novelty", "copy.mid", "--index", "other.index")[0][0].startswith("Original")
    assert "nothing.mid" in run(capsys, "novelty", "nothing.mid", code=1)[1][0]
    assert "a score's name ends in" in run(capsys, "novelty", "song.wav", code=1)[1][0]


def test_a_title_comes_before_notes(monkeypatch):
    """`compose`, `song` and the command line ask the same reader."""
    seen = []
    monkeypatch.setattr("musicai.composition.songs.read_source", lambda text: seen.append(text) or TITLED)
    monkeypatch.setattr("musicai.composition.songs._write", lambda request, melody, progress: melody)
    assert musicai.compose("Abba").notes == TITLED.notes
    assert seen == ["Abba"]


def test_a_home_that_nobody_has_is_a_missing_file():
    with pytest.raises(FileNotFoundError, match=r"~0\.mid: no such file"):
        read_source("~0.mid")


def test_notes_with_octaves_need_no_index(monkeypatch):
    monkeypatch.setattr("musicai.composition.sources.default_index", lambda: pytest.fail("the index was opened"))
    for text in ("E4 E4 F4 G4", "c#5", "Bb3  g4"):
        assert read_source(text) == text


TITLED = Melody.from_pitches([60, 62, 64, 65])


def test_an_empty_source_is_no_tune(index):
    with pytest.raises(ValueError, match="the source is empty"):
        read_source(" ", index)


def test_parts_by_name_or_number():
    options = build_parser().parse_args(["perform", "a.mid", "--instruments", "0=flute,bass=cello", "--out", "a.mp3"])
    assert options.instruments == {0: "flute", "bass": "cello"}


def test_a_warning_is_one_line_and_a_score_without_notes_is_refused(capsys, tmp_path):
    (tmp_path / "tunes.abc").write_text("X:1\nK:C\nCDEFGABc|\n\nX:2\nT:Bad\nK:C\nC/0|\n")
    _, err = run(capsys, "index", str(tmp_path), "--out", str(tmp_path / "my.index"))
    (line,) = (line for line in err if "left out" in line)
    assert line.startswith("musicai: warning: ")
    write_score(tmp_path / "rest.mid", Melody(()))
    _, (line,) = run(capsys, "perform", str(tmp_path / "rest.mid"), "--out", str(tmp_path / "rest.wav"), code=1)
    assert line.endswith("rest.mid: there are no notes to play")
    assert not (tmp_path / "rest.wav").exists()
