"""Whether a report's intervals cover and its statements are true, on reports of planted results.

    make bench          (1,000 reports)

Each report has 4 arms and 4 pruned rounds, 2 to 6 seeds and 1 to 10 draws of another setting a seed; accuracies are the
planted ones plus what a seed does to an arm, what a draw does, and the rounding to counts of 1,000 test examples. In
half of the reports no two arms differ and all stay at the bound of a winning ticket, where falsehoods are easiest.

- *coverage*: intervals of paired differences, as the report's table has them, that hold the planted difference. Goal
  93 %.
- *false*: reports that say at least one falsehood: two arms told apart where they are equal or in the wrong direction,
  a crossing that is not there, or an arm told to be on the wrong side of its bound. Goal at most 6 %.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

from lt_ray.cycle.cycle import Cycle
from lt_ray.cycle.prunings import Magnitude
from lt_ray.cycle.results import RoundResult
from lt_ray.cycle.settings import Scalar
from lt_ray.cycle.training import Training
from lt_ray.report.findings.compare import Compared, compare, groups
from lt_ray.report.reading.rows import ReportedCycle, ReportedSweep

ARMS, ROUNDS, TEST = 4, 4, 1000
DENSE, TOLERANCE = 0.9, 0.005
Accuracies = npt.NDArray[np.float64]
_DRAW = "training.lr"
_ARM = "magnitude.rewind_epoch"
_SPACE = {
    _ARM: {"kind": "grid", "values": tuple(range(ARMS)), "when": {}},
    _DRAW: {"kind": "log_uniform", "values": (0.0001, 0.01), "when": {}},
}


@dataclass
class Found:
    """What reports came to."""

    reports: int = 0
    intervals: int = 0
    covered: int = 0
    statements: int = 0
    """Differences and falls that were told"""
    false_reports: int = 0


def simulate(reports: int, seed: int) -> Found:
    """Return what so many reports of planted results came to."""
    random, found = np.random.default_rng(seed), Found()
    for place in range(reports):
        null = place % 2 == 0
        seeds, draws = int(random.integers(2, 7)), int(random.choice([1, 3, 10]))
        truth = np.full((ARMS, ROUNDS), DENSE - TOLERANCE)
        if not null:
            truth += random.choice([0.0, 0.0, -0.02, -0.05, 0.02], (ARMS, 1)) * np.linspace(-0.5, 1, ROUNDS)
        (compared,) = compare(groups(_sweep(truth, seeds, draws, random)))
        _judge(compared, truth, found)
        found.reports += 1
    return found


def _judge(compared: Compared, truth: Accuracies, found: Found) -> None:
    wrong = False
    for item in compared.pairs:
        one, other = (int(name.rpartition("@")[2].rpartition("=")[2]) for name in (item.arm, item.against))
        for level in item.levels:
            planted = truth[one, level.round - 1] - truth[other, level.round - 1]
            low, high = level.difference.low, level.difference.high
            assert low is not None
            assert high is not None
            found.intervals += 1
            found.covered += bool(low <= planted <= high)
            found.statements += level.sign != 0
            wrong |= level.sign != 0 and level.sign != np.sign(np.round(planted, 9))
        for crossing in item.crossings:
            sides = truth[one] - truth[other]
            wrong |= bool(sides[crossing.before.round - 1] * sides[crossing.after.round - 1] >= 0)
    for item in compared.falls:
        own = truth[int(item.arm.rpartition("@")[2].rpartition("=")[2])] - DENSE + TOLERANCE
        for level in item.levels:
            found.statements += level.sign != 0
            wrong |= level.sign != 0 and level.sign != np.sign(np.round(own[level.round - 1], 9))
    found.false_reports += wrong


def _sweep(truth: Accuracies, seeds: int, draws: int, random: np.random.Generator) -> ReportedSweep:
    of_seed = random.normal(0, 0.01, (ARMS, seeds, 1, ROUNDS))
    of_draw = random.normal(0, 0.005, (ARMS, seeds, draws, ROUNDS))
    accuracies = np.round((truth[:, None, None, :] + of_seed + of_draw) * TEST) / TEST
    cycles = [
        _cycle(arm, seed, draw, accuracies[arm, seed, draw])
        for arm in range(ARMS)
        for seed in range(seeds)
        for draw in range(draws)
    ]
    return ReportedSweep("planted", _SPACE, TOLERANCE, "toy", tuple(cycles), {}, {})


def _cycle(arm: int, seed: int, draw: int, accuracies: Accuracies) -> ReportedCycle:
    own: dict[str, Scalar] = {"magnitude.restart": "rewind", _ARM: arm, _DRAW: 0.001 * (1 + draw)}
    name = f"{arm}-{seed}-{draw}"
    rounds = [_round(name, seed, place, float(value)) for place, value in enumerate((DENSE, *accuracies))]
    return ReportedCycle(name, _asked(arm, seed, draw), own, "finished", tuple(rounds))


@cache
def _asked(arm: int, seed: int, draw: int) -> Cycle:
    pruning = Magnitude(restart="rewind", rewind_epoch=arm)
    return Cycle(seed=seed, training=Training(lr=0.001 * (1 + draw)), schedule=(pruning,) * ROUNDS)


def _round(cycle: str, seed: int, round: int, accuracy: float) -> RoundResult:
    share = 1 - 0.8**round
    key = f"{cycle if round else cycle.partition('-')[2]}-{round}"  # arms share the dense round of a seed and draw
    return RoundResult(
        cycle=cycle, seed=seed, key=key, round=round, sparsity=share, density=1 - share, remaining=round, prunable=1000,
        parameters=1000, restart_epoch=None, epochs=1, best_epoch=1, train_loss=None, train_accuracy=None, val_loss=0.5,
        val_accuracy=accuracy, test_loss=0.5, test_accuracy=accuracy, train_s=1.0, eval_s=0.1, finished_at=0.0,
        source="computed",
    )  # fmt: skip


def main() -> None:
    """Print the figures of 1,000 reports."""
    found = simulate(1000, seed=9)
    covered, false = 100 * found.covered / found.intervals, 100 * found.false_reports / found.reports
    print(f"{found.reports:,} reports")
    print(f"coverage: {covered:.1f} % of {found.intervals:,} intervals (goal ≥ 93 %)")
    print(f"false: {false:.1f} % of reports (goal ≤ 6 %), of {found.statements:,} statements in all")


if __name__ == "__main__":
    main()
