"""Piano rolls: the score cannot cheat, the cheap loss is the true one on average, composing keeps what is fixed."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from musicai.notes import Score
from musicai.wavenet import (
    PianoRollHead,
    RollBatches,
    RollConfig,
    RollWaveNet,
    compose,
    history,
    log_odds,
    lookup,
    nats_per_frame,
    roll_loss,
    struck,
    under_melody,
)
from musicai.wavenet.lookup import FRAME_FEATURES, LAGS, PLANES, RollMemory, features_of, planes_of
from musicai.wavenet.polyphony import faults, resampled
from musicai.wavenet.rolls import as_frames, weights_of

TINY = RollConfig(
    layers=2, residual_channels=4, skip_channels=6, end_channels=5, key_channels=2, head_channels=8, head_layers=1
)


UNIFORM = torch.arange(0.005, 1, 0.01).tolist()
UNKNOWN = torch.zeros(1, 2)  # no mode is told


def shaken(module: torch.nn.Module, by: float = 0.2) -> torch.nn.Module:
    """With every weight moved, so that no connection is hidden by a zero."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(by * torch.randn_like(parameter))
    return module.eval()


@pytest.fixture
def model() -> RollWaveNet:
    torch.manual_seed(0)
    return shaken(RollWaveNet(TINY))


def music(frames: int, seed: int = 0) -> torch.Tensor:
    """A roll (88, frames) with about three keys a frame, some held, some repeated."""
    rng = np.random.default_rng(seed)
    roll = torch.zeros(88, frames)
    for t in range(frames):
        if t > 4 and rng.random() < 0.5:
            roll[:, t] = roll[:, t - rng.integers(1, 5)]
        else:
            roll[rng.integers(25, 60, 3), t] = 1.0
    return roll


# ---- the evaluation cannot cheat


def test_probabilities_of_all_frames_of_a_small_keyboard_sum_to_one():
    torch.manual_seed(1)
    keys = 6
    head = shaken(PianoRollHead(8, 2), 0.5).double()
    frames = torch.cartesian_prod(*[torch.tensor([0.0, 1.0], dtype=torch.float64)] * keys)  # all 64
    previous = torch.tensor([0.0, 1, 1, 0, 0, 1], dtype=torch.float64).expand(64, keys)
    features = torch.randn(keys, 8, dtype=torch.float64).repeat(64, 1)  # the same past for all
    logits = head(features, frames, previous, torch.where(frames >= 0)).view(64, keys)
    log_prob = -F.binary_cross_entropy_with_logits(logits, frames, reduction="none").sum(-1)
    assert log_prob.exp().sum().item() == pytest.approx(1, abs=1e-12)
    assert log_prob.std() > 0.1  # and they are not all alike


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 87))
def test_a_key_sees_no_key_below_it_or_itself(key):
    torch.manual_seed(2)
    model = shaken(RollWaveNet(TINY))
    frames = as_frames(music(5))
    past = history(frames)[:-1][None]
    other = frames.clone()
    other[3, key:] = 1 - other[3, key:]
    with torch.no_grad():
        changed = (model(frames[None], past, UNKNOWN) != model(other[None], past, UNKNOWN)).view(5, 88)
    assert not changed[:3].any()
    assert not changed[4:].any()  # the same past was given
    assert not changed[3, : key + 1].any()
    assert key == 87 or changed[3, key + 1]


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 29), st.integers(0, 87))
def test_no_frame_sees_itself_or_the_future(t, key):
    torch.manual_seed(3)
    model, roll = shaken(RollWaveNet(TINY)), music(30)
    other = roll.clone()
    other[key, t] = 1 - other[key, t]
    one, two = model.log_prob(roll), model.log_prob(other)
    assert torch.equal(one[:t], two[:t])
    assert one[t] != two[t]
    assert t == 29 or one[t + 1] != two[t + 1]


@settings(deadline=None, max_examples=20)
@given(st.integers(1, 40), st.integers(0, 39), st.integers(0, 10))
def test_history_is_of_the_past(frames, t, seed):
    t = min(t, frames - 1)
    known = music(frames, seed).T
    other = known.clone()
    other[t:] = 1 - other[t:]
    one, two = history(known), history(other)
    assert planes_of(one).shape == (frames + 1, PLANES, 88)
    assert features_of(one).shape == (frames + 1, FRAME_FEATURES)
    assert torch.equal(one[: t + 1], two[: t + 1])


