"""The chain: what is found is what is composed from, and what was chosen can be made again."""

import json

import numpy as np
import pytest
import torch
from composition_helpers import RandomWriter

import musicai
from musicai import chain
from musicai.audio import Audio
from musicai.audio import load as load_sound
from musicai.composition import certify, generation, novelty, songs, sources
from musicai.notes import Melody, read_score
from musicai.search import MelodyIndex, hum

HOW = {"bars": 4, "performer": "sampled", "progress": False}


def tune(i: int) -> Melody:
    """A tune that no other resembles."""
    pitches = [60 + (7 * i + k * k * (i + 3)) % 13 for k in range(32)]
    lengths = [0.5 + 0.5 * ((k * i) % 2) for k in range(32)]
    return Melody.from_pitches(pitches, lengths, name=f"Reel {chr(65 + i % 26) * (1 + i // 26)}", key="G major")


@pytest.fixture(scope="module")
def index():
    return MelodyIndex.build([tune(i) for i in range(40)], progress=False)


@pytest.fixture(autouse=True)
def quick(monkeypatch, index):
    """A model of no weights, and an index of forty tunes."""
    monkeypatch.setattr(generation, "TuneWriter", RandomWriter)
    monkeypatch.setattr(songs, "load_model", lambda: None)
    monkeypatch.setattr(songs, "DRAFTS", 2)
    for module in (novelty, sources):
        monkeypatch.setattr(module, "default_index", lambda: index)


@pytest.fixture
def made(index):
    return musicai.song(tune(7), index=index, key="D dorian", closeness=0.4, seed=3, **HOW)


def test_what_is_found_is_what_is_composed_from(made):
    assert made.matches[0].title == made.source.name == made.recipe["found"]["title"] == "Reel H"
    assert made.source.notes == tune(7).notes
    assert made.request.key == "D dorian"
    assert str(made).startswith("find: Reel H [7], ")


def test_a_match_can_be_chosen(index):
    other = index.find(tune(7), 3)[2]
    assert musicai.song(other, **HOW).source.name == other.title != "Reel H"


def test_a_match_is_played_searched_for_and_judged_as_its_piece(index):
    match = index.find(tune(7), 1)[0]
    played = musicai.perform(match, "flute", performer="sampled")
    assert torch.equal(played.samples, musicai.perform(tune(7), "flute", performer="sampled").samples)
    assert musicai.find(match, 1, index=index)[0].id == match.id
    assert certify(match, index).longest == len(tune(7))


def test_a_title_is_enough(index):
    assert musicai.song("reel j", index=index, **HOW).source.notes == tune(9).notes


def test_what_is_not_among_the_tunes_is_composed_from_as_it_is(index):
    own = Melody.from_pitches([60, 61, 60, 61, 72, 73], [0.25, 3, 0.25, 3, 1, 1], key="C major")
    made = musicai.song(own, index=index, **HOW)
    assert made.matches[0].unlikely
    assert made.source.notes == own.notes
    assert "probably not among these tunes, so the song starts from your own notes" in str(made)
    assert not made.recipe["found"]["used"]


def test_nothing_to_start_from_is_enough():
    made = musicai.song(**HOW)
    assert made.source is made.recipe["source"] is None
    assert made.matches == ()
    assert "from nothing" in str(made)


def test_a_hum_is_found(index):
    sound, sr = hum(tune(11), seed=1, seconds=12.0, errors=0.3, voice="whistle")
    made = musicai.song(Audio(torch.as_tensor(np.float32(sound)), sr), index=index, **HOW)
    assert made.matches[0].title == "Reel L"


def test_the_song_sounds_and_its_instruments_are_in_the_score(made):
    programs = {track.name: track.program for track in made.score.tracks}
    assert programs == {"melody": 73 if made.melody.pitches.min() >= 60 else 40, "chords": 24, "bass": 42}
    assert made.audio.samples.abs().max() > 0.05
    assert made.audio.seconds >= made.score.seconds(made.score.duration)
    assert "<audio" in made._repr_html_()


@pytest.mark.parametrize(
    ("instruments", "programs"),
    [
        ("harp", (46, 46, 46)),
        (["Viola", "harp"], (40, 46, 42)),
        ({"melody": "flute", "bass": "electric_bass"}, (73, 24, 33)),
    ],
)
def test_instruments_are_given_for_all_in_order_or_by_name(instruments, programs):
    made = musicai.song(instruments=instruments, **HOW)
    assert tuple(track.program for track in made.score.tracks) == programs
    assert list(made.recipe["perform"]["instruments"]) == ["melody", "chords", "bass"]


def test_the_melody_can_sound_like_a_clip(monkeypatch):
    heard = []
    monkeypatch.setattr("musicai.chain.recognise_instrument", lambda clip: heard.append(clip) or "trumpet")
    made = musicai.song(like="clip.wav", **HOW)
    assert heard == ["clip.wav"]  # once: it takes a while
    assert made.recipe["perform"]["instruments"] == {"melody": "trumpet", "chords": "nylon_guitar", "bass": "cello"}
    assert made.score.tracks[0].program == 56


