"""The laws that come with the package, registered by name.

Parameters are those of the law's function, in its order; the first guess is that of :mod:`optiscale.laws.guesses` with
the law's name.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from optiscale.laws import functions, guesses, maps
from optiscale.laws.projection import linear_in, project_m4
from optiscale.laws.registry import VARIABLES, Array, Kind, Law, register

_PAPER = "arXiv:2602.05702"
_NOT_NEGATIVE = (0.0, np.inf)
_EXPONENT = (0.0, 10.0)
_COUPLING = (0.01, 10.0)
_SHARPNESS = (0.02, 10.0)
_FALLING = {"a1": _EXPONENT, "a2": _EXPONENT}  # of the part above a floor: no more data make it rise

_WEAK = {
    **dict.fromkeys(("a", "a1", "a2", "a3", "aN", "aD"), (0.5, 1.0)),  # exponents measured so far lie between 0 and 1
    **dict.fromkeys(("s", "sd"), (1.0, 1.0)),  # width 1 is the break of the published laws
    "g": (0.5, 0.5),  # the maps of Kaplan, g a few tenths, and of Hoffmann, g = 1, are both within one deviation
    "d": (0.0, 1.0),
}
"""Weak priors by name of the parameter (docs/laws.md)."""
_LEVELS = ("A", "Linf", "L0", "E")


def _kind(function: Callable[..., Any]) -> Kind:
    return "2d" if function.__module__ == maps.__name__ else "1d"


def _unit_columns(
    function: Callable[..., Any], parameters: Sequence[str], linear: Sequence[str]
) -> tuple[Callable[..., Sequence[Array]], Callable[[Array, Mapping[str, Array]], Mapping[str, Array]]]:
    """Columns of a law that is linear in some of its parameters: its value with one of them 1 and the others 0."""

    def columns(*arguments: Array) -> list[Array]:
        variables, values = (
            arguments[: -len(parameters)],
            dict(zip(parameters, arguments[-len(parameters) :], strict=True)),
        )
        return [
            function(*variables, *(values | {name: float(name == one) for name in linear}).values()) for one in linear
        ]

    return columns, lambda coefficients, drawn: dict(zip(linear, coefficients, strict=True))  # noqa: ARG005


def _add(
    function: Callable[..., Any],
    label: str,
    *,
    formula: str,
    latex: str,
    source: str,
    linear: Sequence[str] = (),
    columns: Callable[..., Sequence[Array]] | None = None,
    assemble: Callable[[Array, Mapping[str, Array]], Mapping[str, Array]] | None = None,
    priors: Mapping[str, tuple[float, float]] = _WEAK,
    **more: Any,
) -> None:
    """Register a law whose name is that of its function.

    `linear` names the parameters that the function is linear in; where the linear ones are the amplitudes behind their
    logarithms, `columns` and `assemble` say how they enter (:func:`~optiscale.laws.projection.linear_in`).
    """
    name, kind = function.__name__, _kind(function)
    parameters = tuple(inspect.signature(function).parameters)[len(VARIABLES[kind]) :]
    if linear:
        more["project"] = linear_in(parameters, *_unit_columns(function, parameters, linear))
    elif columns is not None and assemble is not None:
        more["project"] = linear_in(parameters, columns, assemble)
    register(
        Law(
            name=name,
            label=label,
            kind=kind,
            function=function,
            parameters=parameters,
            guess=getattr(guesses, f"guess_{name}"),
            priors={one: known for one, known in priors.items() if one in parameters},
            levels=tuple(one for one in _LEVELS if one in parameters),
            formula=formula,
            latex=latex,
            source=source,
            **more,
        )
    )


def _tail(x: Array, a: Array) -> Array:
    return functions.exp_(-a * np.log(x))


def _with_floor(coefficients: Array, drawn: Mapping[str, Array]) -> dict[str, Array]:
    """Linf + c x^-a."""
    return {"Linf": coefficients[0], "log10_x0": _log10(coefficients[1]) / np.where(drawn["a"] == 0, 1e-3, drawn["a"])}


def _log10(values: Array) -> Array:
    return np.asarray(np.log10(np.maximum(values, 1e-300)))


def _saturating(coefficients: Array, drawn: Mapping[str, Array]) -> dict[str, Array]:
    return {"log10_x0": _log10(coefficients[0]) / np.maximum(drawn["a"], 1e-3)}


def _floor_and_scale(coefficients: Array, drawn: Mapping[str, Array]) -> dict[str, Array]:
    """E + c times the drawn map without its floor: the scale goes into both amplitudes."""
    scale = _log10(coefficients[1])
    return {"E": coefficients[0], "log10_A": drawn["log10_A"] + scale, "log10_B": drawn["log10_B"] + scale}


def _ones_and(column: Array) -> Sequence[Array]:
    return np.ones_like(column), column


_add(
    functions.power,
    "Power law",
    formula="(x0/x)^a",
    latex=r"(x_0/x)^{\alpha}",
    source=f"{_PAPER}; M1 of arXiv:2209.06640",
    published=True,
)
_add(
    functions.floor,
    "Power law with floor",
    bounds={"Linf": _NOT_NEGATIVE},
    formula="Linf + (x0/x)^a",
    latex=r"L_\infty + (x_0/x)^{\alpha}",
    source=f"{_PAPER}; M2 of arXiv:2209.06640",
    published=True,
    columns=lambda x, log10_x0, a, Linf: _ones_and(_tail(x, a)),  # noqa: ARG005 - one signature for all
    assemble=_with_floor,
)
_add(
    functions.broken,
    "Broken power law",
    # Without an amplitude the exponents also carry the level, 2^(a1 - a2) at the break: nothing is known of them.
    priors={},
    formula="(xc/x)^a2 (1 + xc/x)^(a1 - a2)",
    latex=r"(x_c/x)^{\alpha_2} (1 + x_c/x)^{\alpha_1 - \alpha_2}",
    source=_PAPER,
    published=True,
    breaks={"log10_xc": "x"},
    simple="power",
)
_add(
    functions.broken_amplitude,
    "Broken power law with amplitude",
    bounds={"A": _NOT_NEGATIVE},
    formula="A (xc/x)^a2 (1 + xc/x)^(a1 - a2)",
    latex=r"A (x_c/x)^{\alpha_2} (1 + x_c/x)^{\alpha_1 - \alpha_2}",
    source=_PAPER,
    published=True,
    breaks={"log10_xc": "x"},
    simple="power",
    linear=("A",),
)
_add(
    functions.saturating,
    "Saturating power law (M3)",
    bounds={"a": _EXPONENT},
    formula="[x0 (1/x + 1/xs)]^a",
    latex=r"\left[x_0 (1/x + 1/x_s)\right]^{\alpha}",
    source="M3 of arXiv:2209.06640",
    columns=lambda x, log10_x0, a, log10_xs: (functions.saturating(x, 0.0, a, log10_xs),),  # noqa: ARG005
    assemble=_saturating,
)
_add(
    functions.m4,
    "Sigmoid with floor (M4)",
    bounds={"a": _EXPONENT, "b": (0.0, 10.0), "Linf": _NOT_NEGATIVE, "L0": _NOT_NEGATIVE},
    formula="L with (L - Linf)/(L0 - L)^b = (x0/x)^a",
    latex=r"L:\ (L - L_\infty)/(L_0 - L)^{\beta} = (x_0/x)^{\alpha}",
    source="M4 of arXiv:2209.06640",
    project=project_m4,
)
_add(
    functions.broken_floor,
    "Broken power law with floor",
    bounds={"a1": _EXPONENT, "a2": _EXPONENT, "A": _NOT_NEGATIVE, "Linf": _NOT_NEGATIVE},
    formula="Linf + A (xc/x)^a2 (1 + xc/x)^(a1 - a2)",
    latex=r"L_\infty + A (x_c/x)^{\alpha_2} (1 + x_c/x)^{\alpha_1 - \alpha_2}",
    source="arXiv:2210.14891 at sharpness 1",
    breaks={"log10_xc": "x"},
    simple="floor",
    linear=("Linf", "A"),
)
_add(
    functions.bnsl1,
    "Broken law, free sharpness",
    bounds={"a1": _EXPONENT, "a2": _EXPONENT, "s": _SHARPNESS, "A": _NOT_NEGATIVE, "Linf": _NOT_NEGATIVE},
    formula="Linf + A (xc/x)^a1 (1 + (x/xc)^(1/s))^(-(a2 - a1) s)",
    latex=r"L_\infty + A (x_c/x)^{\alpha_1} (1 + (x/x_c)^{1/s})^{-(\alpha_2 - \alpha_1) s}",
    source="arXiv:2210.14891, equation 1, one break",
    breaks={"log10_xc": "x"},
    simple="floor",
    linear=("Linf", "A"),
)
_add(
    functions.bnsl2,
    "Broken law, free sharpness, two breaks",
    bounds={
        "a1": _EXPONENT,
        "a2": _EXPONENT,
        "a3": _EXPONENT,
        "s": _SHARPNESS,
        "sd": _SHARPNESS,
        "A": _NOT_NEGATIVE,
        "Linf": _NOT_NEGATIVE,
    },
    formula="Linf + A (xc/x)^a1 (1 + (x/xc)^(1/s))^(-(a2 - a1) s) (1 + (x/xd)^(1/sd))^(-(a3 - a2) sd)",
    latex=r"L_\infty + A (x_c/x)^{\alpha_1} (1 + (x/x_c)^{1/s})^{-(\alpha_2 - \alpha_1) s}"
    r" (1 + (x/x_d)^{1/s_d})^{-(\alpha_3 - \alpha_2) s_d}",
    source="arXiv:2210.14891, equation 1, two breaks",
    breaks={"log10_xc": "x", "log10_xd": "x"},
    simple="floor",
    linear=("Linf", "A"),
)
_add(
    maps.kaplan,
    "Kaplan map",
    formula="[(Nc/N)^(aN/a2) + (Dc/D) (1 + Dc/D)^(a1/a2 - 1)]^a2",
    latex=r"\left[(N_c/N)^{\alpha_N/\alpha_2} + (D_c/D) (1 + D_c/D)^{\alpha_1/\alpha_2 - 1}\right]^{\alpha_2}",
    source=_PAPER,
    published=True,
    breaks={"log10_Dc": "D"},
    simple="kaplan_plain",
)
_add(
    maps.hoffmann,
    "Hoffmann map",
    bounds={"L0": _NOT_NEGATIVE},
    formula="L0 + (Nc/N)^aN + (Dc/D)^a2 (1 + Dc/D)^(a1 - a2)",
    latex=r"L_0 + (N_c/N)^{\alpha_N} + (D_c/D)^{\alpha_2} (1 + D_c/D)^{\alpha_1 - \alpha_2}",
    source=_PAPER,
    published=True,
    breaks={"log10_Dc": "D"},
    simple="chinchilla",
)
_add(
    maps.kaplan_plain,
    "Kaplan map without break",
    bounds={"aN": _EXPONENT, "aD": (1e-3, 10.0)},
    formula="[(Nc/N)^(aN/aD) + Dc/D]^aD",
    latex=r"\left[(N_c/N)^{\alpha_N/\alpha_D} + D_c/D\right]^{\alpha_D}",
    source="arXiv:2001.08361, equation 1.5",
)
_add(
    maps.chinchilla,
    "Hoffmann map without break",
    bounds={"aN": _EXPONENT, "aD": _EXPONENT, "E": _NOT_NEGATIVE},
    formula="E + A/N^aN + B/D^aD",
    latex=r"E + A/N^{\alpha_N} + B/D^{\alpha_D}",
    source="arXiv:2203.15556, equation 2",
    columns=lambda N, D, log10_A, log10_B, aN, aD, E: (np.ones_like(D * aD), _tail(N, aN), _tail(D, aD)),  # noqa: ARG005
    assemble=lambda c, drawn: {"E": c[0], "log10_A": _log10(c[1]), "log10_B": _log10(c[2])},  # noqa: ARG005
)
_add(
    maps.coupled,
    "Coupled map",
    bounds={"aN": _EXPONENT, "aD": _EXPONENT, "g": _COUPLING, "E": _NOT_NEGATIVE},
    formula="E + [(A/N^aN)^(1/g) + (B/D^aD)^(1/g)]^g",
    latex=r"E + \left[(A/N^{\alpha_N})^{1/g} + (B/D^{\alpha_D})^{1/g}\right]^{g}",
    source="both of the above as limits: g = 1, and E = 0 with g = aD",
    columns=lambda N, D, A, B, aN, aD, g, E: _ones_and(maps.coupled(N, D, A, B, aN, aD, g, 0.0)),  # noqa: ARG005
    assemble=_floor_and_scale,
)
_add(
    maps.coupled_broken,
    "Coupled broken map",
    bounds={"g": _COUPLING},
    formula="[(Nc/N)^(aN/g) + B(D)^(1/g)]^g, B = (Dc/D)^a2 (1 + Dc/D)^(a1 - a2)",
    latex=r"\left[(N_c/N)^{\alpha_N/g} + B(D)^{1/g}\right]^{g},\ "
    r"B = (D_c/D)^{\alpha_2} (1 + D_c/D)^{\alpha_1 - \alpha_2}",
    source="the published Kaplan map with its coupling set free",
    breaks={"log10_Dc": "D"},
    simple="kaplan_plain",
)
_add(
    maps.coupled_drift,
    "Coupled broken map, drifting break",
    bounds={"g": _COUPLING, "d": (-3.0, 3.0)},
    formula="the coupled broken map with Dc (N/10^6)^d for Dc",
    latex=r"\left[(N_c/N)^{\alpha_N/g} + B(D)^{1/g}\right]^{g},\ D_c \to D_c (N/10^6)^{d}",
    source="the coupled broken map whose break moves with N",
    breaks={"log10_Dc": "D"},
    simple="kaplan_plain",
)
