"""`fit` and `update`: what the one training loop promises."""

import math
import os
import re
import signal
import threading

import pytest
import torch
from torch import nn

from musicai.train import Batches, CheckpointError, DivergedError, fit, load_checkpoint, seed_all, update
from musicai.train.checkpoint import read_checkpoint
from musicai.train.run import autocast_dtype


def make(dropout=0.2, lr=0.05):
    seed_all(0)
    model = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Dropout(dropout), nn.Linear(8, 1))
    return model, torch.optim.Adam(model.parameters(), lr)


def data():
    return Batches(torch.randn(64, 3, generator=torch.Generator().manual_seed(0)), 16, seed=4)


def stepping(model, optimizer, **keywords):
    def step(x):
        loss = (model(x) - x.sum(1, keepdim=True)).square().mean()
        return {"loss": update(loss, optimizer, **keywords)}

    return step


def run(steps, *, step=None, batches=None, parts=None, **options):
    model, optimizer = parts or make()
    options = {"progress": False, "state": {"model": model, "optimizer": optimizer}} | options
    return fit(step or stepping(model, optimizer), batches or data(), steps=steps, **options)


def weights(run):
    return torch.cat([p.detach().reshape(-1) for p in run.state["model"].parameters()])


def test_a_plain_pytorch_step_is_the_bare_loop_exactly():
    model, optimizer = make(dropout=0)
    batches = data()
    for n in range(20):
        optimizer.zero_grad()
        loss = (model(batches[n]) - batches[n].sum(1, keepdim=True)).square().mean()
        loss.backward()
        optimizer.step()
    other, other_optimizer = make(dropout=0)

    def step(x):
        other_optimizer.zero_grad()
        (other(x) - x.sum(1, keepdim=True)).square().mean().backward()
        other_optimizer.step()
        return {}

    done = run(20, step=step, parts=(other, other_optimizer))
    assert torch.equal(weights(done), torch.cat([p.detach().reshape(-1) for p in model.parameters()]))
    assert torch.equal(weights(run(20, parts=make(dropout=0))), weights(done)), "and update() is those four lines"


def test_it_learns_and_keeps_every_loss():
    done = run(200, parts=make(dropout=0))
    assert done.finished
    assert done.step == len(done.history["loss"]) == 200
    assert sum(done.history["loss"][-10:]) < 0.05 * sum(done.history["loss"][:10])


def test_the_gradient_norm_is_that_of_all_gradients_together():
    weight = nn.Parameter(torch.tensor([3.0, 4.0]))
    module = nn.ParameterList([weight, nn.Parameter(torch.zeros(2))])
    optimizer = torch.optim.SGD(module.parameters(), 0.1)

    def step(_):
        return {"loss": update((weight**2).sum() / 2 + 12 * module[1].sum() / 2**0.5, optimizer, max_norm=1.3)}

    done = run(1, step=step, batches=[0], state={"model": module, "optimizer": optimizer})
    assert done.history["grad/optimizer"][0] == pytest.approx(13.0), "5, 12, 13; before clipping"
    moved = torch.tensor([3.0, 4.0]) - weight.detach()
    assert torch.allclose(moved, 0.1 * 0.1 * torch.tensor([3.0, 4.0])), "clipped to a tenth"


def test_update_alone_needs_no_fit():
    weight = nn.Parameter(torch.tensor(2.0))
    optimizer = torch.optim.SGD([weight], 0.5)
    loss = update(weight**2, optimizer)
    assert (loss.item(), weight.item(), loss.requires_grad) == (4.0, 0.0, False)


def test_the_average_is_that_of_the_formula_and_resumes(tmp_path):
    seen = []
    model, optimizer = make()

    def step(x):
        losses = stepping(model, optimizer)(x)
        seen.append(model[0].weight.detach().clone())
        return losses

    average = model[0].weight.detach().clone()
    for steps in (7, 12):
        done = run(steps, step=step, parts=(model, optimizer), ema={"model": 0.6}, checkpoint=tmp_path / "c")
    for n, value in enumerate(seen, start=1):
        decay = min(0.6, (1 + n) / (10 + n))
        average = decay * average + (1 - decay) * value
    assert torch.allclose(done.ema["model"][0].weight, average, atol=1e-6)
    assert not done.ema["model"].training
    model, _ = make()
    load_checkpoint(tmp_path / "c", {"ema.model": model})
    assert torch.equal(model[0].weight, done.ema["model"][0].weight)


