"""What the stored chapters promise: their outputs are their code's, complete, accessible and small."""

import json
import re
import statistics
import subprocess
import sys
from datetime import date
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "scripts"))
import first_cell  # noqa: E402
import normalise  # noqa: E402
import provenance  # noqa: E402
import run_notebooks  # noqa: E402

from musicai import exercises  # noqa: E402

CHAPTERS = sorted((ROOT / "notebooks").glob("*.ipynb"))
chapter = pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
STAMP = {
    "device": "a CPU (Abacus, 2 cores)",
    "torch": "2.13.0",
    "python": "3.11.7",
    "musicai": "0.1.0",
    "date": "2026-08-01",
    "seconds": 65.4,
    "scale": "cpu",
}


def read(path: Path):
    return nbformat.read(path, as_version=4)


# Each chapter


@chapter
def test_stored_outputs_are_in_order(path):
    """Of this code, said so at the foot, no errors, no noise, no machine's paths, alt texts, small audio."""
    assert provenance.problems(read(path)) == []


@chapter
def test_the_notebook_is_valid_and_normal(path):
    notebook = read(path)
    nbformat.validate(notebook)
    assert normalise.normalise(read(path)) == notebook, "store chapters with `make notebooks`"
    assert date.fromisoformat(notebook.metadata["musicai"]["date"]) <= date.today()
    assert re.fullmatch(r"\d\d_\w+", path.stem)


@chapter
def test_the_first_code_cell_is_the_canonical_one(path):
    assert provenance.code_cells(read(path))[0].source == first_cell.first_cell(), (
        f"put it right with: python scripts/first_cell.py {path.relative_to(ROOT)}"
    )


@chapter
def test_cells_are_short(path):
    lengths = sorted(len(cell.source.splitlines()) for cell in provenance.code_cells(read(path)))
    assert statistics.median(lengths) <= 8
    assert lengths[int(0.9 * (len(lengths) - 1))] <= 20


@chapter
def test_the_chapter_has_figures_sound_an_interaction_and_exercises(path):
    notebook = read(path)
    shown = "".join(text for _, output in provenance.outputs(notebook) for text in provenance.texts(output))
    assert "<img" in shown
    assert "<audio" in shown
    assert any(mark in shown for mark in ("musicai-explore", "<div data-page>", "musicai-browse"))
    assert exercises_in(path)


def exercises_in(path: Path) -> set[str]:
    """The numbers of the exercises that a notebook checks."""
    code = "\n".join(cell.source for cell in provenance.code_cells(read(path)))
    return set(re.findall(r"""\bcheck\(["']([\d.]+)["']""", code))


@pytest.mark.parametrize("number", exercises.exercises())
def test_each_exercise_is_in_one_notebook_of_its_chapter(number):
    found = [path.stem for path in CHAPTERS if number in exercises_in(path)]
    assert len(found) == 1, f"exercise {number} is in {found}"
    assert found[0].startswith(number[:2])


@chapter
def test_the_interaction_is_stored_as_it_stood(path):
    notebook = read(path)
    state = notebook.metadata.get("widgets", {}).get(normalise.WIDGET_STATE, {}).get("state", {})
    views = [output.data.get(normalise.WIDGET_VIEW) for _, output in provenance.outputs(notebook) if "data" in output]
    for view in filter(None, views):
        assert view["model_id"] in state


def test_the_notebooks_of_a_chapter_begin_with_its_name():
    stems = sorted((path.stem for path in CHAPTERS), key=len)
    for number in {stem[:2] for stem in stems}:
        first, *others = [stem for stem in stems if stem.startswith(number)]
        assert all(stem.startswith(first + "_") for stem in others)


# The first cell, and the address


def test_the_address_is_the_same_everywhere():
    address = first_cell.address()
    owner = address.split("/")[-2]
    files = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\n")
    wanted = [name for name in files if Path(name).suffix in {".toml", ".yml", ".yaml", ".md", ".ipynb", ".sh", ".cff"}]
    seen = 0
    for name in wanted:
        if not (ROOT / name).is_file():
            continue
        for found in re.findall(r"github(?:\.com)?/([\w.-]+)/musicai(?![\w-])", (ROOT / name).read_text()):
            assert found == owner, f"{name} has another address of the repository: {found}/musicai"
            seen += 1
    assert seen >= 2, "pyproject.toml and _config.yml hold the address"


def run_first_cell(tmp_path: Path, missing: bool) -> list[list[str]]:
    """Run the cell in a Python that has or lacks musicai; the commands that it would have started."""
    log = tmp_path / "commands.json"
    prelude = f"""
import importlib.util, json, subprocess
find = importlib.util.find_spec
importlib.util.find_spec = lambda name: None if name == "musicai" and {missing} else find(name)
commands = []
subprocess.run = lambda command, **options: commands.append([command, options])
"""
    epilogue = f"\nopen({str(log)!r}, 'w').write(json.dumps(commands))"
    code = prelude + first_cell.first_cell() + epilogue
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, cwd=tmp_path)
    return json.loads(log.read_text())


