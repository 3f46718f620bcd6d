"""Ask an index, and measure the time and the memory; a process of its own, which imports nothing else.

    python benchmarks/asking.py INDEX QUERIES.json

`search.py` writes the queries, and imports libraries that those who search for notes don't need.
"""

import json
import math
import sys
import time
from pathlib import Path

import numpy as np

from musicai.search import MelodyIndex, Query


def rank_of(answers: list, right: set) -> float:
    """The place, from 1, of the first right answer; infinite if there is none."""
    return next((place for place, answer in enumerate(answers, 1) if answer in right), math.inf)


def ask(index: MelodyIndex, query, k: int = 10) -> list[int]:
    """The positions in the collection of the pieces found."""
    return [int(match.id) for match in index.find(query, k)]


def ask_million(path: str, queries: str) -> dict:
    """Ranks and seconds of each query, and the most memory that the process held."""
    index, found = MelodyIndex.open(path), {}
    for what, asked in json.loads(Path(queries).read_text()).items():
        ranks, spent = found[what] = [], []
        for i, *notes in asked:
            query = Query(*map(np.array, notes))
            began = time.perf_counter()
            ranks.append(rank_of(ask(index, query), {i}))
            spent.append(time.perf_counter() - began)
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return found | {"mb": int(status["VmHWM"].split()[0]) / 1024}


if __name__ == "__main__":
    print(json.dumps(ask_million(*sys.argv[1:])))
