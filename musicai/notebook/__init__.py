"""What the chapters use to show things: figures, players, live source code and interactions.

The only part of `musicai` that imports matplotlib, IPython and ipywidgets (`pip install "musicai[notebook]"`).
Importing it sets the book's figure style for the session; `matplotlib.rcdefaults()` undoes that.

>>> from musicai.notebook import player, plot_waveform, show
>>> show(plot_waveform(audio, sr), alt="One second of a piano note")  # doctest: +SKIP
>>> player(audio, sr, "Piano, C4")  # doctest: +SKIP
"""

# ruff: noqa: E402 (a missing library is named before the parts below need it)
import musicai
import musicai.extras

for _library in ("matplotlib", "IPython", "ipywidgets"):
    musicai.extras.require(_library, "notebook", "musicai.notebook")

from .code import show_code
from .console import sing, studio
from .display import Html, schematic
from .figures import PALETTE, LivePlot, figure, flipbook, show
from .interact import browse, drag_em, explore
from .players import keyboard, listening_ladder, player
from .plots import plot_melody, plot_piano_roll, plot_spectrogram, plot_waveform

__all__ = musicai.exports(globals())
