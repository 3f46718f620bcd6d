"""How an exercise is defined, and the functions for writing its checker."""

import ast
import inspect
import textwrap
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from reprlib import Repr

import numpy as np

registry: dict[str, "Exercise"] = {}
short = Repr()  # shortens, and survives an answer whose own `__repr__` fails
short.maxother = short.maxstring = 120


class Wrong(Exception):
    """Raised if an answer is wrong; the message tells the reader why, in one sentence."""


@dataclass(repr=False)
class Exercise:
    """One exercise: a solution, a hint and a checker; it displays the solution's source and is called like it.

    >>> from musicai.exercises import exercises
    >>> exercises()["01.1"].stub
    'bytes_a_minute = None  # How many bytes does ...'

    Made by the decorator `exercise` and completed by `cases` or `checker`.

    Args:
        number: chapter and exercise, such as "01.2".
        solve: the solution; if the answer is a value, a function without arguments that returns it.
        hint: one sentence, printed after a wrong answer.
        check: takes an answer and raises `Wrong` unless it is right.

    Used in Chapters 1 to 7.
    """

    number: str
    solve: Callable
    hint: str
    check: Callable | None = None

    def checker(self, check: Callable) -> Callable:
        """Use the decorated function as the checker: it raises `Wrong` unless the answer is right."""
        self.check = check
        return check

    def cases(self, what: str, *arguments: tuple, rtol: float = 1e-4, atol: float = 1e-6) -> "Exercise":
        """Check an answer by comparing it with the solution: the value, or what both return for these arguments.

        `what` starts the message; the arguments fill its {}.
        """

        def check(answer) -> None:
            if self.value:
                close(answer, self.answer, what, rtol=rtol, atol=atol)
            for args in arguments:
                got, want = call(answer, *deepcopy(args)), self.solve(*deepcopy(args))
                close(got, want, what.format(*(textwrap.shorten(str(arg), 120) for arg in args)), rtol=rtol, atol=atol)

        self.check = check
        return self

    @property
    def value(self) -> bool:
        """Whether the answer is a value rather than a function: the solution takes no arguments."""
        return not inspect.signature(self.solve).parameters

    @property
    def answer(self):
        """The right answer: the value, or the function."""
        return self.solve() if self.value else self.solve

    @property
    def source(self) -> str:
        """The source code of the solution, without the decorator."""
        source = inspect.getsource(self.solve)
        return source[source.index("def ") :].rstrip()

    @property
    def stub(self) -> str:
        """The code to start from: the solution's signature and docstring, without its body."""
        if self.value:
            return f"{self.solve.__name__} = None  # {inspect.getdoc(self.solve).splitlines()[0]}"
        function = ast.parse(self.source).body[0]
        lines = self.source.splitlines()[: function.body[0].end_lineno]
        return "\n".join([*lines, "    raise NotImplementedError  # your turn"])

    def __call__(self, *args):
        """Call the solution."""
        return self.solve(*args)

    def __repr__(self) -> str:
        return self.source

    def _repr_markdown_(self) -> str:
        return f"```python\n{self.source}\n```"


def exercise(number: str, hint: str) -> Callable[[Callable], Exercise]:
    """Turn the decorated solution into an exercise; its docstring is the question.

    >>> @exercise("99.1", "Add one.")
    ... def successor():
    ...     "Which number comes after one?"
    ...     return 1 + 1

    Args:
        number: chapter and exercise, such as "01.2".
        hint: printed after a wrong answer.

    Returns: the decorator.
    """

    def register(solve: Callable) -> Exercise:
        registry[number] = Exercise(number, solve, hint).cases("Your answer")
        return registry[number]

    return register


def verdict(exercise: Exercise, answer) -> str | None:
    """None if the answer is right, otherwise the reason why not; never raises, whatever the answer does."""
    try:
        _require_kind(answer, exercise.value)
        exercise.check(answer)
    except Wrong as wrong:
        return str(wrong)
    except NotImplementedError:
        return "You still have to write it."
    except (Exception, SystemExit) as error:
        return f"Checking your answer ended in {short.repr(error)}"
    return None


def call(function: Callable, *args):
    """Call `function(*args)`; turn an exception into a `Wrong` that names the arguments."""
    try:
        return function(*args)
    except (NotImplementedError, Wrong):
        raise
    except (Exception, SystemExit) as error:
        named = ", ".join(getattr(value, "__name__", None) or short.repr(value) for value in args)
        raise Wrong(f"With {named} your function raised {short.repr(error)}") from error


def close(got, want, what: str, *, rtol: float = 1e-4, atol: float = 1e-6) -> None:
    """Require numbers with the shape of `want`, equal to it within tolerance, or the same text or truth value.

    Args:
        got: a number, list, array or tensor; text, True or False if `want` is.
        want: the right values.
        what: the start of the message, such as "The weights".
        rtol, atol: as for `numpy.allclose`.

    Raises:
        Wrong: if `got` is not numeric, has another shape, is not finite, or is too far off.
    """
    if isinstance(want, bool | str):
        if not isinstance(got, type(want) | np.bool_) or got != want:
            raise Wrong(f"{what} should be {want!r}, not {short.repr(got)}.")
        return
    got, want = as_numbers(got, what), np.asarray(want)
    if got.shape != want.shape:
        raise Wrong(f"{what} should have shape {want.shape}, not {got.shape}.")
    if not np.isfinite(got).all():
        raise Wrong(f"{what} should be finite, but holds NaN or infinity.")
    if not np.allclose(got, want, rtol=rtol, atol=atol):
        raise Wrong(f"{what} is off{_by_how_much(got, want)}.")


def as_numbers(got, what: str) -> np.ndarray:
    """Convert a number, list, array or tensor to a numeric array, or raise `Wrong`."""
    if got is None:
        raise Wrong(f"{what} is None; is a `return` missing?")
    try:
        array = got.detach().cpu().numpy() if hasattr(got, "detach") else np.asarray(got)
    except Exception as error:
        raise Wrong(f"{what} should be numbers, not {type(got).__name__}.") from error
    if array.dtype.kind not in "biufc":
        raise Wrong(f"{what} should be numbers, not {type(got).__name__}.")
    return array


def _require_kind(answer, value: bool) -> None:
    """Reject a missing answer, a function where a value is asked for, and the other way round."""
    if answer is None:
        raise Wrong("There is no answer yet.")
    if value and callable(answer):
        raise Wrong("The answer is a value, not a function; call it.")
    if not value and not callable(answer):
        raise Wrong(f"The answer is a function, not {short.repr(answer)}; give its name without brackets.")


def _by_how_much(got: np.ndarray, want: np.ndarray) -> str:
    """For a single number, the number itself; otherwise the largest difference and its index."""
    if want.ndim == 0:
        return f": you answered {got.item():.6g}" if got.dtype.kind in "biuf" else ""
    worst = np.unravel_index(np.abs(got - want).argmax(), want.shape)
    return f" by up to {np.abs(got - want).max():.3g}, at index {tuple(int(i) for i in worst)}"
