"""Sound files: what is written is read back; everything damaged gives one error that names file and reason."""

import io
import os
import resource
import stat
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from audio_helpers.frames import mp3_frames, ogg_checksum
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from musicai.audio import Audio, AudioError, files, info, load, save

REAL = Path(__file__).with_name("test_audio_real.flac")
SUFFIXES = [".wav", ".flac", ".ogg", ".opus", ".mp3"]


@pytest.fixture(scope="module")
def real() -> torch.Tensor:
    return load(REAL, sr=24_000, duration=1.0)[0]


def refused(path: Path, words: str) -> None:
    """`load` raises one AudioError with the file's name, then the reason."""
    with pytest.raises(AudioError, match=words) as caught:
        load(path)
    assert str(caught.value).startswith(f"{path}: ")


# ---- round trips


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_what_is_saved_is_loaded(tmp_path, real, suffix):
    path = tmp_path / f"música{suffix}"
    save(path, real, 24_000)
    audio, sr = load(path)
    assert (audio.shape, audio.dtype, sr) == (real.shape, torch.float32, 24_000)
    if suffix in (".wav", ".flac"):
        assert float((audio - real).abs().max()) <= 0.5 / 32768 + 1e-7
        save(path, audio, sr)
        assert torch.equal(load(path)[0], audio)  # saved again, no sample changes
    else:
        assert float((audio - real).norm() / real.norm()) < 0.5
    assert os.listdir(tmp_path) == [path.name]


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(codes=st.lists(st.integers(-32768, 32767), min_size=1, max_size=60), sr=st.integers(100, 400_000))
def test_every_16_bit_sample_survives(tmp_path, codes, sr):
    save(tmp_path / "a.wav", torch.tensor(codes) / 32768, sr)
    audio, rate = load(tmp_path / "a.wav")
    assert rate == sr
    assert (audio * 32768).tolist() == [codes]


@pytest.mark.parametrize("coding", ["PCM_U8", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "IMA_ADPCM"])
@pytest.mark.parametrize("container", ["WAV", "WAVEX", "RF64", "AIFF"])
def test_other_wav_and_aiff_codings_are_read(tmp_path, real, container, coding):
    if not soundfile.check_format(container, coding):
        pytest.skip(f"libsndfile writes no {coding} in {container}")
    path = tmp_path / "a"
    soundfile.write(path, real[:1].T.numpy(), 24_000, format=container, subtype=coding)
    audio, _ = load(path)
    assert audio.shape[1] >= real.shape[1]  # ADPCM comes in blocks
    assert float((audio[0, : real.shape[1]] - real[0]).abs().max()) < 0.1


