"""From a hum or a recording to its pitch over time. Chapter 6."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

BAND = 6000  # Hz: twice the highest frequency that is listened to
RATE, HOP, SIZE = 16_000, 160, 896  # Hz and samples: a contour has 100 frames per second, each made from 56 ms
MIDDLE = 340  # samples: the middle of what is compared within a frame, at 200 Hz
LOWEST, HIGHEST = 55.0, 2500.0  # Hz: from a bass to a tin whistle
CANDIDATES = 10  # periods considered per frame
UNVOICED, SWITCH = 0.7, 0.08  # the cost of a frame without pitch, and of a change from or to one
JUMP, FAR = 0.7, 1.0  # the cost of a leap of an octave between neighbouring frames; no leap costs more than FAR
LONGER = 0.02  # per octave: a multiple of a period is as good a period, so among equals take the shortest
SOUNDING = 0.25  # seconds of pitch without which nothing can be found
BLOCK = 2000  # frames analysed at once


@dataclass(frozen=True)
class Contour:
    """The pitch of one voice over time.

    >>> contour = Contour(np.float32([60, 60, np.nan, 62, 62]), np.float32([1, 1, 0, 1, 1]), rate=4.0)
    >>> contour.seconds, contour.notes()[0].tolist()
    (1.25, [60.0, 62.0])

    Args:
        pitches: float32 (frames,), fractional MIDI numbers; NaN where there is no pitch.
        confidences: float32 (frames,), from 0 to 1; 0 where there is no pitch.
        rate: frames per second.

    Raises:
        ValueError: if the arrays differ in length.

    Chapter 6.
    """

    pitches: np.ndarray
    confidences: np.ndarray
    rate: float

    def __post_init__(self):
        if np.shape(self.pitches) != np.shape(self.confidences) or np.ndim(self.pitches) != 1:
            shapes = f"{np.shape(self.pitches)} and {np.shape(self.confidences)}"
            raise ValueError(f"pitches and confidences must both be (frames,), not {shapes}")

    @property
    def seconds(self) -> float:
        """The length of the contour, pauses included."""
        return len(self.pitches) / self.rate

    @property
    def voiced(self) -> np.ndarray:
        """bool (frames,): where there is a pitch."""
        return np.isfinite(self.pitches)

    def trimmed(self) -> "Contour":
        """The same without the silence at both ends."""
        where = np.flatnonzero(self.voiced)
        part = slice(where[0], where[-1] + 1) if len(where) else slice(0)
        return Contour(self.pitches[part], self.confidences[part], self.rate)

    def notes(self, shortest: float = 0.08, apart: float = 0.7) -> tuple[np.ndarray, ...]:
        """Cut the contour where the pitch leaves the note so far, or where the sound stops.

        Args:
            shortest: seconds; anything shorter is a slide or an ornament, and is dropped.
            apart: semitones from the median of the note so far that begin a new note.

        Returns:
            float64 pitches, starts and durations in seconds, and confidences, each (notes,).
        """
        cuts, note = [0], []
        for i, pitch in enumerate(self.pitches):
            ahead = self.pitches[i : i + 3]  # a new note shows in three frames, so one wrong frame is no cut
            left = note and (np.isnan(pitch) or (np.abs(ahead - np.median(note[-40:])) > apart).all())
            if left or (not note and not np.isnan(pitch)):
                cuts.append(i)
                note = []
            note += [] if np.isnan(pitch) else [pitch]
        spans = [(a, b) for a, b in pairwise([*cuts, len(self.pitches)]) if b - a >= shortest * self.rate]
        spans = [(a, b) for a, b in spans if self.voiced[a:b].any()]
        sung = [(np.nanmedian(self.pitches[a:b]), self.confidences[a:b].mean()) for a, b in spans]
        (pitches, confidences), (first, last) = (np.array(x, dtype=float).reshape(-1, 2).T for x in (sung, spans))
        return pitches, first / self.rate, (last - first) / self.rate, confidences


def track_contour(audio, sr: int, name: str = "the sound") -> Contour:
    """Follow the pitch of a voice or an instrument that plays one melody.

    >>> import torch
    >>> t = torch.arange(16_000) / 16_000
    >>> contour = track_contour(torch.sin(2 * torch.pi * 440 * t), 16_000)
    >>> contour.rate, round(float(np.nanmedian(contour.pitches)), 2)
    (100.0, 69.0)

    YIN's difference function (see `yin_difference`) says how much each frame differs from itself a period later, for
    all periods. Its deepest dips are the candidates, and one more candidate is "no pitch". Viterbi's algorithm finds
    the cheapest path through them: a candidate costs its depth, and a step costs more the further the pitch leaps.

    Args:
        audio: samples in [-1, 1], (time,) or (channels, time), as a tensor or an array.
        sr: sample rate in Hz.
        name: what errors call the sound.

    Returns:
        A contour of 100 frames per second.

    Raises:
        ValueError: if samples are missing or not finite, or a quarter of a second of pitch is not to be found.

    Source: de Cheveigne and Kawahara, "YIN" (2002); the path as in Boersma, "Accurate short-term analysis of the
    fundamental frequency" (1993).
    Chapter 6.
    """
    import torch  # here, as those who search for notes do without

    from musicai.audio import AudioError, frame, resample

    x = torch.as_tensor(audio).detach().cpu().float()
    if x.ndim not in (1, 2) or x.numel() == 0 or not bool(x.isfinite().all()):
        held = "NaN or infinite samples" if x.numel() and x.ndim in (1, 2) else f"an array {tuple(x.shape)}"
        raise AudioError(f"{name} must hold finite samples (time,) or (channels, time), not {held}")
    x = resample(resample(x if x.ndim == 1 else x.mean(0), sr, BAND), BAND, RATE)  # what is above is mostly noise
    x = torch.nn.functional.pad(x - x.mean(), (MIDDLE, SIZE - MIDDLE))
    blocks = [_candidates(part) for part in frame(x, SIZE, HOP).split(BLOCK)]
    costs, pitches = (torch.cat(part).numpy() for part in zip(*blocks, strict=True))
    path = _cheapest(costs, pitches)
    taken = np.arange(len(path)), np.minimum(path, CANDIDATES - 1)
    pitch = np.where(path < CANDIDATES, pitches[taken], np.nan)
    confidence = np.where(path < CANDIDATES, 1 - costs[taken], 0)
    contour = Contour(np.float32(pitch), np.float32(confidence.clip(0, 1)), RATE / HOP)
    if contour.voiced.sum() < SOUNDING * contour.rate or not len(contour.notes()[0]):  # drums have pitch, but no notes
        raise ValueError(f"no pitch found in {name}: sing or play one melody, close to the microphone")
    return contour


def _candidates(frames) -> tuple:
    """The costs and pitches (frames, CANDIDATES) of the deepest dips; the cost of a missing one is infinite."""
    from musicai.audio.features import dips, yin_difference

    d = yin_difference(frames, round(RATE / LOWEST) + 2)
    depth, lags = dips(d)
    beside = lags - lags.round()  # the bottom of the parabola is deeper than the sample beside it
    depth = depth - (d[..., :-2] - d[..., 2:]) * beside / 4
    frequency = RATE / lags
    octaves = (frequency / HIGHEST).log2().neg()
    cost = (depth + LONGER * octaves).where((frequency >= LOWEST) & (octaves >= 0), np.inf)
    costs, best = cost.topk(CANDIDATES, largest=False)
    return costs, 69 + 12 * (frequency.gather(-1, best) / 440).log2()


def _cheapest(costs: np.ndarray, pitches: np.ndarray) -> np.ndarray:
    """Viterbi's algorithm: for each frame the candidate on the cheapest path, or CANDIDATES where there is no pitch."""
    costs = np.concatenate([costs, np.full((len(costs), 1), UNVOICED)], axis=1)
    step = np.full((CANDIDATES + 1, CANDIDATES + 1), SWITCH)
    step[-1, -1] = 0
    total, back = costs[0], np.zeros(costs.shape, np.int64)
    for t in range(1, len(costs)):
        step[:-1, :-1] = np.minimum(JUMP / 12 * np.abs(pitches[t - 1][:, None] - pitches[t]), FAR)
        through = total[:, None] + step
        back[t] = through.argmin(0)
        total = through.min(0) + costs[t]
    path = [total.argmin()]
    for choices in back[:0:-1]:
        path.append(choices[path[-1]])
    return np.array(path[::-1])
