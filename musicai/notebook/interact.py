"""Interactions: a function with sliders, live if Python is running, and a draggable EM that runs in the page itself."""

from collections.abc import Callable
from html import escape
from itertools import count
from typing import Any

import ipywidgets as widgets
import numpy as np
from IPython.display import display
from IPython.utils.capture import capture_output

from .display import Html, bundle_to_html, scripted

NOTE = '<p style="font-size:0.85em;opacity:0.8">In Jupyter or Colab, run this cell and move the controls.</p>'
_number = count(1)


def explore(fn: Callable[..., Any], **controls: Any) -> None:
    """Call `fn` with the values of some controls, now and after each change, and show what it displays or returns.

    The first result is an ordinary output below the controls, so it stays on the rendered page; live results replace
    it after the first change.

    >>> explore(hear_alias, frequency=(100, 7_900, 100), sr=[8_000, 16_000])  # doctest: +SKIP

    Args:
        fn: called with one keyword argument per control; shows figures and players, or returns them.
        controls: one widget per argument, or an abbreviation as for `ipywidgets.interactive`: (low, high[, step[,
            first value]]) for a slider, a list or dict for a menu, True or False for a checkbox, a string for a text
            field.

    Raises:
        ValueError: if a control is none of these, or `fn` returns a bare figure (use `show(fig, alt=...)` in it).

    Used in Chapters 1 to 7.
    """
    inputs = {name: _widget(name, value) for name, value in controls.items()}
    mark = f"musicai-explore-{next(_number)}"
    live = widgets.HTML()
    hide_first = f"<style>.{mark}{{display:none}}</style>"

    def values() -> dict[str, Any]:
        return {name: widget.value for name, widget in inputs.items()}

    def update(_change: Any) -> None:
        try:
            live.value = hide_first + _call(fn, values())
        except Exception as error:  # a callback has nowhere else to report to
            live.value = f"{hide_first}<pre>{escape(f'{type(error).__name__}: {error}')}</pre>"

    first = _call(fn, values())
    for widget in inputs.values():
        widget.observe(update, names="value")
    display(widgets.VBox([*inputs.values(), live]))
    settings = ", ".join(f"{name} = {value}" for name, value in values().items())
    display(Html(f'<div class="{mark}">{first}{NOTE}</div>', f"{fn.__name__}: {settings}"))


def drag_em(x: Any, means: tuple[float, float] = (-1.0, 0.0), label: str = "") -> Html:
    """Show EM for a mixture of two Gaussians on a line; the reader drags the start and takes the steps, without Python.

    The weights start equal and the standard deviations at 0.5. At most one per page.

    >>> drag_em([-0.25, 0.5, 2.5], label="brightness in octaves")
    [Interaction: EM on 3 numbers; drag its starting means]

    Args:
        x: finite numbers, shape (N,), within a few units of 0.
        means: where the two means start.
        label: what the numbers are, with their unit.

    Returns: the interaction, to be displayed.

    Raises:
        ValueError: if `x` is empty or not finite.

    Chapter 3.
    """
    values = np.asarray(x, dtype=float).ravel()
    if not values.size or not np.isfinite(values).all():
        raise ValueError(f"x must hold at least one number, all of them finite; got {values!r:.100}")
    reach = max(1, int(np.ceil(np.abs([*values, *means]).max())))
    html = scripted("drag_em.js", "musicai-drag-em", label, values.round(4).tolist(), list(means), reach)
    return Html(html, f"[Interaction: EM on {values.size} numbers; drag its starting means]")


def _widget(name: str, value: Any) -> widgets.Widget:
    """The control for one argument; a slider only reports when it is released, so that slow functions keep up."""
    *limits, first = value if isinstance(value, tuple) and len(value) == 4 else (value, None)
    made = widgets.interactive.widget_from_abbrev(value if first is None else tuple(limits))
    if made is None:
        kinds = "(low, high, step), a list, True, text or a widget"
        raise ValueError(f"{name}={value!r} does not describe a control; give {kinds}")
    if made is value:
        return made
    made.description = name.replace("_", " ")
    made.style.description_width = "initial"
    made.layout.max_width = "100%"
    if first is not None:
        made.value = first
    if hasattr(made, "continuous_update"):
        made.continuous_update = False
    return made


def _call(fn: Callable[..., Any], values: dict[str, Any]) -> str:
    """What `fn(**values)` prints, shows and returns, in this order, as one piece of HTML."""
    with capture_output() as captured:
        result = fn(**values)
        for item in result if isinstance(result, tuple | list) else [result]:
            if hasattr(item, "savefig"):
                raise ValueError('a figure needs alt text: call show(fig, alt="...") inside the function')
            if item is not None:
                display(item)
    printed = f"<pre>{escape(captured.stdout)}</pre>" if captured.stdout else ""
    return printed + "".join(bundle_to_html(output.data) for output in captured.outputs)
