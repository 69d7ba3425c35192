"""The trainer, made as slow as a file says, so that kills find it at work on any machine.

`PREFLOOP_TRAINER="python -m tests.services.slow_trainer"`; the seconds of rest before each pass through a model stand
in the file `rest` of the data folder. Without the file it is the trainer and nothing else.
"""

import os
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from torch.nn import Module
from torch.nn.modules.module import register_module_forward_pre_hook
from transformers import PreTrainedModel

from trainer.__main__ import main

REST = "rest"


def rest(module: Module, _given: Any) -> None:
    """Wait before a whole model's pass; its parts go on at once."""
    with suppress(FileNotFoundError):
        if isinstance(module, PreTrainedModel):
            time.sleep(float(Path(os.environ["PREFLOOP_VAR"], REST).read_text()))


if __name__ == "__main__":
    register_module_forward_pre_hook(rest)
    sys.exit(main())
