"""The cycle: identity is data."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lt_ray.cycle.cycle import Cycle, parse
from lt_ray.cycle.editing import keys
from lt_ray.cycle.identity import canonical, digest
from lt_ray.cycle.models import MODELS, Cnn, Encoder, Recurrent, Transformer
from lt_ray.cycle.prunings import PRUNINGS, Magnitude, Similarity, Snip, Wanda
from lt_ray.cycle.tasks import Cifar10, Folder, ImageNet, Images, Imdb, PublicTexts, Toy, ToyImages
from lt_ray.cycle.training import Training
from lt_ray.errors import CycleError


def cycle(**magnitude) -> Cycle:
    return Cycle(schedule=(Magnitude(**magnitude),) * 2)


def test_golden_identities():
    """The identity of two known cycles is what it was when they were first stored.

    When this fails, every stored round of every user becomes unreachable: change it on purpose, raise
    `cycle.SCHEMA`, and say so in the changelog.
    """
    assert Cycle().id == "55bf0b30876c"
    imdb = Cycle(
        task=Imdb(),
        seed=3,
        training=Training(patience=2, length_batches=True),
        schedule=(Magnitude(), Magnitude(restart="random", shared_start=("embedding.weight",))),
    )
    assert imdb.id == "faf73f741d83"


def test_identity_survives_writing_and_coercion():
    """A cycle read back from its own JSON, or given 1 for 1.0 and "0.001" for 0.001, is the same cycle."""
    one = Cycle(training=Training(lr=1.0))
    assert Cycle(training=Training(lr=1)).id == one.id
    assert parse(one.model_dump(mode="json")).id == one.id
    assert one.with_settings({"training.lr": "1e-3"}).id == Cycle(training=Training(lr=0.001)).id


def test_every_field_with_a_meaning_is_part_of_the_identity():
    """Changing any one field changes the identity."""
    base = Cycle(
        schedule=(Magnitude(restart="rewind"),),
        training=Training(optimizer="sgd", weight_decay=0.01),
        source=Toy(data_seed=5),
        tickets="source",
    )
    changes = {
        "seed": 1, "rounds": 2, "task.name": "imdb", "task.train": 2001, "task.validation": 501, "task.test": 1001,
        "task.data_seed": 1, "model.vocabulary": 7, "model.embedding": 7, "model.filters": 7, "model.widths": [3],
        "model.dropout": 0.1, "training.optimizer": "adam", "training.lr": 0.1, "training.weight_decay": 0.1,
        "training.momentum": 0.1, "training.batch_size": 7, "training.epochs": 7, "training.patience": 1,
        "training.length_batches": True, "training.precision": "bfloat16", "magnitude.fraction": 0.3,
        "magnitude.scope": "global", "magnitude.rounding": "ceil", "magnitude.parameters": "weights",
        "magnitude.exclude": ["a"], "magnitude.restart": "random",
        "magnitude.rewind_epoch": 1, "magnitude.rewind_budget": "resume", "magnitude.strategy": "one_shot",
        "magnitude.output_fraction": 0.1, "magnitude.epochs": 3, "training.lr_schedule": "linear",
        "training.warmup": 0.1, "training.decayed": "matrices", "training.gradient_norm": 1, "training.accumulation": 2,
        "training.channels_last": True, "training.milestones": [2, 4],
        "model.name": "lstm", "tickets": "own", "ticket_every": 2,
        "source.name": "imdb", "source.train": 2001,
        "source.validation": 501, "source.test": 1001, "source.data_seed": 2,
        "task.metric": "macro_f1", "source.metric": "macro_f1",
    }  # fmt: skip
    elsewhere = {"magnitude.shared_start"}
    elsewhere |= {"magnitude.masks", "magnitude.random_pruning"}  # `test_controls.py`: no field of a transfer
    elsewhere |= {f"{group}.{name}" for group in ("task", "source") for name in PublicTexts.model_fields}
    elsewhere |= {f"{group}.{name}" for group in ("task", "source") for name in ("label", "separator")}
    elsewhere |= {"training.gamma"}
    elsewhere |= {f"{group}.{name}" for group in ("task", "source") for name in IMAGE_FIELDS}
    elsewhere |= {f"model.{name}" for name in Recurrent.model_fields}
    elsewhere |= {key for key in keys() if key.startswith(("similarity.", "wanda.", "snip."))} | {"schedule"}
    elsewhere |= {f"model.{name}" for kind in (Transformer, Encoder) for name in kind.model_fields}
    pictures = [kind for kind in MODELS.values() if kind.inputs == "images"]  # `test_picture_models.py`
    elsewhere |= {f"model.{name}" for kind in pictures for name in kind.model_fields}
    assert set(keys()) - elsewhere <= set(changes), "a new field needs its line here"
    ids = {base.with_settings({key: value}).id for key, value in changes.items()}
    assert len(ids | {base.id}) == len(changes) + 1
    stepping = Cycle(training=Training(milestones=(2,)))
    assert len({stepping.with_settings({"training.gamma": x}).id for x in (0.1, 0.2)}) == 2
    assert Cycle(training=Training(gamma=0.2)).id == Cycle().id, "without a milestone nothing is multiplied"
    folder = Cycle(task=Folder(label="several"))
    assert len({folder.with_settings({"task.separator": x}).id for x in ",;"}) == 2
    assert len({folder.with_settings({"task.label": x}).id for x in ("class", "several", "number")}) == 3
    assert Cycle(task=Folder(separator=";")).id == Cycle(task=Folder()).id, "one class is not parted"
    lstm = base.with_settings({"model.name": "lstm"})
    other = {
        "hidden": 7,
        "layers": 1,
        "bidirectional": False,
        "recurrent_init": "xavier",
        "embedding": 7,
        "dropout": 0.1,
    }
    assert set(Recurrent.model_fields) == {*other, "vocabulary", "name"}
    assert len({lstm.with_settings({f"model.{key}": value}).id for key, value in other.items()} | {lstm.id}) == 7
    transformer = base.with_settings({"model.name": "transformer"})
    other = {"layers": 3, "heads": 2, "hidden": 7, "positions": 7, "embedding": 8, "dropout": 0.2}
    assert set(Transformer.model_fields) == {*other, "vocabulary", "name"}
    ids = {transformer.with_settings({f"model.{key}": value}).id for key, value in other.items()}
    assert len(ids | {transformer.id}) == 7


IMAGE_FIELDS = {*ToyImages.model_fields, *Images.model_fields, *Cifar10.model_fields, *ImageNet.model_fields} - {"name"}


def test_every_field_of_pictures_is_part_of_what_they_mean():
    """Changing any field of a task of pictures that has a meaning changes what it means; others do not."""
    changes = {
        "size": 20, "padding": 2, "flip": False, "centre": 0.5, "normalisation": "imagenet", "metric": "mcc",
        "split_seed": 1, "validation_share": 0.2, "broken_share": 0.1, "columns": ("a", "b"), "dataset": "x",
        "revision": "y", "crop": "none",
    }  # fmt: skip
    assert set(Cifar10.model_fields) - {"name", "least_area"} == set(changes), "a new field needs its line here"
    tasks = [Cifar10(), *(Cifar10(**{name: value}) for name, value in changes.items())]
    assert len({canonical(task.meaning()) for task in tasks}) == len(tasks)
    assert Cifar10(least_area=0.5).meaning() == Cifar10().meaning(), "no part is drawn"
    assert Images(padding=2).meaning() == Images().meaning(), "nothing is moved"
    assert Images(least_area=0.5).meaning() != Images().meaning()
    assert Images(test_share=0.2).meaning() != Images().meaning()
    for name, value in {"train": 30, "validation": 30, "test": 30, "data_seed": 1, "size": 20}.items():
        assert ToyImages(**{name: value}).meaning() != ToyImages().meaning()


def test_a_model_of_words_takes_no_pictures():
    """A task of pictures and a model of words, and the reverse, are refused."""
    with pytest.raises(CycleError, match="model cnn takes text, but task cifar10 has images: name another"):
        Cycle().with_settings({"task.name": "cifar10"})


ENCODING = Cycle(model=Encoder(), schedule=(Similarity(max_drop=0.1), Wanda()), training=Training(weight_decay=0.01))


def test_every_field_of_an_encoders_cycle_is_part_of_its_identity():
    """Changing any field of an encoder, of a removal of blocks or of Wanda changes the identity."""
    changes = {
        "model.path": "a/b", "model.revision": "x", "model.weights": "random", "model.dropout": 0.2,
        "model.digest": "d", "similarity.threshold": 0.9, "similarity.stride": 2, "similarity.clusters": "chain",
        "similarity.freeze": True, "similarity.cka": "tokens", "similarity.calibration": 7,
        "similarity.calibration_batch": 7, "similarity.max_drop": 0.2, "similarity.max_stride": 2,
        "similarity.epochs": 7, "similarity.features": "flattened",
        "wanda.sparsity": 0.1, "wanda.pattern": "2:4", "wanda.mode": "one_pass",
        "wanda.calibration": 7, "wanda.epochs": 7, "schedule": "wanda similarity", "rounds": 3,
    }  # fmt: skip
    groups = ("model.", "similarity.", "wanda.")
    own = {f"model.{name}" for name in Encoder.model_fields}
    own |= {key for key in keys() if key.startswith(groups[1:])}
    assert own - {"model.name", "similarity.recalibrate"} <= set(changes), "a new field needs its line here"
    ids = {ENCODING.with_settings({key: value}).id for key, value in changes.items()}
    assert len(ids | {ENCODING.id}) == len(changes) + 1
    yahoo = ENCODING.with_settings({"task.name": "yahoo_answers"})
    assert yahoo.with_settings({"task.columns": ["question_title", "best_answer", "topic"]}).id != yahoo.id


def test_every_field_of_snip_is_part_of_the_identity():
    """Changing any field of SNIP that has a meaning where it rewinds changes the identity."""
    changes = {
        "fraction": 0.3, "output_fraction": 0.1, "strategy": "one_shot", "scope": "global", "rounding": "ceil",
        "parameters": "weights", "exclude": ["a"], "random_pruning": True, "restart": "final", "rewind_epoch": 1,
        "rewind_budget": "resume", "calibration": 7, "epochs": 3,
    }  # fmt: skip
    base = Cycle(schedule=(Snip(scope="local"),))
    assert set(Snip.model_fields) - {"method", "masks", "shared_start"} == set(changes), "a new field needs its line"
    ids = {base.with_settings({f"snip.{key}": value}).id for key, value in changes.items()}
    assert len(ids | {base.id}) == len(changes) + 1


@pytest.mark.parametrize(
    ("start", "changes"),
    [
        ({"model.digest": "d"}, {"model.path": "elsewhere/the-same", "model.revision": "x"}),
        ({"similarity.cka": "tokens"}, {"similarity.calibration_batch": 7}),
        ({"similarity.max_drop": None}, {"similarity.max_stride": 7}),
        ({"wanda.pattern": "2:4"}, {"wanda.sparsity": 0.1}),
        ({"training.weight_decay": 0}, {"training.decayed": "matrices"}),
    ],
)
def test_a_field_of_an_encoders_cycle_without_a_meaning_is_not(start, changes):
    """Where a model was found once its digest is known, the batches of sentences, a stride never reached: no new
    cycle."""
    cycle = ENCODING.with_settings(start)
    assert cycle.with_settings(changes).id == cycle.id


def test_a_schedule_is_methods_in_order():
    """`schedule` names the prunings, `*n` repeats one; each is the next of its method, then the last."""
    cycle = Cycle(model=Encoder(), schedule=(Similarity(threshold=0.9), Similarity(threshold=0.8)))
    changed = cycle.with_settings({"schedule": "wanda similarity*3", "wanda.sparsity": 0.3})
    assert [pruning.method for pruning in changed.schedule] == ["wanda", "similarity", "similarity", "similarity"]
    assert [p.threshold for p in changed.schedule if isinstance(p, Similarity)] == [0.9, 0.8, 0.8]
    assert changed.flat()["schedule"] == "wanda similarity*3"
    assert changed.with_settings({"schedule": changed.flat()["schedule"]}) == changed
    assert changed.with_settings({"rounds": 1}).flat()["schedule"] == "wanda"
    assert Cycle().flat()["schedule"] == ""


def test_rounds_may_have_their_own_epochs():
    """A pruning's `epochs` are its round's, None = `training.epochs`; the most of all is told where they differ."""
    cycle = Cycle(
        model=Encoder(), training=Training(epochs=1), schedule=(Similarity(epochs=3), Wanda(epochs=0), Wanda())
    )
    assert [cycle.epochs_of(pruning) for pruning in (None, *cycle.schedule)] == [1, 3, 0, 1]
    assert cycle.flat()["most_epochs"] == 3
    assert "most_epochs" not in Cycle().flat()


@pytest.mark.parametrize(
    ("fields", "changes"),
    [
        ({"restart": "random", "masks": "own"}, {"magnitude.rewind_epoch": 3}),
        ({"restart": "rewind"}, {"magnitude.masks": "own"}),
        ({"restart": "final"}, {"magnitude.rewind_budget": "resume"}),
        ({"restart": "rewind"}, {"magnitude.shared_start": ["embedding.weight"]}),
        ({}, {"training.momentum": 0.9}),
        ({}, {"ticket_every": 4}),
        ({"exclude": ("a", "b")}, {"magnitude.exclude": ["b", "a", "b"]}),
    ],
)
def test_a_field_without_a_meaning_is_not(fields, changes):
    """The rewind epoch of a network that prunes itself, Adam's momentum, the order of names: no new cycle."""
    assert cycle(**fields).with_settings(changes).id == cycle(**fields).id


