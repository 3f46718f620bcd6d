"""Every solution passes its checker, every stub and wrong answer fails, and no answer makes a checker raise."""

import ast
import contextlib
import io
import re
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from musicai import exercises as book
from musicai.exercises import framework
from musicai.exercises.framework import Wrong, call, close, verdict

EVERY = book.exercises()
WRONG = {}
for path in (Path(__file__).parent / "wrong_answers").glob("ch*.py"):
    WRONG |= runpy.run_path(str(path))["WRONG"]
NUMBERS = list(EVERY)


def unwritten(*_args):
    raise NotImplementedError


def broken(*_args):
    raise RuntimeError("x" * 1000)


def leaving(*_args):
    sys.exit(3)


class Wicked:
    """Raises wherever it can."""

    def __getattr__(self, name):
        raise KeyError(name)

    def __repr__(self):
        raise RuntimeError

    def __array__(self, *_args, **_kwargs):
        raise TypeError

    def __call__(self, *_args):
        return self


ODD = [
    None,
    "",
    "440",
    b"",
    True,
    float("nan"),
    float("inf"),
    -1,
    10**400,
    1j,
    [],
    [[1], [1, 2]],
    {},
    object(),
    np.zeros((3, 0, 2)),
    np.full(4, np.nan),
    np.array(["a"]),
    torch.zeros(2, 2),
    torch.ones(3, requires_grad=True),
    Wicked(),
    Wicked,
    unwritten,
    broken,
    leaving,
    lambda: 1,
    lambda *_: None,
    lambda *_: "text",
    lambda *_: float("nan"),
    lambda *_: np.zeros((2, 2)),
    lambda *_: torch.full((5,), torch.nan),
    lambda *_: Wicked(),
    lambda *args: args,
    print,
    type,
]


@pytest.mark.parametrize("number", NUMBERS)
def test_the_solution_passes(number, capsys):
    assert book.check(number, EVERY[number].answer) is True
    assert capsys.readouterr().out == f"Exercise {number}: right.\n"


@pytest.mark.parametrize("number", NUMBERS)
def test_the_stub_fails(number, capsys):
    scope = {"np": np, "torch": torch}
    exec("from __future__ import annotations\n" + book.stub(number), scope)
    assert book.check(number, scope[EVERY[number].solve.__name__]) is False
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    said = " ".join(lines)
    assert "not yet" in said
    assert ("no answer yet" if EVERY[number].value else "still have to write") in said
    assert EVERY[number].hint in said


@pytest.mark.parametrize("number", NUMBERS)
def test_the_stub_does_not_give_the_solution_away(number):
    body = ast.parse(EVERY[number].source).body[0].body[1:]
    assert not any(ast.unparse(statement) in book.stub(number) for statement in body)


@pytest.mark.parametrize("number", NUMBERS)
def test_wrong_answers_fail(number, capsys):
    assert len(WRONG[number]) >= 3, "name at least three plausible wrong answers"
    for answer in WRONG[number]:
        assert book.check(number, answer) is False
        assert "Checking your answer ended in" not in capsys.readouterr().out, "the checker itself stumbled"


@pytest.mark.parametrize("number", NUMBERS)
def test_odd_answers_fail_without_raising(number):
    for answer in ODD:
        with contextlib.redirect_stdout(io.StringIO()) as said:
            assert book.check(number, answer) is False
        assert len(said.getvalue()) < 1000


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(NUMBERS), st.recursive(st.none() | st.text() | st.floats() | st.binary(), st.lists))
def test_any_value_gets_a_verdict(number, value):
    for answer in (value, lambda *_: value):
        why_not = verdict(EVERY[number], answer)
        assert why_not is None or isinstance(why_not, str)


@pytest.mark.parametrize("number", NUMBERS)
def test_the_solution_shows_itself(number):
    shown = book.solution(number)
    assert repr(shown).startswith("def ")
    assert "@exercise" not in repr(shown)
    assert repr(shown) in shown._repr_markdown_()
    if EVERY[number].value:
        assert shown() == EVERY[number].answer


@pytest.mark.parametrize("number", NUMBERS)
def test_numbers_belong_to_their_chapter(number):
    assert re.fullmatch(rf"musicai\.exercises\.ch{number[:2]}(_\w+)?", EVERY[number].solve.__module__)
    assert EVERY[number].hint.endswith(".")


def _buffer_one_more(items, size, rng):
    """Another right shuffle buffer: it draws from size + 1 items, as the question allows."""
    waiting = []
    for item in items:
        waiting.append(item)
        if len(waiting) == size + 1:
            yield waiting.pop(int(rng.integers(size + 1)))
    yield from rng.permutation(waiting).tolist()


def test_other_right_answers_pass():
    def drawn(weights, means, stds, n, rng):
        counts = rng.multinomial(n, weights)
        return rng.normal(np.repeat(means, counts), np.repeat(stds, counts))

    assert verdict(EVERY["01.7"], _buffer_one_more) is None
    assert verdict(EVERY["03.6"], drawn) is None


def test_a_notebook_folds_the_hint():
    pytest.importorskip("IPython")
    code = """
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output
shell = InteractiveShell.instance()
from musicai.exercises import check
with capture_output() as said:
    check("03.2", None)
print(said.stdout, [output.data for output in said.outputs])
"""
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "<details><summary>Hint</summary>" in out
    assert "Hint" not in out.split("[{")[0]


def test_an_unknown_number_says_what_there_is():
    with pytest.raises(ValueError, match=r"no exercise '99\.9'; choose one of 01\.1"):
        book.check("99.9", 1)


def test_no_number_is_taken_twice():
    texts = [path.read_text() for path in Path(framework.__file__).parent.glob("ch*.py")]
    numbers = [number for text in texts for number in re.findall(r'@exercise\(\s*"([\d.]+)"', text)]
    assert sorted(numbers) == list(EVERY)


def test_close_says_what_is_wrong():
    close(torch.tensor([1.0, 2.0]), [1.0, 2.0], "It")
    for got, why in [
        (None, "`return` missing"),
        ([1.0], r"shape \(2,\), not \(1,\)"),
        ([1.0, np.nan], "finite"),
        ([1.0, 2.5], r"up to 0.5, at index \(1,\)"),
        ("ab", "not str"),
    ]:
        with pytest.raises(Wrong, match=why):
            close(got, [1.0, 2.0], "It")


def test_call_names_the_arguments_that_broke_the_function():
    with pytest.raises(Wrong, match="With 3, 0 your function raised ZeroDivisionError"):
        call(lambda a, b: a / b, 3, 0)


def test_exercises_import_nothing_of_the_notebook():
    code = "import sys, musicai.exercises as e; e.exercises(); print(*sys.modules)"
    modules = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"IPython", "matplotlib", "ipywidgets", "librosa", "music21"} & set(modules)
