"""The scale of a run: smoke, cpu or full."""

import pytest
import torch

from musicai.scale import current_scale, device, scaled


@pytest.mark.parametrize("name", ["smoke", "cpu", "full"])
def test_the_environment_variable_decides(monkeypatch, name):
    monkeypatch.setenv("MUSICAI_SCALE", name)
    assert current_scale() == name
    assert scaled("full", cpu="cpu", smoke="smoke") == name


@pytest.mark.parametrize("unset", [True, False])
def test_without_it_a_cuda_gpu_means_full_and_anything_else_cpu(monkeypatch, unset):
    monkeypatch.delenv("MUSICAI_SCALE", raising=False)
    if not unset:
        monkeypatch.setenv("MUSICAI_SCALE", "")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert current_scale() == "full"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert current_scale() == "cpu"


def test_a_misspelt_scale_is_an_error_that_names_the_choices(monkeypatch):
    monkeypatch.setenv("MUSICAI_SCALE", "tiny")
    with pytest.raises(ValueError, match=r"'tiny'.*smoke, cpu, full"):
        current_scale()
    with pytest.raises(ValueError, match="tiny"):
        scaled(1, cpu=1, smoke=1)


@pytest.mark.parametrize(("name", "given", "value"), [
    ("smoke", {"cpu": 400}, 400),
    ("smoke", {}, 20_000),
    ("cpu", {"smoke": 3}, 20_000),
    ("smoke", {"cpu": 400, "smoke": 0}, 0),
    ("full", {"cpu": 400, "smoke": 3}, 20_000),
])  # fmt: skip
def test_a_scale_that_is_not_given_takes_the_next_larger_one(monkeypatch, name, given, value):
    monkeypatch.setenv("MUSICAI_SCALE", name)
    assert scaled(20_000, **given) == value


def test_the_environment_variable_decides_about_the_device(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setenv("MUSICAI_DEVICE", "CPU")
    assert device() == torch.device("cpu")
    for wrong in ("cuda:99", "gpu", "cpu,cuda"):
        monkeypatch.setenv("MUSICAI_DEVICE", wrong)
        with pytest.raises(ValueError, match=f"the device '{wrong}' cannot be used here"):
            device()


def test_device_prefers_cuda_then_mps_then_the_cpu(monkeypatch):
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    monkeypatch.delenv("MUSICAI_DEVICE", raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert device().type == "cuda"
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert device() == torch.device("cuda", 1), "each process of torchrun has its own GPU"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert device().type == "mps"
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert device().type == "cpu"
