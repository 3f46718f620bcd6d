"""Drawing from a WaveNet: the definition, the cached network, and a compiled one. Chapter 5.

`sample` returns everything at the end, `stream` gives blocks as they are ready; `total_variation` says how far a
reduced precision is from the model's own distributions. All samplers draw the same from the same uniform numbers.
"""

from musicai.sampling.distance import total_variation
from musicai.sampling.sample import sample, stream

__all__ = ["sample", "stream", "total_variation"]