def test_the_first_cell_installs_nothing_where_musicai_is(tmp_path):
    assert run_first_cell(tmp_path, missing=False) == []


def test_the_first_cell_installs_musicai_and_pins_the_torch_that_is_there(tmp_path):
    import torch

    ((command, options),) = run_first_cell(tmp_path, missing=True)
    assert command[:4] == [sys.executable, "-m", "pip", "install"]
    assert f"musicai[notebook,corpus] @ git+{first_cell.address()}" in command
    assert f"torch=={torch.__version__}" in command
    assert options == {"check": True}


def test_the_first_cell_can_be_put_into_a_notebook_twice(tmp_path):
    path = tmp_path / "01_new.ipynb"
    nbformat.write(new_notebook(cells=[new_markdown_cell("# New"), new_code_cell("1 + 1")]), path)
    first_cell.insert(path)
    first_cell.insert(path)
    assert [cell.source for cell in read(path).cells] == ["# New", first_cell.first_cell(), "1 + 1"]


# The judge itself: each defect, put into a sound notebook, is found


def good():
    """A notebook in order, with a figure and a sound."""
    html = (
        '<img alt="A figure" src="data:image/webp;base64,AAAA"><audio aria-label="A" src="data:audio/mpeg;base64,AAAA">'
    )
    cells = [
        new_markdown_cell("# Title"),
        new_code_cell(
            "x = 1\nx", execution_count=1, outputs=[new_output("stream", name="stdout", text="see a/b/home/x")]
        ),
        new_code_cell("show()", execution_count=2, outputs=[new_output("display_data", {"text/html": html})]),
    ]
    notebook = new_notebook(cells=cells)
    provenance.stamp_notebook(notebook, STAMP)
    return notebook


def set_output(notebook, **fields):
    notebook.cells[1].outputs[0].update(fields)


def show_html(notebook, html):
    notebook.cells[2].outputs[0].data["text/html"] = html


def show_png(notebook):
    notebook.cells[2].outputs[0].data["image/png"] = "AAAA"


def fail(notebook):
    notebook.cells[1].outputs.append(new_output("error", ename="ValueError", evalue="", traceback=[]))


DEFECTS = {
    "code changed": (lambda n: n.cells[1].update(source="x = 2\nx"), "other code"),
    "line added": (lambda n: n.cells[1].update(source="x = 1\nx\nx"), "other code"),
    "cell added": (lambda n: n.cells.insert(1, new_code_cell("y = 1", execution_count=1)), "other code"),
    "cell removed": (lambda n: n.cells.pop(1), "other code"),
    "cells swapped": (lambda n: n.cells.insert(1, n.cells.pop(2)), "other code"),
    "indentation changed": (lambda n: n.cells[1].update(source="x = 1\n x"), "other code"),
    "not executed": (lambda n: n.cells[1].update(execution_count=None), "not executed"),
    "other device": (lambda n: n.metadata["musicai"].update(device="a GPU"), "last cell"),
    "other date at the foot": (lambda n: n.cells[-1].update(source="*Run on*"), "last cell"),
    "nothing at the foot": (lambda n: n.cells.pop(), "last cell"),
    "no stamp": (lambda n: n.metadata.pop("musicai"), "never run"),
    "part of a stamp": (lambda n: n.metadata["musicai"].pop("torch"), "lack torch"),
    "an error": (fail, "ended in ValueError"),
    "a warning": (lambda n: set_output(n, name="stderr"), "stderr"),
    "a path": (lambda n: set_output(n, text="saved /Users/me/model.pt"), "/Users/me"),
    "a quoted path": (lambda n: show_html(n, "<p>'/tmp/x1/song.wav'</p>"), "/tmp/x1"),
    "a raw picture": (lambda n: show_png(n), "without alt"),
    "a picture without alt": (lambda n: show_html(n, '<img src="x">'), "<img>"),
    "a picture with an empty alt": (lambda n: show_html(n, '<img alt=" " src="x">'), "<img>"),
    "a player without a name": (lambda n: show_html(n, '<audio src="x">'), "<audio>"),
    "a drawing without a name": (lambda n: show_html(n, "<svg><path/></svg>"), "<svg>"),
    "a second drawing without one": (lambda n: show_html(n, '<svg aria-label="A"></svg><svg></svg>'), "<svg>"),
    "too much sound": (
        lambda n: show_html(n, f'<audio aria-label="A" src="data:audio/wav;base64,{"A" * 2_000_004}">'),
        "2.0 MB",
    ),
}


def test_a_sound_notebook_has_no_problems():
    assert provenance.problems(good()) == []


