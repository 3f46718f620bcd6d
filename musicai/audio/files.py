"""Sound files in and out, by libsndfile. Chapter 1."""

import base64
import io
import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from numbers import Real
from os import PathLike
from os.path import expanduser
from pathlib import Path

import numpy as np
import soundfile
import torch
from torch import Tensor

from musicai.storage import atomic_write

from .containers import ENDLESS, MAX_CHANNELS, check_log, check_sound, prepare
from .signal import AudioError, as_audio, require, resample, whole

FORMATS = {  # by suffix: libsndfile's names for the format and the coding
    ".wav": ("WAV", "PCM_16"),
    ".flac": ("FLAC", "PCM_16"),
    ".ogg": ("OGG", "VORBIS"),
    ".opus": ("OGG", "OPUS"),
    ".mp3": ("MP3", "MPEG_LAYER_III"),
}
MP3_RATES = (8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)  # Hz
MOST = {".mp3": 2, ".flac": 8}  # channels that these formats can hold
BLOCK = 2**18  # samples read or written at once


@dataclass(frozen=True, eq=False)
class Audio:
    """A sound with its sample rate; a notebook shows it as a player.

    >>> tone = Audio(torch.sin(torch.arange(8000) * 0.17), sr=16_000)
    >>> tone
    Audio(1 channel, 0.50 s at 16000 Hz)
    >>> tone.save("tone.mp3")  # doctest: +SKIP

    Args:
        samples: float (channels, time), or (time,) for mono, in [-1, 1]; kept as float32 (channels, time).
        sr: sample rate in Hz.
        title: for the file's tags.

    Raises:
        AudioError: if the samples have another shape, or the sample rate is not a whole number above 0.

    Chapter 1.
    """

    samples: Tensor
    sr: int
    title: str = ""

    def __post_init__(self):
        try:
            samples = torch.as_tensor(self.samples).detach().cpu().float()
        except (RuntimeError, TypeError, ValueError) as error:
            raise AudioError(f"samples must be numbers in [-1, 1], not {self.samples!r:.80}") from error
        require(samples.dim() in (1, 2), f"samples must be (channels, time) or (time,); got {tuple(samples.shape)}")
        whole("sr", self.sr)
        object.__setattr__(self, "samples", torch.atleast_2d(samples))

    def __repr__(self) -> str:
        channels = len(self.samples)
        return f"Audio({channels} channel{'s' * (channels != 1)}, {self.seconds:.2f} s at {self.sr} Hz)"

    @property
    def seconds(self) -> float:
        """Its duration in seconds."""
        return self.samples.shape[1] / self.sr

    def save(self, path: str | PathLike) -> None:
        """Write a sound file with its title; the suffix determines the format, as in `musicai.audio.save`."""
        save(path, self.samples, self.sr, self.title)

    def _repr_html_(self) -> str:
        kind, mime = (".mp3", "mpeg") if self.sr in MP3_RATES and len(self.samples) < 3 else (".wav", "wav")
        source = f"data:audio/{mime};base64,{base64.b64encode(encode(self.samples, self.sr, kind)).decode()}"
        return f'<audio controls aria-label="{self!r}" src="{source}"></audio>'


def load(
    path: str | Path, *, sr: int | None = None, mono: bool = False, start: float = 0.0, duration: float | None = None
) -> tuple[Tensor, int]:
    """Read a sound file (wav, flac, ogg, opus, mp3, aiff).

    >>> audio, sr = load("song.flac", sr=16_000, mono=True, start=10, duration=5)  # doctest: +SKIP

    Args:
        path: the file.
        sr: resample to this rate in Hz; None keeps the file's own rate.
        mono: mix the channels into one.
        start: where to begin, in seconds.
        duration: how much to read, in seconds; it may extend past the end. None reads to the end.

    Returns: float32 (channels, time), and the sample rate in Hz.

    Raises:
        FileNotFoundError: if there is no such file.
        AudioError: if the file is truncated, damaged, empty, of an unknown format or holds NaN; the message says which.

    Chapter 1.
    """
    with _naming(path), _open(path) as (file, frames):
        seconds = isinstance(start, Real) and 0 <= start < math.inf
        require(seconds, f"start must be at least 0 seconds, not {start!r:.80}")
        seconds = duration is None or (isinstance(duration, Real) and duration > 0)
        require(seconds, f"duration must be above 0 seconds, not {duration!r:.80}")
        rate = file.samplerate
        first = round(start * rate)
        left = frames - first
        require(left > 0, f"start={start} s, but the sound ends at {frames / rate:.3f} s")
        if file.seekable():
            file.seek(first)
        else:  # decoding everything before it is a thousand times faster than real time
            _take(file, first)
        blocks = _take(file, left if duration is None else min(left, max(1, round(duration * rate))))
        audio = _finite(torch.from_numpy(np.concatenate(blocks).T.copy()), rate)
        audio = audio.mean(0, keepdim=True) if mono else audio
        return (audio, rate) if sr is None else (resample(audio, rate, sr), int(sr))


def info(path: str | Path) -> tuple[int, int]:
    """Find the length of a sound file, decoding it only if the file does not say how long it is.

    >>> frames, sr = info("song.mp3")  # doctest: +SKIP

    Args:
        path: the file.

    Returns: the number of frames (samples per channel), and the sample rate in Hz.

    Raises:
        FileNotFoundError: if there is no such file.
        AudioError: if the file is truncated, empty, or of an unknown format.

    Chapter 1.
    """
    with _naming(path), _open(path) as (file, frames):
        return frames, file.samplerate


