"""Read and write MIDI. Source: *Standard MIDI Files 1.0* (RP-001), MIDI Manufacturers Association 1988. Chapter 1.

file  = "MThd" 6 format tracks division   then chunks
chunk = "MTrk" length events              (other chunks are skipped)
event = delta-time, then a channel message | F0/F7 length bytes | FF type length bytes
"""

import os
import re
import struct
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from musicai.notes.notation import MODES, key_name, signature_of
from musicai.notes.note import Note, Track, require
from musicai.notes.score import Melody, Score
from musicai.storage import atomic_write

TICKS = 960  # per quarter note; 64ths, triplets and quintuplets are exact
MAX_BYTES, MAX_HOURS = 8 << 20, 24
DRUMS = 9  # the channel of drums, counted from 0
PITCHED = [channel for channel in range(16) if channel != DRUMS]
NOTE_OFF, NOTE_ON, CONTROL, PROGRAM, PAN = 0x80, 0x90, 0xB0, 0xC0, 10
TEXT, NAME, END, TEMPO, TIME_SIGNATURE, KEY_SIGNATURE = 0xFF01, 0xFF03, 0xFF2F, 0xFF51, 0xFF58, 0xFF59
# From -7 (flats) to 7 (sharps) accidentals, major or minor.
KEYS = {key_name(n, mode): struct.pack("bB", n, i > 2) for n in range(-7, 8) for i, mode in enumerate(MODES)}
SIGNATURES = {code: key for key, code in KEYS.items() if key.endswith(("major", "minor"))}  # all that MIDI knows
JAPANESE = re.compile("[\u3040-\u30ff]|[\u4e00-\u9fff]{2}|[\uff66-\uff9f]{2}")  # kana, kanji, half-width kana


class MidiError(ValueError):
    """A MIDI file that cannot be read, or a score that MIDI cannot hold; the message names the file and the reason.

    >>> read_midi(b"RIFF")
    Traceback (most recent call last):
    musicai.notes.midi.MidiError: MIDI bytes: not a MIDI file: it does not begin with a whole MThd header

    Chapter 1.
    """


def read_midi(source: str | os.PathLike | bytes) -> Score:
    """Read a score from a MIDI file or from the bytes of one.

    Each (track, channel, program) that holds notes becomes a `Track`, with its name and its pan at the first note. As
    in pretty_midi, a note-off ends all notes of its pitch that began before it, and a note that never ends is left
    out. A note that ends at once lasts one tick. Events that make no sense (a tempo of zero, nine flats) are ignored.

    >>> score = read_midi("song.mid")  # doctest: +SKIP

    Args:
        source: the path of a .mid or .rmi file, or the bytes of one.

    Returns: the notes, programs, drums, names, pan, tempos, time signatures and opening key.

    Raises:
        MidiError: if the file is damaged, holds independent patterns (format 2), counts SMPTE frames, or is beyond all
            music (over 8 MiB or 24 hours).
        OSError: if there is no such file, or it cannot be read.

    Chapter 1.
    """
    name, data = name_and_bytes(source, "MIDI", MAX_BYTES)
    with naming(name, MidiError):
        return _read_score(data)


def write_midi(path: str | os.PathLike, score: Score | Melody) -> None:
    """Write a score or a melody as a MIDI file (format 1, 960 ticks per quarter note).

    Times are rounded to the nearest tick (moving by at most 1/1920 beat), and a note lasts at least one. Pan is rounded
    to 7 bits and tempos to whole microseconds per beat; tracks without notes are left out. Up to 15 pitched tracks get
    a channel each; if there are more, tracks with the same program and pan share a channel. A failed write leaves an
    existing file as it was.

    >>> write_midi("song.mid", Melody.from_pitches([60, 62, 64]))  # doctest: +SKIP

    Args:
        path: the file to write.
        score: the music.

    Raises:
        MidiError: if MIDI cannot hold the score: more than 15 instruments, or a tempo below 3.58.
        OSError: if the file cannot be written.

    Chapter 1.
    """
    write_file(path, score, _score_bytes, MidiError)


