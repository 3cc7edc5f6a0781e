"""Ten families of encoders: what is pruned is what is said, or a sentence before anything is trained."""

import json
from functools import partial
from pathlib import Path

import pytest
import torch
from families import BERT_LIKE, FAMILIES
from modelling import an_encoder
from safetensors.torch import load_file
from torch import nn
from transformers.pytorch_utils import Conv1D

from lt_ray.cycle.cycle import Cycle
from lt_ray.cycle.models import Encoder
from lt_ray.cycle.prunings import Magnitude, Similarity, Wanda
from lt_ray.cycle.tasks import Toy
from lt_ray.cycle.training import Training
from lt_ray.errors import ModelError
from lt_ray.models import maps, pretrained, survey
from lt_ray.models.model import Model
from lt_ray.pruning.masks import masked
from lt_ray.rounds import calibration
from lt_ray.sweep.plan import Grounds, Planner
from lt_ray.sweep.sweep import Sweep
from lt_ray.training.randomness import generators

RELATIVE = ("deberta", "deberta-v2")
"""Families of which linear maps see positions, not the documents' tokens"""
PRUNINGS = {
    "rows": Wanda(sparsity=0.5),
    "one pass": Wanda(sparsity=0.3, mode="one_pass"),
    "2:4": Wanda(sparsity=0.5, pattern="2:4"),
    "weights": Magnitude(fraction=0.5, parameters="weights", rounding="nearest"),
    "all": Magnitude(fraction=0.5, rounding="nearest", scope="global"),
}
SIMILARITY = Similarity(threshold=0.9)


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


def of_family(tree: dict, folder: Path) -> Model:
    return an_encoder(tree, folder, padding=tree.get("pad_token_id", 0))


def planned(model: Model, *schedule):
    cycle = Cycle(task=Toy(), model=model.settings, training=Training(epochs=1), schedule=schedule)
    sweep = Sweep(name="families", cycle=cycle)
    (one,) = Planner(sweep, Grounds(model.facts, "digest", base=model.base)).plan().cycles
    return one


def drawn(model: Model) -> dict[str, torch.Tensor]:
    return model.drawn(generators(0, "init"))


