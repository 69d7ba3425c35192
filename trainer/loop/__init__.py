"""What every training does alike: steps, checkpoints and exact resume, several processes, memory and disk."""
