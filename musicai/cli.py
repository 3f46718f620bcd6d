"""The command line, `musicai`. Each verb is one function that adds its arguments, and one that runs it (VERBS)."""

import argparse
import json
import math
import os
import sys
import warnings
from pathlib import Path
from textwrap import shorten

from musicai import __version__
from musicai.data.catalogue import SETS
from musicai.storage import cache_dir

__all__ = ["main"]


def main(arguments: list[str] | None = None) -> int:
    """Run a command line and return its exit code.

    >>> main(["--version"])  # doctest: +SKIP
    musicai 0.1.0

    Args:
        arguments: the words after `musicai`; None takes them from the command line of this process.

    Returns: 0 on success, 1 after a failure, 2 for an invalid command, 130 after Ctrl-C.

    Preface.
    """
    try:
        try:
            options = build_parser().parse_args(arguments)
            with warnings.catch_warnings():
                warnings.showwarning = lambda text, *_: print("musicai: warning:", text, file=sys.stderr)
                return options.run(options) or 0
        finally:
            if sys.stdout is not None:  # as it is after `musicai data >&-`
                sys.stdout.flush()
    except BrokenPipeError:  # `musicai data | head -1`: the reader has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt as interruption:
        print(": ".join(["musicai: interrupted", *interruption.args]), file=sys.stderr)
        return 130
    except (ImportError, OSError, RuntimeError, ValueError) as error:
        plain = isinstance(error, OSError) and error.strerror and error.filename
        told = f"{error.filename}: {error.strerror}" if plain else str(error)
        print("musicai: error:", shorten(told, 800), file=sys.stderr)  # on one line
        return 1


def build_parser() -> argparse.ArgumentParser:
    """Build the parser of the command line, with all its verbs.

    >>> build_parser().parse_args(["perform", "song.mid", "--out", "song.mp3"]).score
    'song.mid'

    Returns: the parser; the options it gives have a function `run`, and leave out what the person left out.

    Preface.
    """
    parser = argparse.ArgumentParser("musicai", description="Music AI: find a melody, compose with it, perform it.")
    parser.add_argument("--version", action="version", version=f"musicai {__version__}")
    parser.set_defaults(run=lambda options: parser.print_help())
    verbs = parser.add_subparsers(metavar="COMMAND", title="commands")
    for verb, run in VERBS.items():
        one = verbs.add_parser(verb.__name__[1:], help=verb.__doc__, description=verb.__doc__)
        one.set_defaults(run=run)
        verb(one)
    return parser


# ---- the verbs


def _find(parser: argparse.ArgumentParser) -> None:
    """find the tunes that contain a melody: notes, or a file with notes, a hum or a recording"""
    parser.epilog = 'For example: musicai find "D5 C5 B4 G4 G4 D4 G4 G4 B4 G4 B4 D5"; musicai find hum.wav --json'
    parser.add_argument("query", nargs="+", metavar="QUERY", help="notes, or files (excerpts of one recording)")
    parser.add_argument("-k", type=int, default=10, help="the most matches to show (default: 10)")
    parser.add_argument("--index", metavar="FILE", help="an index that `musicai index` made (default: the folk corpus)")
    parser.add_argument("--json", action="store_true", help="print the matches, with their notes, as JSON")


def _run_find(options: argparse.Namespace) -> None:
    from musicai.search import find

    words = options.query
    files = len(words) > 1 and all(Path(word).suffix for word in words)
    matches = find(words if files else " ".join(words), options.k, index=options.index)
    if options.json:
        print(json.dumps([_as_json(match) for match in matches], indent=1))
    elif not matches:
        print("nothing found")
    else:
        for rank, match in enumerate(matches, 1):
            place = f"beats {round(match.start, 2):g} to {round(match.end, 2):g}, {match.transposition:+} semitones"
            mark = "?" if match.unlikely else " "
            print(f"{rank:3}  {match.probability:4.0%} {mark} {match.title or 'untitled'}  [{match.id}]  {place}")
        if any(match.unlikely for match in matches):
            print("\n?  unlikely: a tune that is not in the index would do as well in more than 1 of 100 searches")


def _as_json(match) -> dict:
    """A match and its notes, so that another program (or `musicai compose --from -`) can go on from here."""
    piece, fields = match.piece, ("title", "id", "score", "probability", "unlikely", "start", "end", "transposition")
    found = {name: getattr(match, name) for name in fields}
    found["tempo_ratio"] = None if math.isnan(match.tempo_ratio) else match.tempo_ratio
    found["pairs"] = match.pairs.tolist()
    notes = [[note.pitch, note.start, note.duration] for note in piece.notes]
    found["piece"] = {"key": piece.key, "tempo": piece.tempo, "time_signature": piece.time_signature, "notes": notes}
    return found


