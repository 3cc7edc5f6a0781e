"""Calibration on tiny transformers against a slow restatement of the paper that runs the whole model each time."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    DistilBertConfig,
    DistilBertForSequenceClassification,
    RobertaConfig,
    RobertaForSequenceClassification,
)

from lt_ray.pruning import magnitude, wanda
from lt_ray.pruning import masks as masking
from lt_ray.rounds import calibration

PADDING = 1
BERT = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 64, "vocab_size": 50}
NAMES = ("bert", "distilbert", "roberta")


def linear_names(module: nn.Module, blocks: list[nn.Module]) -> list[tuple[str, ...]]:
    """For each block, the names of the weights of its linear layers in the model."""
    names = {id(parameter): name for name, parameter in module.named_parameters()}
    return [tuple(names[id(c.weight)] for c in block.modules() if isinstance(c, nn.Linear)) for block in blocks]


class Tiny:
    """A tiny transformer with weights so large that pruning one block changes what the next one sees."""

    def __init__(self, name: str = "bert", seed: int = 0) -> None:
        if name == "bert":
            self.module: nn.Module = BertForSequenceClassification(BertConfig(**BERT))
            self.blocks = list(self.module.bert.encoder.layer)
        elif name == "roberta":
            self.module = RobertaForSequenceClassification(RobertaConfig(**BERT, pad_token_id=PADDING))
            self.blocks = list(self.module.roberta.encoder.layer)
        else:
            config = DistilBertConfig(dim=32, n_layers=3, n_heads=2, hidden_dim=64, vocab_size=50)
            self.module = DistilBertForSequenceClassification(config)
            self.blocks = list(self.module.distilbert.transformer.layer)
        generator = torch.Generator().manual_seed(seed)
        for parameter in self.module.parameters():
            parameter.data = torch.randn(parameter.shape, generator=generator) * 0.3 + (parameter.dim() == 1)
        self.module.eval()
        self.batches = [torch.randint(2, 50, (3, width), generator=generator) for width in (7, 4, 9)]
        for tokens in self.batches:
            tokens[0, 3:] = PADDING
        self.masks = {n: torch.ones(p.shape, dtype=torch.bool) for n, p in self.module.named_parameters()}
        self.names = linear_names(self.module, self.blocks)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.module(tokens, attention_mask=self.kept(tokens).long()).logits

    def kept(self, tokens: Tensor) -> Tensor:
        return tokens != PADDING

    def prune(self, masks: dict[str, Tensor]) -> None:
        self.masks = masks
        self.module.load_state_dict(masking.masked(self.module.state_dict(), masks))

    def wanda(self, sparsity, mode="sequential", forward=None) -> dict[str, Tensor]:
        given_ = (self.module, self.blocks, forward or self.forward, iter(self.batches), self.kept)
        if mode == "sequential":
            return calibration.sequential_masks(*given_, self.masks, sparsity)
        return calibration.one_pass_masks(self.module, calibration.input_norms(*given_), self.masks, sparsity)


def stated(weight: Tensor, norms: Tensor, mask: Tensor, sparsity: float | tuple[int, int]) -> Tensor:
    """The paper's rule, one group of a row at a time, by Python's stable sort."""
    after = mask.clone()
    n, m = sparsity if isinstance(sparsity, tuple) else (None, weight.shape[1])
    gone = int(m * sparsity) if n is None else m - n
    scores = (weight.double().abs() * norms).masked_fill(~mask, -1).tolist()
    for i, row in enumerate(scores):
        for start in range(0, len(row), m):
            for j in sorted(range(start, start + m), key=row.__getitem__)[:gone]:
                after[i, j] = False
    return after


def inputs_of(tiny: Tiny, names: tuple[str, ...]) -> dict[str, Tensor]:
    """Kept tokens that reach linear layers, float64 (n, in), from runs of the whole model."""
    seen: dict[str, list[Tensor]] = {name: [] for name in names}
    with torch.no_grad():
        for tokens in tiny.batches:
            kept = tiny.kept(tokens)
            handles = [
                tiny.module.get_submodule(name.removesuffix(".weight")).register_forward_pre_hook(
                    lambda _layer, inputs, name=name, kept=kept: seen[name].append(inputs[0][kept])
                )
                for name in names
            ]
            tiny.forward(tokens)
            for handle in handles:
                handle.remove()
    return {name: torch.cat(parts).double() for name, parts in seen.items()}


def restated(tiny: Tiny, sparsity: float | tuple[int, int], mode: str) -> dict[str, Tensor]:
    """Wanda, block after block, each measured in a model of its own whose earlier blocks' weights are zeroed."""
    after = dict(tiny.masks)
    for names in tiny.names:
        other = copy.copy(tiny)
        other.module = copy.deepcopy(tiny.module)
        if mode == "sequential":
            other.prune(after)
        found = {}
        for name, x in inputs_of(other, names).items():
            norms = torch.stack([(column * column).sum().sqrt() for column in x.T])
            found[name] = stated(tiny.module.state_dict()[name], norms, tiny.masks[name], sparsity)
        after |= found
    return after


