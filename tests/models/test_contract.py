"""Laws of every model, README's own among them: a new one is tested by being registered, with small settings here."""

import json
from collections import OrderedDict
from dataclasses import asdict, replace
from typing import ClassVar, Literal

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from dying import run_dying
from modelling import a_small_encoder
from readme import MODEL_NAMES, plugged_in
from torch import nn
from transformers import AutoModelForImageClassification, AutoModelForSequenceClassification

from lt_ray.cycle.cycle import Cycle
from lt_ray.cycle.facts import PADDING, Facts
from lt_ray.cycle.models import MODELS, ModelSettings
from lt_ray.cycle.prunings import Magnitude
from lt_ray.cycle.results import RoundResult
from lt_ray.cycle.tasks import TASKS
from lt_ray.cycle.training import Training
from lt_ray.models.model import Model, model_of
from lt_ray.models.on_meta import on_meta
from lt_ray.rounds import bases
from lt_ray.rounds.chain import chain
from lt_ray.rounds.run import run_cycle
from lt_ray.store.store import RoundStore
from lt_ray.sweep.export import load
from lt_ray.sweep.plan import Grounds, Planner
from lt_ray.sweep.sweep import Sweep
from lt_ray.tasks.arrays import ArrayData
from lt_ray.tasks.task import Data
from lt_ray.tasks.text import Split, TextData
from lt_ray.training.randomness import generators

SMALL = {
    "cnn": [{"embedding": 7, "filters": 6, "widths": (1, 3, 4), "dropout": 0.4}],
    "lstm": [{"embedding": 5, "hidden": 4}, {"embedding": 5, "hidden": 4, "bidirectional": False}],
    "rnn": [{"embedding": 5, "hidden": 4}, {"embedding": 5, "hidden": 4, "layers": 2, "bidirectional": True}],
    "transformer": [{"embedding": 8, "layers": 4, "heads": 2, "hidden": 12, "positions": 30}],
    "encoder": [{"weights": "random"}],
    "cifar_resnet": [{"depth": 14, "width": 4}, {"depth": 14, "width": 4, "shortcut": "padding"}],
    "cifar_vgg": [{"depth": 11, "width": 4}],
    "resnet": [{"path": "toy"}],
    "torchvision": [{"architecture": "resnet18"}],
    "mlp": [{"hidden": 6}],
    "normed": [{}],
}
"""Model → small settings of it; several where they make different modules"""
FACTS = {
    "text": Facts(width=3, rows=40),
    "arrays": Facts("arrays", width=3, shape=(5,)),
    "images": Facts("images", width=3, shape=(3, 16, 16)),
}
"""What an example is → data that a model of such is tried on, of three classes"""


class NormedModel(Model):
    """A model whose state is more than its parameters."""

    def build(self, blocks=None):
        """Return linear → batch norm → ReLU → linear."""
        layers = {"map": nn.Linear(*self.facts.shape, 6), "norm": nn.BatchNorm1d(6), "relu": nn.ReLU()}
        return nn.Sequential(OrderedDict(layers | {"output": nn.Linear(6, self.outputs)}))


class Normed(ModelSettings):
    implementation: ClassVar = NormedModel
    inputs: ClassVar = "arrays"
    name: Literal["normed"] = "normed"


CASES = [(name, place) for name in (*MODEL_NAMES, "normed") for place in range(len(SMALL.get(name, "?")))]
WITH_BLOCKS = [case for case in CASES if case[0] in MODELS and MODELS[case[0]].has_blocks]


def called(case: tuple[str, int]) -> str:
    return "-".join(map(str, case))


