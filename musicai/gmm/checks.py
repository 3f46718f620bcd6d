"""What a mixture accepts, and what it says of anything else."""

from numbers import Integral, Real
from typing import Any

import numpy as np
import torch
from sklearn.utils.validation import validate_data
from torch import Tensor

from musicai.gmm.data import as_tensor
from musicai.gmm.start import INIT_PARAMS
from musicai.gmm.steps import COVARIANCE_TYPES

LEAST = {"n_components": 1, "n_init": 1, "max_iter": 0, "verbose_interval": 1, "tol": 0, "reg_covar": 0}
CHOICES = {"covariance_type": COVARIANCE_TYPES, "init_params": INIT_PARAMS}


def check_settings(settings: dict[str, Any]) -> None:
    """Raises ValueError naming the setting, its value, and what it may be."""
    for name, least in LEAST.items():
        kind = Real if name in ("tol", "reg_covar") else Integral
        value = settings[name]
        if not isinstance(value, kind) or isinstance(value, bool) or not least <= value < float("inf"):
            noun = "a number" if kind is Real else "a whole number"
            raise ValueError(f"The '{name}' parameter must be {noun}, at least {least}; got {value!r}")
    for name, choices in CHOICES.items():
        if settings[name] not in choices:
            raise ValueError(f"The '{name}' parameter must be one of {', '.join(choices)}; got {settings[name]!r}")


def check_rows(estimator: Any, X: Any, *, fitting: bool = False) -> Tensor:
    """X as a float32 or float64 tensor (rows, D): an array as scikit-learn checks it, a tensor in the same way.

    Raises ValueError for another shape or width, NaN, infinity, or (when fitting) fewer rows than components or than 2.
    """
    least = 2 if fitting else 1
    if isinstance(X, Tensor):
        _check_tensor(estimator, X, fitting, least)
    else:
        X = validate_data(estimator, X, reset=fitting, dtype=[np.float64, np.float32], ensure_min_samples=least)
    if fitting:
        check_enough(estimator, len(X))
    return as_tensor(X)


def check_enough(estimator: Any, rows: int) -> None:
    """Raises ValueError for fewer rows than components, or than 2."""
    if rows < max(2, estimator.n_components):
        raise ValueError(
            f"Expected n_samples >= n_components but got n_components = {estimator.n_components}, n_samples = {rows} "
            "(a minimum of 2 is required)"
        )


def _check_tensor(estimator: Any, X: Tensor, fitting: bool, least: int) -> None:
    if X.dim() != 2:
        raise ValueError(f"Expected a tensor of shape (rows, features), got {tuple(X.shape)}. Reshape your data")
    if X.is_complex():
        raise ValueError("Complex data not supported: take the real part or the magnitude")
    if len(X) < least or X.shape[1] < 1:
        raise ValueError(f"Found a tensor of shape {tuple(X.shape)}; at least {least} rows and 1 feature are required")
    if not all(bool(torch.isfinite(part).all()) for part in X.split(2**16)):
        raise ValueError("Input X contains NaN or infinity")
    if fitting:
        estimator.n_features_in_ = X.shape[1]
        vars(estimator).pop("feature_names_in_", None)
    elif X.shape[1] != getattr(estimator, "n_features_in_", X.shape[1]):
        raise ValueError(
            f"X has {X.shape[1]} features, but {type(estimator).__name__} is expecting {estimator.n_features_in_} "
            "features as input"
        )
