"""Make the book's gallery: songs by the whole chain, each from the one command that the page shows beside it.

    python scripts/gallery.py            make all songs; write book/_static/gallery and book/gallery.md (minutes)
    python scripts/gallery.py 3 14       make these again
    python scripts/gallery.py --page     write the page again, without making any song

For each song, the folder holds the sound, the choices that song.json holds (without the notes of the tune found) and a
piano roll; about.json holds the certificates and a few measurements.
"""

import argparse
import datetime
import json
import re
import shlex
import string
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import soundfile
import torch

from musicai.chain import PlayedSong, song
from musicai.cli import build_parser, given_options
from musicai.notes import Note, Track, note_name, pitch_class
from musicai.performance import GANPerformer

ROOT = Path(__file__).resolve().parent.parent
FOLDER, PAGE = ROOT / "book/_static/gallery", ROOT / "book/gallery.md"
COLLECTIONS = {"oneills1850": "O'Neill", "ryansMammoth": "Ryan", "airdsAirs": "Aird"}
PLAYERS = {"auto": "the GAN", "gan": "the GAN", "sampled": "recorded notes", "wavenet": "the WaveNet"}
WIDTH, HEIGHT = 600, 110  # of a piano roll
LINE = 62  # characters of a command in a line
COPIED = "#d97706"  # orange, which can be told from blue by everyone
GOOD = 12  # the songs after these failed


@dataclass(frozen=True)
class Piece:
    """A song of the gallery: its title, what follows `musicai song` on the command line, and what one hears."""

    title: str
    words: str
    heard: str = ""

    @property
    def command(self) -> str:
        """The command that makes it."""
        return f"musicai song {self.words} --out song.mp3"

    def read(self) -> tuple[str | None, dict]:
        """The arguments that the command gives `musicai.song`: the query, and the others by name."""
        options = build_parser().parse_args(shlex.split(self.command)[1:])
        return " ".join(getattr(options, "query", [])) or None, given_options(options, "out", "query")


