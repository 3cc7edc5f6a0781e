"""What is measured has one name in MLflow, whatever the metric."""

import pytest

from lt_ray.cycle.results import RoundResult
from lt_ray.tracking.names import ROUND_MARK, field_of, round_metric, round_values

ROUND = {
    "round": 1, "parameters": 10, "restart_epoch": None, "epochs": 1, "best_epoch": 1, "train_s": 1.0, "eval_s": 1.0,
    "finished_at": 1.0, "cycle": "c", "seed": 0, "key": "k", "sparsity": 0.2, "density": 0.8, "remaining": 8,
    "prunable": 10, "source": "reused", "train_loss": None, "val_loss": 0.5, "test_loss": 0.5,
}  # fmt: skip


@pytest.mark.parametrize(
    ("field", "name"),
    [
        ("test_accuracy", "round/test_accuracy"),
        ("before_test_accuracy", "round/test_accuracy_before"),
        ("before_val_loss", "round/val_loss_before"),
        ("val_macro_f1", "round/val_macro_f1"),
        ("sparsity", "round/sparsity"),
        ("blocks", "weights/blocks"),
        ("test_s", "work/test_s"),
        ("val_examples", "work/val_examples"),
    ],
)
def test_a_field_has_one_name_and_a_name_one_field(field, name):
    """`{split}_{metric}` is `round/{split}_{metric}`, `before_` goes to its end; each name gives its field back."""
    assert round_metric(field) == name
    assert field_of(name) == field


def test_what_is_no_field_has_no_name():
    """Identities are no metrics, and summaries and epochs are no fields of a round."""
    assert [round_metric(field) for field in ("cycle", "key", "metric", "best", "density", "finished_at")] == [None] * 6
    assert [field_of(name) for name in ("summary/tickets", "training/val_loss", "round/odd")] == [None] * 3


def test_the_deciding_metric_is_the_first_and_the_mark_the_last():
    """A round begins with its deciding metric on test, holds all that was measured, and ends with `ROUND_MARK`."""
    measured = {"val_rmse": 2.0, "test_rmse": 2.5, "test_r2": 0.5, "before_test_rmse": None}
    names = list(values := round_values(RoundResult(**ROUND, metric="rmse", best="lowest", **measured)))
    assert names[:2] == ["round/test_rmse", "round/sparsity"]
    assert names[-1] == ROUND_MARK
    assert values["round/test_r2"] == 0.5
    assert (values["work/reused"], values["work/restart_epoch"]) == (1.0, -1.0)
    assert not {"round/test_rmse_before", "round/train_loss"} & values.keys()
