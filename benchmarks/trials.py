"""Seconds a trial with and without reused processes, and what the driver holds: a sweep of many tiny trials.

    python benchmarks/trials.py [TRIALS]

Both sweeps run in this process, one after the other, through a private Ray cluster on all CPUs of this machine.
Seconds a trial are wall-clock seconds between the first and the last finished round, times 1 trial over all trials,
so starting Ray is left out.
"""

import resource
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from lt_ray.board import terminal
from lt_ray.cycle.cycle import Cycle
from lt_ray.cycle.models import Cnn
from lt_ray.cycle.prunings import Magnitude
from lt_ray.cycle.tasks import Toy
from lt_ray.cycle.training import Training
from lt_ray.driver import flow as driver
from lt_ray.driver.cluster import connected
from lt_ray.driver.interruption import Interruption
from lt_ray.driver.resources import Resources
from lt_ray.rounds import inputs as datasets
from lt_ray.sweep.directory import SweepDirectory
from lt_ray.sweep.plan import Grounds, Planner
from lt_ray.sweep.space import Distribution, Space
from lt_ray.sweep.sweep import Sweep

TINY = Cycle(
    task=Toy(train=60, validation=20, test=20),
    model=Cnn(vocabulary=100, embedding=3, filters=2, widths=(2,)),
    training=Training(epochs=1, batch_size=30),
    schedule=(Magnitude(),),
)


def rss_mib() -> float:
    """Return the memory that this process holds now [MiB]."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def measured(trials: int, reuse: bool) -> tuple[float, float, float]:
    """Return (seconds a trial, the driver's memory when it began and at its end [MiB])."""
    lr = Distribution(kind="log_uniform", values=(1e-4, 1e-2))
    sweep = Sweep(name="tiny", cycle=TINY, space=Space(distributions={"training.lr": lr}), samples=trials)
    with tempfile.TemporaryDirectory(prefix="lt_ray_bench_") as folder:
        data = datasets.prepare(TINY, TINY.model.vocabulary, None, Path(folder) / "cache")
        planner = Planner(sweep, Grounds.of(data))
        directory = SweepDirectory(Path(folder) / "tiny")
        resources = Resources(reuse_actors=reuse)
        interruption = Interruption()
        with connected("local", resources, interruption):
            before = rss_mib()
            outcome = driver.run(
                planner, planner.plan(), data, directory,
                tracker=lambda _: None, on_cluster=True, resources=resources, interruption=interruption,
            )  # fmt: skip
            after = rss_mib()
        assert not outcome.interrupted
        times = [result.finished_at for results in outcome.results.values() for result in results]
    return (max(times) - min(times)) / trials, before, after


def main() -> None:
    """Print the table."""
    trials = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    table = Table("trials", "processes", "s / trial", "driver at begin, MiB", "driver at end, MiB", "KiB / trial")
    terminal.console.quiet = True
    seconds = {}
    for reuse in (True, False):
        started = time.perf_counter()
        seconds[reuse], before, after = measured(trials, reuse)
        table.add_row(
            str(trials), "reused" if reuse else "one each", f"{seconds[reuse]:.3f}",
            f"{before:.0f}", f"{after:.0f}", f"{(after - before) * 1024 / trials:.0f}",
        )  # fmt: skip
        print(f"{trials} trials in {time.perf_counter() - started:.0f} s", file=sys.stderr)
    console = Console()
    console.print(table)
    console.print(f"ratio one each / reused: {seconds[False] / seconds[True]:.1f}")


if __name__ == "__main__":
    main()
