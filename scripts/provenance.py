"""Where a notebook's stored outputs come from, and whether they may be stored at all."""

import hashlib
import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Any

from nbformat import NotebookNode
from nbformat.v4 import new_markdown_cell

TAG = "provenance"
AUDIO_LIMIT = 2_000_000  # bytes of embedded sound that one page may carry
FIELDS = ("device", "torch", "python", "musicai", "date", "seconds", "scale", "code_hash")
DATA_URI = re.compile(r"data:(\w+)/[\w.+-]+;base64,([A-Za-z0-9+/=\s]+)")
MACHINE_PATH = re.compile(r"(?<![\w.:-])/(?:work|root|home|tmp|Users|content|mnt|opt|srv|usr|var)/[\w.~-]+")


def code_hash(notebook: NotebookNode) -> str:
    """A hash of the code that ignores white space at line ends and around cells."""
    sources = ["\n".join(line.rstrip() for line in cell.source.strip().splitlines()) for cell in code_cells(notebook)]
    return hashlib.sha256(json.dumps([source for source in sources if source]).encode()).hexdigest()[:16]


def sentence(stamp: dict[str, Any]) -> str:
    """The statement at a chapter's foot."""
    minutes, seconds = divmod(round(stamp["seconds"]), 60)
    return (
        f"*Run on {stamp['device']}, torch {stamp['torch']}, on {stamp['date']}, in {minutes}:{seconds:02d}, "
        f"at scale {stamp['scale']}.*"
    )


def stamp_notebook(notebook: NotebookNode, stamp: dict[str, Any]) -> None:
    """Write the stamp into the metadata, and its sentence into the cell tagged "provenance" at the end."""
    notebook.metadata["musicai"] = {**stamp, "code_hash": code_hash(notebook)}
    rest = [cell for cell in notebook.cells if not is_provenance(cell)]
    notebook.cells = [*rest, new_markdown_cell(sentence(stamp), metadata={"tags": [TAG]})]


def is_provenance(cell: NotebookNode) -> bool:
    return cell.cell_type == "markdown" and TAG in cell.metadata.get("tags", [])


def code_cells(notebook: NotebookNode) -> list[NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def problems(notebook: NotebookNode) -> list[str]:
    """Why these stored outputs must not be published; empty if all is well."""
    return [*_stale(notebook), *_noisy(notebook), *_inaccessible(notebook), *_heavy(notebook)]


def _stale(notebook: NotebookNode) -> Iterator[str]:
    stamp = notebook.metadata.get("musicai", {})
    missing = [name for name in FIELDS if name not in stamp]
    if missing:
        yield f"it was never run: its metadata lack {', '.join(missing)}"
        return
    if stamp["code_hash"] != code_hash(notebook):
        yield "its outputs belong to other code than it holds now"
    if not is_provenance(notebook.cells[-1]) or notebook.cells[-1].source.strip() != sentence(stamp):
        yield "its last cell does not say what its metadata say about the run"
    for number, cell in enumerate(code_cells(notebook), 1):
        if cell.source.strip() and cell.execution_count is None:
            yield f"code cell {number} was not executed"


def _noisy(notebook: NotebookNode) -> Iterator[str]:
    for number, output in outputs(notebook):
        if output.output_type == "error":
            yield f"code cell {number} ended in {output.ename}"
        if output.get("name") == "stderr":
            yield f"code cell {number} wrote to stderr: {output.text[:100]!r}"
        for text in texts(output):
            path = MACHINE_PATH.search(DATA_URI.sub("", text))
            if path:
                yield f"code cell {number} shows a path of the machine it ran on: {path.group()}"


def _inaccessible(notebook: NotebookNode) -> Iterator[str]:
    for number, output in outputs(notebook):
        if any(mime.startswith("image/") for mime in output.get("data", {})):
            yield f"code cell {number} shows a picture without alt text; use show(fig, alt=...)"
        for text in texts(output):
            if unnamed(text):
                yield f"code cell {number} shows {unnamed(text)} without alt or aria-label"


def _heavy(notebook: NotebookNode) -> Iterator[str]:
    size = embedded(notebook, "audio")
    if size > AUDIO_LIMIT:
        yield f"its sounds take {size / 1e6:.1f} MB; at most {AUDIO_LIMIT / 1e6:.0f} MB may travel in a page"


def outputs(notebook: NotebookNode) -> Iterator[tuple[int, NotebookNode]]:
    """Each output with the number of its code cell."""
    for number, cell in enumerate(code_cells(notebook), 1):
        for output in cell.outputs:
            yield number, output


def texts(output: NotebookNode) -> list[str]:
    """Everything in an output that a reader may see as text."""
    shown = output.get("data", {}).values()
    return [output.get("text", ""), *(value for value in shown if isinstance(value, str))]


def embedded(notebook: NotebookNode, kind: str) -> int:
    """Bytes that the page carries in data: URIs of this kind, "audio" or "image", including base64's extra third."""
    found = (match for _, output in outputs(notebook) for text in texts(output) for match in DATA_URI.finditer(text))
    return sum(len(match[2]) for match in found if match[1] == kind)


def unnamed(html: str) -> list[str]:
    """The tags of pictures and players in `html` that say nothing to a screen reader."""
    parser = _Names()
    parser.feed(html if "<" in html else "")
    return parser.unnamed


NAMES = {"img": "alt", "audio": "aria-label", "svg": "aria-label", "canvas": "aria-label", "video": "aria-label"}


class _Names(HTMLParser):
    def __init__(self):
        super().__init__()
        self.unnamed: list[str] = []
        self.drawings = 0  # that are open: a drawing inside a drawing is named with it

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in NAMES and not self.drawings and not (dict(attrs).get(NAMES[tag]) or "").strip():
            self.unnamed.append(f"<{tag}>")
        self.drawings += tag == "svg"

    def handle_endtag(self, tag: str) -> None:
        self.drawings -= tag == "svg"