PIECES = (
    Piece(
        "A jig under another name",
        '"GAG GAB|ABA ABd|edd gdd|edB dBA" --key "A minor" --bars 16 --tempo 150 --closeness 0.4',
        "The query is four bars of *The Kesh* in ABC, and O'Neill prints that jig as *The Mountaineer's "
        "March*. Here it's in minor: the first strain climbs to a high A and breaks off on an F sharp, "
        "and the second runs from the high A down to the low one before it comes home. Only the opening turn still "
        "gives the jig away.",
    ),
    Piece(
        "Ten typed notes",
        '"D4 G4 A4 C5 B4 A4 G4 B4 D5 G5" --key "A dorian" --bars 16 --tempo 190 --instruments melody=clarinet',
        "Ten notes without any rhythm were enough. The song is in the dorian mode, as asked, and as often off the beat "
        "as *The Minstrel Boy*: notes are held across the bar line. In the twelfth and thirteenth bars, it breaks "
        "into flurries of very short notes, as a piper might. Then it slows down and comes to rest on its keynote.",
    ),
    Piece(
        "A reel turned minor",
        '"Miss McLeod\'s Reel" --key "E minor" --bars 16 --tempo 190 --closeness 0.4 --humanize 0.6',
        "This is the rocking figure that every fiddler knows, with its third lowered. The second strain starts a "
        "fourth below, on the low B. Toward the end of both, the tune climbs to a high A and runs down an octave. The "
        "first time it goes on to a D; the second time it comes home to E.",
    ),
    Piece(
        "A jig that waltzes",
        '"dc|BGG DGG|BGB dcB|cAA EAA|cAc edc" --meter 3/4 --bars 16 --tempo 144 --closeness 0.7'
        " --instruments melody=violin,chords=harp,bass=cello",
        "Throughout the first strain, the same notes come in the same order. Only the bar lines have moved, so "
        "the notes fall into pairs instead of threes. At a closeness of 0.7 that's what we ordered, and the "
        "certificate calls it what it is: not original. The second strain moves up an octave and ends there.",
    ),
    Piece(
        "For four voices",
        'Garryowen --key "G minor" --meter 4/4 --bars 8 --tempo 96 --voices 4',
        "A quickstep, sung slowly by a choir. The first strain is mostly turns and small runs, and the second climbs "
        "to a high G and stays there. The chord under it is G minor, with the third in the tenor.",
    ),
    Piece(
        "A lament",
        '"O\'Neill 28" --bars 8 --tempo 72 --closeness 0.8 --humanize 1 --performer sampled'
        " --instruments melody=cello,chords=harp,bass=string_ensemble",
        "A cello that stays high, a harp, and humanize at 1, the freest playing there is. Halfway through, "
        "a group of short notes leaves the tune a sixteenth behind the harp, and from then on it keeps slipping in and "
        "out of step. So much of it comes from O'Neill's lament that the certificate says: not original.",
    ),
    Piece(
        "From nothing",
        '--key "E dorian" --meter 6/8 --bars 16 --tempo 150',
        "No tune, just a key, a metre and a tempo. You hear the C sharp that makes this dorian and not minor in the "
        "run that closes both strains, down to the keynote. The second strain soon reaches a G sharp, takes it back "
        "at once, and climbs past a second C sharp to the highest note of the song.",
    ),
    Piece(
        "A motif, and an A that returns varied",
        '"64 64 65 67 67 65 64 62 60 60 62 64 64 62 62" --key "F lydian" --bars 16 --tempo 190 --form "AABA\'"'
        " --instruments melody=trumpet,chords=piano,bass=electric_bass",
        "The *Ode to Joy* isn't in these books. The search says so, and the song starts from the typed notes."
        " After a first bar of its own, it plays fourteen of the fifteen, from the end of the second bar on. In lydian,"
        " the fourth note of the scale is raised, and you hear that at the third note of the ode. The last A keeps two "
        "bars and then finds another way home.",
    ),
    Piece(
        "Sample by sample",
        '"Devil\'s Dream" --key "D major" --bars 16 --tempo 100 --density 2.5 --closeness 0.3 --no-chords'
        " --performer wavenet --instruments flute",
        "A flute alone, written one sample at a time. The first strain is the same two bars four times over, and "
        "they're the beginning of *Devil's Dream*, moved to D. The song as a whole is as far from its source as we "
        "asked, but sixteen notes in a row are too many, and the certificate says so: not original. The second strain "
        "is new. It has few notes and almost stops, so you can hear what the WaveNet does while it holds one.",
    ),
    Piece(
        "Off the beat",
        '"Aird 12" --key "G dorian" --bars 32 --tempo 180 --syncopation 0.3 --density 2 --closeness 0.3'
        " --instruments vibraphone,electric_piano,electric_bass",
        "A tune in two, for vibraphone. The first strain is square, but for one note near its end. In the second, "
        "notes keep coming in early, often enough to lift the average to what we asked for.",
    ),
    Piece(
        "Hardly a memory",
        '"Soldier\'s Joy" --key "C minor" --bars 16 --tempo 96 --closeness 0.1 --range C4 C6',
        "At a closeness of 0.1, only the busy pace is left of *Soldiers' Joy*. In the first bar, every other note is "
        "the same E flat. One interval in five is wider than a fifth, and the song falls an octave and a fifth onto "
        "its last note.",
    ),
    Piece(
        "A slip jig without an accidental",
        '"Ryan 5" --meter 9/8 --key "D minor" --strict --bars 12 --tempo 165 --form AAB --instruments melody=sax',
        "A reel, stretched into bars of three times three. Since no note may leave the scale, every C "
        "below a D stays natural, and the tune sounds older than it is. So does the end: a C, then a short D, and no "
        "leading note between them.",
    ),
    Piece(
        "Amazing Grace, found as something else",
        '"D G B G B A G E D D G B G B A D" --bars 16 --tempo 180',
        "**What went wrong: the search.** The typed notes are the beginning of *Amazing Grace*, which isn't "
        "in any of the three books. But a rant in Aird's collection goes D G B G B A G D G B G B A A D, which"
        " is almost the same if you don't know the rhythm, and the search found it a little more likely right "
        "than wrong. So you hear a rant: eighth notes that leap ({leaps:.0%} of all intervals are wider than a "
        "fifth), and nothing you could sing the hymn's words to. Twenty of them in a row are Aird's. "
        'Rhythm helps. If you type it as ABC, `"D2|G4 '
        'BG|B4 A2|G4 E2|D4 D2|G4 BG|B4 A2|d4"`, no tune gets more than an even chance, and the song starts from your '
        "own notes.",
    ),
    Piece(
        "Seven beats, in locrian",
        '--key "B locrian" --meter 7/8 --bars 16 --tempo 165',
        "**What went wrong: the model never heard anything like it.** Of the 4,248 tunes in the books, none "
        "is in 7/8 and none is in locrian. The song counts to seven without a slip, but the mode is lost. All "
        "the model is told is the major key with the same seven notes, C major, and C major is what you hear. "
        "The first strain breaks up the chord of C over and over, and it runs to a high C. B, which should be home, "
        "takes up {tonic:.0%} of the time. The last note is a B, as asked, but the chord under it is G, so what "
        "you hear is a song in C that stops on the way home. The controls report locrian, because the seven "
        "notes are the right ones. Your ears won't.",
    ),
)