def test_resampling_mono_and_parts(tmp_path):
    whole, sr = load(REAL)
    assert whole.shape == (2, round(3.2 * 22_050))
    mono, _ = load(REAL, mono=True)
    torch.testing.assert_close(mono[0], whole.mean(0))
    part, _ = load(REAL, start=1, duration=0.5)
    assert torch.equal(part, whole[:, sr : sr + sr // 2])
    assert torch.equal(load(REAL, start=3, duration=99)[0], whole[:, 3 * sr :])
    low, rate = load(REAL, sr=16_000)
    assert (low.shape, rate) == ((2, 51_200), 16_000)
    with pytest.raises(AudioError, match=r"ends at 3.200 s"):
        load(REAL, start=4)
    for bad in ({"start": -1}, {"start": float("nan")}, {"duration": 0}, {"duration": float("nan")}, {"sr": 0}):
        with pytest.raises(AudioError, match=next(iter(bad))):
            load(REAL, **bad)


@pytest.mark.parametrize("name", ["sr", "start", "duration"])
def test_a_setting_that_is_no_number_is_named(tmp_path, name):
    save(tmp_path / "a.wav", torch.zeros(100), 8000)
    with pytest.raises(AudioError, match=rf"a\.wav: .*{name}.* must be .*, not 'x'"):
        load(tmp_path / "a.wav", **{name: "x"})
    with pytest.raises(AudioError, match=r"samples must be numbers in \[-1, 1\], not 'x'"):
        Audio("x", 8000)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_every_part_is_in_its_place(tmp_path, suffix, monkeypatch):
    """Seeking, as between blocks, put silence into an mp3, and the last page of an ogg 592 samples late."""
    sr, time = 48_000, torch.arange(8 * 48_000) / 48_000
    truth = torch.sin(2 * torch.pi * 200 * time * (1 + time / 8)) / 2
    save(tmp_path / f"a{suffix}", truth, sr)
    whole, _ = load(tmp_path / f"a{suffix}")
    assert float((whole[0] - truth)[:-480].abs().max()) < 0.1  # the opus encoder bends the last 5 ms
    monkeypatch.setattr(files, "BLOCK", 5_000)
    torch.testing.assert_close(load(tmp_path / f"a{suffix}")[0], whole, rtol=0, atol=1e-5)
    for start in (0.01, 0.5, 1.234, 4.0, 7.7, 7.9, 7.99):
        part, _ = load(tmp_path / f"a{suffix}", start=start, duration=0.2)
        first = round(start * sr)
        torch.testing.assert_close(part, whole[:, first : first + round(0.2 * sr)], rtol=0, atol=1e-5)


def test_one_dimension_is_mono_and_many_blocks_are_one_sound(tmp_path):
    x = torch.sin(torch.arange(600_000) / 50) / 2
    for suffix in (".wav", ".flac", ".ogg"):
        save(tmp_path / f"a{suffix}", x, 48_000)
        audio, _ = load(tmp_path / f"a{suffix}")
        assert audio.shape == (1, 600_000)
        assert float((audio[0] - x).abs().max()) < 0.05


# ---- damaged files


def test_missing_folders_and_strange_files(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"absent.wav"):
        load(tmp_path / "absent.wav")
    refused(tmp_path, "it is a folder or a device")
    os.mkfifo(tmp_path / "pipe.wav")
    refused(tmp_path / "pipe.wav", "it is a folder or a device, not a file")
    (tmp_path / "nothing.wav").touch()
    refused(tmp_path / "nothing.wav", "empty")
    (tmp_path / "text.wav").write_text("this is not a sound")
    refused(tmp_path / "text.wav", "not a sound file")


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".ogg", ".opus"])
def test_every_truncation_is_noticed(tmp_path, real, suffix):
    save(tmp_path / f"a{suffix}", real[:, :4000], 24_000)
    data = (tmp_path / f"a{suffix}").read_bytes()
    path = tmp_path / f"cut{suffix}"
    for size in [*range(0, 100, 7), *np.linspace(100, len(data) - 1, 40).astype(int)]:
        path.write_bytes(data[:size])
        refused(path, r"\w{4}")


@pytest.mark.parametrize(("container", "at"), [("WAV", 40), ("AIFF", 42)])
@pytest.mark.parametrize("extra", [1, 1000, 2**31])
def test_a_header_that_promises_too_much(tmp_path, real, container, at, extra):
    path = tmp_path / "a"
    soundfile.write(path, real.T.numpy(), 24_000, format=container, subtype="PCM_16")
    data, order = bytearray(path.read_bytes()), "<I" if container == "WAV" else ">I"
    at = data.find(b"data" if container == "WAV" else b"SSND") + 4
    struct.pack_into(order, data, at, struct.unpack_from(order, data, at)[0] + extra)
    path.write_bytes(data)
    refused(path, "truncated")


def flac_with(data: bytes, *, frames: int | None = None, rate: int | None = None) -> bytes:
    packed = int.from_bytes(data[18:26], "big")
    packed = packed if frames is None else packed >> 36 << 36 | frames
    packed = packed if rate is None else packed & (1 << 44) - 1 | rate << 44
    return data[:18] + packed.to_bytes(8, "big") + data[26:]


def test_flac_headers_that_lie(tmp_path, real):
    path = tmp_path / "a.flac"
    save(path, real, 24_000)
    data = path.read_bytes()
    for words, lie in [
        ("damaged", {"frames": real.shape[1] + 5000}),
        ("damaged", {"frames": 2**36 - 1}),
        ("damaged", {"rate": 0}),
    ]:
        path.write_bytes(flac_with(data, **lie))
        refused(path, words)


def ogg_with_promise(data: bytes, frames: int) -> bytes:
    at = data.rfind(b"OggS")
    page = bytearray(data[at:])
    struct.pack_into("<qiii", page, 6, frames, *struct.unpack_from("<ii", page, 14), 0)
    struct.pack_into("<I", page, 22, ogg_checksum(bytes(page)))
    return data[:at] + bytes(page)


