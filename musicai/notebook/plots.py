"""The book's plots of sound and notes; each returns a Figure for `show`."""

from collections.abc import Sequence

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from musicai.audio import hz_to_mel, mel_to_hz
from musicai.notes import Score, Track

from .figures import PALETTE, figure

NAMES = ("C", "C♯", "D", "D♯", "E", "F", "F♯", "G", "G♯", "A", "A♯", "B")
BLACK_KEYS = (1, 3, 6, 8, 10)
HZ_TICKS = (30, 60, 125, 250, 500, 1_000, 2_000, 4_000, 8_000, 16_000)
MOST_NAMED = 24  # notes; more names than this would be illegible at 390 pixels


def plot_waveform(audio, sr: int, *, start: float = 0.0, title: str = "", ax: Axes | None = None) -> Figure:
    """Plot amplitude against time, one axis per channel.

    Short excerpts (up to 200 samples) also show the individual samples.

    >>> fig = plot_waveform(np.sin(np.arange(800) / 10), 16_000, title="A sine wave")

    Args:
        audio: samples, shape (time,) or (channels, time).
        sr: sampling rate in Hz.
        start: time of the first sample, in seconds.
        title: the title above the plot.
        ax: axes to draw one channel on, instead of a new figure.

    Returns: the figure.

    Raises:
        ValueError: if `ax` is given but there are several channels.

    Chapter 1.
    """
    channels = np.atleast_2d(_array(audio))
    fig, axes = _axes(ax, len(channels))
    seconds = start + np.arange(channels.shape[1]) / sr
    scale, unit = (1_000, "ms") if channels.shape[1] / sr < 0.5 else (1, "s")
    for axis, samples in zip(axes, channels, strict=True):
        axis.plot(seconds * scale, samples, linewidth=1 if len(samples) < 2_000 else 0.6)
        if len(samples) <= 200:
            axis.plot(seconds * scale, samples, ".", color=PALETTE[1], markersize=4)
        axis.set(ylabel="Amplitude", xlim=(seconds[0] * scale, (seconds[-1] + 1 / sr) * scale))
    axes[0].set_title(title)
    axes[-1].set_xlabel(f"Time in {unit}")
    return fig


def plot_spectrogram(values, sr: int, *, hop_length=512, axis="linear", decibels=True, title="", ax=None) -> Figure:
    """Plot a spectrogram with its frequencies in Hz.

    >>> fig = plot_spectrogram(np.random.rand(513, 100), 16_000, hop_length=256)

    Args:
        values: shape (bins, frames). Complex values and magnitudes are shown in dB relative to the loudest; values that
            include negative numbers are assumed to be in dB already.
        sr: sampling rate in Hz.
        hop_length: samples between successive frames.
        axis: "linear" (bins of an FFT), "mel" (Slaney's mel bands up to sr / 2) or "cqt" (semitones from C1, 32.7 Hz).
        decibels: whether to convert the values to dB; False plots them as they are.
        title: the title above the plot.
        ax: axes to draw on, instead of a new figure.

    Returns: the figure.

    Raises:
        ValueError: if `values` is not a matrix, or `axis` is none of the three.

    Chapter 2.
    """
    matrix = _array(values)
    if matrix.ndim != 2 or matrix.size == 0:
        raise ValueError(f"a spectrogram is a matrix (bins, frames); this one has shape {matrix.shape}")
    hertz = _bin_frequencies(axis, len(matrix), sr)
    fig, (axes,) = _axes(ax, 1)
    picture, unit = _levels(matrix, decibels)
    extent = (0, matrix.shape[1] * hop_length / sr, -0.5, len(matrix) - 0.5)
    image = axes.imshow(picture, origin="lower", aspect="auto", interpolation="nearest", extent=extent)
    ticks = _hertz_ticks(axis, hertz)
    axes.set_yticks([_row(tick, hertz) for tick in ticks], [f"{tick:,.0f}" for tick in ticks])
    axes.set(xlabel="Time in s", ylabel="Frequency in Hz", title=title)
    fig.colorbar(image, ax=axes, label=unit, pad=0.02)
    return fig


def plot_piano_roll(score, *, step: float = 0.25, title: str = "", ax: Axes | None = None) -> Figure:
    """Plot notes as bars: pitch against time in beats, one colour per track.

    >>> fig = plot_piano_roll(np.eye(88, 16, dtype=bool))

    Args:
        score: a `Score`, a `Track`, a `Melody`, or a boolean roll of shape (88, frames) whose lowest key is A0.
        step: duration of one frame of the roll, in beats.
        title: the title above the plot; by default the score's name.
        ax: axes to draw on, instead of a new figure.

    Returns: the figure.

    Raises:
        ValueError: if a roll is not a matrix.

    Chapter 1.
    """
    fig, (axes,) = _axes(ax, 1, height=3.4)
    if not hasattr(score, "tracks") and not hasattr(score, "notes"):
        score = Score.from_piano_roll(torch.as_tensor(score), step)
    tracks = [t for t in getattr(score, "tracks", (score,)) if not getattr(t, "is_drum", False)]
    for index, track in enumerate(tracks):
        _draw_notes(axes, track.notes, PALETTE[index % len(PALETTE)], getattr(track, "name", ""))
    _pitch_axis(axes, [note.pitch for track in tracks for note in track.notes])
    axes.set(xlabel="Time in beats", title=title or getattr(score, "name", ""))
    if len(tracks) > 1 and any(track.name for track in tracks):
        axes.legend(loc="upper left", bbox_to_anchor=(0, -0.18), ncols=2)
    return fig


