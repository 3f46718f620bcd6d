"""Exercises of chapter 1, Music as data."""

from collections.abc import Callable
from typing import Any

from .framework import call, close, exercise


@exercise("01.1", value=True, hint="Samples a second, times channels, times bytes a sample, times seconds.")
def bytes_a_minute() -> int:
    """How many bytes is one minute of stereo audio at 44.1 kHz and 16 bits, uncompressed?"""
    return 44_100 * 2 * 2 * 60


@bytes_a_minute.checker
def _(answer: Any) -> None:
    close(answer, 10_584_000, "Your number of bytes", rtol=1e-9)


bytes_a_minute.wrong(5_292_000, 84_672_000, 176_400, "10584000", -10_584_000)


@exercise("01.2", hint="Sampled tones repeat every sr hertz; fold what lies above sr / 2 back below it.")
def alias(frequency: float, sr: float) -> float:
    """The frequency in Hz, from 0 to sr / 2, that is heard when a tone of `frequency` Hz is sampled at `sr` Hz."""
    folded = frequency % sr
    return min(folded, sr - folded)


@alias.checker
def _(answer: Callable[..., Any]) -> None:
    for frequency, sr in ((440, 16_000), (9_000, 16_000), (15_560, 16_000), (16_440, 16_000), (30_000, 8_000)):
        heard = min(frequency % sr, -frequency % sr)
        close(call(answer, frequency, sr), heard, f"The alias of {frequency} Hz at {sr} samples a second")


alias.wrong(
    lambda frequency, sr: frequency % sr,
    lambda frequency, sr: abs(sr - frequency),
    lambda frequency, sr: min(frequency, sr / 2),
    lambda frequency, sr: None,
)
