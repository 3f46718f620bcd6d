"""Exercises of chapter 2, Features."""

from collections.abc import Callable
from typing import Any

import numpy as np

from .framework import call, close, exercise


@exercise("02.1", hint="X[k] is the sum over n of x[n] exp(-2 pi i k n / N), for k from 0 to N - 1.")
def dft(x: np.ndarray) -> np.ndarray:
    """The discrete Fourier transform of `x`, shape (N,), from its definition: complex, shape (N,)."""
    n = np.arange(len(x))
    return np.exp(-2j * np.pi * np.outer(n, n) / len(x)) @ x


@dft.checker
def _(answer: Callable[..., Any]) -> None:
    rng = np.random.default_rng(2)
    for length in (1, 2, 7, 16):
        x = rng.standard_normal(length)
        close(call(answer, x.copy()), np.fft.fft(x), f"The transform of {length} samples", atol=1e-5)


dft.wrong(
    np.fft.rfft,
    np.fft.ifft,
    lambda x: np.fft.fft(x).conj(),
    lambda x: np.abs(np.fft.fft(x)),
    lambda x: np.fft.fft(x) / len(x),
)
