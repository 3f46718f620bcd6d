"""Is this a whole, sane MIDI file? Walks its events once and says where it is broken (see `musicai.notes.midi`).

symusic's C++ reader trusts what it reads: a meta event that is too short makes it read past the file's end, and time
wraps round at 2**31 ticks. So every byte is looked at here first. Source: *Standard MIDI Files 1.0*, MIDI
Manufacturers Association, 1988 (RP-001).

    file  = "MThd" 6 format tracks division   then chunks
    chunk = "MTrk" length events              (other chunks are skipped)
    event = delta-time, then a channel message | F0/F7 length bytes | FF type length bytes
"""

import struct
from dataclasses import dataclass

MAX_TICKS = 2**31 - 1  # symusic counts them in 32 bits
MAX_EVENTS = 2_000_000
META_LENGTHS = {0x2F: 0, 0x51: 3, 0x58: 4, 0x59: 2}  # end of track, tempo, time signature, key signature


class MidiError(ValueError):
    """A MIDI file that cannot be read, or a score that MIDI cannot hold; the message names the file and why."""


@dataclass(frozen=True)
class Found:
    """What a walk over one track finds."""

    events: int
    notes: bool
    name: bytes


def check(data: bytes) -> bytes:
    """The title of a MIDI file (the name of a first track that holds no notes, or of an only track).

    Raises:
        MidiError: the file is broken; the message says where (without the file's name).
    """
    promised = check_header(data)
    found: list[Found] = []
    position = 14
    while len(found) < promised:
        start, stop, is_track = check_chunk(data, position, len(found), promised)
        if is_track:
            found.append(check_track(data, start, stop, len(found)))
            if sum(track.events for track in found) > MAX_EVENTS:
                raise MidiError(f"it holds more than {MAX_EVENTS:,} events")
        position = stop
    only_track = data[9] == 0  # format 0
    return found[0].name if only_track or not found[0].notes else b""


def check_header(data: bytes) -> int:
    """The number of tracks that the header promises."""
    if len(data) < 14 or data[:4] != b"MThd":
        raise MidiError("it is no MIDI file: it does not begin with a whole MThd header")
    length, layout, tracks, division = struct.unpack(">IHHH", data[4:14])
    if length != 6:
        raise MidiError(f"its header is {length} bytes long instead of 6")
    if layout > 2 or tracks == 0 or (layout == 0 and tracks > 1):
        raise MidiError(f"its header says format {layout} with {tracks} tracks")
    if division == 0:
        raise MidiError("its header says 0 ticks a quarter note")
    if division & 0x8000:
        raise MidiError("it counts SMPTE frames instead of ticks a quarter note; convert it in an editor first")
    return tracks


def check_chunk(data: bytes, position: int, found: int, promised: int) -> tuple[int, int, bool]:
    """Where the chunk's content starts and stops, and whether it is a track."""
    if position + 8 > len(data):
        raise MidiError(f"it ends after {found} of the {promised} tracks that its header promises")
    kind, length = struct.unpack(">4sI", data[position : position + 8])
    start, left = position + 8, len(data) - position - 8
    if length > left:
        raise MidiError(f"the chunk at byte {position} promises {length} bytes; {left} are left")
    return start, start + length, kind == b"MTrk"


def check_track(data: bytes, start: int, stop: int, number: int) -> Found:
    """Walk a track's events from byte `start` to `stop`."""
    position, status, ticks, events, notes, name = start, 0, 0, 0, False, b""
    try:
        while position < stop:
            delta, position = variable_length(data, position)
            ticks += delta
            events += 1
            first = data[position]
            if first >= 0xF0:
                kind, content, position = check_long_event(data, first, position + 1)
                name = name or (data[content:position] if kind == 0x03 else b"")
                if kind == 0x2F:
                    break
                status = status if first == 0xFF else 0  # a running status outlives meta events, as in real files
                continue
            if first >= 0x80:
                status = first
                position += 1
            position = check_message(data, status, position)
            notes = notes or status >> 4 == 9
    except IndexError:
        position = stop + 1
    except MidiError as error:
        raise MidiError(f"track {number}, byte {position}: {error}") from None
    if position > stop:
        raise MidiError(f"track {number} ends within an event")
    if ticks > MAX_TICKS:
        raise MidiError(f"track {number} lasts {ticks:,} ticks; more than {MAX_TICKS:,} cannot be counted")
    return Found(events, notes, name)


def check_message(data: bytes, status: int, position: int) -> int:
    """Where a channel message's one or two data bytes end."""
    if status == 0:
        raise MidiError(f"data byte {data[position]:#x} where a status byte belongs")
    end = position + (1 if 0xC0 <= status < 0xE0 else 2)
    if data[position] >= 0x80 or data[end - 1] >= 0x80:
        raise MidiError(f"a data byte of message {status:#x} is above 127")
    return end


def check_long_event(data: bytes, status: int, position: int) -> tuple[int, int, int]:
    """(meta type or -1, where its content starts, where it stops) of a meta or system exclusive event."""
    kind = -1
    if status == 0xFF:
        kind = data[position]
        position += 1
    elif status not in (0xF0, 0xF7):
        raise MidiError(f"status byte {status:#x} does not belong in a file")
    length, position = variable_length(data, position)
    if kind in META_LENGTHS and length != META_LENGTHS[kind]:
        raise MidiError(f"meta event {kind:#x} is {length} bytes long instead of {META_LENGTHS[kind]}")
    if position + length > len(data):
        raise MidiError(f"an event promises {length} bytes, more than the file holds")
    return kind, position, position + length


def variable_length(data: bytes, position: int) -> tuple[int, int]:
    """A variable-length number (7 bits a byte, at most 4 bytes) and where it ends."""
    value = 0
    for i in range(position, position + 4):
        value = value << 7 | data[i] & 0x7F
        if data[i] < 0x80:
            return value, i + 1
    raise MidiError("a number is longer than 4 bytes")
