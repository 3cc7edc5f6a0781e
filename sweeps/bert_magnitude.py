"""What does plain magnitude pruning of a fine-tuned BERT cost, without any retraining?

Source: the research logs' first try (002): torch.nn.utils.prune at 30 % on BERT, neither fine-tuned nor measured. Here
the smallest 30 % of each weight matrix of the fine-tuned model go (`nearest` rounding, as torch's), once and once more,
and the model is measured as pruned; `--set magnitude.epochs=3` retrains.

Hardware and time: one fine-tuning of BERT-base on Emotion, minutes on a GPU; with the six-block MiniLM 9 min on a busy
CPU core. `--toy` 1 min. Expected: no number in the logs. MiniLM at lr 2e-4, one seed: test accuracy 0.9185 dense,
0.9195 without 30 % of the prunable weights, 0.9185 without 51 % (validation: 0.9310, 0.9295, 0.9210).
"""

from lt_ray.cli.main import main
from lt_ray.cycle.cycle import Cycle
from lt_ray.cycle.models import Encoder
from lt_ray.cycle.prunings import Magnitude
from lt_ray.cycle.tasks import Emotion
from lt_ray.cycle.training import FINE_TUNING

if __name__ == "__main__":
    main(
        name="bert_magnitude",
        cycle=Cycle(
            task=Emotion(max_tokens=128),
            model=Encoder(),
            training=FINE_TUNING,
            schedule=(Magnitude(fraction=0.3, rounding="nearest", parameters="weights", restart="final", epochs=0),)
            * 2,
        ),
        summary=__doc__,
    )
