"""What a report says of encoders, on planted sweeps small enough to compute by hand."""

import csv
import io
from dataclasses import replace
from decimal import Decimal
from typing import ClassVar, Literal

import pytest
from report_documents import BERT, ENCODER, LAYER, a_decision, an_encoder, an_encoder_round, charts, some_encoders

from lt_ray.cycle.models import model_name
from lt_ray.cycle.prunings import PRUNINGS, PruningSettings
from lt_ray.report.findings.assemble import assemble
from lt_ray.report.findings.beside import lineage, published_place
from lt_ray.report.findings.bill import bills, total
from lt_ray.report.pages.cells import rounds_csv
from lt_ray.report.reading.published import Published
from lt_ray.report.reading.rows import ReportedCycle, ReportedSweep, by_arm

THRESHOLD, FREEZE, SPARSITY = "similarity.threshold", "similarity.freeze", "wanda.sparsity"
SPACE = {FREEZE: {"kind": "grid", "values": (False, True), "when": {}}}


def a_sweep(*cycles, space=SPACE, tolerance=0.005):
    return ReportedSweep("bert", space, tolerance, "emotion", cycles, {}, {})


def section(*cycles, published=(), **more):
    return assemble([a_sweep(*cycles, **more)], published).sections[0]


def rows(found, slug):
    own = next(table for table in found.tables if table.slug == slug)
    names = [column.name for column in own.columns]
    return [dict(zip(names, row, strict=True)) for row in own.rows]


def note(found, slug):
    return next(table.note for table in found.tables if table.slug == slug)


def published(arm, round, metric, value, *, error="", line=120, title="BERT-base, All", conditions=None):
    return Published(
        table=title, task="emotion", model="encoder", arm=arm, round=round, sparsity=None, metric=metric,
        value=Decimal(value), unit="", file="004.txt", line=line, error=error, conditions=conditions,
    )  # fmt: skip


def a_cycle(seed=0, tests=(0.92, 0.93), *, freeze=False, schedule="similarity", blocks=(12, 8), more=(), **settings):
    """A cycle whose rounds have these test accuracies and blocks, and `more` fields each."""
    name = f"{'freeze' if freeze else 'all'}-{seed}"
    fields = [*more, *({} for _ in tests[len(more) :])]
    results = [
        an_encoder_round(name, index, test, blocks=own).model_copy(update=extra)
        for index, (test, own, extra) in enumerate(zip(tests, blocks, fields, strict=True))
    ]
    decisions = settings.pop("decisions", {})
    return an_encoder(name, seed, results, {FREEZE: freeze, **settings}, schedule, decisions=decisions)


# Names


def test_names_tell_arms_apart():
    """Every combination of thresholds, strides, freezing, patterns and schedules has a name of its own."""
    fields = {
        THRESHOLD: (0.98, 0.9985, 0.9988), "similarity.stride": (1, 2), FREEZE: (False, True),
        "wanda.pattern": ("row", "2:4"), "schedule": ("similarity", "similarity*2", "similarity wanda"),
    }  # fmt: skip
    combinations: list[dict[str, object]] = [{}]
    for key, values in fields.items():
        combinations = [{**own, key: value} for own in combinations for value in values]
    cycles = [ReportedCycle(str(i), ENCODER, own, "finished", ()) for i, own in enumerate(combinations)]
    assert len(by_arm(cycles, tuple(fields), "all")) == len(combinations) == 72


def test_arms_that_are_alike_to_three_digits_are_two():
    """Learning rates of 0.00123 and 0.001234 make two arms, though a name shows three digits of each."""
    cycles = [
        ReportedCycle(str(i), ENCODER, {"training.lr": lr}, "finished", ()) for i, lr in enumerate((0.00123, 0.001234))
    ]
    assert [len(arm) for arm in by_arm(cycles, ("training.lr",), "all").values()] == [1, 1]


# What is told


