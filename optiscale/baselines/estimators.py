"""A random forest and ridge regression that predict spectra and scalar targets from features."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import numpy as np

from optiscale.config import BaselineConfig, MagpieRidge

if TYPE_CHECKING:
    from sklearn.base import RegressorMixin

N_FEATURES = 132
MAX_SCORES = 64
"""Principal components of the spectra that a forest predicts."""


def n_parameters(config: BaselineConfig, *, n_values: int, n_scalars: int) -> int:
    """Count N of a baseline: what it can store, whatever it stores of it in the end.

    Ridge: its coefficients with the intercepts, 133 for every value of the spectrum and every scalar. Forest: its leaf
    values, trees x leaves x (principal components of the spectrum + scalars).

    Parameters
    ----------
    config
        The baseline.
    n_values
        Values of a spectrum, n_omega C; 0 without spectra.
    n_scalars
        Scalar targets.
    """
    if isinstance(config, MagpieRidge):
        return (N_FEATURES + 1) * (n_values + n_scalars)
    return config.trees * config.leaves * (min(MAX_SCORES, n_values) + n_scalars)


class MagpieBaseline:
    """One regressor for the spectra and one for every scalar target, as a network has a head for each.

    The spectra of a forest are standardized energy by energy and reduced to their first principal components: a leaf
    then holds at most `MAX_SCORES` numbers, and the split of a node weighs every energy alike. Both baselines minimize
    squared errors; their loss is judged as a network's.

    Parameters
    ----------
    config
        Which baseline, and its hyperparameters.
    seed
        Of the bootstrap samples and of the features that each split may use.
    threads
        Of the fit of a forest; the result does not depend on them.
    """

    def __init__(self, config: BaselineConfig, *, seed: int, threads: int = 1) -> None:
        self.config = config
        self.seed = seed
        self.threads = threads
        self._spectrum: RegressorMixin | None = None
        self._scalars: list[RegressorMixin] = []
        self._nonnegative = np.empty(0, dtype=bool)

    def fit(
        self,
        features: np.ndarray,
        spectrum: np.ndarray | None,
        scalars: np.ndarray | None,
        *,
        nonnegative: np.ndarray | None = None,
    ) -> Self:
        """Learn from D materials.

        Parameters
        ----------
        features
            (D, 132).
        spectrum
            (D, n_values), or None.
        scalars
            (D, S), or None.
        nonnegative
            (S,) whether a scalar is predicted as at least 0; by default none is.
        """
        from joblib import parallel_config

        n_scalars = 0 if scalars is None else scalars.shape[1]
        self._nonnegative = np.zeros(n_scalars, dtype=bool) if nonnegative is None else np.asarray(nonnegative)
        columns = [] if scalars is None else [np.asarray(column, dtype=np.float64) for column in scalars.T]
        # the fit only: threads that predict add the trees up in an order of their own, and the last digits with it
        with parallel_config(backend="threading", n_jobs=self.threads):
            if spectrum is not None:
                self._spectrum = self._spectrum_regressor(spectrum.shape).fit(features, spectrum)
            self._scalars = [self._regressor().fit(features, column) for column in columns]
        return self

    def predict(self, features: np.ndarray) -> tuple[np.ndarray | None, np.ndarray | None]:
        """Return spectra (B, n_values) and scalars (B, S), or None for what was not learnt, from features (B, 132)."""
        spectrum = None if self._spectrum is None else np.asarray(self._spectrum.predict(features))
        if not self._scalars:
            return spectrum, None
        scalars = np.stack([regressor.predict(features) for regressor in self._scalars], axis=1)
        return spectrum, np.where(self._nonnegative, np.maximum(scalars, 0.0), scalars)

    def _regressor(self) -> RegressorMixin:
        from sklearn.ensemble import RandomForestRegressor
        from sklearn.linear_model import Ridge
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import MinMaxScaler, StandardScaler

        if isinstance(self.config, MagpieRidge):
            # no further than the training materials reach: a feature that hardly varies among them (a magnetic moment)
            # would otherwise throw a material where it does off by hundreds
            inside = MinMaxScaler(clip=True)
            return make_pipeline(inside, StandardScaler(), Ridge(alpha=self.config.alpha))
        return RandomForestRegressor(
            n_estimators=self.config.trees,
            max_leaf_nodes=self.config.leaves,
            max_features=1 / 3,  # Breiman, Machine Learning 45, 5 (2001), for regression
            random_state=self.seed,
        )

    def _spectrum_regressor(self, shape: tuple[int, ...]) -> RegressorMixin:
        from sklearn.compose import TransformedTargetRegressor
        from sklearn.decomposition import PCA
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        if isinstance(self.config, MagpieRidge):
            return self._regressor()
        scores = PCA(n_components=min(MAX_SCORES, *shape), random_state=self.seed)
        return TransformedTargetRegressor(
            self._regressor(), transformer=make_pipeline(StandardScaler(), scores), check_inverse=False
        )
