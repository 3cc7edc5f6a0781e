"""Planted reports: what they say is invented, the same every time."""

import math
import random
from collections.abc import Mapping, Sequence
from itertools import product

from planted import a_cnn, a_round

from lt_ray.cycle.cycle import Cycle
from lt_ray.cycle.models import Encoder
from lt_ray.cycle.results import BlockDecision, RoundResult
from lt_ray.cycle.settings import Scalar
from lt_ray.cycle.tasks import Emotion
from lt_ray.cycle.training import Training
from lt_ray.report.findings.document import Chart, Column, Curves, Document, Line, Point, ReportTable, Searched, Section
from lt_ray.report.reading.rows import ReportedCycle, ReportedSweep

SEVERAL = 3
ROUNDS = 21
ARMS = ("random", "rewind@0", "rewind@1")
_LOSS = {"random": 0.0105, "rewind@0": 0.0042, "rewind@1": 0.0021}
_T = 4.303
"""Student's t(0.975) of two degrees of freedom"""


def a_point(round: int, members: tuple[float, ...], sparsity: float | None = None) -> Point:
    n, mean = len(members), sum(members) / len(members)
    half = _T * math.sqrt(sum((x - mean) ** 2 for x in members) / (n - 1) / n) if n > 1 else None
    ends = (None, None) if half is None else (mean - half, mean + half)
    return Point(round, 1 - 0.8**round if sparsity is None else sparsity, mean, *ends, n, members)


def some_curves(arms: tuple[str, ...] = ARMS, slug: str = "test-accuracy", title: str = "Test accuracy") -> Curves:
    """A curve of 21 rounds and 3 cycles for each arm; the last arm's cycles end one after the other."""
    draw = random.Random(slug)
    curves = []
    for place, arm in enumerate(arms):
        offsets = [draw.gauss(0, 0.001) for _ in range(SEVERAL)]
        points = []
        for index in range(ROUNDS):
            lost = _LOSS.get(arm, 0.004) * (index / 8) ** (2.6 if arm in _LOSS else 2)
            gained = 0.006 * math.sin(math.pi * min(index / 9, 1)) if arm != "random" else 0.0
            left = SEVERAL - (index > 16) - (index > 18) if place == len(arms) - 1 else SEVERAL
            members = (0.889 - lost + gained + offset + draw.gauss(0, 0.0012) for offset in offsets[:left])
            points.append(a_point(index, tuple(round(max(member, 0.5), 4) for member in members)))
        curves.append(Line(arm, tuple(points)))
    return Curves(slug, title, tuple(curves), curves[0].points[0].mean, 0.005)


def some_means(curves: Curves) -> ReportTable:
    rows = [
        (p.round, p.x, *(c.points[p.round].mean for c in curves.lines), c0.points[p.round].n)
        for c0 in curves.lines[:1]
        for p in c0.points
    ]
    names = (Column("round"), Column("sparsity", 3), *(Column(c.arm, 4) for c in curves.lines), Column("cycles"))
    return ReportTable(
        "means", "Mean test accuracy by round", names, tuple(rows), "Each distinct dense round is counted once."
    )