every_model = pytest.mark.parametrize("case", CASES, indirect=True, ids=called)
every_stack = pytest.mark.parametrize("case", WITH_BLOCKS, indirect=True, ids=called)
CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="module", autouse=True)
def _plugged_in():
    with plugged_in():
        MODELS.add(Normed)
        yield


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def case(request, cache) -> Model:
    """The model of some small settings, on three classes."""
    name, place = request.param
    if name not in SMALL:
        pytest.fail(f"model `{name}` is registered and so must keep these laws: give small settings of it in `SMALL`")
    if name == "torchvision":
        pytest.importorskip("torchvision")
    found = {"path": str(a_small_encoder(cache / "small", num_hidden_layers=4))} if name == "encoder" else {}
    cycle, base = bases.prepare(a_cycle(MODELS[name](**SMALL[name][place], **found)), cache)
    padding = PADDING if base is None else base.config.get("pad_token_id", PADDING)
    return model_of(cycle.model, replace(FACTS[cycle.model.inputs], padding=padding), base)


def a_cycle(model: ModelSettings, **fields) -> Cycle:
    """A cycle of a model on the first task of its kind of examples."""
    task = next(task for task in TASKS.values() if task.inputs == model.inputs)
    return Cycle(task=task(), model=model, **fields)


def lively(model: Model) -> dict[str, torch.Tensor]:
    """The initial state with other values where it is constant, which shows what a bias and a norm do."""
    state = model.initial(generators(0, "init"))
    noise = {name: torch.randn(tensor.shape, generator=generators(1, "noise")(name)) for name, tensor in state.items()}
    return {name: tensor + 0.1 * noise[name] if tensor.dim() == 1 else tensor for name, tensor in state.items()}


def examples(model: Model, *sizes: int) -> torch.Tensor:
    """One batch: documents of these lengths, or as many arrays."""
    drawn = [torch.Generator().manual_seed(size) for size in sizes]
    if model.facts.inputs != "text":
        return torch.stack([torch.randn(model.facts.shape, generator=generator) for generator in drawn])
    tokens = [torch.randint(2, 40, (size,), generator=g) for size, g in zip(sizes, drawn, strict=True)]
    return nn.utils.rnn.pad_sequence(tokens, batch_first=True, padding_value=model.facts.padding)


def some_data(model: Model) -> Data:
    """Few examples of what a model takes, their classes drawn."""
    sizes, facts = {"train": 24, "validation": 8, "test": 8}, model.facts
    drawn = np.random.default_rng(0)
    classes = {split: drawn.integers(0, 3, n) for split, n in sizes.items()}
    if facts.inputs != "text":
        return ArrayData.of(
            {split: (drawn.normal(size=(n, *facts.shape)), classes[split]) for split, n in sizes.items()}
        )
    lengths = {split: drawn.integers(1, 12, n) for split, n in sizes.items()}
    return TextData.of(
        {
            split: Split(
                tokens=drawn.integers(2, 40, lengths[split].sum(), dtype=np.int32),
                offsets=np.concatenate([[0], lengths[split].cumsum()]),
                labels=classes[split],
            )
            for split in sizes
        },
        ("a", "b", "c"),
        facts.rows,
        facts.padding,
    )