def test_it_is_saved_by_the_ending_of_the_name(made, tmp_path):
    for name in ("song.mp3", "song.wav", "song.mid", "song.musicxml", "song.abc", "song.json"):
        made.save(tmp_path / name)
    assert load_sound(tmp_path / "song.mp3")[1] == load_sound(tmp_path / "song.wav")[1] == made.audio.sr
    found = read_score(tmp_path / "song.mid")
    assert [(t.name, t.program) for t in found.tracks] == [(t.name, t.program) for t in made.score.tracks]
    assert (found.key, found.tempos, found.name) == (
        "D dorian",
        made.score.tempos,
        made.score.name,
    )  # D dorian's signature
    with pytest.raises(ValueError, match="ends in"):
        made.save(tmp_path / "song.txt")


@pytest.mark.parametrize("more", [{}, {"voices": 4}, {"seed": None}, {"range": ("D4", "B5"), "meter": (6, 8)}])
def test_song_json_makes_the_same_bytes(index, tmp_path, more):
    made = musicai.song(tune(5), index=index, instruments={} if "voices" in more else ["violin"], **(HOW | more))
    made.save(tmp_path / "song.json")
    again = chain.read_song(tmp_path / "song.json", progress=False)
    assert again.score == made.score
    for suffix in ("mp3", "wav", "json", "mid"):
        made.save(tmp_path / f"one.{suffix}")
        again.save(tmp_path / f"two.{suffix}")
        assert (tmp_path / f"one.{suffix}").read_bytes() == (tmp_path / f"two.{suffix}").read_bytes()


def test_song_json_can_be_read_by_a_person(made, tmp_path):
    made.save(tmp_path / "song.json")
    told = json.loads((tmp_path / "song.json").read_text())
    assert told["compose"] == {"bars": 4, "key": "D dorian", "closeness": 0.4, "seed": 3}
    assert told["perform"]["performer"] == "sampled"
    assert told["obtained"]["bars"] == 4
    assert told["versions"]["musicai"] == musicai.__version__
    assert len((tmp_path / "song.json").read_text().splitlines()) == len(told) + 2


@pytest.mark.parametrize(
    ("change", "error"),
    {
        "text": "this is no song.json",
        "{}": "this is no song.json",
        "[1]": "this is no song.json",
        '"musicai song": 1->"musicai song": 2': "format 2; this version reads 1",
        '"seed": 3->"seed": 4': "another song comes out; the file was changed, or needs what made it: musicai",
        '"bars": 4,->"bars": "four",': "compose: bars='four'",
        '"musicai": "->"musicai": "0.': "another song comes out|",
        '"nylon_guitar"->"kazoo"': "perform: no instrument 'kazoo'",
    }.items(),
)
def test_a_changed_or_unreadable_song_json_is_refused(made, tmp_path, change, error):
    made.save(path := tmp_path / "song.json")
    old, _, new = change.partition("->")
    path.write_text(path.read_text().replace(old, new) if new else change)
    if error.endswith("|"):  # only the version differs, and the song is the same
        assert chain.read_song(path, progress=False).score == made.score
        return
    with pytest.raises(ValueError, match=error.replace("(", r"\(")) as caught:
        chain.read_song(path, progress=False)
    assert "song.json" in str(caught.value)


@pytest.mark.parametrize(
    ("asked", "error"),
    [
        ({"query": "C4 D4"}, "find: one or two notes are found everywhere; give at least 3, not 2"),
        ({"query": "nothing.wav"}, "find: nothing.wav: no such file"),
        ({"query": Audio(torch.zeros(32_000), 16_000)}, "find: no pitch found"),
        ({"query": (np.sin(np.arange(48_000) * 0.1), 16_000)}, "find: the sound keeps to one or two pitches"),
        ({"query": 3.5}, "find: cannot search for 3.5"),
        ({"key": "H major"}, "compose: key='H major'"),
        ({"bars": 3, "form": "AABB"}, "compose: form='AABB'"),
        ({"query": None, "closeness": 0.4}, "compose: closeness=0.4: give a source"),
        ({"instruments": "kazoo"}, "perform: no instrument 'kazoo'"),
        ({"performer": "robot"}, "perform: no performer 'robot'"),
        ({"humanize": 7}, "perform: .*7"),
        ({"instruments": {"drums": "flute"}}, "perform: no part is called 'drums'"),
    ],
)
def test_an_error_names_its_step(index, monkeypatch, asked, error):
    if not error.startswith("find"):
        monkeypatch.setattr(chain, "find", None)  # what is wrong is said before the search begins
    query = asked.pop("query", tune(1))
    with pytest.raises((ValueError, FileNotFoundError), match=error):
        musicai.song(query, index=index, **(HOW | asked))


def test_a_missing_index_is_refused_even_if_nothing_is_looked_for():
    with pytest.raises(FileNotFoundError, match=r"find: no\.index: no such index"):
        musicai.song(index="no.index", **HOW)


@pytest.mark.parametrize("progress", [False, True])
def test_the_performance_shows_bars_only_if_asked(monkeypatch, progress):
    made, asked = musicai.song(**(HOW | {"progress": progress})), []
    monkeypatch.setattr(chain, "perform", lambda score, **how: asked.append(how.pop("progress")))
    assert made.audio is None
    assert asked == [progress]
    assert "progress" not in made.recipe["perform"]


def test_an_unknown_argument_is_refused():
    with pytest.raises(TypeError, match="'tmpo'"):
        musicai.song(tune(1), tmpo=90, **HOW)
