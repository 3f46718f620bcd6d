"""A downloaded chapter runs alone, under nbval: from the built wheel, offline, in a read-only folder, with no HOME."""

import compileall
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path

import nbformat
import pytest
from filelock import FileLock
from nbformat.v4 import new_code_cell, new_notebook

ROOT = Path(__file__).parent.parent
CHAPTERS = sorted((ROOT / "notebooks").glob("*.ipynb"))
NEEDED_TO_BUILD = ("pyproject.toml", "README.md", "LICENSE*", "musicai")

# Seals the process off: no network but its own loopback, and the folder it works in is read-only even for root.
SEAL = """
set -e
ip link set lo up
mount --bind "$PWD" "$PWD"
mount -o remount,ro,bind "$PWD"
cd "$PWD"
exec "$@"
"""

# Where the system permits no sealing: sockets refuse all but the loopback, in every Python of the run.
NO_NETWORK = """
import socket
connect = socket.socket.connect
def local_only(self, address):
    if self.family in (socket.AF_INET, socket.AF_INET6) and address[0] not in ("127.0.0.1", "::1", "localhost"):
        raise OSError(f"no network in this test: {address}")
    return connect(self, address)
socket.socket.connect = socket.socket.connect_ex = local_only
"""

# nbval alone: importing the other plugins takes longer than some chapters' cells.
NBVAL = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "nbval.plugin"]
NBVAL += ["--nbval-lax", "--nbval-current-env", "--nbval-cell-timeout=300"]

KEPT = ROOT / ".pytest_cache" / "alone"
RUN = os.environ.get("PYTEST_XDIST_TESTRUNUID", f"{os.getpid()} {time.time()}")


def can_seal(folder: Path) -> bool:
    """Whether this system lets us make network and mount namespaces."""
    try:
        run = subprocess.run([*sealed(), "true"], cwd=folder, capture_output=True, check=False)
    except FileNotFoundError:
        return False
    return run.returncode == 0


def sealed() -> list[str]:
    return ["unshare", "--map-root-user", "--net", "--mount", "bash", "-c", SEAL, "bash"]


@pytest.fixture(scope="session")
def wheel() -> Path:
    """The wheel of this checkout; built, and installed beside it, once per run of pytest, for all of its processes."""
    KEPT.mkdir(parents=True, exist_ok=True)
    with FileLock(KEPT / "lock"):
        if not (KEPT / "run").is_file() or (KEPT / "run").read_text() != RUN:
            install(build(KEPT / "wheel"), KEPT / "installed")
            (KEPT / "run").write_text(RUN)
    (built,) = (KEPT / "wheel").glob("musicai-*.whl")
    return built


@pytest.fixture(scope="session")
def installed(wheel) -> Path:
    """A folder with musicai from the wheel, and with what keeps Python off the network."""
    return KEPT / "installed"


def build(out: Path) -> Path:
    """Build the wheel from a copy, so that no build folder is left in the checkout."""
    shutil.rmtree(out, ignore_errors=True)
    skip = shutil.ignore_patterns("__pycache__", "*.egg-info")
    with tempfile.TemporaryDirectory() as source:
        for pattern in NEEDED_TO_BUILD:
            for path in ROOT.glob(pattern):
                copy = shutil.copytree if path.is_dir() else shutil.copy2
                copy(path, Path(source) / path.name, **({"ignore": skip} if path.is_dir() else {}))
        options = ["wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", out, source]
        subprocess.run([sys.executable, "-m", "pip", *options], check=True, capture_output=True)
    (built,) = out.glob("musicai-*.whl")
    return built


def install(wheel: Path, target: Path) -> None:
    shutil.rmtree(target, ignore_errors=True)
    options = ["install", "--quiet", "--no-deps", "--no-index", "--no-compile", "--target", target, wheel]
    subprocess.run([sys.executable, "-m", "pip", *options], check=True, capture_output=True)
    (target / "sitecustomize.py").write_text(NO_NETWORK)
    shutil.copy(ROOT / "tests" / "numba_cache.py", target)
    compileall.compile_dir(target, quiet=2)


