"""Execute the chapters and store their outputs, each with a stamp that says where, when and from which code.

    python scripts/run_notebooks.py                       every chapter, at the scale of MUSICAI_SCALE
    python scripts/run_notebooks.py notebooks/01_*.ipynb  only these
    python scripts/run_notebooks.py --stale               those whose outputs do not match their code
    python scripts/run_notebooks.py --check               run nothing; exit 1 if stored outputs are not in order

A chapter that fails keeps its old file.
"""

import argparse
import os
import platform
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import nbformat
import torch
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbformat import NotebookNode
from normalise import normalise
from provenance import problems, stamp_notebook

import musicai
from musicai.scale import current_scale
from musicai.storage import atomic_write

NOTEBOOKS = Path(__file__).resolve().parent.parent / "notebooks"
KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}


def chapters() -> list[Path]:
    return sorted(NOTEBOOKS.glob("[0-9][0-9]_*.ipynb"))


def run(path: Path, timeout: float | None = None) -> NotebookNode:
    """Execute a notebook in an empty folder and return the result, ready to be stored.

    Raises:
        RuntimeError: if a cell failed, or the outputs must not be published.
    """
    notebook = cleared(nbformat.read(path, as_version=4))
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        client = NotebookClient(
            notebook,
            timeout=timeout,
            kernel_name="python3",
            resources={"metadata": {"path": folder}},
            record_timing=False,
            coalesce_streams=True,
        )
        try:
            client.execute()
        except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
            raise RuntimeError(str(error)) from error
    stamp_notebook(notebook, stamp(time.monotonic() - start))
    notebook = normalise(notebook)
    if problems(notebook):
        raise RuntimeError("\n".join(problems(notebook)))
    return notebook


def cleared(notebook: NotebookNode) -> NotebookNode:
    """The notebook without its outputs and without what past runs left in the metadata."""
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    notebook.metadata = NotebookNode({"kernelspec": KERNEL, "language_info": {"name": "python"}})
    return notebook


def stamp(seconds: float) -> dict[str, Any]:
    """Where and how the chapter ran."""
    return {
        "device": device_name(),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "musicai": musicai.__version__,
        "date": datetime.now(UTC).date().isoformat(),
        "seconds": round(seconds, 1),
        "scale": current_scale(),
    }


def device_name() -> str:
    """The GPU's name, or else the CPU's and its number of cores."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        name = next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        name = platform.processor() or platform.machine()
    return f"a CPU ({name}, {os.cpu_count()} cores)"


def store(notebook: NotebookNode, path: Path) -> None:
    """Replace the file in one step, so that it is never half written."""
    with atomic_write(path) as file:
        file.write(f"{nbformat.writes(notebook)}\n".encode())


def check(paths: list[Path]) -> int:
    """Print what is wrong with the stored outputs; returns how many notebooks are affected."""
    found = {path.name: problems(nbformat.read(path, as_version=4)) for path in paths}
    for name, why in found.items():
        print(f"{name}: {'; '.join(why) or 'in order'}")
    return sum(map(bool, found.values()))


def run_all(paths: list[Path], timeout: float | None) -> int:
    """Run and store each notebook; returns how many failed."""
    failed = 0
    for path in paths:
        print(f"{path.name}: running at scale {current_scale()} ...", flush=True)
        try:
            notebook = run(path, timeout)
        except RuntimeError as error:
            failed += 1
            print(f"{path.name}: failed; its old outputs stay\n{error}", file=sys.stderr)
        else:
            store(notebook, path)
            print(f"{path.name}: {notebook.cells[-1].source.strip('*')}")
    return failed


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("notebooks", nargs="*", type=Path, help="default: every chapter")
    parser.add_argument("--check", action="store_true", help="run nothing; check the stored outputs")
    parser.add_argument("--stale", action="store_true", help="run only those whose stored outputs are not in order")
    parser.add_argument("--timeout", type=float, help="seconds that a cell may take (default: no limit)")
    options = parser.parse_args()
    paths = options.notebooks or chapters()
    missing = [str(path) for path in paths if not path.is_file()]
    if missing:
        parser.error(f"no such notebook: {', '.join(missing)}")
    if options.check:
        return min(check(paths), 1)
    if options.stale:
        paths = [path for path in paths if problems(nbformat.read(path, as_version=4))]
    return min(run_all(paths, options.timeout), 1)


if __name__ == "__main__":
    sys.exit(main())
