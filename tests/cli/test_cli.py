"""The command line: bad input is one clear error, exit code 2, and nothing is started or written."""

import contextlib
import dataclasses
import inspect
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import typer
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from lt_ray.cli.main import app, main
from lt_ray.cli.options import Options, Script, command
from lt_ray.cycle.cycle import Cycle
from lt_ray.cycle.editing import keys
from lt_ray.cycle.models import Cnn, Encoder
from lt_ray.cycle.prunings import Magnitude, Similarity
from lt_ray.cycle.tasks import Emotion, Toy
from lt_ray.cycle.training import Training
from lt_ray.rounds import bases
from lt_ray.sweep.directory import SweepDirectory

ROOT = Path(__file__).parents[2]
TINY = Cycle(
    task=Toy(train=60, validation=20, test=20),
    model=Cnn(vocabulary=100, embedding=3, filters=2, widths=(2,)),
    training=Training(epochs=1, batch_size=30),
    schedule=(Magnitude(),),
)
BLOCKS = Cycle(task=Emotion(max_tokens=32), model=Encoder(), schedule=(Similarity(),))
SPACE = "magnitude.restart: {grid: [rewind, random]}\n"


@pytest.fixture
def sweep(tmp_path, capsys, monkeypatch):
    """Run a tiny sweep's command line: words → (exit code, what it printed, its errors as one line)."""
    (tmp_path / "space.yaml").write_text(SPACE)

    def run(*words: str):
        words = ("--storage", str(tmp_path / "runs"), *words)
        monkeypatch.setattr(sys, "argv", ["sweeps/tiny.py", *words])
        with pytest.raises(SystemExit) as ended:
            main(name="tiny", cycle=TINY, space=tmp_path / "space.yaml", argv=words)
        printed = capsys.readouterr()
        return ended.value.code, printed.out, " ".join(printed.err.split())

    return run


def folder(tmp_path: Path, frame: pd.DataFrame, name: str = "train.csv") -> str:
    directory = tmp_path / "mine"
    directory.mkdir(exist_ok=True)
    frame.to_csv(directory / name, index=False)
    return str(directory)