def test_settings_keep_what_has_no_meaning_yet():
    """A field given before the one that gives it a meaning is not lost."""
    searched = cycle(shared_start=("embedding.weight",)).with_settings({"magnitude.restart": "random"})
    assert searched.schedule[0].shared_start == ("embedding.weight",)


def test_the_origin_finds_the_tickets():
    """The cycle that finds tickets for another is the same one on the source task, and shares its words with nobody."""
    taking = cycle().with_settings({"source.name": "imdb", "tickets": "source", "ticket_every": 2, "seed": 3})
    origin = taking.origin
    assert (origin.task, origin.source, origin.tickets) == (Imdb(), None, "own")
    assert (origin.seed, origin.schedule, origin.training, origin.model) == (
        taking.seed,
        taking.schedule,
        taking.training,
        taking.model,
    )
    assert taking.trained_rounds == (0, 2)
    assert origin.trained_rounds == (0, 1, 2)


def test_flat_folds_the_schedule():
    """`flat` gives one value where all prunings agree, else all of them, and None where there is no meaning."""
    flat = Cycle(schedule=(Magnitude(fraction=0.2), Magnitude(fraction=0.5)), model=Cnn()).flat()
    assert flat["rounds"] == 2
    assert flat["magnitude.fraction"] == "0.2 0.5"
    assert flat["magnitude.scope"] == "local"
    assert flat["model.widths"] == "3 4 5"
    assert cycle(restart="final").flat()["magnitude.rewind_epoch"] is None


