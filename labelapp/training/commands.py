"""A run as a command line, to do it again without the application."""

import shlex

from labelapp.models import Run
from labelapp.training.selectors import members_of
from trainer.config import options_read
from trainer.fields import OptionsError
from trainer.records import Request
from trainer.reports import card


def command_of(run: Run) -> str:
    """The command that does the same as a run, on folders that whoever starts it puts in place of the names.

    Empty where the trainer has other options by now.
    """
    request = Request(command=run.kind, options={})
    if run.start:
        request["model"] = run.start.name
    else:
        request["models"] = [model.name for model in members_of(run)]
    if run.snapshot:
        request["snapshot"] = f"snapshot-{run.snapshot.digest}"
    if run.reference:
        request["reference"] = run.reference.name
    try:
        arguments = card.command_of(request, options_read(run.kind, run.options))
    except OptionsError:
        return ""
    # A line for each option, which begins with a dash; what follows one is its value.
    lines: list[list[str]] = [[]]
    for argument in arguments:
        if argument.startswith("--"):
            lines.append([])
        lines[-1].append(argument)
    return " \\\n  ".join(shlex.join(line) for line in lines)