def run_alone(notebook: Path, installed: Path, tmp_path: Path) -> subprocess.CompletedProcess:
    """Execute a copy of the notebook in a read-only folder that holds nothing else."""
    folder, home = tmp_path / "alone", tmp_path / "home"
    folder.mkdir()
    home.mkdir()
    shutil.copy(notebook, folder / "chapter.ipynb")
    prefix = sealed() if can_seal(folder) else []
    folder.chmod(0o555)
    # The chapters load what the tests compiled, and the other way round: see numba_cache.py.
    names = ("PATH", "LANG", "TMPDIR", "NUMBA_CACHE_DIR", "NUMBA_CACHE_LOCATOR_CLASSES")
    kept = {name: os.environ[name] for name in names if name in os.environ}
    env = kept | {
        "HOME": str(home),
        "PYTHONPATH": str(installed),
        "PYTHONDONTWRITEBYTECODE": "1",
        "MUSICAI_SCALE": "smoke",
        "OMP_NUM_THREADS": "1",
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
    }
    command = [*prefix, sys.executable, *NBVAL, "chapter.ipynb"]
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False, timeout=570)
    folder.chmod(0o755)
    assert [path.name for path in folder.iterdir()] == ["chapter.ipynb"], "the chapter wrote into its folder"
    return done


class Chapter:
    """One chapter. Each has a class of its own, so that xdist's loadscope can share the chapters between workers."""

    path: Path

    def test_runs_alone(self, installed, tmp_path):
        """Execute every cell with nbval."""
        done = run_alone(self.path, installed, tmp_path)
        assert done.returncode == 0, (done.stdout + done.stderr)[-5000:]
        cells = [cell for cell in nbformat.read(self.path, as_version=4).cells if cell.cell_type == "code"]
        assert re.search(rf"^{len(cells)} passed", done.stdout, re.MULTILINE), done.stdout[-500:]


for path in [*CHAPTERS[::2], *CHAPTERS[1::2]]:  # neighbours call the same compiled functions: one would wait
    globals()[f"Test_{path.stem}"] = type(f"Test_{path.stem}", (Chapter,), {"path": path})


def trial(tmp_path: Path, *sources: str) -> Path:
    path = tmp_path / "trial.ipynb"
    nbformat.write(new_notebook(cells=[new_code_cell(source) for source in sources]), path)
    return path


def test_the_wheel_carries_the_trained_models(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    folder = ROOT / "musicai" / "checkpoints"
    shipped = {str(path.relative_to(ROOT)) for path in folder.rglob("*") if path.is_file()}
    assert shipped <= names, sorted(shipped - names)


def test_the_seal_lets_a_sound_notebook_run_and_shows_it_the_wheel(installed, tmp_path):
    look = f"""import os, musicai, musicai.scale
assert musicai.__file__.startswith({json.dumps(str(installed))}), musicai.__file__
assert os.listdir(".") == ["chapter.ipynb"]
assert musicai.scale.current_scale() == "smoke"
"""
    done = run_alone(trial(tmp_path, look), installed, tmp_path)
    assert done.returncode == 0, done.stdout[-3000:]


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("import socket; socket.create_connection(('198.51.100.1', 80), 2)", "no network in this test|unreachable"),
        ("open('more.txt', 'w')", "Read-only file system|Permission denied"),
    ],
)
def test_the_seal_holds(source, why, installed, tmp_path):
    """A chapter that needs the network, its folder or the checkout fails here."""
    if "more.txt" in source and os.geteuid() == 0 and not can_seal(tmp_path):
        pytest.skip("root writes into any folder, and this system permits no read-only mount")
    done = run_alone(trial(tmp_path, source), installed, tmp_path)
    assert done.returncode != 0
    assert any(word in done.stdout for word in why.split("|")), done.stdout[-1000:]


def test_the_wheel_holds_the_data_and_no_tests(wheel):
    from zipfile import ZipFile

    names = ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names if not name.startswith("musicai-")} == {"musicai"}
    shipped = ROOT / "musicai" / "data" / "shipped"
    wanted = (
        {str(path.relative_to(ROOT)) for path in shipped.rglob("*") if path.is_file()} if shipped.exists() else set()
    )
    assert wanted <= set(names), "run `git status`: data that is not in the wheel cannot reach a reader"
