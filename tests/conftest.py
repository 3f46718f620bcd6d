"""What every test needs before anything else is imported."""

import os
from pathlib import Path

# Two processes that fill numba's cache at once can crash on what they then load (numba issue 10128; librosa's pyin is
# such a function). So each process of pytest keeps a cache of its own.
WORKER = os.environ.get("PYTEST_XDIST_WORKER", "main")
os.environ["NUMBA_CACHE_DIR"] = str(Path(__file__).parents[1] / ".pytest_cache" / f"numba-{WORKER}")
