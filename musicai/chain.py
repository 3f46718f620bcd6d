"""The whole chain in one call: find a melody, compose a song from it, perform the song. Chapter 8.

>>> song = musicai.song("hum.wav", key="D dorian", bars=16, closeness=0.4, seed=1)  # doctest: +SKIP
>>> song.save("song.mp3")  # doctest: +SKIP
>>> song.save("song.json")  # everything that was chosen, from which `read_song` makes it again  # doctest: +SKIP
"""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from html import escape
from importlib.metadata import version
from inspect import signature
from os import PathLike
from os.path import expanduser
from pathlib import Path

import musicai
from musicai.audio import Audio
from musicai.audio.files import FORMATS
from musicai.composition import Song, compose, read_controls, read_source, source_melody
from musicai.composition.voices import VOICES
from musicai.notes import Melody, Note, Score, Track
from musicai.performance import cast, perform, recognise_instrument
from musicai.performance.casting import Clip, Instruments
from musicai.performance.sampled import BEHAVIOUR
from musicai.search import Match, MelodyIndex, find, read_query
from musicai.search.queries import NOTATION, isfile
from musicai.storage import atomic_write

__all__ = ["PlayedSong", "read_song", "song"]

FORMAT = 1  # of song.json
TRACKS = ("melody", "chords", "bass")
VERSIONS = {"musicai": musicai.__version__} | {name: version(name) for name in ("torch", "numpy")}
ANY = Melody.from_pitches(range(60, 76), key="C major")  # a source to check controls with, before there is one
ERRORS = (FileNotFoundError, OSError, ImportError, RuntimeError, ValueError)  # special ones first


@dataclass(frozen=True, eq=False)
class PlayedSong(Song):
    """A song that also knows what was found and who plays it; a notebook shows it as a player.

    >>> song = musicai.song("D5 C5 B4 G4 G4 D4 G4 G4 B4 G4 B4 D5", bars=16)  # doctest: +SKIP
    >>> song.matches[0].title, song.audio  # doctest: +SKIP

    Args:
        melody, request, source, laid_out: as for `Song`.
        matches: what was found, best first.
        recipe: everything that was chosen, as song.json has it.
        progress: whether performing shows a bar.

    Chapter 8.
    """

    matches: tuple[Match, ...] = ()
    recipe: dict = field(default_factory=dict)
    progress: bool = True

    @cached_property
    def score(self) -> Score:
        """As in `Song`, with the General MIDI programs of the instruments that play."""
        score, names = super().score, self.recipe["perform"]["instruments"]
        return replace(score, tracks=[replace(t, program=BEHAVIOUR[names[t.name]]["program"]) for t in score.tracks])

    @cached_property
    def audio(self) -> Audio:
        """The song as it sounds; it is performed when this is first asked for."""
        with step("perform"):
            return perform(self.score, **self.recipe["perform"], progress=self.progress)

    def save(self, path: str | PathLike) -> None:
        """Write the sound, the score or the recipe, by the ending of the name: .mp3 or .wav, .mid or .abc, .json."""
        suffix = Path(path).suffix.lower()
        if suffix == ".json":
            rows = (f" {json.dumps(name)}: {json.dumps(value)}" for name, value in self.recipe.items())
            with atomic_write(path) as file:
                file.write(("{\n" + ",\n".join(rows) + "\n}\n").encode())
        elif suffix in FORMATS:
            self.audio.save(path)
        else:
            super().save(path)

    def __str__(self) -> str:
        """What was found, in a line."""
        found = self.recipe["found"]
        if not found:
            return "find: nothing, so the song starts from " + ("your own notes" if self.source else "nothing")
        best = f"{found['title'] or 'a tune without a title'} [{found['id']}]"
        if found["used"]:
            return f"find: {best}, {found['probability']:.0%} sure"
        return f"find: probably not among these tunes, so the song starts from your own notes (the nearest is {best})"

    def _repr_html_(self) -> str:
        return f"<p>{escape(str(self))}</p>{self.audio._repr_html_()}"


def song(
    query=None, *, index: MelodyIndex | str | PathLike | None = None, instruments: Instruments = None,
    performer: str = "auto", like: Clip | None = None, humanize: float = 0.3, seed: int | None = 0,
    progress: bool = True, **controls,
) -> PlayedSong:  # fmt: skip
    """Find a melody, compose a new song from it, and perform the song.

    >>> song = musicai.song("hum.wav", key="D dorian", bars=16, closeness=0.4, seed=1)  # doctest: +SKIP
    >>> song.matches[0].title, song.novelty.original, song.audio  # doctest: +SKIP

    The song starts from the best match. If that is more likely wrong than right, the song starts from the
    notes of the query instead. To start from another match, give that as the query.

    Args:
        query: what to look for: whatever `musicai.find` takes, or the title of a tune, or a Match; None composes from
            nothing.
        index: where to look, as in `musicai.find`.
        instruments: as in `musicai.perform`; by default, a flute or a violin with a guitar and a cello, or a choir.
        performer, like, humanize: as in `musicai.perform`.
        seed: the same seed gives the same song on the same machine; None draws one and records it.
        progress: whether to show bars.
        controls: `key`, `meter`, `tempo`, `bars`, `form`, `range`, `density`, `syncopation`, `closeness`, `voices`,
            `chords`, `temperature` and `strict`, as in `musicai.compose`.

    Returns: the song, with `.score`, `.audio`, `.matches` and `.novelty`. It is performed when its sound is first
    asked for.

    Raises:
        ValueError: if the query, a control or an instrument is not possible; the message begins with the step.
        TypeError: if there is no such argument.
        FileNotFoundError: if a file does not exist; the message begins with the step.

    Chapter 8.
    """
    recipe = {"musicai song": FORMAT, "query": _describe(query), "found": None, "source": None}
    recipe["compose"] = {**controls, "seed": seed}
    recipe["perform"] = {"instruments": instruments, "performer": performer, "humanize": humanize}
    with step("perform"):
        like = None if like is None else recognise_instrument(like)  # once, since it takes a while
    check(recipe, query, like)
    with step("find"):
        matches, source = find_source(query, index)
    for match in matches[:1]:
        sure = {"probability": round(match.probability, 3), "used": source is match}
        recipe["found"] = {"title": match.title, "id": match.id} | sure
    return _make(recipe, source, matches, like, progress)


