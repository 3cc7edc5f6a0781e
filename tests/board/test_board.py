"""The board of a running sweep, its two faces, and those who watch."""

import contextlib
import fcntl
import io
import json
import os
import pty
import re
import shutil
import struct
import subprocess
import sys
import termios
import threading
import time
from pathlib import Path

import pytest
from filelock import FileLock
from forking import Process
from rich.console import Console
from rich.segment import Segment

from lt_ray.board.board import Board
from lt_ray.board.face import bar, clock, face
from lt_ray.board.live import LiveBoard
from lt_ray.board.results import show_results
from lt_ray.cycle.cycle import Cycle
from lt_ray.cycle.facts import Facts
from lt_ray.cycle.models import Cnn, Transformer
from lt_ray.cycle.prunings import Magnitude, Wanda
from lt_ray.cycle.results import EpochResult, RoundResult
from lt_ray.cycle.tasks import Toy
from lt_ray.cycle.training import Training
from lt_ray.sweep.directory import SweepDirectory
from lt_ray.sweep.plan import Grounds, Plan, PlannedCycle, Planner
from lt_ray.sweep.space import Distribution, Space
from lt_ray.sweep.sweep import Sweep

ROOT = Path(__file__).parents[2]
BASE = Cycle(
    task=Toy(train=60, validation=20, test=20),
    model=Cnn(vocabulary=100, embedding=3, filters=2, widths=(2,)),
    training=Training(epochs=4, batch_size=30, lr=0.00093),
    schedule=(Magnitude(fraction=0.5),) * 3,
)
BEGUN = 1000.0
SPACE = Space(
    distributions={
        "training.lr": Distribution(kind="grid", values=(0.00093, 0.0017)),
        "model.dropout": Distribution(kind="grid", values=(0.3, 0.4183, 0.592)),
        "magnitude.rewind_epoch": Distribution(kind="grid", values=(0, "last")),
    }
)


