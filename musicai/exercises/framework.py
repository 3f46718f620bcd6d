"""What an exercise is made of, and the demands that checkers are written in."""

import ast
import inspect
import textwrap
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NoReturn

import numpy as np

registry: dict[str, "Exercise"] = {}


class Wrong(Exception):
    """An answer is not right; the message says why, in a sentence for the reader."""


@dataclass
class Exercise:
    """One exercise: made by the decorator `exercise`, completed by `.checker` and `.wrong`."""

    number: str
    solve: Callable[..., Any]  # the solution; for a value, a function without arguments that returns it
    hint: str
    value: bool = False  # whether the answer is a value rather than a function
    demands: Callable[[Any], None] | None = None
    wrong_answers: list[Any] = field(default_factory=list)

    def checker(self, demands: Callable[[Any], None]) -> Callable[[Any], None]:
        """Register what is demanded of an answer: a function of it that raises `Wrong`, or returns."""
        self.demands = demands
        return demands

    def wrong(self, *answers: Any) -> None:
        """Note plausible wrong answers; the tests see to it that the checker refuses each."""
        self.wrong_answers.extend(answers)

    @property
    def answer(self) -> Any:
        """The right answer: the value, or the function."""
        return self.solve() if self.value else self.solve

    @property
    def source(self) -> str:
        """The solution's source without the decorator."""
        return _source(self.solve)

    @property
    def stub(self) -> str:
        """The solution's head and docstring without its body."""
        if self.value:
            return f"{self.solve.__name__} = None  # {_first_line(self.solve)}"
        function = ast.parse(self.source).body[0]
        lines = self.source.splitlines()[: function.body[0].end_lineno]
        return "\n".join([*lines, "    raise NotImplementedError  # your turn"])


def exercise(number: str, *, hint: str, value: bool = False) -> Callable[[Callable[..., Any]], Exercise]:
    """Make the decorated solution an exercise.

    >>> @exercise("99.1", hint="Count on.", value=True)
    ... def two():
    ...     "The number after one."
    ...     return 1 + 1

    Args:
        number: chapter and exercise, "01.2".
        hint: printed with a wrong answer.
        value: the answer is what the solution returns, not a function like it.

    Raises:
        ValueError: the number is taken, or the solution has no docstring (it is the question).
    """

    def register(solve: Callable[..., Any]) -> Exercise:
        if not solve.__doc__:
            raise ValueError(f"the solution of exercise {number} needs a docstring: it is the question")
        known = registry.get(number)
        if known and known.solve.__qualname__ != solve.__qualname__:
            raise ValueError(f"exercise {number} is there twice: {known.solve.__name__} and {solve.__name__}")
        registry[number] = Exercise(number, solve, hint, value)
        return registry[number]

    return register


class Solution:
    """A solution that shows itself as source code and can be called."""

    def __init__(self, exercise: Exercise):
        self._exercise = exercise

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._exercise.solve(*args, **kwargs)

    def __repr__(self) -> str:
        return self._exercise.source

    def _repr_markdown_(self) -> str:
        return f"```python\n{self._exercise.source}\n```"


def verdict(exercise: Exercise, answer: Any) -> str | None:
    """None where the answer is right, else why it is not. Raises nothing, whatever the answer does."""
    try:
        if exercise.value:
            _demand_value(answer)
        else:
            _demand_function(answer)
        exercise.demands(answer)
    except Wrong as wrong:
        return str(wrong)
    except NotImplementedError:
        return "It is still to be written."
    except (Exception, SystemExit) as error:
        return f"Checking your answer ended in {type(error).__name__}: {_shortened(error)}"
    return None


def call(function: Callable[..., Any], *args: Any) -> Any:
    """`function(*args)`; an exception becomes a `Wrong` that says for which arguments."""
    try:
        return function(*args)
    except NotImplementedError:
        raise
    except (Exception, SystemExit) as error:
        raise Wrong(f"With {_shown(args)} your function raised {type(error).__name__}: {_shortened(error)}") from error


def close(got: Any, want: Any, what: str, *, rtol: float = 1e-4, atol: float = 1e-6) -> None:
    """Demand numbers equal to `want` within tolerance, of the same shape; `what` starts the message.

    Raises:
        Wrong: not numbers, another shape, not finite, or too far off.
    """
    got, want = as_numbers(got, what), np.asarray(want)
    if got.shape != want.shape:
        raise Wrong(f"{what} should have shape {want.shape}, not {got.shape}.")
    if not np.isfinite(got).all():
        raise Wrong(f"{what} should be finite, but holds NaN or infinity.")
    if not np.allclose(got, want, rtol=rtol, atol=atol):
        raise Wrong(f"{what} is off{_by_how_much(got, want)}.")


def as_numbers(got: Any, what: str) -> np.ndarray:
    """A number, list, array or tensor as an array of numbers."""
    if got is None:
        raise Wrong(f"{what} is None; is a `return` missing?")
    try:
        array = got.detach().cpu().numpy() if hasattr(got, "detach") else np.asarray(got)
    except Exception as error:
        raise Wrong(f"{what} should be numbers, not {type(got).__name__}.") from error
    if array.dtype.kind not in "biufc":
        raise Wrong(f"{what} should be numbers, not {type(got).__name__}.")
    return array


def _demand_value(answer: Any) -> None:
    if answer is None:
        raise Wrong("There is no answer yet.")
    if callable(answer):
        raise Wrong("The answer is a value, not a function; call it.")


def _demand_function(answer: Any) -> None:
    if answer is None:
        raise Wrong("There is no answer yet.")
    if not callable(answer):
        raise Wrong(f"The answer is a function, not a {type(answer).__name__}; give its name without brackets.")


def _by_how_much(got: np.ndarray, want: np.ndarray) -> str:
    """Where the answer is a single number, both numbers; else the largest difference, where it lies."""
    if want.ndim == 0:
        return f": it is {got.item():.6g}" if got.dtype.kind in "biuf" else ""
    worst = np.unravel_index(np.abs(got - want).argmax(), want.shape)
    return f" by up to {np.abs(got - want).max():.3g}, at index {tuple(int(i) for i in worst)}"


def _source(function: Callable[..., Any]) -> str:
    source = textwrap.dedent(inspect.getsource(function))
    head = ast.parse(source).body[0].lineno
    return "\n".join(source.splitlines()[head - 1 :])


def _first_line(function: Callable[..., Any]) -> str:
    return inspect.getdoc(function).splitlines()[0]


def _shown(args: tuple[Any, ...]) -> str:
    return ", ".join(_shortened(repr(arg)) for arg in args)


def _shortened(text: Any, most: int = 120) -> str:
    """Text of what may not even have text."""
    try:
        line = " ".join(str(text).split())
    except Exception:
        return "(no message)"
    return line if len(line) <= most else line[: most - 3] + "..."


def fail(message: str) -> NoReturn:
    """Refuse the answer with this message."""
    raise Wrong(message)