@pytest.mark.parametrize("source", ["batches", "loader", "function"])
def test_resuming_gives_the_weights_of_an_unbroken_run(tmp_path, source):
    def batches():
        if source == "function":
            return lambda n: torch.randn(16, 3) + n / 10
        return data() if source == "batches" else torch.utils.data.DataLoader(torch.randn(40, 3), 16, shuffle=True)

    seed_all(5)
    whole = run(23, batches=batches())
    for steps in (9, 10, 23):
        seed_all(5)
        broken = run(steps, batches=batches(), checkpoint=tmp_path / "c")
    assert torch.equal(weights(broken), weights(whole))
    assert broken.history == whole.history


def test_callbacks_come_every_so_often_and_at_the_end_and_never_disturb_training():
    model, optimizer = make()
    seen = []

    def evaluate(run):
        seen.append(run.step)
        model.eval()
        torch.rand(3)
        return {"valid": run.history["loss"][-1]}

    done = run(10, parts=(model, optimizer), callbacks=[(4, evaluate)])
    assert seen == [4, 8, 10]
    assert [n + 1 for n, value in enumerate(done.history["valid"]) if not math.isnan(value)] == seen
    assert torch.equal(weights(done), weights(run(10)))
    assert model.training


def test_a_loss_that_is_not_finite_stops_with_its_name_and_step_and_the_checkpoint_stays_finite(tmp_path):
    model, optimizer = make()

    def step(x):
        losses = stepping(model, optimizer)(x)
        return losses | {"kl": math.inf if len(calls.append(0) or calls) == 7 else 0.0}

    calls = []
    with pytest.raises(DivergedError, match=r"kl is inf at step 7.*c still holds finite"):
        run(20, step=step, parts=(model, optimizer), checkpoint=tmp_path / "c", save_every=3)
    assert read_checkpoint(tmp_path / "c")[1]["step"] == 6


def test_a_step_is_named_rightly_where_losses_are_read_seldom(tmp_path, monkeypatch):
    from musicai.train import run as run_module

    monkeypatch.setattr(run_module.distributed, "rank_and_world", lambda: (0, 2))  # reads every 10 steps
    one = run_module.TrainingRun(20, {}, None, None, None, {})
    assert one.read_every == 10
    monkeypatch.undo()
    for value in (1.0, 2.0, math.nan, 3.0):
        one.record({"loss": torch.tensor(value)})
    with pytest.raises(DivergedError, match="loss is nan at step 3"):
        one.read()
    assert list(one.history["loss"]) == [1.0, 2.0]


def test_gradients_that_are_not_finite_stop_with_the_optimizer_and_the_step():
    weight = nn.Parameter(torch.zeros(2))
    optimizer = torch.optim.SGD([weight], 0.1)

    def step(_):  # sqrt has an infinite slope at 0
        return {"loss": update(weight.sqrt().sum(), optimizer)}

    with pytest.raises(DivergedError, match="grad/optimizer is inf at step 1"):
        run(3, step=step, batches=[0], state={"optimizer": optimizer})


def test_weights_that_are_not_finite_are_never_saved(tmp_path):
    model, optimizer = make()

    def step(_):
        with torch.no_grad():
            model[0].weight[0, 0] = math.nan
        return {"loss": 0.0}

    with pytest.raises(DivergedError, match=r"weights model\.0\.weight are not finite after step 3"):
        run(3, step=step, parts=(model, optimizer), checkpoint=tmp_path / "c")
    assert all(torch.isfinite(t).all() for t in read_checkpoint(tmp_path / "c")[0]["model"].values())