def _index(parser: argparse.ArgumentParser) -> None:
    """make a search index of the MIDI, MusicXML and ABC files below a folder"""
    parser.add_argument("folder", metavar="FOLDER", help="where the files are, or one file, such as an ABC collection")
    parser.add_argument("--out", metavar="FILE", required=True, help="the index to write")


def _run_index(options: argparse.Namespace) -> None:
    from musicai.search import MelodyIndex, read_folder

    _writable("--out", options.out, ())
    pieces, ids = read_folder(options.folder)
    index = MelodyIndex.build(pieces, options.out, ids=ids)
    print(f"{options.out}: {len(index):,} pieces, {Path(options.out).stat().st_size / 1e6:.1f} MB")


def _compose(parser: argparse.ArgumentParser) -> None:
    """write a new song from a melody, or from nothing"""
    parser.epilog = """For example: musicai compose --from "O'Neill 28" --key "D dorian" --bars 16 --out song.mid"""
    parser.argument_default = argparse.SUPPRESS  # what is not given stays with `musicai.compose`
    about = "a tune's number, id or title, notes, a file, or - for what `musicai find --json` prints (default: nothing)"
    parser.add_argument("--from", dest="source", metavar="SOURCE", help=about)
    about = "find the source in an index that `musicai index` made, and start from the best match"
    parser.add_argument("--index", metavar="FILE", help=about)
    _add_options(parser, CONTROLS)
    parser.add_argument("--out", metavar="FILE", required=True, help="the song: .mid, .musicxml or .abc")


def _add_options(parser: argparse.ArgumentParser, options: dict) -> None:
    for name, (kind, about) in options.items():
        parser.add_argument(f"--{name}", type=kind, metavar=name.upper(), help=about)
    if "key" in options:
        parser.add_argument("--range", nargs=2, metavar=("LOW", "HIGH"), help="the lowest and the highest note: D4 B5")
        parser.add_argument("--no-chords", dest="chords", action="store_false", help="the melody alone")
        parser.add_argument("--strict", action="store_true", help="only notes of the scale")
        parser.add_argument("--surprise", dest="seed", action="store_const", const=None, help="draw a new seed")


def given_options(options: argparse.Namespace, *others: str) -> dict:
    """The options that a person gave, except some, as arguments of the function that the verb calls.

    >>> options = build_parser().parse_args(["song", "E4 D4", "--bars", "8", "--out", "song.mp3"])
    >>> given_options(options, "out", "query")["bars"]
    8

    Args:
        options: what the parser returned.
        others: the names to leave out.

    Returns: the values by name, and whether to show progress.

    Preface.
    """
    given = {name: value for name, value in vars(options).items() if name not in ("run", *others)}
    if "range" in given:
        given["range"] = tuple(int(note) if note.isdigit() else note for note in given["range"])
    return given | {"progress": sys.stderr.isatty()}


def _writable(option: str, name: str, kinds, source: str | None = None) -> Path:
    """The path of a file to write, refused before the work begins if it cannot be written or is the source itself."""
    path = Path(os.path.expanduser(name))
    if path.is_dir():
        raise IsADirectoryError(f"{option} {name}: that is a folder; give the name of a file")
    if kinds and path.suffix.lower() not in kinds:
        raise ValueError(f"{option} {name}: the name must end in {', '.join(kinds)}")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"{option} {name}: there is no folder {path.parent}; create it first")
    if not os.access(path.parent, os.W_OK):
        raise PermissionError(f"{option} {name}: the folder {path.parent} can't be written to; choose another one")
    source = os.path.expanduser(source or "")
    if path.exists() and os.path.exists(source) and path.samefile(source):
        raise FileExistsError(f"{option} {name}: that is the file to start from; choose another name")
    return path


def _run_compose(options: argparse.Namespace) -> None:
    import musicai
    from musicai.chain import find_source
    from musicai.composition import read_match, read_source
    from musicai.notes.files import KINDS

    asked, source = given_options(options, "out", "source", "index"), getattr(options, "source", None)
    out = _writable("--out", options.out, KINDS, source)
    if source is not None:
        source = read_match(sys.stdin.read()) if source == "-" else source
        if "index" in options:
            matches, source = find_source(source, options.index)
            best = f"{matches[0].title or 'a tune without a title'} [{matches[0].id}]" if matches else "nothing"
            lost = "" if source in matches else "not found, so the song starts from your own notes; the nearest: "
            print(f"find: {lost}{best}")
        elif isinstance(source, str):
            source = read_source(source)
    elif "index" in options:
        raise ValueError("--index says where to find what --from names; give --from as well")
    song = musicai.compose(source, **asked)
    song.save(out)
    print(f"{options.out}\n\n{_told(song, options)}")


