"""A one-second recording made as long as a score asks: a loop in step with the pitch, its joint a crossfade.

recording   |--------- head ---------|------- loop -------|
played      |--------- head ---------|------- loop -------|------- loop -------|---- ...
                              ^ its sound before the loop is what the loop's end fades into
"""

import numpy as np

SR = 16_000
END = SR - SR // 40  # the recording's last 20 ms fade out: no loop reaches into them
FADE = SR // 16  # the crossfade: 62.5 ms
SHORTEST, LONGEST = SR // 4, (5 * SR) // 8  # the loop's length in samples
SLOWEST_DECAY = -0.5  # nepers a second: what decays never stands still


def extend(x: np.ndarray, length: int, decays: bool) -> np.ndarray:
    """`x` (16000,) made `length` samples long; float32.

    The loop is as long as makes the waveform before its end most like that before its start (normalised
    cross-correlation): so it holds whole periods, and of vibrato too where it can. What remains unlike is hidden
    by the crossfade. The sound is levelled and looped; what decays goes on decaying at the rate it had.
    """
    tail = x[END - FADE : END]
    if length <= END or np.abs(tail).max() < 1e-3 * np.abs(x).max():
        return np.pad(x, (0, max(0, length - len(x))))[:length].astype(np.float32)
    rate = decay_rate(x)
    flat = x * np.exp(-rate * (np.arange(len(x)) - END) / SR)
    period, likeness = loop_length(flat)
    loop = close_loop(flat, period, likeness)
    start = END - period
    held = np.resize(loop, length - start)
    late = (np.arange(len(held)) - period) / SR  # seconds after the recording's end
    after = min(rate, SLOWEST_DECAY) if decays else 0.0
    held *= np.exp(rate * np.minimum(late, 0) + after * np.maximum(late, 0))
    return np.concatenate([x[:start], held])[:length].astype(np.float32)


def decay_rate(x: np.ndarray) -> float:
    """The slope of the log of the level in nepers a second over the part that can be looped (negative: it decays)."""
    frames = x[END - LONGEST : END].reshape(-1, SR // 40)
    level = np.sqrt(np.square(frames).mean(axis=1)) + 1e-5 * np.abs(x).max()
    return float(np.clip(np.polyfit(np.arange(len(level)) / 40, np.log(level), 1)[0], -30, 3))


def loop_length(flat: np.ndarray) -> tuple[int, float]:
    """The lag whose `FADE` samples are most like the last ones before `END`, and their correlation."""
    tail = flat[END - FADE : END]
    past = flat[END - LONGEST - FADE : END - SHORTEST]  # lag LONGEST first
    dots = np.correlate(past, tail, mode="valid")
    energy = np.concatenate([[0.0], np.cumsum(np.square(past, dtype=np.float64))])
    norms = np.sqrt((energy[FADE:] - energy[:-FADE]) * (tail @ tail)) + 1e-12
    best = int(np.argmax(dots / norms))
    return LONGEST - best, float(np.clip(dots[best] / norms[best], 0, 1))


def close_loop(flat: np.ndarray, period: int, likeness: float) -> np.ndarray:
    """The last `period` samples before `END`, faded at their end into what comes before their start.

    The gain keeps the power steady for sounds of this correlation: a linear crossfade where they are equal, an
    equal-power one where they are unrelated.
    """
    loop = flat[END - period : END].copy()
    into = (np.arange(FADE) + 0.5) / FADE
    out = 1 - into
    gain = 1 / np.sqrt(into**2 + out**2 + 2 * likeness * into * out)
    loop[-FADE:] = gain * (out * loop[-FADE:] + into * flat[END - period - FADE : END - period])
    return loop
