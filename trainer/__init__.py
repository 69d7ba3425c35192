"""The trainer: tensors, models, losses and checkpoints. It knows folders, not the application: no Django in here."""
