"""The job that makes a batch's tasks."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

from django.db import transaction

from labelapp.jobs.registry import JobRun, job_handler
from labelapp.jobs.services import job_progress
from labelapp.labeling.selectors import BUILD
from labelapp.labeling.services.batches import (
    PromptChoice,
    batch_transition,
    choice_fixed,
    prompts_eligible,
    prompts_in_random_order,
    tasks_create,
)
from labelapp.models import Batch

CHUNK = 500


@dataclass(frozen=True)
class Draw:
    """What the tasks are drawn from, fixed by the first attempt, and how far the drawing has come: the job's cursor.

    Prompts and completions that come in later have larger numbers than the newest and are none of it.
    """

    newest_prompt: int
    newest_completion: int
    eligible: int
    after: int | None = None
    drawn: int = 0
    made: int = 0

    def wanted(self, limit: int | None) -> int:
        """How many prompts are drawn in all."""
        return self.eligible if limit is None else min(limit, self.eligible)


@job_handler(BUILD)
def batch_build(run: JobRun) -> dict[str, int | str]:
    """Make the tasks chunk by chunk; a killed attempt, or a job before this one, is continued where it came to.

    Ends early when the batch was closed meanwhile.
    """
    batch = Batch.objects.select_related("project").get(pk=run.job.payload["batch"])
    choice = PromptChoice(**run.job.payload["choice"])
    draw = _draw(run, batch, choice)
    choice = replace(choice, newest_prompt=draw.newest_prompt, newest_completion=draw.newest_completion)
    prompt_ids = prompts_in_random_order(batch, choice, batch.project.salt, after=draw.after)
    if choice.limit is not None:
        prompt_ids = prompt_ids[: choice.limit - draw.drawn]
    for start in range(0, len(prompt_ids), CHUNK):
        further = _chunk_make(run, batch, choice, draw, prompt_ids[start : start + CHUNK])
        if further is None:
            return _result(draw) | {"stopped": "The batch was closed before all its tasks were made."}
        draw = further
    if draw.made and run.job.payload["open"]:
        _open(run, batch)
    return _result(draw)


def _draw(run: JobRun, batch: Batch, choice: PromptChoice) -> Draw:
    """As an earlier attempt fixed it, else fixed now."""
    saved = run.job.cursor or run.job.payload.get("draw")
    if saved:
        return Draw(**saved)
    with transaction.atomic():
        fixed = choice_fixed(batch, choice)
        draw = Draw(
            newest_prompt=fixed.newest_prompt or 0,
            newest_completion=fixed.newest_completion or 0,
            eligible=prompts_eligible(batch, fixed).count(),
        )
        job_progress(run, done=0, total=draw.wanted(choice.limit), cursor=asdict(draw))
    return draw


@transaction.atomic
def _chunk_make(run: JobRun, batch: Batch, choice: PromptChoice, draw: Draw, prompt_ids: Sequence[int]) -> Draw | None:
    """Make the tasks of some prompts and save how far the draw has come; None when the batch is closed."""
    if _state_now(batch) == Batch.State.CLOSED:
        return None
    wanted = draw.wanted(choice.limit)
    # What is learned about old prompts can make a few more of them eligible; nothing is drawn more than surely.
    probability = min(1.0, wanted / draw.eligible)
    made = tasks_create(
        batch=batch, prompt_ids=prompt_ids, choice=choice, probability=probability, salt=batch.project.salt
    )
    drawn = draw.drawn + len(prompt_ids)
    further = replace(draw, after=prompt_ids[-1], drawn=drawn, made=draw.made + made)
    job_progress(run, done=drawn, total=max(wanted, drawn), cursor=asdict(further))
    return further


@transaction.atomic
def _open(run: JobRun, batch: Batch) -> None:
    """Open the batch unless somebody was first to open, pause or close it."""
    if _state_now(batch) == Batch.State.DRAFT:
        batch_transition(batch=batch, to=Batch.State.OPEN, actor=run.job.created_by)


def _state_now(batch: Batch) -> str:
    """The batch's state, which stays until the transaction ends."""
    return Batch.objects.select_for_update(no_key=True).get(pk=batch.pk).state


def _result(draw: Draw) -> dict[str, int | str]:
    return {"tasks": draw.made, "prompts_without_enough_completions": draw.drawn - draw.made}
