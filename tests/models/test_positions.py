"""What a model can read, what fills its batches, what its configuration says of blocks and of dropout."""

import json
from pathlib import Path

import pytest
import torch
from families import BERT_LIKE, FAMILIES
from modelling import a_model
from safetensors.torch import save_file
from torch import nn
from transformers import AutoModelForSequenceClassification

from lt_ray.cycle.cycle import Cycle
from lt_ray.cycle.models import Encoder
from lt_ray.cycle.tasks import Folder
from lt_ray.errors import DataError, ModelError
from lt_ray.models import encoder
from lt_ray.models.model import model_of
from lt_ray.models.pretrained import Base
from lt_ray.rounds import inputs as datasets
from lt_ray.tasks import toy
from lt_ray.training.randomness import generators

OPT = {"model_type": "opt", "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "ffn_dim": 48,
       "vocab_size": 60, "word_embed_proj_dim": 32, "max_position_embeddings": 40}  # fmt: skip
XLNET = {"model_type": "xlnet", "d_model": 32, "n_layer": 3, "n_head": 2, "d_inner": 48, "vocab_size": 60}
NYSTROMFORMER = {"model_type": "nystromformer", **BERT_LIKE, "num_landmarks": 4, "segment_means_seq_len": 40}
TABLES = {
    "bert": (FAMILIES["bert"], 40), "roberta": (FAMILIES["roberta"], 38), "xlm-roberta": (FAMILIES["xlm-roberta"], 38),
    "distilbert": (FAMILIES["distilbert"], 40), "electra": (FAMILIES["electra"], 40), "gpt2": (FAMILIES["gpt2"], 40),
    "roberta with padding 5": (FAMILIES["roberta"] | {"pad_token_id": 5}, 34), "opt": (OPT, 40),
    "deberta": (FAMILIES["deberta"], 40),
}  # fmt: skip
OTHERS = {
    "llama": (FAMILIES["llama"], 40), "modernbert": (FAMILIES["modernbert"], 40), "xlnet": (XLNET, None),
    "deberta-v2 without a table": (FAMILIES["deberta-v2"] | {"position_biased_input": False}, 40),
    "nystromformer": (NYSTROMFORMER, 40),
}  # fmt: skip


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


def passes(tree: dict, tokens: int) -> None:
    module = encoder.build(encoder.configuration(tree, 3, None)).eval()
    with torch.no_grad():
        module(input_ids=torch.full((1, tokens), 7))


@pytest.mark.parametrize("family", TABLES | OTHERS)
def test_what_is_readable_can_be_read_and_no_more(family):
    """A document of as many tokens passes; one token more leaves the table of positions, where there is one."""
    tree, expected = (TABLES | OTHERS)[family]
    assert encoder.readable(tree) == expected
    passes(tree, expected or 600)
    if family in TABLES:
        with pytest.raises((IndexError, RuntimeError)):
            passes(tree, expected + 1)


def a_base(folder: Path, tree: dict, limit: int | None) -> Base:
    """A model's folder with the built-in corpus's tokenizer, which keeps `limit` tokens."""
    folder.mkdir()
    toy.write_tokenizer(folder)
    told = json.loads((folder / "tokenizer_config.json").read_text())
    told = {key: value for key, value in told.items() if key != "model_max_length"}
    (folder / "tokenizer_config.json").write_text(
        json.dumps(told if limit is None else told | {"model_max_length": limit})
    )
    rows = len(json.loads((folder / "tokenizer.json").read_text())["model"]["vocab"])
    (folder / "config.json").write_text(json.dumps(tree | {"vocab_size": rows}))
    (folder / "digest.json").write_text(json.dumps({"digest": "0" * 64}))
    save_file({}, folder / "weights.safetensors")
    return Base(folder)


