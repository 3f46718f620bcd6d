"""One function under sliders: live where Python runs, a picture of it where only the page is left."""

from collections.abc import Callable
from html import escape
from itertools import count
from typing import Any

import ipywidgets as widgets
from IPython.display import display
from IPython.utils.capture import capture_output

from .display import Html, bundle_to_html

STATIC_NOTE = "In Jupyter or Colab, run this cell and move the controls."
_number = count(1)


def explore(fn: Callable[..., Any], **controls: Any) -> None:
    """Call `fn` with the values of the controls, now and at each change, and show what it shows or returns.

    The first result is an ordinary output under the controls: it stays on the rendered page. From the first change
    on, live results take its place.

    >>> explore(hear_alias, frequency=(100, 7_900, 100), sr=[8_000, 16_000])  # doctest: +SKIP

    Args:
        fn: called with one keyword for each control; shows figures and players, or returns them.
        controls: for each argument a widget, or as for `ipywidgets.interactive`: (low, high[, step[, first value]])
            for a slider, a list or dict for a menu, True or False for a tick box, text for a text field.

    Raises:
        ValueError: a control is none of these, or `fn` returns a bare figure (use `show(fig, alt=...)` in it).
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
    note = f'<p style="font-size:0.85em;opacity:0.8">{STATIC_NOTE}</p>'
    settings = ", ".join(f"{name} = {value}" for name, value in values().items())
    display(Html(f'<div class="{mark}">{first}{note}</div>', f"{fn.__name__}: {settings}"))


def _widget(name: str, value: Any) -> widgets.Widget:
    """The control for one argument; a slider reports when it is let go, so that slow functions keep up."""
    *limits, first = value if isinstance(value, tuple) and len(value) == 4 else (value, None)
    made = widgets.interactive.widget_from_abbrev(value if first is None else tuple(limits))
    if made is None:
        raise ValueError(f"{name}={value!r} makes no control; give (low, high, step), a list, True, text or a widget")
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
            if item is not None:
                _refuse_bare_figure(item)
                display(item)
    printed = f"<pre>{escape(captured.stdout)}</pre>" if captured.stdout else ""
    return printed + "".join(bundle_to_html(output.data) for output in captured.outputs)


def _refuse_bare_figure(item: Any) -> None:
    if hasattr(item, "savefig"):
        raise ValueError('a figure needs words for who cannot see it: call show(fig, alt="...") in the function')
