"""How many blocks of a BERT fine-tuned on Yahoo! Answers are so similar that they can go, and what does Wanda add?

Source: the research logs' Yahoo study (004) after MPruner and Sun et al. 2023 (arXiv:2306.11695): BERT-base fine-tuned
for one epoch; blocks with CKA (over the tokens of a text) from 0.98 or 0.99 removed, all of the rest retrained for
three epochs or only the neighbours of what was removed; Wanda at 10 to 50 %, measured before retraining. AdamW 5e-5,
batch 32, linear schedule.

Hardware and time: an RTX 4090 took the logs 11.5 h for the dense model and 9 h for a retraining; the 45 cells share
their rounds, 9 of which are trained: plan three GPU days, or fewer texts with `--set task.sizes=[…]`. `--toy` 2 min.
Expected, from the logs: dense test accuracy 0.705 with 12 blocks, 0.710 with 9 (0.98); at 0.99 nothing goes.
"""

from pathlib import Path

from lt_ray.cli.main import main
from lt_ray.cycle.cycle import Cycle
from lt_ray.cycle.models import Encoder
from lt_ray.cycle.prunings import Similarity, Wanda
from lt_ray.cycle.tasks import YahooAnswers
from lt_ray.cycle.training import FINE_TUNING

if __name__ == "__main__":
    main(
        name="yahoo_deeparc",
        cycle=Cycle(
            task=YahooAnswers(max_tokens=128),
            model=Encoder(),
            training=FINE_TUNING,
            schedule=(Similarity(cka="tokens", epochs=3), Wanda(epochs=0)),
        ),
        space=Path(__file__).parents[1] / "search_spaces" / "similarity_wanda.yaml",
        summary=__doc__,
    )
