"""Truths about the repository itself: one list of requirements, one address, arrows that point one way."""

import ast
import os
import re
import subprocess
import sys
import tokenize
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parent.parent
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PACKAGE = ROOT / "musicai"

# Who may import whom inside the package. Only cli, notebook and exercises see everything.
FLOOR = {"audio", "extras", "notes", "pretrained", "scale", "storage", "threads", "train"}
MODELS = {"data", "gmm", "gan", "wavenet"}
VERBS = {"search", "composition", "performance", "metrics"}
ARROWS = {
    "extras": set(),
    "storage": set(),
    "threads": set(),
    "scale": set(),
    "audio": {"storage", "threads"},
    "notes": {"extras", "storage"},
    "train": {"storage"},
    "pretrained": {"extras", "storage"},
    "data": {"audio", "extras", "notes", "storage"},
    "gmm": {"storage", "threads", "train"},
    "gan": FLOOR,
    "wavenet": FLOOR | {"gmm"},
    "performance": FLOOR | MODELS,
    "search": FLOOR | {"data", "gmm"},
    "composition": FLOOR | MODELS | {"search"},
    "chain": FLOOR | {"search", "composition", "performance"},
    "metrics": FLOOR | {"data"},
    "recipes": FLOOR | MODELS | VERBS,
    "__main__": {"cli"},
}
SEE_EVERYTHING = {"cli", "notebook", "exercises"}
LAZY_ONLY = {"matplotlib", "IPython", "ipywidgets", "librosa", "music21", "sklearn", "symusic"}
ALLOWED = {"gmm": {"sklearn"}}  # inherits its base classes


def parts() -> list[str]:
    return sorted({p.relative_to(PACKAGE).parts[0].removesuffix(".py") for p in PACKAGE.rglob("*.py")} - {"__init__"})


def files(part: str) -> list[Path]:
    single = PACKAGE / f"{part}.py"
    return [single] if single.exists() else sorted((PACKAGE / part).rglob("*.py"))


def imports(path: Path, top_level_only: bool = False) -> set[str]:
    """Absolute dotted names imported by a file."""
    tree = ast.parse(path.read_text())
    package = ".".join(path.relative_to(ROOT).parts[:-1])
    found = set()
    for node in tree.body if top_level_only else ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = package.rsplit(".", node.level - 1)[0] if node.level else ""
            base = ".".join(x for x in (above, node.module) if x)
            found |= {f"{base}.{alias.name}" for alias in node.names}
    return found


@pytest.mark.parametrize("part", parts())
def test_arrows_point_one_way(part):
    if part in SEE_EVERYTHING:
        return
    allowed = ARROWS[part] | {part} if part in ARROWS else None
    assert allowed is not None, f"musicai.{part} is new: say in ARROWS what it may import"
    for path in files(part):
        used = {name.split(".")[1] for name in imports(path) if name.startswith("musicai.")}
        assert used <= allowed, f"{path.relative_to(ROOT)} imports {sorted(used - allowed)}"


@pytest.mark.parametrize("part", parts())
def test_heavy_libraries_are_imported_only_where_they_are_used(part):
    if part == "notebook":
        return
    for path in files(part):
        used = {name.split(".")[0] for name in imports(path, top_level_only=True)} & LAZY_ONLY
        assert used <= ALLOWED.get(part, set()), f"{path.relative_to(ROOT)} imports {used} at module level"


def test_import_is_instant_and_light():
    code = "import sys, time as t; import musicai; print(t.process_time(), *sys.modules)"  # a busy machine's clock lies
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd="/").stdout
    seconds, *modules = out.split()
    assert not set(modules) & (LAZY_ONLY | {"torch", "numpy"})
    assert float(seconds) < 1


def test_submodules_load_on_first_use():
    code = "import musicai; print(musicai.audio.mu_law_encode.__module__, musicai.find.__module__); musicai.nothing"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd="/")
    assert run.stdout.split() == ["musicai.audio.signal", "musicai.search.library"]
    assert "has no attribute 'nothing'; it has find, compose, perform, song, audio" in run.stderr


def test_conda_environment_asks_for_what_pyproject_asks():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    python, _, pip = environment["dependencies"]
    assert python == f"python{PYPROJECT['project']['requires-python']}"
    (requirement,) = pip["pip"]
    extras = set(re.fullmatch(r"-e \.\[(.+)\]", requirement)[1].split(","))
    assert extras <= set(PYPROJECT["project"]["optional-dependencies"])
    makefile = (ROOT / "Makefile").read_text()
    assert set(re.search(r"--editable '\.\[(.+?)\]'", makefile)[1].split(",")) == extras


def requirement_names(extra: str) -> set[str]:
    names = set()
    for line in PYPROJECT["project"]["optional-dependencies"][extra]:
        name = re.match(r"[\w.-]+", line)[0].lower()
        inner = re.match(r"musicai\[(.+)\]", line)
        names |= set().union(*(requirement_names(x) for x in inner[1].split(","))) if inner else {name}
    return names


