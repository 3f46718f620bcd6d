"""Mixing: parts placed between two loudspeakers, in a room, at the loudness that streaming services play. Chapter 8.

    parts (time,)  --place-->  dry (2, time)  --add_room-->  wet (2, time)  --master-->  -16 LUFS, peaks below -2 dBTP

Sounds are NumPy arrays, float32 (2, time) at `SR`. What takes memory is worked on in place and in blocks, so an hour
takes little more than its own samples.
"""

from collections.abc import Iterable, Iterator

import numpy as np
import soxr
from scipy.ndimage import minimum_filter1d
from scipy.signal import lfilter, oaconvolve

from musicai.performance.sampled import SR

LOUDNESS, CEILING = -16.0, -2.0  # LUFS, dBTP: mp3 and ogg files overshoot by 0.6 dB at most, and no peak may reach -1
OUTER, INNER = 0.15, 0.45  # how far from the centre the first and last parts sit, and the others
REVERBERATION = 0.8  # seconds until the room's echo has fallen by 60 dB
DELAY = 0.012  # seconds until the first echo
WET = 0.2  # the amplitude of the echo beside the sound itself
BLOCK = 2**18  # samples
HOP = 64  # samples: the limiter's time step
REACH = 12  # hops, 48 ms: the limiter turns down this long before a peak, and up again afterwards
OVERLAP = 512  # samples around a block, for the interpolating filter


def mix(parts: Iterable[tuple[np.ndarray, float]]) -> np.ndarray:
    """Mix mono parts to stereo: each in its place, all in one room, at -16 LUFS.

    >>> tone = 0.1 * np.sin(np.arange(16_000, dtype=np.float32) / 5)
    >>> mixed = mix([(tone, -0.5), (tone[:8000], 0.5)])
    >>> mixed.shape, round(loudness(mixed), 1)
    ((2, 28800), -16.0)

    Args:
        parts: pairs of a sound (time,) and its place from -1 (left) to 1 (right); an iterator holds one at a time.

    Returns: float32 (2, time), with `REVERBERATION` seconds of echo after the longest part.

    Chapter 8.
    """
    mixed = np.zeros((2, 0), np.float32)
    for sound, pan in parts:
        if len(sound) > mixed.shape[1]:
            mixed = np.pad(mixed, ((0, 0), (0, len(sound) - mixed.shape[1])))
        for channel, gain in zip(mixed, place(pan), strict=True):
            channel[: len(sound)] += gain * sound
    return master(add_room(mixed))


def place(pan: float) -> tuple[np.float32, np.float32]:
    """The gains of the left and the right channel, whose squares add up to 1: equal power wherever the part is.

    >>> [round(float(gain), 3) for gain in place(0)]
    [0.707, 0.707]

    Args:
        pan: from -1 (left) to 1 (right).

    Returns: two gains from 0 to 1.

    Chapter 8.
    """
    angle = (pan + 1) * np.pi / 4
    return np.float32(np.cos(angle)), np.float32(np.sin(angle))


def seats(count: int) -> list[float]:
    """Where to place so many parts: the first and the last near the centre, inner ones to the left and the right.

    >>> seats(1), seats(4)
    ([0.0], [-0.15, -0.45, 0.45, 0.15])

    Args:
        count: the number of parts.

    Returns: a pan from -1 to 1 for each.

    Chapter 8.
    """
    inner = [INNER if i % 2 else -INNER for i in range(count - 2)]
    return [-OUTER, *inner, OUTER] if count > 1 else [0.0] * count


def room(seconds: float = REVERBERATION) -> np.ndarray:
    """A synthetic room: for each channel, the echo of a single click, as noise that dies away by 60 dB.

    >>> room().shape
    (2, 12800)

    The noise is low-passed at about 2 kHz, since walls and air swallow high frequencies, and has an energy of 1.

    Args:
        seconds: how long the noise takes to fall by 60 dB.

    Returns: float32 (2, time) at 16 kHz.

    Source: Moorer, "About this reverberation business" (1979). Chapter 8.
    """
    n = round(seconds * SR)
    noise = np.random.default_rng(0).standard_normal((2, n)) * 10 ** (-3 * np.arange(n) / n)
    echo = lfilter([0.5], [1, -0.5], noise)
    echo[:, : round(DELAY * SR)] = 0
    return (echo / np.linalg.norm(echo, axis=1, keepdims=True)).astype(np.float32)


def add_room(dry: np.ndarray, wet: float = WET) -> np.ndarray:
    """Add the echo of the `room` to a sound.

    >>> add_room(np.zeros((2, 100), np.float32)).shape
    (2, 12900)

    Args:
        dry: float32 (2, time).
        wet: the amplitude of the echo; the sound itself stays as it is.

    Returns: float32 (2, time), longer by the room's response.

    Chapter 8.
    """
    echo = wet * room()
    mixed = np.pad(dry, ((0, 0), (0, echo.shape[1])))
    for start in reversed(range(0, dry.shape[1], BLOCK)):  # from the end, so that no echo is echoed again
        heard = oaconvolve(dry[:, start : start + BLOCK], echo, axes=1)
        mixed[:, start : start + heard.shape[1]] += heard
    return mixed