def read_song(path: str | PathLike, progress: bool = True) -> PlayedSong:
    """Make a song again from the song.json that was saved with it.

    >>> read_song("song.json").save("again.mp3")  # the same bytes as song.mp3 on the same machine  # doctest: +SKIP

    Args:
        path: the file.
        progress: whether to show bars.

    Returns: the song, without the matches.

    Raises:
        ValueError: if the file was not written by `PlayedSong.save`, or another song comes out than it tells of, as
            after a change by hand or with another version of musicai.
        FileNotFoundError: if there is no such file.

    Chapter 8.
    """
    try:
        recipe = json.loads(Path(expanduser(path)).read_text("utf-8"))
        if recipe["musicai song"] != FORMAT:
            raise ValueError(f"format {recipe['musicai song']!r}; this version reads {FORMAT}")
        told, versions, source = recipe["notes"], recipe["versions"], recipe["source"]
        source = source and Melody(**source | {"notes": [Note(*row) for row in source["notes"]]})
        recipe["perform"].pop("seed")
        check(recipe, source)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: this is no song.json that musicai can read ({error!r:.160})") from error
    made = _make(recipe, source, (), None, progress)
    if made.recipe["notes"] != told:
        made_by = ", ".join(f"{name} {number}" for name, number in versions.items())
        raise ValueError(f"{path}: another song comes out; the file was changed, or needs what made it: {made_by}")
    return made


def _make(recipe: dict, source, matches: tuple[Match, ...], like: Clip | None, progress: bool) -> PlayedSong:
    """Compose what a recipe says, and complete the recipe."""
    with step("compose"):
        made = compose(source, **recipe["compose"], progress=progress)
    with step("perform"):
        names = cast(made.score, recipe["perform"]["instruments"], like=like)
    seed, tracks = {"seed": made.request.seed}, made.score.tracks
    recipe["compose"] |= seed
    recipe["perform"] |= seed | {"instruments": {tracks[i].name: name for i, name in names.items()}}
    if made.source:
        notes = [[note.pitch, note.start, note.duration] for note in made.source.notes]
        recipe["source"] = dict(reversed(vars(made.source).items())) | {"notes": notes}
    recipe["obtained"] = {name: got for name, (_, got) in made.controls.items()}
    rows = repr([(track.name, track.notes) for track in tracks])
    recipe |= {"notes": hashlib.sha256(rows.encode()).hexdigest()[:16], "versions": VERSIONS}
    return PlayedSong(*(getattr(made, one.name) for one in fields(made)), matches, recipe, progress)


def check(recipe: dict, source, like: Clip | None = None) -> None:
    """Refuse what cannot be composed or performed, before minutes of work."""
    asked, playing = recipe["compose"], recipe["perform"]
    signature(compose).bind(source, **asked)
    with step("compose"):
        read_controls(None if source is None else ANY, asked)
    names = VOICES if asked.get("voices") == 4 else TRACKS[: 3 if asked.get("chords", True) else 1]
    with step("perform"):
        cast(Score([Track(ANY.notes, name=name) for name in names]), playing["instruments"], like=like)
        perform(Score([]), performer=playing["performer"], humanize=playing["humanize"])


def find_source(query, index: MelodyIndex | str | PathLike | None) -> tuple[tuple[Match, ...], object]:
    """The matches, and what to start from: the best or, if that is more likely wrong than right, the query's notes."""
    index = MelodyIndex.open(index) if isinstance(index, str | PathLike) else index
    if query is None or isinstance(query, Match):
        return (query,) if query else (), query
    own = read_source(query, index) if isinstance(query, str) else query
    if not isinstance(own, Melody | Score) and not str(own).lower().endswith(NOTATION):
        own = read_query(own)  # once: to track the pitch of a sound takes seconds
        if own.contours and len(set(own.pitches.round())) < 3:
            raise ValueError(f"{own.name} keeps to one or two pitches, as drums do; sing or play a melody")
    matches = tuple(find(own, index=index))
    return matches, matches[0] if matches and matches[0].probability >= 0.5 else source_melody(own)


def _describe(query) -> object:
    """A query as a recipe has it: its text, or the name and the digest of a file."""
    if isinstance(query, str | PathLike) and isfile(path := Path(expanduser(query))):
        return {"file": path.name, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    kind = "sound" if isinstance(query, tuple) else type(query).__name__.lower()
    return query if query is None or isinstance(query, str) else f"a {kind}"


@contextmanager
def step(name: str) -> Iterator[None]:
    """Let errors inside begin with the name of the step."""
    try:
        yield
    except ERRORS as error:
        kind = next(kind for kind in ERRORS if isinstance(error, kind))
        raise kind(f"{name}: {error}") from error
