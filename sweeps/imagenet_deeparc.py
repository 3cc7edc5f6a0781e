"""How many blocks of a ResNet on ImageNet are so similar that they can go?

Source: the research logs' ResNet study (004) after MPruner: ResNet-152 fine-tuned for three epochs; blocks whose
flattened outputs have a CKA from 0.98 or 0.99 removed, all but a cluster's first or every other one, once or twice, but
never a stage's first; all of the rest retrained for three epochs, or only the neighbours of what was removed. Adam
2e-4, batch 64. `--model microsoft/resnet-50` asks it of the smaller one.

Hardware and time: the logs measured 50,000 pictures in 260 s on a GPU of 16 GB; three epochs of ImageNet there take
days. `--toy` asks it of a small ResNet on built-in pictures, in half a minute. Expected, from the logs, one seed, top-1
after the third epoch: dense 0.768 with 50 blocks; 0.99 leaves 26 blocks and 0.734 at stride 1, 33 and 0.746 at stride
2; 0.98 leaves 22 and 0.722, 32 and 0.747.
"""

from pathlib import Path

from lt_ray.cli.main import main
from lt_ray.cycle.cycle import Cycle
from lt_ray.cycle.models import ResNet
from lt_ray.cycle.prunings import Similarity
from lt_ray.cycle.tasks import ImageNet
from lt_ray.cycle.training import Training

if __name__ == "__main__":
    main(
        name="imagenet_deeparc",
        cycle=Cycle(
            task=ImageNet(),
            model=ResNet(path="microsoft/resnet-152"),
            training=Training(optimizer="adam", lr=2e-4, batch_size=64, epochs=3),
            schedule=(Similarity(threshold=0.99, features="flattened", calibration_batch=64, epochs=3),),
        ),
        space=Path(__file__).parents[1] / "search_spaces" / "stages.yaml",
        summary=__doc__,
    )
