"""What libsndfile notices but does not treat as an error, and two kinds of file that it reads only in part.

It silently shortens a wav or ogg that is truncated, but its log says so. It takes some wavs that were written to a pipe
for empty, and guesses the length of an mp3 without a Xing header from the size of its first frame. Chapter 1.
"""

import io
import re
from typing import BinaryIO

import soundfile

from .signal import AudioError, require

MAX_CHANNELS = 256
ENDLESS = 1 << 40  # frames, about a year at 32 kHz; a file that claims more does not know its length
STARTS = (b"RIFF", b"RIFX", b"RF64", b"FORM", b"fLaC", b"OggS", b"ID3", b"\xff")
# The first page of an ogg, or the header of an mp3 that says how many frames follow.
HEADER = re.compile(rb"OggS\0[\2\3]|(?:Xing|Info)\0\0\0[\1\3\5\7\x09\x0b\x0d\x0f](?!\0{4})")
PROMISED_BYTES = re.compile(r"(?:data|SSND) : (\d+) \(should be (\d+)\)")
PROMISED_FRAMES = re.compile(r"Data size : \d+\s+Frames +: (\d+)")  # in an RF64
OGG_DAMAGE = re.compile(r"Ogg ?: ?(.*(?:End-Of-Stream|end-of-stream|Junk|Skipped|hole).*)")


def prepare(file: BinaryIO) -> tuple[BinaryIO, bool]:
    """Find out what libsndfile should read, and whether from start to end, without seeking.

    Raises AudioError if the file is not a sound, is truncated or holds several sounds.
    """
    head = file.read(8)
    require(len(head) > 0, "the file is empty (0 bytes)")
    supported = "supported are wav, flac, ogg, opus, mp3 and aiff"
    require(head.startswith(STARTS), f"not a sound file: it begins with {head[:4]!r}; {supported}")
    file.seek(0)
    with soundfile.SoundFile(file) as sound:
        check_log(sound)
    file.seek(0)
    if sound.format in ("OGG", "MP3"):
        data = file.read()
        headers = HEADER.findall(data)
        require(len(headers) < 2, "it holds several sounds one after another, of which only the first would be read")
        return io.BytesIO(data) if headers else _EndlessFile(data), True
    if sound.frames == 0 and head[4:] in (b"\0\0\0\0", b"\xff\xff\xff\xff"):  # its size was never filled in
        return io.BytesIO(file.read().replace(b"data\0\0\0\0", b"data\xff\xff\xff\xff", 1)), False
    return file, sound.frames > ENDLESS


def check_log(sound: soundfile.SoundFile) -> None:
    """Raise AudioError if libsndfile has noticed that the file is truncated or damaged."""
    log = sound.extra_info
    promised = PROMISED_BYTES.search(log)
    if promised and not _means_unknown(int(promised[1])):
        raise AudioError(f"truncated: the header promises {promised[1]} bytes of samples, the file holds {promised[2]}")
    promised = PROMISED_FRAMES.search(log)
    if promised and int(promised[1]) > sound.frames:
        raise AudioError(f"truncated: the header promises {promised[1]} frames, the file holds {sound.frames}")
    if damage := OGG_DAMAGE.search(log):
        raise AudioError(f"truncated or damaged: {damage[1]}")


def check_sound(channels: int, rate: int, most: int = MAX_CHANNELS) -> None:
    """Reject channel counts and sample rates that no sound has, or that the format cannot hold."""
    require(1 <= channels <= most, f"{channels} channels, not 1 to {most}; audio is (channels, time)")
    require(100 <= rate <= 10_000_000, f"a sample rate of {rate} Hz, not 100 to 10,000,000")


def _means_unknown(size: int) -> bool:
    """Whether this size stands for "unknown": 0, or just below the largest signed or unsigned 32-bit number."""
    return size == 0 or any(top - 4096 <= size <= top for top in (1 << 31, 1 << 32))


class _EndlessFile(io.BytesIO):
    """An mp3 that seems to go on for ever, so that libsndfile's guess of its length is never too short."""

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        if whence == io.SEEK_END:
            return super().seek((1 << 50) + offset)
        return super().seek(offset, whence)

    def readinto(self, buffer: memoryview) -> int:
        if self.tell() > len(self.getbuffer()):  # it looks for a tag at the end; there are only zeros
            buffer[:] = bytes(len(buffer))
            return len(buffer)
        return super().readinto(buffer)
