"""Truths about the tune model: its look-up, its silence about the future, and the writer's shortcut."""

import numpy as np
import pytest
import torch

from musicai.composition import Plan, TuneConfig, TuneLayout, TuneMemory, TuneWaveNet, TuneWriter, encode
from musicai.composition.memory import NOTHING, RUNS, SLOTS, Source, up_to
from musicai.composition.network import (
    BEFORE,
    FIRST_SLOT,
    SIZES,
    SOURCE,
    D,
    P,
    _copying,
    add_source,
    batch_of,
    bits_per_note,
    example,
    interval,
    plan_row,
)
from musicai.composition.tunes import LENGTHS, REST
from musicai.composition.writer import source_of
from musicai.data import FolkCorpus
from musicai.notes import Melody
from musicai.pretrained import SHIPPED
from musicai.recipes.tunes import corrupt, examples_of, grouped, varied


@pytest.fixture(scope="module")
def tunes():
    return [encode(melody) for melody in FolkCorpus(limit=24)]


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return TuneWaveNet(TuneConfig(width=32, skip=16, hidden=16)).eval()


# ---- the look-up


def naive_slots(tune, t, history):
    """The advice before note t by definition, from all notes and all advice before it."""
    onsets, now = tune.onsets.tolist(), tune.onsets[t]
    notes = list(zip(tune.durations.tolist(), tune.pitches.tolist(), strict=True))[:t]
    lines, starts = tune.layout.lines, (*tune.layout.starts, len(tune.layout.lines) - 1)
    bar = max(i for i in range(len(lines) - 1) if lines[i] <= now)
    section = max([i for i in range(len(starts) - 1) if starts[i] <= bar], default=0)
    there = [bar - 1, bar - 2, bar - 4, bar - 8, None, None, None]
    if section > 0:
        there[4] = starts[section - 1] + bar - starts[section]
        there[5] = starts[section] - (starts[section + 1] - bar)
    if section > 1:
        there[6] = starts[section - 2] + bar - starts[section]
    ticks = [now - (lines[bar + 1] - lines[bar]) // 2]
    for other in there:
        tick = None if other is None or not 0 <= other < bar else lines[other] + now - lines[bar]
        ticks.append(None if tick is None or tick >= lines[other + 1] else tick)
    found = []
    for slot, tick in enumerate(ticks):
        sounding = [i for i in range(t) if tick is not None and onsets[i] <= tick < onsets[i] + LENGTHS[notes[i][0]]]
        if not sounding:
            found.append(NOTHING)
            continue
        (i,) = sounding
        run = 0
        while run < t and history[t - 1 - run][slot] [:2] == tuple(x + 1 for x in notes[t - 1 - run]) \
                and history[t - 1 - run][slot][2] > 1:  # fmt: skip
            run += 1
        left = LENGTHS[notes[i][0]] - (tick - onsets[i])
        exact = onsets[i] == tick
        found.append((notes[i][0] + 1, notes[i][1] + 1, 2 + RUNS[min(run, 13)]) if exact else
                     (max(k + 1 for k, x in enumerate(LENGTHS) if x <= left), notes[i][1] + 1, 1))  # fmt: skip

    def place(i):
        line = max(line for line in lines[:-1] if line <= onsets[i])
        return onsets[i] - line

    for here in (False, True):
        best, length = None, 0
        for i in range(t):
            n = 0
            while n < i and notes[i - 1 - n] == notes[t - 1 - n]:
                n += 1
            if n and n >= length and (not here or place(i) == place(t)):
                best, length = i, n
        found.append(NOTHING if best is None else (*(x + 1 for x in notes[best]), 2 + RUNS[min(length, 13)]))
    return found


def test_the_look_up_is_its_definition(tunes):
    for tune in tunes[::4]:
        memory, history = TuneMemory(tune.layout), []
        for t, note in enumerate(zip(tune.durations.tolist(), tune.pitches.tolist(), strict=True)):
            history.append(naive_slots(tune, t, history))
            assert memory.slots == history[t]
            memory.append(*note)


def test_places_count_down_to_the_end():
    memory = TuneMemory(TuneLayout.of(Plan(2, "major", (4, 4), (2, 1), pickup=1.0)))
    assert memory.place() == [72, 24, 0, 3, 4, 0]  # a quarter before the first bar line
    memory.append(LENGTHS.index(24), REST)
    assert memory.place() == [0, 96, 1, 2, 3, 0]
    for _ in range(2):
        memory.append(LENGTHS.index(96), REST)
    assert memory.place() == [0, 72, 1, 1, 1, 1]  # the last bar is shorter by the pickup


def test_a_source_is_followed():
    source = Source([0, 24, 48], [24, 24, 48], [24, 26, REST])
    assert source.slots(0) == [(12, 25, 2), (12, 27, 6)]
    for now, pitch in ((0, 24), (24, 26)):
        source.append(now, pitch)
    assert source.closeness > 0.6
    assert source.slots(60)[0] == (up_to(36), REST + 1, 1)
    assert source.slots(96) == [NOTHING, NOTHING]
    source.append(30, 26)  # no note of the source begins here
    assert source.closeness < 0.6


def test_a_melody_becomes_a_source_with_rests():
    plan = Plan(2, "major", (4, 4), (1,))
    source = source_of(Melody.from_pitches([None, 62, None, 150 - 24], [1, 0.5, 0.5, 2]), plan)
    assert source.onsets == [0, 24, 36, 48]
    assert source.ticks == [24, 12, 12, 48]
    assert source.pitches == [REST, 24, REST, REST - 1]  # too high: the highest class


# ---- the network


def test_inputs_are_within_their_classes(tunes):
    for i, tune in enumerate(tunes):
        inputs = varied(example(tune), tune, np.random.default_rng(i))[0]
        assert inputs.shape[1] == len(SIZES)
        assert ((inputs >= 0) & (inputs < np.array(SIZES))).all()


def test_no_logit_knows_the_future(tunes, model):
    tune, t = tunes[3], 20
    other = encode_like(tune, t)
    inputs, changed = (batch_of([(example(x), x)]) for x in (tune, other))
    with torch.no_grad():
        one, two = (model.duration_logits(model(x), x) for x, *_ in (inputs, changed))
        three, four = (model.pitch_logits(model(x), x, d) for x, d, _ in (inputs, changed))
    assert torch.allclose(one[:, : t + 1], two[:, : t + 1], atol=1e-6)
    assert torch.allclose(three[:, : t + 1], four[:, : t + 1], atol=1e-6)
    assert not torch.allclose(one[:, t + 1 :], two[:, t + 1 :], atol=1e-3)


def encode_like(tune, t):
    """The tune with another pitch at note t."""
    pitches = tune.pitches.copy()
    pitches[t] = (pitches[t] + 5) % (REST - 1)
    return type(tune)(tune.durations, pitches, tune.plan, tune.layout)


def test_each_tune_of_a_batch_is_alone(tunes, model):
    pairs = [(example(tune), tune) for tune in tunes[:3]]
    both, (alone, durations, _) = batch_of(pairs), batch_of(pairs[:1])
    with torch.no_grad():
        logits = model.duration_logits(model(both[0]), both[0])[0, : durations.shape[1]]
        assert torch.allclose(logits, model.duration_logits(model(alone), alone)[0], atol=1e-5)
    assert (both[1][0, durations.shape[1] :] == -1).all()


def test_the_copy_path_adds_to_what_is_advised():
    out = torch.tensor([[1.0, 2.0, 3.0, 0.5, 0.25, 7.0]])  # three classes, three slots
    assert _copying(out, torch.tensor([[3, 3, 0]]), 3).tolist() == [[1.0, 2.0, 3.75]]


def test_bits_of_equal_logits_are_the_logarithm_of_the_classes(tunes):
    model = TuneWaveNet(TuneConfig(width=8, skip=8, layers=2)).eval()
    for layer in (model.duration_out, model.pitch_out):
        torch.nn.init.zeros_(layer.weight)
        torch.nn.init.zeros_(layer.bias)
    bits = bits_per_note(model, [(example(tune), tune) for tune in tunes[:3]])
    assert bits == pytest.approx((np.log2(D), np.log2(P)), abs=1e-4)


def test_an_interval_is_known_between_two_notes():
    pitches = torch.tensor([0, 20, 22, 61, REST + 1])
    assert interval(torch.tensor(20), pitches).tolist() == [0, 13, 15, 25, 0]
    assert interval(torch.tensor(REST + 1), pitches).tolist() == [0] * 5


def test_an_open_plan_is_unknown():
    known, unknown = Plan(0, "dorian", (7, 8), (1,), 0.0, (60, 72), 2.0, 0.1), Plan(0, "dorian", (4, 4), (1,))
    assert plan_row(known)[0] == 0  # a metre that the corpus does not have
    assert plan_row(known)[4:] == [17, 3]
    assert plan_row(unknown)[4:] == [0, 0]


# ---- training


def test_a_corrupted_source_fills_the_tune(tunes):
    rng, kept = np.random.default_rng(0), []
    for tune in tunes:
        source = corrupt(tune, rng)
        ends = np.array(source.onsets) + source.ticks
        assert source.onsets[0] == 0
        assert ends[-1] == tune.layout.end
        assert (ends[:-1] == source.onsets[1:]).all()
        ours = set(zip(tune.onsets.tolist(), tune.pitches.tolist(), strict=True))
        kept.append(len(ours & set(zip(source.onsets, source.pitches, strict=True))) / len(ours))
    assert min(kept) < 0.4
    assert max(kept) > 0.9


def test_an_octave_moves_every_pitch_of_an_example(tunes):
    moved, tune = 0, tunes[1]
    columns = [2, 3, BEFORE, *range(FIRST_SLOT + 1, len(SIZES), 3)]
    for seed in range(30):
        inputs, other = varied(example(tune), tune, np.random.default_rng(seed))
        shift = int(other.pitches[0] - tune.pitches[0])
        moved += shift != 0
        known = inputs != 0
        known[:, SOURCE:] = False
        notes = known[:, columns] & (inputs[:, columns] <= REST)
        assert (inputs[:, columns][notes] == (example(tune)[:, columns] + shift)[notes]).all()
        assert (other.durations == tune.durations).all()
    assert 0 < moved < 15


def test_only_the_source_columns_follow_the_source(tunes):
    tune = tunes[0]
    inputs = example(tune)
    source = Source(tune.onsets.tolist(), np.array(LENGTHS)[tune.durations].tolist(), tune.pitches.tolist())
    followed = add_source(inputs, tune, source)
    assert (followed[:, :SOURCE] == inputs[:, :SOURCE]).all()
    assert (followed[:, SOURCE] == tune.durations + 1).all()
    assert (followed[:, SOURCE + 1] == tune.pitches + 1).all()
    assert (inputs[:, SOURCE:] == 0).all()


def test_every_tune_is_in_one_batch(tunes):
    groups = grouped([(example(tune), tune) for tune in tunes])
    assert sorted(i for group in groups for i in group) == list(range(len(tunes)))


# ---- the writer


def test_the_writer_computes_what_the_network_does(tunes, model):
    plan = tunes[5].plan
    source = Melody.from_pitches(np.random.default_rng(1).integers(62, 80, 60), 0.5)
    rng, plans = np.random.default_rng(0), [plan, Plan(2, "minor", (6, 8), (2, 2), 0.5, density=2.0)]
    writer, steps = TuneWriter(model, plans, [source, None]), []
    while not writer.finished.all():
        durations, pitches = rng.integers(5, 14, 2), rng.integers(10, REST + 1, 2)
        steps.append((writer.inputs, writer.duration_logits(), writer.pitch_logits(durations), durations))
        writer.append(durations, pitches)
    inputs, durations = torch.stack([x[0] for x in steps], 1), torch.tensor(np.stack([x[3] for x in steps], 1))
    with torch.no_grad():
        state = model(inputs)
        whole = model.duration_logits(state, inputs), model.pitch_logits(state, inputs, durations)
    for logits, stepwise in zip(whole, ([x[1] for x in steps], [x[2] for x in steps]), strict=True):
        assert np.abs(logits.numpy() - np.stack(stepwise, 1)).max() < 1e-4
    assert (inputs[1, :, SOURCE:] == 0).all()
    assert (inputs[0, :20, SOURCE:] != 0).any()


def test_the_writer_sees_what_the_example_of_the_tune_has(tunes, model):
    tune = next(tune for tune in tunes if TuneLayout.of(tune.plan) == tune.layout)
    writer, rows = TuneWriter(model, [tune.plan]), []
    for duration, pitch in zip(tune.durations, tune.pitches, strict=True):
        rows.append(writer.inputs[0])
        writer.append(np.array([duration]), np.array([pitch]))
    assert (torch.stack(rows).numpy() == example(tune)).all()
    assert writer.finished.all()
    assert writer.position[0] == tune.plan.length


def test_finished_tunes_stay_as_they_are(model):
    writer = TuneWriter(model, [Plan(0, "major", (2, 4), (bars,)) for bars in (1, 3)])
    half = np.array([LENGTHS.index(48)] * 2)
    writer.append(half, np.array([24, 24]))
    assert writer.finished.tolist() == [True, False]
    writer.append(half, np.array([25, 26]))
    assert writer.position.tolist() == [2.0, 4.0]
    assert [len(memory.notes) for memory in writer.memories] == [1, 2]
    writer.append(half, half)
    writer.append(half, half)  # nothing is left to write
    assert writer.finished.all()
    assert writer.position.tolist() == [2.0, 6.0]


# ---- what is shipped


@pytest.mark.skipif(not (SHIPPED / "tunes").exists(), reason="not trained yet")
def test_the_shipped_model_is_small_and_knows_tunes():
    model = TuneWaveNet.from_pretrained("tunes")
    assert sum(p.numel() for p in model.parameters()) <= 2_000_000
    assert (SHIPPED / "tunes" / "model.safetensors").stat().st_size < 3.1e6
    examples = examples_of("test", steps=1)  # a few tunes
    duration, pitch = bits_per_note(model, examples)
    assert duration < 0.8
    assert pitch < 2.2
    scrambled = [(example(x), x) for x in (encode_like(tune, 7) for _, tune in examples)]
    assert sum(bits_per_note(model, scrambled)) > duration + pitch
    assert FIRST_SLOT + 3 * len(SLOTS) == len(SIZES)