def some_tickets() -> ReportTable:
    """Tickets of 9 cycles; two have none, and 10 is not before 9."""
    names = ("arm", "seed", "round", "sparsity", "test", "difference", "shared", "cycle")
    digits = (None, None, None, 3, 4, 4, None, None)
    draw = random.Random(5)
    rows: list[tuple[str | int | float | bool | None, ...]] = []
    for index in range(9):
        arm, seed, found = ARMS[index // 3], index % 3, (None, 2, 4, 9, 10, 12, 11, 14, None)[index]
        own = (
            (None,) * 4
            if found is None
            else (found, 1 - 0.8**found, 0.885 + draw.gauss(0, 0.002), draw.gauss(0, 0.003))
        )
        rows.append((arm, seed, *own, seed == 0, f"{draw.getrandbits(48):012x}"))
    columns = tuple(Column(name, own) for name, own in zip(names, digits, strict=True))
    return ReportTable(
        "tickets", "Winning tickets", columns, tuple(rows), "The sparsest round within 0.005 of its own dense one."
    )


def some_settings(cycles: int = 40) -> Searched:
    """Cycles of a search over numbers, words and a field that only rewound cycles have."""
    draw = random.Random(3)
    rows = []
    for index in range(cycles):
        lr, dropout = 10 ** draw.uniform(-4.5, -2), draw.uniform(0.1, 0.7)
        restart = draw.choice(["rewind", "random"])
        row = {
            "cycle": f"{draw.getrandbits(48):012x}", "arm": restart, "seed": index % 3, "training.lr": lr,
            "model.dropout": dropout, "magnitude.restart": restart,
            "training.batch_size": draw.choice([16, 32, 64, 128]),
        }  # fmt: skip
        if restart == "rewind":
            row["magnitude.rewind_epoch"] = draw.choice([0, 1, "last"])
        value = 0.9 - 0.03 * (math.log10(lr) + 3) ** 2 - 0.2 * (dropout - 0.45) ** 2 + draw.gauss(0, 0.004)
        if index != 7:
            row["val_accuracy"] = value - 0.02 * (restart == "random")
            row["winning_sparsity"] = draw.choice([0.2, 0.488, 0.672, 0.832])
        rows.append(row)
    keys = ("training.lr", "model.dropout", "training.batch_size", "magnitude.restart", "magnitude.rewind_epoch")
    importance = dict(zip(keys, (0.62, 0.17, 0.02, 0.15, 0.04), strict=True))
    note = "val_accuracy: validation accuracy of the last round, mean over seeds."
    return Searched(
        "search", "Searched settings", keys, ("val_accuracy", "winning_sparsity"), tuple(rows), importance, note
    )


LONG = "magnitude.restart=rewind, magnitude.rewind_epoch=last, magnitude.exclude=embedding.weight_and_more_besides"


def charts(section: Section, kind: str) -> list[Chart]:
    """A section's charts of one kind: `curves`, `front` or `settings`."""
    return [chart for chart in section.charts if chart.kind == kind]


def a_document() -> Document:
    """Three sweeps: arms, a search, and one that is incomplete and has long names."""
    curves = some_curves()
    arms = Section(
        "IMDb, CNN: rewound or re-initialised",
        "9 cycles of 21 rounds of the IMDb CNN, 3 seeds; every round removes a fifth of what remains, by magnitude.",
        (),
        (
            "Rewound to epoch 1, tickets win up to 95.6 % sparsity; re-initialised ones up to 59.0 %.",
            "At 89.3 % sparsity rewinding is better by 0.0161 [0.0102, 0.0220], 3 pairs of 3 seeds.",
        ),
        (curves,),
        (some_means(curves), some_tickets()),
        headline="Rewound to epoch 1, tickets win up to 95.6 % sparsity.",
    )
    search = Section(
        "IMDb, LSTM: settings",
        "40 cycles of a search with TPE for the highest validation accuracy after 3 rounds.",
        (),
        (),
        (some_settings(),),
        (),
        headline="The best of 40 points is at lr = 0.00113, dropout = 0.47: validation accuracy 0.9021.",
    )
    names = (LONG, "random", "a" * 60)
    incomplete = Section(
        "AG-news, LSTM: " + "an unreasonably long name of a sweep that somebody typed in a hurry",
        "27 of 36 cycles.",
        (
            "3 cycles failed: CUDA out of memory (tried to allocate 2.00 GiB).",
            "6 cycles are unfinished; the sweep may still run.",
            "4dcf02bb81aa was stopped after round 4: validation accuracy 0.31 below its dense one.",
        ),
        (),
        (some_curves(names, "agnews", "Test accuracy, AG-news"),),
        (ReportTable("empty", "Transferred tickets", (Column("arm"), Column("round")), ()),),
        headline="It cannot be told yet: the intervals of the arms overlap at every sparsity.",
    )
    return Document("Lottery tickets of the first week", (arms, search, incomplete))


LAYER, BERT = 7_087_872, 109_486_854
"""Parameters of a layer of BERT-base, and of all of it with 6 labels"""
ENCODER = Cycle(task=Emotion(), model=Encoder(), training=Training(optimizer="adamw", lr=5e-5, batch_size=32, epochs=3))


def an_encoder_round(cycle: str, round: int, test: float, *, blocks: int = 12, masked: int = 0, **more) -> RoundResult:
    """A round of BERT-base with fewer blocks, `masked` weights of them pruned; 2.5 ms of latency a block."""
    parameters = BERT - (12 - blocks) * LAYER
    latency = 0.002 + 0.0025 * blocks
    sparsity = (BERT - parameters + masked) / BERT
    own = {
        "parameters": parameters, "nonzero": parameters - masked, "blocks": blocks, "frozen_blocks": 0,
        "latency_s": latency, "latency_low_s": latency - 0.0005, "latency_high_s": latency + 0.0005,
        "test_s": 0.5 * blocks, "train_s": 100.0 * blocks, "start_round": round - 1 if round else None,
    }  # fmt: skip
    return a_round(cycle, round, val=test, sparsity=sparsity).model_copy(update=own | more)


def an_encoder(
    name: str, seed: int, results: Sequence[RoundResult], settings: Mapping[str, Scalar], schedule: str, **more
) -> ReportedCycle:
    """A cycle of BERT-base; cycles of one seed share their dense round."""
    cycle = ENCODER.with_settings(
        {"schedule": schedule, "seed": seed} | {k: v for k, v in settings.items() if v is not None}
    )
    own = [r.model_copy(update={"seed": seed} | ({"key": f"dense {seed}"} if r.round == 0 else {})) for r in results]
    return ReportedCycle(name, cycle, settings, "finished", tuple(own), **more)


def a_decision(
    clusters: Sequence[Sequence[int]], removed: Sequence[int], *, near: float = 0.99, far: float = 0.9, **more
) -> BlockDecision:
    """How blocks were compared: CKA `near` within a cluster and `far` between two."""
    places = [place for cluster in clusters for place in cluster]
    of = {place: index for index, cluster in enumerate(clusters) for place in cluster}
    cka = tuple(tuple(1.0 if a == b else near if of[a] == of[b] else far for b in places) for a in places)
    own = {
        "cka": cka, "threshold": 0.98, "stride": 1, "clusters": tuple(map(tuple, clusters)), "removed": tuple(removed),
        "frozen": (), "origins": tuple(places), "reason": f"stride 1 removes {', '.join(map(str, removed))}",
    }  # fmt: skip
    return BlockDecision(**(own | more))


def some_encoders(seeds: int = 3) -> ReportedSweep:
    """BERT-base: two removals at two thresholds, frozen or not, then Wanda; at 0.98 the second removal is rejected.

    Every number is drawn from its arm's and seed's name.
    """
    space = {
        "similarity.threshold": {"kind": "grid", "values": (0.98, 0.99), "when": {}},
        "similarity.freeze": {"kind": "grid", "values": (False, True), "when": {}},
    }
    cycles = []
    for threshold, freeze, seed in product((0.98, 0.99), (False, True), range(seeds)):
        name = f"t{threshold}-{'freeze' if freeze else 'all'}-{seed}"
        draw = random.Random(name)
        dense = random.Random(seed).gauss(0.924, 0.002)
        early, late = (8, 6) if threshold == 0.98 else (10, 9)
        lost = {8: 0.004, 6: 0.031, 10: -0.002, 9: 0.003}

        def test(blocks: int, more: float = 0.0, dense: float = dense, draw: random.Random = draw, lost=lost) -> float:
            return round(dense - lost[blocks] - more + draw.gauss(0, 0.0015), 4)

        rejected = threshold == 0.98
        before = [test(early, 0.2), test(late, 0.3), test(early if rejected else late, 0.004)]
        kept = early if rejected else late
        linear = round(0.5 * kept * 7_077_888)
        frozen = {early: early // 2, late: late // 2} if freeze else {early: 0, late: 0}
        results = [
            an_encoder_round(name, 0, round(dense, 4)),
            an_encoder_round(
                name, 1, test(early), blocks=early, before_test_accuracy=before[0], before_test_loss=1.1, stride=1,
                accepted=True, frozen_blocks=frozen[early],
            ),
            an_encoder_round(
                name, 2, test(late), blocks=late, before_test_accuracy=before[1], before_test_loss=1.3, stride=1,
                accepted=not rejected, frozen_blocks=frozen[late],
            ),
            an_encoder_round(
                name, 3, test(kept, -0.001), blocks=kept, masked=linear, before_test_accuracy=before[2],
                before_test_loss=0.4, start_round=1 if rejected else 2, frozen_blocks=frozen[kept],
            ),
        ]  # fmt: skip
        settings: dict[str, Scalar] = {"similarity.threshold": threshold, "similarity.freeze": freeze}
        cycles.append(
            an_encoder(
                name, seed, results, settings, "similarity*2 wanda", decisions=_decisions(seed, threshold, freeze),
            )
        )  # fmt: skip
    data = {"train": 16000, "validation": 2000, "test": 2000, "classes": 6}
    return ReportedSweep("emotion_bert", space, 0.005, "emotion", tuple(cycles), {"gpu": "1 × a GPU"}, data)


def _decisions(seed: int, threshold: float, freeze: bool) -> dict[int, BlockDecision]:
    """Of two rounds: the first compares the dense model, and does so for every arm of a seed."""

    def near(places: Sequence[int]) -> tuple[tuple[float, ...], ...]:
        draw = random.Random(seed)
        at = [1.2 * math.log1p(place) + 0.02 * draw.random() for place in range(12)]
        return tuple(tuple(round(math.exp(-0.05 * abs(at[a] - at[b]) ** 1.3), 4) for b in places) for a in places)

    early = ((0,), (1,), (2, 3), (4, 5), (6, 7), (8, 9), (10,), (11,))
    if threshold == 0.99:
        early = ((0,), (1,), (2,), (3,), (4, 5), (6,), (7,), (8, 9), (10,), (11,))
    removed = tuple(place for cluster in early for place in cluster[1:])
    left = tuple(place for place in range(12) if place not in removed)
    clusters = ((0,), (1, 2), *((place,) for place in range(3, len(left))))
    frozen = (0, 11) if freeze else ()
    own = {"threshold": threshold, "stride": 1}
    first = BlockDecision(
        cka=near(range(12)), clusters=early, removed=removed, frozen=frozen, origins=tuple(range(12)),
        reason=f"blocks are alike from CKA {threshold}; stride 1 removes {', '.join(map(str, removed))}", **own,
    )  # fmt: skip
    second = BlockDecision(
        cka=near(left), clusters=clusters, removed=(2,), frozen=frozen[:1], origins=left,
        reason=f"blocks 1–2 are alike from CKA {threshold}; stride 1 removes 2", **own,
    )  # fmt: skip
    return {1: first, 2: second}


def some_arms(seeds: int) -> ReportedSweep:
    """IMDb's arms: rewound tickets keep their accuracy for two rounds of three, re-initialised ones for none."""
    space = {"magnitude.restart": {"kind": "grid", "values": ("rewind", "random"), "when": {}}}
    cycles = []
    for restart, seed in product(("rewind", "random"), range(seeds)):
        lost = (0.0, -0.002, 0.001, 0.02) if restart == "rewind" else (0.0, 0.03, 0.06, 0.09)
        results = []
        for index, own in enumerate(lost):
            test = 0.89 + 0.001 * seed - own + (0.0002 * seed if restart == "random" and index else 0.0)
            key = f"dense {seed}" if index == 0 else None
            results.append(a_round(f"{restart}-{seed}", index, val=test, key=key).model_copy(update={"seed": seed}))
        settings: dict[str, Scalar] = {"magnitude.restart": restart}
        cycle = a_cnn(seed=seed, **settings)
        cycles.append(ReportedCycle(f"{restart}-{seed}", cycle, settings, "finished", tuple(results)))
    return ReportedSweep("imdb_lt", space, 0.005, "imdb", tuple(cycles), {}, {"train": 28000})


def a_search(points: int = 12) -> ReportedSweep:
    """A search for a learning rate and a dropout: the best point is the one whose rate is nearest to 0.001."""
    draw = random.Random(7)
    space = {
        "training.lr": {"kind": "log_uniform", "values": (0.0001, 0.01), "when": {}},
        "model.dropout": {"kind": "uniform", "values": (0.1, 0.7), "when": {}},
    }
    cycles = []
    for index in range(points):
        lr, dropout = (0.001, 0.5) if index == 5 else (10 ** draw.uniform(-4, -2), draw.uniform(0.1, 0.7))
        test = 0.9 - 0.03 * math.log10(lr / 0.001) ** 2
        results = [a_round(f"c{index}", 0, val=test - 0.01), a_round(f"c{index}", 1, val=test)]
        settings: dict[str, Scalar] = {"training.lr": lr, "model.dropout": dropout}
        cycles.append(ReportedCycle(f"c{index}", a_cnn(rounds=1, **settings), settings, "finished", tuple(results)))
    return ReportedSweep("imdb_search", space, 0.005, "imdb", tuple(cycles), {}, {"train": 28000})
