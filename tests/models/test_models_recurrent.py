"""The research logs' LSTM and RNN against loops over time, torch's own layers and the logs' parameter counts."""

import pytest
import torch
from modelling import a_model
from torch import nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence

from lt_ray.cycle.cycle import Cycle
from lt_ray.cycle.models import Lstm, Rnn
from lt_ray.cycle.prunings import Magnitude
from lt_ray.cycle.results import TIMES
from lt_ray.cycle.tasks import Toy
from lt_ray.cycle.training import Training
from lt_ray.models.through_time import through_time
from lt_ray.pruning.masks import ZeroPruned
from lt_ray.rounds.chain import chain
from lt_ray.rounds.run import run_cycle
from lt_ray.store.store import RoundStore
from lt_ray.tasks import registry as tasks
from lt_ray.training.randomness import generators

MODELS = {
    "lstm": Lstm(vocabulary=300, embedding=5, hidden=4, dropout=0.4),
    "lstm, one direction": Lstm(vocabulary=300, embedding=5, hidden=4, bidirectional=False, dropout=0.4),
    "rnn": Rnn(vocabulary=300, embedding=5, hidden=4, dropout=0.4),
    "rnn, two layers, both directions": Rnn(vocabulary=300, embedding=5, hidden=4, layers=2, bidirectional=True),
}
every_model = pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


def make(settings, targets=3):
    model = a_model(settings, 40, targets)
    module = model.live(model.initial(generators(0, "init")), None, torch.device("cpu"))
    # Biases start at 0; other values show whether each of them is in its place.
    with torch.no_grad():
        for number, (name, parameter) in enumerate(module.named_parameters()):
            if "bias" in name:
                parameter.normal_(generator=torch.Generator().manual_seed(number))
    return module


def documents(lengths, seed=2):
    generator = torch.Generator().manual_seed(seed)
    texts = [torch.randint(2, 40, (length,), generator=generator) for length in lengths]
    return nn.utils.rnn.pad_sequence(texts, batch_first=True, padding_value=1)


def by_hand(module, model, tokens):
    """One document and one word after the other, from the equations; no dropout."""
    weights = dict(module.named_parameters())
    logits = []
    for document in tokens:
        states = list(weights["embedding.weight"][document[document != 1]])
        for layer in range(model.layers):
            sides = []
            for suffix in ("", "_reverse") if model.bidirectional else ("",):
                w_in, w_state, b_in, b_state = (
                    weights[f"recurrent.{layer}.{name}_l0{suffix}"]
                    for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
                )
                h = c = torch.zeros(model.hidden, dtype=w_in.dtype)
                side = []
                for word in reversed(states) if suffix else states:
                    z = w_in @ word + b_in + w_state @ h + b_state
                    if model.name == "lstm":
                        let_in, keep, new, let_out = z.chunk(4)
                        c = torch.sigmoid(keep) * c + torch.sigmoid(let_in) * torch.tanh(new)
                        h = torch.sigmoid(let_out) * torch.tanh(c)
                    else:
                        h = torch.tanh(z)
                    side.append(h)
                last = h
                sides.append((side[::-1] if suffix else side, last))
            states = [torch.cat(words) for words in zip(*(side for side, _ in sides), strict=True)]
        last = torch.cat([last for _, last in sides])
        logits.append(weights["output.weight"] @ last + weights["output.bias"])
    return torch.stack(logits)


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


def test_parameter_counts_of_the_logs_lstm():
    """The LSTM has methods §2's parameters: 4,810,857 with 25,002 rows and one output, 4,812,396 with four."""
    assert sum(a_model(Lstm(), 25_002).sizes.values()) == 4_810_857
    assert sum(a_model(Lstm(), 25_002, 4).sizes.values()) == 4_812_396


def test_parameter_count_of_the_logs_rnn():
    """The RNN has an embedding, one matrix from words and one from states, two biases, and a linear layer."""
    by_hand = 25_002 * 100 + 256 * 100 + 256 * 256 + 2 * 256 + (256 + 1)
    assert by_hand == 2_592_105
    assert sum(a_model(Rnn(), 25_002).sizes.values()) == by_hand


def test_the_tensors_are_those_of_one_torch_lstm():
    """The recurrent tensors have the shapes and the order of one nn.LSTM of two layers and both directions."""
    module = a_model(Lstm(), 50).dense
    ours = [tuple(p.shape) for name, p in module.named_parameters() if name.startswith("recurrent.")]
    with torch.device("meta"):
        logs = nn.LSTM(100, 256, num_layers=2, bidirectional=True)
    assert ours == [tuple(p.shape) for p in logs.parameters()]


