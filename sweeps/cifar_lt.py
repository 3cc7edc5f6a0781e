"""Do winning tickets of CIFAR-10's ResNet-20 need to be rewound to the first epochs, not to the initialisation?

Source: Frankle et al. 2020 (arXiv:1912.05671), who rewind to the first iterations, by OpenLTH's settings: ResNet-20
with projection shortcuts, SGD 0.1 with momentum 0.9 and decay 1e-4, a tenth after 80 and 120 of 160 epochs, batch 128,
crops and flips, the 20 % smallest weights of all layers together, 15 times. A rewound ticket goes on from its epoch to
the same last one; its control has new weights under the masks of the ticket that is rewound to 0.

Hardware and time: made for a GPU; on a CPU core an epoch of 10,000 pictures takes one to two minutes, and `--toy`, a
thinner network on 300 built-in pictures, half a minute in all: there the ticket rewound to 0 keeps what the dense
network has (0.985 after four prunings), and its control does not (0.848; one seed). Expected of 10,000 pictures of
CIFAR-10, 7 epochs: dense 0.61, and with half of the weights, rewound to 0, 0.66 (two seeds; no control was run).
"""

from pathlib import Path

from lt_ray.cli.main import main
from lt_ray.cycle.cycle import Cycle
from lt_ray.cycle.models import CifarResNet
from lt_ray.cycle.prunings import Magnitude
from lt_ray.cycle.tasks import Cifar10
from lt_ray.cycle.training import Training

if __name__ == "__main__":
    main(
        name="cifar_lt",
        cycle=Cycle(
            task=Cifar10(),
            model=CifarResNet(depth=20),
            training=Training(
                optimizer="sgd",
                lr=0.1,
                momentum=0.9,
                weight_decay=1e-4,
                batch_size=128,
                epochs=160,
                milestones=(80, 120),
            ),
            schedule=(
                Magnitude(fraction=0.2, scope="global", rounding="ceil", parameters="weights", rewind_budget="resume"),
            )
            * 15,
        ),
        space=Path(__file__).parents[1] / "search_spaces" / "cifar_lt.yaml",
        summary=__doc__,
    )