def save(path: str | Path, audio: Tensor, sr: int, title: str = "") -> None:
    """Write a sound file in the format given by the suffix: .wav and .flac (16 bits), .ogg, .opus, .mp3.

    >>> save("note.wav", torch.zeros(2, 16_000), 16_000)  # doctest: +SKIP

    Args:
        path: the file; an existing one is replaced only when the new one is complete.
        audio: (channels, time), or (time) for mono, in [-1, 1]; anything beyond is clipped, with a warning.
        sr: sample rate in Hz.
        title: a title for the file's tags.

    Raises:
        AudioError: if the sound is empty, not finite or of the wrong shape, or the suffix is unknown.
        OSError: if there is no such folder, or the disk is full.

    Chapter 1.
    """
    suffix = Path(path).suffix.lower()
    with _naming(path):
        require(suffix in FORMATS, f"unknown suffix {suffix!r}; supported are {', '.join(FORMATS)}")
        sr, shape = whole("sr", sr), tuple(as_audio(audio).shape)
        require(len(shape) < 3, f"audio must be (time) or (channels, time), not {shape}")
        samples = _finite(audio.detach().to("cpu", torch.float32).reshape(-1, shape[-1]), sr)
        check_sound(len(samples), sr, MOST.get(suffix, MAX_CHANNELS))
        loud = int((samples.abs() > 1).sum())
        if loud:
            peak = f"peak {float(samples.abs().max()):.3g}"
            warnings.warn(f"{path}: {loud} samples beyond [-1, 1] clipped ({peak})", stacklevel=2)
        content = encode(samples, sr, suffix, title)
    with atomic_write(path) as file:
        file.write(content)


@contextmanager
def _naming(path: str | PathLike) -> Iterator[None]:
    """Turn decoding errors and bad values inside into an AudioError that begins with the file's name."""
    try:
        yield
    except (soundfile.SoundFileError, ValueError, OverflowError) as error:
        name = str(path).encode(errors="backslashreplace").decode()  # a name that is not UTF-8 cannot be printed
        damaged = "libsndfile cannot use it, perhaps because it is damaged: "
        reason = damaged + error.error_string if isinstance(error, soundfile.LibsndfileError) else error
        raise AudioError(f"{name}: {reason}") from error


@contextmanager
def _open(path: str | PathLike) -> Iterator[tuple[soundfile.SoundFile, int]]:
    """Check a file and yield its decoder and how many frames it holds."""
    path = Path(expanduser(path))
    path.stat()  # raises FileNotFoundError
    require(path.is_file(), "it is a folder or a device, not a file")
    with path.open("rb") as raw:
        stream, forward = prepare(raw)
        reader = _Forward if forward else soundfile.SoundFile
        with reader(stream) as file:
            check_sound(file.channels, file.samplerate)
            frames = file.frames
            if frames > ENDLESS:  # only decoding can tell
                frames = sum(map(len, _blocks(file, frames)))
                require(stream.read() == b"", "damaged: it cannot be decoded to its end")
            require(frames > 0, "it holds no samples (0 frames)")
        stream.seek(0)
        with reader(stream) as file:
            yield file, frames


class _Forward(soundfile.SoundFile):
    """A file read from start to end, since in an mp3 or ogg libsndfile may seek to the wrong place, or to silence.

    SoundFile seeks after each block of a seekable file, even if it is already there.
    """

    def seekable(self) -> bool:
        return False


def _take(file: soundfile.SoundFile, count: int) -> list[np.ndarray]:
    """The next `count` frames, in blocks (frames, channels)."""
    blocks = list(_blocks(file, count))
    check_log(file)  # a gap in an ogg shows up only now
    read = sum(map(len, blocks))
    require(read == count, f"truncated or damaged: {count} frames are promised, but only {read} could be read")
    return blocks


def _blocks(file: soundfile.SoundFile, count: int) -> Iterator[np.ndarray]:
    """Read one block at a time, so that memory grows with what is really there."""
    step = max(1, BLOCK // file.channels)
    while count > 0 and len(block := file.read(min(step, count), dtype="float32", always_2d=True)):
        count -= len(block)
        yield block


def _finite(audio: Tensor, sr: int) -> Tensor:
    finite = audio.isfinite().all(0)
    require(bool(finite.all()), f"it holds NaN or infinite samples, first at {int(finite.byte().argmin()) / sr:.3f} s")
    return audio


def encode(samples: Tensor, sr: int, suffix: str, title: str = "") -> bytes:
    """The content of a sound file of this kind; `samples` are (channels, time), clipped to [-1, 1]."""
    container, coding = FORMATS[suffix]
    frames, buffer = samples.clamp(-1, 1).T.contiguous(), io.BytesIO()
    if coding == "PCM_16":  # the codes that `load` reads back: a 16-bit file saved again keeps every sample
        frames = (frames * 32768).round().clamp(max=32767).to(torch.int16)
    step = max(1, BLOCK // len(samples))  # the ogg encoder overflows its stack on one long block
    with soundfile.SoundFile(buffer, "w", sr, len(samples), format=container, subtype=coding) as file:
        if title:
            file.title = title
        for block in frames.split(step):
            file.write(block.numpy())
    return buffer.getvalue()
