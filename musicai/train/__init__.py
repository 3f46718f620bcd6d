"""The one training loop of the book, and what it needs.

`fit` runs your `step` over `batches`; `update` is one optimizer step; `Batches` gives batch n as a pure function of a
seed and n; `save_checkpoint` and `load_checkpoint` read and write one safe file. Nothing here knows about music.
"""

from musicai.train.batches import Batches
from musicai.train.checkpoint import CheckpointError, load_checkpoint, save_checkpoint
from musicai.train.gradients import update
from musicai.train.loop import fit
from musicai.train.run import DivergedError, Run
from musicai.train.seeds import seed_all

__all__ = [
    "Batches",
    "CheckpointError",
    "DivergedError",
    "Run",
    "fit",
    "load_checkpoint",
    "save_checkpoint",
    "seed_all",
    "update",
]
