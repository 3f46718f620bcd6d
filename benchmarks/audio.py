"""Features of 256 one-second notes at 16 kHz: musicai.audio against librosa, measured in the same run.

    python benchmarks/audio.py [--repeat 5]

There are two peers: librosa called note by note (as its tutorials and most training code do), and once on the batched
array. The floor is the time of the real FFTs alone (torch.fft.rfft over prepared frames): no STFT that uses this
machine's FFT library can be faster. Each figure is the best of `--repeat` rounds, with the rounds of all contenders
interleaved. With one thread, the clock counts the thread's own time, so that a busy machine does not distort it; with
two threads it is the wall clock, which only means something if two cores are free.
"""

import argparse
import time
from collections.abc import Callable

import librosa
import numpy as np
import torch

from musicai import audio

SR, NOTES = 16_000, 256


def notes() -> torch.Tensor:
    """Decaying harmonic tones over four octaves, with a little noise: (NOTES, SR)."""
    time_axis = torch.arange(SR) / SR
    pitch = torch.linspace(36, 84, NOTES)[:, None, None]
    phase = 2 * torch.pi * 440 * 2 ** ((pitch - 69) / 12) * torch.arange(1, 7)[:, None] * time_axis
    tones = (torch.sin(phase) / torch.arange(1, 7)[:, None]).sum(1) * torch.exp(-3 * time_axis)
    return 0.2 * tones + 1e-3 * torch.randn(NOTES, SR, generator=torch.Generator().manual_seed(0))


def contenders(x: torch.Tensor) -> dict[str, tuple[Callable, Callable]]:
    """name -> (ours on the batch, librosa on an array (..., time))."""
    feature = librosa.feature
    return {
        "stft": (lambda: audio.stft(x), librosa.stft),
        "mel": (lambda: audio.melspectrogram(x, SR), lambda y: feature.melspectrogram(y=y, sr=SR)),
        "log-mel": (
            lambda: audio.log_mel(x, SR),
            lambda y: librosa.power_to_db(feature.melspectrogram(y=y, sr=SR)),
        ),
        "mfcc": (lambda: audio.mfcc(x, SR), lambda y: feature.mfcc(y=y, sr=SR)),
        "chroma": (lambda: audio.chroma(x, SR), lambda y: feature.chroma_stft(y=y, sr=SR, tuning=0)),
        "resample to 8 kHz": (
            lambda: audio.resample(x, SR, 8000),
            lambda y: librosa.resample(y, orig_sr=SR, target_sr=8000),
        ),
        "resample to 22.05 kHz": (
            lambda: audio.resample(x, SR, 22_050),
            lambda y: librosa.resample(y, orig_sr=SR, target_sr=22_050),
        ),
    }


def seconds(call: Callable, threads: int = 1) -> float:
    torch.set_num_threads(threads)
    clock = time.thread_time if threads == 1 else time.perf_counter
    begin = clock()
    call()
    return clock() - begin


def measure(calls: dict[str, tuple[Callable, int]], repeat: int) -> dict[str, float]:
    """The best time of each call in seconds, after one warm-up round."""
    best = dict.fromkeys(calls, float("inf"))
    for turn in range(repeat + 1):
        for name, (call, threads) in calls.items():
            spent = seconds(call, threads)
            best[name] = min(best[name], spent) if turn else best[name]
    return best


def floor(x: torch.Tensor, hop: int) -> Callable:
    """The FFTs alone, over prepared frames that stay in the cache, as often as all notes need."""
    frames = audio.frame(torch.nn.functional.pad(x, (1024, 1024)), 2048, hop)[:4].contiguous()
    return lambda: [torch.fft.rfft(frames) for _ in range(NOTES // 4)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeat", type=int, default=5)
    repeat = parser.parse_args().repeat
    x = notes()
    array = x.numpy()
    versions = f"torch {torch.__version__}, librosa {librosa.__version__}"
    print(f"{NOTES} notes of 1 s at {SR} Hz, float32; {versions}; milliseconds, best of {repeat}")
    print(f"{'':22}{'ours 1t':>9}{'ours 2t':>9}{'loop':>9}{'batch':>9}   loop/1t loop/2t batch/1t batch/2t   floor/1t")
    for name, (ours, peer) in contenders(x).items():
        calls = {"1": (ours, 1), "2": (ours, 2), "loop": (lambda p=peer: [p(row) for row in array], 1)}
        calls["batch"] = (lambda p=peer: p(array), 1)
        if "resample" not in name:
            calls["floor"] = (floor(x, 512), 1)
        t = measure(calls, repeat)
        times = "".join(f"{1e3 * t[k]:9.1f}" for k in ("1", "2", "loop", "batch"))
        ratios = "".join(f"{t[peer] / t[k]:8.1f}" for peer in ("loop", "batch") for k in ("1", "2"))
        share = f"{t['floor'] / t['1']:10.0%}" if "floor" in t else ""
        print(f"{name:22}{times}  {ratios}{share}", flush=True)


if __name__ == "__main__":
    np.seterr(all="raise", under="ignore")
    main()