def outputs(model: Model, module: nn.Module, inputs: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return model.forward(module.eval(), inputs)


def equal(ours, theirs) -> bool:
    return ours.keys() == theirs.keys() and all(torch.equal(tensor, theirs[name]) for name, tensor in ours.items())


@every_model
def test_sizes_are_known_before_there_is_a_weight(case):
    """Sizes predicted on the meta device are the live module's, which is another one at each call."""
    state = case.initial(generators(0, "init"))
    live, again = (case.live(state, case.blocks, CPU) for _ in range(2))
    ours, theirs = dict(live.named_parameters()), dict(again.named_parameters())
    assert {name: parameter.numel() for name, parameter in ours.items()} == case.sizes
    assert {parameter.device.type for parameter in ours.values()} == {"cpu"}
    assert {parameter.device.type for parameter in case.dense.parameters()} == {"meta"}
    assert all(ours[name].data_ptr() != theirs[name].data_ptr() for name in ours)


@every_model
def test_the_initial_state_is_of_seed_and_name(case):
    """It is equal twice, whatever was drawn before; another seed draws all anew that is drawn; and no tensor's draw
    depends on another's shape."""
    first = case.initial(generators(0, "init"))
    torch.manual_seed(7)
    wider = model_of(case.settings, replace(case.facts, width=5), case.base)
    assert equal(first, model_of(case.settings, case.facts, case.base).initial(generators(0, "init")))
    other, wide = case.initial(generators(1, "init")), wider.initial(generators(0, "init"))
    drawn = [name for name, tensor in first.items() if tensor.min() != tensor.max()]
    assert drawn
    assert not any(torch.equal(first[name], other[name]) for name in drawn)
    inner = first.keys() - set(case.output_names)
    assert inner
    assert all(torch.equal(first[name], wide[name]) for name in inner)


@every_model
def test_a_state_survives_a_module(case):
    """Live → state → live again is equal bit for bit, and gives equal outputs, float (B, outputs), in eval mode."""
    state = lively(case)
    live = case.live(state, case.blocks, CPU)
    told = {name: tensor.detach().clone() for name, tensor in case.state(live).items()}
    assert equal(told, state)
    again = case.live(told, case.blocks, CPU)
    batch = examples(case, 9, 4)
    given = outputs(case, live, batch)
    assert torch.equal(given, outputs(case, again, batch))
    assert (given.shape, given.dtype) == ((2, case.outputs), torch.float32)


@every_model
def test_initial_masks_are_counted_without_being_made(case):
    """`initial_counts` are the counts of `initial_masks`, which are False only where the initial state is 0."""
    masks, state = case.initial_masks(), case.initial(generators(0, "init"))
    assert {name: int(mask.sum()) for name, mask in masks.items()} == case.initial_counts()
    assert {name: mask.shape for name, mask in masks.items()} == {name: state[name].shape for name in case.sizes}
    assert not any(state[name][~mask].any() for name, mask in masks.items())


@every_model
def test_names_are_names_of_parameters(case):
    """Weights, output layer, blocks and their linear maps are named as the module's parameters are, each once."""
    for names in (case.weight_names, case.output_names, case.block_names, case.linear_names):
        assert set(names) <= case.sizes.keys()
        assert len(set(names)) == len(names)
    assert case.weight_names
    assert case.output_names
    assert set(case.linear_names) <= set(case.block_names) & set(case.weight_names)
    assert bool(case.linear_names) is bool(case.stacks) is type(case.settings).has_blocks
    assert not set(case.block_names) & set(case.output_names)


@every_model
def test_outputs_do_not_depend_on_neighbours(case):
    """An example's outputs are the same alone and beside another; a document's beside a longer one, which pads it."""
    module = case.live(lively(case), case.blocks, CPU)
    short, long = examples(case, 3), examples(case, 30)
    padded = F.pad(short, (0, 27), value=case.facts.padding) if case.facts.inputs == "text" else short
    together = outputs(case, module, torch.cat([padded, long]))
    alone = torch.cat([outputs(case, module, short), outputs(case, module, long)])
    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-5)
    assert not torch.allclose(alone[0], alone[1])


@every_model
def test_a_cut_that_keeps_all_blocks_changes_nothing(case):
    """A state and masks cut to all blocks are as they were."""
    state = case.initial(generators(0, "init"))
    assert equal(case.cut(state, case.blocks), state)
    assert case.cut(case.initial_masks(), case.blocks).keys() == case.sizes.keys()


@every_stack
def test_a_cut_state_is_the_shorter_modules(case):
    """Cut to some blocks, names and shapes are those of the module built with them, and values stay."""
    state, kept = lively(case), case.blocks[::2]
    shorter = case.cut(state, kept)
    with on_meta():
        shapes = {name: parameter.shape for name, parameter in case.build(kept).named_parameters()}
    assert {name: tensor.shape for name, tensor in shorter.items() if name in shapes} == shapes
    before, after = (case.blocks_of(case.live(*each, CPU)) for each in ((state, case.blocks), (shorter, kept)))
    assert len(after) == len(kept) < len(before)
    assert all(equal(before[block].state_dict(), after[place].state_dict()) for place, block in enumerate(kept))