BAD = {
    "storage is cache": (["--name", "cache"], "`--name` must not be what the storage folder holds itself"),
    "storage is database": (["--name", "mlflow.db"], "`--name` must not be what the storage folder holds itself"),
    "storage is artifacts": (["--name", "MLartifacts"], "`--name` must not be what the storage folder holds itself"),
    "storage is report": (["--name", "report"], "`--name` must not be what the storage folder holds itself"),
    "long name": (["--name", "n" * 235], "`--name` must have at most 234 characters"),
    "1.5 GPUs": (["--gpus-per-trial", "1.5", "--plan"], "`--gpus-per-trial` above 1 must be whole"),
    "almost no GPU": (["--gpus-per-trial", "0.00001", "--plan"], "`--gpus-per-trial` must be 0 or at least 0.0001"),
    "no number of GPUs": (["--gpus-per-trial", "inf", "--plan"], "`--gpus-per-trial` must be a finite number"),
    "bucket": (["--storage", "s3://bucket/runs"], "`--storage` must be a folder that every node sees as one"),
    "other bucket": (["--data-dir", "gs://bucket/data"], "mount it, and name the folder"),
    "file address": (["--storage", "file:///tmp/runs"], "write /tmp/runs"),
    "odd storage": (["--storage", "runs?a"], "`--storage` must have no # % ? in its whole path"),
    "odder storage": (["--storage", "runs#a"], "`--storage` must have no # % ? in its whole path"),
    "oddest storage": (["--storage", "runs%20a"], "`--storage` must have no # % ? in its whole path"),
    "odd database": (["--tracking-uri", "sqlite:///a%20b.db"], "an SQLite file must have no # % ? in its whole path"),
    "unknown field": (["--set", "training.learnin=1"], "`training.learnin` is not a field of a cycle."),
    "last part": (["--set", "lr=1"], "Did you mean `training.lr`?"),
    "no host": (["--address", "127.0.0.1:9"], "`--address 127.0.0.1:9`: no Ray cluster answers there"),
    "near field": (["--set", "training.epoch=1"], "Did you mean `training.epochs`?"),
    "no value": (["--set", "training.lr"], "`--set` needs KEY=VALUE, but got 'training.lr'"),
    "fraction of 0": (["--set", "magnitude.fraction=0"], "`magnitude.fraction` must be greater than 0, but got 0"),
    "fraction of 1.2": (["--set", "magnitude.fraction=1.2"], "`magnitude.fraction` must be less than 1, but got 1.2"),
    "late rewind": (["--set", "magnitude.rewind_epoch=2"], "(rewind_epoch=2, epochs=1)"),
    "unknown task": (["--task", "imbd"], "Did you mean `imdb`?"),
    "unknown model": (["--model", "lstmm"], "Did you mean `lstm`?"),
    "no such folder": (["--model", "./no/such/folder"], "but there is no such folder"),
    "model out of reach": (["--model", "no-one/no-such-model"], "or an encoder within reach"),
    "a text model without weights": (["--from-config"], "`--from-config` draws an encoder's weights"),
    "blocks of a text model": (
        ["--set", "schedule=similarity"],
        "`similarity` needs a model with blocks, but model cnn has none: name one that has them (",
    ),
    "unknown pruning": (["--set", "schedule=magnitud*3"], "Did you mean `magnitude`?"),
    "idle pruning": (["--set", "wanda.sparsity=0.3"], "changes nothing, since the schedule has no wanda pruning"),
    "negative rounds": (["--rounds", "-1"], "`rounds` must be a whole number from 0 to 1000, but got -1"),
    "another task's field": (["--set", "task.sizes=[1,2,3]"], "`task.sizes` is not a field of task toy"),
    "unknown parameter": (["--set", "magnitude.exclude=[embeding.weight]"], "Did you mean `embedding.weight`?"),
    "nothing to prune": (["--set", "magnitude.exclude=['*']"], "must leave something to prune"),
    "another model's field": (["--model", "lstm", "--set", "model.filters=3"], "is not a field of model lstm"),
    "tickets of no task": (["--set", "tickets=source"], "needs a source task, but got none: give `source.name`"),
    "tickets of the same texts": (
        [
            *("--set", "source.name=toy", "--set", "tickets=source", "--set", "source.train=60"),
            *("--set", "source.validation=20", "--set", "source.test=20"),
        ],
        "`source` must be another task than `task`",
    ),
    "a field of no source": (["--set", "source.data_seed=1"], "has no meaning without a source task"),
    "two tasks": (["--toy", "--task", "imdb"], "leave one of them out"),
    "no folder": (["--task", "folder"], "must have a data directory"),
    "missing folder": (["--task", "folder", "--data-dir", "none"], "none"),
    "no hub": (["--task", "imdb", "--data-dir", "none"], "a data directory must exist"),
    "bad name": (["--name", "a/b"], "`--name` must begin with a letter or digit"),
    "no space": (["--space", "none.yaml"], "none.yaml: the search space cannot be read"),
    "no GPU": (["--gpus-per-trial", "99"], "`--gpus-per-trial <= 0` must hold, since this machine has 0"),
    "too many CPUs": (["--cpus-per-trial", "999"], "must hold, since this machine has"),
    "no cluster": (["--address", "auto"], "`--address auto` needs a running Ray cluster"),
    "Ray client": (["--address", "ray://127.0.0.1:10001"], "Run the command on a node of the cluster"),
    "unwritable storage": (["--storage", "/proc/none"], "`--storage` must be a path that can be written"),
    "storage is a file": (["--storage", str(ROOT / "Makefile")], "`--storage` must be a path that can be written"),
    "searched data": (["--space", "task.yaml"], "`task.train` cannot be searched within one sweep"),
    "searched positions": (
        ["--model", "transformer", "--space", "positions.yaml"],
        "`model.positions` cannot be searched",
    ),
    "models that read unequally": (["--space", "names.yaml"], "`model.name` cannot be searched within one sweep"),
    "odd heads": (["--model", "transformer", "--set", "model.heads=7"], "must be a multiple of `model.heads`"),
    "all points equal": (["--set", "magnitude.restart=final", "--space", "rewind.yaml"], "are all the same cycle"),
    "seeds": (["--seeds", "0"], "'--seeds': Input should be greater than or equal to 1"),
    "samples": (["--samples", "x"], "'--samples': Input should be a valid integer"),
    "tolerance": (["--tolerance", "1"], "`--tolerance` must be less than 1, since accuracy is in [0, 1], but got 1"),
    "tolerance of percent": (["--tolerance", "5"], "in [0, 1], but got 5: say 0.05 for 5 %"),
    "negative tolerance": (["--tolerance", "-0.1"], "`--tolerance` must be greater than or equal to 0, but got -0.1"),
    "no tolerance": (["--tolerance", "nan"], "`--tolerance` must be a finite number, but got nan"),
    "unknown option": (["--round", "1"], "No such option"),
    "empty space": (["--space", "empty.yaml"], "empty.yaml: a search space maps cycle fields to distributions"),
    "malformed space": (["--space", "malformed.yaml"], "malformed.yaml: not YAML: line 1, column 9: expected"),
    "unknown key": (["--space", "unknown.yaml"], "unknown.yaml: `training.learning` is not a field of a cycle"),
    "empty distribution": (["--space", "nothing.yaml"], "needs a list with at least one value"),
    "low > high": (["--space", "high.yaml"], "`low < high` must hold, but got (low=0.2, high=0.1)"),
    "log of 0": (["--space", "log.yaml"], "`low > 0` must hold for log_uniform, but got (low=0)"),
    "idle key": (["--space", "idle.yaml"], "`training.momentum` changes nothing here"),
    "grid of a range": (["--space", "range.yaml", "--search", "grid"], "`--search grid` needs countable values"),
    "set twice": (["--set", "training.lr=1", "--set", "training.lr=2"], "may be given once, but is there twice"),
    "unknown search": (["--search", "optuma"], "'optuma' is not one of 'random', 'grid', 'optuna'"),
    "unknown objective": (["--objective", "val_acuracy"], "Did you mean `val_accuracy`?"),
    "same objective": (["--objective", "val_accuracy", "--objective", "val_accuracy"], "each may be given once"),
    "front with rules": (
        ["--search", "optuna", "--objective", "val_accuracy", "--objective", "winning_sparsity", "--max-drop", "0.1"],
        "several objectives cannot learn from cycles that were ended early",
    ),
    "late grace": (["--scheduler", "asha", "--asha-grace", "7"], "(grace=7, rounds=1)"),
    "delay of no search": (["--delay", "3"], "`--delay 3` changes nothing without `--search optuna`"),
    "grace of no asha": (["--asha-grace", "2"], "`--asha-grace 2` changes nothing without `--scheduler asha`"),
    "rounds of no drop": (["--drop-rounds", "2"], "`--drop-rounds 2` changes nothing without `--max-drop`"),
    "no rounds": (["--rounds", "0", "--space", "rewind.yaml"], "changes anything without a pruning (`--rounds 0`)"),
    "epochs and a half": (["--set", "training.epochs=2.5"], "`training.epochs` must be a valid integer, but got 2.5."),
    "max-drop of 0": (["--max-drop", "0"], "`--max-drop` must be greater than 0, but got 0"),
    "max-drop of percent": (["--max-drop", "2"], "`--max-drop` must be less than 1, since accuracy is in [0, 1]"),
    "nothing to ask": (["--search", "optuna", "--space", "fixed.yaml"], "needs a space with at least one searched key"),
    "tracking scheme": (["--tracking-uri", "foo://bar"], "foo://bar"),
    "tracking file": (["--tracking-uri", str(ROOT / "Makefile")], "Makefile"),
    "too many points": (["--search", "grid", "--space", "many.yaml"], "`points <= 10,000` must hold"),
    "plan of no plan": (["--json"], "`--json` prints the plan, but `--plan` is not there"),
    "GPU without Ray": (["--local", "--gpus-per-trial", "1"], "`--gpus-per-trial <= 0` must hold"),
}

