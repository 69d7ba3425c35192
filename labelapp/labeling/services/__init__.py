"""Writes of the labeling room: batches, seats, drafts and annotations."""
