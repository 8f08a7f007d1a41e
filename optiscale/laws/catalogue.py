"""The laws that come with the package, registered by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from optiscale.laws import functions, guesses, maps
from optiscale.laws.projection import linear_in, project_m4
from optiscale.laws.registry import Array, Law, register

_PAPER = "arXiv:2602.05702"
_NOT_NEGATIVE = (0.0, np.inf)
_EXPONENT = (0.0, 10.0)
_FALLING = {"a1": _EXPONENT, "a2": _EXPONENT}  # no more data or parameters make a loss rise
_COUPLING = (0.01, 10.0)
_SHARPNESS = (0.02, 10.0)


def _tail(x: Array, a: Array) -> Array:
    return functions.exp_(-a * np.log(x))


def _with_floor(coefficients: Array, drawn: Mapping[str, Array]) -> dict[str, Array]:
    """Linf + c x^-a."""
    return {"Linf": coefficients[0], "log10_x0": _log10(coefficients[1]) / np.where(drawn["a"] == 0, 1e-3, drawn["a"])}


def _log10(values: Array) -> Array:
    return np.asarray(np.log10(np.maximum(values, 1e-300)))


def _saturating(coefficients: Array, drawn: Mapping[str, Array]) -> dict[str, Array]:
    return {"log10_x0": _log10(coefficients[0]) / np.maximum(drawn["a"], 1e-3)}


def _amplitude_and_floor(coefficients: Array, drawn: Mapping[str, Array]) -> dict[str, Array]:
    del drawn
    return {"Linf": coefficients[0], "A": coefficients[1]}


def _floor_and_scale(coefficients: Array, drawn: Mapping[str, Array]) -> dict[str, Array]:
    """E + c times the drawn map without its floor: the scale goes into both amplitudes."""
    scale = _log10(coefficients[1])
    return {"E": coefficients[0], "log10_A": drawn["log10_A"] + scale, "log10_B": drawn["log10_B"] + scale}


def _ones_and(column: Array) -> Sequence[Array]:
    return np.ones_like(column), column


register(
    Law(
        name="power",
        label="Power law",
        kind="1d",
        function=functions.power,
        parameters=("log10_x0", "a"),
        guess=guesses.guess_power,
        formula="(x0/x)^a",
        latex=r"(x_0/x)^{\alpha}",
        source=f"{_PAPER}; M1 of arXiv:2209.06640",
        published=True,
    )
)
register(
    Law(
        name="floor",
        label="Power law with floor",
        kind="1d",
        function=functions.floor,
        parameters=("log10_x0", "a", "Linf"),
        guess=guesses.guess_floor,
        bounds={"Linf": _NOT_NEGATIVE},
        formula="Linf + (x0/x)^a",
        latex=r"L_\infty + (x_0/x)^{\alpha}",
        source=f"{_PAPER}; M2 of arXiv:2209.06640",
        published=True,
        project=linear_in(
            ("log10_x0", "a", "Linf"),
            columns=lambda x, log10_x0, a, Linf: _ones_and(_tail(x, a)),  # noqa: ARG005 - one signature for all
            assemble=_with_floor,
        ),
    )
)
register(
    Law(
        name="broken",
        label="Broken power law",
        kind="1d",
        function=functions.broken,
        parameters=("log10_xc", "a1", "a2"),
        guess=guesses.guess_broken,
        own_bounds=_FALLING,
        formula="(xc/x)^a2 (1 + xc/x)^(a1 - a2)",
        latex=r"(x_c/x)^{\alpha_2} (1 + x_c/x)^{\alpha_1 - \alpha_2}",
        source=_PAPER,
        published=True,
        breaks={"log10_xc": "x"},
        simple="power",
    )
)
register(
    Law(
        name="broken_amplitude",
        label="Broken power law with amplitude",
        kind="1d",
        function=functions.broken_amplitude,
        parameters=("log10_xc", "a1", "a2", "A"),
        guess=guesses.guess_broken_amplitude,
        bounds={"A": _NOT_NEGATIVE},
        own_bounds=_FALLING,
        formula="A (xc/x)^a2 (1 + xc/x)^(a1 - a2)",
        latex=r"A (x_c/x)^{\alpha_2} (1 + x_c/x)^{\alpha_1 - \alpha_2}",
        source=_PAPER,
        published=True,
        breaks={"log10_xc": "x"},
        simple="power",
        project=linear_in(
            ("log10_xc", "a1", "a2", "A"),
            columns=lambda x, log10_xc, a1, a2, A: (functions.broken(x, log10_xc, a1, a2),),  # noqa: ARG005
            assemble=lambda coefficients, drawn: {"A": coefficients[0]},  # noqa: ARG005
        ),
    )
)
register(
    Law(
        name="saturating",
        label="Saturating power law (M3)",
        kind="1d",
        function=functions.saturating,
        parameters=("log10_x0", "a", "log10_xs"),
        guess=guesses.guess_saturating,
        bounds={"a": _EXPONENT},
        formula="[x0 (1/x + 1/xs)]^a",
        latex=r"\left[x_0 (1/x + 1/x_s)\right]^{\alpha}",
        source="M3 of arXiv:2209.06640",
        project=linear_in(
            ("log10_x0", "a", "log10_xs"),
            columns=lambda x, log10_x0, a, log10_xs: (functions.saturating(x, 0.0, a, log10_xs),),  # noqa: ARG005
            assemble=_saturating,
        ),
    )
)
register(
    Law(
        name="m4",
        label="Sigmoid with floor (M4)",
        kind="1d",
        function=functions.m4,
        parameters=("log10_x0", "a", "b", "Linf", "L0"),
        guess=guesses.guess_m4,
        bounds={"a": _EXPONENT, "b": (0.0, 10.0), "Linf": _NOT_NEGATIVE, "L0": _NOT_NEGATIVE},
        formula="L with (L - Linf)/(L0 - L)^b = (x0/x)^a",
        latex=r"L:\ (L - L_\infty)/(L_0 - L)^{\beta} = (x_0/x)^{\alpha}",
        source="M4 of arXiv:2209.06640",
        project=project_m4,
    )
)
register(
    Law(
        name="broken_floor",
        label="Broken power law with floor",
        kind="1d",
        function=functions.broken_floor,
        parameters=("log10_xc", "a1", "a2", "A", "Linf"),
        guess=guesses.guess_broken_floor,
        bounds={"a1": _EXPONENT, "a2": _EXPONENT, "A": _NOT_NEGATIVE, "Linf": _NOT_NEGATIVE},
        formula="Linf + A (xc/x)^a2 (1 + xc/x)^(a1 - a2)",
        latex=r"L_\infty + A (x_c/x)^{\alpha_2} (1 + x_c/x)^{\alpha_1 - \alpha_2}",
        source="arXiv:2210.14891 at sharpness 1",
        breaks={"log10_xc": "x"},
        simple="floor",
        project=linear_in(
            ("log10_xc", "a1", "a2", "A", "Linf"),
            columns=lambda x, log10_xc, a1, a2, A, Linf: _ones_and(functions.broken(x, log10_xc, a1, a2)),  # noqa: ARG005
            assemble=_amplitude_and_floor,
        ),
    )
)
register(
    Law(
        name="bnsl1",
        label="Broken law, free sharpness",
        kind="1d",
        function=functions.bnsl1,
        parameters=("log10_xc", "a1", "a2", "s", "A", "Linf"),
        guess=guesses.guess_bnsl1,
        bounds={"a1": _EXPONENT, "a2": _EXPONENT, "s": _SHARPNESS, "A": _NOT_NEGATIVE, "Linf": _NOT_NEGATIVE},
        formula="Linf + A (xc/x)^a1 (1 + (x/xc)^(1/s))^(-(a2 - a1) s)",
        latex=r"L_\infty + A (x_c/x)^{\alpha_1} (1 + (x/x_c)^{1/s})^{-(\alpha_2 - \alpha_1) s}",
        source="arXiv:2210.14891, equation 1, one break",
        breaks={"log10_xc": "x"},
        simple="floor",
        project=linear_in(
            ("log10_xc", "a1", "a2", "s", "A", "Linf"),
            columns=lambda x, xc, a1, a2, s, A, Linf: _ones_and(functions.bnsl1(x, xc, a1, a2, s, 1.0, 0.0)),  # noqa: ARG005
            assemble=_amplitude_and_floor,
        ),
    )
)
register(
    Law(
        name="bnsl2",
        label="Broken law, free sharpness, two breaks",
        kind="1d",
        function=functions.bnsl2,
        parameters=("log10_xc", "log10_xd", "a1", "a2", "a3", "s", "sd", "A", "Linf"),
        guess=guesses.guess_bnsl2,
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
        project=linear_in(
            ("log10_xc", "log10_xd", "a1", "a2", "a3", "s", "sd", "A", "Linf"),
            columns=lambda x, xc, xd, a1, a2, a3, s, sd, A, Linf: _ones_and(  # noqa: ARG005
                functions.bnsl2(x, xc, xd, a1, a2, a3, s, sd, 1.0, 0.0)
            ),
            assemble=_amplitude_and_floor,
        ),
    )
)
register(
    Law(
        name="kaplan",
        label="Kaplan map",
        kind="2d",
        function=maps.kaplan,
        parameters=("log10_Nc", "log10_Dc", "aN", "a1", "a2"),
        guess=guesses.guess_kaplan,
        formula="[(Nc/N)^(aN/a2) + (Dc/D) (1 + Dc/D)^(a1/a2 - 1)]^a2",
        latex=r"\left[(N_c/N)^{\alpha_N/\alpha_2} + (D_c/D) (1 + D_c/D)^{\alpha_1/\alpha_2 - 1}\right]^{\alpha_2}",
        source=_PAPER,
        published=True,
        breaks={"log10_Dc": "D"},
        simple="kaplan_plain",
    )
)
register(
    Law(
        name="hoffmann",
        label="Hoffmann map",
        kind="2d",
        function=maps.hoffmann,
        parameters=("log10_Nc", "log10_Dc", "aN", "a1", "a2", "L0"),
        guess=guesses.guess_hoffmann,
        bounds={"L0": _NOT_NEGATIVE},
        formula="L0 + (Nc/N)^aN + (Dc/D)^a2 (1 + Dc/D)^(a1 - a2)",
        latex=r"L_0 + (N_c/N)^{\alpha_N} + (D_c/D)^{\alpha_2} (1 + D_c/D)^{\alpha_1 - \alpha_2}",
        source=_PAPER,
        published=True,
        breaks={"log10_Dc": "D"},
        simple="chinchilla",
    )
)
register(
    Law(
        name="kaplan_plain",
        label="Kaplan map without break",
        kind="2d",
        function=maps.kaplan_plain,
        parameters=("log10_Nc", "log10_Dc", "aN", "aD"),
        guess=guesses.guess_kaplan_plain,
        bounds={"aN": _EXPONENT, "aD": (1e-3, 10.0)},
        formula="[(Nc/N)^(aN/aD) + Dc/D]^aD",
        latex=r"\left[(N_c/N)^{\alpha_N/\alpha_D} + D_c/D\right]^{\alpha_D}",
        source="arXiv:2001.08361, equation 1.5",
    )
)
register(
    Law(
        name="chinchilla",
        label="Hoffmann map without break",
        kind="2d",
        function=maps.chinchilla,
        parameters=("log10_A", "log10_B", "aN", "aD", "E"),
        guess=guesses.guess_chinchilla,
        bounds={"aN": _EXPONENT, "aD": _EXPONENT, "E": _NOT_NEGATIVE},
        formula="E + A/N^aN + B/D^aD",
        latex=r"E + A/N^{\alpha_N} + B/D^{\alpha_D}",
        source="arXiv:2203.15556, equation 2",
        project=linear_in(
            ("log10_A", "log10_B", "aN", "aD", "E"),
            columns=lambda N, D, log10_A, log10_B, aN, aD, E: (np.ones_like(D * aD), _tail(N, aN), _tail(D, aD)),  # noqa: ARG005
            assemble=lambda c, drawn: {"E": c[0], "log10_A": _log10(c[1]), "log10_B": _log10(c[2])},  # noqa: ARG005
        ),
    )
)
register(
    Law(
        name="coupled",
        label="Coupled map",
        kind="2d",
        function=maps.coupled,
        parameters=("log10_A", "log10_B", "aN", "aD", "g", "E"),
        guess=guesses.guess_coupled,
        bounds={"aN": _EXPONENT, "aD": _EXPONENT, "g": _COUPLING, "E": _NOT_NEGATIVE},
        formula="E + [(A/N^aN)^(1/g) + (B/D^aD)^(1/g)]^g",
        latex=r"E + \left[(A/N^{\alpha_N})^{1/g} + (B/D^{\alpha_D})^{1/g}\right]^{g}",
        source="both of the above as limits: g = 1, and E = 0 with g = aD",
        project=linear_in(
            ("log10_A", "log10_B", "aN", "aD", "g", "E"),
            columns=lambda N, D, A, B, aN, aD, g, E: _ones_and(maps.coupled(N, D, A, B, aN, aD, g, 0.0)),  # noqa: ARG005
            assemble=_floor_and_scale,
        ),
    )
)
register(
    Law(
        name="coupled_broken",
        label="Coupled broken map",
        kind="2d",
        function=maps.coupled_broken,
        parameters=("log10_Nc", "log10_Dc", "aN", "a1", "a2", "g"),
        guess=guesses.guess_coupled_broken,
        bounds={"g": _COUPLING},
        formula="[(Nc/N)^(aN/g) + B(D)^(1/g)]^g, B = (Dc/D)^a2 (1 + Dc/D)^(a1 - a2)",
        latex=r"\left[(N_c/N)^{\alpha_N/g} + B(D)^{1/g}\right]^{g},\ "
        r"B = (D_c/D)^{\alpha_2} (1 + D_c/D)^{\alpha_1 - \alpha_2}",
        source="the published Kaplan map with its coupling set free",
        breaks={"log10_Dc": "D"},
        simple="kaplan_plain",
    )
)
register(
    Law(
        name="coupled_drift",
        label="Coupled broken map, drifting break",
        kind="2d",
        function=maps.coupled_drift,
        parameters=("log10_Nc", "log10_Dc", "aN", "a1", "a2", "g", "d"),
        guess=guesses.guess_coupled_drift,
        bounds={"g": _COUPLING, "d": (-3.0, 3.0)},
        formula="the coupled broken map with Dc (N/10^6)^d for Dc",
        latex=r"\left[(N_c/N)^{\alpha_N/g} + B(D)^{1/g}\right]^{g},\ D_c \to D_c (N/10^6)^{d}",
        source="the coupled broken map whose break moves with N",
        breaks={"log10_Dc": "D"},
        simple="kaplan_plain",
    )
)
