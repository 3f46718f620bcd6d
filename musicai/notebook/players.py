"""Sound inside the page: players, tables of players and a keyboard, each of which holds its sound as a small MP3."""

from collections.abc import Mapping
from html import escape
from itertools import count

import numpy as np
import torch

from musicai.audio import resample
from musicai.audio.files import MP3_RATES, encode
from musicai.notes import note_name

from .display import Html, attribute, data_uri, scripted

FADE_SECONDS = 0.002  # long enough to hide a step at either end, too short to dull an attack
TAIL_SECONDS = 0.05  # browsers cut the last MP3 frame short
_number = count(1)


def player(audio, sr: int, label: str = "") -> Html:
    """Make a labelled player for a sound, played by the browser.

    The audio is stored in the page as MP3, about 5 kB per second at 16 kHz, so a chapter can hold minutes of it. It is
    turned down only if it exceeds [-1, 1].

    >>> player(audio, 16_000, "Piano, C4")  # doctest: +SKIP

    Args:
        audio: samples as a tensor or array, shape (time,) or (channels, time) with one or two channels.
        sr: sampling rate in Hz.
        label: what the listener hears; a screen reader says it too.

    Returns: the player, to be displayed.

    Raises:
        ValueError: if the audio is empty or not finite, does not have one or two channels, or `sr` is not positive.

    Chapter 1.
    """
    samples = _samples(audio, sr)
    seconds = samples.shape[1] / sr
    name = attribute(label) or "Sound"
    source = _mp3(samples, sr)
    caption = f"<div>{escape(label)}</div>" if label else ""
    sound = f'<audio controls preload="metadata" aria-label="{name}" style="width:100%;max-width:24em" src="{source}">'
    html = f'<div class="musicai-player" style="margin:0.4em 0">{caption}{sound}</audio></div>'
    return Html(html, f"{label or 'Sound'} ({seconds:.1f} s of audio)")


def listening_ladder(sounds: Mapping, sr: int, heading: str = "Step") -> Html:
    """Make a table of players, one row per sound, for instance to show how a model sounds as it trains.

    >>> listening_ladder({0: noise, 1_000: better, 10_000: good}, 16_000)  # doctest: +SKIP

    Args:
        sounds: audio by step (or any other label), in the order of the rows; each as for `player`.
        sr: sampling rate of all sounds, in Hz.
        heading: the heading of the column of labels.

    Returns: the table, to be displayed.

    Raises:
        ValueError: if there is no sound, or one of them cannot be played.

    Chapter 4.
    """
    if not sounds:
        raise ValueError("there are no sounds to put in the table; give at least one, such as {0: audio}")
    labels = [f"{key:,}" if isinstance(key, int) else str(key) for key in sounds]
    players = [player(audio, sr, f"{heading} {label}") for label, audio in zip(labels, sounds.values(), strict=True)]
    narrow = "width:1%;white-space:nowrap;text-align:right;vertical-align:middle"
    rows = zip(labels, map(without_caption, players), strict=True)
    body = "".join(
        f'<tr><th scope="row" style="{narrow}">{escape(label)}</th><td>{one}</td></tr>' for label, one in rows
    )
    head = f'<tr><th scope="col">{escape(heading)}</th><th scope="col">Sound</th></tr>'
    html = f'<table class="musicai-ladder" style="width:100%"><thead>{head}</thead><tbody>{body}</tbody></table>'
    return Html(html, "\n".join(one.text for one in players))


def keyboard(sounds: Mapping, sr: int, label: str = "Keyboard") -> Html:
    """Make piano keys that play when clicked, touched, or reached with Tab and pressed with Enter, without Python.

    >>> keyboard({p: generator.play(p, "flute")[0] for p in range(60, 73)}, 16_000, "Flute")  # doctest: +SKIP

    Args:
        sounds: audio by MIDI pitch, each as for `player`; keys without a sound are drawn grey.
        sr: sampling rate of all sounds, in Hz.
        label: what the listener hears.

    Returns: the keyboard, to be displayed.

    Raises:
        ValueError: if there is no sound, or one of them cannot be played.

    Chapter 4.
    """
    if not sounds:
        raise ValueError("there is no sound for any key; give at least one, such as {60: audio}")
    addresses = {int(pitch): _mp3(_samples(audio, sr), sr) for pitch, audio in sorted(sounds.items())}
    text = f"{label}: {len(sounds)} keys, {note_name(min(sounds))} to {note_name(max(sounds))}"
    return Html(scripted("keyboard.js", f"musicai-keyboard-{next(_number)}", label, addresses), text)


def without_caption(one: Html) -> str:
    """The bare audio element of a player."""
    return one.html[one.html.index("<audio") : one.html.index("</audio>")] + "</audio>"


def _samples(audio, sr: int) -> np.ndarray:
    """Check the audio and convert it to float32 (channels, time), scaled down if it exceeds [-1, 1]."""
    if not (np.isscalar(sr) and np.isfinite(sr) and sr > 0):
        raise ValueError(f"sr={sr!r} is not a sampling rate; give a number of samples per second, such as 16_000")
    if hasattr(audio, "detach"):
        audio = audio.detach().cpu().float().numpy()
    samples = np.atleast_2d(np.asarray(audio, dtype=np.float32))
    if samples.ndim != 2 or samples.shape[0] > 2 or samples.size == 0:
        raise ValueError(f"audio of shape {np.shape(audio)} cannot be played; give (time,), (1, time) or (2, time)")
    if not np.isfinite(samples).all():
        raise ValueError("the audio contains NaN or infinity; find out where they come from before you listen")
    return samples / max(1.0, float(np.abs(samples).max()))


def _smooth_ends(samples: np.ndarray, sr: int) -> np.ndarray:
    """Fade both ends over two milliseconds and append a short silence, so that neither end clicks."""
    length = min(int(sr * FADE_SECONDS) + 1, samples.shape[1])
    ramp = np.linspace(0, 1, length, endpoint=False, dtype=np.float32)
    faded = samples.copy()
    faded[:, :length] *= ramp
    faded[:, -length:] *= ramp[::-1]
    return np.pad(faded, ((0, 0), (0, int(sr * TAIL_SECONDS))))


def _mp3(samples: np.ndarray, sr: int) -> str:
    """Encode as the data of an MP3, first resampling to the next higher rate that MP3 supports if necessary."""
    rate = next((known for known in MP3_RATES if known >= sr), MP3_RATES[-1])
    sound = resample(torch.from_numpy(_smooth_ends(samples, sr)), sr, rate)
    return data_uri(encode(sound, rate, ".mp3"), "audio/mpeg")