@pytest.mark.parametrize(
    ("schedule", "blocks", "pictures", "own"),
    [
        ("magnitude", (12, 12), ("curves",), "after-pruning"),
        ("wanda", (12, 12), ("curves", "front", "front"), "wanda"),
        ("similarity", (12, 8), ("curves", "front", "front"), "similarity-pruning"),
    ],
)
def test_a_method_that_prunes_blocks_is_told_by_what_they_cost(schedule, blocks, pictures, own):
    """A lottery on a model that has blocks has tables of arms × rounds and tickets as any other; where blocks are
    pruned, or what is within them, there are tables of blocks and fronts."""
    found = section(a_cycle(schedule=schedule, blocks=blocks))
    assert tuple(sorted(chart.kind for chart in found.charts if chart.kind != "settings")) == pictures
    assert own in {table.slug for table in found.tables}
    in_short = [column.name for column in found.summary[0].columns]
    assert ("sparsest ticket" in in_short) == (schedule == "magnitude")


# Schedules


def test_published_arms_are_those_of_the_prunings_that_count():
    """Rejected rounds, and earlier ones that removed nothing, do not count; strides above 1 are named, chains
    and patterns have none."""
    rejected = a_cycle(
        tests=(0.92,) * 5, blocks=(12, 8, 6, 8, 8), schedule="similarity*3 wanda",
        more=({}, {}, {"accepted": False}, {"start_round": 1}, {}), **{SPARSITY: 0.3},
    )  # fmt: skip
    assert lineage(rejected, 4) == (1, 4), "round 3 removed nothing"
    assert [published_place(rejected, i) for i in range(3)] == [
        ("dense", 0), ("similarity@0.98", 1), ("similarity@0.98", 2),
    ]  # fmt: skip
    assert published_place(rejected, 4) == ("similarity@0.98 wanda@0.3", 2)
    frozen = a_cycle(freeze=True, schedule="similarity wanda", tests=(0.92,) * 3, blocks=(12, 8, 8))
    assert published_place(frozen, 2) == ("similarity@0.98 freeze wanda@0.5", 2)
    assert published_place(a_cycle(schedule="wanda", blocks=(12, 12), **{SPARSITY: 0.3}), 1) == ("wanda@0.3", 1)
    others = [
        a_cycle(**{"similarity.clusters": "chain"}), a_cycle(schedule="magnitude"),
        a_cycle(schedule="wanda", **{"wanda.pattern": "2:4", SPARSITY: None}),
    ]  # fmt: skip
    assert [published_place(cycle, 1) for cycle in others] == [None] * 3
    strides = [a_cycle(**{"similarity.stride": 2}), a_cycle(more=({}, {"stride": 2}))]
    assert [published_place(cycle, 1) for cycle in strides] == [("similarity@0.98 stride 2", 1)] * 2


# Tables


def test_a_table_has_a_row_for_each_arm_and_round():
    """Two seeds at 0.92 and 0.94 come to 0.93 and 0.93: +1 and −1 points, mean 0 ± 12.7062 · √2 / √2; n is 2."""
    more = ({}, {"before_test_loss": 1.0, "before_test_accuracy": 0.7, "accepted": True, "frozen_blocks": 4})
    less = ({}, more[1] | {"before_test_loss": 2.0, "before_test_accuracy": 0.8, "accepted": False})
    found = section(a_cycle(0, (0.92, 0.93), more=more), a_cycle(1, (0.94, 0.93), more=less))
    dense, pruned = rows(found, "similarity-pruning")
    assert (dense["arm"], dense["round"], dense["n"], dense["blocks"]) == ("dense", 0, 2, 12)
    assert dense["accuracy after"] == pytest.approx(0.93)
    assert dense["against dense [points]"] is None
    assert (pruned["arm"], pruned["source"], pruned["model"]) == (
        "no freeze", "ours", "google-bert/bert-base-uncased",
    )  # fmt: skip
    assert (pruned["blocks"], pruned["frozen"], pruned["accepted"]) == (8, 4, "1 of 2")
    assert (pruned["evaluation loss before"], pruned["accuracy before"]) == (1.5, pytest.approx(0.75))
    assert pruned["against dense [points]"] == pytest.approx(0)
    assert pruned["± 95 % [points]"] == pytest.approx(12.7062, abs=1e-3)
    assert (pruned["parameters"], pruned["nonzero"]) == (BERT - 4 * LAYER, BERT - 4 * LAYER)
    assert (pruned["latency [ms]"], pruned["quartiles [ms]"]) == (pytest.approx(22), "21.50–22.50")
    assert (pruned["evaluation time [s]"], pruned["training time [s]"]) == (4.0, 800.0)


