"""Does a file hold what its header says? Asked before any decoder sees the file or any memory is taken.

libsndfile shortens what a wav header promises without a word, and a damaged page of an ogg becomes silence or a gap.
"""

import struct
import zlib
from collections.abc import Iterator
from typing import BinaryIO

from .errors import AudioError, require

MAX_CHANNELS = 256
MIN_RATE, MAX_RATE = 100, 10_000_000
MAX_CHUNKS = 10_000
WAV_PCM, WAV_FLOAT, WAV_EXTENSIBLE = 1, 3, 0xFFFE
OGG_LAST_PAGE = 4


def check_container(file: BinaryIO, size: int) -> str:
    """The format by the file's first bytes ("wav", "aiff", "flac", "ogg", "mp3"); `AudioError` if it is damaged."""
    head = file.read(12)
    require(size > 0, "the file is empty (0 bytes)")
    if head[:4] in (b"RIFF", b"RIFX", b"RF64") and head[8:] == b"WAVE":
        _check_wav(file, size, ">" if head[:4] == b"RIFX" else "<")
        return "wav"
    if head[:4] == b"FORM" and head[8:] in (b"AIFF", b"AIFC"):
        _check_aiff(file, size)
        return "aiff"
    if head[:4] == b"fLaC":
        _check_flac(file, size)
        return "flac"
    if head[:4] == b"OggS":
        _check_ogg(file, size)
        return "ogg"
    if head[:3] == b"ID3" or (len(head) > 1 and head[0] == 0xFF and head[1] & 0xE0 == 0xE0):
        return "mp3"
    raise AudioError(f"not a sound file: it begins with {head[:4]!r}; known are wav, flac, ogg, opus, mp3 and aiff")


def check_sound(channels: int, rate: int) -> None:
    """Refuse counts of channels and sample rates that no sound has."""
    require(1 <= channels <= MAX_CHANNELS, f"{channels} channels; a sound has 1 to {MAX_CHANNELS}")
    require(MIN_RATE <= rate <= MAX_RATE, f"a sample rate of {rate} Hz; a sound has {MIN_RATE} to {MAX_RATE}")


def _chunks(file: BinaryIO, size: int, order: str) -> Iterator[tuple[bytes, int, int]]:
    """(name, claimed size, bytes left in the file) of each chunk, the file standing at its content."""
    position = 12
    for _ in range(MAX_CHUNKS):
        file.seek(position)
        header = file.read(8)
        if len(header) < 8:
            return
        name, claimed = struct.unpack(order + "4sI", header)
        yield name, claimed, size - position - 8
        position += 8 + claimed + claimed % 2
    raise AudioError(f"more than {MAX_CHUNKS} chunks before the samples")


def _check_wav(file: BinaryIO, size: int, order: str) -> None:
    block, long_size = 0, None
    for name, claimed, left in _chunks(file, size, order):
        if name == b"fmt ":
            block = _check_wav_format(file.read(16), order)
        elif name == b"ds64":  # RF64: sizes beyond 4 GiB stand here
            long_size = int.from_bytes(file.read(16)[8:], "little")
        elif name == b"data":
            require(block > 0, "the samples come before the header says what they are (no fmt chunk)")
            claimed = long_size if long_size is not None and claimed == 0xFFFFFFFF else claimed
            _check_promise(claimed, left, block)
            return
        else:
            require(claimed <= left, f"truncated: chunk {name!r} claims {claimed} bytes, the file holds {left} more")
    raise AudioError("truncated: the header is there, the samples are not (no data chunk)")


def _check_wav_format(fields: bytes, order: str) -> int:
    """Bytes a frame."""
    require(len(fields) == 16, "truncated inside the wav header")
    tag, channels, rate, _, block, bits = struct.unpack(order + "HHIIHH", fields)
    check_sound(channels, rate)
    if tag in (WAV_PCM, WAV_FLOAT, WAV_EXTENSIBLE):
        expected = channels * -(-bits // 8)
        require(block == expected > 0, f"damaged header: {channels} channels of {bits} bits in frames of {block} bytes")
    require(block > 0, "damaged header: frames of 0 bytes")
    return block


def _check_aiff(file: BinaryIO, size: int) -> None:
    block = frames = 0
    for name, claimed, left in _chunks(file, size, ">"):
        require(claimed <= left, f"truncated: chunk {name!r} claims {claimed} bytes, the file holds {left} more")
        if name == b"COMM":
            fields = file.read(8)
            require(len(fields) == 8, "truncated inside the aiff header")
            channels, frames, bits = struct.unpack(">hIh", fields)
            check_sound(channels, MIN_RATE)
            block = channels * -(-bits // 8)
        elif name == b"SSND" and block > 0:
            require(frames > 0, "it holds no samples (0 frames)")
            return
    raise AudioError("truncated: the header or the samples are missing")


def _check_promise(claimed: int, left: int, block: int) -> None:
    frames, held = claimed // block, max(0, left) // block
    require(claimed <= left, f"truncated: the header promises {frames} frames, the file holds {held}; fetch it again")
    require(frames > 0, "it holds no samples (0 frames)")


def _check_flac(file: BinaryIO, size: int) -> None:
    position, last, first = 4, False, True
    while not last:
        file.seek(position)
        header = file.read(4)
        require(len(header) == 4, "truncated inside the flac header")
        last, kind, length = header[0] >= 128, header[0] & 127, int.from_bytes(header[1:], "big")
        position += 4 + length
        require(position <= size, f"truncated: a block of the header claims {length} bytes, more than the file holds")
        if first:
            require(kind == 0 and length == 34, "damaged header: no STREAMINFO")
            packed = int.from_bytes(file.read(34)[10:18], "big")  # 20 bits rate, 3 channels - 1, 5 bits - 1, 36 frames
            check_sound((packed >> 41 & 7) + 1, packed >> 44)
        first = False
    require(position < size, "it holds no samples (the header is all there is)")


# An ogg checksum is the common CRC-32 with its bits the other way round, started from 0.
_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def ogg_checksum(page: bytes) -> int:
    """CRC of a page whose own checksum field is zero (RFC 3533)."""
    crc = zlib.crc32(page.translate(_REVERSED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int.from_bytes(crc.to_bytes(4, "little").translate(_REVERSED), "big")


def _check_ogg(file: BinaryIO, size: int) -> None:
    position, number, ended = 0, 0, False
    while position < size:
        file.seek(position)
        header = file.read(27)
        require(
            header[:4] == b"OggS" and len(header) == 27, f"damaged or truncated at byte {position}: no ogg page there"
        )
        table = file.read(header[26])
        body = file.read(sum(table))
        whole = len(table) == header[26] and len(body) == sum(table)
        require(whole, f"truncated: page {number} of the ogg ends after byte {size}")
        sound = ogg_checksum(header[:22] + bytes(4) + header[26:] + table + body) == int.from_bytes(
            header[22:26], "little"
        )
        require(sound, f"damaged: the checksum of page {number} (byte {position}) is wrong")
        position, number, ended = position + 27 + len(table) + len(body), number + 1, bool(header[5] & OGG_LAST_PAGE)
    require(ended, f"truncated: page {number - 1} is the last in the file, but not the last of the sound")
