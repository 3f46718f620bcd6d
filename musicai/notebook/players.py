"""Sound that travels inside the page: an HTML5 player that holds a small MP3."""

import io
from collections.abc import Mapping
from html import escape
from typing import Any

import numpy as np
import soundfile
import soxr

from .display import Html, attribute, data_uri

MP3_RATES = (8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)
FADE_SECONDS = 0.002  # long enough to hide a step at either end, too short to dull an attack
TAIL_SECONDS = 0.05  # browsers cut the last MP3 frame short


def player(audio: Any, sr: int, label: str = "") -> Html:
    """A sound with its label, played by the browser.

    The audio goes into the page as MP3, about 5 kB a second at 16 kHz, so a chapter can hold minutes of it. It is
    turned down only where it exceeds [-1, 1]. Chapter 1.

    >>> player(audio, 16_000, "Piano, C4")  # doctest: +SKIP

    Args:
        audio: samples as a tensor or array, shape (time,) or (channels, time) with one or two channels.
        sr: sampling rate in Hz.
        label: what is heard; also what a screen reader says.

    Raises:
        ValueError: the audio is empty, not finite, not one or two channels, or its rate is not a positive number.
    """
    samples = _samples(audio, sr)
    seconds = samples.shape[1] / sr
    name = attribute(label) or "Sound"
    source = data_uri(_mp3(_smooth_ends(samples, sr), sr), "audio/mpeg")
    caption = f"<div>{escape(label)}</div>" if label else ""
    html = (
        f'<div class="musicai-player" style="margin:0.4em 0">{caption}'
        f'<audio controls preload="metadata" aria-label="{name}" style="width:100%;max-width:24em" src="{source}">'
        "</audio></div>"
    )
    return Html(html, f"{label or 'Sound'} ({seconds:.1f} s of audio)")


def listening_ladder(sounds: Mapping[Any, Any], sr: int, heading: str = "Step") -> Html:
    """A table of players, one row for each sound: how a model's sound grows while it trains.

    >>> listening_ladder({0: noise, 1_000: better, 10_000: good}, 16_000)  # doctest: +SKIP

    Args:
        sounds: audio by step (or any other label), in the order of the rows; each as for `player`.
        sr: sampling rate of all of them, in Hz.
        heading: what the labels are.
    """
    if not sounds:
        raise ValueError("there is no sound to put in the table; give at least one, such as {0: audio}")
    labels = [f"{key:,}" if isinstance(key, int) else str(key) for key in sounds]
    players = [player(audio, sr, f"{heading} {label}") for label, audio in zip(labels, sounds.values(), strict=True)]
    narrow = "width:1%;white-space:nowrap;text-align:right"
    body = "".join(
        f'<tr><th scope="row" style="{narrow}">{escape(label)}</th><td>{_without_caption(one)}</td></tr>'
        for label, one in zip(labels, players, strict=True)
    )
    head = f'<tr><th scope="col">{escape(heading)}</th><th scope="col">Sound</th></tr>'
    html = f'<table class="musicai-ladder" style="width:100%"><thead>{head}</thead><tbody>{body}</tbody></table>'
    return Html(html, "\n".join(one.text for one in players))


def _without_caption(one: Html) -> str:
    return one.html[one.html.index("<audio") : one.html.index("</audio>")] + "</audio>"


def _samples(audio: Any, sr: int) -> np.ndarray:
    """The audio as float32 (channels, time), checked, and no louder than [-1, 1]."""
    if not (np.isscalar(sr) and np.isfinite(sr) and sr > 0):
        raise ValueError(f"sr={sr!r} is not a sampling rate; give samples per second, such as 16_000")
    if hasattr(audio, "detach"):
        audio = audio.detach().cpu().float().numpy()
    samples = np.atleast_2d(np.asarray(audio, dtype=np.float32))
    if samples.ndim != 2 or samples.shape[0] > 2 or samples.size == 0:
        raise ValueError(f"audio of shape {np.shape(audio)} cannot be played; give (time,), (1, time) or (2, time)")
    if not np.isfinite(samples).all():
        raise ValueError("the audio holds NaN or infinite samples; look at where they come from before listening")
    return samples / max(1.0, float(np.abs(samples).max()))


def _smooth_ends(samples: np.ndarray, sr: int) -> np.ndarray:
    """Fade both ends over two milliseconds and add a short silence: no click at either end."""
    length = min(int(sr * FADE_SECONDS) + 1, samples.shape[1])
    ramp = np.linspace(0, 1, length, endpoint=False, dtype=np.float32)
    faded = samples.copy()
    faded[:, :length] *= ramp
    faded[:, -length:] *= ramp[::-1]
    return np.pad(faded, ((0, 0), (0, int(sr * TAIL_SECONDS))))


def _mp3(samples: np.ndarray, sr: int) -> bytes:
    """MP3 bytes; a rate that MP3 does not know is first resampled to the next one that it does."""
    rate = next((known for known in MP3_RATES if known >= sr), MP3_RATES[-1])
    if rate != sr:
        samples = soxr.resample(samples.T, sr, rate).T
    buffer = io.BytesIO()
    soundfile.write(buffer, np.clip(samples, -1, 1).T, rate, format="MP3")
    return buffer.getvalue()
