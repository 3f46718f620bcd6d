"""Audio fingerprints: which recording does a clip come from, and where in it does the clip begin?

The spectrum of a recording is full of detail that noise and a room drown, but its strongest peaks stand out of both.
`landmarks` finds them, and `pairs` turns two that are close together into one number, which is the same wherever the
pair occurs. `AudioIndex` looks up the numbers of a clip, lets each vote for the places where it belongs, and then
listens more carefully at the places with the most votes. Chapter 6.
"""

import json
import math
import warnings
from dataclasses import dataclass
from itertools import product
from os.path import expanduser
from pathlib import Path

import numpy as np
import scipy
from torch import Tensor
from tqdm.auto import tqdm

from musicai.audio import Audio, AudioError, load, resample, stft
from musicai.data import AudioFolder
from musicai.storage import atomic_write
from musicai.threads import jit

from ._scale.store import SOUNDS, Column, Store, write

SR, WINDOW, HOP = 8000, 1024, 256  # what lies above 4 kHz is lost first, in a room and in lossy coding
FRAME = HOP / SR  # seconds
AREA = 8, 6  # a peak is the largest value among so many bins below and above, and so many frames before and after
QUIET = 1e-3  # of the loudest value: anything below is no peak
LOW, HIGH = 47, 107  # the pitches of peaks, as MIDI numbers: 123 Hz to 3.9 kHz
STEPS = 3  # of the pitch per semitone, in keys
REACH, SPREAD = 20, 36  # a pair spans at most so many frames and so many steps
KEYS = ((HIGH - LOW) * STEPS + 1) * (2 * SPREAD + 1) * REACH
BLOCK, MARGIN = 2**11 * HOP, 2**5 * HOP  # samples analysed at once, with a little on both sides
GAP = 640  # frames between two recordings on the common time axis
AROUND = 11, 33  # bins and frames whose mean a value of a clip's spectrum is compared with
LONGEST, SHORTEST = 20.0, 0.5  # seconds of a clip that are used, and that are needed
SPEEDS = tuple(1 + sign * i / 100 for i in range(1, 6) for sign in (1, -1))
BINS = 440 * 2 ** ((np.arange(12_800) / 100 - 69) / 12) * WINDOW / SR  # the frequency of each cent
VOTES, LOOKS = 150_000, 2_000_000  # the work per clip: postings read per speed, and landmarks compared
RIVALS = 5  # recordings after the best, whose mean score says what this clip reaches by chance
CLEAR = 20.0  # score above that, per second of the clip, which other music reaches in at most 1 % of cases
SURE = 1.5  # times CLEAR: enough to try no other speeds
CHANGE = 8.0  # the log-odds against each speed but 1: most clips have the speed of their recording
REFINED = 5  # recordings whose speed is determined to 0.1 %
ARRAYS = ("starts", "postings", "frames", "cents", "bases", "names")