def make(piece: Piece, number: int) -> dict:
    """Make one song as its command does, write its files, and measure what the page tells of it."""
    query, asked = piece.read()
    made = song(query, **asked)
    base = FOLDER / f"{number:02d}"
    recipe = made.recipe | {"source": made.source.name if made.source else None}  # the notes stay in the collection
    replace(made, recipe=recipe).save(base.with_suffix(".json"))
    base.with_suffix(".svg").write_text(draw(made, piece.title))
    samples, sr = made.audio.samples.numpy().T, made.audio.sr  # the same sound as the command's, in a smaller file
    soundfile.write(base.with_suffix(".mp3"), samples, sr, bitrate_mode="VARIABLE", compression_level=0.6)
    named = {name: wanted for name, (wanted, _) in made.controls.items() if name in made.recipe["compose"]}
    return {
        "asked": {name: wanted for name, wanted in named.items() if name != "seed"},
        "certificate": str(made.novelty).replace("\n  ", " ").splitlines(),
        "measured": measure(made),
        "recorded": recorded(made),
        "seconds": round(made.audio.seconds, 1),
        "made": datetime.date.today().isoformat(),
        "cpu": torch.backends.cpu.get_cpu_capability(),
    }


def recorded(made: PlayedSong) -> list[str]:
    """The parts that the GAN leaves to recorded notes, as they go beyond its range."""
    chosen, gan = made.recipe["perform"], GANPerformer()
    names = chosen["instruments"] if chosen["performer"] == "auto" else {}
    return [track.name for track in made.score.tracks if track.name in names and gan.obstacle(track, names[track.name])]