def test_probability_of_a_piece_is_the_product_over_keys_one_by_one(model):
    """Teacher forcing in one pass equals deciding frame after frame and key after key, with zeros for the unknown."""
    roll = music(5)
    frames, total = as_frames(roll), torch.zeros(5)
    for t in range(5):
        past, now = history(frames[:t])[None], torch.zeros(1, 88)
        for n in range(88):
            logit = model(torch.cat([frames[:t], now])[None], past, UNKNOWN, (torch.tensor([t]), torch.tensor([n])))
            down = torch.sigmoid(logit[0].double())
            now[0, n] = frames[t, n]
            total[t] += torch.log(down if frames[t, n] else 1 - down).item()
    torch.testing.assert_close(model.log_prob(roll), total, atol=1e-4, rtol=1e-4)


def test_score_counts_every_frame_once(model):
    rolls = [music(300, 1), music(7, 2), music(1, 3)]
    total = sum(model.log_prob(roll).sum().item() for roll in rolls)
    assert nats_per_frame(model, rolls) == pytest.approx(-total / 308, rel=1e-6)
    # A model that knows only how often a key is down, by hand: 88 independent coins.
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    model.base.fill_(math.log(0.1 / 0.9))
    down = sum(roll.sum().item() for roll in rolls)
    by_hand = -(down * math.log(0.1) + (88 * 308 - down) * math.log(0.9)) / 308
    assert nats_per_frame(model, rolls) == pytest.approx(by_hand, rel=1e-5)


def test_an_empty_piece_and_bad_rolls(model):
    assert model.log_prob(torch.zeros(88, 0)).shape == (0,)
    with pytest.raises(ValueError, match=r"roll must be a piano roll \(88, frames\); got \(12, 88\)"):
        model.log_prob(torch.zeros(12, 88))
    with pytest.raises(ValueError, match="roll must hold 0 and 1; it holds other numbers"):
        model.log_prob(torch.full((88, 3), 0.5))


# ---- history


def test_history_by_hand():
    frames = torch.zeros(6, 88)
    frames[[0, 1, 3, 4], 40] = 1.0
    frames[2, 41] = 1.0
    past = history(frames)
    assert planes_of(past)[:, 0, 40].tolist() == [0, 1, 1, 0, 1, 1, 0]  # the frame before
    assert planes_of(past)[:, LAGS - 1, 40].tolist() == [0, 0, 0, 0, 1, 1, 0]  # four frames before
    assert planes_of(past)[:, -1, 40].tolist() == [0, 0.25, 0.5, 0, 0.25, 0.5, 0]  # held, in fours
    used = [0, 1, 1.8, 1.44, 2.152]
    assert planes_of(past)[:5, LAGS + 2, 40].tolist() == pytest.approx([0.4 * x for x in used], rel=1e-5)


def naive_look_up(frames: np.ndarray, memory: int) -> tuple[np.ndarray, np.ndarray]:
    """Both look-ups (2, T + 1, 88) and how similar and certain they are (T + 1, 2), with loops over all pairs."""
    count = len(frames)
    s = np.zeros((count + 1, count + 1))
    for t in range(1, count + 1):
        for j in range(1, t):
            one, two = frames[t - 1], frames[j - 1]
            alike = 2 * (one @ two) / (one.sum() + two.sum()) if one.any() or two.any() else 1.0
            s[t, j] = 0.85 * s[t - 1, j - 1] + 0.15 * (2 * alike - 1)
    recalled, match = np.zeros((2, count + 1, 88)), np.zeros((count + 1, 2))
    for t in range(4, count + 1):
        places = range(max(1, t - 1 - memory), t - 1)
        for i, sharpness in enumerate((8, 30)):
            weights = np.array([math.exp(sharpness * s[t, j]) for j in places])
            weights /= weights.sum()
            recalled[i, t] = sum(weight * frames[j] for weight, j in zip(weights, places, strict=True))
        match[t] = max(s[t, j] for j in places), (weights**2).sum()
    return recalled, match


