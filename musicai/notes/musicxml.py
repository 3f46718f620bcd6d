"""Read and write MusicXML, plain or compressed. Source: MusicXML 4.0, W3C Music Notation Community Group. Chapter 6.

score-partwise = part-list, then parts; part = measures; measure = notes, attributes, directions and bar lines
                 in the order of time, but for `backup` and `forward`, which move the clock
"""

import io
import math
import os
import re
import zipfile
from bisect import bisect_left
from collections.abc import Iterator
from contextlib import suppress
from fractions import Fraction
from itertools import accumulate
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from musicai.notes import notation
from musicai.notes.keys import transpose_key
from musicai.notes.midi import DRUMS, PITCHED, name_and_bytes, naming, write_file
from musicai.notes.notation import MODES, Speller, Value, signature_of
from musicai.notes.note import STEPS, Note, Track, require
from musicai.notes.score import Melody, Score

MAX_BYTES = 32 << 20  # of XML
MAX_BEATS = 1 << 20
NAMES = ("breve", "whole", "half", "quarter", "eighth", *(f"{2**k}{'nd' if k == 5 else 'th'}" for k in range(4, 11)))
TYPES = {3 - i: name for i, name in enumerate(NAMES)}  # by power of two, from a quarter note
ACCIDENTALS = {-2: "flat-flat", -1: "flat", 0: "natural", 1: "sharp", 2: "double-sharp"}
UNPRINTABLE = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # what XML cannot hold


def read_musicxml(source: str | os.PathLike | bytes, expand_repeats: bool = False) -> Score:
    """Read a score from MusicXML: `.musicxml` or `.xml`, or compressed, `.mxl`.

    A part becomes a `Track`; its voices and staves are put together, and parts without notes are left out. Ties are
    joined, transposing instruments sound as they do, and grace notes, cue notes and notes without pitch are dropped.

    >>> score = read_musicxml("song.musicxml")  # doctest: +SKIP

    Args:
        source: the path of a file, or the bytes of one.
        expand_repeats: whether to write out repeats, as they are played (`musicai.notes.unfold_repeats`).

    Returns: the notes, programs, drums, names, pan, tempos, time signatures, opening key and title.

    Raises:
        ValueError: if the file is damaged, isn't MusicXML ordered by parts, defines XML entities, or is beyond all
            music (over 32 MiB of XML, or a million beats); the message names it.
        OSError: if there is no such file, or it cannot be read.

    Chapter 6.
    """
    name, data = name_and_bytes(source, "MusicXML", MAX_BYTES)
    with naming(name):
        return _Reader(_parse(_unzip(data) if data[:2] == b"PK" else data)).score(expand_repeats)


