"""Metrics against scikit-learn's, and their counters' laws: for every one that is declared, README's among them."""

import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from readme import plugged_in
from sklearn import metrics as oracle

from lt_ray.cycle.facts import Facts
from lt_ray.cycle.metrics import METRICS, measured
from lt_ray.tasks.metrics import Meter

CASES = [
    *(("text", "classes", 2), ("text", "classes", 5), ("arrays", "classes", 8), ("images", "classes", 5)),
    *(("images", "classes", 8), ("text", "labels", 4), ("text", "labels", 2), ("text", "numbers", 1)),
]
every_case = pytest.mark.parametrize("facts", [Facts(*case) for case in CASES], ids=lambda f: f"{f.inputs}-{f.width}")


@pytest.fixture(scope="module", autouse=True)
def _plugged_in():
    with plugged_in():
        yield


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


def perfect(facts: Facts, targets: torch.Tensor) -> torch.Tensor:
    """Outputs of a model that is always right."""
    if facts.targets == "numbers":
        return targets
    if facts.targets == "classes" and facts.width > 2:
        return torch.nn.functional.one_hot(targets, facts.width).float()
    return targets.view(len(targets), -1) * 2.0 - 1


def expected(facts: Facts, outputs: torch.Tensor, targets: torch.Tensor) -> dict[str, float]:
    """What scikit-learn says."""
    if facts.targets == "classes":
        chosen = (outputs[:, 0] >= 0).long() if outputs.shape[1] == 1 else outputs.argmax(1)
        top5 = facts.inputs == "images" and facts.width > 5  # of fewer classes it would say nothing
        five = oracle.top_k_accuracy_score(targets, outputs, k=5, labels=range(facts.width)) if top5 else None
        return ({} if five is None else {"top5_accuracy": five}) | {
            "accuracy": oracle.accuracy_score(targets, chosen),
            "balanced_accuracy": oracle.recall_score(
                targets, chosen, labels=np.unique(targets), average="macro", zero_division=0
            ),
            "macro_f1": oracle.f1_score(targets, chosen, average="macro", zero_division=0),
            "mcc": oracle.matthews_corrcoef(targets, chosen),
            "missed": oracle.zero_one_loss(targets, chosen),
        }
    if facts.targets == "labels":
        chosen = (outputs >= 0).numpy()
        there = (chosen | targets.bool().numpy()).any(axis=0)
        return {
            "micro_f1": oracle.f1_score(targets, chosen, average="micro", zero_division=0),
            "macro_f1": oracle.f1_score(targets[:, there], chosen[:, there], average="macro", zero_division=0),
            "exact_match": oracle.accuracy_score(targets, chosen),
        }
    return {"rmse": oracle.root_mean_squared_error(targets, outputs), "r2": oracle.r2_score(targets, outputs)}


def meter(facts: Facts, *batches: tuple[torch.Tensor, torch.Tensor]) -> Meter:
    """What has taken in these batches."""
    made = Meter(measured(facts.targets, facts.inputs), facts)
    for outputs, targets in batches:
        made.add(outputs, targets)
    return made


def test_every_metric_is_of_a_kind_that_is_tested():
    """Whatever is declared is measured in one of the cases, and so compared below."""
    cases = [Facts(*case) for case in CASES]
    names = {metric.name for facts in cases for metric in measured(facts.targets, facts.inputs, facts.width)}
    assert names == METRICS.keys()


@every_case
def test_metrics_are_scikit_learns(facts: Facts) -> None:
    """Every metric of a kind of data has scikit-learn's value, in whatever batches the examples come, and in whatever
    order; one that would say nothing of so few classes is not measured."""
    outputs, targets = example(facts.targets, 100, facts.width, seed=3)
    whole = meter(facts, (outputs, targets))
    parts = meter(facts, *((outputs[i : i + 7], targets[i : i + 7]) for i in range(0, 100, 7)))
    turned = meter(facts, (outputs.flip(0), targets.flip(0)))
    assert whole.values() == pytest.approx(parts.values())
    assert whole.values() == pytest.approx(turned.values())
    assert whole.values() == pytest.approx(expected(facts, outputs, targets), rel=1e-5)


@every_case
def test_no_outputs_are_better_than_right_ones(facts: Facts) -> None:
    """By the direction that a metric declares, the value of a model that is always right is better than that of one
    that is right at times."""
    outputs, targets = example(facts.targets, 100, facts.width, seed=4)
    right = meter(facts, (perfect(facts, targets), targets)).values()
    at_times = meter(facts, (outputs, targets)).values()
    for name, value in at_times.items():
        better = right[name] - value
        assert (better if METRICS[name].best == "highest" else -better) > 0, name


@given(n=st.integers(1, 30), width=st.integers(2, 6), cut=st.integers(0, 30), seed=st.integers(0, 99))
@settings(max_examples=40)
def test_an_interrupted_meter_goes_on(n: int, width: int, cut: int, seed: int) -> None:
    """A meter told of as JSON and taken up again gives the same values, bit for bit, as one that was not."""
    for kind, inputs in (("classes", "text"), ("classes", "images"), ("labels", "text"), ("numbers", "text")):
        facts = Facts(inputs, kind, width)
        outputs, targets = example(kind, n, width, seed)
        first, second = meter(facts, (outputs[:cut], targets[:cut])), meter(facts)
        second.load(json.loads(json.dumps(first.state())))
        second.add(outputs[cut:], targets[cut:])
        whole = meter(facts, (outputs[:cut], targets[:cut]), (outputs[cut:], targets[cut:]))
        assert second.values() == whole.values()
        assert second.confusion() == whole.confusion()
