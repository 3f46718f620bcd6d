"""Curves to sound: a bank of oscillators and a filtered noise. Chapter 4."""

import math

import torch
from torch import Tensor

from musicai.audio import istft, stft
from musicai.gan.instrument_curves import (
    FADE,
    FLOOR,
    HARMONICS,
    HOP,
    LEVEL,
    MISTUNING,
    N_FFT,
    NOISE,
    NOISE_UP,
    SR,
    between_frames,
    from_level,
    from_mistuning,
    hz,
    noise_bands,
)


def play_curves(curves: Tensor, pitch: Tensor, phase: Tensor, noise: Tensor) -> Tensor:
    """The sound of curves: harmonics and noise, differentiable.

    Args:
        curves: (B, 256, frames), see `musicai.gan.instrument_curves`.
        pitch: (B,) MIDI numbers.
        phase: (B, 96), where each harmonic starts, in radians.
        noise: (B, frames * 128) white, of variance one.
    Returns:
        (B, frames * 128) at 16 kHz.
    """
    return _harmonics(curves, pitch, phase) + _noise(curves, noise)


def _harmonics(curves: Tensor, pitch: Tensor, phase: Tensor) -> Tensor:
    count = int((SR / 2 / hz(pitch.float().min())).clamp(1, HARMONICS))  # no note of the batch has more
    level, mistuning = curves[:, LEVEL][:, :count], curves[:, MISTUNING][:, :count]
    number = torch.arange(1, count + 1, device=curves.device)[:, None]
    frequency = number * hz(pitch.float())[:, None, None] * 2 ** (from_mistuning(mistuning) / 12)  # (B, K, frames)
    amplitude = between_frames(from_level(level) * (frequency < SR / 2))
    turns = _turns(frequency / SR)  # (B, K, time)
    return (amplitude * torch.cos(math.tau * turns + phase[:, :count, None])).sum(1)


def _turns(steps: Tensor) -> Tensor:
    """Whole and parts of turns at each sample, modulo 1, for frequencies in turns a sample (B, K, frames).

    The sum of a straight line has a closed form within a frame; whole turns are dropped before frames are added up.
    """
    n = torch.arange(HOP, device=steps.device, dtype=steps.dtype)
    rise = torch.cat([steps.diff(dim=-1), torch.zeros_like(steps[..., :1])], -1) / HOP  # the last frame holds
    whole = HOP * steps + rise * (HOP * (HOP - 1) / 2)
    start = torch.cat([torch.zeros_like(whole[..., :1]), whole[..., :-1].remainder(1)], -1).cumsum(-1).remainder(1)
    return (start[..., None] + steps[..., None] * n + rise[..., None] * (n * (n - 1) / 2)).flatten(-2)


def _noise(curves: Tensor, noise: Tensor) -> Tensor:
    level = from_level(curves[:, NOISE]) / NOISE_UP  # (B, 64, frames)
    filters = noise_bands(curves.device).to(level).T @ level  # (B, 257, frames)
    filters = torch.cat([filters, filters[..., -1:]], -1)
    return istft(stft(noise, N_FFT, HOP) * filters, HOP, length=noise.shape[-1])


def fade_out(audio: Tensor, length: int, samples: int = FADE) -> Tensor:
    """The first `length` samples of (..., time), the last `samples` of them falling to 0 as half a cosine."""
    samples = min(samples, length)
    ramp = torch.arange(1, samples + 1, device=audio.device, dtype=audio.dtype) / samples
    head, tail = audio[..., : length - samples], audio[..., length - samples : length]
    return torch.cat([head, tail * (0.5 + 0.5 * torch.cos(math.pi * ramp))], -1)


def hold(curves: Tensor, frames: int) -> Tensor:
    """Curves (B, 256, T) made `frames` long.

    Beyond their end they swing back and forth over their second half, without its fall; a note that decays by more than
    3 dB a second goes on to do so at the rate it had.
    """
    have, half = curves.shape[2], curves.shape[2] // 2
    if frames <= have:
        return curves[..., :frames]
    time = torch.arange(frames, device=curves.device)
    swing = (time - half) % (2 * (have - 1 - half))
    index = torch.where(time < have, time, have - 1 - (swing - (have - 1 - half)).abs())
    fall = _fall(curves)[:, None, None]  # level a frame, 0 or less
    missing = fall * (time - index) * (time >= have)
    held = curves[..., index]
    levels = torch.cat([held[:, LEVEL] + missing, held[:, MISTUNING], held[:, NOISE] + missing], 1)
    return torch.cat([curves, levels[..., have:].clamp_min(-1)], -1)


def _fall(curves: Tensor) -> Tensor:
    """How fast the level of a note falls over its second half, in units of level a frame, (B,): 0 where it is held."""
    power = from_level(curves[:, LEVEL]).square().sum(1) + 1e-10  # (B, T)
    level = power[:, power.shape[1] // 2 :].log10() * 20 / FLOOR
    time = torch.arange(level.shape[1], device=curves.device, dtype=level.dtype)
    time = time - time.mean()
    slope = (level * time).sum(1) / time.square().sum()
    return torch.where(slope * FLOOR / 2 * SR / HOP < -3, slope, torch.zeros_like(slope))
