"""Sound files in and out, by libsndfile. Chapter 1."""

import io
import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import soundfile
import torch
from torch import Tensor

from musicai.storage import atomic_write

from .containers import MAX_CHANNELS, check_sound, examine
from .signal import AudioError, AudioNotFoundError, as_audio, require, resample, whole

FORMATS = {  # by suffix: libsndfile's names of format and coding, and the most channels that it holds
    ".wav": ("WAV", "PCM_16", MAX_CHANNELS),
    ".flac": ("FLAC", "PCM_16", 8),
    ".ogg": ("OGG", "VORBIS", MAX_CHANNELS),
    ".opus": ("OGG", "OPUS", MAX_CHANNELS),
    ".mp3": ("MP3", "MPEG_LAYER_III", 2),
}
MAX_SAMPLES = 2**29  # 2 GiB as float32: nine hours of mono at 16 kHz
SAMPLES_PER_BYTE = 8192  # no coding packs more, not even silence: 65,535 samples in a flac frame of ten bytes
BLOCK = 2**18  # samples read or written at once
FORWARD_ONLY = ("mp3", "ogg", "flac stream")  # libsndfile's seek lands elsewhere in these, or in silence


def load(
    path: str | Path, *, sr: int | None = None, mono: bool = False, start: float = 0.0, duration: float | None = None
) -> tuple[Tensor, int]:
    """Read a sound file (wav, flac, ogg, opus, mp3, aiff).

    >>> audio, sr = load("song.flac", sr=16_000, mono=True, start=10, duration=5)  # doctest: +SKIP

    Args:
        path: the file.
        sr: resample to this rate in Hz; None keeps the file's own.
        mono: mix the channels into one.
        start: where to begin, in seconds.
        duration: how much to read, in seconds; it may reach past the end. None is all.

    Returns: float32 (channels, time), and the sample rate in Hz.

    Raises:
        AudioNotFoundError: there is no such file.
        AudioError: the file is truncated, damaged, empty, of an unknown format, or holds NaN; the message says which.

    Chapter 1.
    """
    path = Path(path)
    with _naming(path, "damaged or truncated"):
        sr = None if sr is None else whole("sr", sr)
        audio, rate = _read(path, start, duration)
        audio = audio.mean(0, keepdim=True) if mono else audio
        if sr is None:
            return audio, rate
        _check_size(len(audio) * -(-audio.shape[-1] * sr // rate))
        return _finite(resample(audio, rate, sr), sr), sr


def info(path: str | Path) -> tuple[int, int]:
    """The length of a sound file, without decoding it where the file says how long it is.

    >>> frames, sr = info("song.mp3")  # doctest: +SKIP

    Args:
        path: the file.

    Returns: the number of frames (samples per channel), and the sample rate in Hz.

    Raises:
        AudioError: the file is missing, truncated, empty, or of an unknown format.

    Chapter 1.
    """
    path = Path(path)
    with _naming(path, "damaged or truncated"), _open(path) as (file, frames, _):
        return frames, file.samplerate


def save(path: str | Path, audio: Tensor, sr: int) -> None:
    """Write a sound file; the suffix says the format: .wav and .flac (16 bits), .ogg, .opus, .mp3.

    >>> save("note.wav", torch.zeros(2, 16_000), 16_000)  # doctest: +SKIP

    Args:
        path: the file; an old one is replaced only once the new one is complete.
        audio: (channels, time), or (time) for mono, in [-1, 1]; what lies beyond is clipped, with a warning.
        sr: sample rate in Hz.

    Raises:
        AudioError: the sound is empty, not finite or of a wrong shape, the suffix is unknown, or the disk is full.

    Chapter 1.
    """
    path, suffix = Path(path), Path(path).suffix.lower()
    with _naming(path, "cannot be written"):
        require(suffix in FORMATS, f"unknown suffix {suffix!r}; known are {', '.join(FORMATS)}")
        sr, shape = whole("sr", sr), tuple(as_audio(audio).shape)
        require(len(shape) < 3, f"audio must be (time) or (channels, time), not {shape}")
        samples = _finite(audio.detach().to("cpu", torch.float32).reshape(-1, shape[-1]), sr)
        container, coding, most = FORMATS[suffix]
        hint = f"; is {shape} (time, channels)? Then give audio.T" if len(samples) > MAX_CHANNELS else "; use .wav"
        require(len(samples) <= most, f"{len(samples)} channels, but {suffix} holds at most {most}{hint}")
        check_sound(len(samples), sr)
        loud = int((samples.abs() > 1).sum())
        if loud:
            peak = f"peak {float(samples.abs().max()):.3g}"
            warnings.warn(f"{path}: {loud} samples beyond [-1, 1] clipped ({peak})", stacklevel=2)
        content = _encode(samples.clamp(-1, 1), sr, container, coding)
        with atomic_write(path) as file:
            file.write(content.getbuffer())


@contextmanager
def _naming(path: Path, failed: str) -> Iterator[None]:
    """Turn what goes wrong inside into one error that begins with the file's name."""
    name = str(path).encode(errors="backslashreplace").decode()  # a name that is not UTF-8 cannot be printed
    try:
        yield
    except AudioError as error:
        raise type(error)(f"{name}: {error}") from error.__cause__
    except soundfile.LibsndfileError as error:
        raise AudioError(f"{name}: {failed}; libsndfile says: {error.error_string.strip()}") from error
    except (OSError, soundfile.SoundFileError, ValueError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error).removeprefix(str(path)).lstrip(": ")
        raise AudioError(f"{name}: {reason}") from error


@contextmanager
def _open(path: Path) -> Iterator[tuple[soundfile.SoundFile, int, int]]:
    """The decoder of a checked file, the frames it holds, and those to drop first."""
    if not path.exists():
        raise AudioNotFoundError("no such file")
    require(path.is_file(), "a folder, not a sound file" if path.is_dir() else "not a regular file")
    size = path.stat().st_size
    with path.open("rb") as raw:
        kind, stream, frames, lead = examine(raw, size)
        if kind == "flac stream":
            with _Forward(stream) as file:
                frames = sum(map(len, _blocks(file, file.frames)))
            stream.seek(0)
        with (_Forward if kind in FORWARD_ONLY else soundfile.SoundFile)(stream) as file:
            check_sound(file.channels, file.samplerate)
            frames = file.frames if frames is None else frames
            require(frames > 0, "it holds no samples (0 frames)")
            possible = size * SAMPLES_PER_BYTE
            require(frames <= possible, f"the header promises {frames} frames, more than {size} bytes can hold")
            yield file, frames, lead


class _Forward(soundfile.SoundFile):
    """A file read from front to end. SoundFile seeks after each block of a seekable file, even to where it is."""

    def seekable(self) -> bool:
        return False


def _read(path: Path, start: float, duration: float | None) -> tuple[Tensor, int]:
    require(math.isfinite(start) and start >= 0, f"start must be at least 0 seconds, not {start!r}")
    require(duration is None or duration > 0, f"duration must be above 0 seconds, not {duration!r}")
    with _open(path) as (file, frames, lead):
        sr = file.samplerate
        first = round(start * sr)
        require(first < frames, f"start={start} s, but the sound ends at {frames / sr:.3f} s")
        left = frames - first
        count = left if duration is None else min(left, max(1, round(min(duration, 1e12) * sr)))
        _check_size(count * file.channels)
        if file.seekable():
            file.seek(first)
        else:  # decoding all before it is a thousand times faster than real time
            _take(file, lead + first)
        samples = torch.from_numpy(np.concatenate(_take(file, count)).T.copy())
        return _finite(samples, sr), sr


def _take(file: soundfile.SoundFile, count: int) -> list[np.ndarray]:
    """The next `count` frames, in blocks (frames, channels)."""
    blocks = list(_blocks(file, count))
    read = sum(map(len, blocks))
    require(read == count, f"truncated or damaged: {count} frames are promised, {read} could be read")
    return blocks


def _blocks(file: soundfile.SoundFile, count: int) -> Iterator[np.ndarray]:
    """A block at a time: memory grows with what is really there."""
    step = max(1, BLOCK // file.channels)
    while count > 0 and len(block := file.read(min(step, count), dtype="float32", always_2d=True)):
        count -= len(block)
        yield block


def _check_size(samples: int) -> None:
    require(samples <= MAX_SAMPLES, f"{samples} samples, above the {MAX_SAMPLES} read at once; use start and duration")


def _finite(audio: Tensor, sr: int) -> Tensor:
    bad = (~torch.isfinite(audio)).nonzero()
    if len(bad):
        channel, time = bad[0].tolist()
        raise AudioError(f"{len(bad)} samples are NaN or infinite, first in channel {channel} at {time / sr:.3f} s")
    return audio


def _encode(samples: Tensor, sr: int, container: str, coding: str) -> io.BytesIO:
    buffer = io.BytesIO()
    frames = samples.T.contiguous()
    if coding == "PCM_16":  # codes as read back by `load`: a 16-bit file saved again keeps every sample
        frames = (frames * 32768).round().clamp(max=32767).to(torch.int16)
    step = max(1, BLOCK // len(samples))  # the ogg encoder overflows its stack on one long block
    with soundfile.SoundFile(buffer, "w", sr, len(samples), format=container, subtype=coding) as file:
        for block in frames.split(step):
            file.write(block.numpy())
    return buffer
