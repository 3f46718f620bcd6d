"""The book's one training loop and what it needs; nothing here is specific to music.

`fit` (loop.py) runs your `step` over `batches`; `update` (run.py) is one optimizer step; `Batches` (batches.py)
gives batch n as a pure function of a seed and n; `save_checkpoint` and `load_checkpoint` (checkpoint.py) write and read
one safe file. A run that is killed and resumed ends with the same bits as one that wasn't: checkpoint.py handles
the file, `TrainingRun.resume` (run.py) continues from it, and `seed_all` makes each random draw a function of the step.
"""

import musicai
from musicai.train.batches import Batches, seed_all
from musicai.train.checkpoint import CheckpointError, load_checkpoint, save_checkpoint
from musicai.train.loop import fit
from musicai.train.run import DivergedError, TrainingRun, update

__all__ = musicai.exports(globals())
