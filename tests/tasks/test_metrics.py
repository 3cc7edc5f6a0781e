"""Metrics against scikit-learn's, and their counters' laws."""

import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as oracle

from lt_ray.cycle.facts import Facts
from lt_ray.cycle.metrics import measured
from lt_ray.tasks.metrics import Meter


def example(kind: str, n: int, width: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Outputs of a model that is right at times, and targets."""
    drawn = np.random.default_rng(seed)
    if kind == "classes":
        targets = drawn.integers(0, width, n)
        outputs = drawn.normal(size=(n, 1 if width == 2 else width))
        return torch.tensor(outputs, dtype=torch.float32), torch.tensor(targets)
    outputs = drawn.normal(size=(n, width))
    targets = drawn.integers(0, 2, (n, width)) if kind == "labels" else outputs + drawn.normal(size=(n, width))
    return torch.tensor(outputs, dtype=torch.float32), torch.tensor(targets, dtype=torch.float32)


def expected(kind: str, outputs: torch.Tensor, targets: torch.Tensor) -> dict[str, float]:
    """What scikit-learn says."""
    if kind == "classes":
        chosen = (outputs[:, 0] >= 0).long() if outputs.shape[1] == 1 else outputs.argmax(1)
        return {
            "accuracy": oracle.accuracy_score(targets, chosen),
            "balanced_accuracy": oracle.recall_score(
                targets, chosen, labels=np.unique(targets), average="macro", zero_division=0
            ),
            "macro_f1": oracle.f1_score(targets, chosen, average="macro", zero_division=0),
            "mcc": oracle.matthews_corrcoef(targets, chosen),
        }
    if kind == "labels":
        chosen = (outputs >= 0).numpy()
        there = (chosen | targets.bool().numpy()).any(axis=0)
        return {
            "micro_f1": oracle.f1_score(targets, chosen, average="micro", zero_division=0),
            "macro_f1": oracle.f1_score(targets[:, there], chosen[:, there], average="macro", zero_division=0),
            "exact_match": oracle.accuracy_score(targets, chosen),
        }
    return {"rmse": oracle.root_mean_squared_error(targets, outputs), "r2": oracle.r2_score(targets, outputs)}


@pytest.mark.parametrize(
    ("kind", "width"), [("classes", 2), ("classes", 5), ("labels", 4), ("labels", 2), ("numbers", 1)]
)
def test_metrics_are_scikit_learns(kind: str, width: int) -> None:
    """Every metric of a kind of targets has scikit-learn's value, in whatever batches the examples come."""
    outputs, targets = example(kind, 100, width, seed=3)
    whole, parts = (Meter(measured(kind), Facts("text", kind, width)) for _ in range(2))
    whole.add(outputs, targets)
    for place in range(0, 100, 7):
        parts.add(outputs[place : place + 7], targets[place : place + 7])
    assert whole.values() == pytest.approx(parts.values())
    assert whole.values() == pytest.approx(expected(kind, outputs, targets), rel=1e-5)
    assert whole.values().keys() == {metric.name for metric in measured(kind)}


def test_top_five_is_of_pictures_of_more_than_five_classes():
    """Top-5 accuracy has scikit-learn's value, and is not measured where it would say nothing, nor of texts."""
    assert "top5_accuracy" not in {metric.name for metric in measured("classes")}
    metrics = measured("classes", "images")
    outputs, targets = example("classes", 100, 8, seed=4)
    meter = Meter(metrics, Facts("images", "classes", 8, shape=(3, 2, 2)))
    meter.add(outputs[:60], targets[:60])
    meter.add(outputs[60:], targets[60:])
    assert meter.values()["top5_accuracy"] == oracle.top_k_accuracy_score(targets, outputs, k=5, labels=range(8))
    narrow = Meter(metrics, Facts("images", "classes", 5, shape=(3, 2, 2)))
    narrow.add(outputs[:, :5], targets % 5)
    assert narrow.values().keys() == {metric.name for metric in metrics} - {"top5_accuracy"}


@given(n=st.integers(1, 30), width=st.integers(2, 6), cut=st.integers(0, 30), seed=st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_an_interrupted_meter_goes_on(n: int, width: int, cut: int, seed: int) -> None:
    """A meter told of as JSON and taken up again gives the same values, bit for bit, as one that was not."""
    for kind in ("classes", "labels", "numbers"):
        outputs, targets = example(kind, n, width, seed)
        first, second, whole = (Meter(measured(kind), Facts("text", kind, width)) for _ in range(3))
        first.add(outputs[:cut], targets[:cut])
        second.load(json.loads(json.dumps(first.state())))
        second.add(outputs[cut:], targets[cut:])
        whole.add(outputs[:cut], targets[:cut])
        whole.add(outputs[cut:], targets[cut:])
        assert second.values() == whole.values()
        assert second.confusion() == whole.confusion()