@pytest.mark.parametrize("memory", [4096, 7])
def test_look_up_is_its_formula(monkeypatch, memory):
    monkeypatch.setattr(lookup, "MEMORY", memory)
    frames = as_frames(music(40, 9))
    frames[:2] = frames[20] = 0  # silence resembles silence
    past = history(frames)
    recalled, match = naive_look_up(frames.double().numpy(), memory)
    np.testing.assert_allclose(planes_of(past)[:, LAGS : LAGS + 2].transpose(0, 1), recalled, atol=1e-5)
    np.testing.assert_allclose(features_of(past)[:, -26:-24], match, atol=1e-5)


def test_look_up_finds_what_followed():
    theme = as_frames(music(12, 5))
    frames = torch.cat([theme, as_frames(music(5, 6)), theme])
    recalled = planes_of(history(frames))[:, LAGS + 1]  # the sharper one
    for t in range(17 + 6, 29):  # once the theme is well on its way
        assert recalled[t][frames[t] > 0].min() > 0.5
    assert planes_of(history(torch.zeros(0, 88))).abs().sum() == 0


# ---- learning


def test_chosen_points_give_the_same_logits(model):
    frames = torch.stack([as_frames(music(11, 1)), as_frames(music(11, 2))])
    pasts = [history(x)[:-1] for x in frames]
    past = torch.stack(pasts)
    rows, keys = torch.tensor([0, 3, 3, 21, 12]), torch.tensor([87, 0, 41, 7, 50])
    modes = model.told(["major", None])
    every = model(frames, past, modes).view(22, 88)
    torch.testing.assert_close(model(frames, past, modes, (rows, keys)), every[rows, keys])


def test_loss_of_chosen_keys_is_unbiased(model):
    model.base.copy_(torch.full((88,), -2.0))
    frames, past, modes, _ = RollBatches([music(40, 1), music(40, 2)], batch_size=2)(0)
    with torch.no_grad():
        logits = model(frames, past, modes).view(2, 40, 88)
    cost = F.binary_cross_entropy_with_logits(logits, frames, reduction="none")
    weights = [weights_of(frames, past, torch.ones(2, 40), np.random.default_rng(i)) for i in range(300)]
    losses = [(weight * cost).sum().item() for weight in weights]
    with torch.no_grad():
        assert roll_loss(model, (frames, past, modes, weights[0])).item() == pytest.approx(losses[0], rel=1e-5)
    exact = cost.sum().item() / 80
    error = np.std(losses) / math.sqrt(len(losses))
    assert error < 0.02 * exact
    assert np.mean(losses) == pytest.approx(exact, abs=4 * error)
    assert np.mean([(weight > 0).float().mean().item() for weight in weights]) < 0.3  # most keys are left out


def test_padding_is_not_counted(model):
    """Pieces of different lengths in one batch: no key in the padding counts, and every frame counts once."""
    rolls = [music(n, n) for n in (5, 9, 14)]
    frames, _, _, weights = batch = RollBatches(rolls, batch_size=6)(0)
    lengths = [int((one.sum(-1) > 0).sum()) for one in frames]
    assert len(set(lengths)) > 1
    for weight, length in zip(weights, lengths, strict=True):
        assert (weight[:length] > 0).any(-1).all()
        assert not weight[length:].any()
    torch.testing.assert_close(weights[frames > 0] * sum(lengths), torch.ones(int(frames.sum())))  # all that are down
    assert torch.isfinite(roll_loss(model, batch))


def test_batches_are_a_function_of_seed_and_number():
    rolls = [music(n, n) for n in (30, 50, 200)]
    one, two = RollBatches(rolls, 4, 32, seed=1), RollBatches(rolls, 4, 32, seed=1)
    one(0)
    assert all(torch.equal(*parts) for parts in zip(one(5), two(5), strict=True))
    assert not torch.equal(one(5)[3], RollBatches(rolls, 4, 32, seed=2)(5)[3])