def _unzip(data: bytes) -> bytes:
    """The score in a compressed file: the one that the container names, or else the first."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            names = sorted(archive.namelist(), key=lambda name: name.startswith("META-INF/"))
            if names[-1] == "META-INF/container.xml":
                found = re.search(rb"full-path\s*=\s*[\"'](.+?)[\"']", archive.open(names[-1]).read(MAX_BYTES))
                names = [found[1].decode()] if found else names[:-1]
            return archive.open(next(one for one in names if one.endswith("xml"))).read(MAX_BYTES + 1)
    except StopIteration:
        raise ValueError("no score in the archive") from None
    except Exception as error:  # a damaged archive makes zipfile raise any of a dozen kinds
        raise ValueError(f"a damaged archive ({error})") from None


def _parse(data: bytes) -> ElementTree.Element:
    """Parse XML without fetching anything; expat refuses entities that would grow to more than the file holds."""
    require(len(data) <= MAX_BYTES, f"over {MAX_BYTES >> 20} MiB of XML")
    try:
        return ElementTree.fromstring(data)
    except (ElementTree.ParseError, LookupError) as error:
        raise ValueError(f"not well-formed XML ({error})") from None


def _number(text: str | None, what: str) -> Fraction:
    """A finite number below 2 ** 30, exactly."""
    with suppress(TypeError, ValueError):
        if abs(value := float(text)) < 1 << 30:
            return Fraction(value)
    raise ValueError(f"{what} {(text or '')[:40]!r} is not a number")


class _Reader:
    """Collects what the parts of a score say, measure by measure, and lays the measures end to end."""

    def __init__(self, root: ElementTree.Element):
        found = f"it begins with <{root.tag[:40]}>, not with <score-partwise>; save it as MusicXML, ordered by parts"
        require(root.tag == "score-partwise", found)
        self.root, self.parts = root, root.findall("part")
        self.lengths = [Fraction(0)] * max((len(part.findall("measure")) for part in self.parts), default=0)
        self.tempos, self.metres, self.keys, self.bars = {}, {}, {}, {}  # by (measure, beat in it)
        self.heard = [list(self._part(part)) for part in self.parts]

    def score(self, expand: bool) -> Score:
        """Put together the score."""
        starts = list(accumulate(self.lengths, initial=Fraction(0)))
        require(starts[-1] <= MAX_BEATS, f"it lasts {float(starts[-1]):,.0f} beats, over {MAX_BEATS:,}")
        spans = [(Fraction(0), starts[-1])]
        if expand:
            marks: dict[Fraction, str] = {}
            for (i, beat), text in sorted(self.bars.items()):
                marks[starts[i] + beat] = f"{marks.get(starts[i] + beat, '')} {text}"
            spans = notation.unfold_repeats(marks, starts[-1])
        ids = {one.get("id"): one for one in self.root.iterfind("part-list/score-part")}
        tracks = []
        for part, rows in zip(self.parts, self.heard, strict=True):
            played = _played([(starts[i] + beat, *row) for i, beat, *row in rows], spans)
            if notes := notation.join_ties((line, beat, *rest) for beat, line, *rest in played):
                notes = [Note(line[1], float(beat), float(length), velocity) for line, beat, length, velocity in notes]
                tracks.append(_track(notes, ids.get(part.get("id"), ElementTree.Element("score-part"))))
        changes = []
        for events, before in ((self.tempos, (120.0,)), (self.metres, (4, 4))):
            rows = _played([(starts[i] + beat, *what) for (i, beat), what in events.items()], spans)
            found = {0.0: before} | {float(beat): tuple(what) for beat, *what in rows}
            pairs = zip(found.items(), [None, *found.values()], strict=False)
            changes.append(tuple((beat, *what) for (beat, what), last in pairs if what != last))
        title = self.root.findtext("work/work-title") or self.root.findtext("movement-title") or ""
        return Score(tuple(tracks), *changes, key=self.keys[min(self.keys)] if self.keys else "", name=title.strip())

    def _part(self, part: ElementTree.Element) -> Iterator[tuple]:
        """Yield (measure, beat, (voice, pitch), duration, velocity, tied from, tied to) for every note of a part."""
        self.divisions, self.shift = Fraction(1), 0
        for i, measure in enumerate(part.iterfind("measure")):
            clock = onset = Fraction(0)
            for item in measure:
                if item.tag in ("backup", "forward"):
                    clock += self._length(item, "duration") * (-1 if item.tag == "backup" else 1)
                    require(clock >= 0, f"measure {i + 1} goes back to before it begins")
                elif item.tag == "note" and item.find("grace") is None:
                    length, onset = self._length(item, "duration"), onset if item.find("chord") is not None else clock
                    if length > 0 and item.find("pitch") is not None and item.find("cue") is None:
                        line, *rest = self._note(item)
                        yield i, onset, line, length, *rest
                    clock = max(clock, onset + length)
                elif item.tag == "attributes":
                    self._attributes(item, (i, clock))
                elif item.tag in ("direction", "sound"):
                    self._tempo(item, (i, max(Fraction(0), clock + self._length(item, "offset"))))
                elif item.tag == "barline":
                    self._barline(item, (i, clock))
                self.lengths[i] = max(self.lengths[i], clock)

    def _length(self, item: ElementTree.Element, name: str) -> Fraction:
        return _number(item.findtext(name) or "0", name) / self.divisions

    def _note(self, item: ElementTree.Element) -> tuple:
        """((voice, pitch), velocity, tied from, tied to) of a note."""
        pitch = item.find("pitch")
        step, octave = pitch.findtext("step", ""), int(_number(pitch.findtext("octave"), "octave"))
        require(step in STEPS, f"step {step[:40]!r} is not a letter from A to G")
        alter = round(_number(pitch.findtext("alter") or "0", "alter"))
        number = STEPS[step] + alter + 12 * (octave + 1) + self.shift
        loud = item.get("dynamics")
        velocity = min(127, max(1, round(_number(loud, "dynamics") * 9 / 10))) if loud else 80
        ties = {tie.get("type") for tie in (*item.iterfind("tie"), *item.iterfind("notations/tied"))}
        return (item.findtext("voice", ""), number), velocity, "stop" in ties, "start" in ties

    def _attributes(self, item: ElementTree.Element, place: tuple) -> None:
        if (divisions := item.findtext("divisions")) is not None:
            self.divisions = _number(divisions, "divisions")
            require(self.divisions > 0, f"divisions {divisions[:40]!r} must be above 0")
        if (transpose := item.find("transpose")) is not None:
            semitones, octaves = transpose.findtext("chromatic") or "0", transpose.findtext("octave-change") or "0"
            self.shift = int(_number(semitones, "chromatic") + 12 * _number(octaves, "octave-change"))
        if (fifths := item.findtext("key/fifths")) is not None:
            mode = {"ionian": "major", "aeolian": "minor"}.get(mode := item.findtext("key/mode", "major").strip(), mode)
            sharps = int(_number(fifths, "fifths"))
            if mode in MODES and abs(sharps) <= 7:
                self.keys.setdefault(place, transpose_key(notation.key_name(sharps, mode), self.shift))
        over, under = re.findall(r"\d+", item.findtext("time/beats") or ""), item.findtext("time/beat-type") or ""
        if over and under in ("1", "2", "4", "8", "16", "32", "64", "128") and 0 < sum(map(int, over)) < 256:
            self.metres.setdefault(place, (sum(map(int, over)), int(under)))

    def _tempo(self, item: ElementTree.Element, place: tuple) -> None:
        sound = item if item.tag == "sound" else item.find("sound[@tempo]")
        if sound is not None and sound.get("tempo") and (bpm := float(_number(sound.get("tempo"), "tempo"))) > 0:
            self.tempos.setdefault(place, (bpm,))

    def _barline(self, item: ElementTree.Element, place: tuple) -> None:
        """Translate repeats and endings to ABC's signs, which `unfold_repeats` reads."""
        repeat, ending = item.find("repeat"), item.find("ending[@type='start']")
        text = "" if repeat is None else "|:" if repeat.get("direction") == "forward" else ":|"
        text += f" [{ending.get('number', '')}" if ending is not None else ""
        if text not in self.bars.get(place, ""):  # as other parts have said
            self.bars[place] = f"{self.bars.get(place, '')} {text}"


