"""Do winning tickets of the IMDb CNN beat new weights under the same masks?

Source: Frankle & Carbin 2019 (arXiv:1803.03635) on the research logs' IMDb CNN: 28,000/12,000/10,000 reviews, Adam,
batch 64, up to 10 epochs, 20 prunings of 20 % in every tensor. Both arms of a seed share round 0, its data order, its
initial embedding and, in every round, the ticket's masks. The logs' own random arm pruned itself:
`--set magnitude.masks=own`.

Hardware and time: on two CPU cores, two trials at once, a round takes about 85 s; the default, 12 cycles with 243
distinct rounds, about 3 h; `--rounds 3 --seeds 2` with fixed learning rate, dropout and rewind epoch 12 min; `--toy`
with both fixed 20 s. Expected, on half of the reviews and up to 5 epochs
(`reports/2026-11`, three seeds): dense test accuracy 0.883 (the logs, on all: 0.889); at 89 % sparsity 0.865
rewound and 0.863 re-initialised, which three seeds do not tell apart.
"""

from pathlib import Path

from lt_ray.cli.main import main
from lt_ray.cycle.cycle import Cycle
from lt_ray.cycle.models import Cnn
from lt_ray.cycle.prunings import Magnitude
from lt_ray.cycle.tasks import Imdb
from lt_ray.cycle.training import Training

if __name__ == "__main__":
    main(
        name="imdb_lt",
        cycle=Cycle(
            task=Imdb(),
            model=Cnn(dropout=0.5),
            training=Training(lr=1e-3, batch_size=64, epochs=10, patience=2, length_batches=True),
            schedule=(Magnitude(fraction=0.2, shared_start=("embedding.weight",)),) * 20,
        ),
        space=Path(__file__).parents[1] / "search_spaces" / "imdb_lt.yaml",
        samples=3,
        summary=__doc__,
    )
