"""2,000 broken MIDI files: each gives a score or a MidiError; no crash, no hang, no flood of memory.

They are read in a process of its own, under a cap on memory and a watchdog, so that a crash in C++ is seen and its seed
named. Another range of seeds: `python tests/test_fuzz_midi.py FIRST COUNT`.
"""

import faulthandler
import random
import resource
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

from musicai.notes import MidiError, Note, Score, Track, read_midi, write_midi

SEEDS = 2_000
EXTRA_MEMORY = 1 << 30  # bytes beyond what the process holds before the first file
SECONDS_A_FILE = 10
TELLING = (0x00, 0x2F, 0x51, 0x58, 0x59, 0x7F, 0x80, 0x90, 0xC0, 0xF0, 0xF7, 0xFF)


def whole_file(rng: random.Random, path: Path) -> bytearray:
    """A sound MIDI file of one to four tracks."""
    tracks = []
    for _ in range(rng.randint(1, 4)):
        notes = [
            Note(rng.randrange(128), rng.uniform(0, 40), rng.uniform(0.01, 4), rng.randint(1, 127))
            for _ in range(rng.randint(1, 30))
        ]
        tracks.append(
            Track(notes, rng.randrange(128), rng.random() < 0.2, "name"[: rng.randrange(5)], rng.uniform(-1, 1))
        )
    score = Score(tracks, ((0, rng.uniform(40, 200)), (8, 90)), ((0, 3, 4), (6, 6, 8)), key="D minor", name="Title")
    write_midi(path, score)
    return bytearray(path.read_bytes())


def flip(data: bytearray, rng: random.Random) -> None:
    data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def telling_byte(data: bytearray, rng: random.Random) -> None:
    data[rng.randrange(len(data))] = rng.choice(TELLING)


def truncate(data: bytearray, rng: random.Random) -> None:
    del data[rng.randrange(len(data)) :]


def splice(data: bytearray, rng: random.Random) -> None:
    here, there = rng.randrange(len(data)), rng.randrange(len(data))
    data[here:here] = data[there : there + rng.randint(1, 60)]


def cut(data: bytearray, rng: random.Random) -> None:
    here = rng.randrange(len(data))
    del data[here : here + rng.randint(1, 20)]


def chunk_length(data: bytearray, rng: random.Random) -> None:
    at = data.find(rng.choice([b"MTrk", b"MThd"]), rng.randrange(len(data)))
    if at >= 0:
        data[at + 4 : at + 8] = struct.pack(
            ">I", rng.choice([0, 1, 5, 2**31 - 1, 2**32 - 1, rng.randrange(2 * len(data))])
        )


def header_field(data: bytearray, rng: random.Random) -> None:
    at = rng.choice([8, 10, 12])
    data[at : at + 2] = struct.pack(">H", rng.choice([0, 1, 2, 3, 0x7FFF, 0x8000, 0xE728, 0xFFFF]))


def long_number(data: bytearray, rng: random.Random) -> None:
    here = rng.randrange(len(data))
    data[here:here] = b"\xff" * rng.randint(1, 5) + bytes([rng.randrange(128)])


def lose_status(data: bytearray, rng: random.Random) -> None:
    places = [i for i, byte in enumerate(data) if byte >= 0x80]
    if places:
        del data[rng.choice(places)]


def stray_meta(data: bytearray, rng: random.Random) -> None:
    here = rng.randrange(len(data))
    data[here:here] = bytes([0, 0xFF, rng.choice([1, 3, 0x2F, 0x51, 0x58, 0x59]), rng.randrange(256)])


def repeat(data: bytearray, rng: random.Random) -> None:
    here = rng.randrange(len(data))
    data[here : here + 8] *= rng.randint(2, 5_000)


MUTATORS = (
    flip, telling_byte, truncate, splice, cut, chunk_length, header_field, long_number, lose_status, stray_meta, repeat
)  # fmt: skip


def mutant(seed: int, path: Path) -> bytes:
    rng = random.Random(seed)
    data = whole_file(rng, path)
    for _ in range(rng.randint(1, 3)):
        if len(data) > 14:
            rng.choice(MUTATORS)(data, rng)
    return bytes(data)


def is_score(path: Path) -> bool:
    """Whether a file reads as a score (anything but a good MidiError ends the process)."""
    try:
        return isinstance(read_midi(path), Score)
    except MidiError as error:
        if "mutant.mid: " in str(error) and len(str(error)) < 500:
            return False
        raise RuntimeError(f"the message names no file, or is too long: {error}") from error


def read_all(first: int, count: int, folder: Path) -> None:
    """Read the mutants; print each seed before its turn, and how many were scores in the end."""
    in_use = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (in_use + EXTRA_MEMORY,) * 2)
    scores = 0
    for seed in range(first, first + count):
        print(seed, flush=True)
        faulthandler.dump_traceback_later(SECONDS_A_FILE, exit=True)
        path = folder / "mutant.mid"
        path.write_bytes(mutant(seed, path))
        scores += is_score(path)
        faulthandler.cancel_dump_traceback_later()
    print("scores", scores)


def test_broken_files_never_crash_hang_or_flood_memory():
    command = [sys.executable, __file__, "0", str(SEEDS)]
    run = subprocess.run(command, capture_output=True, text=True, check=False, timeout=500)
    last = run.stdout.split("\n")[-2] if run.stdout else "none"
    assert run.returncode == 0, f"seed {last} ended the process ({run.returncode}):\n{run.stderr[-3000:]}"
    scores = int(last.removeprefix("scores "))
    assert SEEDS / 20 < scores < SEEDS * 19 / 20, f"{scores} of {SEEDS} were read: the mutants are too tame or too wild"


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        read_all(int(sys.argv[1]), int(sys.argv[2]), Path(temporary))
