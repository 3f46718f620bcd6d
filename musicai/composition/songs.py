"""`compose`: a new song from a found melody, or from nothing, under the user's own parameters. Chapter 7."""

from dataclasses import dataclass, replace
from functools import cache, cached_property
from os import PathLike

import numpy as np

from musicai.composition.accompaniment import accompany
from musicai.composition.controls import Controls, closeness, density, metric_levels, read_number, syncopation
from musicai.composition.generation import WIDEST, shall_close, write_tunes
from musicai.composition.harmony import add_chords
from musicai.composition.network import TuneWaveNet
from musicai.composition.novelty import Novelty, certify
from musicai.composition.requests import read_controls
from musicai.composition.sources import cut, key_scores, lay_out, play_out, read_source, source_melody
from musicai.composition.tunes import TICKS
from musicai.composition.voices import four_voices
from musicai.notes import Melody, Score, estimate_key, write_score
from musicai.notes.notation import MODES, name_in_key, signature_of

DRAFTS = 8  # tunes that are written to choose one from
TOLERANCE = 0.05  # an error of the soft controls that counts as much as a nat in four notes
CLEAR = 0.03  # the margin by which a key is clear
FLUTE, VIOLIN, LOWEST_FLUTE = 73, 40, 60  # General MIDI programs, and the lowest pitch of the first


@dataclass(frozen=True, eq=False)
class Song:
    """A song: its melody, its score, what was asked and obtained, and what it copied.

    >>> song = compose(None, key="D dorian", bars=16)  # doctest: +SKIP
    >>> song.save("song.mid")  # doctest: +SKIP

    Args:
        melody: as it sounds, repeats played out.
        request: everything that was asked, with the defaults filled in.
        source: the melody that it started from, or None.
        laid_out: the source in the song's own key, metre and form; closeness compares the melody with it.

    Chapter 7.
    """

    melody: Melody
    request: Controls
    source: Melody | None = None
    laid_out: Melody | None = None

    @cached_property
    def score(self) -> Score:
        """A Score with tracks "melody", "chords" and "bass", or "soprano", "alto", "tenor" and "bass"."""
        if self.request.voices == 4:
            return four_voices(self.melody, seed=self.request.seed)
        score = self.melody.to_score(FLUTE if self.melody.pitches.min() >= LOWEST_FLUTE else VIOLIN)
        tracks = (replace(score.tracks[0], name="melody"),)
        if self.request.chords:
            tracks += accompany(self.melody, add_chords(self.melody, seed=self.request.seed))
        return replace(score, tracks=tracks, key=self.request.key)

    @cached_property
    def controls(self) -> dict[str, tuple]:
        """What was asked and what was obtained, by the name of the argument; nan was left to the model."""
        asked, melody = self.request, self.melody
        parts = [part.notes for part in cut(melody, asked.span, len(asked.form))]
        ends = (*asked.range, melody.pitches.min(), melody.pitches.max())
        names = [name_in_key(int(pitch), asked.key) for pitch in ends]
        found = {
            "key": (asked.key, asked.key if key_fit(melody, asked) >= 0 else estimate_key(melody)),
            "meter": (asked.meter, melody.time_signature),
            "tempo": (asked.tempo, melody.tempo),
            "bars": (asked.bars, round(melody.duration * TICKS) / len(metric_levels(melody.time_signature))),
            "form": ("".join(asked.form), "".join(asked.form[parts.index(part)] for part in parts)),
            "range": (tuple(names[:2]), tuple(names[2:])),
            "density": (asked.density, density(melody)),
            "syncopation": (asked.syncopation, syncopation(melody)),
            "seed": (asked.seed, asked.seed),
        }
        near = {"closeness": (asked.closeness, closeness(melody, self.laid_out))} if self.laid_out else {}
        return found | near

    @cached_property
    def novelty(self) -> Novelty:
        """The nearest tunes, the longest copied run, and whether the song is original: see `certify`."""
        return certify(self.melody)

    def save(self, path: str | PathLike) -> None:
        """Write the score as a MIDI, MusicXML or ABC file, by the ending of its name."""
        write_score(path, self.score)

    def show(self) -> str:
        """Engrave the score, which a notebook shows as a picture."""
        return self.score.show()

    def variations(self, n: int) -> list["Song"]:
        """Write other songs under the same controls: see `variations`."""
        return variations(self, n)


