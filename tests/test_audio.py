"""Samples and features: known answers, librosa as an independent implementation, gradients, batches."""

import math
from pathlib import Path

import librosa
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from musicai import audio
from musicai.audio import AudioError
from musicai.audio.features import tempogram

REAL, SR = audio.load(Path(__file__).with_name("test_audio_real.flac"))
BATCH = torch.rand(2, 3, 9000, generator=torch.Generator().manual_seed(0), dtype=torch.float64) - 0.5


def error(ours: torch.Tensor, theirs) -> float:
    """Largest difference relative to the largest value."""
    theirs = np.asarray(theirs)
    assert tuple(ours.shape) == theirs.shape
    return float(np.abs(ours.numpy() - theirs).max() / np.abs(theirs).max())


def sounds(dtype) -> list[torch.Tensor]:
    return [REAL.to(dtype), REAL[0].to(dtype), BATCH.to(dtype)]


def one_by_one(feature, y: np.ndarray) -> np.ndarray:
    """librosa on each sound alone: its decibels depend on the loudest sound of an array."""
    rows = np.stack([feature(row) for row in y.reshape(-1, y.shape[-1])])
    return rows.reshape(y.shape[:-1] + rows.shape[1:])


# name: ours, librosa's, the largest relative error in float32 and float64 (librosa keeps its mel and chroma filters
# in float32, so float64 agrees to 1e-7 only there)
FEATURES = {
    "stft": (audio.stft, lambda y: librosa.stft(y), 1e-6, 1e-14),  # librosa compiles what it names: not before a test
    "stft, odd": (lambda x: audio.stft(x, 501, 77), lambda y: librosa.stft(y, n_fft=501, hop_length=77), 1e-6, 1e-14),
    "mel": (lambda x: audio.melspectrogram(x, SR), lambda y: librosa.feature.melspectrogram(y=y, sr=SR), 2e-6, 2e-7),
    "mel, 45 bands": (
        lambda x: audio.melspectrogram(x, SR, n_fft=1024, hop_length=200, n_mels=45, fmin=60, fmax=7000),
        lambda y: librosa.feature.melspectrogram(y=y, sr=SR, n_fft=1024, hop_length=200, n_mels=45, fmin=60, fmax=7000),
        2e-6,
        2e-7,
    ),
    "log-mel": (
        lambda x: audio.log_mel(x, SR),
        lambda y: one_by_one(lambda r: librosa.power_to_db(librosa.feature.melspectrogram(y=r, sr=SR)), y),
        2e-5,
        1e-7,
    ),
    "mfcc": (
        lambda x: audio.mfcc(x, SR),
        lambda y: one_by_one(lambda r: librosa.feature.mfcc(y=r, sr=SR), y),
        5e-6,
        1e-7,
    ),
    "mfcc 13 of 40": (
        lambda x: audio.mfcc(x, SR, n_mfcc=13, n_mels=40),
        lambda y: one_by_one(lambda r: librosa.feature.mfcc(y=r, sr=SR, n_mfcc=13, n_mels=40), y),
        5e-6,
        1e-7,
    ),
    "chroma": (
        lambda x: audio.chroma(x, SR),
        lambda y: librosa.feature.chroma_stft(y=y, sr=SR, tuning=0),
        5e-6,
        2e-7,
    ),
    "onset strength": (
        lambda x: audio.onset_strength(x, SR),
        lambda y: one_by_one(lambda r: librosa.onset.onset_strength(y=r, sr=SR), y),
        5e-6,
        1e-7,
    ),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", FEATURES)
def test_features_agree_with_librosa(name, dtype):
    ours, theirs, single, double = FEATURES[name]
    for x in sounds(dtype):
        y = ours(x)
        assert y.dtype in (dtype, dtype.to_complex())
        assert error(y, theirs(x.numpy())) < (single if dtype == torch.float32 else double)


def test_filters_and_scales_agree_with_librosa():
    for sr, n_fft, n_mels, fmin, fmax in [
        (22_050, 2048, 128, 0, None),
        (16_000, 512, 40, 50, 7600),
        (8000, 255, 7, 0, 4000),
    ]:
        bank = librosa.filters.mel(sr=sr, n_fft=n_fft, n_mels=n_mels, fmin=fmin, fmax=fmax)
        assert error(audio.mel_filterbank(sr, n_fft, n_mels, fmin, fmax), bank) < 2e-7
    hz = torch.tensor([0.0, 60, 440, 999, 1000, 1001, 8000, 20_000], dtype=torch.float64)
    assert error(audio.hz_to_mel(hz), librosa.hz_to_mel(hz.numpy())) < 1e-14
    assert error(audio.mel_to_hz(audio.hz_to_mel(hz)), hz.numpy()) < 1e-14


def test_more_mel_bands_than_bins_leave_empty_filters_not_an_error():
    x = BATCH[0]
    with pytest.warns(UserWarning, match="Empty filters"):
        theirs = librosa.feature.melspectrogram(y=x.numpy(), sr=SR, n_fft=128, hop_length=64, n_mels=100)
    assert error(audio.melspectrogram(x, SR, n_fft=128, hop_length=64, n_mels=100), theirs) < 2e-7


def test_silence_is_finite_everywhere():
    x = torch.zeros(2, 5000)
    for y in (audio.log_mel(x, SR), audio.mfcc(x, SR), audio.chroma(x, SR), audio.cqt(x, SR), audio.tempo(x, SR)):
        assert bool(y.isfinite().all())
    assert float(audio.log_mel(x, SR).max()) == -100  # 10 log10(1e-10)
    assert float(audio.griffin_lim(audio.stft(x).abs()).abs().max()) == 0


def test_a_sound_does_not_depend_on_its_neighbours_in_the_batch():
    loud = torch.stack([BATCH[0, 0], 1e-6 * BATCH[0, 1]])
    for feature in (audio.log_mel, audio.mfcc, audio.onset_strength, audio.chroma, audio.cqt):
        torch.testing.assert_close(feature(loud, SR)[1], feature(loud[1], SR), rtol=1e-9, atol=1e-12)


def test_power_to_db_by_hand_and_as_librosa():
    S = torch.tensor([[1.0, 10.0], [1e-3, 1e-30]])
    torch.testing.assert_close(audio.power_to_db(S), torch.tensor([[0.0, 10], [-30, -70]]))
    assert audio.power_to_db(S, top_db=None)[1, 1] == -100
    assert error(audio.power_to_db(S, top_db=20), librosa.power_to_db(S.numpy(), top_db=20)) < 1e-6
    torch.testing.assert_close(audio.db_to_power(audio.power_to_db(S, top_db=None)), S.clamp(min=1e-10))


@pytest.mark.parametrize(("n_fft", "hop"), [(2048, 512), (512, 128), (500, 100), (64, 16)])
def test_istft_inverts_stft_and_agrees_with_librosa(n_fft, hop):
    for x in (REAL.double(), BATCH):
        X = audio.stft(x, n_fft, hop)
        back = audio.istft(X, hop, length=x.shape[-1])
        reach = hop * (X.shape[-1] - 1) + n_fft // 2  # the frames hold no more
        assert float((back - x)[..., :reach].abs().max()) < 1e-12
        for spectrum, wave in zip(X.flatten(0, -3), audio.istft(X, hop).flatten(0, -2), strict=True):
            one = librosa.istft(spectrum.numpy(), hop_length=hop, n_fft=n_fft)  # one shape: librosa compiles for each
            assert error(wave, one) < 1e-12


def test_parseval_holds_for_one_frame():
    x = BATCH[0, 0, :1024]
    X = audio.stft(x, 1024, 512)[:, 1].abs().square()  # the frame centred on sample 512
    energy = (X[0] + X[-1] + 2 * X[1:-1].sum()) / 1024
    assert float(energy) == pytest.approx(float((x * audio.fourier.hann(1024)).square().sum()), rel=1e-12)


def test_chroma_names_the_note():
    t = torch.arange(SR) / SR
    for pitch in range(48, 84):
        c = audio.chroma(torch.sin(2 * math.pi * 440 * 2 ** ((pitch - 69) / 12) * t), SR, n_fft=4096)
        assert int(c.mean(-1).argmax()) == pitch % 12


def test_cqt_is_the_product_with_windowed_tones():
    """Against the definition, a bin at a time: 34 semitone bins share 1 / (2 ** (1 / 12) - 2 ** (-1 / 12)) periods."""
    ratio = 2 ** (1 / 6)
    for x in sounds(torch.float64)[1:]:
        ours = audio.cqt(x, SR, fmin=110.0, n_bins=24)
        for k in (0, 11, 12, 23):
            hz = 110 * 2 ** (k / 12)
            length = (ratio + 1) / (ratio - 1) * SR / hz
            t = torch.arange(math.floor(-length / 2), math.ceil(length // 2), dtype=torch.float64)
            window = torch.hann_window(len(t), dtype=torch.float64)
            tone = torch.polar(window / window.sum() * math.sqrt(length), 2 * math.pi * hz / SR * t)
            reach = len(t)
            padded = torch.nn.functional.pad(x, (reach, reach))
            for frame in (0, 3, 10):
                start = reach + 512 * frame + int(t[0])
                direct = (padded[..., start : start + len(t)] * tone.conj()).sum(-1).abs()
                torch.testing.assert_close(ours[..., k, frame], direct, rtol=1e-9, atol=1e-12)


def test_cqt_is_near_librosa_and_names_the_note():
    for x in sounds(torch.float32):
        assert (
            error(audio.cqt(x, SR), np.abs(librosa.cqt(x.numpy(), sr=SR))) < 0.06
        )  # librosa resamples the low octaves
    t = torch.arange(2 * SR) / SR
    for step in range(12, 72, 5):
        x = torch.sin(2 * math.pi * 440 * 2 ** ((step - 45) / 12) * t)
        assert int(audio.cqt(x, SR)[:, 40].argmax()) == step


def test_tempo_agrees_with_librosa_exactly_and_hears_a_metronome():
    for x in sounds(torch.float64):
        theirs = one_by_one(lambda y: librosa.feature.tempo(y=y, sr=SR)[0], x.numpy())
        assert error(audio.tempo(x, SR), theirs) < 1e-9
    for bpm in (80, 100, 120, 150):
        clicks = torch.zeros(12 * SR)
        clicks[:: round(60 / bpm * SR)] = 1
        assert float(audio.tempo(clicks, SR)) == pytest.approx(bpm, rel=0.03)


def test_tempogram_agrees_with_librosa():
    strength = audio.onset_strength(REAL[0].double(), SR)
    theirs = librosa.feature.tempogram(onset_envelope=strength.numpy(), win_length=100)
    assert error(tempogram(strength, 100), theirs) < 1e-12


def test_onset_strength_rises_where_notes_begin():
    x = torch.zeros(SR)
    t = torch.arange(SR // 4) / SR
    for begin in (0.25, 0.6):
        x[int(begin * SR) :][: len(t)] += torch.sin(2 * math.pi * 440 * t) * torch.exp(-8 * t)
    peaks = audio.onset_strength(x, SR, hop_length=256).topk(2).indices.sort().values * 256 / SR
    assert peaks.tolist() == pytest.approx([0.25, 0.6], abs=0.06)


# ---- mu-law


def test_mu_law_values_by_hand():
    """F(x) = sign(x) ln(1 + 255 |x|) / ln 256; 1/255, 15/255 and 1 give 1/8, 1/2 and 1."""
    x = torch.tensor([-1, -15 / 255, -1 / 255, 0, 1 / 255, 15 / 255, 1])
    codes = [int((y + 1) / 2 * 255 + 0.5) for y in (-1, -1 / 2, -1 / 8, 0, 1 / 8, 1 / 2, 1)]
    assert codes == [0, 64, 112, 128, 143, 191, 255]
    assert audio.mu_law_encode(x).tolist() == codes
    assert audio.mu_law_encode(torch.tensor([-7.0, 7.0])).tolist() == [0, 255]
    assert float(audio.mu_law_decode(torch.tensor(0))) == -1


@pytest.mark.parametrize("channels", [2, 3, 256, 1024, 65_536])
def test_mu_law_codes_survive_and_are_in_order(channels):
    codes = torch.arange(channels)
    x = audio.mu_law_decode(codes, channels)
    assert torch.equal(audio.mu_law_encode(x, channels), codes)
    assert bool((x.diff() > 0).all())
    assert torch.equal(-x.flip(0), x) or float((x + x.flip(0)).abs().max()) < 1e-6
    assert bool((audio.mu_law_encode(torch.linspace(-1, 1, 10_001), channels).diff() >= 0).all())


@given(st.lists(st.floats(-1, 1, width=32), min_size=1, max_size=50))
def test_mu_law_error_is_bounded(values):
    """Half a code step: |x - decoded| <= (1 + 255 |x|) / 255 * (256 ** (1 / 255) - 1)."""
    x = torch.tensor(values)
    bound = (1 + 255 * x.abs()) / 255 * (256 ** (1 / 255) - 1)
    assert bool(((x - audio.mu_law_decode(audio.mu_law_encode(x))).abs() <= bound + 1e-6).all())


# ---- resampling

RATES = [(16_000, 8000), (16_000, 22_050), (44_100, 16_000), (22_050, 16_000), (8000, 48_000), (16_000, 16_001)]


def band_limited(sr: int, highest: float, seconds: float = 0.5) -> tuple:
    """A sum of tones below `highest` Hz, as a function of time, and its samples at `sr`."""
    rng = np.random.default_rng(sr)
    hz, phase = rng.uniform(50, highest, 20), rng.uniform(0, 2 * np.pi, 20)

    def at(rate):
        n = math.ceil(math.ceil(sr * seconds) * rate / sr)
        return torch.from_numpy(np.sin(2 * np.pi * np.outer(np.arange(n) / rate, hz) + phase).mean(1))

    return at, at(sr)


@pytest.mark.parametrize(("orig", "target"), RATES)
def test_resampling_keeps_a_band_limited_sound(orig, target):
    """2e-4 of full scale against the true samples, away from the ends."""
    at, x = band_limited(orig, 0.9 * min(orig, target) / 2)
    y, edge = audio.resample(x, orig, target), 70 * math.ceil(max(target / orig, 1)) + 70
    assert len(y) == math.ceil(len(x) * target / orig)
    assert float((y - at(target))[edge:-edge].abs().max()) < 2e-4
    single = audio.resample(x.float(), orig, target)
    assert float((single - y).abs().max()) < 2e-6


def test_resampling_the_recording_is_librosas():
    for target in (16_000, 44_100):
        theirs = librosa.resample(REAL.numpy(), orig_sr=SR, target_sr=target)
        assert error(audio.resample(REAL, SR, target), theirs) < 1e-6


@pytest.mark.parametrize("hz", [8001, 8100, 9000, 11_000])
def test_resampling_removes_what_would_alias(hz):
    x = torch.sin(2 * math.pi * hz * torch.arange(SR, dtype=torch.float64) / SR)
    assert 20 * math.log10(float(audio.resample(x, SR, 16_000)[500:-500].abs().max())) < -120


@settings(deadline=None, max_examples=60)
@given(n=st.integers(1, 400), orig=st.integers(1, 50_000), target=st.integers(1, 50_000))
def test_resampled_length_is_exact_for_any_rates(n, orig, target):
    if n * target / orig < 20_000:
        y = audio.resample(torch.ones(n), orig, target)
        assert len(y) == math.ceil(n * target / orig)
        assert bool(y.isfinite().all())


def test_resampling_is_linear_and_shift_invariant_in_whole_periods():
    a, b = BATCH[0, 0], BATCH[0, 1]
    both = audio.resample(a, 3, 2) + 2 * audio.resample(b, 3, 2)
    torch.testing.assert_close(audio.resample(a + 2 * b, 3, 2), both, atol=1e-6, rtol=0)
    late = torch.nn.functional.pad(a, (300, 0))
    torch.testing.assert_close(audio.resample(late, 3, 2)[200:], audio.resample(a, 3, 2), atol=1e-6, rtol=0)


# ---- gradients, devices, precision


@pytest.mark.parametrize(
    "feature",
    [
        lambda x: torch.view_as_real(audio.stft(x, 16, 4)),
        lambda x: audio.istft(audio.stft(x, 16, 4), 4),
        lambda x: audio.melspectrogram(x, 1000, n_fft=16, hop_length=8, n_mels=5),
        lambda x: audio.log_mel(x, 1000, n_fft=16, hop_length=8, n_mels=5),
        lambda x: audio.mfcc(x, 1000, n_mfcc=3, n_fft=16, hop_length=8, n_mels=5),
        lambda x: audio.chroma(x, 1000, n_fft=32, hop_length=16),
        lambda x: audio.onset_strength(x, 1000, n_fft=16, hop_length=8, n_mels=5),
        lambda x: audio.cqt(x, 1000, hop_length=16, fmin=100.0, n_bins=12),
        lambda x: audio.frame(x, 8, 4),
    ],
)
def test_gradients_are_right(feature):
    x = BATCH[0, :2, :60].clone().requires_grad_()
    assert torch.autograd.gradcheck(feature, (x,))


def test_gradients_of_silence_are_finite():
    for feature in (audio.log_mel, audio.mfcc, audio.chroma, audio.cqt, audio.onset_strength):
        x = torch.zeros(2, 6000, requires_grad=True)
        feature(x, SR).sum().backward()
        assert bool(x.grad.isfinite().all())


def test_filters_first_made_while_sampling_serve_training_later():
    with torch.inference_mode():
        audio.mfcc(torch.zeros(3000), 12_345)
    x = torch.randn(3000, requires_grad=True)
    audio.mfcc(x, 12_345).sum().backward()
    assert x.grad is not None


def test_filters_given_out_are_the_callers_own():
    bank = audio.mel_filterbank(SR, 512, 20)
    bank.zero_()
    assert float(audio.mel_filterbank(SR, 512, 20).sum()) > 0


def test_half_precision_and_autocast_are_computed_in_single():
    x = BATCH[0].float()
    expected = audio.log_mel(x, SR)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(audio.log_mel(x, SR), expected)
    assert audio.log_mel(x.bfloat16(), SR).dtype == torch.float32


def test_inputs_without_a_device_run_on_meta():
    """Shapes without data: nothing in the path may look at values or leave the device."""
    x = torch.zeros(2, 16_000, device="meta")
    assert audio.mfcc(x, SR).shape == (2, 20, 32)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_features_on_a_gpu_equal_those_on_the_cpu():
    x = BATCH.cuda()
    for f in (audio.mfcc, audio.chroma, audio.cqt, audio.tempo, lambda x, sr: audio.resample(x, sr, 16_000)):
        torch.testing.assert_close(f(x, SR).cpu(), f(BATCH, SR), rtol=1e-8, atol=1e-8)


def test_frame_is_a_view():
    x = torch.arange(10.0)
    frames = audio.frame(x, 4, 3)
    assert frames.tolist() == [[0, 1, 2, 3], [3, 4, 5, 6], [6, 7, 8, 9]]
    assert frames.data_ptr() == x.data_ptr()


# ---- back to sound


def test_griffin_lim_is_as_near_as_librosas():
    S = audio.stft(REAL[0]).abs()

    def distance(x):
        return float((audio.stft(torch.as_tensor(x)).abs() - S).norm() / S.norm())

    ours, theirs = distance(audio.griffin_lim(S)), distance(librosa.griffinlim(S.numpy(), random_state=0))
    assert ours < 1.1 * theirs
    assert ours < 0.1
    assert torch.equal(audio.griffin_lim(S, 2), audio.griffin_lim(S, 2))


def test_mel_inversion_explains_the_mel_spectrogram_better_than_librosas():
    M = audio.melspectrogram(REAL, SR)
    W = audio.mel_filterbank(SR, 2048)

    def rest(S):
        return float((W @ torch.as_tensor(S).square() - M).norm() / M.norm())

    S = audio.mel_to_stft(M, SR)
    assert bool((S >= 0).all())
    assert rest(S) < 0.02
    assert rest(S) < rest(librosa.feature.inverse.mel_to_stft(M.numpy(), sr=SR))
    x = audio.mel_to_audio(M, SR, length=REAL.shape[-1])
    assert x.shape == REAL.shape
    heard = audio.log_mel(x, SR) - audio.log_mel(REAL, SR)
    assert float(heard.abs().mean()) < 3  # decibels


def test_all_mfccs_give_the_mel_spectrogram_back_and_twenty_a_smooth_one():
    M = audio.melspectrogram(REAL[0].double(), SR)
    floor = audio.db_to_power(audio.power_to_db(M))
    torch.testing.assert_close(audio.mfcc_to_mel(audio.mfcc(REAL[0].double(), SR, n_mfcc=128)), floor)
    few = audio.mfcc(REAL[0].double(), SR)
    assert error(audio.mfcc_to_mel(few), librosa.feature.inverse.mfcc_to_mel(few.numpy())) < 1e-9


# ---- NaN and infinity: never a plausible number


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_stays_visible(bad):
    x = torch.stack([BATCH[0, 0], BATCH[0, 1]])
    x[0, 4500] = bad
    calls = {
        "stft": lambda x: audio.stft(x).abs(),
        "istft": lambda x: audio.istft(audio.stft(x)),
        "resample": lambda x: audio.resample(x, SR, 16_000),
        "griffin_lim": lambda x: audio.griffin_lim(audio.stft(x).abs(), 2),
        "mfcc_to_mel": lambda x: audio.mfcc_to_mel(audio.mfcc(x, SR)),
        **{
            f.__name__: lambda x, f=f: f(x, SR) for f in (audio.melspectrogram, audio.log_mel, audio.mfcc, audio.chroma)
        },
        **{f.__name__: lambda x, f=f: f(x, SR) for f in (audio.cqt, audio.onset_strength, audio.tempo)},
    }
    for name, call in calls.items():
        y = call(x)
        assert not bool(y[0].isfinite().all()), name
        assert bool(y[1].isfinite().all()), name
    assert bool(audio.tempo(x, SR)[0].isnan())
    for refuse in (lambda: audio.mu_law_encode(x), lambda: audio.mel_to_stft(x[:, None], SR)):
        with pytest.raises(AudioError, match="NaN or infinite"):
            refuse()


# ---- bad input


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: audio.stft(torch.zeros(0)), "no samples"),
        (lambda: audio.stft(torch.zeros(9, dtype=torch.int16)), "int16"),
        (lambda: audio.stft(np.zeros(9)), "ndarray"),
        (lambda: audio.stft(torch.zeros(9), 0), "n_fft"),
        (lambda: audio.stft(torch.zeros(9), 8, 2.5), "hop_length"),
        (lambda: audio.istft(torch.zeros(9, 3)), "complex"),
        (lambda: audio.frame(torch.zeros(3), 4, 1), "3 samples"),
        (lambda: audio.melspectrogram(torch.zeros(9), 0), "sample rate"),
        (lambda: audio.melspectrogram(torch.zeros(9), SR, fmin=500, fmax=400), "fmax=400"),
        (lambda: audio.mfcc(torch.zeros(9), SR, n_mfcc=200), "200 coefficients need at least as many mel bands"),
        (lambda: audio.cqt(torch.zeros(9), 4000), "half the sample rate"),
        (lambda: audio.resample(torch.zeros(9), 0, 8000), "orig_sr"),
        (lambda: audio.resample(torch.zeros(9), 8000, 8000.5), "target_sr"),
        (lambda: audio.resample(torch.zeros(9), 8000, float("nan")), "target_sr"),
        (lambda: audio.resample(torch.zeros(9), "8000", 8000), "orig_sr must be a whole number, not '8000'"),
        (lambda: audio.resample(torch.zeros(9), 8000, None), "target_sr must be a whole number, not None"),
        (lambda: audio.mu_law_encode(torch.tensor([math.nan])), "NaN"),
        (lambda: audio.mu_law_decode(torch.tensor([256])), "256"),
        (lambda: audio.mu_law_decode(torch.tensor([0.5])), "codes"),
        (lambda: audio.mel_to_stft(-torch.ones(8, 3), SR), "negative"),
        (lambda: audio.log_mel(torch.zeros(SR), SR, fmax=math.inf), "fmax=inf"),
        (lambda: audio.cqt(torch.zeros(SR), SR, fmin=math.nan), "fmin must be above 0 Hz"),
        (lambda: audio.power_to_db(torch.ones(9)), "power_to_db needs power"),
        (lambda: audio.power_to_db(torch.ones(2, 0)), "power_to_db needs power"),
        (lambda: audio.istft(audio.stft(torch.zeros(1))), "less than two frames; give its length"),
        (lambda: audio.istft(audio.stft(torch.zeros(SR)), length=0), "length must be at least 1, not 0"),
        (lambda: audio.griffin_lim(torch.ones(9, 3), -1), "n_iter must be at least 0, not -1"),
        (lambda: audio.griffin_lim(torch.ones(9, 3), 2, momentum=-1), "momentum must be at least 0, not -1"),
        (lambda: audio.griffin_lim(torch.ones(9, 3), 2, momentum=math.nan), "momentum must be at least 0, not nan"),
        (lambda: audio.mu_law_edges(torch.tensor([0]), 1), "channels must be at least 2, not 1"),
        (lambda: audio.Audio(torch.zeros(9), 0), "sr must be at least 1, not 0"),
    ],
)
def test_bad_input_is_named(call, words):
    with pytest.raises(AudioError, match=words):
        call()
