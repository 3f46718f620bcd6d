"""The folk corpus: complete collections, unreadable tunes, splits without leaks."""

from collections import Counter

import pytest

from musicai.data import FolkCorpus, catalogue, folk, group_duplicates, title_key, variants
from musicai.notes.abc import tunes_in

pytest.importorskip("music21", reason="the folk corpus comes with music21: pip install musicai[corpus]")


def test_collections_are_complete():
    counts = {name: len(folk.read_texts(name)) for name in (*folk.COLLECTIONS, folk.ESSEN)}
    assert counts == {"ryansMammoth": 1059, "oneills1850": 2009, "airdsAirs": 1180, "essenFolksong": 8514}


def test_every_tune_can_be_read():
    every = FolkCorpus()
    assert Counter(tune.collection for tune in every) == {"ryansMammoth": 1059, "oneills1850": 2009, "airdsAirs": 1180}
    assert every.skipped == ()
    assert repr(every).startswith("FolkCorpus(4,248 tunes, split=None: ryansMammoth 1,059, oneills1850 2,009,")


def test_limit_takes_evenly():
    tunes = FolkCorpus(limit=10)
    assert Counter(tune.collection for tune in tunes) == {"ryansMammoth": 4, "oneills1850": 3, "airdsAirs": 3}
    assert tunes[0].name == "42d Highland Regiment -- Strathspey"
    assert (tunes[0].key, tunes[0].time_signature) == ("A minor", (4, 4))
    assert tunes[0].transpose(2).collection == "ryansMammoth"


def test_notes_that_came_out_wrong_before():
    """An accidental lasts to the bar line, a fermata keeps its note, a broken rhythm reaches over a slur."""
    named = {tune.name: tune for tune in FolkCorpus()}
    highland = named["42d Highland Regiment -- Strathspey"]  # ... (c<A)(A>.B) ...
    assert [note.duration for note in highland.notes[1:5]] == [0.25, 0.75, 0.75, 0.25]


def test_an_unreadable_tune_is_named(monkeypatch):
    monkeypatch.setattr(folk, "read_texts", lambda name: ["X:1\nT:Good\nK:C\nCDE|\n", "X:2\nT:Bad\nM:x\nK:C\nC|\n"])
    tunes = FolkCorpus(collections="mine")
    assert [tune.name for tune in tunes] == ["Good"]
    assert tunes.skipped == ("mine 2 'Bad': M:x: not a metre",)


def test_relics_of_email_are_decoded():
    assert tunes_in(folk._mended("X:1\nK:D\nA =3Dc |=20\nd =\ne\nX:2\n")) == ["X:1\nK:D\nA =c |\nd \ne\n", "X:2\n"]


def test_splits_are_disjoint_complete_and_keep_groups():
    every = FolkCorpus(limit=300)
    parts = {split: FolkCorpus(split, limit=300) for split in ("train", "valid", "test")}
    assert sum(map(len, parts.values())) == len(every) == 300
    where = {tune.notes: split for split, part in parts.items() for tune in part}
    assert all(where[tune.notes] == split for split, part in parts.items() for tune in part)
    for i, first in enumerate(group_duplicates(every)):
        assert where[every[i].notes] == where[every[int(first)].notes]
    assert len(parts["train"]) > 200
    assert min(map(len, parts.values())) > 5


def test_splits_keep_titles_and_known_variants_together():
    every = FolkCorpus()
    where = {tune.id: split for split in ("train", "valid", "test") for tune in FolkCorpus(split)}
    assert len(where) == len(every) == 4248
    first_of = {}
    for tune in every:
        if key := title_key(tune.name):
            assert where[first_of.setdefault(key, tune.id)] == where[tune.id], tune.name
    assert all(where[a] == where[b] for a, b, same in variants() if same)
    assert Counter(where.values()) == {"train": 3395, "valid": 424, "test": 429}


def test_variants_are_pairs_of_one_title_from_two_collections():
    tunes, pairs = {tune.id: tune for tune in FolkCorpus()}, variants()
    assert len({(a, b) for a, b, _ in pairs}) == len(pairs) >= 200
    assert all(tunes[a].collection != tunes[b].collection for a, b, _ in pairs)
    assert Counter(same for _, _, same in pairs) == {True: 225, False: 95}
    exact = [title_key(tunes[a].name) == title_key(tunes[b].name) for a, b, _ in pairs]
    assert sum(exact) > 150
    named = {(tunes[a].name, tunes[b].name): same for a, b, same in pairs}
    assert named["Smash the Windows -- Jig", "Smash The Windows"]
    assert not named["SMASH THE WINDOWS -- REEL", "Smash The Windows"]  # another tune of that name


def test_repeats_change_the_notes_but_not_the_splits():
    plain, played = FolkCorpus("valid", limit=300), FolkCorpus("valid", limit=300, expand_repeats=True)
    assert [tune.id for tune in plain] == [tune.id for tune in played]
    longer = [len(two) / len(one) for one, two in zip(plain, played, strict=True)]
    assert min(longer) == 1
    assert 1.5 < max(longer) <= 2


def test_essen_states_its_terms(capsys):
    assert len(FolkCorpus(collections=folk.ESSEN, limit=5)) == 5
    assert "non-commercial" in capsys.readouterr().err
    assert folk.ESSEN not in FolkCorpus.__init__.__kwdefaults__["collections"]


def test_missing_music21_says_what_to_install(monkeypatch):
    folk.read_texts.cache_clear()
    monkeypatch.setattr(catalogue, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"not installed: pip install 'musicai\[corpus\]'"):
        FolkCorpus(limit=3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"split": "dev"}, "'dev' is not one of"),
        ({"limit": 0}, "limit=0"),
        ({"collections": ("ryans",)}, "'ryans' is not an ABC collection.*ryansMammoth"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        FolkCorpus(**arguments)
