"""Do tickets found on IMDb train as well on Yelp polarity as the target's own, and better than random ones?

Source: the research logs' plan (001, June) after Morcos et al. 2019 (arXiv:1906.02773): tickets of the IMDb CNN at
rounds 0, 4, …, 28 (100, 41, 17, 7, 2.8, 1.2, 0.5, 0.2 % of the weights) trained on Yelp polarity with IMDb's
vocabulary, against the target's own tickets and random pruning. All arms of a seed share round 0.

Hardware and time: one seed is 29 rounds on IMDb (about 85 s each on a core), 29 on Yelp for each of two arms and 7
for the transferred tickets; on the hub's 560,000 reviews plan a GPU day for a seed, on 3,139 reviews and two cores an
hour; eight rounds with half of IMDb took 10 min on one core. `--toy` 20 s. Expected: no number in the logs, which only
planned it. At 83 % sparsity, one seed, 3,139 reviews: own tickets 0.902, transferred ones 0.894, random pruning 0.744
(dense 0.915); Morcos et al. find transferred tickets about as good as own ones on images.
"""

from pathlib import Path

from lt_ray.cli.main import main
from lt_ray.cycle.cycle import Cycle
from lt_ray.cycle.models import Cnn
from lt_ray.cycle.prunings import Magnitude
from lt_ray.cycle.tasks import Imdb, YelpPolarity
from lt_ray.cycle.training import Training

if __name__ == "__main__":
    main(
        name="transfer_lt",
        cycle=Cycle(
            task=YelpPolarity(),
            source=Imdb(),
            ticket_every=4,
            model=Cnn(dropout=0.5),
            training=Training(lr=1e-3, batch_size=64, epochs=10, patience=2, length_batches=True),
            schedule=(Magnitude(fraction=0.2),) * 28,
        ),
        space=Path(__file__).parents[1] / "search_spaces" / "transfer.yaml",
        summary=__doc__,
    )