def batches(padding: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    found = []
    for rows, longest in ((3, 7), (2, 5)):
        tokens = torch.randint(4, 60, (rows, longest), generator=generator)
        tokens[1:, longest - 2 :] = padding
        found.append(tokens)
    return found


def plain_sums(block: nn.Module, forward, padding: int) -> dict[str, torch.Tensor]:
    """Σ x² of each linear map's inputs in a block, token by token, padding left out."""
    layers = {name: layer for name, layer in block.named_modules() if isinstance(layer, (nn.Linear, Conv1D))}
    sums: dict[str, torch.Tensor] = {}
    for tokens in batches(padding):
        seen: dict[str, torch.Tensor] = {}
        hooks = [
            layer.register_forward_pre_hook(lambda _layer, inputs, name=name, seen=seen: seen.update({name: inputs[0]}))
            for name, layer in layers.items()
        ]
        with torch.no_grad():
            forward(tokens)
        for hook in hooks:
            hook.remove()
        for name, inputs in seen.items():
            for row, column in (tokens != padding).nonzero().tolist():
                sums[name] = sums.get(name, 0) + inputs[row, column].double() ** 2
    return sums


def plain_masks(names: list[str], module: nn.Module, forward, padding: int, fraction: float) -> dict[str, torch.Tensor]:
    """Wanda as the paper tells it, in loops; prunes the module, so that each block is measured after those before."""
    chosen = {}
    for block_name in names:
        block = module.get_submodule(block_name)
        for name, total in plain_sums(block, forward, padding).items():
            layer = block.get_submodule(name)
            turned = isinstance(layer, Conv1D)
            matrix = layer.weight.detach().T if turned else layer.weight.detach()
            mask = torch.ones_like(matrix, dtype=torch.bool)
            for row, scores in enumerate((matrix.double().abs() * total.sqrt()).tolist()):
                order = sorted(range(len(scores)), key=lambda column, scores=scores: (scores[column], column))
                mask[row, order[: int(len(scores) * fraction)]] = False
            mask = mask.T if turned else mask
            chosen[f"{block_name}.{name}.weight"] = mask
            layer.weight.data = layer.weight.detach() * mask
    return chosen


@pytest.mark.parametrize("family", [name for name in FAMILIES if name not in RELATIVE])
def test_wanda_is_the_papers_rule_on_every_family(family, tmp_path):
    """Sequential masks are those of a loop that passes the whole model anew for each block; rows are outputs."""
    model = of_family(FAMILIES[family], tmp_path)
    module = model.live(drawn(model), model.blocks, torch.device("cpu")).eval()
    forward, masks = partial(model.forward, module), model.initial_masks()
    found = calibration.sequential_masks(
        module, model.blocks_of(module), forward, batches(model.facts.padding), model.kept, masks, 0.5
    )
    names = [f"{model.stacks[0].name}.{place}" for place in range(3)]
    expected = plain_masks(names, module, forward, model.facts.padding, 0.5)
    assert expected.keys() == set(model.linear_names)
    assert len(expected) >= 3 * 4
    for name, mask in expected.items():
        assert torch.equal(found[name], mask), name
    assert all(bool(found[name].all()) for name in found.keys() - expected.keys())


def pruned_masks(model: Model, module: nn.Module, pruning) -> dict[str, torch.Tensor]:
    from lt_ray.pruning import magnitude
    from lt_ray.rounds.methods.method import method_of

    masks = model.initial_masks()
    if isinstance(pruning, Magnitude):
        return magnitude.prune(
            drawn(model), masks, pruning.fraction, scope=pruning.scope, rounding=pruning.rounding,
            names=method_of(pruning).touches(model),
        )  # fmt: skip
    forward, sparsity = partial(model.forward, module), pruning.kept_of or pruning.sparsity
    given = (module, model.blocks_of(module), forward, batches(model.facts.padding), model.kept)
    if pruning.mode == "sequential":
        return calibration.sequential_masks(*given, masks, sparsity)
    return calibration.one_pass_masks(module, calibration.input_norms(*given), masks, sparsity)


@pytest.mark.parametrize("name", PRUNINGS)
@pytest.mark.parametrize("family", FAMILIES)
def test_what_the_plan_says_of_zeros_is_a_count_of_zeros(family, name, tmp_path):
    """The plan's remaining weights, the masks' and those that `save_pretrained` wrote and are not 0 are one number.

    Where the plan cannot be kept, it is refused with the layer's name.
    """
    model, pruning = of_family(FAMILIES[family], tmp_path), PRUNINGS[name]
    if isinstance(pruning, Wanda) and family in RELATIVE:
        with pytest.raises(ModelError, match=r"`wanda` needs linear maps that see each token .*\.0\.attention\.self"):
            planned(model, pruning)
        return
    plan = planned(model, pruning)
    weights = {n: w + 0.01 * (w == 0) * torch.rand(w.shape) for n, w in drawn(model).items()}
    module = model.live(weights, model.blocks, torch.device("cpu")).eval()
    masks = pruned_masks(model, module, pruning)
    model.live(masked(weights, masks), model.blocks, torch.device("cpu")).save_pretrained(tmp_path / "saved")
    saved = load_file(tmp_path / "saved" / "model.safetensors")
    written = sum(int((saved[n] != 0).sum()) for n in plan.prunable)
    assert sum(int(masks[n].sum()) for n in plan.prunable) == written
    total = sum(saved[n].numel() for n in plan.prunable)
    assert written < total
    if name in ("rows", "2:4", "one pass", "weights"):
        assert plan.forecast[1].remaining == written
    everything = sum(int((w != 0).sum()) for w in saved.values())
    assert sum(int(mask.sum()) for mask in masks.values()) == everything
    if plan.forecast[1].nonzero is not None:
        assert plan.forecast[1].nonzero == everything
    if name == "2:4":
        for n in plan.prunable:
            layer = model.dense.get_submodule(n.removesuffix(".weight"))
            groups = maps.rows(layer, saved[n]).reshape(-1, 4)
            assert bool(((groups != 0).sum(1) == 2).all())
    if name == "weights":
        assert set(model.linear_names) <= set(plan.prunable)


@pytest.mark.parametrize("family", FAMILIES)
def test_blocks_of_every_family_return_documents_by_tokens(family, tmp_path):
    """Similarity can be planned for all ten: the outputs that are compared have (documents, tokens, features)."""
    model = of_family(FAMILIES[family], tmp_path)
    planned(model, SIMILARITY)
    found = survey.survey(model)
    assert found.called == [0, 1, 2]
    assert set(found.outputs.values()) == {(survey.DOCUMENTS, survey.TOKENS, 32)}


XLNET = {"model_type": "xlnet", "d_model": 32, "n_layer": 3, "n_head": 2, "d_inner": 48, "vocab_size": 60}
CANINE = {"model_type": "canine", **BERT_LIKE}
LONGFORMER = {"model_type": "longformer", **BERT_LIKE, "attention_window": [4, 4, 4]}
SQUEEZEBERT = {"model_type": "squeezebert", **BERT_LIKE, "embedding_size": 32}
MIXTRAL = {**FAMILIES["llama"], "model_type": "mixtral", "num_local_experts": 4}
WEIGHTS = PRUNINGS["weights"]


@pytest.mark.parametrize(
    ("tree", "pruning", "says"),
    [
        (XLNET, SIMILARITY, r"transformer\.layer\.0 returns \(5, 3, 32\)"),
        (XLNET, Wanda(), r"transformer\.layer\.0\.rel_attn \(XLNetRelativeAttention\) is none"),
        (XLNET, WEIGHTS, r"\(XLNetModel\) is none: take `all`"),
        (CANINE, SIMILARITY, r"encoder\.layer\.0 returns \(3, 1, 32\)"),
        (CANINE, Wanda(), r"encoder\.layer\.0 returns \(3, 1, 32\)"),
        (LONGFORMER, Wanda(), r"encoder\.layer\.0 returns \(3, 8, 32\)"),
        (SQUEEZEBERT, SIMILARITY, r"those of transformer\.encoder\.layers ran as none"),
        (SQUEEZEBERT, Wanda(), r"\(MatMulWrapper|Conv1d\) is none"),
        (MIXTRAL, Wanda(), r"layers\.0\.mlp\.gate \(MixtralTopKRouter\) is none"),
        (MIXTRAL, WEIGHTS, r"layers\.0\.mlp\.gate \(MixtralTopKRouter\) is none"),
        (FAMILIES["bert"] | {"is_decoder": True, "add_cross_attention": True}, Wanda(),
         r"crossattention\.self\.query sees nothing"),
    ],
)  # fmt: skip
def test_a_model_that_a_pruning_misreads_is_refused_by_the_layers_name(tree, pruning, says, tmp_path):
    """Axes in another order, maps that tokens do not reach, weights of no known kind: a sentence in the plan."""
    with pytest.raises(ModelError, match=says):
        planned(of_family(tree, tmp_path), pruning)


def test_layers_that_keep_their_weights_in_another_way_are_unknown():
    """A subclass of a linear layer, a layer with packed weights and attention's own matrices are no known maps."""

    class Packed(nn.Linear):
        pass

    class Buffers(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("qweight", torch.zeros(4, 4, dtype=torch.int32))
            self.register_buffer("again", torch.zeros(4, 4), persistent=False)

    block = nn.ModuleDict({
        "packed": Packed(4, 4), "quantised": Buffers(), "attention": nn.MultiheadAttention(4, 2),
        "norm": nn.LayerNorm(4), "plain": nn.Linear(4, 4), "turned": Conv1D(4, 4), "embedding": nn.Embedding(4, 4),
    })  # fmt: skip
    found = dict(maps.unknown(nn.ModuleDict({"block": block, "other": Packed(4, 4)}), "block"))
    assert found == {
        "block.packed": "Packed", "block.quantised": "Buffers", "block.attention": "MultiheadAttention",
        "block.attention.out_proj": "NonDynamicallyQuantizableLinear",
    }  # fmt: skip


def test_quantised_weights_are_refused_before_they_are_loaded(tmp_path):
    """A configuration that tells of quantisation names weights that no pruning here can read."""
    (tmp_path / "config.json").write_text(
        json.dumps(FAMILIES["llama"] | {"quantization_config": {"quant_method": "gptq"}})
    )
    with pytest.raises(ModelError, match="must hold plain weights, but its `quantization_config` says gptq"):
        pretrained.keep(tmp_path, Encoder(path="x"), tmp_path / "cache")


def test_a_survey_leaves_the_random_numbers_and_the_model_alone(tmp_path):
    """Planning draws nothing and puts no weights into the model of shapes."""
    model = of_family(FAMILIES["gpt2"], tmp_path)
    before = torch.random.get_rng_state()
    survey.survey(model)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert {p.device.type for p in model.dense.parameters()} == {"meta"}
