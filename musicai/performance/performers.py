"""Performers turn a score into sound: the sampled instruments, the GAN instrument, the WaveNet. Chapters 4, 5 and 8."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Protocol

import numpy as np
import torch
from tqdm.auto import tqdm

from musicai.audio import Audio, mu_law_decode
from musicai.gan import InstrumentGenerator
from musicai.notes import Melody, Note, Score, Track, note_name
from musicai.notes.note import require, whole
from musicai.notes.score import SLACK
from musicai.performance.casting import Clip, Instruments, cast
from musicai.performance.expression import humanize_score
from musicai.performance.mixing import mix, seats
from musicai.performance.sampled import BEHAVIOUR, INSTRUMENTS, SR, as_score, limited, play_alone, spans
from musicai.wavenet import ScoreWaveNet, sample

RELEASE = 0.5  # seconds of sound after the last note's end
CHUNK = 64  # notes the GAN plays at once
BLOCK = 16_000  # samples the WaveNet draws at once
STEEPNESS = 0.6  # the GAN's release per recorded one, which falls more steeply: longer ones blur fast notes
Casting = Mapping[int, str]  # from the index of a track to its instrument
Stems = Iterator[tuple[int, np.ndarray]]  # the index of a track and its sound alone: float32 (time,)


class Performer(Protocol):
    """Anything that plays a score: a function from a Score or Melody to an Audio.

    >>> def silence(score):
    ...     return Audio(torch.zeros(1, round(16_000 * score.seconds(score.duration))), 16_000)
    >>> performers: list[Performer] = [SampledPerformer("harp"), silence]
    >>> [performer(Melody.from_pitches([60, 62]).to_score()).seconds for performer in performers]
    [2.0, 1.0]

    A score without notes gives half a second of silence. Notes that a performer cannot play raise a ValueError.

    Chapter 5.
    """

    def __call__(self, score: Score | Melody) -> Audio:
        """Play a score."""


def perform(
    score: Score | Melody, instruments: Instruments = None, *, performer: str | Performer = "auto",
    like: Clip | None = None, humanize: float = 0.0, seed: int = 0, progress: bool = True,
) -> Audio:  # fmt: skip
    """Perform a score: every part on its instrument, mixed to stereo in a room at -16 LUFS.

    >>> perform(Melody.from_pitches([67, 69, 71, 72]), "violin")
    Audio(2 channels, 2.91 s at 16000 Hz)
    >>> perform(song, {"melody": "flute", "bass": "cello"}, humanize=0.5).save("song.mp3")  # doctest: +SKIP

    Args:
        score: the score to play, including its tempo changes; a Melody, a Match or a Song; or the path of a file.
        instruments: one name for all parts, a list with a name for each, or a mapping from parts (the tracks' names, or
            their indices) to names; see `find_instrument`. The General MIDI program decides for a part without a name.
        performer: "gan", a new take for every note; "wavenet", sample by sample, faster than it sounds, with recorded
            notes for instruments that it has not learned; "sampled", recorded notes; "auto", the GAN for each part that
            keeps within its instrument's range and recorded notes for the others; or a `Performer` of your own, which
            gets the score and does all the rest. Drums are always recordings.
        like: a clip (a file, an Audio, or a pair of samples and sample rate) of an instrument that the melody should
            sound like. The melody is the track called "melody", or else the first; `instruments` decides for the rest.
        humanize: how much expression to add, from 0 to 1; see `humanize_score`.
        seed: the seed of the takes and of the expression; the same seed gives the same sound.
        progress: whether playing shows a progress bar, if it takes long.

    Returns: stereo at 16 kHz, with the score's name as its title.

    Raises:
        ValueError: for an unknown performer, instrument or part, or notes that the performer cannot play.

    Chapter 8.
    """
    seed = whole(seed, 0, 2**63 - 1, "seed")
    score = humanize_score(as_score(score), humanize, seed)
    if callable(performer):
        return performer(score)
    sampled, gan = SampledPerformer(), GANPerformer(seed=seed, progress=progress)  # models load when first needed
    wavenet = WaveNetPerformer(seed=seed, precision="int8", progress=progress)
    players = {"auto": (gan, sampled), "gan": (gan,), "sampled": (sampled,), "wavenet": (wavenet, sampled)}
    require(performer in list(players), f"no performer {performer!r:.80}; choose from {', '.join(players)}")
    names = cast(score, instruments, like=like)
    drums = {i: "drums" for i, track in enumerate(score.tracks) if track.notes and track.is_drum}
    plan = [(sampled, drums), *zip(players[performer], assign(score, names, players[performer]), strict=True)]
    if not names and not drums:
        return Audio(torch.zeros(2, SR // 2), SR, score.name)
    pans = dict(enumerate(track.pan for track in score.tracks))
    if not any(pans.values()):
        pans |= zip(names, seats(len(names)), strict=True)
    stems = (stem for player, casting in plan if casting for stem in player.stems(score, casting))
    return Audio(torch.from_numpy(mix((sound, pans[i]) for i, sound in stems)), SR, score.name)


def assign(score: Score, names: Casting, players: Sequence["Soloist"]) -> list[Casting]:
    """Give each part to the first player who can play it: a casting for each player. ValueError if nobody can."""
    given = [{} for _ in players]
    for i, name in names.items():
        reasons = [player.obstacle(score.tracks[i], name) for player in players]
        require("" in reasons, f"part {score.tracks[i].name or i!r}: {reasons[0]}")
        given[reasons.index("")][i] = name
    return given


class Soloist:
    """What the three performers share: each part is played alone; called with a score, they add the parts up."""

    sr = SR

    @cached_property
    def loaded(self):
        """The model, loaded when it is first needed."""
        return self._kind.from_pretrained(self.model) if isinstance(self.model, str) else self.model

    def __call__(self, score: Score | Melody) -> Audio:
        """Play a score, in mono, without drums and without a room."""
        score = as_score(score)
        names = cast(score, self.instruments, tuple(self.ranges))
        sounds = [sound for _, sound in self.stems(score, *assign(score, names, [self]))] if names else []
        mixed = np.zeros(max(map(len, sounds), default=self.sr // 2), np.float32)
        for sound in sounds:
            mixed[: len(sound)] += sound
        return Audio(limited(torch.from_numpy(mixed)), self.sr)

    def obstacle(self, track: Track, name: str) -> str:
        """Why this part can't be played on this instrument; empty if it can."""
        if name not in self.ranges:
            return f"no {name} here; choose instruments= from {', '.join(self.ranges)}, or another performer="
        low, high = self.ranges[name]
        out = [note.pitch for note in track.notes if not low <= note.pitch <= high]
        reach = f"{note_name(low)} to {note_name(high)} ({low} to {high})"
        advice = "transpose the part by octaves, choose another instrument, or use performer='auto'"
        return f"{note_name(out[0])} ({out[0]}) is outside the range of {name}, {reach}: {advice}" if out else ""