def test_half_of_the_crops_are_told_their_mode():
    """Minor pieces are those with more E flats than Es; half of the crops are told nothing."""
    c_minor, c_major = torch.zeros(2, 88, 20)
    c_minor[[27, 30, 34]] = c_major[[27, 31, 34]] = 1.0  # on middle C, two octaves above the first C
    seen = torch.cat([RollBatches([c_minor], 50, 4, seed=0)(0)[2], RollBatches([c_major], 50, 4, seed=1)(0)[2]])
    assert {tuple(row) for row in seen[:50].tolist()} == {(0, 0), (0, 1)}
    assert {tuple(row) for row in seen[50:].tolist()} == {(0, 0), (1, 0)}
    assert 30 < seen.sum() < 70


def test_a_mode_that_is_told_matters(model):
    roll = music(6)
    unknown, major, minor = (model.log_prob(roll, mode) for mode in (None, "major", "minor"))
    assert (unknown != major).all()
    assert (major != minor).all()
    for use in (lambda: model.log_prob(roll, "dorian"), lambda: compose(model, 2, mode="dorian", progress=False)):
        with pytest.raises(ValueError, match=r'mode must be "major", "minor" or None; got \'dorian\''):
            use()


def test_log_odds_by_hand():
    roll = torch.zeros(88, 10)
    roll[0, :5] = 1.0
    odds = log_odds([roll])
    assert odds[87].item() == pytest.approx(math.log(5.05 / 6))
    assert odds[0].item() == pytest.approx(math.log(0.05 / 11))


def test_learns_a_song():
    """A tune over and over: after a few steps the next frame is nearly certain, and far better than the keys' rates."""
    torch.manual_seed(0)
    theme = music(8, 4)
    roll = theme.repeat(1, 6)
    model = RollWaveNet(RollConfig(layers=3, dropout=0.0, head_dropout=0.0))
    model.base.copy_(log_odds([roll]))
    before = nats_per_frame(model, [roll])
    optimizer, batches = torch.optim.Adam(model.parameters(), 5e-3), RollBatches([roll], 1)
    for n in range(40):
        loss = roll_loss(model, batches(n))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert nats_per_frame(model.eval(), [roll]) < 0.2 * before


def test_saved_and_loaded(model, tmp_path):
    model.save_pretrained(tmp_path)
    roll = music(20)
    torch.testing.assert_close(RollWaveNet.from_pretrained(tmp_path).log_prob(roll), model.log_prob(roll))


# ---- composing


def naive_compose(model: RollWaveNet, frames: int, opening: torch.Tensor, seed: int, temperature: float):
    """The definition: which key is the next one down? Every chance anew, by the whole network over the whole past."""
    dice = torch.Generator().manual_seed(seed)
    drawn = as_frames(opening)
    for _ in range(len(drawn)):
        torch.rand(1, 88, generator=dice)
    for t in range(len(drawn), frames):
        past, frame, uniforms, n = history(drawn), torch.zeros(1, 88), torch.rand(1, 88, generator=dice)[0], 0
        first = 0
        while first < 88:
            chances, none = [], 1.0
            for key in range(first, 88):
                point = torch.tensor([t]), torch.tensor([key])
                down = torch.sigmoid(model(torch.cat([drawn, frame])[None], past[None], UNKNOWN, point)[0].double())
                chances.append(none * down)
                none = none * (1 - down)
            sharp = torch.stack([*chances, none]) ** (1 / temperature)
            first += int((sharp.cumsum(0) < uniforms[n].double() * sharp.sum()).sum())
            if first < 88:
                frame[0, first] = 1.0
            first, n = first + 1, n + 1
        drawn = torch.cat([drawn, frame])
    return drawn.flip(-1).T > 0


@torch.no_grad()
def test_composing_is_the_definition():
    torch.manual_seed(5)
    model = shaken(RollWaveNet(TINY))  # it sees four frames, so most of the past is only in the look-up
    for temperature in (1.0, 0.6):
        how = {"opening": music(6, 1), "seed": 7, "temperature": temperature}
        naive = naive_compose(model, 8, **how)
        assert torch.equal(compose(model, 8, **how, particles=1, progress=False), naive)
        assert naive[:, 6:].any()


