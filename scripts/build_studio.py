"""Build what the book's front page loads: the data, and all modules in one script. Chapter 8.

    python scripts/build_studio.py

A page that is a file may neither import modules nor fetch data. So the modules of book/_static/studio/ are joined into
`studio.bundle.js`, a classic script, and the data come as scripts, too. Whatever is newer than its sources is kept.
"""

import re
from collections.abc import Callable, Sequence
from pathlib import Path

import musicai
from scripts.studio_index import write_index
from scripts.studio_instrument import write_instrument
from scripts.studio_tunes import write_tunes

ROOT = Path(__file__).resolve().parents[1]
STUDIO = ROOT / "book" / "_static" / "studio"
PACKAGE = Path(musicai.__file__).parent
IMPORT = re.compile(r'^import \{(.+?)\} from "\./(\w+)\.js";\n', re.MULTILINE)
EXPORT = re.compile(r"^export (?=(?:async )?(?:function\*?|class|const) (\w+))", re.MULTILINE)
# The outer function is also the text of the worker, which has no page to import from.
BUNDLE = """\
// Made by scripts/build_studio.py from the modules beside it.
(() => {{
const modules = () => {{
{modules}
return {{ start: $studio.start, serve: $worker.serve }};
}};
const base = document.currentScript.src.replace(/[^/]*$/, "");
modules().start(base, `(${{modules}})().serve(self)`);
}})();
"""


def bundle(folder: Path, entries: Sequence[str] = ("studio", "worker")) -> str:
    """Join modules into one classic script, each inside a function of its own.

    Args:
        folder: where the modules are.
        entries: the modules to begin with; what they import comes before them.

    Returns: the script.

    Raises:
        ValueError: if modules import each other in a circle, or import or export in a form that isn't understood.
    """
    done: dict[str, str] = {}

    def add(name: str, path: tuple[str, ...] = ()) -> None:
        if name in path:
            raise ValueError(f"modules import each other in a circle: {' -> '.join([*path, name])}")
        if name not in done:
            text = (folder / f"{name}.js").read_text()
            for _, needed in IMPORT.findall(text):
                add(needed, (*path, name))
            done[name] = wrapped(name, text)

    for entry in entries:
        add(entry)
    return BUNDLE.format(modules="\n".join(done.values()))


def wrapped(name: str, text: str) -> str:
    """One module as the value of a function: `const $name = (() => { ...; return { its exports }; })();`."""
    exports = EXPORT.findall(text)
    text = IMPORT.sub(lambda found: f"const {{{found[1].replace(' as ', ': ')}}} = ${found[2]};\n", text)
    text = EXPORT.sub("", text)
    if left := re.search(r"^(?:import|export)\b.*", text, re.MULTILINE):
        raise ValueError(f"{name}.js: {left[0]!r} is not a form of import or export that the bundle knows")
    return f"const ${name} = (() => {{\n{text}return {{ {', '.join(exports)} }};\n}})();"


def outdated(target: Path, sources: Sequence[Path]) -> bool:
    """Whether a file is missing or older than one of its sources."""
    return not target.exists() or target.stat().st_mtime < max(path.stat().st_mtime for path in sources)


def sources_of(write: Callable, *folders: str) -> list[Path]:
    """What a data file depends on: the script that writes it, and parts of the package."""
    files = [path for folder in folders for path in (PACKAGE / folder).rglob("*")]
    files = [path for path in files if path.suffix in {".py", ".json", ".safetensors"}]
    return [Path(write.__code__.co_filename), *files]


def build(folder: Path = STUDIO) -> list[Path]:
    """Write whatever is missing or out of date; returns what was written."""
    data = {
        "index": (write_index, ["data", "notes", "search"]),
        "tunes": (write_tunes, ["checkpoints/tunes"]),
        "instrument": (write_instrument, ["checkpoints/distilled-instrument"]),
    }
    written = []
    for name, (write, parts) in data.items():
        if outdated(folder / f"{name}.data.js", sources_of(write, *parts)):
            write(folder)
            written.append(folder / f"{name}.data.js")
    target, modules = folder / "studio.bundle.js", sorted(folder.glob("*.js"))
    modules = [path for path in modules if path.suffixes == [".js"]]
    if outdated(target, [*modules, Path(__file__)]):
        target.write_text(bundle(folder))
        written.append(target)
    return written


if __name__ == "__main__":
    for path in build():
        print(f"{path.relative_to(ROOT)}: {path.stat().st_size / 1e6:.2f} MB")
