"""What a run tells MLflow, and reading it back; mlflow is imported here alone."""