def measure(made: PlayedSong) -> dict:
    """What can be counted of how a song sounds."""
    melody, others = made.melody, made.score.tracks[1:]
    bar = 4 * melody.time_signature[0] / melody.time_signature[1]
    bars: dict[int, list] = {}
    for note in melody.notes:
        bars.setdefault(int(note.start // bar), []).append((note.start % bar, note.pitch))
    tonic = pitch_class(made.request.key.split()[0])
    return {
        "last": note_name(int(melody.notes[-1].pitch)),
        "home": melody.notes[-1].pitch % 12 == tonic,
        "tonic": float(melody.durations[melody.pitches % 12 == tonic].sum() / melody.durations.sum()),
        "different": len({str(notes) for notes in bars.values()}),
        "clashing": sum(rubs(note, others) for note in melody.notes) / float(melody.durations.sum()),
        "leaps": float(np.mean(np.abs(np.diff(melody.pitches)) > 7)),
        "longest": made.novelty.longest,
        "likeness": made.novelty.likeness,
    }


def rubs(note: Note, others: Sequence[Track]) -> float:
    """For how many beats a note of the melody is a semitone, or octaves and a semitone, from a note below it."""
    sounding = (o for track in others for o in track.notes if (note.pitch - o.pitch) % 12 in (1, 11))
    return max((max(0.0, min(note.end, o.end) - max(note.start, o.start)) for o in sounding), default=0.0)


def draw(made: PlayedSong, title: str) -> str:
    """A piano roll as SVG: the melody in the link colour, its longest copied run in orange, the other parts pale."""
    tracks, novelty = made.score.tracks, made.novelty
    pitches = [note.pitch for track in tracks for note in track.notes]
    wide, tall = WIDTH / made.score.duration, HEIGHT / (max(pitches) - min(pitches) + 1)

    def path(notes: list[Note], style: str) -> str:
        rows = (f"M{x.start * wide:.0f} {(max(pitches) - x.pitch + 0.5) * tall:.0f}h{max(1, x.duration * wide - 1):.0f}"
                for x in notes)  # fmt: skip
        return f'<path style="{style}" d="{"".join(rows)}"/>'

    melody, others = list(tracks[0].notes), [note for track in tracks[1:] for note in track.notes]
    first = novelty.where.note if novelty.where else 0
    last = first + novelty.longest
    drawn = path(others, "stroke:currentColor;opacity:0.35")
    thick = f"stroke-width:{1.5 * tall + 1:.1f};stroke:"
    drawn += path(melody[:first] + melody[last:], f"{thick}var(--pst-color-primary)")
    drawn += path(melody[first:last], thick + COPIED)
    label = f"Piano roll of {title}. Of {len(melody)} notes of melody, {first + 1} to {last} are also in a known tune."
    head = f'viewBox="0 -2 {WIDTH} {HEIGHT + 4}" role="img" aria-label="{label}" stroke-width="{max(2, tall):.1f}"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {head} fill="none">{drawn}</svg>'


# ---- the page


def tell(number: int, piece: Piece, about: dict) -> Iterator[str]:
    """The lines of the page about one song."""
    recipe = json.loads((FOLDER / f"{number:02d}.json").read_text())
    label = f"{piece.title}, {about['seconds']:.0f} seconds"
    yield f"### {number}. {piece.title}\n"
    yield f'<audio controls preload="none" aria-label="{label}" src="../_static/gallery/{number:02d}.mp3"></audio>'
    yield f'<div style="max-width:34rem;margin:0.6rem 0 0.8rem">{(FOLDER / f"{number:02d}.svg").read_text()}</div>\n'
    yield f"{piece.heard.format(**about['measured'])}\n"
    yield f"- **Found:** {found(recipe)}"
    yield f"- **Asked:** {obtained(about['asked'], recipe['obtained'], recipe['compose'])}"
    yield f"- **Played by:** {players(about['recorded'], **recipe['perform'])}"
    yield f"- **Certificate:** {certificate(about['certificate'])}"
    yield ""
    yield f"```bash\n{broken(piece.command)}\n```\n"


def broken(command: str) -> str:
    """A command over several lines, each of which fits a narrow page."""
    lines = [""]
    for words in command.replace(" --", "\0--").split("\0"):
        if lines[-1] and len(lines[-1]) + len(words) > LINE:
            lines.append("   ")
        lines[-1] += f" {words}" if lines[-1] else words
    return " \\\n".join(lines)


def found(recipe: dict) -> str:
    """What the search found, and how sure it was."""
    if not (best := recipe["found"]):
        return "nothing; there was nothing to look for."
    name, sure = named(best["title"], best["id"]), best["probability"]
    if not best["used"]:
        return f"nothing. {name} comes closest, but has a probability of only {sure:.1%} of being the right tune."
    called = "by its number" if recipe["query"][-1].isdigit() else "by its name"
    return f"{name}, {f'{sure:.0%} sure' if sure < 1 else called}."


def obtained(asked: dict, got: dict, given: dict) -> str:
    """What was asked, with what came out where that is something else."""
    rows = []
    for name, wanted in asked.items():
        one, other = shown(wanted), shown(got[name])
        rows.append(f"{name} {one}" + f" (obtained: {other})" * (one != other))
    rows += ["four voices"] * (given.get("voices") == 4) + ["no chords"] * (given.get("chords") is False)
    rows += ["only notes of the scale"] * bool(given.get("strict"))
    return "; ".join(rows) + "."


def shown(value) -> str:
    """A value as people write it."""
    if isinstance(value, list | tuple):
        return ("/" if isinstance(value[0], int) else " to ").join(map(str, value))
    return f"{round(value, 2):g}" if isinstance(value, float) else str(value)


def players(recorded: list[str], instruments: dict[str, str], performer: str, humanize: float, **_) -> str:
    """Who plays what, and how."""
    names = {part: name.replace("_", " ").replace("acoustic grand ", "") for part, name in instruments.items()}
    who = ", ".join(f"{part} {name}" for part, name in names.items())
    if len(names) > 1 and len(set(names.values())) == 1:
        who = f"{next(iter(names.values()))} in {len(names)} parts"
    by = PLAYERS[performer] + (f" (recorded notes for the {' and the '.join(recorded)})" if recorded else "")
    return f"{who}; {by}, humanize {humanize:g}."


def certificate(lines: list[str]) -> str:
    """A certificate in a line, with titles as people write them."""
    said, run, near = (re.sub(r" \((?:half|nine) .+?\)", "", line) for line in lines)
    said = said.partition(":")[0].lower().capitalize()
    joined = f"**{said}.** {run}. {near}."
    return re.sub(r'"(.+?)" \[(.+?)\]', lambda found: named(found[1], found[2]), joined)


def named(title: str, name: str) -> str:
    """The title of a tune as people write it, without the kind of dance, and where it is printed."""
    words = title.partition(" -- ")[0].strip(" .").replace(".,", ",")
    words = re.sub(r"^(.+?),? The$", r"The \1", words, flags=re.IGNORECASE)
    words = string.capwords(words) if words.isupper() else words[:1].upper() + words[1:]
    words = re.sub(r" (The|Of|A|And|To|In)\b", lambda small: small[0].lower(), words)
    book, _, number = name.partition("/")
    number = "" if "#" in number and book == "ryansMammoth" else " " + number.partition("#")[0].lstrip("0")
    return f"*{words}* ({COLLECTIONS[book]}{number})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("numbers", nargs="*", type=int, help="the songs to make (default: all)")
    parser.add_argument("--page", action="store_true", help="only write the page again")
    options = parser.parse_args()
    FOLDER.mkdir(parents=True, exist_ok=True)
    told = FOLDER / "about.json"
    about = json.loads(told.read_text()) if told.exists() else {}
    for number, piece in enumerate(PIECES, 1):
        if not options.page and number in (options.numbers or range(1, 1 + len(PIECES))):
            about[str(number)] = make(piece, number)
            told.write_text(json.dumps(about, indent=1) + "\n")
            print(number, piece.title, about[str(number)]["measured"], flush=True)
    text = PAGE.read_text()
    for part, numbers in (("songs", range(1, GOOD + 1)), ("failures", range(GOOD + 1, 1 + len(PIECES)))):
        rows = "\n".join(row for i in numbers for row in tell(i, PIECES[i - 1], about[str(i)]))
        mark = re.compile(rf"(<!-- {part} -->\n).*(<!-- end of the {part} -->)", re.DOTALL)
        text = mark.sub(lambda found, rows=rows: f"{found[1]}\n{rows}\n{found[2]}", text)
    PAGE.write_text(text)


if __name__ == "__main__":
    main()
