"""Variable projection: solve for the parameters that a law is linear in, so that the search draws only the others.

G. Golub and V. Pereyra, SIAM J. Numer. Anal. 10, 413 (1973). A projection takes the variables (n,), the losses and
their deviations (n,) and draws of all parameters (r, k), and returns the draws with the linear ones replaced.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Projection = Callable[[Sequence[Array], Array, Array, Array], Array]

_RIDGE = 1e-12


def linear_in(
    parameters: Sequence[str],
    columns: Callable[..., Sequence[Array]],
    assemble: Callable[[Array, Mapping[str, Array]], Mapping[str, Array]],
) -> Projection:
    """Projection of a law L = sum of coefficients >= 0 times columns.

    Parameters
    ----------
    parameters
        Of the law, in order.
    columns
        ``columns(*variables, *parameters)``: one array a coefficient, of the shape of the broadcast arguments; what it
        does with the parameters that the coefficients replace is its own affair.
    assemble
        ``assemble(coefficients, drawn)``: the parameters that the coefficients (m, r) replace, given the drawn ones by
        name, each (r,).
    """

    def project(variables: Sequence[Array], loss: Array, sigma: Array, draws: Array) -> Array:
        arguments = [draws[:, i, None] for i in range(draws.shape[1])]
        found = columns(*(values[None, :] for values in variables), *arguments)
        design = np.stack([np.broadcast_to(one, (len(draws), len(loss))) for one in found], axis=-1)  # (r, n, m)
        drawn = {name: draws[:, i] for i, name in enumerate(parameters)}
        replaced = assemble(_not_negative(design / sigma[None, :, None], loss / sigma).T, drawn)
        return np.stack([np.asarray(replaced.get(name, drawn[name])) for name in parameters], axis=-1)

    return project


def _not_negative(design: Array, target: Array) -> Array:
    """Least squares with coefficients >= 0 by trying every set of columns, (r, n, m) and (n,) -> (r, m); m is small."""
    scale = np.sqrt(np.einsum("rnm,rnm->rm", design, design)) + 1e-300
    design = design / scale[:, None, :]
    rows, _, m = design.shape
    best, chosen = np.full(rows, np.inf), np.zeros((rows, m))
    for size in range(1, m + 1):
        for subset in combinations(range(m), size):
            part = design[:, :, subset]
            normal = np.einsum("rni,rnj->rij", part, part) + _RIDGE * np.eye(size)
            solution = np.linalg.solve(normal, np.einsum("rni,n->ri", part, target)[..., None])[..., 0]
            rest = np.einsum("rni,ri->rn", part, solution) - target
            chi2 = np.where((solution >= 0).all(axis=1), np.einsum("rn,rn->r", rest, rest), np.inf)
            better = chi2 < best
            best[better] = chi2[better]
            chosen[better] = 0.0
            chosen[np.ix_(np.flatnonzero(better), np.array(subset))] = solution[better]
    return chosen / scale


def project_m4(variables: Sequence[Array], loss: Array, sigma: Array, draws: Array) -> Array:
    """M4 is linear in its logarithm once Linf and L0 are drawn: ln(L - Linf) = b ln(L0 - L) + a ln x0 - a ln x.

    The drawn Linf and L0 are taken as shares of the room below the lowest and above the highest loss.
    """
    del sigma
    log_x, lowest, highest = np.log(variables[0]), float(loss.min()), float(loss.max())
    linf = lowest * (1.0 - np.exp(-np.abs(draws[:, 3]) / lowest))  # any share of the lowest loss, from 0 to all of it
    l0 = highest * (1.0 + np.exp(5.0 * (draws[:, 4] / (1.05 * highest) - 1.6)))
    y = np.log(np.maximum(loss[None, :] - linf[:, None], 1e-12 * lowest))
    far = np.log(l0[:, None] - loss[None, :])
    design = np.stack([far, np.ones_like(far), np.broadcast_to(-log_x, far.shape)], axis=-1)
    weight = np.sqrt(np.abs(loss[None, :] - linf[:, None]))[..., None]
    solution = np.einsum("rmn,rn->rm", np.linalg.pinv(design * weight), y * weight[..., 0])
    b, a = np.clip(solution[:, 0], 0.0, 10.0), np.clip(solution[:, 2], 1e-3, 10.0)
    rest = y - b[:, None] * far + a[:, None] * log_x[None, :]
    log10_x0 = np.average(rest, axis=1, weights=None) / a / np.log(10.0)
    return np.stack([log10_x0, a, b, linf, l0], axis=-1)
