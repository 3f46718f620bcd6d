"""The oscillators of `play_curves` for one note on the CPU, without gradients and ten times as fast. Chapter 4."""

import numpy as np
import torch
from torch import Tensor

from musicai.gan.curves import HOP, filtered_noise, harmonics
from musicai.threads import jit


def play_note(curves: Tensor, pitch: Tensor, phase: Tensor, noise: Tensor) -> Tensor:
    """The sound (frames * 128,) of one note's curves (1, 256, frames); noise shorter than the note repeats."""
    amplitude, frequency = (x[0].T.numpy() for x in harmonics(curves, pitch))  # (frames, harmonics)
    amplitude = np.concatenate([amplitude, 2 * amplitude[-1:] - amplitude[-2:-1]])  # the lines go on past the end
    frequency = np.concatenate([frequency, frequency[-1:]]).astype(np.float64)
    cycles = phase[0, : frequency.shape[1]].double().numpy() / (2 * np.pi)
    noise = noise.repeat(1, -(-curves.shape[2] * HOP // noise.shape[1]))[:, : curves.shape[2] * HOP]
    return torch.from_numpy(oscillate(amplitude, frequency, cycles)) + filtered_noise(curves, noise)[0]


@jit(fastmath=True, error_model="numpy", nogil=True)
def oscillate(amplitude, frequency, cycles):
    """A sum of cosines (frames * 128,).

    Amplitudes and cycles per sample (frames + 1, harmonics) are linear within a frame, so the phase is quadratic: each
    step multiplies a rotating z by w, and w by a constant. `cycles` are the phases to start with, and those at the end.
    """
    frames, count = len(amplitude) - 1, len(cycles)
    out = np.empty(frames * HOP, np.float32)
    a, rise, zr, zi, wr, wi, dr, di = np.empty((8, count), np.float32)
    for t in range(frames):
        for k in range(count):
            slope = (frequency[t + 1, k] - frequency[t, k]) / HOP
            a[k], rise[k] = amplitude[t, k], (amplitude[t + 1, k] - amplitude[t, k]) / HOP
            zr[k], zi[k] = np.cos(2 * np.pi * cycles[k]), np.sin(2 * np.pi * cycles[k])
            wr[k], wi[k] = np.cos(2 * np.pi * frequency[t, k]), np.sin(2 * np.pi * frequency[t, k])
            dr[k], di[k] = np.cos(2 * np.pi * slope), np.sin(2 * np.pi * slope)
            cycles[k] = (cycles[k] + HOP * frequency[t, k] + slope * (HOP * (HOP - 1) / 2)) % 1
        for n in range(t * HOP, (t + 1) * HOP):
            total = np.float32(0)
            for k in range(count):
                total += a[k] * zr[k]
                a[k] += rise[k]
                zr[k], zi[k] = zr[k] * wr[k] - zi[k] * wi[k], zr[k] * wi[k] + zi[k] * wr[k]
                wr[k], wi[k] = wr[k] * dr[k] - wi[k] * di[k], wr[k] * di[k] + wi[k] * dr[k]
            out[n] = total
    return out
