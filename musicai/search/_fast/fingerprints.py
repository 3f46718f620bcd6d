"""The two loops of `AudioIndex.find`, compiled: reading the postings, and looking at the places that they vote for."""

import numpy as np
from numba import njit

OPTIONS = {"nogil": True, "cache": True}


@njit(**OPTIONS)
def vote(starts, postings, keys, begins):
    """The frame at which a clip begins if its pair `keys[i]`, at frame `begins[i]`, is the one in a posting: int32.

    One for each posting of each pair.
    """
    count = 0
    for key in keys:
        count += starts[key + 1] - starts[key]
    places = np.empty(count, np.int32)
    count = 0
    for i in range(len(keys)):
        for j in range(starts[keys[i]], starts[keys[i] + 1]):
            places[count] = postings[j] - begins[i]
            count += 1
    return places


@njit(**OPTIONS)
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
