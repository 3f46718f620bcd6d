"""Every public name explains itself: a summary, an example, arguments, what comes back, what is raised, the chapter."""

import ast
import importlib
import inspect
import re
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "musicai"
ROOMS = sorted(p.parent.name for p in PACKAGE.glob("*/__init__.py") if p.parent.name != "checkpoints")
MODULES = ["chain", "cli", "extras", "pretrained", "scale", "storage", "threads"]
PLACE = re.compile(r"\b(Chapters? \d|Preface)")


def exported(room: str) -> dict[str, object]:
    module = importlib.import_module(f"musicai.{room}")
    return {name: getattr(module, name) for name in module.__all__}


def parameters(function) -> list[str]:
    kinds = inspect.Parameter
    found = inspect.signature(function).parameters.values()
    return [p.name for p in found if p.name not in {"self", "cls"} and p.kind is not kinds.VAR_POSITIONAL]


def section(doc: str, name: str) -> str:
    """The indented text of a Google-style section, or what follows its colon on the same line."""
    found = re.search(rf"^{name}:(.*(?:\n(?:[ \t].*)?)*)", doc, re.MULTILINE)
    return found[1] if found else ""


def faults(name: str, thing: object) -> list[str]:
    doc = inspect.getdoc(thing) or ""
    summary = doc.split("\n\n")[0]
    found = [] if summary.strip() else ["no docstring"]
    found += [] if "\n" not in summary else ["the summary takes more than one line"]
    found += [] if ">>>" in doc else ["no example"]
    found += [] if PLACE.search(doc) else ["no chapter"]
    function = thing.__init__ if inspect.isclass(thing) else thing
    named = section(doc, "Args") + section(doc, "Parameters") + section(doc, "Attributes")
    exception = inspect.isclass(thing) and issubclass(thing, BaseException)
    if not exception and not getattr(thing, "_is_protocol", False) and inspect.isfunction(function):
        missing = [p for p in parameters(function) if not re.search(rf"\b{p}\b", named)]
        found += [f"no word about {', '.join(missing)} under Args:"] if missing else []
    if inspect.isfunction(thing) and inspect.signature(thing).return_annotation not in (None, "None"):
        found += [] if section(doc, "Returns") or section(doc, "Yields") else ["no Returns:"]
    return found


@pytest.mark.parametrize("room", ROOMS + MODULES)
def test_public_names_are_documented(room):
    wrong = {}
    for name, thing in exported(room).items():
        if inspect.isfunction(thing) or inspect.isclass(thing):
            wrong |= {f"{room}.{name}": found} if (found := faults(name, thing)) else {}
    assert not wrong, "\n".join(f"{name}: {'; '.join(found)}" for name, found in wrong.items())


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_no_public_function_is_without_a_docstring(path):
    """Also those that no room exports: a reader who opens the file should not have to guess."""
    bare = []
    for node in ast.parse(path.read_text()).body:
        inside = node.body if isinstance(node, ast.ClassDef) and not node.name.startswith("_") else []
        for thing in (node, *inside):
            if isinstance(thing, ast.FunctionDef | ast.ClassDef) and not thing.name.startswith("_"):
                stub = any(
                    isinstance(d, ast.Attribute) and d.attr in {"setter", "checker"} for d in thing.decorator_list
                )
                if not stub and ast.get_docstring(thing) is None and thing.name not in {"forward"}:
                    bare.append(f"{thing.name} (line {thing.lineno})")
    assert not bare, f"{path.name}: no docstring for {', '.join(bare)}"


@pytest.mark.parametrize("room", ROOMS)
def test_public_functions_show_their_signatures(room):
    """`**kwargs` hides what can be passed."""
    for name, thing in exported(room).items():
        if inspect.isfunction(thing) and name not in (
            "browse",
            "explore",
        ):  # whose controls are the reader's own arguments
            kinds = [p.kind for p in inspect.signature(thing).parameters.values()]
            assert inspect.Parameter.VAR_KEYWORD not in kinds, f"{room}.{name} hides its arguments behind **"
