"""Fast samplers, a closed box. Each implements `musicai.wavenet.generate.Sampler`, and tests hold it to that.

`weights.py` pads and packs a model's weights. `compiled.py` is the loop over samples, which numba compiles for the CPU
from the machine code that `vectors.py` writes. `gpu.py` is the same loop as a single Triton kernel. Chapter 5.
"""