def compose(
    source=None, *, key: str | None = None, meter: str | tuple[int, int] | None = None, tempo: float | None = None,
    bars: int | None = None, form: str | None = None, range: tuple | None = None, density: float | None = None,
    syncopation: float | None = None, closeness: float | None = None, voices: int = 1, chords: bool = True,
    temperature: float = 0.9, strict: bool = False, seed: int | None = 0, progress: bool = False,
) -> Song:  # fmt: skip
    """Write a new song, from a melody or from nothing.

    >>> song = compose("D5 C5 B4 G4 G4 D4 G4 G4 B4 G4 B4 D5", key="D dorian", bars=16, closeness=0.4)  # doctest: +SKIP
    >>> song.controls["closeness"]  # doctest: +SKIP
    (0.4, 0.41)

    Key, metre, tempo, bars, form and range are kept exactly; density, syncopation and closeness are steered towards.
    The model writes eight tunes, and the one that fits best is kept.

    Args:
        source: what to start from: a Match, a Melody, a Score, another Song, the title or number of a tune, such as
            "O'Neill 28" (see `read_source`), or whatever else `musicai.search.read_query` takes. Every argument that is
            None then comes from it. None starts from nothing.
        key: a tonic and a mode, such as "D dorian".
        meter: such as "6/8" or (6, 8).
        tempo: beats (quarter notes) per minute.
        bars: how many sound, repeats included.
        form: a letter for each section, all equally long: "AABB" repeats A and B exactly, and in "AABA'" the last A
            returns varied, with at least half of its bars kept.
        range: the lowest and the highest note, as names or MIDI numbers; without a source, drawn as folk tunes have it.
        density: notes per beat.
        syncopation: the share of syncopated notes, 0 to 1.
        closeness: how much of the source is kept, from 0, which forgets the source, to 1, which is the source in the
            new key, metre and form; by default 0.5.
        voices: 1, or 4 for four voices in the manner of Bach's chorales.
        chords: whether a single voice gets chords and a bass.
        temperature: how freely the model draws; 1 follows its probabilities, less is more predictable.
        strict: whether every note must belong to the scale; otherwise other notes may pass by.
        seed: the same seed gives the same song on the same machine; None draws one and records it in `song.controls`.
        progress: whether to show a bar.

    Returns: the song.

    Raises:
        ValueError: if a value is unknown or impossible; the message says what would fit.
        FileNotFoundError: if the source is a file that does not exist.

    Chapter 7.
    """
    asked = {name: value for name, value in locals().items() if name not in ("source", "progress")}
    source = read_source(source) if isinstance(source, str) else source
    melody = None if source is None else source_melody(source)
    return _write(read_controls(melody, asked), melody, progress)


def variations(song: Song, n: int) -> list[Song]:
    """Write other songs under the same controls, from other seeds.

    >>> others = variations(song, 3)  # doctest: +SKIP

    Args:
        song: whose request and source are used again.
        n: how many to write.

    Returns: the songs.

    Raises:
        ValueError: if n is not a whole number from 1 to 1000.

    Chapter 7.
    """
    n = read_number("n", n, 1, 1000, whole=True)
    seeds = np.random.default_rng((song.request.seed, 1)).integers(1, 2**32, n).tolist()
    return [_write(replace(song.request, seed=seed), song.source) for seed in seeds]


@cache
def load_model() -> TuneWaveNet:
    """The tune model, loaded once."""
    return TuneWaveNet.from_pretrained("tunes")


def _write(request: Controls, source: Melody | None, progress: bool = False) -> Song:
    """Write a song: at full closeness, it is the source; otherwise, the best of several drafts."""
    laid = lay_out(source, request) if source else None
    heard = play_out(laid, request) if laid else None
    if request.closeness == 1:
        written = laid
    else:
        drafts = write_tunes(load_model(), request, laid, count=DRAFTS, progress=progress)
        usual = np.median([likelihood for _, likelihood in drafts])
        written = max(drafts, key=lambda draft: fit_of(draft[0], -abs(draft[1] - usual), request, heard))[0]
    name = f"After {source.name}" if source and source.name and request.closeness > 0 else "A new song"
    return Song(replace(play_out(written, request), name=name), request, source, heard)


def fit_of(written: Melody, typicality: float, request: Controls, source: Melody | None) -> float:
    """Score a draft: typical of the model, close to what was asked, recognisably in its key, and as wide as its range.

    The likeliest draft is not the best one: it repeats more of its bars than real tunes do. A draft that ends
    on the tonic is the better one if the song shall close, and the worse one if it shall not: some real tunes don't.

    Args:
        written: the tune as written.
        typicality: minus the distance of its likelihood, in nats per note, from the median of all drafts.
        request: what was asked.
        source: laid out, as it sounds, or None.

    Returns: the score; higher is better.

    Chapter 7.
    """
    melody = play_out(written, request)
    asked = (request.density, request.syncopation, request.closeness if source and request.closeness else np.nan)
    got = (density(melody), syncopation(melody), closeness(melody, source) if source else np.nan)
    errors = np.nansum(np.abs(np.subtract(asked, got)) / (asked[0], 1, 1)) / TOLERANCE
    narrow = max(0, min(WIDEST, np.ptp(request.range)) - np.ptp(melody.pitches)) / 4
    closes = (melody.notes[-1].pitch % 12 == request.tonic) == shall_close(request)
    return 4 * typicality - errors + 3 * min(1, key_fit(melody, request) / CLEAR) - narrow + 4 * closes


def key_fit(melody: Melody, request: Controls) -> float:
    """By how much the asked key, or a relative, beats all others.

    Args:
        melody: as it sounds.
        request: with the key. D dorian counts as recognised when D minor, C major or A minor fits best.

    Returns: the smaller margin by the two profiles of `key_scores`, above 0 where the key is recognised.

    Chapter 7.
    """
    fifths, _ = signature_of(request.key)
    wanted = {(int(MODES.index(request.mode) > 2), request.tonic)}  # lydian, major and mixolydian have a major third
    if request.mode not in ("major", "minor"):
        wanted |= {(0, 7 * fifths % 12), (1, (7 * fifths + 9) % 12)}
    hit = np.array([(mode, tonic) in wanted for mode in (0, 1) for tonic in range(12)])
    return float(min(scores[hit].max() - scores[~hit].max() for scores in key_scores(melody)))
