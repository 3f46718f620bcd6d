"""Sampling from a WaveNet: the definition, a network that caches its past, and the way in to the fast ones. Chapter 5.

`sample` returns everything at the end, `stream` yields blocks as they are ready; `total_variation` measures how far a
reduced precision is from the model's own distributions. `Sampler` is the protocol of all samplers, which draw the same
samples from the same uniform numbers: `Naive` and `Cached` here, the compiled ones in `musicai.wavenet._fast`.
"""

from musicai.wavenet.generate.generation import sample, stream, total_variation
from musicai.wavenet.generate.samplers import Cached, Naive, Sampler

__all__ = ["Cached", "Naive", "Sampler", "sample", "stream", "total_variation"]