@dataclass
class SampledPerformer(Soloist):
    """Plays with the recorded notes in the wheel; see `render`, which also plays drums and places parts left and right.

    >>> SampledPerformer("harp")(Melody.from_pitches([60, 64, 67]))
    Audio(1 channel, 2.50 s at 16000 Hz)

    Args:
        instruments: as in `perform`.

    Chapter 1.
    """

    instruments: Instruments = None
    ranges = dict.fromkeys(INSTRUMENTS, (0, 127))

    def stems(self, score: Score, names: Casting) -> Stems:
        """The sound of each part alone."""
        return ((i, play_alone(score, score.tracks[i], name)) for i, name in names.items())


@dataclass
class GANPerformer(Soloist):
    """Plays with an instrument GAN, a new take for every note; drums are left out.

    >>> GANPerformer(instruments="flute")(Melody.from_pitches([67, 69]))
    Audio(1 channel, 1.11 s at 16000 Hz)

    Args:
        model: an InstrumentGenerator, or the name of one.
        instruments: as in `perform`.
        seed: the seed of the takes.
        progress: whether to show a progress bar, if it takes longer than two seconds.

    Chapter 4.
    """

    model: InstrumentGenerator | str = "instrument-gan"
    instruments: Instruments = None
    seed: int = 0
    progress: bool = False
    _kind = InstrumentGenerator

    @property
    def ranges(self) -> dict[str, tuple[int, int]]:
        """The lowest and highest pitch of each instrument."""
        model = self.loaded
        return dict(zip(model.instruments, zip(model.lowest, model.highest, strict=True), strict=True))

    def stems(self, score: Score, names: Casting) -> Stems:
        """The sound of each part alone."""
        count = sum(len(score.tracks[i].notes) for i in names)
        with tqdm(total=count, desc="playing", unit="note", delay=2, disable=not self.progress) as bar:
            for i, name in names.items():
                yield i, self._part(score, i, name, bar)

    def _part(self, score: Score, i: int, name: str, bar: tqdm) -> np.ndarray:
        """One part, a few notes at a time, so that a long one takes little more memory than its sound."""
        starts, ends = spans(score, score.tracks[i])
        seconds, notes = np.maximum(ends - starts, 1) / SR, score.tracks[i].notes
        fall = STEEPNESS * BEHAVIOUR.get(name, {"release": 0.3})["release"]
        mono = np.zeros(int(max(starts + np.rint(SR * (seconds + fall)))), np.float32)
        for first in range(0, len(notes), CHUNK):
            part = slice(first, first + CHUNK)
            pitches, velocities = zip(*((note.pitch, note.velocity) for note in notes[part]), strict=True)
            how = {"seed": self.seed + i + first, "release": fall}
            sounds = self.loaded.render_notes(pitches, velocities, name, seconds[part], **how)
            for start, sound in zip(starts[part], sounds, strict=True):
                mono[start : start + len(sound)] += sound.cpu().numpy()
            bar.update(len(pitches))
        return mono