def test_a_frame_takes_the_same_work_however_long_the_piece(model, monkeypatch):
    """The network sees its receptive field; the look-up compares the new frame with those in memory, once."""
    seen, compared = [], []
    context, alike = model.context, RollMemory._alike
    monkeypatch.setattr(model, "context", lambda past, *how: seen.append(past.shape[1]) or context(past, *how))
    monkeypatch.setattr(RollMemory, "_alike", lambda *a: compared.append(a[1].stop - a[1].start) or alike(*a))
    monkeypatch.setattr(lookup, "MEMORY", 6)
    compose(model, 20, opening=music(18), particles=1, progress=False)
    assert seen == [1, 2, 3, *[model.receptive_field] * 17]
    assert compared == [0, 1, 2, 3, 4, 5, 6, *[7] * 13]


def test_draws_follow_the_probabilities(model):
    """The first frame, drawn many times: each key as often as the chain rule says."""
    draws = 1500
    past = history(torch.zeros(0, 88))
    context = model.context(past[None], UNKNOWN)[0]
    features = model.features(context, past, torch.where(torch.ones(1, 88) > 0))
    with torch.no_grad():
        frames, log_mass = model.head.sample(
            features.expand(draws, 88, -1), torch.zeros(draws, 88), torch.rand(draws, 88), bias=model.base
        )
    assert log_mass.abs().max() < 1e-4  # nothing was asked for, so nothing was unlikely
    with torch.no_grad():
        points = torch.where(frames >= 0)
        logits = model.head(features.repeat(draws, 1), frames, torch.zeros(draws, 88), points).view(draws, 88)
        expected = torch.sigmoid(logits + model.base).mean(0)
    assert (frames.mean(0) - expected).abs().max() < 5 * 0.5 / math.sqrt(draws)
    assert frames.mean(0).std() > 0.005


def test_composing_is_decided_by_the_seed(model):
    one, two, three = (compose(model, 6, seed=s, particles=1, progress=False) for s in (1, 1, 2))
    assert one.shape == (88, 6)
    assert one.dtype == torch.bool
    assert torch.equal(one, two)
    assert not torch.equal(one, three)
    shorter = compose(model, 4, seed=1, particles=1, progress=False)
    assert torch.equal(shorter, one[:, :4])  # a longer piece begins like a shorter one
    longer = compose(model, 6, opening=music(2), seed=1, particles=1, progress=False)
    assert not torch.equal(longer[:, 2:], one[:, 2:])  # the same dice after another opening


def test_continuation_begins_with_its_opening(model):
    opening = music(5, 8)
    for tonic in (0, 2, 9):
        roll = compose(model, 8, opening=opening, tonic=tonic, progress=False)
        assert torch.equal(roll[:, :5], opening > 0)


def test_a_piece_in_another_key_is_the_same_piece_moved(model):
    fixed = torch.full((88, 6), math.nan)
    fixed[:8] = fixed[-8:] = 0.0  # so that nothing leaves the keyboard
    here = compose(model, 6, opening=music(2, 8), fixed=fixed, progress=False)
    there = compose(model, 6, opening=music(2, 8).roll(2, 0), fixed=fixed.roll(2, 0), tonic=2, progress=False)
    assert here[:, 2:].any()
    assert torch.equal(there[2:], here[:-2])


def test_fixed_keys_stay(model):
    fixed = torch.full((88, 6), math.nan)
    fixed[40], fixed[50, 2:] = 1.0, 0.0
    for seed in range(3):
        roll = compose(model, 6, fixed=fixed, seed=seed, density=2.0, progress=False)
        assert roll[40].all()
        assert not roll[50, 2:].any()
    assert compose(model, 6, fixed=fixed, density=2.0, progress=False).sum() > 20


def test_harmonised_melody_is_the_top_voice(model):
    melody = torch.zeros(88, 6)
    melody[[45, 47, 49, 50, 47], [0, 1, 2, 3, 5]] = 1.0
    fixed = under_melody(melody)
    assert fixed[45, 0] == 1
    assert (fixed[46:, 0] == 0).all()
    assert fixed[:45, 0].isnan().all()
    assert fixed[:, 4].isnan().all()  # no melody there: all free
    roll = compose(model, 6, fixed=fixed, density=1.0, progress=False)
    for t in (0, 1, 2, 3, 5):
        assert roll[:, t].nonzero().max() == melody[:, t].nonzero().max()


