"""Export: what others load is the model that was measured."""

import json
import subprocess
import sys
from pathlib import Path

import feeding
import pytest
import torch

from lt_ray.cli.main import app, main
from lt_ray.cycle.cycle import Cycle
from lt_ray.cycle.models import Cnn, Encoder
from lt_ray.cycle.prunings import Magnitude, Similarity, Wanda
from lt_ray.cycle.results import RoundResult
from lt_ray.cycle.tasks import Toy
from lt_ray.cycle.training import Training
from lt_ray.sweep.directory import SweepDirectory
from lt_ray.sweep.export import load
from lt_ray.tasks import toy

TASK = Toy(train=400, validation=60, test=200)
TRAINING = Training(optimizer="adamw", lr=0.002, batch_size=10, epochs=2)
COMPARED = {"calibration": 64, "calibration_batch": 32}
ENCODER = Cycle(
    task=TASK,
    model=Encoder(path="toy"),
    training=TRAINING,
    schedule=(Similarity(threshold=0.5, stride=2, **COMPARED), Wanda(sparsity=0.5, calibration=32, epochs=1)),
)
CNN = Cycle(task=TASK, model=Cnn(vocabulary=300, embedding=8, filters=4), training=TRAINING, schedule=(Magnitude(),))

STRANGER = """
import json, sys, torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer
texts, labels = json.load(open(sys.argv[1]))
for folder in sys.argv[2:]:
    model, told = AutoModelForSequenceClassification.from_pretrained(folder, output_loading_info=True)
    assert not told["missing_keys"] and not told["unexpected_keys"], told
    tokenizer = AutoTokenizer.from_pretrained(folder)
    right = 0
    with torch.no_grad():
        for text, label in zip(texts, labels):
            right += int(model.eval()(**tokenizer(text, truncation=True, return_tensors="pt")).logits.argmax()) == label
    zeros = sum(int((p == 0).sum()) for n, p in model.named_parameters() if ".layer." in n and p.dim() == 2)
    print(json.dumps([right / len(labels), sum(p.numel() for p in model.parameters()), zeros,
                      model.config.num_hidden_layers, model.config.id2label]))
assert not any(name.startswith("lt_ray") for name in sys.modules)
"""


def sweep(storage: Path, name: str, cycle: Cycle) -> list[RoundResult]:
    """Run one cycle in this process, keeping all weights."""
    threads = torch.get_num_threads()
    try:
        with pytest.raises(SystemExit) as ended:
            main(
                name=name,
                cycle=cycle,
                argv=["--local", "--storage", str(storage), "--tracking-uri", "none", "--keep", "all"],
            )
    finally:
        torch.set_num_threads(threads)
    assert ended.value.code == 0
    directory = SweepDirectory(storage / name)
    (recorded,) = directory.cycles()
    return list(directory.results(recorded, {}))