@dataclass
class WaveNetPerformer(Soloist):
    """Plays with a ScoreWaveNet, drawing each voice as a stream of its own; drums are left out.

    >>> player = WaveNetPerformer(instruments="flute", seconds=2.0)  # doctest: +SKIP
    >>> player(score).save("flute.wav")  # doctest: +SKIP

    The model has only heard instruments that play one note at a time. So each track is split into `voices`, each voice
    is a stream (they are drawn side by side, one per core), and the mix is their sum, scaled down only if it would
    exceed 0.98.

    Args:
        model: a ScoreWaveNet, or the name of one.
        instruments: as in `perform`.
        temperature: below 1 for more likely samples, which means less noise.
        seed: the seed of the uniform numbers.
        seconds: when to stop; None for half a second after the last note.
        precision: as in `sample`; "int8" is the fastest on a CPU.
        progress: whether to show a progress bar.

    Chapter 5.
    """

    model: ScoreWaveNet | str = "wavenet-renderer"
    instruments: Instruments = None
    temperature: float = 0.3
    seed: int = 0
    seconds: float | None = None
    precision: str = "float32"
    progress: bool = True
    _kind = ScoreWaveNet

    @property
    def sr(self) -> int:
        """The model's sample rate."""
        return self.loaded.config.sr

    @property
    def ranges(self) -> dict[str, tuple[int, int]]:
        """A piano's keys, for each instrument."""
        return dict.fromkeys(self.loaded.config.instruments, (21, 108))

    def stems(self, score: Score, names: Casting) -> Stems:
        """The sound of each part alone; all are drawn at once."""
        model, end = self.loaded, score.seconds(max(note.end for i in names for note in score.tracks[i].notes))
        length = round(self.sr * (end + RELEASE if self.seconds is None else self.seconds))
        parts = [(i, Track(voice)) for i in names for voice in voices(score.tracks[i].notes)]
        given = [model.conditioning(replace(score, tracks=(voice,)), names[i], length) for i, voice in parts]
        conditioning = {key: torch.stack([torch.as_tensor(one[key]) for one in given]) for key in given[0]}
        how = {"temperature": self.temperature, "seed": self.seed, "precision": self.precision, "block": BLOCK}
        drawn = sample(model, length, conditioning, streams=len(parts), progress=self.progress, **how)
        streams = drawn if model.config.mixtures else mu_law_decode(drawn, model.config.classes)
        for i in names:
            yield i, streams[[part == i for part, _ in parts]].sum(0).numpy()


def voices(notes: Sequence[Note]) -> list[tuple[Note, ...]]:
    """Split overlapping notes into as few voices of one note at a time as possible.

    >>> low, high, later = Note(60, 0, 2), Note(67, 1, 1), Note(65, 2, 1)
    >>> [[note.pitch for note in voice] for voice in voices([low, high, later])]
    [[60], [67, 65]]

    Each note continues the free voice whose last pitch is nearest. A new voice starts only if no voice is free, so
    there are as many voices as notes that ever sound at once. Overlaps below 1e-6 beats are ignored.

    Args:
        notes: in any order.

    Returns: the notes of each voice, in order.

    Chapter 5.
    """
    found: list[list[Note]] = []
    for note in Track(notes).notes:  # by start, then pitch
        free = [voice for voice in found if voice[-1].end <= note.start + SLACK]
        if free:
            min(free, key=lambda voice: abs(voice[-1].pitch - note.pitch)).append(note)
        else:
            found.append([note])
    return [tuple(voice) for voice in found]