def planned(cycles: int) -> Plan:
    """A plan of 1, or of 12 points × seeds, cycles; those that differ in `rewind_epoch` alone share round 0."""
    plan = crossed(SPACE if cycles > 1 else Space(), seeds=max(1, cycles // 12))
    assert len(plan.cycles) == cycles
    return plan


def crossed(space: Space, seeds: int = 1, cycle: Cycle = BASE) -> Plan:
    sweep = Sweep(name="reviews", cycle=cycle, space=space, seeds=seeds)
    return Planner(sweep, Grounds(Facts(rows=100), "data")).plan()


def board_of(plan: Plan, **more) -> Board:
    board = Board("reviews", "2 at once · 1 CPU a trial, no GPU", tolerance=0.005, begun=BEGUN, **more)
    for item in plan.cycles:
        board.add(item)
    return board


def done(item: PlannedCycle, round: int, at: float, *, val: float = 0.9, source: str = "computed") -> RoundResult:
    share = 1 - 0.5**round
    return RoundResult(
        cycle=item.id, seed=item.cycle.seed, key=item.rounds[round].key, round=round, parameters=1000,
        restart_epoch=None, epochs=4, best_epoch=2, train_loss=0.5, train_accuracy=0.8, val_loss=0.5, val_accuracy=val,
        test_loss=0.5, test_accuracy=val, train_s=8.0, eval_s=1.0, finished_at=at, sparsity=share, density=1 - share,
        remaining=1000 - int(1000 * share), prunable=1000, source=source,
    )  # fmt: skip


def epoch(item: PlannedCycle, round: int, number: int, at: float) -> EpochResult:
    return EpochResult(
        cycle=item.id, seed=item.cycle.seed, round=round, epoch=number, train_loss=0.5, train_accuracy=0.8,
        val_loss=0.5, val_accuracy=0.85, train_s=2.0, eval_s=0.5, finished_at=at,
    )  # fmt: skip


def lines(board: Board, width: int = 160, height: int | None = None, now: float = BEGUN + 100) -> list[str]:
    return ["".join(segment.text for segment in line).rstrip() for line in rendered(board, width, height, now)]


def rendered(board: Board, width: int, height: int | None, now: float) -> list[list[Segment]]:
    return Console(width=width, file=io.StringIO()).render_lines(face(board, width, height, now))


def colour(board: Board, shown: str) -> str:
    """What the first cell that shows a text is drawn in."""
    segments = (segment for line in rendered(board, 160, None, BEGUN) for segment in line)
    return next(str(segment.style) for segment in segments if shown in segment.text)


def busy(cycles: int) -> Board:
    """A board with cycles in every state, as far as there are enough."""
    plan = planned(cycles)
    board = board_of(plan)
    for place, item in enumerate(plan.cycles):
        if place >= max(1, cycles * 2 // 3):
            break  # the rest waits
        board.started(item.id, BEGUN)
        board.event(done(item, 0, BEGUN + 10))
        if place == 1:
            board.end(
                item.id, "failed", "DivergedError: the training loss left the finite numbers in epoch 3 of round 1"
            )
        elif place == 2:
            board.end(item.id, "stopped", "max-drop: 0.0600 below its dense validation accuracy at round 2")
        elif place % 3 == 0 and place:
            for round in (1, 2, 3):
                board.event(done(item, round, BEGUN + 10 * round + 10))
        else:
            board.event(done(item, 1, BEGUN + 20, val=0.88))
            board.event(epoch(item, 2, 3, BEGUN + 27))
    return board


# What fits


@pytest.mark.parametrize(("width", "height"), [(80, 24), (160, 48)])
@pytest.mark.parametrize("cycles", [1, 12, 60])
def test_the_board_fits_and_tells_what_it_must(cycles, width, height):
    """At 80 × 24 and 160 × 48 with 1, 12 and 60 cycles nothing is wider or longer than the terminal or cut off."""
    board = busy(cycles)
    shown = lines(board, width, height)
    assert len(shown) <= height
    assert max(map(len, shown)) <= width
    text = "\n".join(shown)
    for word in ("reviews", f"/{board.rounds} rounds", "elapsed 1:40", "ETA ", "sparsity", "val", "dense", "seed"):
        assert word in text
    for word in ("1/3", "0.500", "0.8800", "−0.0200", "2.5", "running", "2 at once · 1 CPU a trial"):
        assert word in text, word
    if cycles > 1:
        assert "failed" in text
        assert "DivergedError: the training loss" in text
        assert re.search(r"rewind@(0|last) +0 +0\.00093 +0\.3 ", text), "arm, seed and each number have their column"
        assert re.search(r"waiting", text)


@pytest.mark.parametrize("cycles", [1, 12, 60])
def test_no_terminal_is_too_small(cycles):
    """Whatever the size, no line is wider and there are no more lines than the terminal has."""
    board = busy(cycles)
    for width in range(20, 201, 9):
        for height in (1, 2, 5, 9, 14, 24, 60):
            shown = lines(board, width, height)
            assert len(shown) <= height
            assert max(map(len, shown)) <= width, (width, height)


def test_what_does_not_fit_is_counted():
    """Running cycles come first, then failed and stopped ones; one line counts those without a row."""
    board = busy(60)
    shown = lines(board, 160, 18)
    rest = next(line for line in shown if line.startswith("…"))
    states = [line.split()[-1] for line in shown if re.match("[0-9a-f]{4,12} +rewind", line)]
    assert states[0] == "running"
    assert sum(map(int, re.findall(r"\d+", rest))) + len(states) == 60
    tall = [line for line in lines(board, 160, 48) if re.match("[0-9a-f]{4,12} +rewind", line)]
    order = [
        next(state for state in ("running", "failed", "stopped", "done", "waiting") if state in line) for line in tall
    ]
    ranks = [{"running": 0, "failed": 1, "stopped": 1, "done": 2, "waiting": 3}[state] for state in order]
    assert ranks == sorted(ranks)
    assert {"running", "failed", "stopped", "done"} <= set(order)


def test_a_row_names_its_cycle_by_the_beginning_of_its_id():
    """On a narrow terminal each row has the beginning of its cycle's id that no other cycle has."""
    board = busy(60)
    ids = [row.cycle.id for row in board.rows()]
    shown = [line.split()[0] for line in lines(board, 80) if "rewind@" in line and "best" not in line]
    assert len(shown) == 60
    assert [sum(id.startswith(beginning) for id in ids) for beginning in shown] == [1] * 60
    assert {len(beginning) for beginning in shown} <= {4, 5}


def test_columns_stay_where_they_are():
    """What arrives while a sweep runs moves no column."""
    plan = planned(12)
    first = plan.cycles[0]
    board = board_of(plan)

    def heading() -> list[str]:
        return [line for line in lines(board, 100, 30) if line.endswith("state")]

    before = heading()
    board.started(first.id, BEGUN)
    assert heading() == before
    for event in (epoch(first, 0, 2, BEGUN + 5), done(first, 0, BEGUN + 10), done(first, 1, BEGUN + 20, val=0.8)):
        board.event(event)
        assert heading() == before


def test_a_bar_needs_no_colour():
    """Full and empty parts of a bar are different signs, and its length is the share of the width."""
    assert bar(0.5, 10, "green").plain == "━━━━━─────"
    assert bar(0.25, 10, "green").plain == "━━╸───────"
    assert bar(0, 4, "green").plain == "────"
    assert bar(1.7, 4, "green").plain == "━━━━"
    assert [clock(seconds) for seconds in (42, 4222, 183600)] == ["0:42", "1:10:22", "2 d 3 h"]


def test_an_accuracy_is_coloured_by_what_it_lost():
    """Within the tolerance of the dense accuracy is green, a little below yellow, far below red."""
    plan = planned(1)
    for val, shown, style in ((0.895, "−0.0050", "green"), (0.8949, "−0.0051", "yellow"), (0.879, "−0.0210", "red")):
        board = board_of(plan)
        board.event(done(plan.cycles[0], 0, BEGUN + 10, val=0.9))
        board.event(done(plan.cycles[0], 1, BEGUN + 20, val=val))
        assert colour(board, shown) == style


def test_where_lower_is_better_more_is_a_loss():
    """Of a metric whose lowest value is best, more is a loss, shown as what was added, and the best is the lowest."""
    plan = planned(12)

    def error(item: PlannedCycle, round: int, rmse: float) -> RoundResult:
        more = {"metric": "rmse", "best": "lowest", "val_rmse": rmse, "test_rmse": rmse}
        return done(item, round, BEGUN).model_copy(update=more)

    for rmse, style, shown in ((1.995, "green", "−0.0050"), (2.005, "green", "+0.0050"), (2.5, "red", "+0.5000")):
        board = board_of(plan)
        for item, end in zip(plan.cycles[:2], (rmse, 3.0), strict=True):
            board.event(error(item, 0, 2.0))
            board.event(error(item, 1, end))
        assert colour(board, shown) == style
        assert f"best val   {rmse:.4f} in round 1/3" in "\n".join(lines(board))


# What it knows


def test_nothing_is_promised_before_anything_is_known():
    """The ETA is a dash until an epoch or a round of this run was seen."""
    plan = planned(1)
    board = board_of(plan)
    board.started(plan.cycles[0].id, BEGUN)
    assert board.eta_s(BEGUN + 5) is None
    assert "ETA –" in lines(board)[0]


def test_epochs_give_a_bound_before_the_first_round():
    """Before a round is finished the ETA is a bound: the seconds of an epoch × the most epochs × the rounds left."""
    plan = planned(1)
    board = board_of(plan)
    board.started(plan.cycles[0].id, BEGUN)
    board.event(epoch(plan.cycles[0], 0, 1, BEGUN + 2.5))
    assert board.eta_s(BEGUN + 2.5) == (pytest.approx(4 * 4 * 2.5 - 2.5), True)
    assert "ETA ≤ 0:38" in lines(board, now=BEGUN + 2.5)[0]


def test_the_eta_of_a_planted_sequence():
    """Rounds of 10 s each, one cycle of four: 30 s are left after the first, and 4 s later 26 s."""
    (item,) = (plan := planned(1)).cycles
    board = board_of(plan)
    board.started(item.id, BEGUN)
    board.event(done(item, 0, BEGUN + 10))
    assert board.eta_s(BEGUN + 10) == (pytest.approx(30), False)
    assert board.eta_s(BEGUN + 14) == (pytest.approx(26), False)
    board.event(done(item, 1, BEGUN + 30))
    assert board.eta_s(BEGUN + 30) == (pytest.approx(2 * 15), False)


def test_trials_at_once_share_the_work():
    """With 12 cycles of 4 rounds, 6 dense rounds shared by two each, 10 s a round and 2 at once: 42 − 2 rounds / 2."""
    plan = planned(12)
    assert len(plan.keys) == 42
    board = board_of(plan)
    for item in plan.cycles[:2]:
        board.started(item.id, BEGUN)
    for item in plan.cycles[:2]:
        board.event(done(item, 0, BEGUN + 10))
    assert board.eta_s(BEGUN + 10) == (pytest.approx(40 * 10 / 2), False)


def test_a_sweep_lasts_as_long_as_its_longest_cycle():
    """When two run at once, one with 3 rounds left and one with 1, the rounds left are not divided by two."""
    plan = planned(12)
    board = board_of(plan)
    first, second, *others = plan.cycles
    for item in others:
        for round in range(4):
            board.found(done(item, round, BEGUN - 50))
    for round in range(2):
        board.found(done(second, round, BEGUN - 50))
    board.started(first.id, BEGUN)
    board.started(second.id, BEGUN)
    board.event(done(first, 0, BEGUN + 10))
    board.event(done(second, 2, BEGUN + 10))
    assert board.eta_s(BEGUN + 10) == (pytest.approx(30), False)


def test_found_and_shared_rounds_are_no_speed():
    """Rounds from the store, and rounds that another cycle computed, tell nothing about seconds a round."""
    plan = planned(12)
    board = board_of(plan)
    first, second = plan.cycles[:2]
    board.found(done(first, 0, BEGUN - 500))
    board.started(second.id, BEGUN)
    board.event(done(second, 0, BEGUN + 1, source="reused"))
    assert board.eta_s(BEGUN + 2) is None
    assert board.finished == len({first.rounds[0].key, second.rounds[0].key})


def test_a_cycle_with_an_event_is_running():
    """An event makes a cycle running, its last round makes it done, and what has ended stays ended."""
    plan = planned(12)
    board = board_of(plan)
    first, second, third = plan.cycles[:3]
    board.event(epoch(first, 0, 1, BEGUN + 1))
    assert board.states() == {"running": 1, "waiting": 11}
    for round in range(4):
        board.event(done(second, round, BEGUN + 10 * round))
    board.end(third.id, "failed", "lost")
    assert board.states() == {"running": 1, "done": 1, "failed": 1, "waiting": 9}
    assert not board.started(third.id, BEGUN + 50)
    assert not board.started(second.id, BEGUN + 50)
    assert board.states()["running"] == 1


def test_cycles_may_come_later():
    """A cycle that is added while the sweep runs gets the next number, and more rounds to go."""
    plan = planned(12)
    board = Board("reviews", begun=BEGUN)
    board.add(plan.cycles[0])
    assert board.rounds == 4
    board.event(done(plan.cycles[0], 0, BEGUN + 10))
    board.add(plan.cycles[1])
    board.add(plan.cycles[1])
    assert [row.number for row in board.rows()] == [1, 2]
    assert board.rounds == len({round.key for item in plan.cycles[:2] for round in item.rounds})


def test_a_finished_shared_round_is_shown_of_all_who_share_it():
    """A cycle that waits shows its finished round 0, whoever computed it."""
    plan = planned(12)
    key = plan.cycles[0].rounds[0].key
    sharing = [item for item in plan.cycles if item.rounds[0].key == key]
    assert len(sharing) == 2
    board = board_of(plan)
    board.event(done(sharing[0], 0, BEGUN + 10, val=0.9123))
    assert sum("0.9123" in line and "0/3" in line for line in lines(board) if "best" not in line) == 2


def test_a_watcher_sees_the_same_board():
    """A board made of the store's rounds and of the snapshot, by way of JSON, shows the same lines."""
    plan = planned(12)
    board = busy(12)
    tree = json.loads(json.dumps(board.snapshot(BEGUN + 100)))
    other = Board("reviews", tolerance=0.005)
    for item in plan.cycles:
        other.add(item)
    for row in board.rows():
        for result in row.results.values():
            other.found(result)
    other.restore(tree)
    assert lines(other, 160, 48) == lines(board, 160, 48)
    assert other.eta_s(BEGUN + 100) == pytest.approx(board.eta_s(BEGUN + 100))


def test_without_a_driver_nothing_runs():
    """Where nobody runs the sweep, begun cycles are interrupted and the others wait."""
    board = busy(12)
    running = board.states()["running"]
    board.abandoned()
    assert board.states()["interrupted"] == running
    assert "not running" in lines(board)[0]
    assert "ETA" not in lines(board)[0]


def test_who_looks_hinders_no_driver(tmp_path):
    """Whether a driver is at work is told by its lock, which a look does not keep it from."""
    directory = SweepDirectory(tmp_path / "reviews")
    assert directory.driven() is False
    with directory.driving():
        assert directory.driven() is True
        assert directory.driven() is True
    assert directory.driven() is False
    look = FileLock(tmp_path / "reviews" / "driver.lock", thread_local=False)
    look.acquire()
    threading.Timer(0.1, look.release).start()
    with directory.driving():
        pass


def test_a_snapshot_that_cannot_be_written_ends_nothing(tmp_path):
    """Where the snapshot cannot be kept, a sweep's progress goes on as if nothing had happened."""
    plan = planned(1)
    (tmp_path / "reviews" / "live.json" / "in the way").mkdir(parents=True)
    with LiveBoard(plan, SweepDirectory(tmp_path / "reviews"), "one at a time") as progress:
        progress.finished(done(plan.cycles[0], 0, time.time()))
    assert SweepDirectory(tmp_path / "reviews").kept("live") is None


def test_epochs_of_a_shared_round_are_printed_once(tmp_path, capsys):
    """Cycles that share a round hand on the same epochs, each under its own name: into a pipe each is one line, and an
    epoch of another training is another."""
    plan = planned(12)
    of_round = [item for item in plan.cycles if item.rounds[0].key == plan.cycles[0].rounds[0].key]
    assert len(of_round) == 2
    long = {"train_s": 60.0}
    with LiveBoard(plan, SweepDirectory(tmp_path / "reviews"), "one at a time") as progress:
        for item in of_round:
            for number in (1, 2):
                progress.epoch(epoch(item, 0, number, BEGUN + number).model_copy(update=long))
        other = next(item for item in plan.cycles if item not in of_round)
        progress.epoch(epoch(other, 0, 1, BEGUN + 3).model_copy(update=long))
    lines = [line for line in capsys.readouterr().out.splitlines() if " epoch " in line]
    assert [line.split(" epoch ")[1][0] for line in lines] == ["1", "2", "1"]


# Results


def test_no_winners_before_a_pruned_round(capsys):
    """Winning tickets are counted once there is a pruned round, and not before."""
    plan = planned(12)
    show_results(plan, {plan.cycles[0].id: [done(plan.cycles[0], 0, BEGUN)]})
    assert "Winning" not in capsys.readouterr().out
    show_results(plan, {plan.cycles[0].id: [done(plan.cycles[0], r, BEGUN) for r in (0, 1)]})
    assert "Winning tickets: 1 of 12 cycles" in capsys.readouterr().out


def test_results_show_a_shared_round_of_all_who_share_it(capsys):
    """In a table of partial results a finished round 0 counts for every cycle that has it."""
    plan = planned(12)
    results = {item.id: [done(item, 0, BEGUN, val=0.75)] for item in plan.cycles[:6]}
    show_results(plan, results)
    assert capsys.readouterr().out.count("0.7500 (1)") == 12


def test_points_whose_names_are_alike_are_not_averaged(capsys):
    """Learning rates that differ in the fourth digit alone are two arms, told apart by what differs, in full."""
    rates = (0.001234, 0.00123)
    space = Space(
        distributions={
            "training.lr": Distribution(kind="grid", values=rates),
            "model.dropout": Distribution(kind="grid", values=(0.3, 0.4)),
        }
    )
    plan = crossed(space, seeds=2)
    vals = dict(zip(rates, (0.75, 0.25), strict=True))
    show_results(plan, {i.id: [done(i, 0, BEGUN, val=vals[i.cycle.training.lr])] for i in plan.cycles})
    shown = capsys.readouterr().out
    for dropout in (0.3, 0.4):
        for rate, val in vals.items():
            assert re.search(rf"lr=0.00123 dropout={dropout} \(training.lr={rate}\) +{val:.4f} \(2\)", shown), shown


@pytest.mark.parametrize("width", [60, 80, 120])
@pytest.mark.parametrize(("pruning", "by_rounds"), [(Magnitude(), True), (Wanda(), False)])
def test_blocks_are_told_where_a_method_prunes_them(pruning, by_rounds, width, capsys, monkeypatch):
    """Arms × rounds are shown of a lottery on a model with blocks, too; what arms came to where blocks are pruned, or
    what is within them: 0.75 after 0.9 are −15 points. A narrow terminal names the columns that it leaves out."""
    monkeypatch.setattr("lt_ray.board.results.console.width", width)
    model = Transformer(vocabulary=100, embedding=4, layers=2, heads=2, hidden=4, positions=8)
    plan = crossed(Space(), cycle=BASE.model_copy(update={"model": model, "schedule": (pruning,)}))
    (item,) = plan.cycles
    rounds = [done(item, 0, BEGUN), done(item, 1, BEGUN, val=0.75)]
    own = {"blocks": 2, "nonzero": 600, "before_test_accuracy": 0.5}
    show_results(plan, {item.id: [result.model_copy(update=own) for result in rounds]})
    shown = capsys.readouterr().out
    assert ("0.9000 (1)  0.7500 (1)" in shown) == by_rounds, shown
    cells = {"frozen": "–", "nonzero": "600", "before": "0.5000"}
    hidden = [name for name in cells if re.search(rf"not shown for want of width: .*{name}", shown)]
    assert hidden == ([] if by_rounds or width == 120 else ["frozen"] if width == 80 else [*cells])
    frozen, nonzero, before = ("" if name in hidden else f" +{cell}" for name, cell in cells.items())
    row = rf"reviews +2{frozen} +1,000{nonzero}{before} +0.7500 +−15.00 +1\b"
    assert bool(re.search(row, shown)) != by_rounds, shown


# Runs

WORDS = [
    "sweeps/imdb_lt.py", "--toy", "--local", "--tracking-uri", "none", "--set", "training.epochs=1",
    "--set", "training.lr=0.005", "--set", "model.dropout=0.3", "--set", "magnitude.rewind_epoch=0",
]  # fmt: skip
STATUS = ["-m", "lt_ray", "status", "imdb_lt-toy"]
QUIET = {key: value for key, value in os.environ.items() if key not in ("COLUMNS", "LINES", "FORCE_COLOR")}


@pytest.fixture(scope="module")
def piped(tmp_path_factory):
    """A sweep of one pruning, then of the same command again, into pipes: its storage, and both outputs."""
    storage = tmp_path_factory.mktemp("piped")
    words = [*WORDS, "--rounds", "1", "--storage", str(storage)]
    first = subprocess.run([sys.executable, *words], cwd=ROOT, capture_output=True, text=True, timeout=600, env=QUIET)
    assert first.returncode == 0, first.stderr
    rounds = (storage / "imdb_lt-toy" / "rounds").iterdir()
    manifests = {path: json.loads((path / "manifest.json").read_text()) for path in rounds}
    shutil.rmtree(next(path for path, tree in manifests.items() if tree["measurement"]["round"] == 1))
    code, second = written(words, storage)  # computes one round of three
    assert code == 0, second
    return storage, (first.stdout, second)


def written(words: list[str], folder: Path) -> tuple[int, str]:
    """The exit code of a command, and what it wrote into a file."""
    process = Process(words, folder / "told.log", environment=QUIET)
    return process.wait(), process.told


def test_piped_output_is_plain_lines(piped):
    """Into a pipe a sweep writes one line a finished round, of at most 120 columns, and no escape codes."""
    _, (first, _) = piped
    assert "\x1b" not in first
    assert "\r" not in first
    shown = first[: first.index("Test accuracy")].splitlines()
    assert max(map(len, shown)) <= 120
    assert shown[0].startswith("imdb_lt-toy: 2 cycles, 3 rounds · one at a time, in this process")
    assert [line[:5] for line in shown if " round " in line] == ["[1/3]", "[2/3]", "[2/3]", "[3/3]"]
    assert sum("started" in line for line in shown) == 2
    assert sum("  shared  " in line for line in shown) == 1


def test_resumed_rounds_are_one_line(piped):
    """Rounds that were in the store are summed up in one line, and computed ones follow."""
    _, (_, second) = piped
    shown = second[: second.index("Test accuracy")].splitlines()
    assert shown[1] == "2 rounds found in the store"
    assert [line for line in shown if " round " in line] == [
        line for line in shown if line.startswith("[3/3] round 1/1")
    ]


def test_watching_needs_a_terminal(piped, tmp_path):
    """`lt-ray status --watch` into a file is one clear error, exit code 2."""
    storage, _ = piped
    code, told = written([*STATUS, "--watch", "--storage", str(storage)], tmp_path)
    assert code == 2
    assert told.startswith("error: `--watch` needs a terminal")


def test_status_has_no_traceback(piped, tmp_path):
    """`lt-ray status` shows validation accuracy against dense; a file that is none is one error, exit code 2."""
    storage, _ = piped
    code, told = written([*STATUS, "--storage", str(storage)], tmp_path)
    assert code == 0, told
    for word in ("val", "± dense", "test", "1/1", "done", "4 of 4 rounds finished; 3 computed, 1 shared"):
        assert word in told
    broken = tmp_path / "imdb_lt-toy"
    (broken / "cycles").mkdir(parents=True)
    (broken / "sweep.json").write_text((storage / "imdb_lt-toy" / "sweep.json").read_text())
    (broken / "cycles" / "x.json").write_text("{}")
    code, told = written([*STATUS, "--storage", str(tmp_path)], tmp_path)
    assert code == 2
    assert "x.json cannot be read" in told
    assert "Traceback" not in told


def in_a_terminal(words: list[str], *, columns: int = 80, rows: int = 24, until: float = 600) -> tuple[int, str]:
    """Run a command in a terminal of its own; return its exit code and all that it wrote."""
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    process = subprocess.Popen(
        [sys.executable, *words],
        cwd=ROOT,
        stdin=follower,
        stdout=follower,
        stderr=follower,
        env=QUIET | {"TERM": "xterm-256color"},
    )
    os.close(follower)
    written = b""
    deadline = time.monotonic() + until
    with contextlib.suppress(OSError):  # the terminal's other end is closed
        while time.monotonic() < deadline and (chunk := os.read(leader, 65536)):
            written += chunk
    os.close(leader)
    return process.wait(timeout=300), written.decode()


def test_a_terminal_shows_the_live_board_and_ends_clean(tmp_path):
    """In a terminal a sweep shows its board, and leaves the results, the cursor and nothing of the board behind."""
    code, written = in_a_terminal([*WORDS, "--rounds", "2", "--storage", str(tmp_path)])
    assert code == 0, written
    for word in ("loading torch", "/5 rounds", "ETA", "running", "r1", "one at a time, in this process"):
        assert word in written, word
    assert written.rindex("\x1b[?25h") > written.rindex("\x1b[?25l"), "the cursor is shown again"
    assert "\x1b[?1049h" not in written, "no other screen is used"
    end = written[written.rindex("Test accuracy") :]
    assert "Computed 5 rounds" in end
    assert "elapsed" not in end
    assert "Traceback" not in written


def test_watching_an_ended_sweep_ends(piped):
    """`lt-ray status --watch` shows the board of an ended sweep and ends with 0."""
    storage, _ = piped
    code, written = in_a_terminal([*STATUS, "--watch", "--storage", str(storage)])
    assert code == 0, written
    assert "3/3 rounds" in written
    assert "ended" in written
    assert "2 done" in written
