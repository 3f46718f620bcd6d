"""A million pieces in shards, compared with a folder of MIDI files and a list read from JSON, measured in one run.

    python benchmarks/corpus.py [pieces]        # 1,000,000 by default; takes about 1 GB of disk while it runs

Peers are measured on fewer pieces; their opening time, disk space and memory are scaled up to the same number. For all
three, the files are in the system's file cache.
"""

import json
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from musicai.data import FolkCorpus, ShardedMelodies, variations, write_shards
from musicai.notes import read_midi, write_midi

PEER_PIECES = 4_000
ASKED = 3_000


def pieces_per_second(get: Callable[[int], object], order: Sequence[int]) -> float:
    began = time.perf_counter()
    for i in order:
        get(i)
    return len(order) / (time.perf_counter() - began)


def folder_bytes(path: Path) -> int:
    """The space that all files below a folder take, in bytes; file systems allocate blocks of 4,096."""
    return sum(-(-file.stat().st_size // 4096) * 4096 for file in path.rglob("*") if file.is_file())


def own_memory() -> int:
    """Bytes of memory that only this process holds; pages of mapped files, which the system may drop, do not count.

    Read from /proc (Linux); 0 on other systems.
    """
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon")), 0)


def orders(pieces: int) -> tuple[np.ndarray, range]:
    return np.random.default_rng(0).integers(pieces, size=ASKED), range(ASKED)


def measure(pieces: int, bytes_on_disk: int, open_it) -> dict:
    """Measure time and memory to open a set, then its speed at random and in order; `open_it` gives {label: get(i)}."""
    before, began = own_memory(), time.perf_counter()
    readers = open_it()
    opened = time.perf_counter() - began
    random, ordered = orders(pieces)
    speeds = {
        label: (pieces_per_second(get, random.tolist()), pieces_per_second(get, ordered))
        for label, get in readers.items()
    }
    return {
        "open s": opened / pieces * 1e6,
        "memory": max(own_memory() - before, 0) / pieces,
        "disk": bytes_on_disk / pieces,
        "speeds": speeds,
    }


def shards(folder: Path, tunes, pieces: int) -> dict:
    began = time.perf_counter()
    write_shards(variations(tunes, pieces), folder)
    print(f"wrote {pieces:,} pieces at {pieces / (time.perf_counter() - began):,.0f} per second")

    def opened():
        data = ShardedMelodies(folder)
        return {"shards, arrays": data.notes, "shards, melodies": data.__getitem__}

    return measure(pieces, folder_bytes(folder), opened)


def midi_files(folder: Path, source: ShardedMelodies) -> dict:
    folder.mkdir()
    for i in range(PEER_PIECES):
        write_midi(folder / f"{i}.mid", source[i].to_score())

    def opened():
        paths = sorted(folder.glob("*.mid"))
        return {"folder of MIDI files": lambda i: read_midi(paths[i])}

    return measure(PEER_PIECES, folder_bytes(folder), opened)


def json_list(path: Path, source: ShardedMelodies) -> dict:
    """The naive way: everything as Python lists in memory; a piece is available at once, if there is enough memory."""
    path.parent.mkdir()
    path.write_text(json.dumps([source.notes(i).tolist() for i in range(PEER_PIECES)]))

    def opened():
        data = json.loads(path.read_text())
        return {"list in memory, arrays": lambda i: np.array(data[i])}

    return measure(PEER_PIECES, folder_bytes(path.parent), opened)


def report(rows: list[dict], pieces: int) -> None:
    first = rows[0]
    base = next(iter(first["speeds"].values()))
    print(f"\n{'':26}{'open':>10}{'memory':>12}{'disk':>11}{'random':>14}{'in order':>14}{'random':>9}{'in order':>9}")
    scaled = f"for {pieces / 1e6:g} M"
    print(f"{'':26}{scaled:>10}{scaled:>12}{'per piece':>11}{'pieces/s':>14}{'pieces/s':>14}{'ratio':>9}{'ratio':>9}")
    for row in rows:
        for label, (random, ordered) in row["speeds"].items():
            print(
                f"{label:26}{row['open s'] * pieces / 1e6:>8.2f} s{row['memory'] * pieces / 1e6:>9,.0f} MB"
                f"{row['disk']:>9,.0f} B{random:>14,.0f}{ordered:>14,.0f}"
                f"{random / base[0]:>9.4f}{ordered / base[1]:>9.4f}"
            )


def main(pieces: int) -> None:
    tunes = list(FolkCorpus())
    folder = Path(tempfile.mkdtemp(prefix="musicai-corpus-"))
    try:
        rows = [shards(folder / "shards", tunes, pieces)]
        source = ShardedMelodies(folder / "shards")
        rows += [midi_files(folder / "midi", source), json_list(folder / "json" / "all.json", source)]
        report(rows, pieces)
        began, count = time.perf_counter(), 0
        for _ in zip(source.stream(), range(min(20_000, pieces)), strict=False):
            count += 1
        print(f"\nshuffled stream of melodies: {count / (time.perf_counter() - began):,.0f} pieces/s")
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main(int(sys.argv[1].replace(",", "").replace("_", "")) if len(sys.argv) > 1 else 1_000_000)