def test_constraints_pin_every_requirement():
    pinned = {
        line.split("==")[0].lower().replace("_", "-")
        for line in (ROOT / "constraints.txt").read_text().splitlines()
        if "==" in line
    }
    wanted = requirement_names("book") | requirement_names("test")
    wanted |= {re.match(r"[\w.-]+", line)[0].lower() for line in PYPROJECT["project"]["dependencies"]}
    assert wanted <= pinned


def test_one_address_everywhere():
    address = PYPROJECT["project"]["urls"]["Repository"]
    config = yaml.safe_load((ROOT / "_config.yml").read_text())
    assert config["repository"]["url"] == address
    for path in [ROOT / "README.md", *ROOT.glob("book/*.md"), *ROOT.glob("notebooks/*.ipynb")]:
        for found in re.findall(r"https://github\.com/[\w.-]+/musicai\b", path.read_text()):
            assert found == address, path


def test_version_is_written_the_same():
    import musicai

    assert musicai.__version__ == PYPROJECT["project"]["version"]
    assert f"## {musicai.__version__}" in (ROOT / "CHANGELOG.md").read_text()


def test_readme_tree_names_every_part():
    readme = (ROOT / "README.md").read_text()
    for part in parts():
        assert f"{part}.py" in readme or f"{part}/" in readme, f"README's tree lacks {part}"


@pytest.mark.skipif(not os.access(ROOT / ".git", os.R_OK), reason="not a git checkout")
def test_no_machine_paths_or_registry_hosts():
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    bad = re.compile(r"/work/main|/root/|/home/[a-z]+/|pypi\.org|pythonhosted|registry\.npmjs|deb\.debian\.org")
    for name in listed.split("\0"):
        path = ROOT / name
        if not name or "vendor" in path.parts or path == Path(__file__) or not path.is_file():
            continue
        text = path.read_bytes().decode("utf-8", "ignore") if path.suffix not in {".flac", ".mat"} else ""
        assert not bad.search(text), f"{name}: {bad.search(text)[0]}"


def packages() -> list[Path]:
    return sorted(p.parent for p in PACKAGE.rglob("__init__.py"))


@pytest.mark.parametrize("package", packages(), ids=lambda p: str(p.relative_to(ROOT)))
def test_no_name_is_both_a_module_and_a_function(package):
    """Whichever was imported last would own the name."""
    modules = {p.stem for p in package.glob("*.py")} | {p.parent.name for p in package.glob("*/__init__.py")}
    public = {n.name for n in definitions(package) if not n.name.startswith("_")}
    assert not modules & public, f"{package.name} has modules and functions called {sorted(modules & public)}"


def definitions(package: Path) -> list[ast.AST]:
    """Functions and classes at the top level of a package's own files."""
    kinds = ast.FunctionDef | ast.ClassDef
    return [n for p in package.glob("*.py") for n in ast.parse(p.read_text()).body if isinstance(n, kinds)]


def test_no_class_name_exists_twice():
    names = [n.name for package in packages() for n in definitions(package) if isinstance(n, ast.ClassDef)]
    twice = sorted({name for name in names if names.count(name) > 1 and not name.startswith("_")})
    assert not twice, f"two classes are called {', '.join(twice)}"


def test_no_circles_inside_a_room():
    """Files of one room import each other one way only."""
    for part in parts():
        arrows = {path: imports(path, top_level_only=True) for path in files(part)}
        module = {path: ".".join(path.relative_to(ROOT).with_suffix("").parts) for path in arrows}
        after = {p: {q for q, name in module.items() if q != p and any(n.startswith(f"{name}.") for n in used)}
                 for p, used in arrows.items()}  # fmt: skip
        done = set()
        while ready := {p for p, needs in after.items() if needs <= done} - done:
            done |= ready
        assert len(done) == len(after), f"{part}: circle among {sorted(p.name for p in after if p not in done)}"


def code_lines(path: Path) -> int:
    """Lines of code of a file, without blank lines, comments and docstrings."""
    kinds = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    docs = [n.body[0] for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, kinds) and ast.get_docstring(n)]
    skip = {line for doc in docs for line in range(doc.lineno, doc.end_lineno + 1)}
    nothing = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}
    with path.open("rb") as file:
        tokens = [t for t in tokenize.tokenize(file.readline) if t.type not in nothing | {tokenize.ENCODING}]
    return len({line for t in tokens for line in range(t.start[0], t.end[0] + 1)} - skip)


def test_the_package_stays_small():
    """The budgets that README promises, for the package and for the teaching core that it names."""
    readme = (ROOT / "README.md").read_text()
    core = [PACKAGE / name for line in re.findall(r"^core: (.+)$", readme, re.MULTILINE) for name in line.split()]
    assert len(core) > 20
    assert sum(map(code_lines, core)) < 2_500
    assert sum(map(code_lines, PACKAGE.rglob("*.py"))) < 12_830
