"""Planted reports: what they say is invented, the same every time."""

import math
import random

from lt_ray.report.document import Column, Curve, CurvePoint, Curves, Document, Section, Settings, Table

SEVERAL = 3
ROUNDS = 21
ARMS = ("random", "rewind@0", "rewind@1")
_LOSS = {"random": 0.0105, "rewind@0": 0.0042, "rewind@1": 0.0021}
_T = 4.303
"""Student's t(0.975) of two degrees of freedom"""


def a_point(round: int, members: tuple[float, ...], sparsity: float | None = None) -> CurvePoint:
    n, mean = len(members), sum(members) / len(members)
    half = _T * math.sqrt(sum((x - mean) ** 2 for x in members) / (n - 1) / n) if n > 1 else None
    ends = (None, None) if half is None else (mean - half, mean + half)
    return CurvePoint(round, 1 - 0.8**round if sparsity is None else sparsity, mean, *ends, n, members)


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
        curves.append(Curve(arm, tuple(points)))
    return Curves(slug, title, tuple(curves), curves[0].points[0].mean, 0.005)


def some_means(curves: Curves) -> Table:
    rows = [
        (p.round, p.sparsity, *(c.points[p.round].mean for c in curves.curves), c0.points[p.round].n)
        for c0 in curves.curves[:1]
        for p in c0.points
    ]
    names = (Column("round"), Column("sparsity", 3), *(Column(c.arm, 4) for c in curves.curves), Column("cycles"))
    return Table(
        "means", "Mean test accuracy by round", names, tuple(rows), "Each distinct dense round is counted once."
    )


def some_tickets() -> Table:
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
    return Table(
        "tickets", "Winning tickets", columns, tuple(rows), "The sparsest round within 0.005 of its own dense one."
    )


def some_settings(cycles: int = 40) -> Settings:
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
    return Settings(
        "search", "Searched settings", keys, ("val_accuracy", "winning_sparsity"), tuple(rows), importance, note
    )


LONG = "magnitude.restart=rewind, magnitude.rewind_epoch=last, magnitude.exclude=embedding.weight_and_more_besides"


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
        (),
    )
    search = Section(
        "IMDb, LSTM: settings",
        "40 cycles of a search with TPE for the highest validation accuracy after 3 rounds.",
        (),
        ("The best of 40 points is at lr = 0.00113, dropout = 0.47: validation accuracy 0.9021.",),
        (),
        (),
        (some_settings(),),
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
        ("It cannot be told yet: the intervals of the arms overlap at every sparsity.",),
        (some_curves(names, "agnews", "Test accuracy, AG-news"),),
        (Table("empty", "Transferred tickets", (Column("arm"), Column("round")), ()),),
        (),
    )
    return Document("Lottery tickets of the first week", (arms, search, incomplete))