def write_file(path: str | os.PathLike, score: Score | Melody, encode: Callable, kind=ValueError) -> None:
    """Encode a score or a melody and write it, completely or not at all; a `kind` of ValueError names the file."""
    with naming(path, kind):
        data = encode(score.to_score() if isinstance(score, Melody) else getattr(score, "score", score))
    with atomic_write(path) as file:
        file.write(data)


def name_and_bytes(source: str | os.PathLike | bytes, kind: str, most: int) -> tuple[str, bytes]:
    """What to call a source in messages, and its content; one byte more than `most` shows that there is more."""
    if isinstance(source, (bytes, bytearray, memoryview)):
        return f"{kind} bytes", bytes(source)
    with open(os.path.expanduser(source), "rb") as file:
        return os.fsdecode(source), file.read(most + 1)


@contextmanager
def naming(path: str | os.PathLike, kind: type[ValueError] = ValueError) -> Iterator[None]:
    """Make every ValueError inside begin with the name of the file."""
    try:
        yield
    except ValueError as error:
        name = os.fsdecode(path).encode(errors="backslashreplace").decode()  # printable even if it is not UTF-8
        raise kind(f"{name}: {error}") from None


# ---- reading


def _read_score(data: bytes) -> Score:
    require(len(data) <= MAX_BYTES, f"it is larger than {MAX_BYTES >> 20} MiB")
    if data[:4] == b"RIFF" and data[8:12] == b"RMID":  # a MIDI file wrapped in a RIFF file
        data = data[max(0, data.find(b"MThd")) :]
    require(data[:4] == b"MThd" and len(data) >= 14, "not a MIDI file: it does not begin with a whole MThd header")
    length, layout, count, division = struct.unpack(">IHHH", data[4:14])
    require(layout < 2 or count == 1, f"its {count} tracks are independent patterns (format 2); save each as a file")
    ticks = f"its header says {division} ticks per quarter note"
    require(0 < division < 0x8000, f"{ticks}; from 32,768 on it counts SMPTE frames, convert it with an editor first")
    position = 8 + length
    metas: dict[int, dict[float, bytes]] = {k: {} for k in (TEXT, TEMPO, TIME_SIGNATURE, KEY_SIGNATURE)}  # by beat
    tracks, names = [], []
    while len(names) < count:
        require(position + 8 <= len(data), f"it ends after {len(names)} of the {count} tracks its header promises")
        kind, length = struct.unpack(">4sI", data[position : position + 8])
        content = data[position + 8 : position + 8 + length]
        require(len(content) == length, f"chunk at byte {position} promises {length} bytes; {len(content)} are left")
        position += 8 + length
        if kind == b"MTrk":
            name, found = _read_track(content, len(names), division, metas)
            names.append(name if layout == 0 or not found else "")  # a title is the name of a track without notes
            tracks += found
    tempos = {beat: _bpm(c) for beat, c in metas[TEMPO].items() if len(c) == 3 and any(c)}
    metres = {beat: (c[0], 1 << c[1]) for beat, c in metas[TIME_SIGNATURE].items() if len(c) == 4 and c[0] and c[1] < 8}
    known = sorted((beat, c) for beat, c in metas[KEY_SIGNATURE].items() if c in SIGNATURES)
    texts = [_decoded(metas[TEXT].get(beat, b"")) for beat, _ in known]  # one may name a mode, such as "D dorian"
    keys = [text if KEYS.get(text) == c else SIGNATURES[c] for text, (_, c) in zip(texts, known, strict=True)]
    tempos = sorted(({0.0: 120.0} | tempos).items())
    metres = [(beat, *metre) for beat, metre in sorted(({0.0: (4, 4)} | metres).items())]
    score = Score(tuple(tracks), tuple(tempos), tuple(metres), (keys or [""])[0], (names or [""])[0])
    hours = score.seconds(max(score.duration, tempos[-1][0], metres[-1][0])) / 3600
    require(hours <= MAX_HOURS, f"it lasts {hours:,.0f} hours, more than {MAX_HOURS}")
    return score