def _told(song, options: argparse.Namespace) -> str:
    from musicai.composition import certify
    from musicai.composition.controls import tell

    rows = (f"{name:14}{tell(wanted):16}{tell(got)}\n" for name, (wanted, got) in song.controls.items())
    here = f"\n\nAmong the tunes of {options.index}:\n{certify(song, options.index)}" if "index" in options else ""
    return f"{'':14}{'asked':16}obtained\n{''.join(rows)}\n{song.novelty}{here}"


def _perform(parser: argparse.ArgumentParser) -> None:
    """play a score with sampled or neural instruments, into a sound file"""
    parser.epilog = "For example: musicai perform song.mid --instruments flute,cello --performer gan --out song.mp3"
    parser.argument_default = argparse.SUPPRESS
    parser.add_argument("score", metavar="SCORE", help="a MIDI, MusicXML or ABC file")
    _add_options(parser, PLAYING | {"seed": (int, "the same seed gives the same sound (default: 0)")})
    parser.add_argument("--out", metavar="FILE", required=True, help="the sound: .mp3, .wav, .flac, .ogg or .opus")


def _instruments(text: str) -> str | list[str] | dict[str, str]:
    words = [word.strip() for word in text.split(",")]
    if "=" in text:  # parts by name, or by number
        return {int(part) if part.isdigit() else part: name for part, _, name in (w.partition("=") for w in words)}
    return words if len(words) > 1 else text


def _run_perform(options: argparse.Namespace) -> None:
    from musicai.audio.files import FORMATS
    from musicai.notes import read_score
    from musicai.performance import cast, perform

    asked, out = given_options(options, "score", "out"), _writable("--out", options.out, FORMATS)
    score = read_score(options.score, expand_repeats=True)
    if not score.notes:
        raise ValueError(f"{options.score}: there are no notes to play")
    names = cast(score, asked.pop("instruments", None), like=asked.pop("like", None))
    audio = perform(score, names, **asked)
    audio.save(out)
    who = [f"{score.tracks[i].name or i}: {name}" for i, name in names.items()]
    print(f"{options.out}: {audio.seconds:.0f} s; {', '.join(who) or 'drums'}")


def _song(parser: argparse.ArgumentParser) -> None:
    """find a melody, compose a new song from it, and perform the song"""
    parser.epilog = """For example: musicai song hum.wav --key "D dorian" --bars 16 --closeness 0.4 --out song.mp3"""
    parser.argument_default = argparse.SUPPRESS
    about = "notes, a title, or a file with notes or sound (default: nothing)"
    parser.add_argument("query", nargs="*", metavar="QUERY", help=about)
    parser.add_argument("--from", dest="recipe", metavar="SONG.JSON", help="make the song of this file again")
    parser.add_argument("--index", metavar="FILE", help="an index that `musicai index` made (default: the folk corpus)")
    _add_options(parser, CONTROLS | PLAYING)
    parser.add_argument("--out", metavar="FILE", required=True, help="the sound, such as song.mp3, beside song.json")
    parser.add_argument("--score", metavar="FILE", help="the score as well: .mid, .musicxml or .abc")


def _run_song(options: argparse.Namespace) -> None:
    from musicai.audio.files import FORMATS
    from musicai.chain import read_song, song
    from musicai.notes.files import KINDS

    query = " ".join(getattr(options, "query", [])) or None
    if query and query.lower().endswith(".json"):
        raise ValueError(f"{query}: to make a saved song again, write --from {query}")
    asked = given_options(options, "out", "score", "recipe", "query")
    out = _writable("--out", options.out, FORMATS, query)
    score = [_writable("--score", options.score, KINDS, query)] if "score" in options else []
    if "recipe" not in options:
        made = song(query, **asked)
    elif query is None and len(asked) == 1:
        made = read_song(options.recipe, **asked)
    else:
        raise ValueError("--from makes a song again as it was; it takes no query and no other options")
    for path in (*score, out.with_suffix(".json")):  # what is written stays, even if the performing is interrupted
        made.save(path)
    who = ", ".join(f"{part}: {name}" for part, name in made.recipe["perform"]["instruments"].items())
    print(f"{made}\n\n{_told(made, options)}\n\nperform: {who}", flush=True)
    made.save(out)
    print(f"{options.out}: {made.audio.seconds:.0f} s; beside it, {out.with_suffix('.json').name} makes it again")


