"""Which sampler and which precision a request gets, on devices that need not be there."""

import pytest
import torch

from musicai.wavenet import WaveNetConfig
from musicai.wavenet.generate.generation import MANY, PRECISIONS, choose_method

CODES, MIXTURES, WIDER = WaveNetConfig(), WaveNetConfig(mixtures=4), WaveNetConfig(kernel_size=3)


@pytest.fixture(autouse=True)
def a_gpu_with_triton(monkeypatch):
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    monkeypatch.setattr("musicai.wavenet.generate.generation.find_spec", lambda name: name)
    monkeypatch.setattr("torch.cuda.get_device_capability", lambda device: (9, 0))


def choice(device, method="auto", precision="float32", streams=1, config=CODES, top_p=None):
    return choose_method(config, torch.device(device), streams, top_p, method, precision)


@pytest.mark.parametrize("precision", ["float32", "int16", "int8"])
@pytest.mark.parametrize("device", ["cpu", "cuda", "mps"])
@pytest.mark.parametrize("streams", [1, 10_000])
def test_auto_never_changes_the_precision_that_was_asked_for(device, precision, streams):
    assert choice(device, precision=precision, streams=streams) == ("cpu", precision)
    assert choice(device, "cpu", precision, streams) == ("cpu", precision)


def test_triton_serves_many_streams_where_the_precision_is_left_open():
    assert choice("cuda", precision="auto", streams=MANY) == ("triton", "float16")
    assert choice("cuda", precision="auto", streams=MANY - 1) == ("cpu", "int16")
    assert choice("cpu", precision="auto", streams=MANY) == ("cpu", "int16")
    for config in (MIXTURES, WIDER):
        assert choice("cuda", precision="auto", streams=MANY, config=config) == ("cpu", "int16")
    assert choice("cuda", precision="auto", streams=MANY, top_p=0.9) == ("cpu", "int16")
    assert choice("cuda", precision="float16") == ("triton", "float16")
    assert choice("cuda", "cached", "auto") == ("cached", "float32")


def test_a_gpu_without_triton_or_too_old_draws_on_the_cpu(monkeypatch):
    monkeypatch.setattr("torch.cuda.get_device_capability", lambda device: (7, 5))
    assert choice("cuda", precision="auto", streams=MANY) == ("cpu", "int16")
    with pytest.raises(ValueError, match=r"of compute capability 8\.0 or newer, and it is on cuda"):
        choice("cuda", "triton", "float16")
    monkeypatch.undo()
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    monkeypatch.setattr("torch.cuda.get_device_capability", lambda device: (9, 0))
    monkeypatch.setattr("musicai.wavenet.generate.generation.find_spec", lambda name: None)
    assert choice("cuda", precision="auto", streams=MANY) == ("cpu", "int16")
    with pytest.raises(ValueError, match="pip install triton"):
        choice("cuda", "triton", "float16")


@pytest.mark.parametrize("precision", ["float32", "int16", "int8", "float16"])
@pytest.mark.parametrize("method", PRECISIONS)
def test_a_precision_is_available_or_refused_with_all_that_are(method, precision):
    if precision in PRECISIONS[method]:
        assert choice("cuda", method, precision) == (method, precision)
        return
    with pytest.raises(ValueError, match=f"no method '{method}' with precision '{precision}': 'naive' has"):
        choice("cuda", method, precision)


REFUSED = [
    ({"method": "triton", "precision": "float32"}, "'triton' with precision 'float32': .*'triton' has float16"),
    ({"method": "triton", "precision": "auto", "config": MIXTURES}, "needs a model of codes with kernel_size 2; use"),
    ({"method": "triton", "precision": "auto", "config": WIDER}, "needs a model of codes with kernel_size 2; use"),
    ({"method": "triton", "precision": "auto", "top_p": 0.9}, "'triton' needs top_p=None; use method='cpu'"),
    ({"device": "cpu", "precision": "float16"}, "'triton' needs the model on a CUDA device .*, and it is on cpu"),
    (
        {"device": "mps", "method": "triton", "precision": "auto"},
        "needs the model on .*, and it is on mps",
    ),
    ({"method": "cuda-graph", "precision": "auto"}, "no method 'cuda-graph' with precision 'auto'"),
    ({"precision": "bfloat16"}, "no method 'cpu' with precision 'bfloat16'"),
]


@pytest.mark.parametrize(("how", "message"), REFUSED)
def test_what_cannot_be_had_is_refused_by_name(how, message):
    with pytest.raises(ValueError, match=message):
        choice(**{"device": "cuda"} | how)