@pytest.mark.parametrize("name", DEFECTS)
def test_a_defect_is_found(name):
    break_it, why = DEFECTS[name]
    notebook = good()
    break_it(notebook)
    found = provenance.problems(notebook)
    assert any(why in problem for problem in found), found


def test_a_drawing_inside_a_drawing_is_named_with_it():
    notebook = good()
    show_html(notebook, '<svg aria-label="A score"><svg viewBox="0 0 1 1"></svg></svg>')
    assert provenance.problems(notebook) == []


def test_white_space_and_prose_do_not_make_outputs_stale():
    notebook = good()
    notebook.cells[0].source = "# Another title"
    notebook.cells[1].source = "x = 1   \nx\n\n"
    assert provenance.problems(notebook) == []


def test_data_addresses_are_not_mistaken_for_paths():
    notebook = good()
    show_html(notebook, '<img alt="A" src="data:image/webp;base64,AA/tmp/AAAA/home/x=">')
    assert provenance.problems(notebook) == []


def test_the_sentence_reads_well():
    said = "*Run on a CPU (Abacus, 2 cores), torch 2.13.0, on 2026-08-01, in 1:05, at scale cpu.*"
    assert provenance.sentence(STAMP) == said


# The runner

TRIAL = """\
import ipywidgets, os
from musicai.notebook import explore
assert os.listdir(".") == [], "the working folder is empty"
open("left-behind", "w").close()
explore(lambda x: print("x is", x), x=(1, 9, 1, 3))
ipywidgets.IntSlider();"""


@pytest.fixture(scope="module")
def stored(tmp_path_factory) -> Path:
    """A trial notebook, run and stored."""
    path = tmp_path_factory.mktemp("chapters") / "01_trial.ipynb"
    cell = new_code_cell(TRIAL, metadata={"tags": ["kept"], "execution": {"iopub": "now"}, "vscode": {}})
    nbformat.write(new_notebook(cells=[new_markdown_cell("# Trial"), cell]), path)
    assert run_notebooks.run_all([path], timeout=500) == 0
    return path


def test_a_run_is_stored_in_order(stored):
    notebook = read(stored)
    assert provenance.problems(notebook) == []
    assert notebook.cells[1].metadata == {"tags": ["kept"]}
    assert notebook.metadata["language_info"] == {"name": "python"}
    assert notebook.metadata["musicai"]["scale"] in {"smoke", "cpu", "full"}
    assert [cell["id"] for cell in notebook.cells] == ["cell-001", "cell-002", "cell-003"]
    assert sorted(stored.parent.iterdir()) == [stored]


def test_the_controls_are_stored_as_they_stood(stored):
    notebook = read(stored)
    widget, first = notebook.cells[1].outputs
    assert "x is 3" in first.data["text/html"]
    state = normalise._state(notebook)
    assert widget.data[normalise.WIDGET_VIEW]["model_id"] in state
    sliders = [model["state"] for model in state.values() if model["model_name"] == "IntSliderModel"]
    assert [slider["value"] for slider in sliders] == [3], "the slider that is never shown is not stored"


def test_a_second_run_gives_the_same_file(stored):
    before = read(stored)
    again = run_notebooks.run(stored, timeout=500)
    for notebook in (before, again):
        notebook.metadata["musicai"].update(seconds=0, date="")
        notebook.cells[-1].source = ""
    assert nbformat.writes(again) == nbformat.writes(before)


@pytest.mark.parametrize("code", ["1 / 0", "print('/tmp/x')"])
def test_a_failed_run_leaves_the_old_file(stored, tmp_path, code, capsys):
    path = tmp_path / "01_trial.ipynb"
    notebook = read(stored)
    notebook.cells[1].source = code
    nbformat.write(notebook, path)
    before = path.read_bytes()
    assert run_notebooks.run_all([path], timeout=500) == 1
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
    assert "its old outputs stay" in capsys.readouterr().err


def test_check_runs_nothing_and_tells_stale_from_fresh(stored, tmp_path, capsys):
    assert run_notebooks.check([stored]) == 0
    stale = tmp_path / "02_stale.ipynb"
    notebook = read(stored)
    notebook.cells[1].source += "\n"
    notebook.cells[1].source += "print(1)"
    nbformat.write(notebook, stale)
    assert run_notebooks.check([stored, stale]) == 1
    said = capsys.readouterr().out
    assert "02_stale.ipynb: its outputs belong to other code" in said
    assert "01_trial.ipynb: in order" in said


def test_an_interrupted_store_leaves_the_old_file(stored, monkeypatch):
    before = stored.read_bytes()

    def refuse(*_args):
        raise OSError("no space left on device")

    monkeypatch.setattr(run_notebooks.os, "replace", refuse)
    with pytest.raises(OSError, match="no space"):
        run_notebooks.store(read(stored), stored)
    assert stored.read_bytes() == before
    assert sorted(stored.parent.iterdir()) == [stored]