def test_each_method_has_its_table_with_the_dense_row_above():
    """Similarity and Wanda stand apart, in any order; a method that pruned nothing has no table."""
    mixed = a_cycle(tests=(0.92,) * 4, blocks=(12, 12, 8, 8), schedule="wanda similarity magnitude")
    found = section(mixed)
    slugs = ("similarity-pruning", "wanda", "magnitude-pruning")
    assert [table.slug for table in found.tables][:3] == list(slugs)
    assert [[row["round"] for row in rows(found, slug)] for slug in slugs] == [[0, 2], [0, 1], [0, 3]]
    alone = section(a_cycle())
    assert not any(table.slug in ("wanda", "before-pruning", "after-pruning") for table in alone.tables)


def test_published_rows_stand_below_ours_and_say_what_they_are_of():
    """The same arm at the same number of prunings; points are against the published dense accuracy; BERT-base."""
    told = [
        published("dense", 0, "test_accuracy", "0.92", line=114),
        published("similarity@0.98", 1, "test_accuracy", "0.934", line=121, error="Wrong."),
        published("similarity@0.98", 1, "blocks", "8", line=121, error="Wrong; and more."),
        published("similarity@0.98", 2, "test_accuracy", "0.1"),
        published("similarity@0.98 freeze", 1, "test_accuracy", "0.1"),
        published("similarity@0.99", 1, "test_accuracy", "0.1"),
        published("similarity@0.98 wanda@0.5", 2, "before_test_accuracy", "0.937"),
    ]
    cycle = a_cycle(
        tests=(0.91, 0.92, 0.93), blocks=(12, 9, 9), schedule="similarity wanda", **{"model.path": "some/tiny-bert"}
    )
    found = section(cycle, published=told)
    own, dense, ours, theirs = rows(found, "similarity-pruning")
    assert [row["source"] for row in (own, dense, ours, theirs)] == ["ours", "published", "ours", "published"]
    assert (ours["model"], theirs["model"], theirs["blocks"]) == ("some/tiny-bert", "BERT-base", 8)
    assert (theirs["arm"], theirs["accuracy after"]) == ("similarity@0.98", 0.934)
    assert theirs["against dense [points]"] == pytest.approx(1.4)
    assert (theirs["line"], theirs["known error"]) == (121, "[1]")
    assert note(found, "similarity-pruning").endswith("[1] Wrong; and more.")
    wanda = rows(found, "wanda")[-1]
    assert (wanda["accuracy before"], wanda["accuracy after"]) == (0.937, None)
    assert wanda["against dense [points]"] == pytest.approx(1.7)
    assert all(row["published"] is None for row in rows(found, "rounds") if "published" in row)


def test_trainings_of_several_epochs_are_told_epoch_by_epoch():
    """Ours by validation, the mean over stored rounds of those that came so far, each once; published by test, as
    printed; nothing where a round trained one epoch, and no column where all did."""
    told = [
        published("similarity@0.98", 1, f"test_accuracy{name}", value)
        for name, value in (("_epoch_1", "0.70"), ("_epoch_2", "0.74"), ("", "0.72"))
    ]
    cycles = [a_cycle(0), replace(a_cycle(0), id="again"), a_cycle(1)]
    epochs = [{0: (0.9,), 1: (0.5, 0.6, 0.7)}, {0: (0.9,), 1: (0.5, 0.6, 0.7)}, {0: (0.9,), 1: (0.7, 0.9)}]
    found = section(*(replace(c, epochs=own) for c, own in zip(cycles, epochs, strict=True)), published=told)
    dense, ours, theirs = rows(found, "similarity-pruning")
    heads = [head for head in ours if "epoch" in head]
    assert heads == [
        f"{split} accuracy, epoch {k}" for split, most in (("validation", 3), ("test", 2)) for k in range(1, most + 1)
    ]
    assert [ours[head] for head in heads] == [pytest.approx(0.6), pytest.approx(0.75), 0.7, None, None]
    assert [theirs[head] for head in heads] == [None, None, None, 0.7, 0.74]
    assert theirs["accuracy after"] == 0.72
    assert [dense[head] for head in heads] == [None] * 5
    assert "Ours are on validation" in note(found, "similarity-pruning")
    short = section(replace(a_cycle(), epochs={0: (0.9,), 1: (0.9,)}))
    assert not any("epoch" in head for head in rows(short, "similarity-pruning")[0])
    assert "Epochs" not in note(short, "similarity-pruning")


