"""Do winning tickets of the AG-news CNN or LSTM beat new weights under the same masks?

Source: the research logs' AG-news study (000, 003), of which they give the dense results only: 84,000/36,000/7,600
articles, Adam 1e-3, batch 64, up to 10 epochs, 20 prunings of 20 % in every tensor. `--model lstm` for the LSTM.

Hardware and time: on one CPU core a round of the CNN on 32,000 articles takes about 50 s, an epoch of the LSTM on
30,000 about 4 min; the hub's 120,000 want a GPU for the LSTM. Expected: dense test accuracy 0.901 with the CNN on
32,000 articles, 0.886 with the LSTM after one epoch on 30,000 (the logs, on 84,000: 0.895 and 0.912).
"""

from pathlib import Path

from lt_ray.cli.main import main
from lt_ray.cycle.cycle import Cycle
from lt_ray.cycle.models import Cnn
from lt_ray.cycle.prunings import Magnitude
from lt_ray.cycle.tasks import AgNews
from lt_ray.cycle.training import Training

if __name__ == "__main__":
    main(
        name="agnews_lt",
        cycle=Cycle(
            task=AgNews(),
            model=Cnn(dropout=0.5),
            training=Training(lr=1e-3, batch_size=64, epochs=10, patience=2, length_batches=True),
            schedule=(Magnitude(fraction=0.2, shared_start=("embedding.weight",)),) * 20,
        ),
        space=Path(__file__).parents[1] / "search_spaces" / "arms.yaml",
        summary=__doc__,
    )