def test_density_and_pitch_classes(model):
    counts = [compose(model, 6, density=d, progress=False).sum() for d in (-2.0, 0.0, 3.0)]
    assert counts[0] < counts[1] < counts[2]
    roll = compose(model, 6, density=3.0, tonic=7, pitch_classes=(7, 11, 2), progress=False)
    assert {(21 + int(key)) % 12 for key in roll.any(1).nonzero()} == {2, 7, 11}


EDGES = torch.zeros(88, 4)
EDGES[[0, 87, 1, 84], range(4)] = 1.0


@pytest.mark.parametrize("tonic", range(12))
def test_what_is_given_is_kept_at_the_keyboards_edges(model, tonic):
    """Also where the transposed music has no such key: in B, the model's keyboard lacks one end or the other."""
    roll = compose(model, 4, fixed=under_melody(EDGES), tonic=tonic, progress=False)
    assert [int(column.nonzero().max()) for column in roll.T] == [0, 87, 1, 84]
    assert torch.equal(compose(model, 4, opening=EDGES, tonic=tonic, progress=False), EDGES > 0)
    chosen = compose(model, 4, fixed=torch.where(EDGES > 0, EDGES, math.nan), tonic=tonic, progress=False)
    assert chosen[EDGES > 0].all()


def test_a_melody_at_the_edge_is_heard_by_the_model(model):
    """It is transposed down rather than up, so that its harmony depends on it."""
    high, seen, sample = torch.zeros(88, 4), [], model.head.sample
    high[[82, 83, 85, 87], range(4)] = 1.0
    model.head.sample = lambda *given: seen.append(given[4][0]) or sample(*given)
    compose(model, 4, fixed=under_melody(high), tonic=7, progress=False)
    assert [87 - int((kept == 1).nonzero()) for kept in seen] == [75, 76, 78, 80]  # the head counts from the top


def keys_down(*chords: str) -> torch.Tensor:
    """A roll (1, frames, 88), the highest key first, from chords such as "60 64 67"."""
    frames = torch.zeros(1, len(chords), 88)
    for frame, chord in zip(frames[0], chords, strict=True):
        frame[[108 - int(pitch) for pitch in chord.split()]] = 1.0
    return frames


@pytest.mark.parametrize(
    ("chords", "found"),
    [
        (("48 60 67 76", "48 60 67 76"), 0),  # nothing moves
        (
            ("48 60 64 67", "50 62 65 69"),
            3,
        ),  # octave, fifth and fifth from bass, tenor and soprano: 48-60, 48-67, 60-67
        (("48 55 64 72", "47 55 62 74"), 0),  # the bass and the soprano move apart
        (("48 55 64 76", "55 62 67 71"), 1),  # one fifth
        (("48 55 64 72", "60 53 64 72"), 1),  # voices that cross are read in order: 48-55 moves to 53-60
        (("48 55 72", "50 57 74"), 0.25),  # three voices: one is missing, and parallels are not judged
        (("60",) * 9, 0.75 + 1),  # three are missing; a chord too often
        (("60",) * 8, 0.75),
    ],
)
def test_faults_of_four_voices_by_hand(chords, found):
    assert faults(keys_down(*chords), 4).item() == found


def test_a_pattern_may_be_heard_twice_in_a_row():
    pattern = [f"{pitch}" for pitch in range(60, 77)]  # 17 frames
    twice = [*pattern, *pattern]
    assert faults(keys_down(*twice, *pattern[:2]), 0).item() == 0  # two frames may agree by chance
    assert faults(keys_down(*twice, *pattern[:3]), 0).item() == 1
    assert faults(keys_down("50", *twice, *pattern[:3]), 0).item() == 1  # whatever came before
    assert faults(keys_down(*twice, "60", "61", "59"), 0).item() == 0
    assert faults(keys_down(*["60"] * 12), 0).item() == 0
    assert faults(keys_down(*["60"] * 13), 0).item() == 1
    assert faults(keys_down(*["60", "62"] * 6, "60"), 0).item() == 0
    assert faults(keys_down(*["60", "62"] * 7), 0).item() == 1