def test_ogg_headers_that_lie(tmp_path, real):
    path = tmp_path / "a.ogg"
    save(path, real, 24_000)
    data = path.read_bytes()
    path.write_bytes(ogg_with_promise(data, real.shape[1]))
    assert load(path)[0].shape == real.shape  # the test's own page is a right one
    path.write_bytes(ogg_with_promise(data, real.shape[1] + 9000))
    refused(path, "promised")
    path.write_bytes(ogg_with_promise(data, 2**40))
    refused(path, "1099511627776 frames are promised, but only 24064 could be read")
    path.write_bytes(data[:-50] + bytes([data[-50] ^ 1]) + data[-49:])
    refused(path, "truncated or damaged")


@pytest.mark.parametrize("suffix", [".ogg", ".opus"])
def test_a_chained_ogg_is_not_cut_short(tmp_path, real, suffix):
    path = tmp_path / f"a{suffix}"
    save(path, real, 24_000)
    path.write_bytes(2 * path.read_bytes())
    refused(path, "several sounds one after another")


def test_a_tag_before_a_flac_is_skipped(tmp_path, real):
    path = tmp_path / "a.flac"
    save(path, real, 24_000)
    sound, _ = load(path)
    path.write_bytes(b"ID3\4\0\0\0\0\1\0" + bytes(128) + path.read_bytes())
    assert torch.equal(load(path)[0], sound)
    assert info(path) == (sound.shape[1], 24_000)
    assert torch.equal(load(path, start=0.5)[0], sound[:, 12_000:])


def wav(*, channels=1, rate=16_000, bits=16, tag=1, block=None, claimed=None, data=bytes(64)) -> bytes:
    block = channels * bits // 8 if block is None else block
    claimed = len(data) if claimed is None else claimed
    fmt = struct.pack("<4sIHHIIHH", b"fmt ", 16, tag, channels, rate, rate * block % 2**32, block, bits)
    return b"RIFF" + struct.pack("<I", 36 + len(data)) + b"WAVE" + fmt + struct.pack("<4sI", b"data", claimed) + data


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"rate": 0}, "SF_INFO struct incomplete"),
        ({"rate": 2**32 - 1}, "SF_INFO struct incomplete"),
        ({"rate": 2**31 - 1}, "2147483647 Hz"),
        ({"channels": 0, "block": 2}, "Channel count is zero"),
        ({"channels": 1000}, "1000 channels"),
        ({"channels": 65_535, "bits": 8}, "Too many channels"),
        ({"bits": 0, "block": 2}, "unimplemented format"),
        ({"data": b""}, "0 frames"),
        ({"claimed": 2**31 - 5000}, "promises 2147478648 bytes of samples, the file holds 64"),
        ({"tag": 12_345}, "."),
        (
            {"bits": 32, "tag": 3, "data": struct.pack("<4f", 0, float("nan"), 0, 0), "rate": 1000},
            r"NaN or infinite samples, first at 0\.001 s",
        ),
        ({"bits": 32, "tag": 3, "data": struct.pack("<4f", 0, 0, float("inf"), 0)}, "infinite"),
        ({"bits": 64, "tag": 3, "data": struct.pack("<2d", 0, 1e300)}, "infinite"),
    ],
)
def test_wav_headers_and_samples_that_no_sound_has(tmp_path, settings, words):
    path = tmp_path / "a.wav"
    path.write_bytes(wav())
    assert load(path)[0].shape == (1, 32)  # the test's own header is a right one
    path.write_bytes(wav(**settings))
    refused(path, words)


def test_a_wrong_block_size_does_not_matter(tmp_path):
    (tmp_path / "a.wav").write_bytes(wav(block=0, data=CODES))
    assert (load(tmp_path / "a.wav")[0] * 32768).tolist() == [np.frombuffer(CODES, "<i2").tolist()]


def test_rf64_that_claims_2_to_the_40(tmp_path):
    path, body = tmp_path / "a.wav", wav(claimed=2**32 - 1)
    ds64 = struct.pack("<4sIQQQI", b"ds64", 28, 2**41, 2**40, 2**40, 0)
    path.write_bytes(b"RF64" + struct.pack("<I", 2**32 - 1) + b"WAVE" + ds64 + body[12:])
    refused(path, "promises 1099511627776 frames, the file holds 32")


