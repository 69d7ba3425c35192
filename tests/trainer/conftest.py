"""Tests of the trainer. Those that need torch are left out where it is not installed."""

import pytest

pytest.importorskip("torch", reason="torch is not installed; `make install-dev` installs it", exc_type=ImportError)
pytest.importorskip("transformers", reason="transformers is not installed; `make install-dev` does it")

import torch

torch.set_num_threads(1)
