"""How good a prediction is, material by material."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.integrate import trapezoid

from optiscale.errors import UserError
from optiscale.evaluation.colour import VISIBLE, colour_difference, reflectance_to_lab
from optiscale.evaluation.optics import drude_term, reflectance


def per_material_metrics(
    energies: np.ndarray,
    spectrum_pred: np.ndarray | None,
    spectrum_true: np.ndarray | None,
    components: Sequence[str],
    omega_D_pred: np.ndarray | None = None,
    omega_D_true: np.ndarray | None = None,
) -> pd.DataFrame:
    r"""Metrics of the published study for each of M materials.

    Parameters
    ----------
    energies
        (n_omega,) eV.
    spectrum_pred, spectrum_true
        (M, n_omega, C), or None if no spectrum is predicted.
    components
        Names of the C components, such as ``("re", "im")`` or ``("im",)``.
    omega_D_pred, omega_D_true
        (M,) eV, or None if no Drude frequency is predicted.

    Returns
    -------
    pandas.DataFrame
        A row a material. For each component c: ``mae_c``; ``r2_c``, the coefficient of determination over the energies;
        ``sc_c``, the similarity coefficient
        :math:`1 - \int |pred - true| d\omega / \int |true| d\omega`. From the Drude frequency: ``omega_D_error`` (eV)
        and ``omega_D_error_percent``, absolute values (the latter is missing where the true one is 0). If Re, Im and
        omega_D are all predicted: ``loss``, the published loss (MAE over all values of the spectrum plus
        omega_D_error), and, if the energies cover the visible, ``dE``, the colour difference in CIE L*a*b* of the
        reflectances of interband spectrum plus Drude term. What is not predicted has no column.

    Raises
    ------
    UserError
        If the shapes do not belong together.
    """
    has_spectrum = spectrum_pred is not None and spectrum_true is not None
    has_drude = omega_D_pred is not None and omega_D_true is not None
    columns: dict[str, np.ndarray] = {}
    if has_spectrum:
        pred, true = np.asarray(spectrum_pred), np.asarray(spectrum_true)
        if pred.shape != true.shape or pred.shape[1:] != (len(energies), len(components)):
            raise UserError(
                f"spectra: shapes {pred.shape} predicted and {true.shape} true, "
                f"not both (M, {len(energies)}, {len(components)})"
            )
        for place, name in enumerate(components):
            columns |= _component_metrics(energies, pred[:, :, place], true[:, :, place], name)
    if has_drude:
        omega_pred, omega_true = (np.asarray(omega, dtype=float) for omega in (omega_D_pred, omega_D_true))
        if omega_pred.shape != omega_true.shape or (has_spectrum and len(omega_true) != len(true)):
            raise UserError(f"omega_D: shapes {omega_pred.shape} predicted and {omega_true.shape} true do not fit")
        columns |= scalar_metrics("omega_D", omega_pred, omega_true)
    if has_spectrum and has_drude and {"re", "im"} <= set(components):
        columns["loss"] = (columns["mae_re"] + columns["mae_im"]) / 2 + columns["omega_D_error"]
        if energies[0] <= VISIBLE[0] and energies[-1] >= VISIBLE[1]:
            re, im = components.index("re"), components.index("im")
            seen = _visible(energies)
            colours = [
                metal_lab(energies[seen], spectrum[:, seen, re] + 1j * spectrum[:, seen, im], omega)
                for spectrum, omega in ((pred, omega_pred), (true, omega_true))
            ]
            columns["dE"] = colour_difference(*colours)
    return pd.DataFrame(columns)


def metal_lab(energies: np.ndarray, eps_inter: np.ndarray, omega_D: np.ndarray) -> np.ndarray:
    """CIE L*a*b* colour of metals.

    Parameters
    ----------
    energies
        (n_omega,) eV, covering the visible.
    eps_inter
        (M, n_omega) complex, interband part.
    omega_D
        (M,) eV.

    Returns
    -------
    numpy.ndarray
        (M, 3): L*, a*, b*.
    """
    seen = _visible(energies)
    eps = eps_inter[:, seen] + drude_term(energies[seen], omega_D)
    return reflectance_to_lab(energies[seen], reflectance(eps))


def summarize(metrics: pd.DataFrame) -> pd.DataFrame:
    """Statistics of every metric over the materials.

    Parameters
    ----------
    metrics
        As `per_material_metrics` returns it.

    Returns
    -------
    pandas.DataFrame
        A row a metric; columns ``count``, ``mean``, ``std``, ``min``, ``10%``, ``median``, ``90%``, ``max``. Missing
        values are left out and not counted.
    """
    return metrics.describe(percentiles=[0.1, 0.5, 0.9]).T.rename(columns={"50%": "median"}).rename_axis("metric")


def _visible(energies: np.ndarray) -> slice:
    """Part of a grid that covers the visible, with one point beyond each end to interpolate from."""
    first = int(np.searchsorted(energies, VISIBLE[0], side="right")) - 1
    return slice(max(first, 0), int(np.searchsorted(energies, VISIBLE[1])) + 1)


def _component_metrics(energies: np.ndarray, pred: np.ndarray, true: np.ndarray, name: str) -> dict[str, np.ndarray]:
    """MAE, R2 and similarity coefficient of one component, (M, n_omega) each."""
    # float64, so that sums over thousands of energies keep their digits; one component at a time to spare memory
    pred, true = pred.astype(float), true.astype(float)
    difference = np.abs(pred - true)
    deviation = true - true.mean(axis=1, keepdims=True)
    return {
        f"mae_{name}": difference.mean(axis=1),
        f"r2_{name}": 1 - _ratio(np.square(difference).sum(axis=1), np.square(deviation).sum(axis=1)),
        f"sc_{name}": 1 - _ratio(trapezoid(difference, energies, axis=1), trapezoid(np.abs(true), energies, axis=1)),
    }


def scalar_metrics(name: str, pred: np.ndarray, true: np.ndarray) -> dict[str, np.ndarray]:
    """Absolute and relative error of a scalar target such as the Drude frequency, (M,) each."""
    error = np.abs(pred - true)
    return {f"{name}_error": error, f"{name}_error_percent": 100 * _ratio(error, np.abs(true))}


def _ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """Quotient, NaN where the denominator is zero."""
    out = np.full_like(numerator, np.nan)
    return np.divide(numerator, denominator, out=out, where=denominator != 0)