def test_published_encoders_say_in_what_ours_differ():
    """Another variant of CKA, model or number of epochs is named in the published row; a folder's name is the hub's."""
    conditions = {"model.path": "google-bert/bert-base-uncased", "similarity.cka": "tokens", "training.epochs": 1}
    told = [
        published("dense", 0, "test_accuracy", "0.92", conditions=conditions),
        published("similarity@0.98", 1, "test_accuracy", "0.934", conditions=conditions),
    ]
    cka = {"similarity.cka": "minibatch", "model.path": "/models/bert-base-uncased"}
    _, dense, _, theirs = rows(section(a_cycle(**cka), published=told), "similarity-pruning")
    assert dense["our runs differ in"] == "epochs 3, not 1"
    assert theirs["our runs differ in"] == "similarity.cka minibatch, not tokens; epochs 3, not 1"


def test_rounds_that_were_not_retrained_have_nothing_after():
    """With no epoch, train columns are nothing, everywhere, and the difference is of the model as pruned."""
    bare = {"epochs": 0, "best_epoch": 0, "train_loss": None, "train_accuracy": None, "before_test_accuracy": 0.90}
    found = section(a_cycle(tests=(0.92, 0.90), schedule="wanda", blocks=(12, 12), more=({}, bare)))
    row = rows(found, "wanda")[-1]
    assert row["accuracy before"] == 0.90
    assert row["accuracy after"] is None
    assert row["training time [s]"] is None
    assert row["against dense [points]"] == pytest.approx(-2)


def test_a_mean_over_nothing_is_nothing():
    """A lottery sweep whose last round was not retrained has no train loss after pruning; of two, the known one."""
    bare = {"epochs": 0, "train_loss": None, "train_accuracy": None, "blocks": None}
    cycles = [
        a_cycle(seed, blocks=(12, 12), schedule="magnitude", more=({"blocks": None}, bare | more))
        for seed, more in enumerate(({}, {"train_loss": 0.25}))
    ]
    assert rows(section(cycles[0]), "after-pruning")[0]["train loss (best)"] is None
    assert rows(section(*cycles), "after-pruning")[0]["train loss (best)"] == 0.25


def test_the_final_table_has_block_columns_where_there_are_blocks():
    """A row of an encoder tells blocks and latency; one of a CNN has no such columns."""
    cycle = a_cycle(more=({}, {"accepted": False}))
    table = list(csv.DictReader(io.StringIO(rounds_csv({"a": [cycle]}, 0.005))))
    assert (table[1]["blocks"], table[1]["accepted"], table[1]["ticket"]) == ("8", "False", "False")
    plain = a_cycle(more=({"blocks": None}, {"blocks": None}))
    assert "latency_s" not in rounds_csv({"a": [plain]}, 0.005)


# Sentences


def said(found, beginning):
    (sentence,) = [sentence for sentence in found.verdicts if sentence.startswith(beginning)]
    return sentence


