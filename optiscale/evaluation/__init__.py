"""Predictions of trained networks, per-material metrics, reflectance and colour."""

from optiscale.evaluation.colour import reflectance_to_lab
from optiscale.evaluation.metrics import metal_lab, per_material_metrics, summarize
from optiscale.evaluation.optics import drude_term, reflectance
from optiscale.evaluation.predict import Predictions, can_predict, predict
from optiscale.evaluation.report import evaluate_run, write_metrics

__all__ = [
    "Predictions",
    "can_predict",
    "drude_term",
    "evaluate_run",
    "metal_lab",
    "per_material_metrics",
    "predict",
    "reflectance",
    "reflectance_to_lab",
    "summarize",
    "write_metrics",
]
