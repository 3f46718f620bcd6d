"""Collect the wheels for `make gpu` on a machine with CUDA torch but no network: `python scripts/gpu_wheels.py`.

Such a machine has torch, NumPy, SciPy, scikit-learn, numba, matplotlib, pytest and hypothesis; the rest is about 22 MB.
Only the part of music21's data that the book reads is kept. `make gpu` looks for the wheels in _build/wheels, which
git ignores, so copy that folder to the machine too.
"""

import argparse
import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SOUND = "pyloudnorm soundfile cffi pycparser soxr platformdirs librosa audioread decorator pooch"
SCORES = "music21 chardet jsonpickle more-itertools verovio webcolors"
KERNEL = "ipykernel comm nest-asyncio2 traitlets jupyter-client jupyter-core pyzmq tornado"
SHELL = "ipython ipython-pygments-lexers matplotlib-inline prompt-toolkit wcwidth stack-data executing asttokens"
SHELL += " pure-eval pexpect ptyprocess"
BOOK = "ipywidgets nbclient nbformat fastjsonschema jsonschema jsonschema-specifications referencing rpds-py"
KEPT = ("ryansMammoth", "oneills1850", "airdsAirs")  # of music21/corpus
DATA = ("audioSearch", "corpus", "languageExcerpts", "mei", "musicxml", "omr")  # where music21 keeps large files
GLIBC = ("1", "2010", "2014", "_2_17", "_2_24", "_2_26", "_2_27", "_2_28", "_2_31", "_2_34")


def slim(wheel: Path) -> None:
    """Remove what the book does not read from music21's wheel: scores, recordings, lists of words."""
    small = wheel.with_suffix(".tmp")
    with zipfile.ZipFile(wheel) as old, zipfile.ZipFile(small, "w", zipfile.ZIP_DEFLATED) as new:
        for item in old.infolist():
            parts = Path(item.filename).parts
            if item.filename.endswith(".py") or parts[1] not in DATA or parts[2] in KEPT:
                new.writestr(item, old.read(item))
    small.replace(wheel)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path, default=ROOT / "_build" / "wheels")
    parser.add_argument("--python", default="3.12", help="version on the other machine, which runs Linux on x86-64")
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    for old in args.folder.glob("*.whl"):  # two versions of one package would stop the whole installation
        old.unlink()
    names = " ".join([SOUND, SCORES, KERNEL, SHELL, BOOK]).split()
    platforms = [f"--platform=manylinux{version}_x86_64" for version in GLIBC]
    how = ["--no-deps", "--only-binary=:all:", "--implementation=cp", f"--python-version={args.python}", *platforms]
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--constraint", ROOT / "constraints.txt", *how]
    subprocess.run([*pip, "--dest", args.folder, *names], check=True)
    slim(next(args.folder.glob("music21-*.whl")))
    wheels = list(args.folder.glob("*.whl"))
    print(f"{len(wheels)} wheels, {sum(wheel.stat().st_size for wheel in wheels) / 1e6:.0f} MB, in {args.folder}")


if __name__ == "__main__":
    main()
