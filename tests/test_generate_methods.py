"""Which sampler a request gets, on devices that need not be there; and a recording of a graph that fails."""

from contextlib import suppress

import pytest
import torch

from musicai.sampling import sample
from musicai.sampling.graph import Graphed
from musicai.sampling.run import KNOWN, METHODS, _chosen
from musicai.wavenet import WaveNet

DEVICES = {"cpu": "cpu", "cuda": "cuda-graph", "mps": "cached"}  # and what "auto" is there


@pytest.mark.parametrize(("device", "fastest"), DEVICES.items())
def test_auto_is_the_fastest_that_applies(device, fastest):
    assert _chosen(torch.device(device), "auto", "float32") == fastest


@pytest.mark.parametrize("precision", ["int16", "int8"])
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("device", DEVICES)
def test_a_reduced_precision_is_had_or_refused_by_name(device, method, precision):
    if device == "cpu" and method in ("auto", "cpu"):
        assert _chosen(torch.device(device), method, precision) == "cpu"
        return
    asked = f"precision '{precision}'" if method == "auto" else f"method '{method}'"
    why = f"needs the model on the CPU, and it is on {device}|knows precision 'float32'( and 'float16')? only"
    with pytest.raises(ValueError, match=f"{asked} ({why})"):
        _chosen(torch.device(device), method, precision)


@pytest.mark.parametrize("precision", KNOWN["cpu"])
def test_without_numba_a_reduced_precision_is_refused(precision, monkeypatch):
    monkeypatch.setattr("musicai.sampling.run.find_spec", lambda name: None)
    if precision == "float32":
        with pytest.warns(UserWarning, match="numba is missing"):
            assert _chosen(torch.device("cpu"), "auto", precision) == "cached"
    else:
        with pytest.raises(ImportError, match=f"precision '{precision}' needs numba: pip install numba"):
            _chosen(torch.device("cpu"), "auto", precision)


@pytest.mark.parametrize("kernel_size", [1, 2, 3])
def test_a_graph_that_cannot_be_recorded_changes_no_sample(kernel_size, monkeypatch):
    """Steps that were taken for the recording are undone, and the rest is drawn without a graph."""
    torch.manual_seed(0)
    model = WaveNet(layers=6, stacks=2, kernel_size=kernel_size, residual_channels=8, classes=16).eval()
    model.requires_grad_(False).head.linear.weight.mul_(8)
    truth = sample(model, 100, streams=2, method="cached", progress=False)
    part = Graphed._part

    def after_a_failure(self, *arguments):
        with suppress(RuntimeError), self.unchanged():
            self.step(False)
            self.step(False)
            raise RuntimeError
        return part(self, *arguments)

    monkeypatch.setattr(Graphed, "_part", after_a_failure)
    monkeypatch.setattr("musicai.sampling.run._chosen", lambda *_: "cuda-graph")
    assert torch.equal(sample(model, 100, streams=2, block=30, progress=False), truth)
