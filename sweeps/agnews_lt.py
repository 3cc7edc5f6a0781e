"""Do winning tickets of the AG-news CNN or LSTM beat re-initialised ones?

Source: the logs' AG-news study (000, 003), of which they give the dense results only: 84,000/36,000/7,600 articles,
Adam 1e-3, batch 64, up to 10 epochs, 20 prunings of 20 % in every tensor. `--model lstm` for the LSTM.

Hardware and time: on two CPU cores with 24,000 articles a round of the CNN takes about 15 s, of the LSTM about 4 min;
on the hub's 120,000 plan five times that. Expected: dense test accuracy 0.895 (CNN) and 0.912 (LSTM) in the logs.
"""

from pathlib import Path

from lt_ray.cli import main
from lt_ray.cycle import AgNews, Cnn, Cycle, Magnitude, Training

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
