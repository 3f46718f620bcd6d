"""Files that are whole or not there, and the cache folder."""

import os
import signal
import subprocess
import sys
import threading
from contextlib import ExitStack
from pathlib import Path

import pytest
import torch

from musicai import audio, storage
from musicai.composition import source_melody
from musicai.gmm import GaussianMixture
from musicai.notes import Melody, read_score, write_score
from musicai.search import MelodyIndex
from musicai.storage import atomic_write, cache_dir
from musicai.train import load_checkpoint, save_checkpoint
from musicai.wavenet import WaveNet


def write(path, data: bytes, error: BaseException | None = None) -> None:
    with atomic_write(path) as file:
        file.write(data)
        if error:
            raise error


def test_a_file_is_replaced_when_the_block_ends(tmp_path):
    path = tmp_path / "a.bin"
    write(path, b"old")
    with atomic_write(path) as file:
        file.write(b"new")
        file.flush()
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["a.bin"]


@pytest.mark.parametrize("error", [ValueError("wrong"), KeyboardInterrupt()])
def test_after_an_error_the_old_file_is_there_and_nothing_else(tmp_path, error):
    path = tmp_path / "a.bin"
    write(path, b"old")
    with pytest.raises(type(error)):
        write(path, b"new", error)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a.bin"]


def test_a_full_disk_leaves_the_old_file(tmp_path, monkeypatch):
    write(tmp_path / "a.bin", b"old")

    def full(_descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(storage.os, "fsync", full)
    with pytest.raises(OSError, match=r"No space left on device: '.*/a\.bin'"):
        write(tmp_path / "a.bin", b"new")
    assert (tmp_path / "a.bin").read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a.bin"]


def test_several_files_together(tmp_path):
    def both(error=None):
        with ExitStack() as stack:
            for name in ("a", "b"):
                stack.enter_context(atomic_write(tmp_path / name)).write(b"x")
            if error:
                raise error

    with pytest.raises(ValueError, match="wrong"):
        both(ValueError("wrong"))
    assert os.listdir(tmp_path) == []
    both()
    assert sorted(os.listdir(tmp_path)) == ["a", "b"]


WRITER = """
import sys
from musicai.storage import atomic_write, temporary_path
from pathlib import Path
folder = Path(sys.argv[1])
with atomic_write(folder / "a.bin") as file, temporary_path(folder) as new:
    new.mkdir()
    (new / "part").touch()
    file.write(b"half")
    file.flush()
    print("writing", flush=True)
    sys.stdin.read()
"""


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_what_a_killed_process_left_is_removed_and_what_a_living_one_writes_is_not(tmp_path):
    writers = []
    for _ in range(3):
        command = [sys.executable, "-c", WRITER, str(tmp_path)]
        writers.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
        assert writers[-1].stdout.readline() == "writing\n"
    assert len(os.listdir(tmp_path)) == 6
    for writer in writers[:2]:
        writer.send_signal(signal.SIGKILL)
        writer.communicate()
    write(tmp_path / "b.bin", b"x")
    assert len([name for name in os.listdir(tmp_path) if name.endswith(".tmp")]) == 2, "those of the third"
    writers[2].communicate()
    assert writers[2].returncode == 0
    assert sorted(os.listdir(tmp_path)) == ["a.bin", "b.bin"]
    assert (tmp_path / "a.bin").read_bytes() == b"half"


def test_threads_that_write_the_same_file_do_not_mix(tmp_path):
    blocks = [bytes([i]) * 1000 for i in range(8)]
    together = threading.Barrier(len(blocks))

    def work(block):
        with atomic_write(tmp_path / "a.bin") as file:
            together.wait()
            for _ in range(100):
                file.write(block)

    threads = [threading.Thread(target=work, args=(block,)) for block in blocks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (tmp_path / "a.bin").read_bytes() in [block * 100 for block in blocks]
    assert os.listdir(tmp_path) == ["a.bin"]


def test_a_name_as_long_as_the_system_allows(tmp_path):
    write(tmp_path / ("n" * 255), b"x")
    assert os.listdir(tmp_path) == ["n" * 255]


def test_folders_in_the_way_or_missing_are_named(tmp_path):
    with pytest.raises(IsADirectoryError, match="give the name of a file"):
        write(tmp_path, b"")
    with pytest.raises(FileNotFoundError, match=r"no folder .*none; create it first"):
        write(tmp_path / "none" / "a.bin", b"")


def test_cache_dir_from_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("MUSICAI_CACHE", str(tmp_path / "a" / "b"))
    assert cache_dir() == tmp_path / "a" / "b"
    assert not (tmp_path / "a").exists()
    monkeypatch.setenv("MUSICAI_CACHE", "~/music")
    assert cache_dir() == Path.home() / "music"
    monkeypatch.setenv("MUSICAI_CACHE", "~no such person/music")
    assert cache_dir() == Path("~no such person/music")


@pytest.mark.skipif(sys.platform != "linux", reason="the places on Linux")
@pytest.mark.parametrize(("variables", "place"), [({}, ".cache/musicai"), ({"XDG_CACHE_HOME": "xdg"}, "xdg/musicai")])
def test_cache_dir_by_default(tmp_path, monkeypatch, variables, place):
    for name in ("MUSICAI_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name, value in variables.items():
        monkeypatch.setenv(name, str(tmp_path / value))
    assert cache_dir() == tmp_path / place


def test_a_tilde_is_the_home_folder_in_every_path(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    scale, sound = Melody.from_pitches([60, 62, 64]), torch.zeros(1, 8000)
    for suffix in (".mid", ".musicxml", ".mxl", ".abc"):
        write_score(f"~/scale{suffix}", scale)
        assert source_melody(f"~/scale{suffix}").pitches.tolist() == [60, 62, 64]
        assert read_score(Path(f"~/scale{suffix}")).notes == read_score(tmp_path / f"scale{suffix}").notes
    audio.save("~/silence.wav", sound, 8000)
    assert audio.info("~/silence.wav") == (8000, 8000)
    WaveNet(layers=1, stacks=1, residual_channels=2).save_pretrained("~/model")
    assert WaveNet.from_pretrained("~/model").config.layers == 1
    save_checkpoint("~/run/state", {}, {"step": 3})
    assert load_checkpoint("~/run/state") == {"step": 3}
    GaussianMixture(1).fit([[0.0], [1.0]]).save("~/mixture")
    assert GaussianMixture.load("~/mixture").means_.item() == pytest.approx(0.5)
    MelodyIndex.build([scale], "~/my.index", progress=False)
    assert len(MelodyIndex.open("~/my.index")) == 1
    assert not Path("~").exists()