@given(st.dictionaries(st.text(max_size=3), st.floats(allow_nan=False, allow_infinity=False), max_size=4))
def test_digest_ignores_order(tree):
    """Equal trees have one digest, in whatever order they were built."""
    assert digest(tree) == digest(dict(reversed(tree.items())))
    assert canonical(tree) == canonical(dict(sorted(tree.items())))


def test_digest_refuses_nan():
    """NaN has no canonical form."""
    with pytest.raises(ValueError, match="JSON"):
        digest({"x": float("nan")})


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"training.learning_rat": 1}, "is not a field of a cycle"),
        ({"training.epoch": 1}, "Did you mean `training.epochs`"),
        ({"training.lr": 0}, "`training.lr` must be greater than 0, but got 0"),
        ({"training.lr": "fast"}, "`training.lr` must be a valid number"),
        ({"training.epochs": 2.5}, "`training.epochs` must be a valid integer"),
        ({"model.dropout": 1}, "`model.dropout` must be less than 1, but got 1"),
        ({"model.widths": []}, "`model.widths`"),
        ({"magnitude.fraction": 0}, "`magnitude.fraction` must be greater than 0, but got 0"),
        ({"magnitude.fraction": 1.2}, "`magnitude.fraction` must be less than 1, but got 1.2"),
        ({"magnitude.rewind_epoch": 12}, "(rewind_epoch=12, epochs=10)"),
        ({"magnitude.rewind_epoch": -1}, "must be 0, 1, … or `last`, but got -1"),
        ({"magnitude.rewind_epoch": "lst"}, "must be 0, 1, … or `last`, but got 'lst'"),
        ({"magnitude.rewind_budget": "resume", "magnitude.rewind_epoch": "last"}, "nothing would be retrained"),
        ({"magnitude.restart": "rewnd"}, "'rewind', 'random' or 'final'"),
        ({"task.name": "imbd"}, "Did you mean `imdb`"),
        ({"model.name": "cnnn"}, "Did you mean `cnn`"),
        ({"task.sizes": [1, 2, 3]}, "is not a field of task toy"),
        ({"model.hidden": 3}, "`model.hidden` is not a field of model cnn"),
        ({"model.name": "rnn", "model.filters": 3}, "`model.filters` is not a field of model rnn"),
        ({"tickets": "source"}, "needs a source task, but got none: give `source.name`"),
        ({"source.data_seed": 1}, "has no meaning without a source task: give `source.name`, too"),
        ({"magnitude.scope": "global", "magnitude.output_fraction": 0.1}, "needs `scope: local`"),
        ({"task.name": "imdb", "task.sizes": [0, 2, 3]}, "`sizes >= 1` must hold"),
        ({"task.name": "folder", "task.test_share": 0.9}, "`validation_share + test_share < 1` must hold"),
        ({"rounds": -1}, "`rounds` must be a whole number"),
        ({"seed": -1}, "`seed` must be greater than or equal to 0"),
        ({"training.lr": float("nan")}, "`training.lr`"),
        ({"schedule": "wanda"}, "`wanda` needs a model with blocks, but model cnn has none: name one that has them ("),
        ({"schedule": "wnda"}, "Did you mean `wanda`?"),
        ({"schedule": "magnitude*2000"}, "must have at most 1000 prunings"),
        ({"model.name": "encoder", "source.name": "imdb"}, "an encoder brings its own"),
        (
            {"model.name": "encoder", "schedule": "similarity", "similarity.threshold": 98},
            "must be a share, not percent, but got 98: say 0.98",
        ),
        ({"model.name": "encoder", "schedule": "similarity", "similarity.threshold": 0}, "greater than 0"),
        ({"model.name": "encoder", "schedule": "wanda", "wanda.sparsity": 50}, "not percent, but got 50: say 0.5"),
        ({"model.name": "encoder", "schedule": "wanda", "wanda.pattern": "4:2"}, "`row` or N:M with 0 < N < M"),
        (
            {"model.name": "encoder", "schedule": "similarity", "similarity.max_drop": 0.1, "similarity.stride": 4},
            "`similarity.stride <= similarity.max_stride` must hold, but got (stride=4, max_stride=3)",
        ),
        (
            {"model.name": "encoder", "schedule": "magnitude wanda", "magnitude.strategy": "one_shot"},
            "the whole schedule must be magnitude, but it is magnitude wanda",
        ),
        (
            {"magnitude.rewind_epoch": 2, "magnitude.rewind_budget": "resume", "magnitude.epochs": 2},
            "would be retrained",
        ),
    ],
)
def test_a_broken_rule_is_one_clear_line(settings, says):
    """A bad value names the field, the rule and the value, once."""
    with pytest.raises(CycleError) as error:
        cycle().with_settings(settings)
    assert says in str(error.value)
    assert len(str(error.value).splitlines()) == 1


