"""Losses drawn while a model trains."""

import time
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from IPython.core.getipython import get_ipython
from IPython.display import display

from .figures import PALETTE, figure, render


class LivePlot:
    """A callback for `musicai.train.fit`: one curve for each named loss, drawn anew in place.

    Works in Jupyter and Colab; outside a notebook it only collects the losses in `.history`.

    >>> live = LivePlot(title="Training")
    >>> live(1, {"loss": 0.7})
    >>> live.history["loss"]
    [(1, 0.7)]

    Args:
        title: drawn above the curves.
        log: draw the losses on a logarithmic scale.
        seconds: draw at most this often.
    """

    def __init__(self, title: str = "", *, log: bool = False, seconds: float = 2.0):
        self.title, self.log, self.seconds = title, log, seconds
        self.history: dict[str, list[tuple[int, float]]] = defaultdict(list)
        self._handle: Any = None
        self._drawn = float("-inf")

    def __call__(self, step: int, losses: Mapping[str, Any]) -> None:
        """Add the losses of one step; draw if the last drawing is old enough."""
        for name, value in losses.items():
            self.history[name].append((int(step), float(value)))
        if time.monotonic() - self._drawn >= self.seconds:
            self.draw()

    def close(self) -> None:
        """Draw the last state; `fit` calls it when training ends or is interrupted."""
        self.draw()

    def draw(self) -> None:
        """Draw all losses so far in the notebook; do nothing outside one."""
        if not self.history or not _in_notebook():
            return
        picture = render(self._figure(), alt=self._alt())
        if self._handle is None:
            self._handle = display(picture, display_id=True)
        else:
            self._handle.update(picture)
        self._drawn = time.monotonic()

    def _figure(self):
        fig, ax = figure()
        for colour, (name, points) in zip(_cycle(PALETTE), self.history.items(), strict=False):
            ax.plot(*zip(*points, strict=True), color=colour, label=name)
        ax.set(xlabel="Step", ylabel="Loss", title=self.title, yscale="log" if self.log else "linear")
        ax.legend()
        return fig

    def _alt(self) -> str:
        last = ", ".join(f"{name} {points[-1][1]:.3g}" for name, points in self.history.items())
        step = max(points[-1][0] for points in self.history.values())
        return f"{self.title or 'Training'}: losses up to step {step:,}; last values: {last}"


def _cycle(colours: tuple[str, ...]):
    while True:
        yield from colours


def _in_notebook() -> bool:
    shell = get_ipython()
    return shell is not None and getattr(shell, "kernel", None) is not None