def _read_track(data: bytes, number: int, division: int, metas: dict) -> tuple[str, list[Track]]:
    """Read a track chunk: its name and a track per channel and program. Meta events go into `metas`, by beat."""
    name, programs = b"", [0] * 16
    sounding: dict[tuple[int, int], list[tuple[int, int, int]]] = defaultdict(list)  # (start, velocity, program)
    notes: dict[tuple[int, int], list[Note]] = defaultdict(list)
    pans: dict[int, list[tuple[float, int]]] = defaultdict(list)
    for tick, status, content in _events(data, number):
        kind, channel = status & 0xFFF0, status & 15
        if kind == NOTE_ON and content[1]:
            sounding[channel, content[0]].append((tick, content[1], programs[channel]))
        elif kind in (NOTE_ON, NOTE_OFF):
            began = sounding.pop((channel, content[0]), [])
            ended = [note for note in began if note[0] < tick] or began
            if len(ended) < len(began):  # those that begin at this tick keep sounding
                sounding[channel, content[0]] = began[len(ended) :]
            for start, velocity, program in ended:
                note = Note(content[0], start / division, max(1, tick - start) / division, velocity)
                notes[channel, program].append(note)
        elif kind == PROGRAM:
            programs[channel] = content[0]
        elif kind == CONTROL and content[0] == PAN:
            pans[channel].append((tick / division, content[1]))
        elif status == NAME:
            name = name or content
        elif status in metas:
            metas[status][tick / division] = content
    text, tracks = _decoded(name), []
    for (channel, program), found in sorted(notes.items()):
        first, values = min(note.start for note in found), pans[channel] or [(0.0, 64)]
        pan = ([value for beat, value in values if beat <= first] or [values[0][1]])[-1]
        tracks.append(Track(found, program, channel == DRUMS, text, max(-1.0, (pan - 64) / 63)))
    return text, tracks


def _events(data: bytes, number: int) -> Iterator[tuple[int, int, bytes]]:
    """Yield (tick, status, content) for each event of a track; the status of a meta event is 0xFF00 plus its type."""
    position, running, tick, size = 0, 0, 0, len(data)
    data += bytes(8)  # so that data that end within an event are detected by the position
    while position < size:
        delta, position = _read_number(data, position)
        tick, status, position = tick + delta, data[position], position + 1
        if status == 0xFF:
            status, position = 0xFF00 | data[position], position + 1
        if status >= 0xFF00 or status in (0xF0, 0xF7):
            length, position = _read_number(data, position)
        else:
            if status < 0x80:  # a data byte: the last status still holds, even across meta events
                status, position = running, position - 1
            running, length = status, 1 if 0xC0 <= status < 0xE0 else 2
            if not 0x80 <= status < 0xF0 or max(data[position : position + length]) > 127:
                found = data[position - 1 : position + length].hex(" ")
                raise MidiError(f"track {number}, byte {position}: {found} is not a MIDI message")
        content = data[position : position + length]
        position += length
        if position > size:
            raise MidiError(f"track {number} ends within an event")
        yield tick, status, content
        if status == END:
            return


def _read_number(data: bytes, position: int) -> tuple[int, int]:
    """A variable-length number (7 bits per byte, at most 4 bytes) and the position after it."""
    value = 0
    for i in range(position, position + 4):
        value = value << 7 | data[i] & 0x7F
        if data[i] < 0x80:
            return value, i + 1
    raise MidiError("a number is longer than 4 bytes")


def _bpm(tempo: bytes) -> float:
    """Beats per minute, as the shortest decimal that is stored as these microseconds: 618557 is 97, not 96.99995."""
    microseconds = int.from_bytes(tempo, "big")
    exact = 60e6 / microseconds
    rounded = (round(exact, digits) for digits in range(12))
    return next((bpm for bpm in rounded if bpm and round(60e6 / bpm) == microseconds), exact)


def _decoded(name: bytes) -> str:
    """Decode text in its most likely encoding, since MIDI does not say which it is."""
    name = name.rstrip(b"\0")
    for encoding in ("utf-8-sig", "cp932", "cp1252"):  # cp932 is Shift-JIS as Windows writes it
        with suppress(UnicodeDecodeError):
            text = name.decode(encoding)
            if encoding != "cp932" or JAPANESE.search(text):
                return text
    return name.decode("latin-1")


