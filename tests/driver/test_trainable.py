"""The trainable and the callback that hears it, without a cluster."""

import errno
import logging
from types import SimpleNamespace

import pytest
import torch

from lt_ray.cycle.cycle import Cycle
from lt_ray.cycle.models import Cnn
from lt_ray.cycle.prunings import Magnitude
from lt_ray.cycle.results import RoundResult
from lt_ray.cycle.tasks import Toy
from lt_ray.cycle.training import Training
from lt_ray.driver.resources import Resources
from lt_ray.driver.trainable import CycleTrainable, trial_config
from lt_ray.driver.tuner import Feed, Hearing
from lt_ray.rounds.inputs import Directories
from lt_ray.rounds.run import run_cycle
from lt_ray.store.store import RoundStore
from lt_ray.tasks import registry as tasks

CYCLE = Cycle(
    task=Toy(train=60, validation=20, test=20),
    model=Cnn(vocabulary=100, embedding=3, filters=2, widths=(2,)),
    training=Training(epochs=2, batch_size=30),
    schedule=(Magnitude(rewind_epoch=1),) * 2,
)


@pytest.fixture
def config(tmp_path):
    _, data = tasks.load(CYCLE.task, CYCLE.model.vocabulary, cache=tmp_path / "cache")

    def of(cycle: Cycle):
        places = {"data": Directories(data), "store": tmp_path / "s"}
        kept = frozenset({1, "last"})
        return {"trial": trial_config(cycle, **places, keep_epochs=kept, resources=Resources())}

    return of


def steps(trainable: CycleTrainable) -> list[dict]:
    results = [trainable.step()]
    while not results[-1]["done"]:
        results.append(trainable.step())
    return results


def heard(results: list[dict]) -> list:
    events, failures = [], []

    relay = SimpleNamespace(event=events.append, failed=lambda *failure: failures.append(failure))
    hearing = Hearing(relay, lambda: False)
    for result in results:
        hearing("trial", result)
    return events + failures


def test_a_trial_forwards_the_events_of_its_cycle(config, tmp_path):
    """What the driver hears, one event a step, is what `run_cycle` yields, every bit of it."""
    results = steps(CycleTrainable(config(CYCLE)))
    data, _ = tasks.load(CYCLE.task, CYCLE.model.vocabulary)
    expected = list(run_cycle(CYCLE, data, RoundStore(tmp_path / "s")))
    assert heard(results) == expected
    assert [type(event) for event in expected].count(RoundResult) == 3


def test_a_reused_actor_runs_the_next_cycle_as_a_new_one_would(config, tmp_path):
    """After reset_config in mid-cycle, the next cycle's events are its own."""
    other = CYCLE.with_settings({"seed": 1})
    trainable = CycleTrainable(config(CYCLE))
    for _ in range(3):
        trainable.step()
    assert trainable.reset_config(config(other))
    data, _ = tasks.load(other.task, other.model.vocabulary)
    assert heard(steps(trainable)) == list(run_cycle(other, data, RoundStore(tmp_path / "s")))


def test_a_failure_is_a_result(config):
    """An error of the cycle's own ends the trial with its reason instead of being tried again."""
    wild = CYCLE.with_settings({"training.optimizer": "sgd", "training.lr": 1e30})
    results = steps(CycleTrainable(config(wild)))
    assert results[-1]["failure"].startswith("DivergedError")
    assert heard(results[-1:]) == [(wild.id, results[-1]["failure"], results[-1]["traceback"])]


@pytest.mark.parametrize("kind", [IndexError, KeyError, TypeError, AttributeError, AssertionError])
def test_any_error_of_a_cycles_own_is_a_result(kind, config, monkeypatch):
    """Whatever a cycle raises ends its trial as a failure with its cause in one line and a traceback beside it."""

    def broken(*_, **__):
        raise kind("of the\ncycle")
        yield

    monkeypatch.setattr("lt_ray.driver.trainable.run_cycle", broken)
    (result,) = steps(CycleTrainable(config(CYCLE)))
    assert result["failure"].startswith(f"{kind.__name__}: ")
    assert "\n" not in result["failure"]
    assert "Traceback" in result["traceback"]
    assert heard([result]) == [(CYCLE.id, result["failure"], result["traceback"])]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ESTALE])
def test_a_fault_of_the_machines_is_no_failure(number, config, monkeypatch):
    """An error of a disk ends the trial by being raised, and no failure of the cycle is told."""

    def broken(*_, **__):
        raise OSError(number, "of the disk")
        yield

    monkeypatch.setattr("lt_ray.driver.trainable.run_cycle", broken)
    with pytest.raises(OSError, match="of the disk"):
        CycleTrainable(config(CYCLE)).step()


def test_an_error_in_the_driver_does_not_reach_ray(caplog):
    """An exception while an event is handled is logged and goes no further: in a callback it would kill the sweep."""

    def broken(*_):
        raise OSError("the screen is full")

    relay = SimpleNamespace(failed=broken, started=broken, fell=broken)
    hearing, trial = Hearing(relay, lambda: False), SimpleNamespace(config={"trial": {"id": "c"}})
    assert not hearing("trial", {"cycle": "c", "failure": "x", "traceback": ""})
    hearing.on_trial_start(0, [], trial)
    hearing.on_trial_error(0, [], trial)
    hearing.on_trial_complete(0, [], trial)
    assert caplog.text.count("the sweep goes on") == 4
    assert hearing.__getstate__() == {}


def test_the_driver_ends_a_trial_by_its_answer(config):
    """A trial ends with the event to which the driver answers that its cycle should end."""
    results = steps(CycleTrainable(config(CYCLE)))
    relay = SimpleNamespace(event=lambda event: isinstance(event, RoundResult) and event.round == 1)
    ends = Hearing(relay, lambda: False)
    assert [ends("trial", result) for result in results].index(True) == 5, "two epochs and a round, twice"


def test_a_trials_warnings_reach_the_driver(config, tmp_path, caplog):
    """What a worker's process warns of travels with its next result, once, and is logged in the driver."""
    trainable = CycleTrainable(config(CYCLE))
    logging.getLogger("lt_ray").warning("round 1 was damaged")
    trainable.reset_config(config(CYCLE.with_settings({"seed": 1})))
    results = steps(trainable)
    assert [warning for result in results for warning in result["warnings"]] == ["round 1 was damaged"]
    caplog.clear()
    heard(results)
    assert caplog.messages == ["round 1 was damaged"]


def test_tune_is_fed_what_the_agenda_hands_out():
    """A trial, then nothing for now, then another, then the end."""
    trials = iter([{"id": "a"}, None, {"id": "b"}, None])
    exhausted = iter([False, True])
    feed = Feed(lambda: next(trials), lambda: next(exhausted))
    given = [feed.suggest(str(i)) for i in range(4)]
    assert given == [{"trial": {"id": "a"}}, None, {"trial": {"id": "b"}}, Feed.FINISHED]


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)