def test_an_arm_is_told_by_blocks_parameters_accuracy_and_speed():
    """8 of 12 blocks: 22 against 32 ms with quartiles ± 0.5 ms apart, so a ratio of 0.69; one pair settles nothing."""
    found = section(a_cycle(tests=(0.92, 0.925)))
    assert said(found, "no freeze keeps") == (
        "no freeze keeps 8 of 12 blocks and 81.14 million of 109.49 million parameters after round 1; test accuracy is "
        "0.50 points above dense (one seed, so without an interval); a batch of 32 takes 0.69 of the dense time (22.0 "
        "against 32.0 ms, medians "
        "whose quartiles do not overlap)."
    )


def test_no_speed_is_claimed_for_a_mask_nor_for_what_may_be_chance():
    """Without a removed block no ratio is told, however fast it was; with overlapping quartiles it is doubted."""
    masked = {"nonzero": BERT // 2, "latency_s": 0.001, "latency_low_s": 0.001, "latency_high_s": 0.001}
    found = section(a_cycle(schedule="wanda", blocks=(12, 12), more=({}, masked)))
    assert "no block was removed, so no speed is claimed" in said(found, "no freeze keeps")
    assert "of the dense time" not in " ".join(found.verdicts)
    wide = {"latency_high_s": 0.04}
    doubted = said(section(a_cycle(more=({}, wide))), "no freeze keeps")
    assert "but the quartiles overlap with seed 0, so no speed is claimed" in doubted


def test_a_rejected_round_is_told_with_its_reason_and_counts_for_nothing():
    """Round 2 lost 3 points of validation accuracy of 1 allowed: the arm keeps what round 1 had, and no ticket wins
    with round 2, though its test accuracy would."""
    cycle = a_cycle(
        tests=(0.92, 0.92, 0.92), blocks=(12, 8, 6), schedule="similarity*2",
        more=({}, {"accepted": True}, {"accepted": False, "stride": 1, "val_accuracy": 0.89}),
        decisions={2: a_decision([[0], [1, 2]], [2], reason="blocks 1–2 are alike")},
        **{"similarity.max_drop": 0.01},
    )  # fmt: skip
    found = section(cycle)
    assert said(found, "no freeze keeps").startswith("no freeze keeps 8 of 12 blocks")
    assert said(found, "no freeze: round 2") == (
        "no freeze: round 2 (stride 1) was rejected with seed 0, having lost 3.00 points of validation accuracy, more "
        "than 1 (blocks 1–2 are alike)."
    )
    assert rows(found, "tickets")[0]["round"] == 1
    assert [point.round for point in charts(found, "curves")[0].lines[0].points] == [0, 1]
    assert rows(found, "similarity-pruning")[-1]["accepted"] is False


def test_a_comparison_that_removed_nothing_is_told_with_its_reason():
    """A round that is no pruning says why."""
    decision = a_decision([[0], [1]], [], reason="no two neighbouring blocks are alike")
    found = section(a_cycle(blocks=(12, 12), decisions={1: decision}))
    assert said(found, "no freeze removed") == (
        "no freeze removed no block in round 1 (no two neighbouring blocks are alike)."
    )


def test_wanda_is_told_before_and_after_retraining_against_what_it_pruned():
    """It pruned round 1 at 0.93, not the rejected round 2 at 0.5: −2 points before retraining, +1 after."""
    cycle = a_cycle(
        tests=(0.92, 0.93, 0.5, 0.94), blocks=(12, 8, 6, 8), schedule="similarity*2 wanda",
        more=({}, {}, {"accepted": False}, {"start_round": 1, "before_test_accuracy": 0.91}),
    )  # fmt: skip
    assert said(section(cycle), "no freeze: test accuracy after Wanda") == (
        "no freeze: test accuracy after Wanda at 0.5 (round 3) and before retraining is 2.00 points below the model it "
        "pruned (one seed, so without an interval), and retrained it is +1.00 points against it."
    )


def test_arms_that_never_meet_at_equal_sparsity_lack_nothing():
    """Arms that removed 4 and 2 blocks are not told to be unfinished."""
    found = section(a_cycle(), a_cycle(freeze=True, blocks=(12, 10)))
    assert any("share no round of their own at equal sparsity" in sentence for sentence in found.verdicts)
    assert not any("yet" in sentence for sentence in found.verdicts)


def test_budgets_are_of_each_rounds_own_pruning():
    """3 epochs dense, 2 after the removal, none after Wanda: 5 are asked; 2 a round were trained of the first two."""
    bare = {"epochs": 0, "train_loss": None, "train_accuracy": None}
    cycle = a_cycle(
        tests=(0.92,) * 3, blocks=(12, 8, 8), schedule="similarity wanda", more=({}, {}, bare),
        **{"similarity.epochs": 2, "wanda.epochs": 0},
    )  # fmt: skip
    bill = total(list(bills([cycle], {cycle.id: "a"}).values()))
    assert (bill.asked, bill.computed, bill.early) == (5, 4, 1)


def test_a_lottery_sweep_shows_nothing_of_blocks():
    """No front, no heat map, no table of encoders where no round has blocks."""
    plain = a_cycle(schedule="magnitude", more=({"blocks": None}, {"blocks": None}))
    found = section(plain)
    assert (charts(found, "front"), found.maps) == ([], ())
    assert not any("blocks" in table.title for table in found.tables)


def test_a_whole_sweep_of_encoders_is_told_the_same_twice():
    """Equal sweeps make equal documents; the lead names model, blocks and schedule."""
    one, two = (assemble([some_encoders()]) for _ in range(2))
    assert one == two
    assert one.sections[0].lead.startswith(
        "google-bert/bert-base-uncased of 12 blocks and 109,486,854 parameters on emotion"
    )
    assert "12 cycles of 3 prunings (similarity*2 wanda)" in one.sections[0].lead
    assert ENCODER.model.path in {row[3] for row in one.sections[0].tables[0].rows}


def test_one_seed_settles_nothing_and_is_said_once():
    """Arms with one seed are named in one sentence, and so are those that two seeds do not tell apart."""
    cycles = [a_cycle(seed, (0.9, 0.9 - 0.01 * freeze), freeze=freeze) for seed in (0, 1) for freeze in (False, True)]
    assert said(section(*cycles[:2]), "One seed has no interval").endswith("freeze and no freeze.")
    assert said(section(*cycles), "Up to 2 seeds do not tell apart").endswith("freeze and no freeze.")


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("google-bert/bert-base-uncased", "google-bert/bert-base-uncased"),
        ("bert-base-uncased", "bert-base-uncased"),
        ("/home/me/models/minilm/model", "minilm/model"),
        ("./mine/", "./mine"),
        ("~/a/b/c", "b/c"),
        ("toy", "toy"),
    ],
)
def test_a_model_is_called_by_its_name_not_by_where_a_machine_keeps_it(path, name):
    """A name of the hub is whole; of a folder's path its end is enough, and tells nothing of whose machine it was."""
    assert model_name(path) == name