# ---- writing


def _score_bytes(score: Score) -> bytes:
    tracks = [track for track in score.tracks if track.notes]
    channels = _channels([(track.program, _pan(track)) for track in tracks if not track.is_drum])
    kits = {(track.program, track.pan) for track in tracks if track.is_drum}
    chunks = [_conductor(score)]
    for track in tracks:
        restate = track.is_drum and len(kits) > 1
        chunks.append(_track_chunk(track, DRUMS if track.is_drum else next(channels), restate))
    return struct.pack(">4sIHHH", b"MThd", 6, 1, len(chunks), TICKS) + b"".join(chunks)


def _channels(instruments: list[tuple[int, int]]) -> Iterator[int]:
    """A channel for each pitched track, given its program and pan."""
    keys = instruments if len(instruments) > len(PITCHED) else range(len(instruments))
    numbers = {key: number for number, key in enumerate(dict.fromkeys(keys))}
    reason = f"its tracks have {len(numbers)} different programs and pans; MIDI has {len(PITCHED)} channels for them"
    require(len(numbers) <= len(PITCHED), f"{reason}; give some the same program and pan, or write several files")
    return (PITCHED[numbers[key]] for key in keys)


def _conductor(score: Score) -> bytes:
    """A first track without notes: the title, tempos, time signatures and key."""
    events = [(0, 0, _meta(NAME, score.name.encode(errors="replace")))]
    for beat, bpm in score.tempos:
        microseconds = round(60e6 / bpm)  # per quarter note
        require(1 <= microseconds < 1 << 24, f"tempo {bpm} is not in MIDI's range, 3.58 to 60,000,000 beats per minute")
        events.append((_tick(beat), 1, _meta(TEMPO, microseconds.to_bytes(3, "big"))))
    for beat, numerator, denominator in score.time_signatures:
        events.append((_tick(beat), 1, _meta(TIME_SIGNATURE, bytes([numerator, denominator.bit_length() - 1, 24, 8]))))
    if named := signature_of(score.key):
        events.append((0, 1, _meta(KEY_SIGNATURE, KEYS[named[1]])))
        events += [(0, 1, _meta(TEXT, named[1].encode()))] * (named[1] not in SIGNATURES.values())
    return _chunk(events)


def _track_chunk(track: Track, channel: int, restate: bool) -> bytes:
    """Encode a track's notes; `restate` repeats its sound before each, if other sounds share the channel."""
    sound = bytes([PROGRAM | channel, track.program, 0, CONTROL | channel, PAN, _pan(track)])
    events = [(0, 0, _meta(NAME, track.name.encode(errors="replace"))), (0, 2, sound)]
    for note in track.notes:
        start = _tick(note.start)
        stop = max(start + 1, _tick(note.end))
        events += [(start, 2, sound)] * restate
        events.append((start, 3, bytes([NOTE_ON | channel, note.pitch, note.velocity])))
        events.append((stop, 1, bytes([NOTE_OFF | channel, note.pitch, 64])))
    return _chunk(events)


def _chunk(events: list[tuple[int, int, bytes]]) -> bytes:
    """Build a track chunk from events (tick, order within the tick, message)."""
    parts, last = [], 0
    for tick, _, message in sorted(events):
        parts += [_number(tick - last), message]
        last = tick
    data = b"".join(parts) + b"\0" + _meta(END, b"")
    return b"MTrk" + struct.pack(">I", len(data)) + data


def _number(value: int) -> bytes:
    """Encode a variable-length number: the inverse of `_read_number`."""
    require(value < 1 << 28, f"a gap of {value:,} ticks is longer than MIDI can represent")
    digits = [value >> shift & 0x7F for shift in (21, 14, 7, 0) if value >> shift or shift == 0]
    return bytes([digit | 0x80 for digit in digits[:-1]] + digits[-1:])


def _meta(status: int, content: bytes) -> bytes:
    return status.to_bytes(2, "big") + _number(len(content)) + content


def _tick(beat: float) -> int:
    return round(beat * TICKS)


def _pan(track: Track) -> int:
    return 64 + round(63 * track.pan)
