"""The pictures on a report's page: what dense models know and pruned ones do not."""

import re
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
import yaml
from report_documents import some_arms
from servers import database

from lt_ray.cli.main import main
from lt_ray.cycle.cycle import Cycle
from lt_ray.cycle.models import CifarResNet
from lt_ray.cycle.prunings import Magnitude
from lt_ray.cycle.tasks import ToyImages
from lt_ray.cycle.training import Training
from lt_ray.errors import DamagedError
from lt_ray.report.findings.assemble import assemble
from lt_ray.report.findings.document import Document, Section
from lt_ray.report.pages.html import as_html
from lt_ray.report.reading.examples import GONE, NOT_TOLD, Examples
from lt_ray.sweep.directory import SweepDirectory
from lt_ray.tasks import registry
from lt_ray.tracking import reading
from lt_ray.tracking.records import Record

TASK = ToyImages(train=20, validation=20, test=40, size=12)


class Answers:
    """Stands for a store: key → what a round took the test examples for."""

    def __init__(self, answers):
        self.kept = answers

    def answers(self, key):
        return None if key not in self.kept else torch.tensor(self.kept[key], dtype=torch.int32)


@pytest.fixture(scope="module")
def data():
    return registry.load(TASK, 1)[0]


def told(sweep, data, answers):
    sweep = replace(sweep, examples=Examples(data, Answers(answers)))
    (found,) = (table for table in assemble([sweep]).sections[0].tables if table.slug == "disagreements")
    names = [column.name for column in found.columns]
    return found, [dict(zip(names, row, strict=True)) for row in found.rows]


def mistaken(wanted, **pairs):
    """The wanted classes, but for some examples."""
    return [pairs.get(f"e{example}", label) for example, label in enumerate(wanted)]


def test_pictures_are_those_that_dense_models_know_and_pruned_ones_do_not(data):
    """Of two seeds rewind wins with round 2, the control never, so its round 3 is told; what the dense model of the
    same seed has wrong is no loss, nor is what an earlier round had wrong."""
    wanted = data.targets("test").tolist()
    bar, other = (next(i for i, label in enumerate(wanted) if label == own) for own in (0, 1))
    third = wanted.index(0, bar + 1)
    answers = {
        "dense 0": mistaken(wanted, **{f"e{third}": 3}), "dense 1": wanted,
        "rewind-0-2": mistaken(wanted, **{f"e{bar}": 1, f"e{third}": 3}),
        "rewind-1-2": mistaken(wanted, **{f"e{bar}": 2}),
        "rewind-0-1": mistaken(wanted, **{f"e{other}": 2}),
        "random-0-3": mistaken(wanted, **{f"e{other}": 3}),
    }  # fmt: skip
    found, rows = told(some_arms(2), data, answers)
    control, ticket = rows
    assert (control["model"], ticket["model"]) == ("random reinit, round 3", "rewind, round 2")
    assert (control["class"], control["dense"], control["pruned"], control["lost by"]) == (
        "cross",
        "cross",
        "square",
        "1 of 1",
    )
    assert (ticket["class"], ticket["pruned"], ticket["lost by"]) == ("bar", "cross (1) or pole (1)", "2 of 2")
    assert [row["example"] for row in rows] == [other, bar]
    assert [row["pictures lost"] for row in rows] == [1, 1]
    assert found.pictures == (data.shown("test", other), data.shown("test", bar))


def test_the_commonest_mistakes_come_first_a_picture_of_each(data):
    """Eight of an arm at most: one of each mistake before a second one."""
    wanted = data.targets("test")
    answers = {
        "dense 0": wanted.tolist(),
        "rewind-0-2": np.where(wanted == 0, 1, np.where(wanted == 1, 3, wanted)).tolist(),
    }
    last = int(np.flatnonzero(wanted == 2)[-1])
    answers["rewind-0-2"][last] = 0
    _, rows = told(some_arms(1), data, answers)
    mistakes = [(row["class"], row["pruned"]) for row in rows]
    assert Counter(mistakes) == {("bar", "cross"): 4, ("cross", "square"): 3, ("pole", "bar"): 1}
    assert set(mistakes[:3]) == set(mistakes)
    assert mistakes[2] == ("pole", "bar")
    assert {row["pictures lost"] for row in rows} == {int((wanted < 2).sum()) + 1}


def test_a_damaged_picture_costs_the_picture_alone(data, monkeypatch):
    """Its row is told without it."""

    def damaged(*_):
        raise DamagedError("not the one that was kept")

    monkeypatch.setattr(type(data), "shown", damaged)
    wanted = data.targets("test").tolist()
    answers = {"dense 0": wanted, "rewind-0-2": mistaken(wanted, e0=(wanted[0] + 1) % 4)}
    found, _ = told(some_arms(1), data, answers)
    assert (len(found.rows), found.pictures) == (1, ("",))
    page = as_html(Document("d", (Section("s", "", (), (), (), (found,), ()),)))
    assert "<h4>rewind, round 2</h4>" in page
    assert "<img" not in page


def test_a_sweep_of_pictures_shows_them_from_its_store_alone(tmp_path):
    """The page has a picture for each row, from MLflow it says why not, and so it does once the data are gone or are
    others; all else is the same."""
    database(tmp_path / "mlflow.db")
    (tmp_path / "space.yaml").write_text(yaml.safe_dump({"magnitude.restart": {"grid": ["rewind", "random"]}}))
    cycle = Cycle(
        task=TASK,
        model=CifarResNet(depth=8, width=4),
        training=Training(optimizer="sgd", momentum=0.9, lr=0.05, batch_size=10, epochs=2),
        schedule=(Magnitude(fraction=0.9),),
    )
    with pytest.raises(SystemExit) as ended:
        main(name="p", cycle=cycle, space=tmp_path / "space.yaml", argv=["--local", "--storage", str(tmp_path)])
    assert ended.value.code == 0
    directory = SweepDirectory(tmp_path / "p")
    ours, theirs = Record(directory).sweep, reading.from_mlflow(f"sqlite:///{tmp_path}/mlflow.db", "p")
    assert ours == theirs
    page = (directory.report / "report.html").read_text()
    (table,) = (table for table in assemble([ours]).sections[0].tables if table.slug == "disagreements")
    assert 0 < len(table.rows) == len(table.pictures)
    assert re.findall(r'<img alt="example \d+" src="([^"]+)">', page) == list(table.pictures)
    for model in {str(row[0]) for row in table.rows}:
        assert page.count(f"<h4>{model}</h4>") == 1
    assert NOT_TOLD in assemble([theirs]).sections[0].warnings
    assert NOT_TOLD not in page
    (kept,) = (tmp_path / "cache").glob("*/data.json")
    other = registry.load(TASK.model_copy(update={"data_seed": 5}), 1)[0]
    for change in (lambda: None, lambda: other.save(kept.parent)):
        kept.unlink(missing_ok=True)
        change()
        again = Record(directory).sweep
        assert (again.examples, again) == (GONE, ours)