def equal(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return list(a) == list(b) and all(torch.equal(a[name], b[name]) for name in a)


def hooks(module: nn.Module) -> int:
    return sum(len(child._forward_hooks) + len(child._forward_pre_hooks) for child in module.modules())


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("mode", ["sequential", "one_pass"])
@pytest.mark.parametrize("sparsity", [0.5, 0.3, (2, 4), (4, 8)])
def test_masks_are_the_papers(name, mode, sparsity):
    """On BERT, DistilBERT and RoBERTa, both modes find the masks that whole runs of copies of the model find."""
    tiny = Tiny(name)
    assert equal(tiny.wanda(sparsity, mode=mode), restated(tiny, sparsity, mode))


@pytest.mark.parametrize("sparsity", [0.5, (2, 4)])
def test_norms_serve_several_sparsities(sparsity):
    """Measured once and selected from later, on top of earlier masks too, the masks are those of a pass of their
    own."""
    tiny = Tiny("bert")
    norms = calibration.input_norms(tiny.module, tiny.blocks, tiny.forward, iter(tiny.batches), tiny.kept)
    assert all(norm.dtype == torch.float64 for norm in norms.values())
    before = tiny.masks
    tiny.masks = tiny.wanda(0.25, mode="one_pass")
    assert not equal(tiny.masks, before)
    found = calibration.one_pass_masks(tiny.module, norms, tiny.masks, sparsity)
    assert equal(found, restated(tiny, sparsity, "one_pass"))


@pytest.mark.parametrize("mode", ["sequential", "one_pass"])
def test_masks_on_top_of_magnitudes(mode):
    """On a model that magnitude pruning thinned, in the blocks and beside them, masks are the paper's and shrink."""
    tiny = Tiny()
    tiny.prune(magnitude.prune(tiny.module.state_dict(), tiny.masks, 0.4))
    for sparsity in (0.5, (2, 4)):
        smaller = tiny.wanda(sparsity, mode=mode)
        assert equal(smaller, restated(tiny, sparsity, mode))
        assert not any(bool((mask & ~tiny.masks[name]).any()) for name, mask in smaller.items())


def test_the_modes_differ():
    """One pass and the sequential mode agree on the first block alone, which no pruned one stands before."""
    tiny = Tiny()
    sequential, one_pass = tiny.wanda(0.5), tiny.wanda(0.5, mode="one_pass")
    same = [all(torch.equal(sequential[name], one_pass[name]) for name in names) for names in tiny.names]
    assert same == [True, False, False]


@pytest.mark.parametrize("name", NAMES)
def test_the_linear_layers_of_blocks(name):
    """The weights named are each block's six linear layers, in order, and no embedding, norm, pooler or head."""
    tiny = Tiny(name)
    parameters = dict(tiny.module.named_parameters())
    for block, names in zip(tiny.blocks, tiny.names, strict=True):
        layers = [child for child in block.modules() if isinstance(child, nn.Linear)]
        assert [parameters[n] is layer.weight for n, layer in zip(names, layers, strict=True)] == [True] * 6
    assert len({n for names in tiny.names for n in names}) == 18


def test_only_linear_layers_of_blocks_are_pruned():
    """All masks come back; those of embeddings, norms, biases, pooler and head as they were, as copies."""
    tiny = Tiny()
    after = tiny.wanda(0.5)
    pruned = [name for name, mask in after.items() if not torch.equal(mask, tiny.masks[name])]
    assert pruned == [name for names in tiny.names for name in names]
    assert not any(after[name].data_ptr() == tiny.masks[name].data_ptr() for name in after)


@pytest.mark.parametrize("mode", ["sequential", "one_pass"])
@settings(max_examples=5)
@given(seed=st.integers(0, 1000))
def test_padding_does_not_matter(mode, seed):
    """Documents padded with garbage to a longer batch give the masks of the documents alone."""
    tiny, other = Tiny(), Tiny()
    generator = torch.Generator().manual_seed(seed)
    tiny.batches = [torch.randint(2, 50, (3, 6), generator=generator) for _ in range(2)]
    garbage = [torch.randint(2, 50, (3, 4), generator=generator) for _ in range(2)]
    other.batches = [torch.cat(pair, 1) for pair in zip(tiny.batches, garbage, strict=True)]
    other.kept = lambda tokens: torch.arange(tokens.shape[1]).expand_as(tokens) < 6
    assert equal(tiny.wanda(0.5, mode=mode), other.wanda(0.5, mode=mode))


@pytest.mark.parametrize("mode", ["sequential", "one_pass"])
def test_the_model_is_as_before(mode):
    """Weights and buffers are the same bits in the same tensors, gradients and training flags untouched, no hook
    stays."""
    tiny = Tiny()
    tiny.module.train()
    tiny.blocks[1].eval()
    before = {name: (tensor, tensor.clone()) for name, tensor in tiny.module.state_dict(keep_vars=True).items()}
    flags = [child.training for child in tiny.module.modules()]
    tiny.wanda(0.5, mode=mode)
    for name, tensor in tiny.module.state_dict(keep_vars=True).items():
        assert tensor is before[name][0]
        assert torch.equal(tensor.view(torch.uint8), before[name][1].view(torch.uint8))
    assert [child.training for child in tiny.module.modules()] == flags
    assert all(p.requires_grad and p.grad is None for p in tiny.module.parameters())
    assert hooks(tiny.module) == 0


@pytest.mark.parametrize(("mode", "call"), [("one_pass", 2), ("sequential", 2), ("sequential", 5), ("sequential", 8)])
def test_the_model_is_as_before_an_error(mode, call):
    """An exception in a block, at whatever call of it, leaves weights, flags and hooks as they were."""
    tiny = Tiny()
    tiny.module.train()
    before = {name: (p, p.detach().clone()) for name, p in tiny.module.named_parameters()}
    dense, calls = tiny.blocks[1].intermediate.dense, []
    original = dense.forward

    def failing(x: Tensor) -> Tensor:
        calls.append(None)
        if len(calls) == call:
            raise RuntimeError("planted")
        return original(x)

    dense.forward = failing
    with pytest.raises(RuntimeError, match="planted"):
        tiny.wanda(0.5, mode=mode)
    for name, parameter in tiny.module.named_parameters():
        assert parameter is before[name][0]
        assert torch.equal(parameter, before[name][1])
    assert all(child.training for child in tiny.module.modules())
    assert hooks(tiny.module) == 0


def test_dropout_is_off():
    """A model in training is calibrated as one in eval mode is."""
    tiny = Tiny()
    expected = tiny.wanda(0.5)
    tiny.module.train()
    assert equal(tiny.wanda(0.5), expected)


def test_forward_under_inference_mode():
    """A forward that runs under torch.inference_mode gives the masks that any other does."""
    tiny = Tiny()
    for mode in ("sequential", "one_pass"):
        found = tiny.wanda(0.5, mode=mode, forward=torch.inference_mode()(tiny.forward))
        assert equal(found, tiny.wanda(0.5, mode=mode))


def test_sequential_runs_the_model_once():
    """However many blocks, the sequential mode runs the whole model once a batch, the rest by blocks."""
    tiny, calls = Tiny(), []
    tiny.wanda(0.5, forward=lambda tokens: calls.append(tiny.forward(tokens)))
    assert len(calls) == len(tiny.batches)


def test_shared_inputs_are_squared_once(monkeypatch):
    """Query, key and value have one input in common: four sums of squares a block and batch, not six."""
    tiny, calls = Tiny(), []
    summed = wanda.sums_of_squares
    monkeypatch.setattr(wanda, "sums_of_squares", lambda x, kept: calls.append(x) or summed(x, kept))
    tiny.wanda(0.5, mode="one_pass")
    assert len(calls) == 4 * 3 * len(tiny.batches)


class InPlace(nn.Module):
    """A block that writes into a layer's input before the next layer sees it."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, hidden_states: Tensor, scale: Tensor) -> tuple[Tensor, None]:
        x = hidden_states * scale
        y = self.a(x)
        x.mul_(torch.tensor([1.0, 10.0, 100.0, 1000.0]))
        return y + self.b(x), None


class Chain(nn.Module):
    """Blocks called by keyword that return tuples, each with an argument of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(InPlace() for _ in range(2))
        self.order = [0, 1]

    def forward(self, x: Tensor) -> Tensor:
        for i in self.order:
            x = self.blocks[i](hidden_states=x, scale=torch.tensor([1.0, 1.0, 20.0, 3.0]).roll(i))[0]
        return x


class TinyChain(Tiny):
    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(0)
        self.module = Chain().eval()
        for parameter in self.module.parameters():
            parameter.data.normal_(generator=generator)
        self.blocks = list(self.module.blocks)
        self.batches = [torch.randn(2, 3, 4, generator=generator) for _ in range(2)]
        self.masks = {n: torch.ones(p.shape, dtype=torch.bool) for n, p in self.module.named_parameters()}
        self.names = linear_names(self.module, self.blocks)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.module(tokens)

    def kept(self, tokens: Tensor) -> Tensor:
        return torch.ones(tokens.shape[:2], dtype=torch.bool)


@pytest.mark.parametrize("mode", ["sequential", "one_pass"])
def test_inputs_by_keyword_outputs_in_tuples_writes_in_place(mode):
    """Hidden states by keyword, outputs in tuples and an input changed in place between two layers are seen rightly."""
    tiny = TinyChain()
    assert tiny.names == [("blocks.0.a.weight", "blocks.0.b.weight"), ("blocks.1.a.weight", "blocks.1.b.weight")]
    assert equal(tiny.wanda(0.5, mode=mode), restated(tiny, 0.5, mode))


@pytest.mark.parametrize("order", [[1, 0], [0, 0, 1], [0, 1, 1], [0]])
def test_sequential_needs_a_chain(order):
    """Blocks that are not run once each and in order cannot be pruned in sequence: an error says so."""
    tiny = TinyChain()
    tiny.module.order = order
    with pytest.raises(ValueError, match=r"forward must run"):
        tiny.wanda(0.5)
    assert hooks(tiny.module) == 0


def test_sequential_needs_the_output_before():
    """Where something stands between two blocks, replaying them would leave it out: an error says so."""
    tiny = Tiny()
    tiny.blocks = [tiny.blocks[0], tiny.blocks[2]]
    tiny.masks = {n: m for n, m in tiny.masks.items() if ".layer.1." not in n}
    with pytest.raises(ValueError, match=r"each on what the one before returned.*use one_pass"):
        tiny.wanda(0.5)


@pytest.mark.parametrize("mode", ["sequential", "one_pass"])
def test_no_batches(mode):
    """Without a calibration batch nothing is measured, and nothing is pruned by it: an error says so."""
    tiny = Tiny()
    tiny.batches = []
    with pytest.raises(ValueError, match="calibration batches must reach each linear layer"):
        tiny.wanda(0.5, mode=mode)


@pytest.mark.parametrize("name", NAMES)
def test_block_outputs(name):
    """The outputs of the blocks are the model's own hidden states, per batch, beside which tokens are kept."""
    tiny = Tiny(name)
    found = calibration.block_outputs(tiny.blocks, tiny.forward, tiny.batches, tiny.kept)
    seen = 0
    for tokens, (outputs, kept) in zip(tiny.batches, found, strict=True):
        with torch.no_grad():
            whole = tiny.module(tokens, attention_mask=tiny.kept(tokens).long(), output_hidden_states=True)
        assert len(outputs) == len(tiny.blocks)
        for ours, theirs in zip(outputs, whole.hidden_states[1:], strict=True):
            assert torch.equal(ours, theirs)
            assert not ours.requires_grad
        assert torch.equal(kept, tokens != PADDING)
        assert torch.is_grad_enabled()
        seen += 1
    assert seen == 3


def test_block_outputs_are_tensors():
    """Of a block that returns a tuple, the first element is its output; between two batches no block has a hook."""
    tiny = TinyChain()
    for outputs, _kept in calibration.block_outputs(tiny.blocks, tiny.forward, tiny.batches, tiny.kept):
        assert [tuple(output.shape) for output in outputs] == [(2, 3, 4)] * 2
        assert hooks(tiny.module) == 0


def test_block_outputs_of_a_failing_model():
    """Hooks are gone after an error, and a block that was left out is one."""
    tiny = TinyChain()
    tiny.module.order = [1]
    with pytest.raises(ValueError, match=r"left out missing=\[0\]"):
        next(calibration.block_outputs(tiny.blocks, tiny.forward, tiny.batches, tiny.kept))
    tiny.module.order = [0, 7]
    with pytest.raises(IndexError):
        next(calibration.block_outputs(tiny.blocks, tiny.forward, tiny.batches, tiny.kept))
    assert hooks(tiny.module) == 0


def test_block_outputs_need_eval_mode():
    """Outputs under dropout are no measure of blocks: training mode is refused."""
    tiny = Tiny()
    tiny.blocks[2].train()
    with pytest.raises(AssertionError, match="eval mode"):
        next(calibration.block_outputs(tiny.blocks, tiny.forward, tiny.batches, tiny.kept))


def test_wanda_keeps_outputs_better_than_magnitude():
    """On a net trained on features of unequal scale, at 0.5 the layers' outputs change less than by magnitude, by the
    row or by the layer."""
    tiny = Tiny()
    generator = torch.Generator().manual_seed(1)
    for parameter in tiny.module.parameters():
        parameter.data.normal_(0, 0.04, generator=generator)
    for child in tiny.module.modules():
        if isinstance(child, nn.LayerNorm):
            child.weight.data = torch.logspace(-0.5, 0.5, 32)[torch.randperm(32, generator=generator)]
            child.weight.requires_grad_(False)
    optimizer = torch.optim.Adam([p for p in tiny.module.parameters() if p.requires_grad], lr=2e-3)
    losses = []
    for _ in range(150):
        tokens = torch.randint(2, 50, (32, 8), generator=generator)
        labels = ((tokens > 25).sum(1) > 4).long()
        loss = nn.functional.cross_entropy(tiny.forward(tokens), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert sum(losses[-10:]) < 0.7 * sum(losses[:10])
    tiny.batches = [torch.randint(2, 50, (32, 8), generator=generator) for _ in range(4)]
    names = tuple(name for group in tiny.names for name in group)
    weights = {name: tiny.module.state_dict()[name] for name in names}
    inputs = inputs_of(tiny, names)

    def error(after: dict[str, Tensor]) -> float:
        return sum(float((inputs[n] @ (w * ~after[n]).double().T).norm()) for n, w in weights.items())

    by_wanda = tiny.wanda(0.5, mode="one_pass")
    whole = {name: tiny.masks[name] for name in names}
    by_layer = magnitude.prune(weights, whole, 0.5, rounding="nearest")
    by_row = {name: stated(w, torch.ones(w.shape[1]).double(), whole[name], 0.5) for name, w in weights.items()}
    assert error(by_wanda) < 0.8 * min(error(by_layer), error(by_row))