def plot_melody(melody, *, title: str = "", ax: Axes | None = None) -> Figure:
    """Plot a melody, one bar per note, with note names if there are only a few notes.

    >>> from musicai.notes import Melody
    >>> fig = plot_melody(Melody.from_pitches([60, 64, 67]))

    Args:
        melody: a `Melody`, or its notes.
        title: the title above the plot; by default the melody's name.
        ax: axes to draw on, instead of a new figure.

    Returns: the figure.

    Chapter 1.
    """
    notes, ax = tuple(getattr(melody, "notes", melody)), figure()[1] if ax is None else ax
    for note in notes if len(notes) <= MOST_NAMED else ():
        place = note.start + note.duration / 2, note.pitch + 0.5
        ax.annotate(NAMES[note.pitch % 12], place, ha="center", va="bottom", fontsize=9, clip_on=False)
    return plot_piano_roll(Track(notes), title=title or getattr(melody, "name", ""), ax=ax)


def _array(values) -> np.ndarray:
    return values.detach().cpu().numpy() if hasattr(values, "detach") else np.asarray(values)


def _axes(ax: Axes | None, rows: int, height: float = 2.8) -> tuple[Figure, list[Axes]]:
    """The given axes, or those of a new figure."""
    if ax is None:
        fig, axes = figure(rows, height=height if rows == 1 else 1.8 * rows, sharex=True)
        return fig, list(np.atleast_1d(axes))
    if rows != 1:
        raise ValueError(f"ax= takes one channel, but the audio has {rows}; plot each one separately")
    return ax.figure, [ax]


def _bin_frequencies(axis: str, bins: int, sr: int) -> np.ndarray:
    """The centre frequency of each bin in Hz, in ascending order."""
    if axis == "linear":
        return np.linspace(0, sr / 2, bins)
    if axis == "mel":
        return mel_to_hz(np.linspace(0, float(hz_to_mel(sr / 2)), bins + 2)[1:-1]).numpy()
    if axis == "cqt":
        return 32.703 * 2 ** (np.arange(bins) / 12)
    raise ValueError(f'axis={axis!r} is unknown; use "linear", "mel" or "cqt"')


def _hertz_ticks(axis: str, hertz: np.ndarray) -> list[float]:
    """Choose round frequencies at which to label the axis."""
    if axis != "linear":
        ticks = [tick for tick in HZ_TICKS if hertz[0] <= tick <= hertz[-1]]
        room = len(hertz) / 14  # mel bands below 500 Hz lie too close for every label
        return [tick for tick in ticks if _row(2 * tick, hertz) - _row(tick, hertz) > room or tick == ticks[-1]]
    step = next(step for step in (100, 250, 500, 1_000, 2_000, 4_000, 8_000, 1e9) if hertz[-1] / step <= 6)
    return list(np.arange(0, hertz[-1] + 1, step))


def _row(tick: float, hertz: np.ndarray) -> float:
    """Where a frequency lies among the rows of bins."""
    return float(np.interp(tick, hertz, np.arange(len(hertz))))


def _levels(matrix: np.ndarray, decibels: bool) -> tuple[np.ndarray, str]:
    """The values to draw, and their unit."""
    if not decibels:
        return np.abs(matrix) if np.iscomplexobj(matrix) else matrix, ""
    if not np.iscomplexobj(matrix) and matrix.min() < 0:
        return matrix, "dB"
    level = 20 * np.log10(np.maximum(np.abs(matrix), 1e-10))
    return np.maximum(level - level.max(), -80), "dB"


def _draw_notes(axes: Axes, notes: Sequence, colour: str, label: str) -> None:
    starts, durations = [note.start for note in notes], [note.duration for note in notes]
    look = {"height": 0.8, "color": colour, "edgecolor": "#fcfcfc", "linewidth": 0.5}
    axes.barh([note.pitch for note in notes], durations, left=starts, label=label, **look)


def _pitch_axis(axes: Axes, pitches: Sequence[int]) -> None:
    """Label the octaves (C4 is middle C) and shade the black keys' rows."""
    low, high = (min(pitches) - 2, max(pitches) + 3) if pitches else (60, 72)
    for pitch in range(low, high):
        if pitch % 12 in BLACK_KEYS:
            axes.axhspan(pitch - 0.5, pitch + 0.5, color="#eeeeee", zorder=0)
    labelled = [pitch for pitch in range(low, high) if pitch % 12 in ((0,) if high - low > 24 else (0, 4, 7, 9))]
    axes.set_yticks(labelled, [f"{NAMES[pitch % 12]}{pitch // 12 - 1}" for pitch in labelled])
    axes.set(ylim=(low - 0.5, high - 0.5), ylabel="Pitch")
