"""A closed box: samplers that are fast. Each keeps to `musicai.wavenet.generate.Sampler`, and tests hold it to that.

`compiled.py` packs a model's weights for `kernel.py`, the loop over samples that numba compiles; its vectors come from
`vectors.py`, `elementwise.py` and `products.py`. `gpu.py` is the same as one Triton kernel. Chapter 5.
"""

__all__ = []
