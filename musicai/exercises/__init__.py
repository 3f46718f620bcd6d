"""The book's exercises: check your answer, look at a solution.

>>> from musicai.exercises import check, solution
>>> check("01.1", 10_584_000)
Exercise 01.1: right.
True

An answer is a value or a function, as the exercise asks. A chapter's exercises live in a file of their own
(`ch01.py`, ...); each is a solution, what its checker demands, a hint, and wrong answers that must fail.
"""

from importlib import import_module
from pkgutil import iter_modules
from textwrap import fill

from .framework import Exercise, Solution, registry, verdict

__all__ = ["Exercise", "check", "exercises", "hint", "solution", "stub"]


def check(number: str, answer: object = None) -> bool:
    """Print whether the answer to an exercise is right and, where it is not, why.

    Args:
        number: as the chapter gives it, such as "01.2".
        answer: your value, or your function.

    Returns:
        True where the answer is right. Whatever the answer does, it never raises.

    Raises:
        ValueError: there is no exercise of this number.
    """
    exercise = _find(number)
    why_not = verdict(exercise, answer)
    if why_not is None:
        print(f"Exercise {number}: right.")
    else:
        print(fill(f"Exercise {number}: not yet. {why_not}", 80), fill(f"Hint: {exercise.hint}", 80), sep="\n")
    return why_not is None


def solution(number: str) -> Solution:
    """A solution: shown as source code at the end of a cell, and callable."""
    return Solution(_find(number))


def hint(number: str) -> str:
    """A nudge in the right direction."""
    return _find(number).hint


def stub(number: str) -> str:
    """What the reader starts from: the exercise without its solution, as text for a notebook cell."""
    return _find(number).stub


def exercises() -> dict[str, Exercise]:
    """All exercises by number, in the book's order."""
    for module in iter_modules(__path__):
        if module.name.startswith("ch"):
            import_module(f"{__name__}.{module.name}")
    return dict(sorted(registry.items()))


def _find(number: str) -> Exercise:
    known = exercises()
    if number not in known:
        raise ValueError(f"there is no exercise {number!r}; there are {', '.join(known)}")
    return known[number]
