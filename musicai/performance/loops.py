"""Making a one-second recording as long as a score needs: a loop in phase with the pitch, joined by a crossfade.

recording   |--------- head ---------|------- loop -------|
played      |--------- head ---------|------- loop -------|------- loop -------|---- ...
                              ^ the end of the loop fades into the sound just before the loop

Chapter 1.
"""

from typing import NamedTuple

import numpy as np

SR = 16_000
END = SR - SR // 40  # the last 20 ms of a recording fade out, so no loop reaches into its last 25
FADE = SR // 16  # the crossfade: 62.5 ms
SHORTEST, LONGEST = SR // 4, (5 * SR) // 8  # the loop's length in samples
SLOWEST_DECAY = -0.5  # nepers per second: a decaying note never stops decaying


class Loop(NamedTuple):
    """Where a recording loops: its decay in nepers per second, the loop's length, and the joined ends' correlation."""

    rate: float
    period: int
    likeness: float


def find_loop(x: np.ndarray) -> Loop | None:
    """The loop of a recording (16000,); None if it is silent by then.

    Its length maximises the normalised cross-correlation between the waveforms before its end and before its start,
    so it contains whole periods, of the vibrato too where possible.
    """
    if np.abs(x[END - FADE : END]).max() < 1e-3 * np.abs(x).max():
        return None
    rate = decay_rate(x)
    return Loop(rate, *loop_length(level(x, rate)))


def extend(x: np.ndarray, length: int, decays: bool, loop: Loop | None) -> np.ndarray:
    """A recording (16000,) extended or cut to `length` samples; float32.

    The sound is levelled and looped, and the crossfade hides what differs; a decaying sound keeps its rate of decay.
    """
    if length <= END or loop is None:
        return np.pad(x, (0, max(0, length - len(x))))[:length].astype(np.float32)
    start = END - loop.period
    held = np.resize(close_loop(level(x, loop.rate), loop), length - start)
    late = (np.arange(len(held), dtype=np.float32) - loop.period) / SR  # seconds after the recording's end
    after = min(loop.rate, SLOWEST_DECAY) if decays else 0.0
    held *= np.exp(loop.rate * np.minimum(late, 0) + after * np.maximum(late, 0))
    return np.concatenate([x[:start], held])


def level(x: np.ndarray, rate: float) -> np.ndarray:
    """`x` without its decay: as loud everywhere as it is at `END`."""
    return x * np.exp(-rate * (np.arange(len(x), dtype=np.float32) - END) / SR)


def decay_rate(x: np.ndarray) -> float:
    """The slope of the log level over the part that can be looped, in nepers per second (negative: it decays)."""
    frames = x[END - LONGEST : END].reshape(-1, SR // 40)
    rms = np.sqrt(np.square(frames).mean(axis=1)) + 1e-5 * np.abs(x).max()
    return float(np.clip(np.polyfit(np.arange(len(rms)) / 40, np.log(rms), 1)[0], -30, 3))


def loop_length(flat: np.ndarray) -> tuple[int, float]:
    """The lag at which the last `FADE` samples before `END` correlate best with earlier ones, and that correlation."""
    tail = flat[END - FADE : END]
    past = flat[END - LONGEST - FADE : END - SHORTEST]  # lag LONGEST first
    dots = np.correlate(past, tail, mode="valid")
    energy = np.concatenate([[0.0], np.cumsum(np.square(past, dtype=np.float64))])
    norms = np.sqrt((energy[FADE:] - energy[:-FADE]) * (tail @ tail)) + 1e-12
    best = int(np.argmax(dots / norms))
    return LONGEST - best, float(np.clip(dots[best] / norms[best], 0, 1))


def close_loop(flat: np.ndarray, loop: Loop) -> np.ndarray:
    """The last `loop.period` samples before `END`, whose end fades into what precedes their start.

    The gain keeps the power constant given the correlation of the two sounds: a linear crossfade where they are equal,
    an equal-power one where they are unrelated.
    """
    start = END - loop.period
    body = flat[start:END].astype(np.float32)
    into = (np.arange(FADE, dtype=np.float32) + 0.5) / FADE
    out = 1 - into
    gain = 1 / np.sqrt(into**2 + out**2 + 2 * loop.likeness * into * out)
    body[-FADE:] = gain * (out * body[-FADE:] + into * flat[start - FADE : start])
    return body
