"""Rounds of picture models: against a bare loop, blocks compared across stages, statistics estimated anew."""

from typing import ClassVar, Literal

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from lt_ray.cycle.cycle import Cycle
from lt_ray.cycle.facts import Facts
from lt_ray.cycle.models import CifarResNet
from lt_ray.cycle.prunings import Magnitude, Similarity, Snip, Wanda
from lt_ray.cycle.results import TIMES, RoundResult
from lt_ray.cycle.tasks import TASKS, TaskSettings
from lt_ray.cycle.training import Training
from lt_ray.errors import CycleError
from lt_ray.models.model import Model, model_of
from lt_ray.pruning.similarity import MinibatchCka, centred_gram
from lt_ray.rounds.chain import chain
from lt_ray.rounds.methods.method import calibrating
from lt_ray.rounds.run import run_cycle
from lt_ray.store.store import RoundStore
from lt_ray.sweep.plan import Grounds, Planner
from lt_ray.sweep.sweep import Sweep
from lt_ray.tasks.arrays import ArrayData
from lt_ray.training.randomness import generators, order


class Pictures(TaskSettings):
    inputs: ClassVar = "images"
    name: Literal["pictures"] = "pictures"


class PictureData(ArrayData, kind="test pictures"):
    @property
    def facts(self) -> Facts:
        return Facts("images", width=3, shape=self.arrays["train.inputs"].shape[1:])


TRAINING = Training(optimizer="sgd", momentum=0.9, weight_decay=0.01, lr=0.05, batch_size=15, epochs=2)
MODEL = CifarResNet(depth=20, width=4)
COMPARED = {"calibration": 44, "calibration_batch": 20}
CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def data() -> PictureData:
    drawn = np.random.default_rng(0)
    splits = {}
    for split, n in (("train", 60), ("validation", 30), ("test", 30)):
        classes = drawn.integers(0, 3, n)
        pictures = drawn.normal(size=(n, 3, 8, 8))
        pictures[np.arange(n), classes, 2:5, 2:5] += 2
        splits[split] = pictures, classes
    return PictureData.of(splits)


def a_cycle(*schedule, model=MODEL, training=TRAINING) -> Cycle:
    return Cycle(task=Pictures(), model=model, training=training, schedule=schedule)


def keys(cycle, data) -> list[str]:
    return [round.key for round in chain(cycle, data.digest)]


def run(cycle, data, store) -> list[RoundResult]:
    return [event for event in run_cycle(cycle, data, store) if isinstance(event, RoundResult)]


def pictures_of(data, count: int, size: int) -> list[torch.Tensor]:
    return [batch.inputs for batch in data.some("train", calibrating(data, 0, count), size)]


class Bare(nn.Module):
    """ResNet-8 as OpenLTH writes it, its tensors in the same order as ours."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Conv2d(3, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4)])
        for before, after in ((4, 4), (4, 8), (8, 16)):
            self.layers.append(nn.Conv2d(before, after, 3, after // before, padding=1, bias=False))
            self.layers.extend([nn.BatchNorm2d(after), nn.Conv2d(after, after, 3, padding=1, bias=False)])
            self.layers.append(nn.BatchNorm2d(after))
            if before != after:
                self.layers.extend([nn.Conv2d(before, after, 1, 2, bias=False), nn.BatchNorm2d(after)])
        self.fc = nn.Linear(16, 3)

    def forward(self, x):
        each = iter(self.layers)
        x = next(each)(x)
        x = F.relu(next(each)(x))
        for stage in range(3):
            inner = next(each)(x)
            inner = F.relu(next(each)(inner))
            inner = next(each)(inner)
            inner = next(each)(inner)
            if stage:
                x = next(each)(x)
                x = next(each)(x)
            x = F.relu(inner + x)
        return self.fc(F.avg_pool2d(x, x.shape[3]).flatten(1))


def bare_training(net, masks, data):
    """Two epochs of SGD, pruned weights 0 after each step; yields the epochs' mean losses."""
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9, weight_decay=0.01)
    for epoch in range(2):
        total = 0.0
        for batch in data.some("train", order(0, epoch, 60).numpy(), 15):
            loss = F.cross_entropy(net(batch.inputs), batch.targets)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            with torch.no_grad():
                for parameter, mask in zip(net.parameters(), masks, strict=True):
                    parameter *= mask
            total += loss.item() * len(batch)
        yield total / 60


