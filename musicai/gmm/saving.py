"""`save` and `load` of a mixture: one safetensors file, read back to the last bit."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from musicai.gmm import files
from musicai.gmm.attributes import NAMES, Attributes, Kind
from musicai.gmm.data import as_tensor
from musicai.gmm.steps import Parameters

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
        files.write(path, tensors, facts)

    @classmethod
    def load(cls, path: str | Path, device: str | torch.device = "cpu"):
        """The mixture in a file. If it was fitted to tensors, its parameters are tensors on `device`.

        Raises FileNotFoundError where there is no file, ValueError for a file that `save` did not write.
        """
        tensors, facts = files.read(path)
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
