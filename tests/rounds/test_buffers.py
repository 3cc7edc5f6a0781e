"""Batch-norm statistics are part of a model's state: of what is kept, resumed, rewound to, frozen and exported."""

from dataclasses import replace
from functools import cached_property
from typing import ClassVar, Literal

import numpy as np
import pytest
import torch
from torch import nn

from lt_ray.cycle.cycle import Cycle
from lt_ray.cycle.models import ModelSettings
from lt_ray.cycle.prunings import Magnitude, PruningSettings
from lt_ray.cycle.results import TIMES, RoundResult
from lt_ray.cycle.tasks import TaskSettings
from lt_ray.cycle.training import Training
from lt_ray.models.model import Model, Stack, model_of
from lt_ray.rounds.chain import chain
from lt_ray.rounds.methods.method import Method
from lt_ray.rounds.run import run_cycle
from lt_ray.store.store import RoundStore
from lt_ray.tasks.arrays import ArrayData
from lt_ray.training.loop import Progress, Trainee
from lt_ray.training.randomness import generators, order


class Points(TaskSettings):
    inputs: ClassVar = "arrays"
    name: Literal["points"] = "points"


class Normed(ModelSettings):
    inputs: ClassVar = "arrays"
    has_blocks: ClassVar = True
    name: Literal["normed"] = "normed"


class Net(nn.Module):
    def __init__(self, blocks: int) -> None:
        super().__init__()
        layers = (nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.ReLU()) for _ in range(blocks))
        self.blocks = nn.ModuleList(layers)
        self.output = nn.Linear(4, 3)

    def forward(self, inputs):
        for block in self.blocks:
            inputs = inputs + block(inputs)
        return self.output(inputs)


class NormedModel(Model[Normed]):
    def build(self, blocks=None):
        return Net(3 if blocks is None else len(blocks))

    @cached_property
    def stacks(self):
        return (Stack("blocks", 3),)


Normed.implementation = NormedModel


class Second(PruningSettings):
    """Removes the second block and freezes the last one."""

    needs_blocks: ClassVar = True
    removes_blocks: ClassVar = True
    method: Literal["second"] = "second"


class SecondMethod(Method[Second]):
    def touches(self, model):
        return model.block_names

    def prune(self, parent, context):
        kept = (0, 2)
        cut = {"weights": context.model.cut(parent.weights, kept), "masks": context.model.cut(parent.masks, kept)}
        return replace(parent, **cut, blocks=kept, frozen=(2,))


Second.implementation = SecondMethod


CYCLE = Cycle(
    task=Points(),
    model=Normed(),
    training=Training(optimizer="sgd", momentum=0.9, weight_decay=0.1, lr=0.05, batch_size=10, epochs=3),
    schedule=(Magnitude(fraction=0.3, rewind_epoch=1),),
)


def altered(**training) -> Cycle:
    return CYCLE.model_copy(update={"training": CYCLE.training.model_copy(update=training)})


def with_schedule(*schedule) -> Cycle:
    return CYCLE.model_copy(update={"schedule": schedule})


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def data() -> ArrayData:
    drawn = np.random.default_rng(0)
    splits = {}
    for split, n in (("train", 60), ("validation", 30), ("test", 30)):
        inputs = drawn.normal(3, 2, (n, 4))
        splits[split] = inputs, np.digitize(inputs[:, 0] + inputs[:, 1], (5.0, 7.0))
    return ArrayData.of(splits)


def keys(cycle, data) -> list[str]:
    return [round.key for round in chain(cycle, data.digest)]


def kept(store, cycle, data) -> list[dict[str, torch.Tensor]]:
    return [store.weights(key) for key in keys(cycle, data)]


def statistics(state) -> dict[str, torch.Tensor]:
    return {name: tensor for name, tensor in state.items() if "running" in name or "tracked" in name}


def equal(ours, theirs) -> bool:
    return ours.keys() == theirs.keys() and all(torch.equal(tensor, theirs[name]) for name, tensor in ours.items())


def initial(data) -> dict[str, torch.Tensor]:
    return model_of(CYCLE.model, data.facts).initial(generators(0, "init"))


def test_a_round_killed_in_mid_epoch_goes_on_bit_equal(data, tmp_path):
    """Closed within an epoch and taken up by new objects, rounds end with the same weights, statistics and rows."""
    cycle = altered(batch_size=20, epochs=2)
    expected = list(run_cycle(cycle, data, RoundStore(tmp_path / "whole")))
    store = RoundStore(tmp_path / "killed")
    saved, killed = RoundStore.save_partial, 0

    class Killed(Exception):
        pass

    def save(self, key, tensors, progress, position):
        nonlocal killed
        saved(self, key, tensors, progress, position)
        killed += 1
        if position[1]:
            raise Killed

    for _ in range(60):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(RoundStore, "save_partial", save)
            try:
                found = list(run_cycle(cycle, data, store, partial_every_s=0))
                break
            except Killed:
                continue
    assert killed > 10
    pure = [[event.model_dump(exclude={*TIMES, "source"}) for event in events] for events in (found, expected)]
    assert pure[0] == pure[1]
    for ours, theirs in zip(kept(store, cycle, data), kept(RoundStore(tmp_path / "whole"), cycle, data), strict=True):
        assert len(statistics(ours)) == 9
        assert equal(ours, theirs)