def test_what_may_be_lost_is_bounded_where_the_metric_is():
    """A roll-back's bound of 1 is refused for accuracy, which is in [0, 1]; of RMSE a cycle may lose thousands."""
    blocks = {"model.name": "transformer", "schedule": "similarity"}
    with pytest.raises(CycleError, match=r"`similarity.max_drop` must be less than 1, since accuracy is in \[0, 1\]"):
        cycle().with_settings(blocks | {"similarity.max_drop": 5})
    numbers = blocks | {"task.name": "folder", "task.label": "number", "similarity.max_drop": 2500}
    assert cycle().with_settings(numbers).schedule[0].may_lose == 2500


def test_a_model_without_blocks_is_told_which_have_them():
    """Whoever asks a model without blocks for block pruning is told every registered model that has some."""
    with pytest.raises(CycleError) as error:
        cycle().with_settings({"schedule": "similarity"})
    named = str(error.value).partition("(")[2].partition(")")[0].split(", ")
    assert named == [name for name, kind in MODELS.items() if kind.has_blocks]
    assert {"encoder", "transformer"} <= set(named)


@pytest.mark.parametrize("name", MODELS)
def test_what_toy_makes_of_a_model_are_fields_of_a_cycle(name):
    """Each of a model's `toy` is a field of a cycle with that model and those prunings, at a value it takes."""
    toy = MODELS[name].toy
    prunings = [method for method in PRUNINGS if any(key.startswith(f"{method}.") for key in toy)]
    fields = Cycle().with_settings({"model.name": name, "schedule": " ".join(prunings), **toy}).flat()
    expected = {key: " ".join(map(str, value)) if isinstance(value, list) else value for key, value in toy.items()}
    assert {key: fields[key] for key in toy} == expected