SPACES = {
    "task.yaml": "task.train: {grid: [60, 70]}",
    "positions.yaml": "model.positions: {grid: [60, 70]}",
    "names.yaml": "model.name: {grid: [cnn, transformer]}",
    "rewind.yaml": "magnitude.rewind_epoch: {grid: [0, 1]}",
    "empty.yaml": "",
    "malformed.yaml": "a: [1, 2",
    "unknown.yaml": "training.learning: {grid: [1]}",
    "nothing.yaml": "training.lr: {grid: []}",
    "high.yaml": "training.lr: {uniform: [0.2, 0.1]}",
    "log.yaml": "training.lr: {log_uniform: [0, 0.1]}",
    "idle.yaml": "training.momentum: {uniform: [0.1, 0.9]}\ntraining.lr: {uniform: [0.1, 0.9]}",
    "range.yaml": "training.lr: {uniform: [0.1, 0.9]}",
    "fixed.yaml": "training.lr: 0.1",
    "many.yaml": "training.epochs: {integer: [1, 500]}\ntraining.batch_size: {integer: [1, 500]}",
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_error_and_nothing_is_written(name, sweep, tmp_path, monkeypatch):
    """Exit code 2, one message with the rule and the value, and no sweep, record or probe left behind."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    for file, text in SPACES.items():
        (tmp_path / file).write_text(text)
    words, says = BAD[name]
    if name == "no cluster" and _cluster_is_running():
        pytest.skip("a Ray cluster is running on this machine, which `auto` finds")
    code, _, error = sweep(*words)
    assert code == 2
    assert says in error
    assert "Traceback" not in error
    assert {path.name for path in tmp_path.rglob("*")} == {"space.yaml", *SPACES}


def test_every_option_is_a_field():
    """The command has one parameter for each field of `Options`; what was asked for arrives in their plain kinds."""
    asked = []
    made = command(Script("tiny", TINY, None, 1, 7, 0.25), asked.append)
    typed = typer.Typer()
    typed.command()(made)
    assert list(inspect.signature(made).parameters) == [field.name for field in dataclasses.fields(Options)]
    assert CliRunner().invoke(typed, ["--search", "grid", "--set", "a=1", "--set", "b=2"]).exit_code == 0
    assert (asked[0].seeds, asked[0].tolerance, asked[0].set_, asked[0].keep) == (7, 0.25, ["a=1", "b=2"], "needed")
    assert type(asked[0].search) is str


def _cluster_is_running() -> bool:
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if b"gcs_server" in entry.read_bytes():
                return True
    return False


def test_the_plan_of_a_transfer_is_told_both_ways(sweep, tmp_path):
    """A plan whose cycles have gaps between their rounds, and one that finds tickets, is shown and told as JSON."""
    (tmp_path / "space.yaml").write_text("tickets: {grid: [own, source]}\n")
    words = ["--set", "source.name=toy", "--set", "source.data_seed=1", "--rounds", "3", "--set", "ticket_every=3"]
    code, told, _ = sweep(*words, "--plan")
    assert code == 0
    assert "2 points × 1 seed → 3 cycles" in told
    code, told, _ = sweep(*words, "--plan", "--json")
    assert code == 0
    rounds = {tuple(r["round"] for r in cycle["rounds"]) for cycle in json.loads(told)["cycles"]}
    assert rounds == {(0, 1, 2, 3), (0, 3)}


scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 300),
    st.floats(),
    st.text(max_size=6),
    st.sampled_from([0.1, "rewind"]),
)
trees = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner))
kinds = st.sampled_from(["grid", "choice", "integer", "log_integer", "uniform", "log_uniform", "when", "gird"])
distributions = st.dictionaries(kinds, st.lists(scalars, max_size=3) | trees, max_size=3)
spaces = st.dictionaries(st.sampled_from(keys()) | st.text(max_size=8), distributions | trees, max_size=3)
yamls = st.text() | spaces.map(lambda tree: yaml.safe_dump(tree, allow_unicode=True))


@given(text=yamls, search=st.sampled_from(["random", "grid", "optuna"]))
@settings(max_examples=150, suppress_health_check=list(HealthCheck))
def test_no_search_space_ends_in_a_traceback(text, search, tmp_path_factory):
    """Whatever stands in the YAML file, the plan is shown or there is one error and exit code 2."""
    folder = tmp_path_factory.mktemp("space")
    (folder / "space.yaml").write_bytes(text.encode("utf-8", "surrogatepass"))
    words = ["--plan", "--json", "--storage", str(folder / "runs"), "--search", search, "--samples", "2"]
    printed, errors = io.StringIO(), io.StringIO()
    with (
        contextlib.redirect_stdout(printed),
        contextlib.redirect_stderr(errors),
        pytest.raises(SystemExit) as ended,
    ):
        main(name="tiny", cycle=TINY, space=folder / "space.yaml", argv=words)
    assert ended.value.code in (0, 2)
    assert (ended.value.code == 0) == bool(printed.getvalue())


@pytest.mark.parametrize(
    ("frame", "says"),
    [
        (pd.DataFrame({"text": ["a", "b"]}), "label"),
        (pd.DataFrame({"txt": ["a", "b"], "label": [0, 1]}), "text"),
        (pd.DataFrame({"text": ["a b"] * 40, "label": [1] * 40}), "class"),
        (pd.DataFrame({"text": [], "label": []}), "train.csv"),
        (pd.DataFrame({"text": ["a", None] * 20, "label": [0, 1] * 20}), "text"),
    ],
)
def test_a_folder_that_cannot_be_used(frame, says, sweep, tmp_path):
    """Label-less, text-less, one-class and empty files are one error that names the file or the column."""
    code, _, error = sweep("--task", "folder", "--data-dir", folder(tmp_path, frame))
    assert code == 2
    assert says in error
    assert not (tmp_path / "runs" / "tiny-folder").exists()


def test_a_file_that_is_not_what_it_says(sweep, tmp_path):
    """An unreadable Parquet file and labels that are no class are one error that names file, row and value."""
    directory = Path(folder(tmp_path, pd.DataFrame({"text": ["a b", "c"] * 20, "label": [0, 7] * 20})))
    (directory / "labels.json").write_text('["bad", "good"]')
    code, _, error = sweep("--task", "folder", "--data-dir", str(directory))
    assert code == 2
    assert "train.csv: a label must be one of the named classes, but row 2 has `7`" in error
    (directory / "train.csv").unlink()
    (directory / "train.parquet").write_bytes(b"PAR1 nothing of the kind")
    code, _, error = sweep("--task", "folder", "--data-dir", str(directory))
    assert code == 2
    assert "train.parquet: the file must be readable as parquet" in error
    code, _, error = sweep("--task", "folder", "--data-dir", str(directory / "train.parquet"))
    assert code == 2
    assert "a data directory must be a folder" in error
    assert not (tmp_path / "runs").exists()


def test_no_network_for_the_hub_is_one_error_with_two_ways_out(tmp_path):
    """Where the hub cannot be reached, exit code 2, `--data-dir` and `--toy` are named, and nothing is written."""
    environment = os.environ | {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HOME": str(tmp_path / "hub")}
    words = [sys.executable, "sweeps/imdb_lt.py", "--storage", str(tmp_path / "runs"), "--plan"]
    done = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 2, done.stdout + done.stderr
    assert "`stanfordnlp/imdb` must be within reach" in done.stderr
    assert "--data-dir DIR" in done.stderr
    assert "--toy" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "runs").exists()


def test_another_definition_of_a_used_name_is_refused_with_the_difference(sweep, tmp_path):
    """A used name with other settings ends with 2, shows what differs, and touches nothing; --fresh sets it aside."""
    assert sweep("--local", "--tracking-uri", "none")[0] == 0
    before = sorted(tmp_path.rglob("*"))
    code, _, error = sweep("--local", "--tracking-uri", "none", "--set", "training.lr=0.5", "--rounds", "2")
    assert code == 2
    assert "cycle.training.lr: 0.001 there, 0.5 here" in error
    assert "rounds: 1 there, 2 here" in error
    assert "--fresh" in error
    assert sorted(tmp_path.rglob("*")) == before
    code, _, warning = sweep("--local", "--tracking-uri", "none", "--set", "training.lr=0.5", "--fresh")
    assert code == 0
    assert "set aside" in warning
    assert len(list((tmp_path / "runs").glob("tiny*"))) == 2


def test_a_running_sweep_is_left_alone(sweep, tmp_path):
    """While a driver runs a sweep, a second one and a --fresh one are refused with 2, and its directory stays."""
    assert sweep("--local", "--tracking-uri", "none")[0] == 0
    with SweepDirectory(tmp_path / "runs" / "tiny").driving():
        for more in ((), ("--fresh",)):
            code, _, error = sweep("--local", "--tracking-uri", "none", *more)
            assert code == 2
            assert "is being run by another process" in error
    assert [path.name for path in (tmp_path / "runs").glob("tiny*")] == ["tiny"]


def test_too_few_texts_to_compare_blocks_are_refused_before_training(tmp_path, capsys):
    """Three texts of train under `similarity` are one error and exit code 2, in the plan too; no sweep is begun."""
    bases.write_toy(tmp_path / "model")
    rows = pd.DataFrame({"text": ["fine film", "dull film"] * 10, "label": [0, 1] * 10})
    for name in ("validation", "test", "train"):
        mine = folder(tmp_path, rows[:3] if name == "train" else rows, f"{name}.csv")
    words = ["--task", "folder", "--data-dir", mine, "--model", str(tmp_path / "model"), "--from-config", "--local"]
    for more in ([], ["--plan"]):
        with pytest.raises(SystemExit) as ended:
            main(name="few", cycle=BLOCKS, argv=[*words, "--storage", str(tmp_path / "runs"), *more])
        error = " ".join(capsys.readouterr().err.split())
        assert ended.value.code == 2
        assert "compares blocks on at least 4 texts of train, but train has 3: give more texts" in error
        assert {path.name for path in (tmp_path / "runs").iterdir()} == {"cache"}


@pytest.mark.parametrize(
    "words", [["status", "tiny"], ["report", "tiny"], ["export", "tiny", "c", "--out", "x"], ["sync", "tiny"]]
)
def test_an_address_is_no_storage(words, tmp_path, monkeypatch):
    """Every command that takes `--storage` refuses an address, with 2, and makes no folder of its name."""
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, [*words, "--storage", "s3://bucket/runs"])
    assert done.exit_code == 2
    said = " ".join(done.output.split())
    assert "`--storage` must be a folder that every node sees as one, but got an address" in said
    assert list(tmp_path.iterdir()) == []


def test_the_plan_starts_nothing(sweep, tmp_path):
    """--plan --json tells cycles, keys, remaining weights and disk, and leaves no sweep behind."""
    code, printed, _ = sweep("--plan", "--json", "--seeds", "2", "--rounds", "3")
    planned = json.loads(printed)
    assert code == 0
    assert len(planned["cycles"]) == 4
    assert planned["rounds"] == 16
    assert planned["distinct_rounds"] == 14
    assert planned["disk_bytes"] > 0
    assert planned["cycles"][0]["rounds"][0]["remaining"] > planned["cycles"][0]["rounds"][3]["remaining"]
    assert not (tmp_path / "runs" / "tiny").exists()
    assert not (tmp_path / "runs" / "mlflow.db").exists()
    code, printed, _ = sweep("--plan")
    assert code == 0
    assert "2 cycles" in printed


@pytest.mark.parametrize(
    ("script", "whole", "zeros"),
    [
        ("emotion_deeparc", 109_486_854, [702_720, 1_411_584, 2_120_448, 2_829_312, 3_538_944]),
        ("yahoo_deeparc", 109_489_930, [702_720, 1_411_584, 2_120_448, 2_829_312, 3_538_944]),
    ],
)
def test_the_full_studies_are_planned_without_weights(script, whole, zeros, tmp_path, monkeypatch):
    """--plan of the BERT-base studies needs no hub: every published cell, its parameters and Wanda's zeros."""
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    words = [sys.executable, f"sweeps/{script}.py", "--plan", "--json", "--storage", str(tmp_path)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "Planned from its known configuration" in done.stderr
    planned = json.loads(done.stdout)
    assert planned["parameters"] == whole
    cells = {tuple(sorted((k, v) for k, v in c["settings"].items() if v is not None)): c for c in planned["cycles"]}
    assert len(cells) == 5 + 2 * 2 * 2 * 5
    for share, gone in zip((0.1, 0.2, 0.3, 0.4, 0.5), zeros, strict=True):
        (original,) = (c for key, c in cells.items() if key == (("schedule", "wanda"), ("wanda.sparsity", share)))
        assert [r["nonzero"] for r in original["rounds"]] == [whole, whole - 12 * gone]
        assert [r["parameters"] for r in original["rounds"]] == [whole, whole]
    assert planned["distinct_rounds"] == 1 + 5 + 4 + 4 + 8 * 5


def test_a_failed_cycle_stays_failed_until_it_is_retried(sweep, tmp_path):
    """Exit code 1 names the failure; the same command does not run it again, --retry-errored does."""
    words = ("--local", "--tracking-uri", "none", "--set", "training.optimizer=sgd", "--set", "training.lr=1e30")
    code, printed, _ = sweep(*words)
    assert code == 1
    assert "DivergedError" in printed
    assert "--retry-errored" in printed
    marks = {path: path.stat().st_mtime_ns for path in (tmp_path / "runs" / "tiny" / "failures").iterdir()}
    assert len(marks) == 2
    assert sweep(*words)[0] == 1
    claims = tmp_path / "runs" / "tiny" / "claims"
    before = {path: path.stat().st_mtime_ns for path in claims.iterdir()}
    assert sweep(*words)[0] == 1
    assert {path: path.stat().st_mtime_ns for path in claims.iterdir()} == before, "it was run again"
    assert sweep(*words, "--retry-errored")[0] == 1


def test_status_tells_every_finished_round(sweep, tmp_path, capsys):
    """`lt-ray status --json` is one line a finished round with the promised fields, from the store alone."""
    assert sweep("--local", "--tracking-uri", "none", "--seeds", "2")[0] == 0
    lines = [json.loads(line) for line in status(capsys, "tiny", "--storage", str(tmp_path / "runs"), "--json")]
    assert len(lines) == 2 * 2 * 2
    promised = (
        "sweep cycle settings seed round sparsity density remaining parameters val_loss val_accuracy test_loss "
        "test_accuracy epochs train_s source finished_at"
    )
    for line in lines:
        assert set(promised.split()) <= set(line)
    assert [line["source"] for line in lines].count("reused") == 2
    table = "\n".join(status(capsys, "tiny", "--storage", str(tmp_path / "runs")))
    assert "8 of 8 rounds finished; 6 computed, 2 shared" in table


def test_status_of_no_sweep_names_those_there_are(sweep, tmp_path, capsys):
    """An unknown name ends with 2 and says which sweeps there are."""
    assert sweep("--local", "--tracking-uri", "none")[0] == 0
    with pytest.raises(SystemExit) as ended:
        app(["status", "tyni", "--storage", str(tmp_path / "runs")])
    assert ended.value.code == 2
    assert "there are tiny" in " ".join(capsys.readouterr().err.split())


def status(capsys, *words: str) -> list[str]:
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        app(["status", *words])
    assert ended.value.code == 0
    return capsys.readouterr().out.splitlines()


def test_run_and_plan_take_a_script(tmp_path, capsys, monkeypatch):
    """`lt-ray plan SCRIPT` is the script with --plan; an unknown script is one error."""
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(sys, "argv", ["lt-ray"])
    with pytest.raises(SystemExit) as ended:
        app(["plan", "sweeps/imdb_lt.py", "--toy", "--json", "--storage", str(tmp_path)])
    assert ended.value.code == 0
    assert json.loads(capsys.readouterr().out)["sweep"] == "imdb_lt-toy"
    with pytest.raises(SystemExit) as ended:
        app(["run", "sweeps/imbd_lt.py"])
    assert ended.value.code == 2
    assert "Did you mean `sweeps/imdb_lt.py`?" in " ".join(capsys.readouterr().err.split())
