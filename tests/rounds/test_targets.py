"""Cycles whose task asks for several labels, or for numbers, from files to tickets."""

import numpy as np
import pytest

from lt_ray.cycle.cycle import Cycle
from lt_ray.cycle.models import Cnn
from lt_ray.cycle.prunings import Magnitude
from lt_ray.cycle.results import TIMES, winning_round
from lt_ray.cycle.tasks import Folder
from lt_ray.cycle.training import Training
from lt_ray.errors import DataError
from lt_ray.rounds.run import run_cycle
from lt_ray.store.store import RoundStore
from lt_ray.sweep.objective import objectives, sign, value
from lt_ray.tasks import registry

WORDS = {"red": 1.0, "green": -2.0, "blue": 4.0}


def write(path, label: str) -> None:
    """Texts of three words each; the labels are the colours in them, the number what those are worth together."""
    drawn = np.random.default_rng(0)
    for split, n in (("train", 300), ("validation", 100), ("test", 100)):
        rows = []
        for _ in range(n):
            words = [str(w) for w in drawn.choice([*WORDS, "and", "the", "with", "on"], 3)]
            colours = [w for w in WORDS if w in words]
            asked = ";".join(colours) if label == "several" else sum(WORDS[w] for w in words if w in WORDS)
            rows.append(f"{' '.join(words)},{asked}\n")
        (path / f"{split}.csv").write_text("text,label\n" + "".join(rows))


@pytest.mark.parametrize(("label", "metric"), [("several", "micro_f1"), ("number", "rmse")])
def test_several_labels_and_numbers_are_learnt_and_judged(tmp_path, label, metric):
    """The dense model learns what the words say, pruning to nearly nothing costs it that, in the direction in which
    the task's metric is worse; tickets and objectives go by it, and a second computation has the same rows."""
    (tmp_path / "data").mkdir()
    write(tmp_path / "data", label)
    cycle = Cycle(
        task=Folder(label=label, separator=";"),
        model=Cnn(embedding=16, filters=12, widths=(1,), dropout=0.0),
        training=Training(epochs=12, lr=0.03, batch_size=20),
        schedule=(Magnitude(fraction=0.1), Magnitude(fraction=0.99)),
    )
    assert cycle.metric.name == metric
    data, _ = registry.load(cycle.task, 100, tmp_path / "data")
    runs = []
    for place in ("a", "b"):
        events = list(run_cycle(cycle, data, RoundStore(tmp_path / place)))
        runs.append([event for event in events if hasattr(event, "sparsity")])
    kept, again = ([r.model_dump(exclude={*TIMES, "source"}) for r in rounds] for rounds in runs)
    assert kept == again
    dense, first, last = runs[0]
    assert dense.metric == metric
    assert (dense.best == "lowest") == (label == "number")
    assert {f"test_{m.name}" for m in cycle.task.metrics} <= dense.measured.keys()
    assert last.lost(dense) > 0.1 > first.lost(dense)
    assert last.val_loss > dense.val_loss
    assert winning_round(runs[0], tolerance=0.1) == first
    name = objectives(cycle.task.metrics)[0]
    assert name == f"val_{metric}"
    assert sign(name) * value(name, runs[0][:2], 0.0) > sign(name) * value(name, runs[0], 0.0)
    assert value(name, runs[0], 0.0) == last.value("val")


@pytest.mark.parametrize(
    ("label", "rows", "says"),
    [
        ("number", "a,1\nb,two\n", "`label` must be a number, but row 2 has 'two'"),
        ("number", "a,1\nb,inf\n", "`label` must be a number, but row 2 has"),
        ("number", "".join(f"a{i},1\n" for i in range(40)), "differ in what is asked of them"),
        ("several", "".join(f"a{i},x\n" for i in range(40)), "at least two labels"),
    ],
)
def test_what_cannot_be_learnt_is_refused(tmp_path, label, rows, says):
    """A text that is no number, a number that is the same everywhere, and one label alone are one clear error."""
    (tmp_path / "train.csv").write_text("text,label\n" + rows)
    with pytest.raises(DataError, match=says):
        registry.load(Folder(label=label), 100, tmp_path)