def landmarks(audio: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Find the peaks of a spectrogram: the values that are the largest in their neighbourhood.

    >>> import torch
    >>> tone = torch.sin(2 * torch.pi * 440 / SR * torch.arange(SR)) * torch.hann_window(SR)
    >>> frames, pitches = landmarks(tone)
    >>> (frames * FRAME).round(2).tolist(), pitches.round(1).tolist()
    ([0.51], [69.0])

    Args:
        audio: sound (time,) at 8 kHz.

    Returns: the frame (32 ms each) and the pitch (a MIDI number with a fraction) of every peak, in order of time.

    Source: Wang, "An industrial-strength audio search algorithm" (2003). Chapter 6.
    """
    X = stft(audio, WINDOW, HOP).abs().numpy()  # (bins, frames)
    bins, frames = AREA
    loudest, least = scipy.ndimage.maximum_filter(X, (2 * bins + 1, 2 * frames + 1)), QUIET * X.max()
    peaks = (loudest == X) & (least < X)
    peaks[[0, -1]] = False
    frame, k = np.nonzero(peaks.T)
    below, peak, above = np.log(X[[k - 1, k, k + 1], frame] + 1e-9)  # the top of a parabola through the three
    exact = k + 0.5 * (below - above) / np.minimum(below - 2 * peak + above, -1e-6)
    pitch = 69 + 12 * np.log2(exact * SR / WINDOW / 440)
    kept = (pitch > LOW) & (pitch < HIGH)
    return frame[kept], pitch[kept]


def pairs(frames: np.ndarray, pitches: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Number all pairs of landmarks that are close together: by the first pitch, the interval and the time between.

    >>> keys, first = pairs(np.array([0, 5, 9]), np.array([69.0, 72.0, 71.0]))
    >>> first.tolist()
    [0, 1, 0]
    >>> bool(keys[0] == pairs(np.array([100, 105]), np.array([69.0, 72.0]))[0][0])  # the same pair later
    True

    Args:
        frames: the landmarks' times, ascending; fractions are allowed.
        pitches: their pitches.

    Returns: the key of each pair, from 0 to KEYS - 1, and the position of its first landmark.

    Source: Wang (2003). Chapter 6.
    """
    keys, firsts = [], []
    for lag in range(1, len(frames)):
        time = np.rint(frames[lag:] - frames[:-lag]).astype(int)
        if time.min() > REACH:
            break
        interval = np.rint((pitches[lag:] - pitches[:-lag]) * STEPS).astype(int)
        pitch = np.rint((pitches[:-lag] - LOW) * STEPS).astype(int)
        near = (time > 0) & (time <= REACH) & (abs(interval) <= SPREAD) & (pitch >= 0) & (pitch <= (HIGH - LOW) * STEPS)
        keys.append(((pitch * (2 * SPREAD + 1) + interval + SPREAD) * REACH + time - 1)[near])
        firsts.append(np.flatnonzero(near))
    return np.concatenate([np.empty(0, int), *keys]), np.concatenate([np.empty(0, int), *firsts])


@dataclass(frozen=True)
class AudioMatch:
    """A recording that a clip may come from.

    >>> index.find("clip.mp3")[0]  # doctest: +SKIP
    AudioMatch(path='/music/song.flac', title='song', score=251.3, start=12.4, end=17.4, speed=1.0, ...)

    Args:
        path: the file.
        title: its name without the suffix.
        score: how much better the clip fits here than at a place chosen by chance, as a log-likelihood ratio.
        start: where the clip begins in the recording, in seconds.
        end: where it ends.
        speed: how much faster the clip is than the recording; 1.02 is 2 % faster.
        probability: how likely it is that the clip comes from here.
        unlikely: whether the score is so close to those of other recordings that this may be chance; at most 1 % of the
            clips that come from no indexed recording are not marked.

    Chapter 6.
    """

    path: str
    title: str
    score: float
    start: float
    end: float
    speed: float
    probability: float
    unlikely: bool


class AudioIndex:
    """The landmarks of many recordings, in memory or in one memory-mapped file.

    >>> index = AudioIndex.build("~/music", "music.index")  # doctest: +SKIP
    >>> AudioIndex.open("music.index").find("clip.mp3")[0].title  # doctest: +SKIP
    'song'

    Args:
        arrays: starts, int64 (KEYS + 1,), where the postings of each key begin; postings, int32, the frames at which
            the pairs begin, on a time axis that all recordings share; frames, int32, and cents, uint16 (hundredths of a
            MIDI number), the landmarks; bases, int32, the first frame of each recording; names, uint8, the files' paths
            in JSON.

    Source: Wang (2003); comparing spectra at the places found is a matched filter. Chapter 6.
    """

    def __init__(self, *arrays: np.ndarray):
        self.starts, self.postings, self.frames, self.cents, self.bases, names = arrays
        self.paths = json.loads(names.tobytes())

    def __len__(self) -> int:
        return len(self.paths)

    @classmethod
    def build(cls, folder, path: str | Path | None = None, *, progress: bool = True) -> "AudioIndex":
        """Index recordings; with `path`, write the index to a file and open that.

        A file that cannot be read is left out, and a warning names it.

        Args:
            folder: a folder, searched with everything below it, or paths of sound files.
            path: the file to write.
            progress: whether to show a progress bar.

        Raises:
            ValueError: if there is no sound to index.
        """
        files, failed = _sound_files(folder)
        found, bases, paths, base = [], [], [], 0
        for file in tqdm(files, "fingerprints", unit="file", delay=1, disable=not progress):
            try:
                frames, pitches, length = _landmarks_of(load(file, sr=SR, mono=True)[0][0])
                keys, firsts = pairs(frames, pitches)
                if not len(keys):
                    raise AudioError(f"{file}: it is silent, or too short to have landmarks")
            except (ValueError, OSError) as error:
                failed.append(str(error))
                continue
            frames = (frames + base).astype(np.int32)
            found.append((keys.astype(np.int32), frames[firsts], frames, np.rint(100 * pitches).astype(np.uint16)))
            bases.append(base)
            paths.append(str(file.absolute()))
            base += length + GAP
        if not paths:
            raise ValueError("\n".join([f"there is no sound to index in {folder}", *failed[:10]]))
        if failed:
            warnings.warn("\n".join([f"{len(failed)} files are left out:", *failed]), stacklevel=2)
        keys, postings, frames, cents = map(np.concatenate, zip(*found, strict=True))
        order = np.argsort(keys, kind="stable")
        starts = np.searchsorted(keys[order], np.arange(KEYS + 1))
        names = np.frombuffer(json.dumps(paths).encode(), np.uint8)
        arrays = starts, postings[order], frames, cents, np.array(bases, np.int32), names
        if path is None:
            return cls(*arrays)
        with atomic_write(path) as file:
            write(file, {name: Column(x.dtype, None, x) for name, x in zip(ARRAYS, arrays, strict=True)}, {}, SOUNDS)
        return cls.open(path)

    @classmethod
    def open(cls, path: str | Path) -> "AudioIndex":
        """Open an index that `build` wrote; only what a search needs is read from the disk.

        Raises:
            FileNotFoundError: if there is no such file.
            ValueError: if it is empty, not an audio index, of another version, damaged or cut short.
        """
        with Path(expanduser(path)).open("rb") as file:
            store = Store(file, str(path), SOUNDS)
        return cls(*(store[name] for name in ARRAYS))

    def find(self, clip, k: int = 10) -> list[AudioMatch]:
        """Find the recordings that a clip may come from, best first.

        The clip may be noisy, coded, or up to 5 % faster or slower, at the same pitch or with its pitch changed too.
        Of a clip of more than 20 seconds, the middle is used. A silent clip matches nothing.

        Args:
            clip: the path of a sound file, (audio, sr), or an `Audio`.
            k: the most recordings to return.

        Returns: at most `k` matches.

        Raises:
            AudioError: if the clip is shorter than half a second, or holds NaN.
        """
        audio = _mono(clip)
        seconds = len(audio) / SR
        skipped = max(0, int(len(audio) - LONGEST * SR) // 2)
        query = _Query(audio[skipped : skipped + int(LONGEST * SR)])
        if not len(query.frames):
            return []
        best = self._search(query, [(1.0, 0.0)])
        if not best or best[0][0] < _level(best) + SURE * CLEAR * query.length * FRAME:
            changed = [(s, shift) for s in SPEEDS for shift in (-12 * math.log2(s), 0.0)]
            best = self._best_of_each(query, np.array(best + self._search(query, changed)).reshape(-1, 4).T)
        level = _level(best)
        return [self._match(query, one, level, skipped / SR, seconds) for one in best[:k]]

    def _search(self, query: "_Query", changes: list[tuple[float, float]]) -> list[tuple[float, ...]]:
        """(score, place, speed, shift) in each recording where the clip may be, for some changes of speed and pitch."""
        most = max(100, int(LOOKS / (len(self.frames) / self.frames[-1] * query.length)))  # places to look at
        voted = [(*self._vote(query, speed, shift, most), speed, shift) for speed, shift in changes]
        rows = np.concatenate([np.stack(np.broadcast_arrays(*one), dtype=float) for one in voted], axis=1)
        rows = rows[:, np.argsort(-rows[0], kind="stable")[:most]]  # votes, places, speeds, shifts
        rows[0] = self._score(query, *rows[1:])
        best = self._best_of_each(query, rows)
        return sorted([self._refined(query, one) for one in best[:REFINED]] + best[REFINED:], reverse=True)

    def _vote(self, query: "_Query", speed: float, shift: float, most: int) -> tuple[np.ndarray, np.ndarray]:
        """The votes for the frames at which the clip may begin, and these frames: each equal pair is a vote."""
        keys, firsts = pairs(query.frames * speed, query.pitches + shift)
        counts = self.starts[keys + 1] - self.starts[keys]
        rare = np.argsort(counts, kind="stable")  # the rarer a pair, the more it says
        rare = rare[: np.searchsorted(np.cumsum(counts[rare]), VOTES, side="right")]
        begins = np.rint(query.frames[firsts[rare]] * speed).astype(np.int32)
        before = np.cumsum(counts[rare]) - counts[rare]
        read = np.repeat(self.starts[keys[rare]] - before, counts[rare]) + np.arange(counts[rare].sum())
        places, votes = np.unique(self.postings[read] - np.repeat(begins, counts[rare]), return_counts=True)
        top = np.argsort(-votes, kind="stable")[:most]
        return votes[top], places[top]

    def _score(self, query: "_Query", places: np.ndarray, speeds: np.ndarray, shifts: np.ndarray) -> np.ndarray:
        """How loud the clip is where each place in the index has landmarks, as a log-likelihood ratio.

        Where landmarks are, a clip from this place is `query.loudness` = 1 standard deviation above its mean.
        """
        scores = fit(self.frames, self.cents, BINS, query.loudness, places, speeds, shifts)
        return scores - CHANGE * (speeds != 1)

    def _best_of_each(self, query: "_Query", rows: np.ndarray) -> list[tuple[float, ...]]:
        """The best row of each recording, best first; a clip belongs to the recording that its middle is in."""
        rows = rows[:, np.argsort(-rows[0], kind="stable")]
        _, first = np.unique(self._recording(query, rows[1], rows[2]), return_index=True)
        return list(zip(*rows[:, np.sort(first)].tolist(), strict=True))

    def _recording(self, query: "_Query", place, speed):
        return np.searchsorted(self.bases[1:], place + query.length / 2 * speed, side="right")

    def _refined(self, query: "_Query", row: tuple[float, ...]) -> tuple[float, ...]:
        """Look for a better fit at other speeds, first in steps of 1 %, then of 0.1 %.

        What is already in place may be the beginning, the middle or the end of the clip.
        """
        for step in (0.01, 0.001):
            _, place, speed, _ = row
            choices = product(speed + step * np.arange(-6, 7), (0, 1), (0, 0.5, 1), (-0.5, 0, 0.5))
            speeds, shifted, held, delay = np.array([*choices]).T
            grid = np.array([place + (speed - speeds) * query.length * held + delay, speeds, speeds])
            grid[2] = -12 * shifted * np.log2(speeds)
            scores = self._score(query, *grid)
            row = max(row, (float(scores.max()), *grid[:, scores.argmax()].tolist()))
        return row

    def _match(self, query: "_Query", row: tuple, level: float, skipped: float, seconds: float) -> AudioMatch:
        score, place, speed, _ = row
        i = int(self._recording(query, place, speed))
        start = (place - int(self.bases[i])) * FRAME - skipped * speed
        path, end = self.paths[i], start + seconds * speed
        clear = (score - level) / (CLEAR * query.length * FRAME)
        probability = 1 / (1 + math.exp(min(50, 8 * (0.6 - clear))))
        return AudioMatch(path, Path(path).stem, score, start, end, speed, probability, clear < 1)


class _Query:
    """A clip's landmarks, and how far each value of its spectrum is above those around it, in standard deviations."""

    def __init__(self, audio: Tensor):
        self.frames, self.pitches = landmarks(audio)
        X = stft(audio, WINDOW, HOP).abs().numpy()
        S = np.log(X + QUIET * X.max() + 1e-12)
        S -= scipy.ndimage.uniform_filter(S, AROUND)
        S -= S.mean(axis=1, keepdims=True) / 2  # what sounds all the time says less
        self.loudness = (S / (S.std() + 1e-12)).clip(-3.5, 3.5)
        self.length = X.shape[1]


@jit(nogil=True)
def fit(frames, cents, bins, loudness, places, speeds, shifts):
    """The sum of a clip's loudness, less a half, over the landmarks in the index that it covers: float64 (places,).

    `frames` and `cents` are the landmarks, `bins` the frequency of each cent in bins of the clip's spectrum, and
    `loudness` is (bins, frames).
    """
    scores = np.zeros(len(places))
    firsts = np.searchsorted(frames, places)
    height, length = loudness.shape
    for i in range(len(places)):
        ratio = 2.0 ** (-shifts[i] / 12)
        for j in range(firsts[i], len(frames)):
            t = int((frames[j] - places[i]) / speeds[i] + 0.5)
            if t >= length:
                break
            scores[i] += loudness[min(height - 1, int(bins[cents[j]] * ratio + 0.5)), t] - 0.5
    return scores


def _level(best: list[tuple[float, ...]]) -> float:
    """The mean score of the recordings after the best: high for clips that resemble much of the collection."""
    return sum(max(0.0, score) for score, *_ in best[1 : 1 + RIVALS]) / RIVALS


def _landmarks_of(audio: Tensor) -> tuple[np.ndarray, np.ndarray, int]:
    """Landmarks of a sound of any length, in blocks, and its length in frames."""
    found = []
    for first in range(0, len(audio), BLOCK):
        before = min(first, MARGIN)
        frames, pitches = landmarks(audio[first - before : first + BLOCK + MARGIN])
        kept = (frames >= before // HOP) & (frames < (before + BLOCK) // HOP)
        found.append((frames[kept] + (first - before) // HOP, pitches[kept]))
    return *map(np.concatenate, zip(*found, strict=True)), len(audio) // HOP + 1


def _sound_files(folder) -> tuple[list[Path], list[str]]:
    """The sound files in a folder or a list, and what is wrong with those that cannot be read."""
    if isinstance(folder, str | Path):
        found = AudioFolder(folder, on_error="skip")
        return found.files, list(found.skipped.values())
    return [Path(expanduser(file)) for file in folder], []


def _mono(clip) -> Tensor:
    """Any kind of clip as a sound (time,) at 8 kHz."""
    if isinstance(clip, str | Path):
        audio = load(clip, sr=SR, mono=True)[0][0]
    else:
        clip = clip if isinstance(clip, Audio) else Audio(*clip)
        if not clip.samples.isfinite().all():
            raise AudioError("the clip holds NaN or infinite samples")
        audio = resample(clip.samples.mean(0), clip.sr, SR)
    if len(audio) < SHORTEST * SR:
        raise AudioError(f"the clip lasts {len(audio) / SR:.2f} s; give at least {SHORTEST} s")
    return audio