@every_model
def test_logits_and_gradients_are_those_of_a_loop_over_words(model):
    """In float64, logits and every gradient equal the equations', document by document, of lengths 1 to 9, unsorted."""
    module = make(model).double().eval()
    tokens = documents([4, 1, 9, 4, 6, 1])
    seen = []
    for forward in (lambda: module(tokens), lambda: by_hand(module, model, tokens)):
        module.zero_grad()
        logits = forward()
        logits.square().sum().backward()
        seen.append((logits.detach(), {name: p.grad.clone() for name, p in module.named_parameters()}))
    torch.testing.assert_close(seen[0][0], seen[1][0], rtol=1e-10, atol=1e-12)
    for name, gradient in seen[0][1].items():
        torch.testing.assert_close(gradient, seen[1][1][name], rtol=1e-9, atol=1e-12, msg=name)


@pytest.mark.parametrize("kind", [nn.LSTM, nn.RNN])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_the_hot_path_is_torchs_layer(kind, bidirectional):
    """On packed documents, states and gradients equal torch's own layer, which other devices use."""
    layer = kind(7, 6, bidirectional=bidirectional).double()
    lengths = torch.tensor([8, 8, 5, 3, 3, 1])
    padded = torch.randn(6, 8, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    packed = pack_padded_sequence(padded, lengths, batch_first=True)
    seen = []
    for forward in (
        lambda inputs: through_time(layer, inputs, packed.batch_sizes.tolist()),
        lambda inputs: layer(PackedSequence(inputs, packed.batch_sizes))[0].data,
    ):
        layer.zero_grad()
        inputs = packed.data.clone().requires_grad_()
        states = forward(inputs)
        states.sin().sum().backward()
        seen.append([states.detach(), inputs.grad, *(p.grad.clone() for p in layer.parameters())])
    for ours, torchs in zip(*seen, strict=True):
        torch.testing.assert_close(ours, torchs, rtol=1e-10, atol=1e-12)


@every_model
def test_logits_elsewhere_are_those_on_the_cpu(model, monkeypatch):
    """The layers as another device computes them give the same logits in float32."""
    module, tokens = make(model).eval(), documents([3, 7, 2])
    here = module(tokens)

    def elsewhere(layer, inputs, sizes):
        return layer(PackedSequence(inputs, torch.tensor(sizes)))[0].data

    monkeypatch.setattr("lt_ray.models.text.through_time", elsewhere)
    torch.testing.assert_close(here, module(tokens), rtol=1e-5, atol=1e-6)


@every_model
def test_dropout_comes_from_the_seed_of_the_step(model):
    """Under one seed a training step is the same bit for bit, whatever was drawn before; under another it is not."""
    module, tokens = make(model), documents([3, 7, 2])
    seen = []
    for seed in (5, 6, 5):
        torch.manual_seed(seed)
        seen.append(module(tokens).detach())
    assert torch.equal(seen[0], seen[2])
    assert not torch.equal(seen[0], seen[1])


@every_model
def test_dropout_falls_on_embedding_layers_and_last_states(model, monkeypatch):
    """Dropout is applied to the embedded words, between layers, and to the last states: layers + 1 times."""
    module, tokens = make(model), documents([3, 7])
    shapes = []
    module.dropout.register_forward_hook(lambda _module, inputs, _output: shapes.append(tuple(inputs[0].shape)))
    module(tokens)
    features = model.hidden * (2 if model.bidirectional else 1)
    assert shapes == [(10, 5), *[(10, features)] * (model.layers - 1), (2, features)]


@every_model
def test_autocast_leaves_the_recurrent_layers_in_float32(model):
    """Under bfloat16 autocast a step trains with finite gradients, and only the linear layer rounds."""
    module, tokens = make(model), documents([3, 7, 2])
    module.eval()
    exact = module(tokens)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rounded = module(tokens)
    assert rounded.dtype == torch.bfloat16
    torch.testing.assert_close(rounded.float(), exact, rtol=0.02, atol=0.02)
    module.train()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = module(tokens).float().square().sum()
    loss.backward()
    assert all(bool(p.grad.isfinite().all()) for p in module.parameters())


@every_model
def test_initial_weights(model):
    """State-to-state weights have orthonormal columns, the others Xavier's deviation; biases and rows 0 and 1 are 0."""
    large = model.model_copy(update={"embedding": 60, "hidden": 50})
    weights = a_model(large, 400).initial(generators(7, "init"))
    for name, weight in weights.items():
        if "bias" in name:
            assert not bool(weight.any())
        elif "weight_hh" in name:
            torch.testing.assert_close(weight.t() @ weight, torch.eye(50), rtol=0, atol=1e-5)
        elif "weight_ih" in name:
            assert float(weight.std()) == pytest.approx((2 / sum(weight.shape)) ** 0.5, rel=0.05)
    assert not bool(weights["embedding.weight"][:2].any())
    xavier = a_model(large.model_copy(update={"recurrent_init": "xavier"}), 400)
    drawn = xavier.initial(generators(7, "init"))
    different = {name for name, weight in weights.items() if not torch.equal(weight, drawn[name])}
    assert different == {name for name in weights if "weight_hh" in name}
    state = drawn["recurrent.0.weight_hh_l0"]
    assert float(state.std()) == pytest.approx((2 / sum(state.shape)) ** 0.5, rel=0.05)


def test_weight_names_hold_the_recurrent_weights():
    """OpenLTH's prunable tensors of the LSTM are its eight recurrent matrices and the linear layer's."""
    names = a_model(Lstm(), 50).weight_names
    recurrent = [
        f"recurrent.{layer}.weight_{part}_l0{suffix}"
        for layer in (0, 1)
        for suffix in ("", "_reverse")
        for part in ("ih", "hh")
    ]
    assert names == (*recurrent, "output.weight")


@every_model
def test_weights_zeroed_in_place_are_those_that_compute(model):
    """After masks were multiplied into the live weights, the logits are those of a fresh module with these weights."""
    module, tokens = make(model).eval(), documents([3, 7, 2])
    before = module(tokens)
    masks = {
        n: torch.rand(p.shape, generator=torch.Generator().manual_seed(1)) > 0.5 for n, p in module.named_parameters()
    }
    ZeroPruned(dict(module.named_parameters()), masks)()
    fresh = a_model(model, 40, 3).live(module.state_dict(), None, torch.device("cpu")).eval()
    assert torch.equal(module(tokens), fresh(tokens))
    assert not torch.equal(module(tokens), before)


# Rounds

TASK = Toy(train=120, validation=40, test=40)


@pytest.fixture(scope="module")
def data():
    return tasks.load(TASK, 300)[0]


def make_cycle(model):
    training = Training(lr=0.01, batch_size=32, epochs=2, patience=2)
    return Cycle(task=TASK, model=model, training=training, schedule=(Magnitude(fraction=0.3),))


def pure(events):
    return [event.model_dump(exclude=set(TIMES)) for event in events]


class Stop(Exception):
    """Raised in the middle of an epoch."""


@every_model
@pytest.mark.parametrize("stop_at", [2, 9, 13])
def test_a_cycle_stopped_in_mid_epoch_is_bit_equal(model, stop_at, data, tmp_path, monkeypatch):
    """Stopped inside an epoch of either round and run again, the cycle has the same events and weights, bit for bit,
    and what is pruned is exactly 0 after every step."""
    cycle = make_cycle(model)
    undisturbed = RoundStore(tmp_path / "undisturbed")
    expected = list(run_cycle(cycle, data, undisturbed))
    keys = [round.key for round in chain(cycle, data.digest)]
    masks = {key: undisturbed.masks(key) for key in keys}
    saves = []
    save = RoundStore.save_partial

    def save_and_stop(self, key, tensors, progress, position):
        save(self, key, tensors, progress, position)
        saves.append(position)
        for name, mask in masks[key].items():
            assert bool((tensors[f"model/{name}"][~mask] == 0).all())
        if len(saves) == stop_at:
            raise Stop

    monkeypatch.setattr(RoundStore, "save_partial", save_and_stop)
    store = RoundStore(tmp_path / "stopped")
    with pytest.raises(Stop):
        list(run_cycle(cycle, data, store, partial_every_s=0))
    assert saves[-1][1] > 0
    assert pure(run_cycle(cycle, data, store, partial_every_s=0)) == pure(expected)
    assert len(saves) == 2 * 2 * (4 + 1), "a step was trained twice"
    for key in keys:
        ours, theirs = store.weights(key), undisturbed.weights(key)
        assert all(torch.equal(weight, theirs[name]) for name, weight in ours.items())
