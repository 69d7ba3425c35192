"""Which function does which kind of job. Rooms register theirs in `tasks.py`, which every worker imports."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from labelapp.errors import DomainError
from labelapp.models import Job


@dataclass(frozen=True)
class JobRun:
    """One attempt at a job. `job` is as the claim found it; the attempt number fences every later write.

    `listener`, if any, is told what people are shown of the progress: a message, how much is done, and of how much.
    """

    job: Job
    attempt: int
    listener: Callable[[str | None, int | None, int | None], None] | None = None


Handler = Callable[[JobRun], Mapping[str, object]]
HandlerT = TypeVar("HandlerT", bound=Handler)
HANDLERS: dict[str, Handler] = {}


class JobLostError(Exception):
    """Another attempt runs the job now: stop, and write nothing more."""


class JobCancelledError(Exception):
    """Somebody asked the job to stop."""


class JobFailedError(DomainError):
    """The work ended badly, and there is still something to show for it."""

    def __init__(self, message: str, result: Mapping[str, object]) -> None:
        super().__init__(message)
        self.result = result


class JobRetryError(JobFailedError):
    """The attempt ended badly, but what it saved is whole: the next one goes on, unless this was the last.

    `happened` is told while the job waits for it; the message says besides what to do when all attempts ended so.
    """

    def __init__(self, happened: str, advice: str, result: Mapping[str, object]) -> None:
        super().__init__(f"{happened} {advice}", result)
        self.happened = happened


def job_handler(kind: str) -> Callable[[HandlerT], HandlerT]:
    """Register the decorated function as the one that does jobs of this kind; it returns the job's result."""

    def register(function: HandlerT) -> HandlerT:
        HANDLERS[kind] = function
        return function

    return register


def handler_for(kind: str) -> Handler:
    """The function for a kind of job. Raises DomainError when no room brings one."""
    if kind not in HANDLERS:
        raise DomainError(f"This version of Prefloop does not know jobs of the kind “{kind}”. Update the workers.")
    return HANDLERS[kind]
