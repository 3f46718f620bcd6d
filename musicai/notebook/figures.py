"""Figures in one style, each with a text for who cannot see it."""

import io
import sys
from typing import Any

import matplotlib
from IPython.display import display
from matplotlib.figure import Figure

from .display import Html, attribute, data_uri

# Okabe and Ito's palette: told apart with every common colour blindness, and in grey.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
WIDTH = 5.6  # inches: 11-point text is still 10 pixels high on a telephone 390 pixels wide
PAGE_PIXELS = 600  # width on a large screen
LOSSLESS_BYTES = 60_000  # beyond this (spectrograms) the picture is compressed with loss

STYLE = {
    "figure.figsize": (WIDTH, 2.8),
    "figure.dpi": 160,
    "figure.facecolor": "#fcfcfc",  # light also on the dark theme's page
    "figure.constrained_layout.use": True,
    "savefig.facecolor": "#fcfcfc",
    "axes.facecolor": "#fcfcfc",
    "axes.prop_cycle": matplotlib.cycler(color=PALETTE),
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 12,
    "axes.titlelocation": "left",
    "axes.labelsize": 11,
    "axes.axisbelow": True,
    "font.size": 11,
    "grid.color": "#dddddd",
    "image.cmap": "magma",
    "legend.frameon": False,
    "legend.fontsize": 10,
    "lines.linewidth": 1.5,
    "xtick.labelsize": 10,
    "ytick.labelsize": 10,
}
matplotlib.rcParams.update(STYLE)


def figure(rows: int = 1, cols: int = 1, *, height: float = 2.8, **options: Any) -> tuple[Figure, Any]:
    """A figure of the book's width and its axes, as from `plt.subplots`, but shown only by `show`.

    >>> fig, ax = figure()
    >>> fig, (left, right) = figure(1, 2, sharey=True)

    Args:
        rows, cols: the grid of axes.
        height: of the whole figure, in inches; its width is always the page's.
        options: passed to `Figure.subplots` (`sharex`, `sharey`, `squeeze`, ...).
    """
    fig = Figure(figsize=(WIDTH, height), layout="constrained")
    return fig, fig.subplots(rows, cols, **options)


def show(fig: Figure, alt: str) -> None:
    """Show a figure as a picture with a text alternative, and close it.

    Args:
        fig: any matplotlib figure.
        alt: what there is to see, for who cannot see it. Required.

    Raises:
        ValueError: `alt` is empty.
    """
    display(render(fig, alt))


def render(fig: Figure, alt: str) -> Html:
    """The figure as an HTML picture, as `show` shows it."""
    if not isinstance(alt, str) or not alt.strip():
        raise ValueError(f"alt={alt!r} says nothing; describe the figure in a sentence for who cannot see it")
    picture = _webp(fig)
    if "matplotlib.pyplot" in sys.modules:  # else nothing holds the figure open
        sys.modules["matplotlib.pyplot"].close(fig)
    width = round(PAGE_PIXELS * fig.get_figwidth() / WIDTH)
    html = (
        f'<img alt="{attribute(alt)}" loading="lazy" width="{width}" '
        f'style="max-width:100%;height:auto;border-radius:4px" src="{data_uri(picture, "image/webp")}">'
    )
    return Html(html, f"[Figure: {' '.join(alt.split())}]")


def _webp(fig: Figure) -> bytes:
    """The figure as WebP: exact where that is small (lines), else lossy (images)."""
    data = _saved(fig, lossless=True, quality=80)
    return data if len(data) <= LOSSLESS_BYTES else _saved(fig, quality=80)


def _saved(fig: Figure, **options: Any) -> bytes:
    buffer = io.BytesIO()
    fig.savefig(buffer, format="webp", dpi=STYLE["figure.dpi"], pil_kwargs=options)
    return buffer.getvalue()
