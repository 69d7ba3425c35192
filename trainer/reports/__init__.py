"""What a run tells: figures with intervals, plots, the model card."""
