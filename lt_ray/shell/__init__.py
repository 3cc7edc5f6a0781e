"""The impure part: Ray, MLflow and the terminal."""