def test_the_other_modes_third_is_half_a_fault():
    c_major, c_minor = keys_down("48 55 64"), keys_down("48 55 63")
    assert [faults(c_major, 0, mode).item() for mode in (None, "major", "minor")] == [0, 0, 0.5]
    assert [faults(c_minor, 0, mode).item() for mode in (None, "major", "minor")] == [0, 0.5, 0]


def test_a_chord_may_stay_for_32_frames_under_a_melody():
    tune = [str(60 + (n * n) % 17) for n in range(33)]
    chord = [f"40 47 {note}" for note in tune]
    assert faults(keys_down(*chord[1:]), 0).item() == 0
    assert faults(keys_down(*chord), 0).item() == 1
    assert faults(keys_down("41 47 60", *chord[1:]), 0).item() == 0
    assert faults(keys_down(*tune), 0).item() == 0  # a melody alone has no chord


def test_resampling_is_in_proportion():
    counts = sum(torch.bincount(resampled(torch.tensor([0.1, 0.2, 0.7]).log(), u), minlength=3) for u in UNIFORM)
    torch.testing.assert_close(counts / counts.sum(), torch.tensor([0.1, 0.2, 0.7]), atol=0.01, rtol=0)
    assert resampled(torch.tensor([0.0, -torch.inf, 0.0, -torch.inf]), 0.5).tolist() == [0, 0, 2, 2]


@pytest.mark.parametrize("voices", [0, 4])
def test_no_voice_holds_a_key_it_chose_for_more_than_8_frames(voices):
    """A model that wants nothing but three keys must let go of them, whatever holds them before or after."""
    model = shaken(RollWaveNet(replace(TINY, voices=voices)), 0.1)
    model.base.fill_(-60.0)
    model.base[[20, 40, 60]] = 60.0
    opening = torch.eye(88)[67][:, None].expand(88, 5)  # key 20 from the top
    fixed = torch.full((88, 40), math.nan)
    fixed[47, 20:] = 1.0  # key 40 from the top
    roll = compose(model, 40, opening=opening, fixed=fixed, particles=3, progress=False).int()
    runs = [max(map(len, "".join(map(str, roll[key].tolist())).split("0"))) for key in (67, 47, 27)]
    assert runs == ([8, 20, 8] if voices else [40, 35, 35])
    if voices:
        assert roll[67].tolist() == ([1] * 8 + [0]) * 4 + [1] * 4
        assert roll[47].tolist() == [0] * 5 + [1] * 8 + [0] + [1] * 5 + [0] + [1] * 20


def test_particles_prepare_for_what_is_fixed():
    """p(a key at 0, given the key fixed at 1): what comes first is chosen in the light of what must come next."""
    torch.manual_seed(2)
    model = shaken(RollWaveNet(TINY), 0.3)
    model.base.fill_(-30.0)
    model.base[[20, 40]] = 0.0  # only two keys are ever played
    frames = torch.zeros(4, 2, 88)
    frames[:, 0, [20, 40]] = torch.tensor([[0.0, 0], [0, 1], [1, 0], [1, 1]])
    frames[:, 1, 20] = 1.0
    log_p = torch.stack([model.log_prob(x.flip(-1).T).sum() for x in frames])
    fixed = torch.full((88, 2), math.nan)
    fixed[67, 1], fixed[47, 1] = 1.0, 0.0
    made = [compose(model, 2, fixed=fixed, particles=8, seed=s, progress=False).flip(0).T[0] for s in range(250)]
    counts = torch.bincount(torch.tensor([2 * int(x[20]) + int(x[40]) for x in made]), minlength=4)
    truth = log_p.softmax(0)
    assert ((counts / 250 - truth).abs() < 0.08).all(), (counts / 250, truth)


