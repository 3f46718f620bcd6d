"""Figures in one style, each with alt text; and losses drawn while a model trains."""

import io
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
from IPython.core.getipython import get_ipython
from IPython.display import display
from matplotlib.figure import Figure

from .display import Html, attribute, data_uri

PAGE_PIXELS = 600  # width on a large screen
LOSSLESS_BYTES = 60_000  # larger pictures (spectrograms) are compressed lossily
MOST_POINTS = 300  # longer curves are averaged over stretches; otherwise noise would hide the trend
STYLE = matplotlib.rc_params_from_file(Path(__file__).with_name("book.mplstyle"), use_default_template=False)
TURN = "this.parentNode.querySelectorAll('[data-page]').forEach((page, i) => (page.hidden = i != this.value));"
TURN += "this.parentNode.querySelectorAll('[hidden] audio').forEach(sound => sound.pause())"
WIDTH = STYLE["figure.figsize"][0]  # inches
PALETTE = tuple(STYLE["axes.prop_cycle"].by_key()["color"])

matplotlib.rcParams.update(STYLE)


def figure(rows: int = 1, cols: int = 1, *, height=2.8, sharex=False, sharey=False, width_ratios=None) -> tuple:
    """Create a figure of the book's width and its axes, like `plt.subplots`, but display it only with `show`.

    >>> fig, ax = figure()
    >>> fig, (left, right) = figure(1, 2, sharey=True)

    Args:
        rows, cols: the grid of axes.
        height: the height of the whole figure in inches; its width is always that of the page.
        sharex, sharey, width_ratios: as for `matplotlib.pyplot.subplots`.

    Returns: (figure, axes): one axis, or an array of them.

    Used in Chapters 1 to 7.
    """
    fig = Figure(figsize=(WIDTH, height), layout="constrained")
    return fig, fig.subplots(rows, cols, sharex=sharex, sharey=sharey, width_ratios=width_ratios)


def show(fig: Figure, alt: str) -> None:
    """Display a figure as a picture with alt text, and close it.

    >>> show(fig, alt="A sine wave of three periods")  # doctest: +SKIP

    Args:
        fig: any matplotlib figure.
        alt: a sentence that describes the figure, for readers who cannot see it. Required.

    Raises:
        ValueError: if `alt` is empty.

    Used in Chapters 1 to 7.
    """
    display(render(fig, alt))


def render(fig: Figure, alt: str) -> Html:
    """The figure as an HTML picture, as displayed by `show`."""
    if not isinstance(alt, str) or not alt.strip():
        raise ValueError(f"alt={alt!r} says nothing; describe the figure in a sentence for readers who cannot see it")
    picture = _saved(fig, lossless=True, quality=80)
    if len(picture) > LOSSLESS_BYTES:
        picture = _saved(fig, quality=80)
    if "matplotlib.pyplot" in sys.modules:  # otherwise nothing keeps the figure open
        sys.modules["matplotlib.pyplot"].close(fig)
    width, height = (round(PAGE_PIXELS * inches / WIDTH) for inches in fig.get_size_inches())  # room while it loads
    html = f'<img alt="{attribute(alt)}" loading="lazy" width="{width}" height="{height}" '
    html += f'style="max-width:100%;height:auto;border-radius:4px" src="{data_uri(picture, "image/webp")}">'
    return Html(html, f"[Figure: {' '.join(alt.split())}]")


def flipbook(pages: Sequence[tuple], label: str = "Step") -> None:
    """Display figures, and sounds with them, one at a time, with a slider that turns the pages without Python.

    >>> flipbook([(fig_1, "An empty table"), (fig_2, "The table, filled")])  # doctest: +SKIP
    >>> flipbook([(fig_1, "A low tone", player(low)), (fig_2, "A high one", player(high))])  # doctest: +SKIP

    Args:
        pages: figures, each with its alt text, which is also shown below it, and perhaps players.
        label: what the slider chooses.

    Raises:
        ValueError: if there are no pages, or one has no alt text.

    Chapters 1, 2 and 6.
    """
    if not pages:
        raise ValueError("a flipbook needs at least one page; give a list of (figure, alt)")
    first, *others = [
        f'{render(fig, alt).html}<div aria-hidden="true">{attribute(alt)}</div>{"".join(one.html for one in sounds)}'
        for fig, alt, *sounds in pages
    ]
    body = f"<div data-page>{first}</div>" + "".join(f"<div data-page hidden>{page}</div>" for page in others)
    slider = f'<input type="range" min="0" max="{len(others)}" value="0" aria-label="{attribute(label)}" '
    html = f'<div>{slider}style="width:100%;max-width:30em" oninput="{TURN}">{body}</div>'
    display(Html(html, f'[{len(pages)} figures, from "{pages[0][1]}" to "{pages[-1][1]}"]'))


class LivePlot:
    """A callback for `musicai.train.fit` that keeps redrawing the losses in the same place.

    It works in Jupyter and Colab and does nothing outside a notebook. The last drawing remains as the cell's output.

    >>> fit(step, batches, steps=20_000, state=state, callbacks=[(100, LivePlot())])  # doctest: +SKIP

    Args:
        seconds: the shortest time between two drawings.

    Chapter 5.
    """

    def __init__(self, seconds: float = 2.0):
        self.seconds, self._drawn, self._handle = seconds, float("-inf"), None

    def __call__(self, run) -> None:
        """Draw `run.history` if the last drawing is old enough or the run has finished."""
        if not _in_notebook() or (time.monotonic() - self._drawn < self.seconds and not run.finished):
            return
        fig, ax = figure()
        course = []
        for name, column in run.history.items():
            steps, values = _smoothed(np.asarray(column))
            if len(steps) and not name.startswith("grad/"):
                ax.plot(steps, values, ".-" if len(steps) < 20 else "-", label=name)
                course.append(f"{name} {values[0]:.3g} to {values[-1]:.3g}")
        ax.set(xlabel="Step", ylabel="Loss", title="Training")
        ax.legend()
        picture = render(fig, alt=f"Losses over {run.step:,} steps: {', '.join(course)}")
        if self._handle is None:
            self._handle = display(picture, display_id=True)
        else:
            self._handle.update(picture)
        self._drawn = time.monotonic()


def _smoothed(column: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The steps and values of a column in which NaN means no value; long columns are averaged over stretches."""
    steps = np.flatnonzero(np.isfinite(column))
    parts = min(len(steps), MOST_POINTS)
    stretches = np.array_split(steps, parts) if parts else []
    means = [column[stretch].mean() for stretch in stretches]
    return np.array([stretch.mean() + 1 for stretch in stretches]), np.array(means)


def _in_notebook() -> bool:
    return getattr(get_ipython(), "kernel", None) is not None


def _saved(fig: Figure, **options) -> bytes:
    buffer = io.BytesIO()
    fig.savefig(buffer, format="webp", dpi=STYLE["figure.dpi"], pil_kwargs=options)
    return buffer.getvalue()