def test_hostile_headers_take_no_memory(tmp_path):
    """In a process that may take 300 MiB more than it needs for the import."""
    made = [
        wav(claimed=2**31 - 5000),
        wav(channels=1024, claimed=2**31),
        flac_with(REAL.read_bytes()[:5000], frames=2**36 - 1),
    ]
    for k, data in enumerate(made):
        (tmp_path / f"{k}").write_bytes(data)
    code = """
import resource, sys
from musicai.audio import AudioError, load
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize() + 300 * 2**20
resource.setrlimit(resource.RLIMIT_AS, (used, used))
for path in sys.argv[1:]:
    try:
        load(path)
    except AudioError as error:
        print(error)
"""
    paths = [str(tmp_path / f"{k}") for k in range(len(made))]
    run = subprocess.run([sys.executable, "-c", code, *paths], capture_output=True, text=True, timeout=500)
    assert run.returncode == 0, run.stderr
    assert len(run.stdout.splitlines()) == len(made)


# ---- written into a pipe: the program could not go back and say how much there is


PLACEHOLDERS = [0, 2**32 - 1, 2**32 - 1 - 36, 0x7FFFF000, 2**31 - 1, 2**31]
CODES = (np.arange(800) * 37 - 9000).astype("<i2").tobytes()


def riff_size(data: bytes, size: int) -> bytes:
    return data[:4] + struct.pack("<I", size) + data[8:]


@pytest.mark.parametrize("claimed", PLACEHOLDERS)
@pytest.mark.parametrize("riff", [0, 2**32 - 1])
@pytest.mark.parametrize("extra", [b"", b"\0"])
def test_a_streamed_wav_is_read_to_its_end(tmp_path, claimed, riff, extra):
    path = tmp_path / "a.wav"
    path.write_bytes(riff_size(wav(claimed=claimed, data=CODES + extra), riff))
    assert (load(path)[0] * 32768).tolist() == [np.frombuffer(CODES, "<i2").tolist()]
    assert info(path) == (800, 16_000)
    assert load(path, start=0.01, duration=0.02)[0].shape == (1, 320)


def test_a_streamed_rf64_is_read_to_its_end(tmp_path):
    body = wav(claimed=2**32 - 1, data=CODES)
    ds64 = struct.pack("<4sIQQQI", b"ds64", 28, 0, 2**63 - 1, 0, 0)
    (tmp_path / "a.wav").write_bytes(b"RF64" + bytes(4) + b"WAVE" + ds64 + body[12:])
    assert load(tmp_path / "a.wav")[0].shape == (1, 800)


@pytest.mark.parametrize("claimed", [0, 2**32 - 1])
@pytest.mark.parametrize("frames", [0, 2**32 - 1, 800])
def test_a_streamed_aiff_is_read_to_its_end(tmp_path, claimed, frames):
    path = tmp_path / "a.aiff"
    soundfile.write(path, np.frombuffer(CODES, "<i2"), 16_000, format="AIFF", subtype="PCM_16")
    data = bytearray(path.read_bytes())
    struct.pack_into(">I", data, 4, 0)
    struct.pack_into(">I", data, data.find(b"COMM") + 10, frames)
    struct.pack_into(">I", data, data.find(b"SSND") + 4, claimed)
    path.write_bytes(data)
    assert (load(path)[0] * 32768).tolist() == [np.frombuffer(CODES, "<i2").tolist()]


def test_a_streamed_flac_is_read_to_its_end(tmp_path):
    path, whole = tmp_path / "a.flac", load(REAL)[0]
    path.write_bytes(flac_with(REAL.read_bytes(), frames=0))
    assert torch.equal(load(path)[0], whole)
    assert info(path) == info(REAL) == (70_560, 22_050)
    assert torch.equal(load(path, start=1, duration=0.5)[0], whole[:, 22_050 : 22_050 + 11_025])


def test_an_empty_wav_is_not_a_streamed_one(tmp_path):
    tags = b"LIST" + struct.pack("<I", 4) + b"INFO"
    whole = wav(claimed=0, data=tags)
    (tmp_path / "a.wav").write_bytes(riff_size(whole, len(whole) - 8))
    refused(tmp_path / "a.wav", "0 frames")


