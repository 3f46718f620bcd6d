"""The folk corpus: the notes of music21's full parse, cached blocks, unreadable tunes, splits without leaks."""

import gzip
import json
import warnings
from collections import Counter

import pytest

from musicai.data import FolkCorpus, folk, melody_key
from musicai.data.abc import join_ties, parse_block

pytest.importorskip("music21", reason="the folk corpus comes with music21: pip install musicai[corpus]")

HEADER = "X:7\nT:Test\nM:6/8\nL:1/8\nQ:3/8=80\nK:Dm\n"


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MUSICAI_CACHE", str(tmp_path))
    for stored in (folk._tunes, folk._splits):
        stored.cache_clear()
    yield tmp_path
    for stored in (folk._tunes, folk._splits):
        stored.cache_clear()


def notes(abc: str, header: str = "X:1\nT:t\nM:4/4\nL:1/4\nK:C\n") -> list[tuple[int, float, float]]:
    (row,) = parse_block((header + abc + "\n",))
    assert "error" not in row, row
    return list(zip(*row["notes"], strict=True))


def test_fields():
    (row,) = parse_block((HEADER + "d2f a3 |\n",))
    assert (row["number"], row["name"], row["key"], row["tempo"]) == ("7", "Test", "D minor", 120.0)
    assert row["time_signature"] == (6, 8)
    assert list(zip(*row["notes"], strict=True)) == [(74, 0, 1), (77, 1, 0.5), (81, 1.5, 1.5)]


@pytest.mark.parametrize(
    ("abc", "expected"),
    [
        ("C D | E2 z F |", [(60, 0, 1), (62, 1, 1), (64, 2, 2), (65, 5, 1)]),  # a rest is a gap
        ("C | D E F G |", [(60, 0, 1), (62, 1, 1), (64, 2, 1), (65, 3, 1), (67, 4, 1)]),  # a pickup
        ("C3 D- | D4 |", [(60, 0, 3), (62, 3, 5)]),  # a tie
        ("C2- C- C- | C4 |", [(60, 0, 8)]),  # a chain of ties
        ("C2 D2- | E4 |", [(60, 0, 2), (62, 2, 2), (64, 4, 4)]),  # a slur written as a tie
        ("(3CDE F2 |", [(60, 0, 2 / 3), (62, 2 / 3, 2 / 3), (64, 4 / 3, 2 / 3), (65, 2, 2)]),  # a triplet
        ("C>D E<F |", [(60, 0, 1.5), (62, 1.5, 0.5), (64, 2, 0.5), (65, 2.5, 1.5)]),  # dotted rhythms
        ("|: C D :| E F |", [(60, 0, 1), (62, 1, 1), (64, 2, 1), (65, 3, 1)]),  # repeats as written
        ("[CEG]2 [Ac]2 |", [(67, 0, 2), (72, 2, 2)]),  # the top note of a chord
        ("{g}C2 {fga}D2 |", [(60, 0, 2), (62, 2, 2)]),  # grace notes take no time
        ('"Am"C2 "^SEGUE"D2 |', [(60, 0, 2), (62, 2, 2)]),  # chord symbols and words
        ('">"C2 D2 |', [(60, 0, 2), (62, 2, 2)]),  # an accent written as text: music21's full parse loses the note
        ("^C D _E =F ^C | C", [(61, 0, 1), (62, 1, 1), (63, 2, 1), (65, 3, 1), (61, 4, 1), (60, 5, 1)]),
    ],
)
def test_hand_worked_notes(abc, expected):
    assert notes(abc) == [pytest.approx(note) for note in expected]


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("C", "C major"),
        ("Gm", "G minor"),
        ("Ador", "A dorian"),
        ("Bb", "Bb major"),
        ("F#m", "F# minor"),
        ("EbLyd", "Eb lydian"),
        ("A Mix", "A mixolydian"),
        ("C#", "C# major"),
        ("Abm", "Ab minor"),
        ("Hp", ""),
    ],
)
def test_keys(key, name):
    (row,) = parse_block((f"X:1\nT:t\nM:C\nL:1/8\nK:{key}\nCDEF|\n",))
    assert row["key"] == name


def test_first_voice_is_put_together():
    abc = "V:1\nC D | E F |\nV:2\nC4 | C4 |\n[V:1] G A | G2 |\n[V:2] C4 | C4 |\n"
    assert [pitch for pitch, _, _ in notes(abc)] == [60, 62, 64, 65, 67, 69, 67]


def test_unreadable_tune_is_named_and_the_rest_read():
    good, bad, empty = HEADER + "d2f|\n", "X:8\nT:Broken\nM:x/y\nL:1/8\nK:C\nCDE|\n", "X:9\nT:None\nK:C\n"
    first, second, third = parse_block((good, bad, empty))
    assert "notes" in first
    assert (second["number"], second["name"]) == ("8", "Broken")
    assert "error" in second
    assert third["error"] == "ValueError: no notes"


def test_agrees_with_the_full_parse_of_music21():
    """30 tunes from all three collections: every pitch, start and duration of the first part."""
    from music21 import converter, harmony

    texts = [text for name in folk.COLLECTIONS for block in folk._blocks(name) for text in block]
    sample = [text for text in texts[::140] if '">' not in text and "V:" not in text]
    assert len(sample) > 25
    for text, row in zip(sample, parse_block(tuple(sample)), strict=True):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            part = converter.parseData(text, format="abc").parts[0]
        full = [
            (max(p.midi for p in n.pitches), n.offset, n.quarterLength, n.tie.type if n.tie else None)
            for n in part.flatten().notes
            if not isinstance(n, harmony.Harmony) and not n.duration.isGrace
        ]
        assert list(zip(*row["notes"], strict=True)) == join_ties(full), row["name"]


