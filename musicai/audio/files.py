"""Sound files in and out, by libsndfile. Chapter 1."""

import io
import math
import os
import secrets
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike
from pathlib import Path

import numpy as np
import soundfile
import torch
from torch import Tensor

from .containers import MAX_CHANNELS, check_container, check_sound
from .errors import AudioError, AudioNotFoundError, require
from .signal import resample, whole

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
MP3_SLACK = 2 * 1152  # frames; an mp3's header counts in steps of 1,152
FORWARD_ONLY = ("mp3", "ogg")  # libsndfile's seek lands elsewhere in these, or in silence


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
        _check_part(start, duration)
        sr = None if sr is None else whole("sr", sr)
        audio, rate = _read(path, start, duration)
        audio = audio.mean(0, keepdim=True) if mono else audio
        if sr is None:
            return audio, rate
        _check_size(len(audio) * -(-audio.shape[-1] * sr // rate))
        return _finite(resample(audio, rate, sr), sr), sr


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
        _replace(path, _encode(samples.clamp(-1, 1), sr, *FORMATS[suffix]))


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Turn what goes wrong inside into one error that begins with the file's name."""
    try:
        yield
    except AudioError as error:
        raise type(error)(f"{path}: {error}") from error.__cause__
    except soundfile.LibsndfileError as error:
        raise AudioError(f"{path}: {error.error_string.strip()}") from error
    except (OSError, soundfile.SoundFileError, ValueError, OverflowError) as error:
        raise AudioError(f"{path}: {getattr(error, 'strerror', None) or error}") from error


def _check_part(start: float, duration: float | None) -> None:
    require(math.isfinite(start) and start >= 0, f"start must be at least 0 seconds, not {start!r}")
    require(duration is None or duration > 0, f"duration must be above 0 seconds, not {duration!r}")


def _check_size(samples: int) -> None:
    require(samples <= MAX_SAMPLES, f"{samples} samples, above the {MAX_SAMPLES} read at once; use start and duration")


def _read(path: Path, start: float, duration: float | None) -> tuple[Tensor, int]:
    if not path.exists():
        raise AudioNotFoundError("no such file")
    require(path.is_file(), "a folder, not a sound file" if path.is_dir() else "not a regular file")
    size = path.stat().st_size
    with path.open("rb") as raw:
        kind = check_container(raw, size)
    reader = _Forward if kind in FORWARD_ONLY else soundfile.SoundFile
    with reader(str(path)) as file:
        check_sound(file.channels, file.samplerate)
        first, count = _frames_wanted(file, size, start, duration)
        _move(file, first)
        blocks = list(_blocks(file, count))
        read, slack = sum(map(len, blocks)), MP3_SLACK if kind == "mp3" else 0
        require(read > 0, "it holds no samples (0 frames)")
        require(read >= count - slack, f"truncated or damaged: {count} frames are promised, {read} could be read")
        return _finite(torch.from_numpy(np.concatenate(blocks).T.copy()), file.samplerate), file.samplerate


def _frames_wanted(file: soundfile.SoundFile, size: int, start: float, duration: float | None) -> tuple[int, int]:
    """The first frame to read, and how many."""
    require(file.frames > 0, "it holds no samples (0 frames)")
    require(file.frames < 2**62, "the header does not say how many samples follow, as in a stream; save it again")
    possible = size * SAMPLES_A_BYTE
    require(file.frames <= possible, f"the header promises {file.frames} frames, more than {size} bytes can hold")
    first = round(start * file.samplerate)
    require(first < file.frames, f"start={start} s, but the sound ends at {file.frames / file.samplerate:.3f} s")
    left = file.frames - first
    wanted = left if duration is None else min(left, max(1, round(min(duration, 1e12) * file.samplerate)))
    _check_size(wanted * file.channels)
    return first, wanted


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


def _replace(path: Path, content: io.BytesIO) -> None:
    """Write beside `path`, then put in its place: never half a file, nothing left over."""
    require(not path.is_dir(), "a folder is in the way")
    require(path.parent.is_dir(), f"no folder {path.parent}; make it first")
    temporary = path.with_name(f".{path.name[:100]}.{secrets.token_hex(8)}.tmp")
    try:
        with temporary.open("xb") as file:
            file.write(content.getbuffer())
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