def test_a_ticket_is_a_bare_loops(data, tmp_path):
    """ResNet-8, dense and as a ticket of the 20 % smallest weights of all convolutions and the linear layer: masks,
    losses, weights and statistics are those of plain torch with the same draws."""
    pruning = Magnitude(fraction=0.2, scope="global", rounding="nearest", parameters="weights")
    cycle, store = a_cycle(pruning, model=CifarResNet(depth=8, width=4)), RoundStore(tmp_path)
    run(cycle, data, store)
    initial = model_of(cycle.model, data.facts).initial(generators(0, "init"))
    net = Bare()

    def begin():
        net.load_state_dict(dict(zip(net.state_dict(), initial_in_order, strict=True)))

    names = list(model_of(cycle.model, data.facts).build().state_dict())
    initial_in_order = [initial[name] for name in names]
    begin()
    masks = [torch.ones_like(p) for p in net.parameters()]
    for place, key in enumerate(keys(cycle, data)):
        losses = list(bare_training(net, masks, data))
        found = store.read(key)
        assert [epoch.train_loss for epoch in found.epochs] == pytest.approx(losses, abs=1e-6)
        theirs = dict(zip(names, net.state_dict().values(), strict=True))
        for name, tensor in store.weights(key).items():
            torch.testing.assert_close(tensor, theirs[name], rtol=1e-4, atol=1e-5)
        if place == 0:
            kernels = [p for p in net.parameters() if p.dim() > 1]
            every = torch.cat([p.detach().abs().flatten() for p in kernels])
            threshold = every.sort().values[round(0.2 * len(every)) - 1]
            above = [(p.detach().abs() > threshold).float() for p in net.parameters()]
            masks = [kept if kept.dim() > 1 else whole for kept, whole in zip(above, masks, strict=True)]
            begin()
            with torch.no_grad():
                for parameter, mask in zip(net.parameters(), masks, strict=True):
                    parameter *= mask
    ours = store.masks(keys(cycle, data)[1])
    assert all(torch.equal(mask, theirs.bool()) for mask, theirs in zip(ours.values(), masks, strict=True))


def outputs_of(model: Model, weights, blocks, pictures) -> list[torch.Tensor]:
    module = model.live(weights, blocks, CPU).eval()
    outputs = []
    for block in model.blocks_of(module):
        block.register_forward_hook(lambda _block, _inputs, output: outputs.append(output))
    with torch.no_grad():
        module(pictures)
    return outputs


@pytest.mark.parametrize("features", ["pooled", "flattened"])
def test_blocks_are_compared_across_all_stages_and_a_stages_first_stays(data, tmp_path, features):
    """One matrix over all blocks by unbiased CKA of maps; clusters go on over the stages' ends, but of a stage's first
    blocks none goes; kept blocks keep weights and statistics; the record names the features."""
    cycle = a_cycle(Similarity(threshold=0.01, features=features, epochs=0, **COMPARED))
    store, model = RoundStore(tmp_path), model_of(cycle.model, data.facts)
    dense, pruned = run(cycle, data, store)
    first, second = (store.read(key) for key in keys(cycle, data))
    cka, weights = MinibatchCka(9), store.weights(first.key)
    for pictures in pictures_of(data, 44, 20):
        outputs = outputs_of(model, weights, model.blocks, pictures)
        cka.add([centred_gram(maps.mean(dim=(2, 3)) if features == "pooled" else maps) for maps in outputs])
    torch.testing.assert_close(torch.tensor(second.decision.cka), cka.matrix().float(), rtol=0, atol=1e-5)
    assert second.decision.clusters == (tuple(range(9)),)
    assert second.decision.features == features
    assert second.blocks == (0, 3, 6)
    assert (dense.blocks, pruned.blocks) == (9, 3)
    assert pruned.parameters == sum(p.numel() for p in model.build((0, 3, 6)).parameters())
    kept = model.cut(weights, (0, 3, 6))
    assert all(torch.equal(tensor, kept[name]) for name, tensor in store.weights(second.key).items())


def test_statistics_are_estimated_anew_where_that_is_asked(data, tmp_path):
    """With `recalibrate`, those of the shorter model are means over the calibration batches; weights are as without."""
    store = RoundStore(tmp_path)
    cycles = [a_cycle(Similarity(threshold=0.01, epochs=0, recalibrate=again, **COMPARED)) for again in (False, True)]
    for cycle in cycles:
        run(cycle, data, store)
    plain, again = (store.weights(keys(cycle, data)[1]) for cycle in cycles)
    differing = {name.rpartition(".")[2] for name in plain if not torch.equal(plain[name], again[name])}
    assert differing == {"running_mean", "running_var", "num_batches_tracked"}
    batches = pictures_of(data, 44, 20)
    maps = [F.conv2d(pictures, again["conv.weight"], padding=1) for pictures in batches]
    means, spreads = ([stat(m) for m in maps] for stat in (lambda m: m.mean((0, 2, 3)), lambda m: m.var((0, 2, 3))))
    torch.testing.assert_close(again["norm.running_mean"], torch.stack(means).mean(0))
    torch.testing.assert_close(again["norm.running_var"], torch.stack(spreads).mean(0))
    assert store.read(keys(cycles[1], data)[1]).decision.recalibrated
    assert "recalibrated" not in store.read(keys(cycles[0], data)[1]).decision.model_dump()