@pytest.fixture(scope="module")
def storage(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("export")
    sweep(path, "encoder", ENCODER)
    sweep(path, "cnn", CNN)
    return path


def results(storage: Path, name: str) -> list[RoundResult]:
    directory = SweepDirectory(storage / name)
    (recorded,) = directory.cycles()
    return list(directory.results(recorded, {}))


def export(storage: Path, *words: str) -> int:
    with pytest.raises(SystemExit) as ended:
        app(["export", *words, "--storage", str(storage)])
    return int(ended.value.code or 0)


def test_a_stranger_measures_what_was_recorded(storage, tmp_path):
    """A fresh process without lt_ray loads each round's folder as it is: same test accuracy, blocks, parameters and
    zeros."""
    expected = results(storage, "encoder")
    folders = {round: tmp_path / f"model {round}" for round in (1, 2)}
    for round, folder in folders.items():
        assert export(storage, "encoder", expected[0].cycle, "--round", str(round), "--out", str(folder)) == 0
    corpus = toy.corpus(TASK)
    texts = tmp_path / "texts.json"
    texts.write_text(json.dumps([corpus.test.texts, corpus.test.labels.tolist()]))
    done = subprocess.run(
        [sys.executable, "-c", STRANGER, str(texts), *map(str, folders.values())],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for (round, folder), line in zip(folders.items(), done.stdout.splitlines(), strict=True):
        accuracy, parameters, zeros, blocks, names = json.loads(line)
        row = expected[round]
        assert accuracy == row.test_accuracy
        assert (parameters, blocks) == (row.parameters, row.blocks)
        assert zeros >= row.parameters - row.nonzero
        assert names == {"0": "negative", "1": "positive"}
        card = (folder / "README.md").read_text()
        assert f"| test accuracy | {row.test_accuracy:.4f} | {expected[0].test_accuracy:.4f} |" in card
        assert f"| parameters | {row.parameters:,} |" in card
        everything = [path.read_bytes() for path in folder.iterdir()]
        assert not any(str(storage).encode() in data for data in everything), "a path of this machine"


def test_the_example_prunes(storage):
    """The rounds above have fewer blocks, then zeros, and differ in accuracy or loss."""
    dense, shorter, sparse = results(storage, "encoder")
    assert shorter.blocks < dense.blocks == 6
    assert sparse.nonzero < sparse.parameters == shorter.parameters
    assert len({row.test_loss for row in (dense, shorter, sparse)}) == 3


def test_by_default_the_last_accepted_round(storage, tmp_path):
    """Without `--round` it is the last one that was not rejected; the beginning of an id is enough."""
    cycle = results(storage, "encoder")[0].cycle
    assert export(storage, "encoder", cycle[:4], "--out", str(tmp_path / "model")) == 0
    assert "Round 2 of cycle" in (tmp_path / "model" / "README.md").read_text()


def test_a_text_model_is_weights_and_fields(storage, tmp_path):
    """A CNN becomes safetensors and a config.json, and `load` gives the recorded accuracy."""
    row = results(storage, "cnn")[1]
    assert export(storage, "cnn", row.cycle, "--round", "1", "--out", str(tmp_path / "model")) == 0
    module, tree = load(tmp_path / "model")
    assert tree["classes"] == ["negative", "positive"]
    assert str(storage) not in (tmp_path / "model" / "config.json").read_text()
    from lt_ray.tasks import registry

    data, _ = registry.load(TASK, CNN.model.vocabulary)
    right = 0
    with torch.no_grad():
        for tokens, labels in feeding.measuring_batches(data.split("test"), 4096):
            right += int(((module(tokens).squeeze(1) >= 0) == labels.bool()).sum())
    assert right / len(data.split("test")) == row.test_accuracy


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["encoder", "nosuchcycle"], "is none of the sweep's"),
        (["nosuchsweep", "x"], "must name a sweep below"),
        (["encoder", "CYCLE", "--round", "9"], "must be a finished round"),
        (["encoder", "CYCLE", "--out", "FULL"], "must be a folder that is empty or not there"),
    ],
)
def test_bad_input_is_one_error(words, says, storage, tmp_path, capsys):
    """What cannot be exported is told with the rule and the value, exit code 2."""
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_text("mine")
    places = {"CYCLE": results(storage, "encoder")[0].cycle, "FULL": str(tmp_path / "full")}
    words = [places.get(word, word) for word in words]
    if words[0] == "encoder" and words[1] != "nosuchcycle" and "--out" not in words:
        words += ["--out", str(tmp_path / "model")]
    if "--out" in words and words[1] != "nosuchcycle" and len(words) == 4 and words[2] == "--out":
        words = [words[0], places["CYCLE"], *words[2:]]
    assert export(storage, *words) == 2
    assert says in " ".join(capsys.readouterr().err.split())
    assert (tmp_path / "full" / "file").read_text() == "mine"


def test_dropped_weights_are_told(storage, tmp_path, capsys):
    """A round whose weights were dropped is refused, with the rounds that have theirs."""
    cycle = results(storage, "encoder")[0]
    store = SweepDirectory(storage / "encoder").store
    weights = store.weights(cycle.key)
    store.drop_weights(cycle.key)
    try:
        assert export(storage, "encoder", cycle.cycle, "--round", "0", "--out", str(tmp_path / "model")) == 2
    finally:
        store.put_weights_back(cycle.key, weights)
    assert "export one of the rounds 1, 2" in " ".join(capsys.readouterr().err.split())
