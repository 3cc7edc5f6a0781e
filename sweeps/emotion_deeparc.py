"""How many blocks of a BERT fine-tuned on Emotion are so similar that they can go, and what does Wanda add?

Source: the research logs' Emotion study (004) after MPruner and Sun et al. 2023 (arXiv:2306.11695): BERT-base
fine-tuned for one epoch; blocks with CKA (over the tokens of a text) from 0.98 or 0.99 removed, once or twice, all of
the rest retrained for three epochs or only the neighbours of what was removed; Wanda at 10 to 50 %, measured before
retraining. AdamW 5e-5, batch 32, linear schedule.
`--set wanda.epochs=3` retrains after Wanda, too (the logs: at 50 %).

Hardware and time: on a GPU of 8 GB the logs' trainings took 12 to 26 min each; the 45 cells here share their rounds, 9
of which are trained. On two CPU cores the six-block MiniLM takes 5 min an epoch, 18 cells an hour (reports/README.md);
`--toy` 2 min. Expected, from the logs, one seed: dense test accuracy 0.920 with 12 blocks, 0.934 with 8 (0.98), 0.921
with 10 (0.99). MiniLM at lr 2e-4, 2 epochs, by `--set similarity.cka=minibatch`: 0.9305 with 6 blocks,
0.924 with 4, 0.9205 with 3.
"""

from pathlib import Path

from lt_ray.cli.main import main
from lt_ray.cycle.cycle import Cycle
from lt_ray.cycle.models import Encoder
from lt_ray.cycle.prunings import Similarity, Wanda
from lt_ray.cycle.tasks import Emotion
from lt_ray.cycle.training import FINE_TUNING

if __name__ == "__main__":
    main(
        name="emotion_deeparc",
        cycle=Cycle(
            task=Emotion(max_tokens=128),
            model=Encoder(),
            training=FINE_TUNING,
            schedule=(Similarity(cka="tokens", epochs=3), Wanda(epochs=0)),
        ),
        space=Path(__file__).parents[1] / "search_spaces" / "similarity_wanda.yaml",
        summary=__doc__,
    )