SCHEDULES = {
    "blocks, kernels, weights": (
        Similarity(threshold=0.6, stride=2, freeze=True, features="flattened", recalibrate=True, **COMPARED),
        Wanda(sparsity=0.5, calibration=20),
        Magnitude(fraction=0.3, restart="final", parameters="weights", exclude=("*.shortcut.*",)),
    ),
    "rolled back": (
        Similarity(threshold=0.01, max_drop=0.0, **COMPARED),
        Similarity(threshold=0.01, max_drop=0.0, **COMPARED),
        Wanda(sparsity=0.5, mode="one_pass", calibration=20, epochs=0),
    ),
}


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_cycle_stopped_at_every_event_is_bit_equal(name, data, tmp_path, monkeypatch):
    """Blocks, kernels and weights one after the other: planned counts are the rounds', zeros and frozen blocks stay,
    statistics too, and stopping after each event changes no bit."""
    monkeypatch.setitem(TASKS, "pictures", Pictures)
    cycle = a_cycle(*SCHEDULES[name], training=TRAINING.model_copy(update={"epochs": 1}))
    expected = list(run_cycle(cycle, data, RoundStore(tmp_path / "1")))
    store = RoundStore(tmp_path / "2")
    pure = [event.model_dump(exclude={*TIMES, "source"}) for event in expected]
    for count in range(1, len(expected) + 1):
        events = run_cycle(cycle, data, store, partial_every_s=0)
        seen = [next(events) for _ in range(count)]
        events.close()
        assert [event.model_dump(exclude={*TIMES, "source"}) for event in seen] == pure[:count]
    model = model_of(cycle.model, data.facts)
    before = None
    for key in keys(cycle, data):
        round, weights, masks = store.read(key), store.weights(key), store.masks(key)
        whole = RoundStore(tmp_path / "1").weights(key)
        assert all(torch.equal(tensor, whole[name]) for name, tensor in weights.items())
        assert not any(weights[name][~mask].any() for name, mask in masks.items())
        assert {0, 3, 6} <= set(round.blocks)
        if round.decision is not None and round.decision.recalibrated:
            assert round.frozen
        elif round.frozen and before is not None:
            names = model._names(round.blocks)
            frozen = [n for n in weights for block in round.frozen if n.startswith(f"{names[block]}.")]
            assert all(torch.equal(weights[n], before[n]) for n in frozen if n not in masks or bool(masks[n].all()))
        before = weights
    (planned,) = Planner(Sweep(name="s", cycle=cycle), Grounds(data.facts, data.digest)).plan().cycles
    dense = next(event for event in expected if isinstance(event, RoundResult))
    assert planned.forecast[0].parameters == dense.parameters


def test_what_needs_tokens_is_refused_with_the_way_out(data, monkeypatch):
    """Tokens are of texts, and they are not flattened; both are told before anything runs."""
    monkeypatch.setitem(TASKS, "pictures", Pictures)
    grounds = Grounds(data.facts, data.digest)
    with pytest.raises(CycleError, match="compares the tokens of texts, but the task has images: say --set"):
        Planner(Sweep(name="s", cycle=a_cycle(Similarity(cka="tokens"))), grounds).plan()
    with pytest.raises(ValueError, match="`cka: tokens`"):
        Similarity(cka="tokens", features="flattened")


def test_snip_normalises_by_the_batch(data, tmp_path):
    """The kept weights are those of the largest |weight · gradient| of the untrained network in training mode, whose
    statistics say nothing yet."""
    pruning = Snip(fraction=0.7, calibration=30, parameters="weights", epochs=0)
    cycle, store = a_cycle(pruning, model=CifarResNet(depth=8, width=4)), RoundStore(tmp_path)
    run(cycle, data, store)
    model = model_of(cycle.model, data.facts)
    module = model.live(model.initial(generators(0, "init")), model.blocks, CPU).train()
    (batch,) = data.some("train", calibrating(data, 0, 30), 30)
    F.cross_entropy(module(batch.inputs), batch.targets).backward()
    masks = store.masks(keys(cycle, data)[1])
    scores = {name: (p.detach() * p.grad).abs() for name, p in module.named_parameters() if name in model.weight_names}
    kept = torch.cat([scores[name][masks[name]] for name in scores])
    gone = torch.cat([scores[name][~masks[name]] for name in scores])
    assert len(gone) == round(0.7 * (len(kept) + len(gone)))
    assert float(kept.min()) >= float(gone.max()) * (1 - 1e-3)