def loudness(sound: np.ndarray, gains: np.ndarray | None = None) -> float:
    """Measure how loud a sound is, in LUFS: ITU-R BS.1770-4, by pyloudnorm, in blocks.

    >>> tone = 0.1 * np.sin(2 * np.pi * 997 / SR * np.arange(2 * SR))  # -20 dB at its peaks, in both channels
    >>> round(loudness(np.stack([tone, tone])))
    -20

    Args:
        sound: (2, time). A sound of less than 0.4 s is padded with silence.
        gains: one per `HOP`, to measure the sound as it will be after the limiter.

    Returns: LUFS; minus infinity for silence.

    Source: ITU-R BS.1770-4. Chapter 8.
    """
    import pyloudnorm

    meter, found = pyloudnorm.Meter(SR), []
    for first, block in _blocks(sound):
        block = np.pad(block, ((0, 0), (0, max(0, SR // 2 - block.shape[1]))))
        meter.integrated_loudness((block if gains is None else block * _between(gains, first, block.shape[1])).T)
        found += meter.blockwise_loudness
    power = 10 ** (np.array(found) / 10)
    power = power[power >= 1e-7]  # -70 LUFS
    power = power[power > 0.1 * power.mean()] if len(power) else power
    return float(10 * np.log10(power.mean())) if len(power) else -np.inf


def true_peaks(sound: np.ndarray) -> np.ndarray:
    """The highest level between samples, found by 4-fold oversampling, in each `HOP` of a sound.

    >>> wave = np.sin(np.pi / 2 * np.arange(4096) + np.pi / 4)  # its samples miss its peaks by 3 dB
    >>> round(float(np.abs(wave).max()), 2), round(float(np.median(true_peaks(np.stack([wave, wave])))), 2)
    (0.71, 1.0)

    Args:
        sound: (2, time).

    Returns: (ceil(time / HOP),), from all channels.

    Source: ITU-R BS.1770-4, annex 2. Chapter 8.
    """
    peaks = []
    for first, block in _blocks(sound, OVERLAP):
        fine = soxr.resample(block.T, SR, 4 * SR)[: 4 * block.shape[1]]
        fine[::4] = np.where(np.abs(block.T) > np.abs(fine[::4]), block.T, fine[::4])  # it dulls the highest treble
        fine = np.abs(fine).max(1)[4 * min(first, OVERLAP) :][: 4 * BLOCK]
        peaks.append(np.pad(fine, (0, -len(fine) % (4 * HOP))).reshape(-1, 4 * HOP).max(1))
    return np.concatenate([*peaks, np.zeros(0)])


def limiter(peaks: np.ndarray, ceiling: float = CEILING) -> np.ndarray:
    """The gains that keep peaks below a ceiling: lowered smoothly before each loud moment and raised after it.

    >>> limiter(np.array([0.5, 0.5, 0.5])).tolist()
    [1.0, 1.0, 1.0]

    Args:
        peaks: from `true_peaks`.
        ceiling: in dB.

    Returns: a gain from 0 to 1 for each peak.

    Source: a look-ahead limiter, as in Giannoulis et al., "Digital dynamic range compressor design" (2012). Chapter 8.
    """
    needed = np.minimum(1, 10 ** (ceiling / 20) / np.maximum(peaks, 1e-9))
    lowest = minimum_filter1d(np.pad(needed, REACH, mode="edge"), 2 * REACH + 3)
    window = np.hanning(2 * REACH + 3)[1:-1]
    return np.convolve(lowest, window / window.sum(), "valid")


def master(sound: np.ndarray, lufs: float = LOUDNESS, ceiling: float = CEILING) -> np.ndarray:
    """Bring a sound to a loudness, in place, with no peak above the ceiling.

    >>> click = np.zeros((2, 16_000), np.float32)
    >>> click[:, 8000] = 0.1
    >>> round(float(20 * np.log10(true_peaks(master(click)).max())), 1)
    -2.0

    Peaks are limited only where the gain would lift them above the ceiling. What is below -70 LUFS, which counts as
    silence, stays as it is.

    Args:
        sound: float32 (2, time).
        lufs: the loudness.
        ceiling: the highest true peak, in dB.

    Returns: the sound.

    Chapter 8.
    """
    peaks, level = true_peaks(sound), loudness(sound)
    if level == -np.inf:
        return sound
    wanted = lufs
    for _ in range(6):  # what the limiter takes away has to be made up for
        gain = 10 ** ((wanted - level) / 20)
        gains = gain * limiter(gain * peaks, ceiling)
        missing = lufs - loudness(sound, gains)
        if abs(missing) < 0.1:
            break
        wanted += missing
    for first, block in _blocks(sound):
        block *= _between(gains, first, block.shape[1])
    return sound


def _blocks(sound: np.ndarray, overlap: int = 0) -> Iterator[tuple[int, np.ndarray]]:
    """Views of a sound, block by block, each with the sample at which the block begins."""
    for first in range(0, sound.shape[1], BLOCK):
        yield first, sound[:, max(0, first - overlap) : first + BLOCK + overlap]


def _between(gains: np.ndarray, first: int, count: int) -> np.ndarray:
    """Gains per hop, interpolated at `count` samples from sample `first` on."""
    time = (np.arange(first, first + count) + 0.5) / HOP - 0.5
    return np.interp(time, np.arange(len(gains)), gains).astype(np.float32)
