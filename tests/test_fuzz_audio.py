"""2,000 damaged sound files: each is a finite sound or one AudioError; no crash, no hang, bounded memory.

The files are read in a process of their own, so that a crash or hang of the native decoder names its seed.
`python tests/test_fuzz_audio.py 0 20000` runs more of them.
"""

import io
import random
import resource
import signal
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import soundfile
from audio_helpers.frames import ogg_checksum

SECONDS_A_FILE = 10
MEMORY = 2**29  # bytes beyond what the process holds before the first file
CODINGS = [
    ("WAV", "PCM_16", 1), ("WAV", "FLOAT", 2), ("WAV", "PCM_24", 2), ("WAV", "ULAW", 1), ("WAV", "IMA_ADPCM", 1),
    ("FLAC", "PCM_16", 1), ("FLAC", "PCM_24", 2), ("FLAC", "PCM_16", 2),
    ("OGG", "VORBIS", 1), ("OGG", "VORBIS", 2), ("OGG", "OPUS", 1),
    ("MP3", "MPEG_LAYER_III", 1), ("MP3", "MPEG_LAYER_III", 2), ("AIFF", "PCM_16", 2),
]  # fmt: skip
VALUES = [0, 1, 2, 255, 1000, 1024, 0x7FFF, 0xFFFF, 2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**63 - 1, 2**64 - 1]
MARKS = [b"RIFF", b"WAVE", b"fmt ", b"data", b"fact", b"PEAK", b"fLaC", b"OggS", b"vorbis", b"OpusHead", b"\xff\xf8"]
MARKS += [b"\xff\xf3", b"Info", b"COMM", b"SSND"]


def originals() -> list[bytes]:
    """Small files of every kind, from the real recording beside this test."""
    real, _ = soundfile.read(Path(__file__).with_name("test_audio_real.flac"), dtype="float32", always_2d=True)
    files = []
    for k, (container, coding, channels) in enumerate(CODINGS):
        buffer = io.BytesIO()
        sound = real[k * 3000 : k * 3000 + 6000, :channels]
        soundfile.write(buffer, sound, 24_000, format=container, subtype=coding)
        files.append(buffer.getvalue())
    return files


def mutant(seed: int, files: list[bytes]) -> bytes:
    """One damaged file, a function of the seed."""
    rng = random.Random(seed)
    data = bytearray(rng.choice(files))
    for _ in range(rng.choice([1, 1, 1, 2, 4])):
        rng.choice([flip, flip, truncate, splice, field, field, chunk, chunk, cut, repeat])(rng, data, files)
    return repair_ogg(bytes(data)) if rng.random() < 0.5 else bytes(data)


def flip(rng, data, files):
    for _ in range(rng.choice([1, 2, 8, 64])):
        if data:
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def truncate(rng, data, files):
    del data[rng.randrange(len(data) + 1) :]


def splice(rng, data, files):
    other, at = rng.choice(files), rng.randrange(len(data) + 1)
    data[at:] = other[rng.randrange(len(other)) :]


def write_number(rng, data, at):
    size, order = rng.choice([1, 2, 3, 4, 8]), rng.choice(["little", "big"])
    value = rng.choice([*VALUES, rng.getrandbits(64)]) % 256**size
    data[at : at + size] = value.to_bytes(size, order)


def field(rng, data, files):
    write_number(rng, data, rng.randrange(100))


def chunk(rng, data, files):
    found = [data.find(mark) for mark in MARKS if mark in data]
    if found:
        write_number(rng, data, rng.choice(found) + rng.randrange(4, 28))


def cut(rng, data, files):
    at = rng.randrange(len(data) + 1)
    del data[at : at + rng.choice([1, 2, 3, 4, 100, 1000])]


def repeat(rng, data, files):
    at, size = rng.randrange(len(data) + 1), rng.choice([1, 4, 100, 1000])
    data[at:at] = data[at : at + size] * rng.choice([1, 2, 10])


def repair_ogg(data: bytes) -> bytes:
    """Right checksums, so that the damage gets past them to the decoder."""
    data, at = bytearray(data), 0
    while (at := data.find(b"OggS", at)) >= 0 and at + 27 <= len(data):
        count = data[at + 26]
        end = at + 27 + count + sum(data[at + 27 : at + 27 + count])
        data[at + 22 : at + 26] = bytes(4)
        data[at + 22 : at + 26] = struct.pack("<I", ogg_checksum(bytes(data[at:end])))
        at = end
    return bytes(data)


def check(path: Path, seed: int) -> bool:
    """Whether the file is a sound; anything but a finite sound or AudioError raises."""
    from musicai.audio import AudioError, load

    reason = None
    try:
        audio, sr = load(path, sr=16_000 if seed % 4 == 0 else None, mono=seed % 8 == 0)
    except AudioError as error:
        reason = str(error)
    if reason is not None:
        assert reason.startswith(f"{path}: ")
        assert len(reason) > len(str(path)) + 10
        return False
    assert audio.ndim == 2
    assert audio.numel() > 0
    assert sr > 0
    assert bool(audio.isfinite().all())
    return True


def main(first: int, last: int) -> None:
    """Read the files of seeds first..last - 1; say each seed before its file is read."""
    import musicai.audio  # noqa: F401  memory is counted from here

    used = (
        int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize() if sys.platform == "linux" else 0
    )
    if used:
        resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, used + MEMORY))
    files, valid = originals(), 0
    with tempfile.TemporaryDirectory() as folder:
        for k, data in enumerate(files):
            path = Path(folder, f"original-{k}")
            path.write_bytes(data)
            assert check(path, 1), "an undamaged file must load"
        for seed in range(first, last):
            print("seed", seed, flush=True)
            path = Path(folder, "mutant")
            path.write_bytes(mutant(seed, files))
            signal.setitimer(signal.ITIMER_REAL, SECONDS_A_FILE)  # unhandled: ends a native hang, too
            valid += check(path, seed)
            signal.setitimer(signal.ITIMER_REAL, 0)
    print("valid", valid, "peak MiB", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)


def test_damaged_files_give_a_sound_or_one_error():
    run = subprocess.run([sys.executable, __file__, "0", "2000"], capture_output=True, text=True, timeout=500)
    lines = run.stdout.splitlines()
    last = lines[-1] if lines else "nothing"
    assert run.returncode == 0, f"ended with {run.returncode} at {last}:\n{run.stderr[-3000:]}"
    assert sum(line.startswith("seed") for line in lines) == 2000
    valid = int(last.split()[1])
    assert 50 < valid < 1500, f"{valid} of 2,000 loaded: the damage is too weak or too strong to say anything"


def test_mutants_are_a_function_of_the_seed_and_differ():
    files = originals()
    made = [mutant(seed, files) for seed in range(50)]
    assert made == [mutant(seed, files) for seed in range(50)]
    assert len(set(made)) > 45
    assert np.mean([data in files for data in made]) < 0.1


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
