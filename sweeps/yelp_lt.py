"""Do winning tickets beat new weights under the same masks where there are five classes: the stars of Yelp reviews?

Source: the research logs name Yelp-5 as their multi-class task (002) and give no result on it. Settings as of the logs'
other tasks: Adam 1e-3, batch 64, up to 10 epochs, 20 prunings of 20 % in every tensor. `--task yelp_polarity` for two
classes; `--model lstm` or `rnn` for the other models.

Hardware and time: on one CPU core a round on 3,500 reviews takes 15 s to 2 min; the hub's 650,000 want a GPU. Expected:
dense test accuracy 0.617 on a sample of 3,500 reviews whose stars are unbalanced (45 % have five), so it does not
compare with the balanced official set; no number in the logs.
"""

from pathlib import Path

from lt_ray.cli.main import main
from lt_ray.cycle.cycle import Cycle
from lt_ray.cycle.models import Cnn
from lt_ray.cycle.prunings import Magnitude
from lt_ray.cycle.tasks import YelpFull
from lt_ray.cycle.training import Training

if __name__ == "__main__":
    main(
        name="yelp_lt",
        cycle=Cycle(
            task=YelpFull(),
            model=Cnn(dropout=0.5),
            training=Training(lr=1e-3, batch_size=64, epochs=10, patience=2, length_batches=True),
            schedule=(Magnitude(fraction=0.2, shared_start=("embedding.weight",)),) * 20,
        ),
        space=Path(__file__).parents[1] / "search_spaces" / "arms.yaml",
        summary=__doc__,
    )
