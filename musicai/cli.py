"""The command line: `musicai --help`. Each verb is one function that adds its arguments and returns what runs it."""

import argparse
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterable
from difflib import get_close_matches
from pathlib import Path
from typing import NoReturn

from musicai import __version__
from musicai.storage import cache_dir

__all__ = ["main"]

Run = Callable[[argparse.Namespace], int]


def main(arguments: list[str] | None = None) -> int:
    """Run a command line and return its exit code.

    >>> main(["--version"])  # doctest: +SKIP
    musicai 0.1.0

    Args:
        arguments: the words after `musicai`. None: those of this process.

    Returns: 0 if all went well, 1 after a failure, 2 for a command that makes no sense, 130 after Ctrl-C.

    Preface.
    """
    try:
        try:
            options = _parser().parse_args(arguments)
            return options.run(options)
        finally:
            sys.stdout.flush()
    except BrokenPipeError:  # `musicai data | head -1`: the reader has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        print("musicai: interrupted", file=sys.stderr)
        return 130
    except (OSError, ValueError, ImportError, RuntimeError) as error:
        return _complain(error, 1)


def _complain(error: object, code: int) -> int:
    print("musicai: error:", " ".join(str(error).split()), file=sys.stderr)
    return code


# ---- the verbs


def train(parser: argparse.ArgumentParser) -> Run:
    """train a model as the shipped ones were trained; without NAME, list the recipes"""
    parser.add_argument("name", nargs="?", metavar="NAME", help="the recipe")
    parser.add_argument("--steps", type=_positive, help="training steps (default: as for the shipped model)")
    parser.add_argument("--out", metavar="FOLDER", help="where the model goes (default: runs/NAME)")
    parser.add_argument("--seed", type=int, default=0, help="of all random numbers (default: 0)")
    parser.add_argument("--resume", action="store_true", help="go on with the interrupted run in FOLDER")
    parser.add_argument("--device", help="cpu, cuda, cuda:1 or mps (default: the best one here)")
    return _train


def _train(options: argparse.Namespace) -> int:
    from musicai import recipes

    if options.name is None:
        for name, about in recipes.RECIPES.items():
            print(f"{name:22}{about}")
        return 0
    name = options.name if options.name.endswith(".mat") else _pick(options.name, recipes.RECIPES, "recipe")
    out = Path(options.out or Path("runs", Path(name).stem))
    there = out.is_dir() and any(out.iterdir())
    if there and not options.resume:
        raise FileExistsError(f"{out} is not empty: add --resume to go on with the run there, or choose another --out")
    if options.resume and not there:
        raise FileNotFoundError(f"{out} holds no run to resume")
    if options.device:
        os.environ["MUSICAI_DEVICE"] = options.device
    print(recipes.train(name, out=out, steps=options.steps, seed=options.seed))
    return 0


def data(parser: argparse.ArgumentParser) -> Run:
    """show which sets of music are here and where; fetch, verify or remove one"""
    parser.set_defaults(name=None)
    actions = parser.add_subparsers(metavar="ACTION", title="actions")
    for run in (_fetch, _verify, _remove):
        action = actions.add_parser(run.__name__[1:], help=run.__doc__, description=run.__doc__)
        action.add_argument("name", metavar="NAME", nargs="?" if run is _verify else None, help="as in `musicai data`")
        action.set_defaults(run=run)
    action.add_argument("--yes", action="store_true", help="do not ask")  # for `remove`
    return _list


def _list(options: argparse.Namespace) -> int:
    from musicai.data.catalogue import SETS

    print(f"cache folder: {cache_dir(create=False)}\n")
    for known in SETS.values():
        place = known.place()
        size = _size(known.files()) if place else "not here"
        print(f"{known.name:16}{size:>9}  {known.licence:17}{known.about}\n{'':27}{place or known.absence()}")
    return 0


def _fetch(options: argparse.Namespace) -> int:
    """download a public set into the cache folder"""
    known = _known(options.name)
    if known.place() is None:
        known.fetch(cache_dir())
    print(known.place())
    return 0


def _verify(options: argparse.Namespace) -> int:
    """check hashes, sizes and counts of what is here"""
    from musicai.data.catalogue import SETS

    chosen = [_known(options.name)] if options.name else [known for known in SETS.values() if known.place()]
    code = 0
    for known in chosen:
        here = known.place() is not None
        problems = list(known.problems()) if here else [f"it is not here: {known.absence()}"]
        print(f"{known.name:16}{'not here' if not here else 'wrong' if problems else 'right'}")
        for problem in problems:
            code = _complain(f"{known.name}: {problem}", 1)
    return code


def _remove(options: argparse.Namespace) -> int:
    """delete a set from the cache folder, and nothing elsewhere"""
    known = _known(options.name)
    if not known.cached():
        raise FileNotFoundError(f"{known.name} is not in the cache folder, so there is nothing to remove")
    for path in known.cached():
        if not options.yes and _answer(f"remove {path}? [y/N] ") not in ("y", "yes"):
            print("kept", path)
        elif path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()  # of a link, only the link goes
    return 0


def _answer(question: str) -> str:
    try:
        return input(question).strip().lower()
    except EOFError:
        raise RuntimeError("nobody answered, so nothing was removed; add --yes") from None


VERBS = (train, data)


# ---- what the verbs share


class _Parser(argparse.ArgumentParser):
    """Errors in one line, with a guess at what was meant."""

    def error(self, message: str) -> NoReturn:
        """Print the message and exit with code 2."""
        wrong = re.search(r"invalid choice: '(.*?)' \(choose from (.*)\)", message)
        if wrong:
            message = _unknown("command", wrong[1], re.findall(r"[\w-]+", wrong[2]))
        sys.exit(_complain(f"{message} (see `{self.prog} --help`)", 2))


def _parser() -> argparse.ArgumentParser:
    parser = _Parser("musicai", description="Music AI: find a melody, compose with it, perform it.")
    parser.add_argument("--version", action="version", version=f"musicai {__version__}")
    parser.set_defaults(run=lambda options: parser.print_help() or 0)
    verbs = parser.add_subparsers(metavar="COMMAND", title="commands")
    for verb in VERBS:
        sub = verbs.add_parser(verb.__name__, help=verb.__doc__, description=verb.__doc__)
        sub.set_defaults(run=verb(sub))
    return parser


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of 1 or more")
    return int(text)


def _unknown(what: str, name: str, names: Iterable[str]) -> str:
    near = get_close_matches(name, names, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}?" if near else f"choose from {', '.join(names)}"
    return f"there is no {what} {name!r}; {hint}"


def _pick(name: str, names: Iterable[str], what: str) -> str:
    if name not in names:
        sys.exit(_complain(_unknown(what, name, names), 2))
    return name


def _known(name: str):
    from musicai.data.catalogue import SETS

    return SETS[_pick(name, SETS, "set")]


def _size(files: Iterable[os.PathLike]) -> str:
    size = sum(os.stat(file).st_size for file in files)
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"
