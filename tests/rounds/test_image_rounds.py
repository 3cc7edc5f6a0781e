"""Rounds on pictures that are cropped and flipped: an interruption and threads change no bit."""

import dataclasses

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from picturing import folder

from lt_ray.cycle.cycle import Cycle
from lt_ray.cycle.models import CifarResNet
from lt_ray.cycle.prunings import Magnitude, Wanda
from lt_ray.cycle.results import TIMES, RoundResult
from lt_ray.cycle.tasks import Images, ToyImages
from lt_ray.cycle.training import Training
from lt_ray.models.model import model_of
from lt_ray.rounds.run import channels_last, run_cycle
from lt_ray.store.store import RoundStore
from lt_ray.tasks import registry
from lt_ray.training.randomness import generators

MODEL = CifarResNet(depth=8, width=4)
TRAINING = Training(optimizer="sgd", momentum=0.9, lr=0.05, batch_size=10, epochs=3, milestones=(2,))
SCHEDULE = (Magnitude(fraction=0.3, scope="global", parameters="weights", rewind_epoch=1, rewind_budget="resume"),)
TOY = Cycle(
    task=ToyImages(train=60, validation=20, test=20, size=12, crop="padded", padding=2),
    model=MODEL,
    training=TRAINING,
    schedule=SCHEDULE,
)


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


def rows(cycle, data, place, stops: int = 0) -> list[dict]:
    """A cycle's rows, computed with interruptions after so many steps each."""
    store = RoundStore(place)
    for steps in range(1, stops + 1):
        events, taken = run_cycle(cycle, data, store, partial_every_s=0), 0
        saved = store.save_partial

        def save(*given, saved=saved, steps=steps):
            nonlocal taken
            taken += 1
            saved(*given)
            if taken >= 5 * steps:
                raise KeyboardInterrupt

        store.save_partial = save
        with pytest.raises(KeyboardInterrupt):
            list(events)
        store.save_partial = saved
    found = list(run_cycle(cycle, data, store, partial_every_s=0))
    return [event.model_dump(exclude={*TIMES, "source"}) for event in found]


@pytest.mark.parametrize("kept", ["decoded", "encoded"])
def test_an_interruption_in_mid_epoch_changes_no_bit(tmp_path, kept):
    """Killed twice in mid-epoch with crops and flips on, a cycle has the rows of one that ran through."""
    cycle, path = TOY, None
    if kept == "encoded":
        task = Images(size=12, crop="resized", validation_share=0.2)
        cycle, path = TOY.model_copy(update={"task": task}), folder(tmp_path / "data", per_class=20)
    data, _ = registry.load(cycle.task, 1, path, tmp_path / "cache")
    whole = rows(cycle, data, tmp_path / "whole")
    assert rows(cycle, dataclasses.replace(data, workers=2), tmp_path / "stopped", stops=2) == whole
    assert len(whole) == 3 + 1 + 2 + 1
    other = cycle.model_copy(update={"task": cycle.task.model_copy(update={"flip": False})})
    unflipped, _ = registry.load(other.task, 1, path)
    assert next(run_cycle(other, unflipped, RoundStore(tmp_path / "other"))).train_loss != whole[0]["train_loss"]


def test_a_round_keeps_what_it_took_each_test_picture_for(tmp_path):
    """Retrained or measured as pruned, taken up again or not: pairs of class and answer are the round's confusion."""
    schedule = (*SCHEDULE, Wanda(calibration=20, epochs=0))
    cycle, store = TOY.model_copy(update={"schedule": schedule}), RoundStore(tmp_path)
    data, _ = registry.load(cycle.task, 1)
    rows(cycle, data, tmp_path, stops=1)
    found = [event for event in run_cycle(cycle, data, store) if isinstance(event, RoundResult)]
    assert [result.epochs for result in found] == [3, 2, 0]
    for result in found:
        counts = np.zeros((4, 4), dtype=int)
        np.add.at(counts, (data.targets("test"), store.answers(result.key).numpy()), 1)
        assert counts.tolist() == np.array(store.find(result.key).confusions["test"]).tolist()


def test_channels_last_changes_the_layout_alone():
    """Gradients are those of the usual layout but for rounding; torch 2.15's narrow convolutions keep their layout."""
    data, _ = registry.load(TOY.task, 1)
    batch = next(iter(data.epoch(np.arange(60), 60, epoch=0)))
    gradients, strides = [], []
    for layout in (lambda module, forward: forward, channels_last):
        model = model_of(MODEL, data.facts)
        module = model.live(model.initial(generators(0, "init")), model.blocks, torch.device("cpu"))
        module.conv.register_forward_hook(lambda *given: strides.append(given[2].stride()))
        narrow = module.stages[1][0].shortcut[0]
        assert narrow.in_channels < 8
        forward = layout(module, module)
        narrow.register_forward_hook(lambda *given: strides.append(given[1][0].stride()))
        F.cross_entropy(forward(batch.inputs), batch.targets).backward()
        gradients.append({name: weight.grad for name, weight in module.named_parameters()})
    assert [maps[1] for maps in strides] == [12 * 12, 12 * 12, 1, 12 * 12]
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient, rtol=1e-4, atol=1e-5)


def test_a_round_is_trained_with_channels_last(tmp_path):
    """The setting reaches the round: another cycle, whose first losses are the usual ones but for rounding."""
    cycle = TOY.with_settings({"training.channels_last": True})
    assert cycle.id != TOY.id
    data, _ = registry.load(TOY.task, 1)
    usual, other = (rows(one, data, tmp_path / one.id)[0]["train_loss"] for one in (TOY, cycle))
    assert usual != other
    assert usual == pytest.approx(other, rel=1e-3)
