"""Fingerprints of made-up music: landmarks by hand, postings against a dict, clips found through noise and speed."""

from collections import defaultdict

import numpy as np
import pytest
import soxr
import torch

from musicai import audio
from musicai.search import AudioIndex, fingerprints
from musicai.search.fingerprints import KEYS, SR, fit, landmarks, pairs

SECONDS = 15


def music(seed: int) -> np.ndarray:
    """Random notes with four partials, each struck and dying away: float32 (time,) at 8 kHz."""
    rng = np.random.default_rng(seed)
    sound = np.zeros(SECONDS * SR)
    t = np.arange(SR // 2) / SR
    for start in np.cumsum(rng.uniform(0.05, 0.25, 200)):
        at = round(start * SR)
        if at + len(t) > len(sound):
            break
        f = 440 * 2 ** ((rng.integers(48, 84) - 69) / 12)
        partials = [rng.uniform(0.2, 1) / k * np.sin(2 * np.pi * f * k * t) for k in range(1, 5) if f * k < 3900]
        sound[at : at + len(t)] += sum(partials) * np.exp(-rng.uniform(3, 9) * t)
    return (0.5 * sound / np.abs(sound).max()).astype(np.float32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("music")
    for seed in range(12):
        audio.save(folder / f"piece {seed}.wav", torch.from_numpy(music(seed)), SR)
    (folder / "cover.txt").write_text("no music")
    return folder


@pytest.fixture(scope="module")
def index(folder):
    return AudioIndex.build(folder, folder / "all.index", progress=False)


def clip(seed: int, start: float, seconds: float) -> np.ndarray:
    return music(seed)[round(start * SR) : round((start + seconds) * SR)]


def noisy(x: np.ndarray, db: float, seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).standard_normal(len(x))
    return x + noise * np.std(x) / np.std(noise) * 10 ** (-db / 20)


def test_landmarks_of_two_tones_by_hand():
    t = np.arange(2 * SR) / SR
    x = np.exp(-(((t - 0.48) / 0.1) ** 2)) * np.sin(2 * np.pi * 440 * t)
    x += np.exp(-(((t - 1.6) / 0.1) ** 2)) * np.sin(2 * np.pi * 1318.51 * t)
    frames, pitches = landmarks(torch.from_numpy(x))
    np.testing.assert_array_equal(frames, [15, 50])  # of 32 ms
    np.testing.assert_allclose(pitches, [69, 88], atol=0.1)


def test_landmarks_are_the_maxima_of_their_neighbourhoods():
    x = torch.from_numpy(noisy(music(0), 10).astype(np.float32))
    X = audio.stft(x, fingerprints.WINDOW, fingerprints.HOP).abs().numpy()
    frames, pitches = landmarks(x)
    assert (np.diff(frames) >= 0).all()
    bins, near = fingerprints.AREA
    for frame, pitch in zip(frames, pitches, strict=True):
        k = 440 * 2 ** ((pitch - 69) / 12) * fingerprints.WINDOW / SR
        k = max((int(k), int(k) + 1), key=lambda i: X[i, frame])
        around = X[max(0, k - bins) : k + bins + 1, max(0, frame - near) : frame + near + 1]
        assert X[k, frame] == around.max()


def test_silence_has_no_landmarks():
    assert len(landmarks(torch.zeros(SR))[0]) == 0


def test_pairs_are_all_pairs_within_reach_and_keys_are_unique():
    rng = np.random.default_rng(0)
    frames, pitches = np.sort(rng.integers(0, 60, 80)), rng.uniform(fingerprints.LOW, fingerprints.HIGH, 80)
    keys, firsts = pairs(frames, pitches)
    wanted = defaultdict(int)
    for i in range(80):
        for j in range(i + 1, 80):
            time = frames[j] - frames[i]
            interval = round((pitches[j] - pitches[i]) * fingerprints.STEPS)
            if 0 < time <= fingerprints.REACH and abs(interval) <= fingerprints.SPREAD:
                wanted[i, round((pitches[i] - fingerprints.LOW) * fingerprints.STEPS), interval, time] += 1
    assert sorted(firsts) == sorted(i for (i, *_), count in wanted.items() for _ in range(count))
    assert len(set(keys)) == len({rest for _, *rest in map(tuple, wanted) for rest in [tuple(rest)]})
    assert keys.min() >= 0
    assert keys.max() < KEYS


def test_moving_landmarks_in_time_keeps_their_keys():
    frames, pitches = np.array([3, 5, 5, 20]), np.array([60.0, 67.0, 72.1, 64.4])
    np.testing.assert_array_equal(pairs(frames, pitches)[0], pairs(frames + 1000, pitches)[0])


def test_postings_equal_a_dictionary(folder, index):
    wanted = defaultdict(list)
    for path, base in zip(index.paths, index.bases, strict=True):
        frames, pitches = landmarks(audio.load(path)[0][0])
        for key, first in zip(*pairs(frames, pitches), strict=True):
            wanted[int(key)].append(int(frames[first]) + int(base))
    held = {int(key): index.postings[index.starts[key] : index.starts[key + 1]].tolist() for key in wanted}
    assert held == wanted
    assert index.starts[-1] == len(index.postings) == sum(map(len, wanted.values()))


def test_the_compiled_loop_agrees_with_its_definition(index):
    rng = np.random.default_rng(0)
    loudness = rng.standard_normal((513, 60)).astype(np.float32)
    places, speeds, shifts = rng.uniform(0, 5000, 40), rng.uniform(0.95, 1.05, 40), rng.uniform(-1, 1, 40)
    scores = fit(index.frames, index.cents, fingerprints.BINS, loudness, places, speeds, shifts)
    for score, place, speed, shift in zip(scores, places, speeds, shifts, strict=True):
        t = np.floor((index.frames - place) / speed + 0.5).astype(int)
        k = np.floor(440 * 2 ** ((index.cents / 100 - shift - 69) / 12) * 1024 / 8000 + 0.5).astype(int)
        inside = (index.frames >= place) & (t < 60)
        assert score == pytest.approx((loudness[k[inside].clip(max=512), t[inside]] - 0.5).sum(), abs=1e-3)


@pytest.mark.parametrize("sound", ["clean", "noise", "quiet", "slower", "faster", "tempo"])
def test_a_clip_is_found_where_it_is(index, sound):
    seed, start, seconds, speed = 3, 4.2, 5.0, {"slower": 0.95, "faster": 1.05}.get(sound, 1.0)
    x = clip(seed, start, seconds * speed)
    x = noisy(x, 0) if sound == "noise" else x * 0.001 if sound == "quiet" else x
    if sound == "tempo":  # the same notes, but 4 % earlier each: every note keeps its pitch
        speed, x = 1.04, faster(seed, 1.04)[round(start / 1.04 * SR) : round((start / 1.04 + seconds) * SR)]
    elif speed != 1:
        x = soxr.resample(x, SR * speed, SR)
    best, *others = index.find((x, SR))
    assert best.title == f"piece {seed}"
    assert best.start == pytest.approx(start, abs=0.05)
    assert best.end - best.start == pytest.approx(seconds * speed, abs=0.05)
    assert best.speed == pytest.approx(speed, abs=0.01)
    assert best.probability > 0.9
    assert not best.unlikely
    assert all(other.score < best.score and other.title != best.title for other in others)


def faster(seed: int, speed: float) -> np.ndarray:
    """The music of `seed` at another tempo and the same pitch: the phase vocoder of torch, by its definition."""
    x = torch.from_numpy(music(seed))
    X = torch.stft(x, 1024, 128, window=torch.hann_window(1024), return_complex=True)
    at = torch.arange(0, X.shape[1] - 1, speed)
    left, part = at.long(), at - at.floor()
    size = (1 - part) * X[:, left].abs() + part * X[:, left + 1].abs()
    advance = X[:, left + 1].angle() - X[:, left].angle()
    phase = torch.cumsum(torch.cat([X[:, :1].angle(), advance[:, :-1]], 1), 1)
    return torch.istft(torch.polar(size, phase), 1024, 128, window=torch.hann_window(1024)).numpy()


def test_short_and_noisy_clips_of_every_piece(index):
    for seed in range(12):
        best = index.find((noisy(clip(seed, 7.1, 2.0), 5, seed), SR))[0]
        assert best.title == f"piece {seed}"
        assert best.start == pytest.approx(7.1, abs=0.05)


def test_a_clip_longer_than_what_is_used(index):
    x = np.concatenate([clip(5, 0, 15), clip(5, 0, 15)])[: 25 * SR]
    best = index.find((x, SR), k=1)
    assert [match.title for match in best] == ["piece 5"]


@pytest.mark.parametrize("seed", range(100, 106))
def test_music_that_is_not_there_is_unlikely(index, seed):
    assert all(match.unlikely and match.probability < 0.5 for match in index.find((clip(seed, 3, 5), SR)))


def test_every_way_to_give_a_clip(folder, index, tmp_path):
    x = torch.from_numpy(clip(8, 2, 4))
    audio.save(tmp_path / "clip.ogg", audio.resample(x, SR, 44_100), 44_100)
    for given in (tmp_path / "clip.ogg", str(tmp_path / "clip.ogg"), audio.Audio(x, SR), (torch.stack([x, x]), SR)):
        best = index.find(given)[0]
        assert best.title == "piece 8"
        assert best.path == str(folder / "piece 8.wav")
        assert best.start == pytest.approx(2, abs=0.05)


def test_in_memory_or_in_a_file_is_the_same(folder, index):
    paths = sorted(folder.glob("*.wav"))
    again = AudioIndex.build(paths, progress=False)
    assert len(again) == len(index) == 12
    query = clip(1, 5, 2), SR
    assert again.find(query) == AudioIndex.open(folder / "all.index").find(query)
    assert not index.postings.flags.writeable  # it is mapped, not read


def test_blocks_of_a_long_recording_have_no_seams():
    x = torch.from_numpy(np.concatenate([music(seed) for seed in range(9)]))  # 135 s
    frames, pitches, length = fingerprints._landmarks_of(x)
    whole = {(int(f), round(float(p), 3)) for f, p in zip(*landmarks(x), strict=True)}
    parts = {(int(f), round(float(p), 3)) for f, p in zip(frames, pitches, strict=True)}
    assert length == len(x) // fingerprints.HOP + 1
    assert (np.diff(frames) >= 0).all()
    assert len(whole ^ parts) < 0.02 * len(whole)  # the loudest value of a block decides what is too quiet


@pytest.mark.parametrize("share", [0.001, 0.02, 0.5, 0.9, 0.9999])
def test_a_truncated_index(folder, index, tmp_path, share):
    data = (folder / "all.index").read_bytes()
    (tmp_path / "cut.index").write_bytes(data[: int(len(data) * share)])
    with pytest.raises(ValueError, match=r"cut\.index is cut short"):
        AudioIndex.open(tmp_path / "cut.index")


def test_other_files_and_other_versions(folder, index, tmp_path):
    data = (folder / "all.index").read_bytes()
    (tmp_path / "new.index").write_bytes(data[:16] + b"\x09" + data[17:])
    with pytest.raises(ValueError, match="an audio index of version 9"):
        AudioIndex.open(tmp_path / "new.index")
    (tmp_path / "longer.index").write_bytes(data + b"x")
    with pytest.raises(ValueError, match="damaged"):
        AudioIndex.open(tmp_path / "longer.index")
    with pytest.raises(ValueError, match="not an audio index"):
        AudioIndex.open(folder / "piece 1.wav")
    with pytest.raises(FileNotFoundError):
        AudioIndex.open(tmp_path / "none.index")


def test_bad_clips(index, tmp_path):
    assert index.find((np.zeros(3 * SR, np.float32), SR)) == []
    with pytest.raises(audio.AudioError, match=r"lasts 0\.10 s"):
        index.find((np.ones(SR // 10, np.float32), SR))
    with pytest.raises(audio.AudioError, match="NaN"):
        index.find((np.full(SR, np.nan, np.float32), SR))
    with pytest.raises(FileNotFoundError):
        index.find(tmp_path / "none.wav")
    noise = np.random.default_rng(0).standard_normal(5 * SR).astype(np.float32)
    assert all(match.unlikely for match in index.find((0.1 * noise, SR)))


def test_folders_without_music(tmp_path):
    with pytest.raises(ValueError, match="no files ending in"):
        AudioIndex.build(tmp_path, progress=False)
    (tmp_path / "a.txt").write_text("words")
    with pytest.raises(ValueError, match="no files ending in"):
        AudioIndex.build(tmp_path, progress=False)
    with pytest.raises(ValueError, match="no sound to index"):
        AudioIndex.build([], progress=False)
    audio.save(tmp_path / "silence.wav", torch.zeros(SR), SR)
    with pytest.raises(ValueError, match=r"silence\.wav: it is silent"):
        AudioIndex.build(tmp_path, progress=False)


def test_damaged_files_are_named_and_left_out(folder, tmp_path):
    good = sorted(folder.glob("*.wav"))[:2]
    (tmp_path / "bad.wav").write_bytes(good[0].read_bytes()[:1000])
    with pytest.warns(UserWarning, match=r"(?s)1 file.*bad\.wav"):
        index = AudioIndex.build([*good, tmp_path / "bad.wav"], progress=False)
    assert len(index) == 2
