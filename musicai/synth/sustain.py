"""A one-second recording made as long as a score asks: a loop in step with the pitch, its joint a crossfade.

recording   |--------- head ---------|------- loop -------|
played      |--------- head ---------|------- loop -------|------- loop -------|---- ...
                              ^ its sound before the loop is what the loop's end fades into
"""

from typing import NamedTuple

import numpy as np

SR = 16_000
END = SR - SR // 40  # the recording's last 20 ms fade out: no loop reaches into them
FADE = SR // 16  # the crossfade: 62.5 ms
SHORTEST, LONGEST = SR // 4, (5 * SR) // 8  # the loop's length in samples
SLOWEST_DECAY = -0.5  # nepers a second: what decays never stands still


class Loop(NamedTuple):
    """Where a recording loops: its decay in nepers a second, the loop's length, and how alike the joined ends are."""

    rate: float
    period: int
    likeness: float


def find_loop(x: np.ndarray) -> Loop | None:
    """The loop of a recording (16000,); None where nothing is left to loop.

    It is as long as makes the waveform before its end most like that before its start (normalised
    cross-correlation): so it holds whole periods, and of vibrato too where it can.
    """
    if np.abs(x[END - FADE : END]).max() < 1e-3 * np.abs(x).max():
        return None
    rate = decay_rate(x)
    return Loop(rate, *loop_length(level(x, rate)))


def extend(x: np.ndarray, length: int, decays: bool, loop: Loop | None) -> np.ndarray:
    """`x` (16000,) made `length` samples long; float32.

    The sound is levelled and looped, the crossfade hiding what remains unlike; what decays goes on decaying at the
    rate it had.
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
    """`x` with its decay undone, as loud everywhere as it is at `END`."""
    return x * np.exp(-rate * (np.arange(len(x), dtype=np.float32) - END) / SR)


def decay_rate(x: np.ndarray) -> float:
    """The slope of the log of the level in nepers a second over the part that can be looped (negative: it decays)."""
    frames = x[END - LONGEST : END].reshape(-1, SR // 40)
    rms = np.sqrt(np.square(frames).mean(axis=1)) + 1e-5 * np.abs(x).max()
    return float(np.clip(np.polyfit(np.arange(len(rms)) / 40, np.log(rms), 1)[0], -30, 3))


def loop_length(flat: np.ndarray) -> tuple[int, float]:
    """The lag whose `FADE` samples are most like the last ones before `END`, and their correlation."""
    tail = flat[END - FADE : END]
    past = flat[END - LONGEST - FADE : END - SHORTEST]  # lag LONGEST first
    dots = np.correlate(past, tail, mode="valid")
    energy = np.concatenate([[0.0], np.cumsum(np.square(past, dtype=np.float64))])
    norms = np.sqrt((energy[FADE:] - energy[:-FADE]) * (tail @ tail)) + 1e-12
    best = int(np.argmax(dots / norms))
    return LONGEST - best, float(np.clip(dots[best] / norms[best], 0, 1))


def close_loop(flat: np.ndarray, loop: Loop) -> np.ndarray:
    """The last `loop.period` samples before `END`, faded at their end into what comes before their start.

    The gain keeps the power steady for sounds of this correlation: a linear crossfade where they are equal, an
    equal-power one where they are unrelated.
    """
    start = END - loop.period
    body = flat[start:END].astype(np.float32)
    into = (np.arange(FADE, dtype=np.float32) + 0.5) / FADE
    out = 1 - into
    gain = 1 / np.sqrt(into**2 + out**2 + 2 * loop.likeness * into * out)
    body[-FADE:] = gain * (out * body[-FADE:] + into * flat[start - FADE : start])
    return body