def test_statistics_are_those_of_a_bare_loop(data, tmp_path):
    """After two epochs weights and statistics are those of plain torch with the same draws."""
    cycle = altered(epochs=2, weight_decay=0.0).model_copy(update={"schedule": ()})
    store = RoundStore(tmp_path)
    list(run_cycle(cycle, data, store))
    net = Net(3)
    net.load_state_dict(initial(data))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9)
    for epoch in range(2):
        for batch in data.some("train", order(0, epoch, 60).numpy(), 10):
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(batch.inputs), batch.targets).backward()
            optimizer.step()
    (ours,) = kept(store, cycle, data)
    for name, tensor in net.state_dict().items():
        torch.testing.assert_close(ours[name], tensor, rtol=1e-5, atol=1e-6)
    assert int(ours["blocks.0.1.num_batches_tracked"]) == 12


def test_best_weights_bring_their_statistics(data, tmp_path):
    """A round that stops early ends with the whole state of its best epoch."""
    store = RoundStore(tmp_path)
    cycle = altered(patience=1, lr=1.5, epochs=9).model_copy(update={"schedule": ()})
    rows = list(run_cycle(cycle, data, store, keep_epochs=range(1, 10)))
    best = rows[-1].best_epoch
    assert best < rows[-1].epochs
    assert equal(store.weights(keys(cycle, data)[0]), store.rewind(keys(cycle, data)[0], best))


@pytest.mark.parametrize("epoch", [0, 2, "last"])
def test_a_rewind_restores_the_statistics_of_its_epoch(data, tmp_path, epoch):
    """The ticket starts from the statistics after that epoch; of epoch 0 from the initial ones, 0 and 1."""
    store = RoundStore(tmp_path)
    cycle = with_schedule(Magnitude(fraction=0.3, rewind_epoch=epoch, epochs=0 if epoch == 0 else None))
    starts = started(cycle, data, store)
    wanted = initial(data) if epoch == 0 else store.rewind(keys(cycle, data)[0], 3 if epoch == "last" else epoch)
    assert equal(statistics(starts[1]), statistics(wanted))
    assert bool(starts[1]["blocks.0.1.running_mean"].any()) is (epoch != 0)
    assert int(starts[1]["blocks.0.1.num_batches_tracked"]) == {0: 0, 2: 12, "last": 18}[epoch]


def test_re_initialised_weights_begin_with_initial_statistics(data, tmp_path):
    """The control draws new weights; its statistics are 0 and 1 again."""
    control = with_schedule(Magnitude(fraction=0.3, restart="random"))
    starts = started(control, data, RoundStore(tmp_path))
    assert equal(statistics(starts[-1]), statistics(initial(data)))
    assert not torch.equal(starts[-1]["output.weight"], initial(data)["output.weight"])


def started(cycle, data, store) -> list[dict[str, torch.Tensor]]:
    """The states from which the rounds' trainings start."""
    states: list[dict[str, torch.Tensor]] = []
    made = Model.live

    def live(self, state, *more):
        states.append({name: tensor.clone() for name, tensor in state.items()})
        return made(self, state, *more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Model, "live", live)
        list(run_cycle(cycle, data, store))
    return states


def test_kept_blocks_keep_their_statistics_and_frozen_ones_for_ever(data, tmp_path):
    """A removal takes over the kept blocks' statistics; retraining moves those of trained blocks alone."""
    store, cycle = RoundStore(tmp_path), with_schedule(Second())
    _, pruned = started(cycle, data, store)
    trained, after = kept(store, cycle, data)
    for was, now in (("0", "0"), ("2", "1")):
        ours, theirs = statistics(pruned), statistics(trained)
        assert torch.equal(ours[f"blocks.{now}.1.running_mean"], theirs[f"blocks.{was}.1.running_mean"])
    frozen = {name for name in after if name.startswith("blocks.1.")}
    assert len(frozen) == 7
    assert all(torch.equal(after[name], pruned[name]) for name in frozen)
    assert not torch.equal(after["blocks.0.1.running_var"], pruned["blocks.0.1.running_var"])


def test_masks_counts_and_the_optimizer_are_of_parameters_alone(data, tmp_path):
    """No mask, no count and no moment is of a buffer."""
    store = RoundStore(tmp_path)
    rows = [event for event in run_cycle(CYCLE, data, store) if isinstance(event, RoundResult)]
    parameters = {name: p.numel() for name, p in Net(3).named_parameters()}
    for key, row in zip(keys(CYCLE, data), rows, strict=True):
        assert store.masks(key).keys() == parameters.keys() == store.read(key).counts.keys()
        assert row.parameters == sum(parameters.values()) == row.prunable
        assert row.nonzero == row.remaining
    net = Net(3)
    trainee = Trainee(net, torch.optim.Adam(net.parameters()), Progress(epoch=0), net, net.state_dict(keep_vars=True))
    net(torch.randn(5, 4)).sum().backward()
    trainee.optimizer.step()
    held = {name.split("/")[1] for name in trainee.state() if name.startswith("optimizer/")}
    assert held == parameters.keys()
    assert {name.removeprefix("model/") for name in trainee.state() if name.startswith("model/")} == set(
        net.state_dict()
    )
