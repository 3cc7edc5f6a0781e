"""Ten families of encoders from the command to the exported folder: every statement about zeros is a count of them."""

import json

import pytest
import torch
from families import FAMILIES
from safetensors.torch import load_file

from lt_ray.cli.main import main
from lt_ray.cycle.cycle import Cycle
from lt_ray.cycle.models import Encoder
from lt_ray.cycle.prunings import Magnitude, Similarity, Wanda
from lt_ray.cycle.tasks import Toy
from lt_ray.cycle.training import Training
from lt_ray.rounds import bases
from lt_ray.sweep.directory import SweepDirectory
from lt_ray.sweep.export import export

TASK = Toy(train=60, validation=20, test=20)
EMBEDDINGS = ("embed", "wte", "wpe")
MOST = Magnitude(fraction=0.5, parameters="weights", restart="final", epochs=1)


@pytest.mark.parametrize("family", FAMILIES)
def test_record_and_export_say_the_zeros_that_are_there(family, tmp_path):
    """Parameters and zeros of the record are those of the exported file, after blocks, rows and magnitudes."""
    torch.set_num_threads(1)
    source = tmp_path / "model"
    source.mkdir()
    bases.write_toy(source)
    rows_of_tokens = json.loads((source / "config.json").read_text())["vocab_size"]
    (source / "config.json").write_text(json.dumps(FAMILIES[family] | {"vocab_size": rows_of_tokens}))
    rows = () if family.startswith("deberta") else (Wanda(sparsity=0.5, calibration=32, epochs=0),)
    compared = Similarity(threshold=0.01, stride=2, calibration=32, calibration_batch=16)
    cycle = Cycle(
        task=TASK,
        model=Encoder(path=str(source), weights="random"),
        training=Training(epochs=1, batch_size=20),
        schedule=(compared, *rows, MOST),
    )
    words = ["--local", "--storage", str(tmp_path), "--tracking-uri", "none", "--keep", "all"]
    with pytest.raises(SystemExit) as ended:
        main(name="f", cycle=cycle, argv=words)
    assert ended.value.code == 0
    directory = SweepDirectory(tmp_path / "f")
    (recorded,) = directory.cycles()
    results = list(directory.results(recorded, {}))
    assert len(results) == 2 + len(cycle.schedule) - 1
    for row in results:
        out = tmp_path / str(row.round)
        export(directory, recorded.cycle.id, row.round, out, tmp_path / "cache" / "models")
        saved = load_file(out / "model.safetensors")
        assert sum(w.numel() for w in saved.values()) == row.parameters
        # An embedding's padding row and biases begin at 0 without being pruned; nothing here prunes them.
        matrices = [w for name, w in saved.items() if w.dim() > 1 and not any(word in name for word in EMBEDDINGS)]
        assert sum(int((w == 0).sum()) for w in matrices) == row.parameters - row.nonzero
    assert results[1].blocks == 2
    assert results[-1].nonzero < results[-1].parameters
