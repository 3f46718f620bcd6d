"""A closed box: samplers that are fast. Each keeps to `musicai.wavenet.generate.Sampler`, and tests hold it to that.

`weights.py` pads and packs a model's weights. `compiled.py` is the loop over samples that numba compiles for the CPU,
out of the machine code that `vectors.py` writes. `gpu.py` is the same loop as one Triton kernel. Chapter 5.
"""

__all__ = []