def test_collections_are_complete():
    counts = {name: sum(map(len, folk._blocks(name))) for name in (*folk.COLLECTIONS, folk.ESSEN)}
    assert counts == {"ryansMammoth": 1059, "oneills1850": 2009, "airdsAirs": 1180, "essenFolksong": 8514}


def test_limit_takes_evenly_and_caches(cache):
    tunes = FolkCorpus(limit=10, progress=False, workers=1)
    assert Counter(tune.collection for tune in tunes) == {"ryansMammoth": 4, "oneills1850": 3, "airdsAirs": 3}
    assert tunes[0].name == "42d Highland Regiment -- Strathspey"
    assert (tunes[0].key, tunes[0].time_signature) == ("A minor", (4, 4))
    assert tunes[0].transpose(2).collection == "ryansMammoth"
    stored = sorted(cache.rglob("*.json.gz"))
    assert len(stored) == 3
    folk._tunes.cache_clear()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(folk, "parse_block", None)  # nothing is parsed again
        assert FolkCorpus(limit=10, progress=False).tunes == tunes.tunes


def test_damaged_or_foreign_cache_is_rebuilt(cache):
    before = FolkCorpus(limit=3, progress=False, workers=1).tunes
    truncated, foreign, _ = sorted(cache.rglob("*.json.gz"))
    truncated.write_bytes(truncated.read_bytes()[:1000])
    foreign.write_bytes(gzip.compress(json.dumps([{"something": "else"}]).encode()))
    folk._tunes.cache_clear()
    assert FolkCorpus(limit=3, progress=False, workers=1).tunes == before
    assert json.loads(gzip.decompress(foreign.read_bytes()))[0]["notes"]


def test_interrupted_parse_keeps_what_is_done(cache, monkeypatch):
    real, done = parse_block, []

    def interrupted(block):
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(block)
        return real(block)

    monkeypatch.setattr(folk, "parse_block", interrupted)
    with pytest.raises(KeyboardInterrupt):
        FolkCorpus(limit=3, progress=False, workers=1)
    assert len(list(cache.rglob("*.json.gz"))) == 2
    monkeypatch.setattr(folk, "parse_block", lambda block: done.append(block) or real(block))
    assert len(FolkCorpus(limit=3, progress=False, workers=1)) == 3
    assert len(done) == 3
    assert not list(cache.rglob("*.part"))


def test_processes_give_the_same_tunes(cache):
    alone = FolkCorpus(limit=6, progress=False, workers=1).tunes
    for path in cache.rglob("*.json.gz"):
        path.unlink()
    folk._tunes.cache_clear()
    assert FolkCorpus(limit=6, progress=False, workers=2).tunes == alone


def test_interruption_calls_the_processes_off(cache):
    """Blocks that nobody waits for any more are not parsed: the generator ends long before its work would."""
    blocks = [block for name in folk.COLLECTIONS for block in folk._blocks(name)]
    submitted = []
    with pytest.MonkeyPatch.context() as patch:
        pool = folk.ProcessPoolExecutor
        real = pool.submit
        patch.setattr(pool, "submit", lambda *given: submitted.append(real(*given)) or submitted[-1])
        parsed = folk._parsed(blocks, 2)
        next(parsed)
        parsed.close()
    assert len(submitted) == len(blocks) > 60
    assert all(future.done() for future in submitted)
    assert sum(future.cancelled() for future in submitted) > 40


def test_unwritable_cache_warns_and_works(cache, monkeypatch):
    (cache / "file").write_text("in the way")
    monkeypatch.setenv("MUSICAI_CACHE", str(cache / "file"))
    with pytest.warns(UserWarning, match="not cached"):
        assert len(FolkCorpus(limit=3, progress=False, workers=1)) == 3


def test_splits_are_disjoint_complete_and_keep_groups(cache):
    every = FolkCorpus(limit=300, progress=False)
    parts = {split: FolkCorpus(split, limit=300, progress=False) for split in ("train", "valid", "test")}
    assert sum(map(len, parts.values())) == len(every) == 300
    where = {melody_key(tune): split for split, part in parts.items() for tune in part}
    assert all(where[melody_key(tune)] == split for split, part in parts.items() for tune in part)
    assert len(parts["train"]) > 200
    assert min(map(len, parts.values())) > 5


def test_essen_tells_its_terms(cache, capsys):
    assert len(FolkCorpus(collections=folk.ESSEN, limit=5, progress=False, workers=1)) == 5
    assert "non-commercial" in capsys.readouterr().err
    assert folk.ESSEN not in FolkCorpus.__init__.__kwdefaults__["collections"]


def test_missing_music21_says_what_to_install(cache, monkeypatch):
    folk._blocks.cache_clear()
    monkeypatch.setattr(folk.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"pip install musicai\[corpus\]"):
        FolkCorpus(limit=3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"split": "dev"}, "'dev' is not one of"),
        ({"limit": 0}, "limit=0"),
        ({"collections": ("ryans",)}, "'ryans' is no ABC collection.*ryansMammoth"),
    ],
)
def test_bad_arguments(cache, arguments, message):
    with pytest.raises(ValueError, match=message):
        FolkCorpus(**arguments)