@every_stack
def test_frozen_blocks_get_no_gradient_and_all_else_does(case):
    """After a backward pass the frozen blocks' parameters have no gradient, every other one has."""
    kept, frozen = case.blocks[1:], case.blocks[1:3]
    module = case.live(case.cut(lively(case), kept), kept, CPU, frozen)
    case.forward(module, examples(case, 9, 4)).square().sum().backward()
    still = {id(p) for block in case.blocks_of(module)[: len(frozen)] for p in block.parameters()}
    assert still
    for name, parameter in module.named_parameters():
        assert (parameter.grad is None) is (id(parameter) in still), name


@every_model
def test_an_exported_model_gives_equal_outputs(case, tmp_path):
    """A state that was written, with fewer blocks where there are some, gives equal outputs when it is loaded."""
    kept = case.blocks and case.blocks[::2]
    state = case.cut(lively(case), kept)
    cycle, facts = {"model": case.settings.model_dump(mode="json")}, asdict(case.facts)
    told = {"cycle": cycle, "facts": json.loads(json.dumps(facts)), "classes": ["a", "b", "c"], "longest": 64}
    case.export(state, kept, told, tmp_path)
    batch = examples(case, 9, 4)
    expected = outputs(case, case.live(state, kept, CPU), batch)
    if case.base is None:
        module, _ = load(tmp_path)
    else:
        kind = AutoModelForSequenceClassification if case.facts.inputs == "text" else AutoModelForImageClassification
        module = kind.from_pretrained(tmp_path)
    assert torch.equal(outputs(case, module, batch), expected)


def a_short_cycle(model: Model) -> Cycle:
    """Two rounds of an epoch, 3 steps each, under a decay that no pruned weight may feel."""
    training = Training(optimizer="adamw", weight_decay=0.1, lr=0.01, batch_size=8, epochs=1, patience=1)
    return a_cycle(model.settings, training=training, schedule=(Magnitude(fraction=0.5, rounding="nearest"),))


@every_model
def test_counts_predicted_are_counts_measured_and_zeros_stay_zero(case, tmp_path):
    """In a cycle of it the plan's counts are the rounds'; what is pruned is exactly 0 after training with decay, and
    what is stored loads as it is."""
    cycle, data, store = a_short_cycle(case), some_data(case), RoundStore(tmp_path)
    grounds = Grounds(data.facts, data.digest, base=case.base)
    (planned,) = Planner(Sweep(name="s", cycle=cycle), grounds).plan().cycles
    results = [e for e in run_cycle(cycle, data, store, base=case.base) if isinstance(e, RoundResult)]
    counts = [(row.remaining, row.parameters, row.nonzero) for row in results]
    assert counts == [(row.remaining, row.parameters, row.nonzero) for row in planned.forecast]
    assert results[1].nonzero < results[0].nonzero <= results[0].parameters == sum(case.sizes.values())
    for round in chain(cycle, data.digest):
        weights, masks = store.weights(round.key), store.masks(round.key)
        assert not any(weights[name][~mask].any() for name, mask in masks.items())
        assert equal(case.state(case.live(weights, store.read(round.key).blocks, CPU)), weights)


@every_model
def test_a_cycle_that_dies_after_every_step_is_bit_equal(case, tmp_path):
    """A process that dies once it has saved one more state, again and again, leaves the bits of one that does not,
    whatever was drawn before."""
    if sum(case.sizes.values()) > 3_000_000:
        pytest.skip("saves and loads 11 million weights at each step: minutes; a smaller network of its kind is a case")
    cycle, data = a_short_cycle(case), some_data(case)
    stores = [RoundStore(tmp_path / name) for name in ("whole", "dying")]
    for _ in run_cycle(cycle, data, stores[0], base=case.base):
        torch.manual_seed(7)
    assert run_dying(cycle, data, stores[1].root, base=case.base) >= 6
    for round in chain(cycle, data.digest):
        one, other = (store.read(round.key) for store in stores)
        assert one.pure() == other.pure()
        assert equal(*(store.weights(round.key) for store in stores))
        assert equal(*(store.masks(round.key) for store in stores))