def _played(rows: list[tuple], spans: list[tuple]) -> list[tuple]:
    """Rows that begin with a beat, in the order and at the times at which they're played."""
    rows = sorted(rows, key=lambda row: row[0])
    beats, played, now = [row[0] for row in rows], [], Fraction(0)
    for start, stop in spans:
        inside = rows[bisect_left(beats, start) : bisect_left(beats, stop)]
        played += [(beat - start + now, *rest) for beat, *rest in inside]
        now += stop - start
    return played


def _track(notes: list[Note], about: ElementTree.Element) -> Track:
    """Make a track of a part's notes and of what the list of parts says about it."""
    program = int(_number(about.findtext("midi-instrument/midi-program") or "1", "midi-program")) - 1
    pan = float(_number(about.findtext("midi-instrument/pan") or "0", "pan")) / 90
    is_drum = about.findtext("midi-instrument/midi-channel") == str(DRUMS + 1)
    return Track(notes, program, is_drum, about.findtext("part-name", "").strip(), min(1.0, max(-1.0, pan)))


# ---- writing


def write_musicxml(path: str | os.PathLike, score: Score | Melody) -> None:
    """Write a score or a melody as MusicXML, compressed if the path ends in ".mxl".

    Times that note values up to 128ths and tuplets of 3, 5, 7 or 9 express are exact; others are rounded to 1/24 of a
    beat. Notes are divided at bar lines and tied. Tracks without notes are left out. A failed write leaves an existing
    file as it was.

    >>> write_musicxml("song.musicxml", Melody.from_pitches([60, 62, 64]))  # doctest: +SKIP

    Args:
        path: the file to write.
        score: the music.

    Raises:
        ValueError: if the score has more than 20,000 bars.
        OSError: if the file cannot be written.

    Chapter 6.
    """
    write_file(path, score, _zipped_score if os.fsdecode(path).lower().endswith(".mxl") else score_bytes)