def prepared(tmp_path: Path, base: Base, **task):
    folder = tmp_path / "texts"
    folder.mkdir()
    words = ["good", "bad"]
    rows = [f"{' '.join([words[i % 2]] * (1000 if i < 8 else 3))},{words[i % 2]}" for i in range(40)]
    (folder / "train.csv").write_text("\n".join(["text,label", *rows]) + "\n")
    model = Encoder(path="small", digest="0" * 64)
    cycle = Cycle(task=Folder(**task), model=model)
    return cycle, datasets.prepare(cycle, base.directory, folder, tmp_path / "cache", base)


@pytest.mark.parametrize("limit", [30, 512, None])
@pytest.mark.parametrize("family", ["bert", "roberta", "llama", "xlnet"])
def test_documents_are_cut_at_what_the_model_reads(family, limit, tmp_path):
    """Whatever the tokenizer says, the longest document is one that the model can read, and it does."""
    tree, most = (TABLES | OTHERS)[family]
    base = a_base(tmp_path / "model", tree, limit)
    cycle, prepared_data = prepared(tmp_path, base)
    data, longest = prepared_data.task, min(limit or 512, most or 512)
    assert data.split("train").lengths.max() == longest
    assert datasets.inputs(cycle, prepared_data)["longest"] == longest
    model = model_of(cycle.model, data.facts, base)
    live = model.live(model.drawn(generators(0, "init")), model.blocks, torch.device("cpu"))
    first = int(data.split("train").lengths.argmax())
    begin = int(data.split("train").offsets[first])
    document = torch.from_numpy(data.split("train").tokens[begin : begin + longest].astype("int64"))[None]
    with torch.no_grad():
        assert bool(model.forward(live.eval(), document).isfinite().all())


def test_more_tokens_than_the_model_reads_are_refused(tmp_path):
    """`task.max_tokens` above what the model or its tokenizer takes is an error with the most; less counts."""
    base = a_base(tmp_path / "model", FAMILIES["roberta"], 512)
    with pytest.raises(DataError, match=r"`task.max_tokens` must be .*it can read 38 tokens.*got 39.*max_tokens=38"):
        prepared(tmp_path, base, max_tokens=39)
    (tmp_path / "other").mkdir()
    assert prepared(tmp_path / "other", base, max_tokens=20)[1].task.split("train").lengths.max() == 20


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_a_decoder_without_padding_gets_the_datas(family, tmp_path):
    """A padded batch is classified as each document alone, by the live model and by the exported one."""
    tree = {key: value for key, value in FAMILIES[family].items() if key != "pad_token_id"}
    base = a_base(tmp_path / "model", tree, None)
    model = a_model(Encoder(path="small", digest="0" * 64), 20, 3, 7, base)
    weights = model.drawn(generators(0, "init"))
    live = model.live(weights, model.blocks, torch.device("cpu")).eval()
    batch = torch.tensor([[2, 3, 4, 5], [6, 3, 7, 7]])
    model.export(weights, model.blocks, {"classes": ["a", "b", "c"], "longest": 40}, tmp_path / "out")
    exported = AutoModelForSequenceClassification.from_pretrained(tmp_path / "out").eval()
    assert exported.config.pad_token_id == 7
    with torch.no_grad():
        together = model.forward(live, batch)
        alone = torch.cat([model.forward(live, batch[:1]), model.forward(live, batch[1:, :2])])
        assert torch.allclose(together, alone, atol=1e-6)
        assert not torch.allclose(together[0], together[1], atol=1e-4)
        assert torch.equal(exported(input_ids=batch, attention_mask=(batch != 7).long()).logits, together)


