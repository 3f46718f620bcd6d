"""The book's exercises: check your answer, ask for a hint, look at the solution.

>>> from musicai.exercises import check
>>> check("01.2", lambda frequency, sr: min(frequency % sr, -frequency % sr))
Exercise 01.2: right.
True

An answer is a value or a function, depending on the exercise. Each chapter's exercises live in a file of their own
(`ch01.py`, ...), each with a solution, a hint and a checker.
"""

import sys
from html import escape
from importlib import import_module
from pkgutil import iter_modules
from textwrap import fill

from .framework import Exercise, registry, verdict

__all__ = ["Exercise", "check", "exercises", "hint", "solution", "stub"]


def check(number: str, answer: object = None) -> bool:
    """Print whether the answer to an exercise is right and, if it is not, why.

    >>> check("01.1", 1)
    Exercise 01.1: not yet. Your answer is off: you answered 1.
    Hint: Samples per second, times channels, times bytes per sample, times seconds.
    False

    A notebook shows the hint folded, so that nobody reads it by accident.

    Args:
        number: the exercise's number, such as "01.2".
        answer: your value or your function.

    Returns: whether the answer is right. The answer itself never makes it raise, whatever it does.

    Raises:
        ValueError: if there is no exercise with this number.

    Used in Chapters 1 to 7.
    """
    exercise = _find(number)
    why_not = verdict(exercise, answer)
    if why_not is None:
        print(f"Exercise {number}: right.")
    else:
        print(fill(f"Exercise {number}: not yet. {why_not}", 80))
        _offer(exercise.hint)
    return why_not is None


def _offer(hint: str) -> None:
    """Print a hint or, in a notebook, fold it."""
    text, ipython = fill(f"Hint: {hint}", 80), sys.modules.get("IPython")
    if ipython and ipython.get_ipython():
        folded = f"<details><summary>Hint</summary>{escape(hint)}</details>"
        ipython.display.display({"text/html": folded, "text/plain": text}, raw=True)
    else:
        print(text)


def solution(number: str) -> Exercise:
    """Get a solution, which is callable and shows its source code at the end of a cell.

    >>> solution("03.1").number
    '03.1'

    Args:
        number: the exercise's number, such as "01.2".

    Returns: the exercise, which displays its solution.

    Raises:
        ValueError: if there is no exercise with this number.

    Used in Chapters 1 to 7.
    """
    return _find(number)


def hint(number: str) -> str:
    """Get a nudge in the right direction.

    >>> hint("03.1")
    'A symmetric D x D matrix has D (D + 1) / 2 free entries; the weights sum to one.'

    Args:
        number: the exercise's number, such as "01.2".

    Returns: one or two sentences.

    Raises:
        ValueError: if there is no exercise with this number.

    Used in Chapters 1 to 7.
    """
    return _find(number).hint


def stub(number: str) -> str:
    """Get the code to start from: the exercise without its solution, as text for a notebook cell.

    >>> print(stub("03.1"))
    free_numbers = None  # How many free parameters does ...

    Args:
        number: the exercise's number, such as "01.2".

    Returns: Python code.

    Raises:
        ValueError: if there is no exercise with this number.

    Used in Chapters 1 to 7.
    """
    return _find(number).stub


def exercises() -> dict[str, Exercise]:
    """All exercises by number, in the book's order.

    >>> list(exercises())[:2]
    ['01.1', '01.2']

    Returns: number -> exercise.

    Used in Chapters 1 to 7.
    """
    for module in iter_modules(__path__):
        if module.name.startswith("ch"):
            import_module(f"{__name__}.{module.name}")
    return dict(sorted(registry.items()))


def _find(number: str) -> Exercise:
    known = exercises()
    if number not in known:
        raise ValueError(f"there is no exercise {number!r}; choose one of {', '.join(known)}")
    return known[number]
