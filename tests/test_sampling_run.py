"""Which sampler a request gets, on devices that need not be there."""

import pytest
import torch

from musicai.sampling.run import METHODS, PRECISIONS, _chosen

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
    why = f"needs the model on the CPU, and it is on {device}|knows precision 'float32' only"
    with pytest.raises(ValueError, match=f"{asked} ({why})"):
        _chosen(torch.device(device), method, precision)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_without_numba_a_reduced_precision_is_refused(precision, monkeypatch):
    monkeypatch.setattr("musicai.sampling.run.find_spec", lambda name: None)
    if precision == "float32":
        with pytest.warns(UserWarning, match="numba is missing"):
            assert _chosen(torch.device("cpu"), "auto", precision) == "cached"
    else:
        with pytest.raises(ImportError, match=f"precision '{precision}' needs numba: pip install numba"):
            _chosen(torch.device("cpu"), "auto", precision)
