"""The fitted attributes: scikit-learn's names, in the kind of array that the data came in."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from musicai.gmm.data import as_tensor
from musicai.gmm.steps import Parameters, covariances_of_factors

NAMES = ("weights", "means", "covariances", "precisions_cholesky")


@dataclass(frozen=True)
class Kind:
    """NumPy array or tensor, of which type, and where."""

    numpy: bool
    dtype: torch.dtype
    device: torch.device

    @staticmethod
    def of(X: Any, dtype: torch.dtype) -> "Kind":
        """The kind of X, a matrix, but of this type."""
        return Kind(not isinstance(X, Tensor), dtype, X.device if isinstance(X, Tensor) else torch.device("cpu"))

    def make(self, tensor: Tensor, dtype: torch.dtype | None = None) -> np.ndarray | Tensor:
        """This tensor as an array of this kind."""
        tensor = tensor.detach().to(self.device, dtype or self.dtype)
        return tensor.numpy() if self.numpy else tensor


class Attributes:
    """Sets and reads `weights_`, `means_`, `covariances_`, `precisions_` and `precisions_cholesky_`.

    They have the type of the data, as in scikit-learn. Float32 cannot hold the mean of a narrow component far from the
    origin well enough to score with, so the float64 numbers behind them are kept beside, and used for as long as the
    attributes are not changed.
    """

    covariance_type: str
    _behind: tuple[Parameters, Kind] | None = None

    def _set_parameters(self, parameters: Parameters, kind: Kind) -> None:
        self._behind = parameters, kind
        for name in NAMES:
            setattr(self, f"{name}_", kind.make(getattr(parameters, name).clone()))
        factors = parameters.precisions_cholesky
        full = self.covariance_type in ("full", "tied")
        self.precisions_ = kind.make(factors @ factors.mT if full else factors.square())

    def _made_of(self, parameters: Parameters, dtype: torch.dtype) -> "Attributes":
        """Itself, with these parameters as tensors."""
        self._set_parameters(parameters, Kind(False, dtype, parameters.means.device))
        self.n_features_in_ = parameters.means.shape[1]
        return self

    def _parameters(self, device: torch.device | None = None) -> Parameters:
        """The parameters in float64, where the attributes are or on `device`."""
        values = {name: self._value(name, device) for name in ("weights", "means", "precisions_cholesky")}
        if self._behind is not None and self._is_behind("precisions_cholesky"):
            covariances = self._behind[0].covariances.to(values["means"].device)
        else:
            full = self.covariance_type in ("full", "tied")
            covariances = covariances_of_factors(values["precisions_cholesky"], full)
        return Parameters(**values, covariances=covariances, covariance_type=self.covariance_type)

    def _kind(self) -> Kind:
        """The kind of the attributes."""
        return Kind.of(self.means_, as_tensor(self.means_).dtype)

    def _value(self, name: str, device: torch.device | None) -> Tensor:
        value = getattr(self._behind[0], name) if self._is_behind(name) else as_tensor(getattr(self, f"{name}_"))
        return value.to(device or value.device, torch.float64)

    def _is_behind(self, name: str) -> bool:
        """Whether the attribute still is what was set."""
        if self._behind is None:
            return False
        parameters, kind = self._behind
        now = as_tensor(getattr(self, f"{name}_"))
        then = getattr(parameters, name).to(now.device, kind.dtype)
        return now.dtype == then.dtype and now.shape == then.shape and bool(torch.equal(now, then))