@pytest.fixture
def interruptible():
    """Python's own answer to ctrl-C: a shell that starts a test run in the background has it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_ctrl_c_ends_the_step_saves_and_raises(tmp_path):
    model, optimizer = make()

    def step(x):
        if len(calls) == 4:
            os.kill(os.getpid(), signal.SIGINT)
        calls.append(0)
        return stepping(model, optimizer)(x)

    calls, before = [], signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt, match="after step 5"):
        run(20, step=step, parts=(model, optimizer), checkpoint=tmp_path / "c")
    assert signal.getsignal(signal.SIGINT) is before
    assert read_checkpoint(tmp_path / "c")[1]["step"] == 5
    assert torch.equal(weights(run(20, checkpoint=tmp_path / "c")), weights(run(20)))


@pytest.mark.usefixtures("interruptible")
def test_a_second_ctrl_c_is_obeyed_at_once():
    def step(_):
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        pytest.fail("not reached")

    with pytest.raises(KeyboardInterrupt):
        run(20, step=step)


def test_it_runs_in_a_thread_where_signals_cannot_be_caught():
    done = []
    thread = threading.Thread(target=lambda: done.append(run(2)))
    thread.start()
    thread.join()
    assert done[0].finished


def test_other_settings_are_listed_on_resume(tmp_path):
    _, optimizer = make()
    run(2, checkpoint=tmp_path / "c", config={"lr": 0.1, "net": {"width": 8, "taps": (1, 2)}}, seed=3, ema=0.9)
    wider = nn.Sequential(nn.Linear(3, 9))
    with pytest.raises(CheckpointError) as error:
        fit(
            print,
            Batches(torch.zeros(64, 3), 8, seed=4),
            steps=4,
            state={"model": wider, "optimiser": optimizer},
            checkpoint=tmp_path / "c",
            config={"lr": 0.2, "net": {"width": 9, "taps": (1, 2)}, "depth": 3},
            seed=4,
        )
    for text in [
        "config.lr: 0.1 in the checkpoint, 0.2 here",
        "config.net.width: 8 in the checkpoint, 9 here",
        "config.depth: missing in the checkpoint, 3 here",
        "seed: 3 in the checkpoint, 4 here",
        "batches.batch_size: 16 in the checkpoint, 8 here",
        "optimizer: a state in the checkpoint, missing here",
        "ema.model: a state in the checkpoint, missing here",
        "optimiser: missing in the checkpoint, a state here",
        "model.0.weight: float32 [8, 3] in the checkpoint, float32 [9, 3] here",
        "model.3.bias: float32 [1] in the checkpoint, missing here",
    ]:
        assert text in str(error.value)
    assert "taps" not in str(error.value)


def test_a_checkpoint_that_cannot_be_written_fails_before_the_first_step(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(CheckpointError, match="cannot write"):
        run(3, step=lambda _: pytest.fail("too late"), checkpoint=tmp_path / "file" / "c")


@pytest.mark.parametrize(("returned", "error", "match"), [
    (torch.tensor(1.0), TypeError, "by name.*not Tensor"),
    (None, TypeError, "by name.*not NoneType"),
    ({"loss": torch.zeros(3)}, ValueError, "only one element tensors"),
])  # fmt: skip
def test_a_step_that_returns_no_named_losses_is_told_so(returned, error, match):
    with pytest.raises(error, match=match):
        run(2, step=lambda _: returned)


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"save_every": 0}, "save_every must be a whole number, 1 or more, not 0"),
        ({"callbacks": [(0, print)]}, "a callback's interval must be a whole number, 1 or more, not 0"),
        ({"steps": 2.5}, "steps must be a whole number, 0 or more, not 2.5"),
        ({"steps": "many"}, "steps .* not 'many'"),
        ({"seed": "x"}, "seed .* not 'x'"),
        ({"ema": 2}, "ema=2: a decay must be a number from 0 to 1"),
        ({"ema": {"model": "x"}}, "ema=.*'x'"),
    ],
)
def test_numbers_that_make_no_sense_are_refused_before_the_first_step(keywords, message):
    with pytest.raises(ValueError, match=message):
        run(**{"steps": 1, "step": lambda x: pytest.fail("a step was made")} | keywords)


@pytest.mark.parametrize("max_norm", [0, -1.0, math.nan])
def test_a_norm_that_would_turn_or_stop_the_gradient_is_refused(max_norm):
    model, optimizer = make()
    with pytest.raises(ValueError, match="max_norm"):
        update(model(torch.ones(1, 3)).sum(), optimizer, max_norm=max_norm)


def test_state_and_config_that_cannot_be_saved_are_refused_at_the_start(tmp_path):
    with pytest.raises(TypeError, match=r"state\['lr'\] is a float"):
        run(1, state={"lr": 0.1})
    with pytest.raises(CheckpointError, match=r"cannot save info\.settings\.config\.net, a object"):
        run(1, config={"net": object()}, checkpoint=tmp_path / "c")
    with pytest.raises(TypeError, match=r'state must be a dict, as in \{"model": model\}, not a list'):
        run(1, state=list(make()))
    with pytest.raises(KeyError, match="modle"):
        run(1, ema={"modle": 0.9})


def test_bf16_runs_the_step_in_bf16_and_keeps_float32_weights():
    model, optimizer = make()
    seen = []

    def step(x):
        prediction = model(x)
        seen.append(prediction.dtype)
        return {"loss": update((prediction.float() - x.sum(1, keepdim=True)).square().mean(), optimizer)}

    done = run(150, step=step, parts=(model, optimizer), precision="bf16")
    assert set(seen) == {torch.bfloat16}
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert sum(done.history["loss"][-10:]) < 0.3 * sum(done.history["loss"][:10])


@pytest.mark.parametrize("plain", [True, False])
def test_in_bf16_a_second_forward_pass_sees_the_updated_weights(plain):
    """A GAN updates its critic and uses it again in the same step; autocast would remember the old weights."""
    critic = nn.Linear(1, 1, bias=False)
    optimizer = torch.optim.SGD(critic.parameters(), 1.0)

    def step(x):
        before = critic(x).sum()
        if plain:
            optimizer.zero_grad()
            before.backward()
            optimizer.step()
        else:
            update(before, optimizer)
        return {"moved": critic(x).sum() - before}

    done = run(1, step=step, batches=[torch.full((1, 1), 2.0)], precision="bf16", state={"c": critic, "o": optimizer})
    assert done.history["moved"][0] == pytest.approx(-4.0, abs=0.1)


def test_fp16_scales_the_loss_so_that_tiny_gradients_survive_and_resumes(tmp_path):
    def tiny():
        model = nn.Linear(1, 1, bias=False)
        nn.init.ones_(model.weight)
        return model, torch.optim.SGD(model.parameters(), 1e6)

    def step_of(model, optimizer):
        return lambda x: {"loss": update(model(x).float().sum() * 1e-7 * 0.1, optimizer)}

    moved = []
    for steps in ([6], [3, 6]):
        model, optimizer = tiny()
        for n in steps:
            done = run(
                n,
                step=step_of(model, optimizer),
                batches=[torch.ones(1, 1)],
                state={"model": model, "optimizer": optimizer},
                precision="fp16",
                checkpoint=tmp_path / f"{len(steps)}",
            )
        moved.append(1 - model.weight.item())
    assert moved[0] == pytest.approx(6 * 1e6 * 1e-8, rel=0.01), "1e-8 is below the smallest fp16 number"
    assert moved[0] == moved[1]
    assert done.scaler.state_dict()["_growth_tracker"] == 6, "the scaler's state was resumed too"


def test_fp16_leaves_out_a_step_whose_gradients_overflow():
    weight = nn.Parameter(torch.ones(()))
    module = nn.ParameterList([weight])
    optimizer = torch.optim.SGD([weight], 1e-3)

    def step(factor):
        return {"loss": update(weight * factor, optimizer)}

    factors = [torch.tensor(1.0), torch.tensor(1e35), torch.tensor(1.0)]  # times 65,536 is infinite in float32
    done = run(3, step=step, batches=factors, precision="fp16", state={"model": module, "optimizer": optimizer})
    assert weight.item() == pytest.approx(0.998)
    assert done.scaler.get_scale() == 2**15


def test_fp16_without_update_is_an_error_not_a_silent_underflow():
    model, optimizer = make()

    def step(x):
        model(x).sum().backward()
        optimizer.step()

    with pytest.raises(RuntimeError, match=r"update\(loss, optimizer\)"):
        run(2, step=step, parts=(model, optimizer), precision="fp16")


def test_precision_auto_takes_what_the_gpu_does_in_hardware(monkeypatch):
    cuda = torch.device("cuda")
    assert autocast_dtype("auto", torch.device("cpu")) is None
    for hardware, dtype in [(True, torch.bfloat16), (False, torch.float16)]:
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation, h=hardware: h)
        assert autocast_dtype("auto", cuda) == dtype
    with pytest.raises(ValueError, match="precision='half'"):
        autocast_dtype("half", cuda)


def test_progress_shows_the_losses_and_the_time_left(capfd):
    def slow(x):
        threading.Event().wait(0.06)
        return {"kl": 0.25}

    run(20, step=slow, progress=True)
    output = "".join(capfd.readouterr())
    assert "20/20" in output
    assert "kl=0.25" in output
    assert re.search(r"\d\d:\d\d<\d\d:\d\d", output), "time so far < time left"
    run(2, progress=False)
    assert "".join(capfd.readouterr()) == ""


def test_after_fit_random_numbers_are_the_same_resumed_or_not(tmp_path):
    run(6)
    expected = torch.rand(3)
    run(6, checkpoint=tmp_path / "c")
    torch.rand(99)
    run(6, checkpoint=tmp_path / "c")  # nothing left to do
    assert torch.equal(torch.rand(3), expected)
