"""Check that a file holds what its header promises, before a decoder sees it.

libsndfile silently shortens a wav whose header promises more than is there, turns a damaged page of an ogg into
silence, and guesses the length of an mp3 without a Xing header from the size of its first frame. Here, such files are
repaired, or rejected as truncated or damaged. Chapter 1.
"""

import io
import struct
import zlib
from typing import BinaryIO, NamedTuple

from .signal import AudioError, require

MAX_CHANNELS, UNKNOWN = 256, -1
OGG_FIRST_PAGE, OGG_LAST_PAGE = 2, 4
SAME_STREAM = 0xFFFE0C00  # the bits of an mpeg header that stay the same: sync word, version, layer and sample rate
MPEG_RATES = (44_100, 48_000, 32_000)
MPEG_KBITS = {  # kbit/s for the layer 3 bit rate codes 1 to 14; the key says whether it is MPEG-1
    True: (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    False: (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}


class SoundStream(NamedTuple):
    """What the decoder should read, and how: with `forward`, from start to end without seeking.

    `frames` is the number of frames (None if libsndfile knows it, UNKNOWN if only decoding can tell); `lead` is how
    many to drop first.
    """

    stream: BinaryIO
    forward: bool = True
    frames: int | None = None
    lead: int = 0


def examine(file: BinaryIO, size: int) -> SoundStream:
    """Identify the format from the file's first bytes and check its structure; raise `AudioError` if it is damaged."""
    require(size > 0, "the file is empty (0 bytes)")
    head = file.read(26)
    file.seek(_tag_size(head))
    behind = file.read(26)
    head = behind if behind[:4] == b"fLaC" else head  # a flac may have an ID3 tag in front, which libsndfile skips
    kind, order = head[:4], ">" if head[:4] in (b"RIFX", b"FORM") else "<"
    if head[8:12] in (b"WAVE", b"AIFF", b"AIFC") and kind in (b"RIFF", b"RIFX", b"RF64", b"FORM"):
        finished = 0 <= size - 8 - struct.unpack(order + "I", head[4:8])[0] <= 1
        source = SoundStream(_check_chunks(file, size, order, finished), forward=False)
    elif kind == b"fLaC":
        known = int.from_bytes(head[18:26], "big") & (1 << 36) - 1  # 0 if it was written to a pipe
        source = SoundStream(file, not known, None if known else UNKNOWN)
    elif kind == b"OggS":
        _check_ogg(file, size)
        source = SoundStream(file)
    elif kind[:3] == b"ID3" or kind[:1] == b"\xff":
        source = _examine_mp3(file)
    else:
        raise AudioError(f"not a sound file: it begins with {kind!r}; supported are wav, flac, ogg, opus, mp3 and aiff")
    source.stream.seek(0)
    return source


def check_sound(channels: int, rate: int, most: int = MAX_CHANNELS) -> None:
    """Reject channel counts and sample rates that no sound has, or that the format cannot hold."""
    require(1 <= channels <= most, f"{channels} channels, not 1 to {most}; audio is (channels, time)")
    require(100 <= rate <= 10_000_000, f"a sample rate of {rate} Hz, not 100 to 10,000,000")


# ---- wav and aiff: chunks


def _check_chunks(file: BinaryIO, size: int, order: str, finished: bool) -> BinaryIO:
    """Return the file, or, if it was written to a pipe and its header never completed, a copy with the size filled in.

    `finished` says whether the header gives the file's true size.
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
        if name == b"ds64":  # RF64 stores sizes beyond 4 GiB here
            long_size, long_at = int.from_bytes(file.read(16)[8:], "little"), position + 8
        position += claimed + claimed % 2
    long = long_size is not None and claimed == 0xFFFFFFFF
    claimed, tops = (long_size, (2**63, 2**64)) if long else (claimed, (2**31, 2**32))
    if claimed and not any(top - 4096 <= claimed <= top for top in tops):  # 0 and the largest sizes mean "unknown"
        require(claimed <= left, f"truncated: the header promises {claimed} bytes of samples, the file holds {left}")
        return file
    require(left > 0 and (claimed > 0 or not finished), "it holds no samples (0 frames)")
    file.seek(0)
    copy = io.BytesIO(file.read())
    copy.seek(long_at if long else position - 4)
    copy.write(struct.pack("<Q", left) if long else struct.pack(order + "I", 0xFFFFFFFF))
    return copy


# ---- ogg: pages, each with a checksum: the common CRC-32 with its bits reversed, starting from 0

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
        chained = ended and header[5] & OGG_FIRST_PAGE  # libsndfile reads only the first
        require(not chained, "it holds several sounds one after another (a chained ogg); split it first")
        position, number, ended = position + 27 + len(table) + len(body), number + 1, bool(header[5] & OGG_LAST_PAGE)
    require(ended, f"truncated: page {number - 1} is the last in the file, but not the last of the sound")


# ---- mp3: frames, each with a header


def _mpeg_frame(header: int) -> tuple[int, int]:
    """(bytes, samples) of the layer 3 frame with this 32-bit header; 0 bytes if it is not one."""
    version, layer, code, rate = header >> 19 & 3, header >> 17 & 3, header >> 12 & 15, header >> 10 & 3
    if header >> 21 != 0x7FF or version == 1 or layer != 1 or code in (0, 15) or rate == 3:
        return 0, 0
    samples = 1152 if version == 3 else 576
    hertz = MPEG_RATES[rate] >> {3: 0, 2: 1, 0: 2}[version]
    kbits = MPEG_KBITS[version == 3][code - 1]
    return samples // 8 * kbits * 1000 // hertz + (header >> 9 & 1), samples


def _mpeg_frames(data: bytes) -> list[tuple[int, int]]:
    """(start, stop) of each whole frame; tags and garbage between frames are skipped."""
    frames, position, first = [], 0, 0
    while 0 <= position <= len(data) - 4:
        header = int.from_bytes(data[position : position + 4], "big")
        size, _ = _mpeg_frame(header)
        stop = position + size
        same = not (header ^ (first or header)) & SAME_STREAM
        if size and ((same and frames and frames[-1][1] == position) or _followed(data, header, stop)):
            require(same, f"its sample rate or coding changes at byte {position}; convert it with an editor first")
            first, position = header, stop
            if stop <= len(data):
                frames.append((stop - size, stop))
        elif size_of_tag := _tag_size(data[position : position + 10]):
            position += size_of_tag
        else:
            position = data.find(b"\xff", position + 1)
    return frames


def _tag_size(head: bytes) -> int:
    """The bytes of the ID3 tag that begins so; 0 if none does."""
    digits = head[9:5:-1] if head[:3] == b"ID3" and len(head) >= 10 else b""  # four times seven bits
    return sum((digit & 127) << 7 * i for i, digit in enumerate(digits)) + 10 * bool(digits)


def _followed(data: bytes, header: int, stop: int) -> bool:
    """Whether another frame of the same stream, or the file's end, comes next, since a lone header may be chance."""
    after = int.from_bytes(data[stop : stop + 4], "big")
    return stop == len(data) or not (after ^ header) & SAME_STREAM


def _examine_mp3(file: BinaryIO) -> SoundStream:
    """Keep only the frames, without tags and garbage, and put the right count in front.

    Without a Xing header libsndfile assumes that all frames are as large as the first. So a silent frame with
    the lowest bit rate is put in front of such a file: the guess is then too high, and reading ends with the frames.
    """
    file.seek(0)
    data = file.read()
    frames = _mpeg_frames(data)
    require(bool(frames), "it holds no whole mp3 frame; it is truncated, or not an mp3")
    (start, stop), held = frames[0], len(frames) - 1
    stream = bytearray().join(data[a:b] for a, b in frames)
    tag = max(stream.find(mark, 0, min(stop - start, 44)) for mark in (b"Xing", b"Info"))
    flags, promised, size = struct.unpack(">III", stream[tag + 4 : tag + 16]) if tag >= 0 else (0, 0, 0)
    if flags & 1:
        cut = size > frames[-1][1] - start if flags & 2 else promised > held + 1  # some count the header's own frame
        whole = promised <= held or not cut
        require(whole, f"truncated: the header promises {promised} mp3 frames, the file holds {held}")
        if any(stream[tag + 120 : tag + 124]):  # LAME's extension says how much to trim
            stream[tag + 8 : tag + 12] = held.to_bytes(4, "big")
            return SoundStream(io.BytesIO(stream))
    if tag >= 0 or stream[36:40] == b"VBRI":
        held, stream = held - 1, stream[stop - start :]
    require(held >= 0, "it holds no samples (0 frames)")
    # The lowest bit rate, without padding or a checksum.
    silent = int.from_bytes(data[start : start + 4], "big") & ~0xF200 | 0x11000
    size, samples = _mpeg_frame(silent)
    stream[:0] = silent.to_bytes(4, "big").ljust(size, b"\0")
    return SoundStream(io.BytesIO(stream), frames=(held + 1) * samples, lead=samples)