def _novelty(parser: argparse.ArgumentParser) -> None:
    """compare a piece with known tunes: is it original, and what does it share with which of them?"""
    parser.add_argument("file", metavar="FILE", help="a MIDI, MusicXML or ABC file")
    parser.add_argument("--index", metavar="FILE", help="an index that `musicai index` made (default: the folk corpus)")
    parser.add_argument("--json", action="store_true", help="print the certificate as JSON")


def _run_novelty(options: argparse.Namespace) -> None:
    from musicai.composition import certify

    found = certify(options.file, options.index)
    facts = {name: getattr(found, name) for name in ("original", "longest", "interval", "likeness")}
    facts["where"] = found.where and found.where._asdict()
    facts["nearest"] = [{"title": m.title, "id": m.id, "start": m.start, "end": m.end} for m in found.nearest]
    print(json.dumps(facts, indent=1) if options.json else found)


def _train(parser: argparse.ArgumentParser) -> None:
    """train a model the way the shipped one was trained; without NAME, list the recipes"""
    parser.epilog = "Safe to interrupt; rerun to resume. Set MUSICAI_DEVICE=cuda:1 to choose the device yourself."
    parser.add_argument("name", nargs="?", metavar="NAME", help="the recipe")
    parser.add_argument("--steps", type=int, help="number of training steps (default: as for the shipped model)")
    parser.add_argument("--out", metavar="FOLDER", help="where to save the model (default: runs/NAME)")
    parser.add_argument("--seed", type=int, default=0, help="random seed (default: 0)")


def _run_recipe(options: argparse.Namespace) -> None:
    from musicai import recipes

    if options.name is None:
        for name, about in recipes.RECIPES.items():
            print(f"{name:22}{about}")
        return
    out = Path(os.path.expanduser(options.out or Path("runs", options.name)))
    there = {path.name for path in out.iterdir()} if out.is_dir() else set()
    if there and there.isdisjoint(("ladder", "run.safetensors")):  # what a run leaves behind
        raise FileExistsError(f"{out} holds something other than a training run; choose another --out")
    print(recipes.train(options.name, out=out, steps=options.steps, seed=options.seed))


def _data(parser: argparse.ArgumentParser) -> None:
    """list the data sets and where they are stored, or fetch one"""
    about = "download a public data set into the cache"
    fetch = parser.add_subparsers(metavar="[ACTION]", title="actions").add_parser(
        "fetch", help=about, description=about
    )
    fetch.add_argument("name", choices=SETS)
    fetch.set_defaults(run=_run_fetch)


def _run_list(options: argparse.Namespace) -> None:
    print(f"cache folder: {cache_dir()}\n")
    for known in SETS.values():
        size = sum(path.stat().st_size for path in known.files()) / 1e6
        shown = f"{size / 1e3:.1f} GB" if size >= 1e3 else f"{size:.1f} MB" if known.place() else "not here"
        print(f"{known.name:16}{shown:>9}  {known.licence:17}{known.about}\n{'':27}{known.place() or known.absence}")


def _run_fetch(options: argparse.Namespace) -> None:
    known = SETS[options.name]
    print(known.place() or known.fetch(cache_dir()))


CONTROLS = {
    "key": (str, 'tonic and mode, such as "D dorian"'),
    "meter": (str, "such as 6/8"),
    "tempo": (float, "quarter notes per minute"),
    "bars": (int, "how many sound, repeats included"),
    "form": (str, "a letter for each section: AABB; AABA' varies the last one"),
    "density": (float, "notes per quarter note"),
    "syncopation": (float, "the share of syncopated notes, 0 to 1"),
    "closeness": (float, "to the source, from 0 (forget it) to 1 (keep it)"),
    "voices": (int, "1, or 4 as in a chorale"),
    "temperature": (float, "how freely to draw (default: 0.9)"),
    "seed": (int, "the same seed gives the same song (default: 0)"),
}
PLAYING = {
    "instruments": (_instruments, "one for all parts, one per part with commas, or melody=flute,bass=cello"),
    "performer": (str, "auto, sampled, gan or wavenet (default: auto)"),
    "like": (str, "a sound file of an instrument that the melody should sound like"),
    "humanize": (float, "how expressively to play, 0 to 1 (default: 0.3 for `song`, otherwise 0)"),
}
VERBS = {_find: _run_find, _compose: _run_compose, _perform: _run_perform, _song: _run_song, _index: _run_index}
VERBS |= {_novelty: _run_novelty, _train: _run_recipe, _data: _run_list}
