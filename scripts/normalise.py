"""The same run twice gives the same file: no random ids, no traces of the machine."""

import hashlib
import re

import nbformat
from nbformat import NotebookNode

WIDGET_STATE = "application/vnd.jupyter.widget-state+json"
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
KEPT_CELL_METADATA = ("tags", "editable", "slideshow")
REFERENCE = re.compile(r"IPY_MODEL_(\w+)")


def normalise(notebook: NotebookNode) -> NotebookNode:
    """The notebook with ids that count up, only the widgets that are shown, and no volatile metadata."""
    for number, cell in enumerate(notebook.cells, 1):
        cell["id"] = f"cell-{number:03d}"
        cell.metadata = NotebookNode({key: cell.metadata[key] for key in KEPT_CELL_METADATA if key in cell.metadata})
    notebook.metadata["language_info"] = NotebookNode(name="python")
    notebook.nbformat_minor = 5
    _keep_shown_widgets(notebook)
    return _renamed_widgets(notebook)


def _keep_shown_widgets(notebook: NotebookNode) -> None:
    """Drop the state of widgets that no output leads to."""
    state = _state(notebook)
    wanted = [output.data[WIDGET_VIEW]["model_id"] for output in _widget_outputs(notebook)]
    kept = {}
    while wanted:
        model = wanted.pop()
        if model in state and model not in kept:
            kept[model] = state[model]
            wanted += REFERENCE.findall(str(state[model]))
    if kept:
        ordered = {model: state[model] for model in state if model in kept}
        notebook.metadata["widgets"][WIDGET_STATE]["state"] = NotebookNode(ordered)
    else:
        notebook.metadata.pop("widgets", None)


def _renamed_widgets(notebook: NotebookNode) -> NotebookNode:
    """Random ids of widgets give way to ids made from their order."""
    text = nbformat.writes(notebook)
    for number, model in enumerate(_state(notebook)):
        text = text.replace(model, hashlib.sha256(f"widget {number}".encode()).hexdigest()[:32])
    return nbformat.reads(text, as_version=4)


def _state(notebook: NotebookNode) -> dict:
    return notebook.metadata.get("widgets", {}).get(WIDGET_STATE, {}).get("state", {})


def _widget_outputs(notebook: NotebookNode) -> list[NotebookNode]:
    return [
        output for cell in notebook.cells for output in cell.get("outputs", []) if WIDGET_VIEW in output.get("data", {})
    ]