LONGFORMER = {"model_type": "longformer", **BERT_LIKE, "attention_window": [4, 8]}
SHORT = {"num_hidden_layers": 2}
CUTS = {
    "deberta": (FAMILIES["deberta"] | SHORT, "pos_att_type", ["c2p", "p2c"]),
    "deberta-v2": (FAMILIES["deberta-v2"] | SHORT, "pos_att_type", ["c2p", "p2c"]),
    "llama": (FAMILIES["llama"] | SHORT | {"eos_token_id": [3, 4]}, "eos_token_id", [3, 4]),
    "modernbert": (FAMILIES["modernbert"] | SHORT, "layer_types", ["sliding_attention"]),
    "longformer": (LONGFORMER | SHORT, "attention_window", [8]),
    "gpt_neo": ({"model_type": "gpt_neo", "hidden_size": 32, "num_layers": 2, "num_heads": 2, "vocab_size": 60,
                 "max_position_embeddings": 40, "attention_types": [[["global", "local"], 1]], "pad_token_id": 0},
                "attention_layers", ["local"]),
}  # fmt: skip


@pytest.mark.parametrize("family", CUTS)
def test_only_lists_with_a_value_for_each_block_are_cut(family, tmp_path):
    """Of two blocks the second is kept: what is said of blocks is cut, a list of two of another kind is not."""
    tree, name, expected = CUTS[family]
    config = encoder.configuration(tree, 3, None, [1])
    assert getattr(config, name) == expected
    encoder.build(config).save_pretrained(tmp_path)
    loaded = AutoModelForSequenceClassification.from_pretrained(tmp_path)
    assert getattr(loaded.config, name) == expected
    assert len(loaded.get_submodule(encoder.stack_name(loaded))) == 1


@pytest.mark.parametrize("family", [*FAMILIES, "opt", "xlnet"])
def test_dropout_reaches_every_place(family):
    """Each dropout layer of the model, the head's and the pooler's too, drops the share that was asked for."""
    tree = FAMILIES.get(family) or {"opt": OPT, "xlnet": XLNET}[family]
    module = encoder.build(encoder.configuration(tree | {"pooler_dropout": 0.01}, 3, 0.3))
    shares = {name: child.p for name, child in module.named_modules() if isinstance(child, nn.Dropout)}
    assert set(shares.values()) <= {0.3}, shares
    called = {f"{n}.{own}": v for n, m in module.named_modules() for own, v in vars(m).items()
              if own in ("dropout", "attention_dropout", "attn_dropout") and isinstance(v, float)}  # fmt: skip
    assert set(called.values()) <= {0.3}, called
    assert shares or called


def test_a_dropout_that_no_field_reaches_is_refused(tmp_path, monkeypatch):
    """A model that drops a share of its own is refused by that layer's name, and not where no dropout is asked for."""
    build = encoder.build

    def stubborn(config):
        module = build(config)
        module.classifier = nn.Sequential(nn.Dropout(0.25), module.classifier)
        return module

    monkeypatch.setattr(encoder, "build", stubborn)
    base = a_base(tmp_path / "model", FAMILIES["bert"], None)
    assert a_model(Encoder(path="small"), 20, 3, base=base).dense
    with pytest.raises(ModelError, match=r"classifier\.0 drops 0\.25 whatever .* not 0\.1"):
        assert a_model(Encoder(path="small", dropout=0.1), 20, 3, base=base).dense


def test_a_configuration_that_makes_no_model_is_a_sentence():
    """What transformers refuses is told with its reason."""
    with pytest.raises(ModelError, match=r"diffllama it cannot \(ValueError: DiffLlama does not support"):
        encoder.build(encoder.configuration(FAMILIES["llama"] | {"model_type": "diffllama"}, 3, 0.1))


def test_a_padding_beyond_the_embedding_is_told(tmp_path):
    """A tokenizer with more tokens than the embedding has rows is refused before a model is made."""
    tree = {key: value for key, value in FAMILIES["llama"].items() if key != "pad_token_id"}
    base = a_base(tmp_path / "model", tree, None)
    rows = base.config["vocab_size"]
    with pytest.raises(ModelError, match="must have no more tokens than its embedding has rows"):
        assert a_model(Encoder(path="small"), rows + 1, 3, rows, base).dense
