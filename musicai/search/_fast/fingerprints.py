"""The loop of `AudioIndex.find`, compiled: looking at the places that are voted for."""

import numpy as np

from musicai.threads import jit


@jit(nogil=True)
def fit(frames, cents, bins, loudness, places, speeds, shifts):
    """The sum of a clip's loudness, less a half, over the landmarks in the index that it covers: float64 (places,).

    `frames` and `cents` are the landmarks, `bins` the frequency of each cent in bins of the clip's spectrum, and
    `loudness` is (bins, frames).
    """
    scores = np.zeros(len(places))
    firsts = np.searchsorted(frames, places)
    height, length = loudness.shape
    for i in range(len(places)):
        ratio = 2.0 ** (-shifts[i] / 12)
        for j in range(firsts[i], len(frames)):
            t = int((frames[j] - places[i]) / speeds[i] + 0.5)
            if t >= length:
                break
            scores[i] += loudness[min(height - 1, int(bins[cents[j]] * ratio + 0.5)), t] - 0.5
    return scores
