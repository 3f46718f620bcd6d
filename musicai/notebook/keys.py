"""A piano keyboard in the page: each key holds its sound, so it plays also where no Python is left."""

from collections.abc import Mapping
from html import escape
from typing import Any

from musicai.notes import note_name

from .display import Html, attribute, data_uri
from .players import _mp3, _samples, _smooth_ends

BLACK = {1, 3, 6, 8, 10}  # pitch classes
PLAY = "new Audio(this.dataset.sound).play()"
KEY = "position:absolute;padding:0;border:1px solid #555;border-radius:0 0 4px 4px;cursor:pointer;font:10px sans-serif;"


def keyboard(sounds: Mapping[int, Any], sr: int, label: str = "Keyboard") -> Html:
    """Piano keys that play: click, touch, or Tab and Enter.

    >>> keyboard({p: generator.play(p, "flute")[0] for p in range(60, 73)}, 16_000, "Flute")  # doctest: +SKIP

    Args:
        sounds: for each MIDI pitch the audio of its key, as for `player`; keys without sound are drawn grey.
        sr: sampling rate of all of them, in Hz.
        label: what is heard.
    Raises:
        ValueError: there is no sound, or one cannot be played.

    Chapter 4.
    """
    if not sounds:
        raise ValueError("there is no sound for any key; give at least one, such as {60: audio}")
    low, high = min(sounds), max(sounds)
    white = [
        p for p in range(low - _is_black(low), high + 1 + _is_black(high)) if not _is_black(p)
    ]  # white at both ends
    keys = "".join(_key(p, white, sounds, sr) for p in sorted(range(white[0], white[-1] + 1), key=_is_black))
    board = f'<div style="position:relative;height:7.5em;width:100%;max-width:{2.4 * len(white):.1f}em">{keys}</div>'
    group = f'<div class="musicai-keyboard" role="group" aria-label="{attribute(label)}" style="margin:0.4em 0">'
    text = f"{label}: {len(sounds)} keys, {note_name(low)} to {note_name(high)}"
    return Html(f"{group}<div>{escape(label)}</div>{board}</div>", text)


def _key(pitch: int, white: list[int], sounds: Mapping[int, Any], sr: int) -> str:
    """One key, placed in per cent of the keyboard's width."""
    width, name = 100 / len(white), note_name(pitch)
    left = width * sum(one < pitch for one in white)
    place = f"left:{left:.2f}%;top:0;width:{width:.2f}%;height:100%;background:#fff;color:#333;z-index:1"
    if _is_black(pitch):
        place = f"left:{left - 0.3 * width:.2f}%;top:0;width:{0.6 * width:.2f}%;height:62%;background:#222;z-index:2"
    text = f'<span style="position:absolute;bottom:4px;left:0;right:0">{name}</span>' if pitch % 12 == 0 else ""
    if pitch not in sounds:
        return f'<span style="{KEY}{place};opacity:0.3"></span>'
    sound = data_uri(_mp3(_smooth_ends(_samples(sounds[pitch], sr), sr), sr), "audio/mpeg")
    button = f'<button type="button" aria-label="{name}" data-sound="{sound}" onclick="{PLAY}"'
    return f'{button} style="{KEY}{place}">{text}</button>'


def _is_black(pitch: int) -> bool:
    return pitch % 12 in BLACK
