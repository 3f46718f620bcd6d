"""`save` and `load` of a mixture: one safetensors file with JSON in its header, read back to the last bit."""

import contextlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from musicai.gmm.attributes import NAMES, Attributes, Kind
from musicai.gmm.data import as_tensor
from musicai.gmm.steps import Parameters

HEADER = "musicai.gmm"
FACTS = ("converged_", "n_iter_", "lower_bound_", "lower_bounds_", "n_features_in_", "feature_names_in_", "n_batches_")


class Saving(Attributes):
    """The methods of `GaussianMixture` that keep it in a file."""

    def save(self, path: str | Path) -> None:
        """Write settings and fitted parameters to a file (safetensors, JSON in its header), atomically.

        Raises ValueError for a mixture that is not fitted. A `random_state` that is not a number is not kept.
        """
        if not hasattr(self, "weights_"):
            raise ValueError(f"this {type(self).__name__} is not fitted yet: call fit before save")
        parameters, kind = self._parameters(), self._kind()
        tensors = {name: getattr(parameters, name) for name in NAMES}
        settings = self.get_params()
        for name in ("weights_init", "means_init", "precisions_init"):
            if settings[name] is not None:
                tensors[name] = as_tensor(settings[name])
                settings[name] = None
        if not isinstance(settings["random_state"], int | None):
            settings["random_state"] = None
        facts = {"settings": {name: _plain(value) for name, value in settings.items()}}
        facts["numpy"], facts["dtype"] = kind.numpy, str(kind.dtype).removeprefix("torch.")
        facts["fitted"] = {name: _plain(getattr(self, name)) for name in FACTS if hasattr(self, name)}
        write(path, tensors, facts)

    @classmethod
    def load(cls, path: str | Path, device: str | torch.device = "cpu"):
        """The mixture in a file. If it was fitted to tensors, its parameters are tensors on `device`.

        Raises FileNotFoundError where there is no file, ValueError for a file that `save` did not write.
        """
        tensors, facts = read(path)
        try:
            settings, fitted = facts["settings"], facts["fitted"]
            numpy, dtype = facts["numpy"], getattr(torch, facts["dtype"])
            settings |= {n: tensors[n].numpy() if numpy else tensors[n] for n in tensors if n.endswith("_init")}
            mixture = cls(**settings)
            parameters = Parameters(*(tensors[name] for name in NAMES), settings["covariance_type"])
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{path} holds no mixture written by save ({error!r})") from error
        mixture._set_parameters(parameters, Kind(numpy, dtype, torch.device("cpu" if numpy else device)))
        names = fitted.pop("feature_names_in_", None)
        if names is not None:
            mixture.feature_names_in_ = np.array(names, dtype=object)
        vars(mixture).update(fitted)
        return mixture


def _plain(value: Any) -> Any:
    """A NumPy number or array as Python's own."""
    return value.tolist() if isinstance(value, np.generic | np.ndarray) else value


def write(path: str | Path, tensors: dict[str, Tensor], facts: dict[str, Any]) -> None:
    """Write tensors and JSON-able facts to one file, which then is the old one or the new one, never half of one."""
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    data = save({name: t.detach().cpu().contiguous() for name, t in tensors.items()}, {HEADER: json.dumps(facts)})
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(data)
        os.replace(temporary, path)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def read(path: str | Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """What `write` wrote. Raises ValueError for any other file, FileNotFoundError for none."""
    if not Path(path).exists():
        raise FileNotFoundError(f"there is no file {path}")
    try:
        with safe_open(path, framework="pt") as file:
            facts = json.loads((file.metadata() or {})[HEADER])
            return {name: file.get_tensor(name) for name in file.keys()}, facts  # noqa: SIM118
    except (SafetensorError, KeyError, ValueError, OSError) as error:
        raise ValueError(f"{path} is no whole file of a Gaussian mixture ({type(error).__name__}: {error})") from error