def _zipped_score(score: Score) -> bytes:
    rootfile = '<container><rootfiles><rootfile full-path="score.musicxml"/></rootfiles></container>'
    with zipfile.ZipFile(buffer := io.BytesIO(), "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("META-INF/container.xml", rootfile)
        archive.writestr("score.musicxml", score_bytes(score))
    return buffer.getvalue()


def score_bytes(score: Score) -> bytes:
    """The content of an uncompressed MusicXML file, in UTF-8."""
    tracks, listed, parts = [track for track in score.tracks if track.notes] or [Track(())], "", ""
    for i, track in enumerate(tracks, 1):
        name, channel = _text(track.name), DRUMS if track.is_drum else PITCHED[i % len(PITCHED)]
        hide = ' print-object="no"' * (track.name == score.name)
        listed += f'<score-part id="P{i}"><part-name{hide}>{name}</part-name><score-instrument id="I{i}">'
        listed += f'<instrument-name>{name or i}</instrument-name></score-instrument><midi-instrument id="I{i}">'
        listed += f"<midi-channel>{channel + 1}</midi-channel><midi-program>{track.program + 1}</midi-program>"
        listed += f"<pan>{90 * track.pan:.12g}</pan></midi-instrument></score-part>\n"
        music = "\n".join(_measures(score, track, score.tempos if i == 1 else ()))
        parts += f'<part id="P{i}">\n{music}\n</part>\n'
    head = '<?xml version="1.0" encoding="UTF-8"?>\n<score-partwise version="4.0">'
    work = f"<work><work-title>{_text(score.name)}</work-title></work>"
    return f"{head}{work}\n<part-list>{listed}</part-list>\n{parts}</score-partwise>\n".encode()


def _text(name: str) -> str:
    return escape(UNPRINTABLE.sub("", name))


def _measures(score: Score, track: Track, tempos: tuple) -> Iterator[str]:
    """The measures of a part; its first voice always fills them, the others only where they have notes."""
    measures, signature = notation.bars(score), signature_of(score.key)
    lines = notation.voices(track, chords=True) or [[]]
    written = [[list(notation.values(line, start, stop)) for line in lines] for start, stop, _ in measures]
    divisions = math.lcm(*(value.duration.denominator for measure in written for line in measure for value in line))
    speller, metre = Speller(signature[0] if signature else 0), None
    for i, (start, stop, pair) in enumerate(measures):
        text = f"<divisions>{divisions}</divisions>" if i == 0 else ""
        if i == 0 and signature:
            text += f"<key><fifths>{signature[0]}</fifths><mode>{signature[1].split()[1]}</mode></key>"
        if pair != metre:
            text += f"<time><beats>{pair[0]}</beats><beat-type>{pair[1]}</beat-type></time>"
        text = f"<attributes>{text}{_clef(track) if i == 0 else ''}</attributes>" if text else ""
        text += "".join(_tempo(bpm, round((at - start) * divisions)) for at, bpm in tempos if start <= at < stop)
        metre = pair
        speller.new_bar()
        for voice, line in enumerate(written[i], 1):
            if voice == 1 or any(value.chord for value in line):
                text += f"<backup><duration>{(stop - start) * divisions}</duration></backup>" if voice > 1 else ""
                pairs = zip(line, notation.beams(line, pair), strict=True)
                text += "".join(_value(value, beam, divisions, voice, speller) for value, beam in pairs)
        end = '<barline location="right"><bar-style>light-heavy</bar-style></barline>' * (i == len(measures) - 1)
        implicit = "" if stop - start == Fraction(4 * pair[0], pair[1]) else ' implicit="yes"'
        yield f'<measure number="{i + 1}"{implicit}>{text}{end}</measure>'


def _clef(track: Track) -> str:
    if track.is_drum:
        return "<clef><sign>percussion</sign></clef>"
    low = sum(note.pitch - 57 for note in track.notes) < 0
    return f"<clef><sign>{'F' if low else 'G'}</sign><line>{4 if low else 2}</line></clef>"


def _tempo(bpm: float, offset: int) -> str:
    mark = f"<metronome><beat-unit>quarter</beat-unit><per-minute>{bpm:.12g}</per-minute></metronome>"
    late = f"<offset>{offset}</offset>" if offset else ""
    kind = f"<direction-type>{mark}</direction-type>"
    return f'<direction placement="above">{kind}{late}<sound tempo="{bpm:.12g}"/></direction>'


def _value(value: Value, beam: list[str], divisions: int, voice: int, speller: Speller) -> str:
    """A note, the notes of a chord, or a rest."""
    (actual, normal), text = value.tuplet, ""
    kinds = [kind for kind, yes in zip(("stop", "start"), value.ties, strict=True) if yes]
    brackets = [kind for kind, yes in zip(("start", "stop"), value.edges, strict=True) if yes]
    shape = f"<type>{TYPES[max(value.power, min(TYPES))]}</type>" + "<dot/>" * value.dots
    ratio = f"<actual-notes>{actual}</actual-notes><normal-notes>{normal}</normal-notes>"
    ratio = f"<time-modification>{ratio}</time-modification>" * (actual > 1)
    joins = "".join(f'<beam number="{level}">{kind}</beam>' for level, kind in enumerate(beam, 1))
    for i, note in enumerate(value.chord.notes if value.chord else [None]):
        pitch, accidental = _pitch(note.pitch, speller) if note else ("<rest/>", "")
        accidental = "" if value.ties[0] else accidental
        marks = "".join(f'<tied type="{kind}"/>' for kind in kinds)
        marks += "".join(f'<tuplet type="{kind}"/>' for kind in brackets if i == 0)
        text += f'<note dynamics="{note.velocity / 0.9:.6g}">' if note and note.velocity != 80 else "<note>"
        text += "<chord/>" * (i > 0) + f"{pitch}<duration>{value.duration * divisions}</duration>"
        text += "".join(f'<tie type="{kind}"/>' for kind in kinds) + f"<voice>{voice}</voice>"
        text += shape + accidental + ratio + joins * (i == 0)
        text += f"<notations>{marks}</notations></note>" if marks else "</note>"
    return text


def _pitch(pitch: int, speller: Speller) -> tuple[str, str]:
    """A pitch, and its accidental if one must be written."""
    letter, alteration, octave, written = speller.spell(pitch)
    alter = f"<alter>{alteration}</alter>" if alteration else ""
    accidental = f"<accidental>{ACCIDENTALS[alteration]}</accidental>" if written else ""
    return f"<pitch><step>{letter}</step>{alter}<octave>{octave}</octave></pitch>", accidental
