"""Plausible wrong answers to the exercises of chapter 2; the checker must refuse each of them."""

import numpy as np


def _peaks(strength, threshold):
    return [
        i
        for i in range(1, len(strength) - 1)
        if strength[i - 1] < strength[i] >= strength[i + 1] and strength[i] > threshold
    ]


def _first_come(strength, threshold, gap):
    kept = []
    for i in _peaks(strength, threshold):
        if not kept or i - kept[-1] >= gap:
            kept.append(i)
    return kept


def _replacing(strength, threshold, gap):
    kept = []
    for i in _peaks(strength, threshold):
        if not kept or i - kept[-1] >= gap:
            kept.append(i)
        elif strength[i] > strength[kept[-1]]:
            kept[-1] = i
    return kept


WRONG = {
    "02.1": [
        8_192,
        4_096,
        2_048,
        32_768,
        "16384",
        8_228,
    ],
    "02.2": [
        np.fft.fft,
        np.fft.irfft,
        lambda X: np.fft.ifft(X) * len(X),
        lambda X: np.fft.fft(X) / len(X),
        lambda X: np.fft.ifft(X).real,
    ],
    "02.3": [
        lambda S, sr: np.arange(len(S)) @ S / S.sum(0),
        lambda S, sr: (np.arange(len(S)) * sr / len(S)) @ S / S.sum(0),
        lambda S, sr: np.linspace(0, sr / 2, len(S)) @ S**2 / (S**2).sum(0),
        lambda S, sr: np.linspace(0, sr / 2, len(S))[S.argmax(0)],
        lambda S, sr: np.linspace(0, sr / 2, len(S)) @ S,
    ],
    "02.4": [
        lambda a, b: int(np.argmax([np.corrcoef(np.roll(b, n), a)[0, 1] for n in range(12)])),
        lambda a, b: int(b.argmax() - a.argmax()),
        lambda a, b: int(np.argmin([np.corrcoef(np.roll(a, n), b)[0, 1] for n in range(12)])),
        lambda a, b: 0,
    ],
    "02.5": [
        lambda strength, threshold, gap: np.flatnonzero(strength > threshold).tolist(),
        lambda strength, threshold, gap: [
            i for i in range(1, len(strength) - 1) if strength[i - 1] < strength[i] >= strength[i + 1] > threshold
        ],
        lambda strength, threshold, gap: [
            i
            for i in range(1, len(strength) - 1)
            if strength[i - 1] < strength[i] >= strength[i + 1] and strength[i] > threshold
        ],
        lambda strength, threshold, gap: [],
        _first_come,
        _replacing,
    ],
    "02.6": [
        lambda cost: (0, cost.shape[1] - 1),
        lambda cost: (int(cost[0].argmin()), int(cost[0].argmin()) + len(cost) - 1),
        lambda cost: (int(cost.sum(0).argmin()), int(cost.sum(0).argmin())),
        lambda cost: int(cost[-1].argmin()),
        lambda cost: (int(cost[0].argmin()), int(cost[-1].argmin())),
    ],
}
