"""A stand-in for the tune model: any logits will do, since hard controls must hold whatever the model says."""

import numpy as np

from musicai.composition.tunes import DURATIONS, REST

METERS = [(2, 4), (3, 4), (4, 4), (6, 8), (9, 8), (12, 8), (2, 2), (3, 2), (3, 8), (5, 4), (5, 8), (7, 8), (1, 4)]


class RandomWriter:
    """`TuneWriter` with logits from a random generator; it also checks how it is used."""

    spread = 3.0

    def __init__(self, model, plans, sources=None):
        self.plans, self.sources = plans, sources
        self.rng = np.random.default_rng(plans[0].tonic)
        self.position = np.zeros(len(plans))

    @property
    def finished(self) -> np.ndarray:
        return self.position >= np.array([plan.length for plan in self.plans]) - 1e-6

    def duration_logits(self) -> np.ndarray:
        return self.rng.normal(0, self.spread, (len(self.plans), len(DURATIONS))).astype(np.float32)

    def pitch_logits(self, durations: np.ndarray) -> np.ndarray:
        return self.rng.normal(0, self.spread, (len(self.plans), REST + 1)).astype(np.float32)

    def append(self, durations: np.ndarray, pitches: np.ndarray) -> None:
        assert ((pitches >= 0) & (pitches <= REST)).all()
        self.position = np.where(self.finished, self.position, self.position + DURATIONS[durations])
