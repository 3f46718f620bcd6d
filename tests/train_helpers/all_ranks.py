"""All that test_distributed.py wants of two processes, in one start of `torchrun`: `all_ranks.py FOLDER`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from gan_helpers import ranks as gan
from gmm_helpers import ranks as gmm
from train_helpers import ranks

if __name__ == "__main__":
    folder = Path(sys.argv[1])
    gmm.main(folder)
    gan.train(folder / "gan")
    ranks.main(folder, kill=False)
