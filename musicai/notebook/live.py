"""Losses drawn while a model trains."""

import time
from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import Any

import numpy as np
from IPython.core.getipython import get_ipython
from IPython.display import display
from matplotlib.figure import Figure

from .figures import PALETTE, figure, render

MOST_POINTS = 300  # a curve of more steps is averaged over stretches: the noise would hide the course


class LivePlot:
    """A callback for `musicai.train.fit` that draws the losses, anew in place.

    Works in Jupyter and Colab; outside a notebook it does nothing. What it drew last stays as the cell's output.

    >>> fit(step, batches, steps=20_000, state=state, callbacks=[(100, LivePlot())])  # doctest: +SKIP

    Args:
        names: which columns of the run's history to draw; by default all but the gradients' norms.
        title: drawn above the curves.
        log: draw on a logarithmic scale.
        seconds: draw at most this often.
    """

    def __init__(self, *names: str, title: str = "Training", log: bool = False, seconds: float = 2.0):
        self.names, self.title, self.log, self.seconds = names, title, log, seconds
        self._handle: Any = None
        self._drawn = float("-inf")

    def __call__(self, run: Any) -> None:
        """Draw `run.history`, if the last drawing is old enough or the run is finished."""
        if not _in_notebook() or (time.monotonic() - self._drawn < self.seconds and not run.finished):
            return
        curves = self._curves(run.history)
        if not curves:
            return
        picture = render(self._figure(curves), alt=self._alt(curves, run.step))
        if self._handle is None:
            self._handle = display(picture, display_id=True)
        else:
            self._handle.update(picture)
        self._drawn = time.monotonic()

    def _curves(self, history: Mapping[str, Sequence[float]]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Name -> (steps, values), without the steps that have none."""
        names = self.names or [name for name in history if not name.startswith("grad/")]
        curves = {name: _course(np.asarray(history[name])) for name in names if name in history}
        return {name: curve for name, curve in curves.items() if len(curve[0])}

    def _figure(self, curves: dict[str, tuple[np.ndarray, np.ndarray]]) -> Figure:
        fig, ax = figure()
        for colour, (name, (steps, values)) in zip(cycle(PALETTE), curves.items(), strict=False):
            ax.plot(steps, values, ".-" if len(steps) < 20 else "-", color=colour, label=name)
        ax.set(xlabel="Step", ylabel="Loss", title=self.title, yscale="log" if self.log else "linear")
        ax.legend()
        return fig

    def _alt(self, curves: dict[str, tuple[np.ndarray, np.ndarray]], step: int) -> str:
        last = ", ".join(f"{name} {values[0]:.3g} to {values[-1]:.3g}" for name, (_, values) in curves.items())
        return f"{self.title}: the course of the losses over {step:,} steps: {last}"


def _course(column: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Steps and values of a column that has NaN where there was no value; long ones averaged over stretches."""
    steps = np.flatnonzero(np.isfinite(column))
    parts = min(len(steps), MOST_POINTS)
    stretches = np.array_split(steps, parts) if parts else []
    means = [column[stretch].mean() for stretch in stretches]
    return np.array([stretch.mean() + 1 for stretch in stretches]), np.array(means)


def _in_notebook() -> bool:
    shell = get_ipython()
    return shell is not None and getattr(shell, "kernel", None) is not None
