"""Sound files in and out, by libsndfile. Chapter 1."""

import io
import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike
from pathlib import Path

import numpy as np
import soundfile
import torch
from torch import Tensor

from musicai.storage import atomic_write

from .containers import MAX_CHANNELS, check_sound, examine
from .signal import AudioError, AudioNotFoundError, require, resample, whole

FORMATS = {
    ".wav": ("WAV", "PCM_16"),
    ".flac": ("FLAC", "PCM_16"),
    ".ogg": ("OGG", "VORBIS"),
    ".opus": ("OGG", "OPUS"),
    ".mp3": ("MP3", "MPEG_LAYER_III"),
}
CHANNELS = {".mp3": 2, ".flac": 8}  # the most that a format holds, where fewer than others
MAX_SAMPLES = 2**29  # 2 GiB as float32: nine hours of mono at 16 kHz
SAMPLES_A_BYTE = 8192  # no coding packs more, not even silence: 65,535 samples in a flac frame of ten bytes
BLOCK = 2**18  # samples read or written at once
FORWARD_ONLY = ("mp3", "ogg", "flac stream")  # libsndfile's seek lands elsewhere in these, or in silence


def load(
    path: str | PathLike,
    *,
    sr: int | None = None,
    mono: bool = False,
    start: float = 0.0,
    duration: float | None = None,
) -> tuple[Tensor, int]:
    """Read a sound file (wav, flac, ogg, opus, mp3, aiff).

    >>> audio, sr = load("song.flac", sr=16_000, mono=True, start=10, duration=5)  # doctest: +SKIP

    Args:
        path: the file.
        sr: resample to this rate in Hz; None keeps the file's own.
        mono: mix the channels into one.
        start, duration: the part to read, in seconds; `duration` may reach past the end.

    Returns float32 (channels, time) and the sample rate. Raises `AudioError` naming file and reason for a file that is
    missing, truncated, damaged, empty, of no known format, or that holds NaN or fewer samples than it promises.
    Chapter 1.
    """
    path = Path(path)
    with _naming(path):
        sr = None if sr is None else whole("sr", sr)
        audio, rate = _read(path, start, duration)
        audio = audio.mean(0, keepdim=True) if mono else audio
        if sr is None:
            return audio, rate
        _check_size(len(audio) * -(-audio.shape[-1] * sr // rate))
        return _finite(resample(audio, rate, sr), sr), sr


def info(path: str | PathLike) -> tuple[int, int]:
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
    with _naming(path), _open(path) as (file, frames, _):
        return frames, file.samplerate


def save(path: str | PathLike, audio: Tensor, sr: int) -> None:
    """Write a sound file; the suffix says the format: .wav and .flac (16 bits), .ogg, .opus, .mp3.

    >>> save("note.wav", torch.zeros(2, 16_000), 16_000)  # doctest: +SKIP

    Args:
        path: the file; one that is there is replaced only when the new one is complete.
        audio: (channels, time), or (time) for mono, in [-1, 1]; what lies beyond is clipped, with a warning.
        sr: sample rate in Hz.

    Raises `AudioError` naming file and reason for sound that is empty, not finite or of a wrong shape, for an unknown
    suffix, and where the disk cannot take it. Chapter 1.
    """
    path = Path(path)
    with _naming(path):
        suffix = path.suffix.lower()
        require(suffix in FORMATS, f"unknown suffix {path.suffix!r}; known are {', '.join(FORMATS)}")
        sr = whole("sr", sr)
        samples = _writable(audio, sr)
        check_sound(len(samples), sr)
        most = CHANNELS.get(suffix, MAX_CHANNELS)
        require(len(samples) <= most, f"{len(samples)} channels, but {suffix} holds at most {most}; use .wav")
        peak = float(samples.abs().max())
        if peak > 1:
            loud = int((samples.abs() > 1).sum())
            warnings.warn(f"{path}: {loud} samples beyond [-1, 1] clipped (peak {peak:.3g})", stacklevel=4)
        content = _encode(samples.clamp(-1, 1), sr, *FORMATS[suffix])
        with atomic_write(path) as file:
            file.write(content.getbuffer())


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Turn what goes wrong inside into one error that begins with the file's name."""
    name = str(path).encode(errors="backslashreplace").decode()  # a name that is not UTF-8 cannot be printed
    try:
        yield
    except AudioError as error:
        raise type(error)(f"{name}: {error}") from error.__cause__
    except soundfile.LibsndfileError as error:
        raise AudioError(f"{name}: libsndfile says: {error.error_string.strip()}") from error
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
            possible = size * SAMPLES_A_BYTE
            require(frames <= possible, f"the header promises {frames} frames, more than {size} bytes can hold")
            yield file, frames, lead


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
        _move(file, lead + first)
        blocks = list(_blocks(file, count))
        read = sum(map(len, blocks))
        require(read >= count, f"truncated or damaged: {count} frames are promised, {read} could be read")
        return _finite(torch.from_numpy(np.concatenate(blocks).T.copy()), sr), sr


def _check_size(samples: int) -> None:
    require(samples <= MAX_SAMPLES, f"{samples} samples, above the {MAX_SAMPLES} read at once; use start and duration")


class _Forward(soundfile.SoundFile):
    """A file read from front to end. SoundFile seeks after each block of a seekable file, even to where it is."""

    def seekable(self) -> bool:
        return False


def _move(file: soundfile.SoundFile, first: int) -> None:
    """To frame `first`, by decoding all before it where seeking cannot be trusted: a thousand times real time."""
    if file.seekable():
        file.seek(first)
        return
    step = max(1, BLOCK // file.channels)
    for done in range(0, first, step):
        wanted = min(step, first - done)
        read = len(file.read(wanted, dtype="float32", always_2d=True))
        require(read == wanted, f"truncated or damaged: {file.frames} frames are promised, {done + read} could be read")


def _blocks(file: soundfile.SoundFile, count: int) -> Iterator[np.ndarray]:
    """Samples (frames, channels), a block at a time: memory grows with what is really there."""
    step, read = max(1, BLOCK // file.channels), 0
    while read < count:
        try:
            block = file.read(min(step, count - read), dtype="float32", always_2d=True)
        except soundfile.LibsndfileError as error:
            reason = f"truncated or damaged: {count} frames are promised, reading stopped after {read} or a little more"
            raise AudioError(f"{reason} ({error.error_string.strip()})") from error
        read += len(block)
        _check_size(read * file.channels)
        if len(block):
            yield block
        if len(block) < step:
            return


def _finite(audio: Tensor, sr: int) -> Tensor:
    bad = ~torch.isfinite(audio)
    if bad.any():
        channel, time = bad.nonzero()[0].tolist()
        raise AudioError(
            f"{int(bad.sum())} samples are NaN or infinite, first in channel {channel} at {time / sr:.3f} s"
        )
    return audio


def _writable(audio: Tensor, sr: int) -> Tensor:
    """(channels, time) float32 on the CPU."""
    require(isinstance(audio, Tensor), f"audio must be a torch.Tensor, not {type(audio).__name__}: torch.as_tensor(it)")
    shape = tuple(audio.shape)
    require(audio.is_floating_point(), f"audio must be floating point in [-1, 1], not {audio.dtype}")
    require(audio.ndim in (1, 2), f"audio must be (time) or (channels, time), not {shape}")
    require(audio.numel() > 0, f"audio of shape {shape} holds no samples")
    audio = audio.detach().to("cpu", torch.float32).reshape(-1, shape[-1])
    require(len(audio) <= MAX_CHANNELS, f"{len(audio)} channels in {shape}; is it (time, channels)? Then give audio.T")
    return _finite(audio, sr)


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
