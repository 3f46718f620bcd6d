"""The first code cell of every chapter: it must work before musicai is installed, so its text is fixed and lives here.

python scripts/first_cell.py                       print it
python scripts/first_cell.py notebooks/*.ipynb     put it into these notebooks
"""

import sys
import tomllib
from pathlib import Path

import nbformat

ROOT = Path(__file__).resolve().parent.parent
TAG = "setup"

TEMPLATE = """\
# Installs musicai where it is missing (as on Colab); an installed torch or numpy stays as it is.
import subprocess
import sys
from importlib.metadata import version
from importlib.util import find_spec

if find_spec("musicai") is None:
    source = "musicai[notebook,corpus] @ git+{address}"
    keep = [f"{{name}}=={{version(name)}}" for name in ("torch", "numpy") if find_spec(name)]
    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", source, *keep], check=True)
    print("Installed musicai beside", *keep)

import torch

if torch.cuda.is_available():
    print("GPU:", torch.cuda.get_device_name())
else:
    print("No GPU: everything runs, the long steps at a smaller scale.")
    print("On Colab, for a GPU: Runtime > Change runtime type > T4 GPU.")"""


def address() -> str:
    """The repository's address, read from pyproject.toml, the only place that defines it."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["urls"]["Repository"]


def first_cell() -> str:
    """The text of the cell."""
    return TEMPLATE.format(address=address())


def insert(path: Path) -> None:
    """Make it the notebook's first code cell, replacing any older one."""
    notebook = nbformat.read(path, as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    if code and TAG in code[0].metadata.get("tags", []):
        code[0].source = first_cell()
    else:
        after_title = 1 if notebook.cells and notebook.cells[0].cell_type == "markdown" else 0
        notebook.cells.insert(after_title, nbformat.v4.new_code_cell(first_cell(), metadata={"tags": [TAG]}))
    nbformat.write(notebook, path)


if __name__ == "__main__":
    for name in sys.argv[1:]:
        insert(Path(name))
    if not sys.argv[1:]:
        print(first_cell())