def test_what_is_struck():
    """Without a rhythm, all voices strike wherever one moves; with one, exactly there. No note is lost or added."""
    roll = torch.zeros(88, 5)
    roll[40], roll[50, :2], roll[52, 3:] = 1.0, 1.0, 1.0
    assert struck(roll)[[40, 50, 52]].int().tolist() == [[1, 0, 1, 1, 0], [1, 0, 0, 0, 0], [0, 0, 0, 1, 0]]
    repeated = struck(roll, beats=torch.tensor([1, 1, 0, 1, 1]))
    assert repeated[[40, 50, 52]].int().tolist() == [[1, 1, 0, 1, 1], [1, 1, 0, 0, 0], [0, 0, 0, 1, 1]]
    score = Score.from_piano_roll(roll, step=1.0, onsets=repeated)
    assert torch.equal(score.piano_roll(step=1.0), roll > 0)
    assert [note.start for note in score.notes if note.pitch == 61] == [0, 1, 3, 4]


class Broken(Exception):
    pass


@pytest.mark.parametrize("error", [Broken, KeyboardInterrupt, MemoryError])
def test_the_models_mode_is_restored_whatever_happens(error):
    model = RollWaveNet(TINY).train()
    model.head.eval()  # somebody froze a part of it
    modes = [module.training for module in model.modules()]
    compose(model, 2, progress=False)
    nats_per_frame(model, [music(3)])
    assert [module.training for module in model.modules()] == modes

    def stop(*_):
        assert not any(module.training for module in model.modules())
        raise error

    model.head.sample = model.context = stop
    for use in (lambda: compose(model, 2, progress=False), lambda: nats_per_frame(model, [music(3)])):
        with pytest.raises(error):
            use()
        assert [module.training for module in model.modules()] == modes


def test_evaluation_has_no_dropout():
    model = RollWaveNet(TINY).train()
    assert nats_per_frame(model, [music(9)]) == nats_per_frame(model, [music(9)])


@pytest.mark.parametrize("frames", [3, 3.0, np.int64(3), np.uint8(3), np.float32(3)])
def test_whole_numbers_of_any_kind_are_numbers(model, frames):
    roll = compose(model, frames, tonic=np.int64(2), density=np.float32(1), seed=np.int32(4), progress=False)
    assert torch.equal(roll, compose(model, 3, tonic=2, density=1, seed=4, progress=False))


@pytest.mark.parametrize(
    ("name", "bad"),
    [
        *(("frames", bad) for bad in (math.nan, math.inf, 2.5, 0, -1)),
        *(("tonic", bad) for bad in (math.nan, 2.5, 12, -1)),
        *(("seed", bad) for bad in (math.nan, 0.5, -1, 2**63)),
        *(("density", bad) for bad in (math.nan, math.inf, -1e5)),
        *(("temperature", bad) for bad in (math.nan, -1)),
        *(("top_p", bad) for bad in (math.nan, -0.1, 1.5)),
        *(("particles", bad) for bad in (math.nan, 0, 2.5)),
        *((name, "1") for name in ("frames", "tonic", "seed", "density", "temperature", "top_p", "particles")),
        *(("frames", bad) for bad in (None, [2], np.array([2]), np.array([2, 3]), torch.ones(2))),
    ],
)
def test_bad_numbers_are_refused_by_name(model, name, bad):
    with pytest.raises(ValueError, match=rf"^{name} must .*; got "):
        compose(model, **{"frames": 1, "progress": False, name: bad})


def test_bad_wishes_are_refused_by_name(model):
    with pytest.raises(ValueError, match=r"fixed must have 6 frames, .*; fixed has 4"):
        compose(model, 6, fixed=torch.full((88, 4), math.nan))
    with pytest.raises(ValueError, match=r"fixed must have 3 frames, and opening at most as many; .* opening has 5"):
        compose(model, 3, opening=music(5))
    with pytest.raises(ValueError, match=r"opening must be a piano roll \(88, frames\); got \(5, 88\)"):
        compose(model, 6, opening=music(5).T)
    with pytest.raises(ValueError, match="a pitch class must be a whole number from 0 to 11; got 12"):
        compose(model, 6, pitch_classes=(12,))
    with pytest.raises(ValueError, match=r"fixed must hold 0 and 1, and NaN for free keys"):
        compose(model, 6, fixed=torch.full((88, 6), 0.5))
    for use in (under_melody, lambda roll: compose(model, 6, opening=roll)):
        with pytest.raises(ValueError, match=r"(melody|opening) must hold 0 and 1; it holds other numbers"):
            use(torch.full((88, 3), math.nan))