class Heads(PruningSettings):
    """A plugin's pruning, within blocks."""

    implementation = "nowhere:Heads"
    needs_blocks = True
    key_fields: ClassVar = {"heads": "heads"}
    method: Literal["attention_heads"] = "attention_heads"
    heads: int = 4


def test_a_plugins_method_is_told_as_a_built_in_one(monkeypatch):
    """It has a table of its own, a sentence on what it costs before retraining, and its fields in the introduction."""
    monkeypatch.setitem(PRUNINGS, "attention_heads", Heads)
    cycle = a_cycle(
        tests=(0.92, 0.93, 0.94), blocks=(12, 8, 8), schedule="similarity attention_heads",
        more=({}, {}, {"before_test_accuracy": 0.91}), **{"attention_heads.heads": 3},
    )  # fmt: skip
    found = section(cycle)
    slugs = [table.slug for table in found.tables]
    assert slugs[:2] == ["similarity-pruning", "attention-heads-pruning"]
    assert found.tables[1].title == "Attention heads pruning: blocks before and after"
    assert [row["round"] for row in rows(found, "attention-heads-pruning")] == [0, 2]
    assert said(found, "no freeze: test accuracy after attention heads pruning (round 2) and before retraining is 2.00")
    assert "threshold 0.98, heads 3" in found.lead
