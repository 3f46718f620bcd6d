"""The same run twice gives the same file: no random ids, no traces of the machine."""

import hashlib
import json
import re

import nbformat
from nbformat import NotebookNode

WIDGET_STATE = "application/vnd.jupyter.widget-state+json"
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
KEPT_CELL_METADATA = ("tags", "editable", "slideshow")
REFERENCE = re.compile(r"IPY_MODEL_(\w+)")


def normalise(notebook: NotebookNode) -> NotebookNode:
    """The notebook with consecutive ids, only the widgets that are shown, and no volatile metadata."""
    for number, cell in enumerate(notebook.cells, 1):
        cell["id"] = f"cell-{number:03d}"
        cell.metadata = NotebookNode({key: cell.metadata[key] for key in KEPT_CELL_METADATA if key in cell.metadata})
    notebook.metadata["language_info"] = NotebookNode(name="python")
    notebook.nbformat_minor = 5
    _keep_shown_widgets(notebook)
    return _renamed_widgets(notebook)


def _keep_shown_widgets(notebook: NotebookNode) -> None:
    """Drop the state of widgets that no output refers to."""
    state = _state(notebook)
    shown = _shown_widgets(notebook)
    if shown:
        notebook.metadata["widgets"][WIDGET_STATE]["state"] = NotebookNode({model: state[model] for model in shown})
    else:
        notebook.metadata.pop("widgets", None)


def _shown_widgets(notebook: NotebookNode) -> list[str]:
    """The widgets that outputs refer to, in an order that survives storing and reading the file."""
    state = _state(notebook)
    wanted = [output.data[WIDGET_VIEW]["model_id"] for output in _widget_outputs(notebook)]
    shown = []
    while wanted:
        model = wanted.pop()
        if model in state and model not in shown:
            shown.append(model)
            wanted += REFERENCE.findall(json.dumps(state[model], sort_keys=True))  # a stored file has its keys sorted
    return shown


def _renamed_widgets(notebook: NotebookNode) -> NotebookNode:
    """Replace random widget ids by ids made from their order."""
    new = {
        model: hashlib.sha256(f"widget {i}".encode()).hexdigest()[:32]
        for i, model in enumerate(_shown_widgets(notebook))
    }
    if not new:
        return notebook
    text = re.sub("|".join(new), lambda found: new[found[0]], nbformat.writes(notebook))
    return nbformat.reads(text, as_version=4)


def _state(notebook: NotebookNode) -> dict:
    return notebook.metadata.get("widgets", {}).get(WIDGET_STATE, {}).get("state", {})


def _widget_outputs(notebook: NotebookNode) -> list[NotebookNode]:
    return [
        output for cell in notebook.cells for output in cell.get("outputs", []) if WIDGET_VIEW in output.get("data", {})
    ]