def test_a_chunk_after_the_samples_is_not_sound(tmp_path):
    (tmp_path / "a.wav").write_bytes(wav(claimed=1600, data=CODES + b"LIST" + struct.pack("<I", 4) + b"INFO"))
    assert load(tmp_path / "a.wav")[0].shape == (1, 800)


# ---- mp3: frames without, or with a wrong, header


def mp3(sr: int = 44_100, channels: int = 1, seconds: float = 3.0) -> bytes:
    """VBR: a second of near silence, then noise, so that frames differ in size."""
    buffer, n = io.BytesIO(), int(sr * seconds)
    sound = np.random.default_rng(0).standard_normal((n, channels)) * np.where(np.arange(n) < sr, 1e-3, 0.2)[:, None]
    with soundfile.SoundFile(
        buffer, "w", sr, channels, format="MP3", compression_level=0.5, bitrate_mode="VARIABLE"
    ) as file:
        file.write(sound)
    return buffer.getvalue()


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("sr", [48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8000])
def test_an_mp3_without_its_xing_header_is_read_to_its_end(tmp_path, sr, channels):
    """Nothing is trimmed then: all frames of 1,152 samples, or 576 below 32 kHz."""
    path, frames = tmp_path / "a.mp3", mp3_frames(mp3(sr, channels))
    assert b"Xing" in frames[0] or b"Info" in frames[0]
    path.write_bytes(b"".join(frames))
    trimmed, _ = load(path)
    path.write_bytes(b"".join(frames[1:]))
    audio, rate = load(path)
    count = (len(frames) - 1) * (1152 if sr >= 32_000 else 576)
    assert (audio.shape, rate) == ((channels, count), sr)
    assert info(path) == (count, sr)
    delay = 1105  # the encoder's 576 samples and the decoder's 529, which the header says to trim
    torch.testing.assert_close(audio[:, delay : delay + trimmed.shape[1]], trimmed, rtol=0, atol=1e-6)
    start = 2 * sr // 3
    torch.testing.assert_close(load(path, start=start / sr, duration=0.5)[0], audio[:, start : start + sr // 2])


def test_tags_around_mp3_frames_are_passed_over(tmp_path):
    path, data = tmp_path / "a.mp3", mp3()
    rubbish = np.random.default_rng(1).integers(0, 256, 5000, dtype=np.uint8).tobytes()
    id3 = b"ID3\x03\x00\x00" + bytes([0, 1, 7, 104]) + b"\xff\xfb\x90\x00" * 4346  # full of what looks like headers
    ape = b"APETAGEX" + struct.pack("<IIII", 2000, 5000, 1, 0xA0000000) + bytes(8) + rubbish
    for frames in (mp3_frames(data), mp3_frames(data)[1:]):
        sound = b"".join(frames)
        path.write_bytes(sound)
        expected = load(path)[0]
        for changed in (id3 + id3 + sound, sound + ape, sound + ape + b"TAG" + bytes(125)):
            path.write_bytes(changed)
            assert torch.equal(load(path)[0], expected)
        half = len(sound) // 2
        for between in (bytes(1500), rubbish):
            path.write_bytes(sound[:half] + between + sound[half:])
            refused(path, "damaged")


def test_an_xing_header_that_was_never_filled_in_does_not_matter(tmp_path):
    path, data = tmp_path / "a.mp3", mp3()
    at = max(data.find(b"Xing"), data.find(b"Info"))
    path.write_bytes(data[: at + 8] + bytes(4) + data[at + 12 :])
    assert load(path)[0].shape[1] >= 3 * 44_100


def test_an_mp3_cut_short_is_noticed_when_its_header_says_so(tmp_path):
    data = mp3()
    for size in (len(data) // 2, len(data) - 20, 2000):
        (tmp_path / "a.mp3").write_bytes(data[:size])
        refused(tmp_path / "a.mp3", "truncated or damaged: 132300 frames are promised")
    (tmp_path / "a.mp3").write_bytes(data[:30])
    refused(tmp_path / "a.mp3", "damaged")


def test_mp3s_one_after_another_are_refused(tmp_path):
    path = tmp_path / "a.mp3"
    path.write_bytes(mp3() + mp3(48_000))
    refused(path, "several sounds one after another")


def test_a_name_that_is_not_utf8(tmp_path):
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\x90\xbc.wav"))
    save(path, torch.zeros(10), 8000)
    assert load(path)[0].shape == (1, 10)
    path.write_bytes(b"no sound")
    with pytest.raises(AudioError) as caught:
        load(path)
    assert r"\udc90\udcbc.wav: not a sound file" in str(caught.value).encode().decode()


# ---- refused writes leave everything as it was


@pytest.mark.parametrize(
    ("audio", "words"),
    [
        (torch.zeros(2, 0), "no samples"),
        (torch.zeros(0), "no samples"),
        (torch.tensor(1.0), "time"),
        (torch.zeros(1, 2, 3), r"\(1, 2, 3\)"),
        (torch.zeros(500, 2), "500 channels"),
        (torch.zeros(8, dtype=torch.int16), "int16"),
        (torch.tensor([0.0, float("nan")]), "NaN"),
        (torch.tensor([0.0, float("inf")]), "infinite"),
        ([0.0, 1.0], "list"),
    ],
)
def test_sound_that_cannot_be_saved_leaves_the_old_file(tmp_path, audio, words):
    path = tmp_path / "a.wav"
    path.write_bytes(b"old")
    with pytest.raises(AudioError, match=words) as caught:
        save(path, audio, 16_000)
    assert str(caught.value).startswith(f"{path}: ")
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a.wav"]


@pytest.mark.parametrize(
    ("name", "sr", "words"),
    [("a.xyz", 8000, "suffix"), ("a", 8000, "suffix"), ("a.wav", 0, "sr"), ("a.wav", 8000.5, "sr"),
     ("a.wav", 10**9, "Hz"), ("a.opus", 12_345, "."),
     ("no/a.wav", 8000, "there is no folder .*no; create it"), ("folder.wav", 8000, "is a folder; give the name")],
)  # fmt: skip
def test_places_and_rates_that_cannot_be_saved(tmp_path, name, sr, words):
    (tmp_path / "folder.wav").mkdir()
    with pytest.raises((AudioError, OSError), match=words):
        save(tmp_path / name, torch.zeros(100), sr)
    assert os.listdir(tmp_path) == ["folder.wav"]


@pytest.mark.parametrize(("suffix", "most"), [(".mp3", 2), (".flac", 8)])
def test_more_channels_than_the_format_holds(tmp_path, suffix, most):
    save(tmp_path / f"a{suffix}", torch.zeros(most, 4_800), 48_000)
    with pytest.raises(AudioError, match=f"{most + 1} channels, not 1 to {most}"):
        save(tmp_path / f"b{suffix}", torch.zeros(most + 1, 4_800), 48_000)


def test_too_loud_is_clipped_with_a_warning(tmp_path):
    with pytest.warns(UserWarning, match=r"a.wav: 2 samples beyond \[-1, 1\] clipped \(peak 3"):
        save(tmp_path / "a.wav", torch.tensor([0.0, 2, -3, 0.5]), 8000)
    assert load(tmp_path / "a.wav")[0].tolist() == [[0, 32767 / 32768, -1, 0.5]]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    path.write_bytes(b"old")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (500, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            save(path, torch.rand(2, 24_000) - 0.5, 24_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == [path.name]


def test_an_interrupted_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "a.wav"
    path.write_bytes(b"old")

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        save(path, torch.zeros(10), 8000)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a.wav"]


def test_a_new_file_has_the_usual_permissions(tmp_path):
    (tmp_path / "usual").touch()
    save(tmp_path / "a.wav", torch.zeros(10, requires_grad=True), 8000)
    assert stat.S_IMODE((tmp_path / "a.wav").stat().st_mode) == stat.S_IMODE((tmp_path / "usual").stat().st_mode)


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".ogg", ".opus", ".mp3"])
def test_the_title_is_in_the_tags(tmp_path, suffix):
    path, title = tmp_path / f"song{suffix}", "Für Elise – 小夜曲"
    sound = 0.1 * torch.randn(2, 16_000)
    Audio(sound, 16_000, title).save(path)
    with soundfile.SoundFile(path) as file:
        assert file.title == title
    assert load(path)[0].shape == sound.shape
    Audio(sound, 16_000).save(path)
    with soundfile.SoundFile(path) as file:
        assert file.title == ""
