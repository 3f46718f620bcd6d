"""Does a file hold what its header promises? Asked before a decoder sees the file.

libsndfile silently shortens a wav whose header promises more than is there, turns a damaged page of an ogg into
silence, and guesses the length of an mp3 without a Xing header from the size of its first frame. Here each is called
truncated or damaged, or is put right. Chapter 1.
"""

import io
import re
import struct
import zlib
from typing import BinaryIO, NamedTuple

from .signal import AudioError, require

MAX_CHANNELS = 256
MIN_RATE, MAX_RATE = 100, 10_000_000
WAV_PCM, WAV_FLOAT, WAV_EXTENSIBLE = 1, 3, 0xFFFE
OGG_LAST_PAGE = 4
SAME_STREAM = 0xFFFE0C00  # the bits of an mpeg header that stay the same: sync word, version, layer and sample rate
MPEG_RATES = (44_100, 48_000, 32_000)
MPEG_KBITS = {  # kbit/s of the bit rate codes 1 to 14, by (MPEG-1?, layer)
    (True, 1): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (True, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (False, 3): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}


class Source(NamedTuple):
    """What the decoder is to read, how many frames that holds (None: libsndfile knows), and how many to drop first."""

    kind: str
    stream: BinaryIO
    frames: int | None = None
    lead: int = 0


def examine(file: BinaryIO, size: int) -> Source:
    """Tell the format by the file's first bytes and check its structure; `AudioError` if it is damaged."""
    require(size > 0, "the file is empty (0 bytes)")
    head = file.read(26)
    kind, order = head[:4], ">" if head[:4] in (b"RIFX", b"FORM") else "<"
    if head[8:12] in (b"WAVE", b"AIFF", b"AIFC") and kind in (b"RIFF", b"RIFX", b"RF64", b"FORM"):
        finished = 0 <= size - 8 - struct.unpack(order + "I", head[4:8])[0] <= 1
        source = Source("wav", _check_chunks(file, size, order, finished))
    elif kind == b"fLaC":
        known = int.from_bytes(head[18:26], "big") & (1 << 36) - 1  # 0 if it was written into a pipe
        source = Source("flac" if known else "flac stream", file)
    elif kind == b"OggS":
        _check_ogg(file, size)
        source = Source("ogg", file)
    elif kind[:3] == b"ID3" or (len(kind) > 1 and kind[0] == 0xFF and kind[1] & 0xE0 == 0xE0):
        source = _examine_mp3(file)
    else:
        raise AudioError(f"not a sound file: it begins with {kind!r}; known are wav, flac, ogg, opus, mp3 and aiff")
    source.stream.seek(0)
    return source


def check_sound(channels: int, rate: int) -> None:
    """Refuse numbers of channels and sample rates that no sound has."""
    require(1 <= channels <= MAX_CHANNELS, f"{channels} channels; a sound has 1 to {MAX_CHANNELS}")
    require(MIN_RATE <= rate <= MAX_RATE, f"a sample rate of {rate} Hz; a sound has {MIN_RATE} to {MAX_RATE}")


# ---- wav and aiff: chunks


def _check_chunks(file: BinaryIO, size: int, order: str, finished: bool) -> BinaryIO:
    """The file, or a copy with the size of the samples where the program wrote into a pipe and could not go back.

    `finished` says whether the header knows the file's size.
    """
    position, long_size, long_at = 12, None, 0
    while True:
        file.seek(position)
        header = file.read(8)
        require(len(header) == 8, "truncated: the header is there, the samples are not")
        name, claimed = struct.unpack(order + "4sI", header)
        position, left = position + 8, size - position - 8
        if name in (b"data", b"SSND"):
            break
        require(claimed <= left, f"truncated: chunk {name!r} claims {claimed} bytes, the file holds {left} more")
        if name == b"fmt ":
            _check_format(file.read(16), order)
        elif name == b"ds64":  # RF64: sizes beyond 4 GiB stand here
            long_size, long_at = int.from_bytes(file.read(16)[8:], "little"), position + 8
        position += claimed + claimed % 2
    long = long_size is not None and claimed == 0xFFFFFFFF
    claimed, tops = (long_size, (2**63, 2**64)) if long else (claimed, (2**31, 2**32))
    if claimed and not any(top - 4096 <= claimed <= top for top in tops):  # not 0 or the largest size, for "unknown"
        require(claimed <= left, f"truncated: the header promises {claimed} bytes of samples, the file holds {left}")
        return file
    require(left > 0 and (claimed > 0 or not finished), "it holds no samples (0 frames)")
    file.seek(0)
    copy = io.BytesIO(file.read())
    copy.seek(long_at if long else position - 4)
    copy.write(struct.pack("<Q", left) if long else struct.pack(order + "I", 0xFFFFFFFF))
    return copy


def _check_format(fields: bytes, order: str) -> None:
    require(len(fields) == 16, "truncated inside the wav header")
    tag, channels, rate, _, block, bits = struct.unpack(order + "HHIIHH", fields)
    check_sound(channels, rate)
    right = tag not in (WAV_PCM, WAV_FLOAT, WAV_EXTENSIBLE) or block == channels * -(-bits // 8) > 0
    require(right, f"damaged header: {channels} channels of {bits} bits in frames of {block} bytes")


# ---- ogg: pages, each with a checksum: the common CRC-32 with its bits the other way round, started from 0

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
        whole = header[:4] == b"OggS" and len(header) == 27
        require(whole, f"damaged or truncated: no ogg page at byte {position}, where one should begin")
        table = file.read(header[26])
        body = file.read(sum(table))
        whole = len(table) == header[26] and len(body) == sum(table)
        require(whole, f"truncated: the file ends within page {number} of the ogg")
        checksum = ogg_checksum(header[:22] + bytes(4) + header[26:] + table + body)
        right = checksum == int.from_bytes(header[22:26], "little")
        require(right, f"damaged: the checksum of page {number} (byte {position}) is wrong")
        position, number, ended = position + 27 + len(table) + len(body), number + 1, bool(header[5] & OGG_LAST_PAGE)
    require(ended, f"truncated: page {number - 1} is the last in the file, but not the last of the sound")


# ---- mp3: frames, each with a header


def _mpeg_frame(header: int) -> tuple[int, int] | None:
    """(bytes, samples) of the frame with this 32-bit header, or None; of no bytes if its bit rate is "free"."""
    version, layer, code, rate = header >> 19 & 3, 4 - (header >> 17 & 3), header >> 12 & 15, header >> 10 & 3
    if header >> 21 != 0x7FF or version == 1 or layer == 4 or code == 15 or rate == 3:
        return None
    samples = 384 if layer == 1 else 576 if layer == 3 and version != 3 else 1152
    rate = MPEG_RATES[rate] >> {3: 0, 2: 1, 0: 2}[version]
    if code == 0:
        return 0, samples
    slot = 4 if layer == 1 else 1
    kbits = MPEG_KBITS[version == 3, layer][code - 1]
    return (samples // 8 * kbits * 1000 // slot // rate + (header >> 9 & 1)) * slot, samples


def _mpeg_frames(data: bytes) -> list[tuple[int, int]]:
    """(start, stop) of each whole frame; tags, and garbage between frames, are passed over."""
    frames, position, synced, first, free = [], 0, False, None, 0
    while position >= 0 and position + 4 <= len(data):
        header = int.from_bytes(data[position : position + 4], "big")
        found = _mpeg_frame(header)
        if found and not found[0] and not free:  # all frames of a free bit rate have one size, but for the padding
            mark = re.escape(data[position : position + 2]) + b"[\x00-\x0f]"
            after = re.search(mark, data[position + 24 : position + 6000])
            free = after.start() + 24 - (header >> 9 & 1) if after else 0
        stop = position + (found[0] or free + (header >> 9 & 1)) if found else 0
        same = first is None or not (header ^ first) & SAME_STREAM
        if found and ((synced and same) or _followed(data, header, position, stop)):
            first = first or header
            require(same, f"its sample rate or coding changes at byte {position}; convert it with an editor first")
            if stop <= len(data):
                frames.append((position, stop))
            position, synced = stop, True
        elif data[position : position + 3] == b"ID3" and len(data) > position + 10:
            size = data[position + 6 : position + 10]  # four times seven bits
            position += 10 + sum((byte & 127) << 7 * i for i, byte in enumerate(reversed(size)))
            synced = False
        else:
            free = free if frames else 0
            position, synced = position if synced else data.find(b"\xff", position + 1), False
    return frames


def _followed(data: bytes, header: int, start: int, stop: int) -> bool:
    """Whether another frame of the same stream, or the file's end, comes next: a header alone may be chance."""
    after = int.from_bytes(data[stop : stop + 4], "big")
    return stop > start + 4 and (stop == len(data) or not (after ^ header) & SAME_STREAM)


def _examine_mp3(file: BinaryIO) -> Source:
    """The frames alone, without tags and garbage, and with a right count in front.

    Without a Xing header libsndfile takes all frames to be as large as the first. So a silent frame of the lowest bit
    rate goes in front of such a file: the guess is then too high, and reading ends where the frames do.
    """
    file.seek(0)
    data = file.read()
    frames = _mpeg_frames(data)
    require(bool(frames), "it holds no whole mp3 frame; it is truncated, or not an mp3")
    (start, stop), held = frames[0], len(frames) - 1
    stream = bytearray().join(data[a:b] for a, b in frames)
    tag = max(stream.find(mark, 0, min(stop - start, 44)) for mark in (b"Xing", b"Info"))
    counts = stream[tag + 4 : tag + 16] if tag >= 0 else b""
    flags, promised, size = struct.unpack(">III", counts.ljust(12, b"\0"))
    if flags & 1:
        cut = size > frames[-1][1] - start if flags & 2 else promised > held + 1  # some count the header's own frame
        whole = promised <= held or not cut
        require(whole, f"truncated: the header promises {promised} mp3 frames, the file holds {held}")
        if any(stream[tag + 120 : tag + 124]):  # LAME's extension says how much to trim
            stream[tag + 8 : tag + 12] = held.to_bytes(4, "big")
            return Source("mp3", io.BytesIO(stream))
    if tag >= 0 or stream[36:40] == b"VBRI":
        del frames[0], stream[: stop - start]
    require(bool(frames), "it holds no samples (0 frames)")
    silent = int.from_bytes(data[start : start + 4], "big")
    silent = silent & ~0xF200 | 0x11000  # the lowest bit rate, no padding, no checksum
    size, samples = _mpeg_frame(silent)
    stream[:0] = silent.to_bytes(4, "big").ljust(size, b"\0")
    return Source("mp3", io.BytesIO(stream), len(frames) * samples, lead=samples)
