"""Show source code as it is now, rather than a copy that would go stale."""

import ast
import inspect
import textwrap
from pathlib import Path
from types import ModuleType

from IPython.display import display


def show_code(*objects, docstring: bool = True) -> None:
    """Display the current source code of functions, methods, classes or modules.

    >>> show_code(musicai.audio.frame, docstring=False)  # doctest: +SKIP

    Args:
        objects: what to display, in this order.
        docstring: whether to keep the docstrings.

    Raises:
        TypeError: if an object has no Python source (a number, a built-in function).

    Used in Chapters 1 to 7.
    """
    for item in objects:
        text = source_of(item, docstring=docstring)
        display({"text/markdown": f"```python\n{text}\n```", "text/plain": text}, raw=True)


def source_of(item, *, docstring: bool = True) -> str:
    """The source of `item` under a comment that names its file and line."""
    item = inspect.unwrap(item) if callable(item) else item
    try:
        lines, first = inspect.getsourcelines(item)
        file = inspect.getsourcefile(item) or ""
    except (TypeError, OSError) as error:
        raise TypeError(f"{item!r} has no Python source; give a function, class or module") from error
    source = textwrap.dedent("".join(lines)).strip("\n")
    if not docstring:
        source = _without_docstrings(source)
    return f"{_place(item, file, first)}{source}"


def _place(item, file: str, line: int) -> str:
    """`# musicai/audio/frames.py, line 12`: a path from the package down, so it is the same on every machine."""
    package = getattr(item, "__name__" if isinstance(item, ModuleType) else "__module__", "").split(".")[0]
    parts = Path(file).parts
    if package not in parts:
        return ""
    start = len(parts) - 1 - parts[::-1].index(package)
    return f"# {'/'.join(parts[start:])}, line {max(line, 1)}\n"


def _without_docstrings(source: str) -> str:
    """Remove the lines of each docstring and the empty line after it, and leave the rest as written."""
    lines = source.splitlines()
    holders = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, holders) or ast.get_docstring(node) is None:
            continue
        doc, inside = node.body[0], not isinstance(node, ast.Module)
        last = doc.end_lineno + (inside and lines[doc.end_lineno : doc.end_lineno + 1] == [""])
        lines[doc.lineno - 1 : last] = [None] * (last - doc.lineno + 1)
        if inside and len(node.body) == 1:
            lines[doc.lineno - 1] = " " * doc.col_offset + "..."
    return "\n".join(line for line in lines if line is not None).strip("\n")
