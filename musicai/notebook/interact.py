"""Interactions: a function with sliders, live if Python is running; and others that need no Python."""

from collections.abc import Callable
from html import escape
from itertools import count, product

import ipywidgets as widgets
import numpy as np
from IPython.display import display
from IPython.utils.capture import capture_output

from musicai.scale import scaled

from .display import Html, attempt, bundle_to_html, scripted

STATIC_NOTE = "These controls need Python: run this cell in Jupyter or Colab."
_number = count(1)


def explore(fn: Callable, **controls) -> None:
    """Call `fn` with the values of some controls, now and after each change, and show what it displays or returns.

    The first result is an ordinary output below the controls, so it stays on the rendered page; live results replace
    it after the first change. `browse` needs no Python, but all its results must be computed in advance.

    >>> explore(hear_alias, frequency=(100, 7_900, 100), sr=[8_000, 16_000])  # doctest: +SKIP

    Args:
        fn: called with one keyword argument per control; shows figures and players, or returns them.
        controls: one widget per argument, or an abbreviation as for `ipywidgets.interactive`: (low, high[, step[,
            first value]]) for a slider, a list or dict for a menu, True or False for a checkbox, a string for a text
            field.

    Raises:
        ValueError: if a control is none of these, or `fn` returns a bare figure (use `show(fig, alt=...)` in it).

    Used in Chapter 5.
    """
    inputs = {name: _widget(name, value) for name, value in controls.items()}
    mark = f"musicai-explore-{next(_number)}"
    note, live = widgets.HTML(f'<span style="font-size:0.85em;opacity:0.8">{STATIC_NOTE}</span>'), widgets.HTML()
    hide_first = f"<style>.{mark}{{display:none}}</style>"

    def values() -> dict:
        return {name: widget.value for name, widget in inputs.items()}

    def update(_change) -> None:
        note.value = ""
        live.value = hide_first + attempt(lambda: _call(fn, values()))

    first = _call(fn, values())
    for widget in inputs.values():
        widget.observe(update, names="value")
    display(widgets.VBox([note, *inputs.values(), live]))
    settings = ", ".join(f"{name} = {value}" for name, value in values().items())
    display(Html(f'<div class="{mark}">{first}</div>', f"{fn.__name__}: {settings}"))


def browse(fn: Callable, **choices) -> Html:
    """Call `fn` with every combination of some choices now; the reader then turns to any result without Python.

    >>> browse(lambda n, loud: print(n, loud), n=([1, 2, 3], 2), loud=[False, True])
    [Interaction: <lambda> for each n of 1, 2, 3 and loud of False, True]

    At scale "smoke", only the first result is computed.

    Args:
        fn: called with one keyword argument per choice; shows figures and players, or returns them.
        choices: the values of one argument, as a list; or a list and the value to begin with, which is otherwise the
            list's first. Numbers become a slider, False and True a checkbox, anything else a menu.

    Returns: the interaction, to be displayed.

    Raises:
        ValueError: if a choice is no list of values, or `fn` returns a bare figure (use `show(fig, alt=...)` in it).

    Used in Chapters 3 to 8.
    """
    given = [value if isinstance(value, tuple) and len(value) == 2 else (value, None) for value in choices.values()]
    for name, (values, first) in zip(choices, given, strict=True):
        if not isinstance(values, list) or not values or (first is not None and first not in values):
            raise ValueError(f"{name}={choices[name]!r:.80} does not list its values; give a list, or (list, first)")
    starts = [0 if first is None else values.index(first) for values, first in given]
    places = list(product(*(range(len(values)) for values, _ in given)))
    pages = [""] * len(places)
    for place in scaled(places, smoke=[tuple(starts)]):
        values = {name: values[i] for name, (values, _), i in zip(choices, given, place, strict=True)}
        pages[places.index(place)] = _call(fn, values)
    labels = [[str(value) for value in values] for values, _ in given]
    controls = list(zip([name.replace("_", " ") for name in choices], labels, starts, strict=True))
    html = scripted("browse.js", f"musicai-browse-{next(_number)}", controls, pages)
    each = " and ".join(f"{name} of {', '.join(one)}" for name, one in zip(choices, labels, strict=True))
    return Html(html, f"[Interaction: {fn.__name__} for each {each}]")


def drag_em(x, means: tuple[float, float] = (-1.0, 0.0), label: str = "") -> Html:
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


def _widget(name: str, value) -> widgets.Widget:
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


def _call(fn: Callable, values: dict) -> str:
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
