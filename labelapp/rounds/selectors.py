"""Reads about rounds: how far each arrow of the ring is. Nothing is stored that can be read off what it made."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from django.db.models import Count, QuerySet
from django.urls import reverse

from labelapp.labeling.selectors import BUILD, Progress, batch_progress
from labelapp.models import Batch, Completion, Job, Project, Round, Run, Snapshot
from labelapp.rounds.figures import comparisons_of, percent, reward_accuracy, snapshot_in_words
from labelapp.rounds.options import ANCHORS, EXISTING, LABELS, RoundOptions, round_options_read


class ArrowState(StrEnum):
    """How far one arrow of the ring is."""

    # The arrow before it is not done. Leaves when that is.
    WAITING = "waiting"
    # It can be started now. Leaves when somebody starts it.
    READY = "ready"
    # Its job, or the people who label, are at work. Leaves when they have ended.
    RUNNING = "running"
    # What it makes is there. Final.
    DONE = "done"
    # Its job failed or was stopped. Leaves when somebody starts it again.
    FAILED = "failed"
    # The round does without it. Final.
    PASSED = "passed"


WORDS = {
    ArrowState.WAITING: "Waits for the step before",
    ArrowState.READY: "Ready to start",
    ArrowState.RUNNING: "At work",
    ArrowState.DONE: "Done",
    ArrowState.FAILED: "Failed",
    ArrowState.PASSED: "Passed over",
}
ICONS = {
    ArrowState.WAITING: "clock",
    ArrowState.READY: "flag",
    ArrowState.RUNNING: "contrast",
    ArrowState.DONE: "check",
    ArrowState.FAILED: "alert",
    ArrowState.PASSED: "skip",
}
TONES = {
    ArrowState.WAITING: "",
    ArrowState.READY: "warn",
    ArrowState.RUNNING: "info",
    ArrowState.DONE: "good",
    ArrowState.FAILED: "bad",
    ArrowState.PASSED: "",
}
STEPS = ("sample", "label", "freeze", "reward", "policy", "next")
ENDED = {ArrowState.DONE, ArrowState.PASSED}


@dataclass(frozen=True)
class Arrow:
    """One arrow of the ring as a page shows it: `figure` with its `unit` is its one count, `note` says the rest.

    `action` is what its button says, empty where there is nothing to start. `url` leads to what it made.
    """

    name: str
    title: str
    state: ArrowState
    figure: str = ""
    unit: str = ""
    note: str = ""
    url: str = ""
    action: str = ""
    done: int | None = None
    total: int | None = None

    @property
    def words(self) -> str:
        """The state in words."""
        return WORDS[self.state]

    @property
    def icon(self) -> str:
        """The sign of the state."""
        return ICONS[self.state]

    @property
    def tone(self) -> str:
        """The colour of the state."""
        return TONES[self.state]


@dataclass(frozen=True)
class RoundFacts:
    """All that says how far a round is. `next_number` is of the round that went on with its policy, if there is one."""

    round: Round
    completions: int
    progress: Progress
    build: Job | None
    snapshot: Snapshot | None
    next_number: int | None


def rounds_of(project: Project) -> QuerySet[Round]:
    """The project's rounds with all that they point at, newest first."""
    runs = [f"{run}{at}" for run in ("reward_run", "policy_run") for at in ("__job", "__result")]
    return (
        Round.objects.filter(project=project)
        .select_related("project", "policy", "sampling", "batch", "freeze", "snapshot", *runs)
        .order_by("-number")
    )


def rounds_facts(rounds: Sequence[Round]) -> list[RoundFacts]:
    """What is known of each round, in as many queries for many as for one."""
    samplings = [found.sampling_id for found in rounds if found.sampling_id]
    batches = [found.batch_id for found in rounds if found.batch_id]
    written = dict(Completion.objects.filter(sampled_by__in=samplings).values_list("sampled_by").annotate(Count("pk")))
    progress = batch_progress(Batch.objects.filter(pk__in=batches)) if batches else {}
    builds = {
        job.payload["batch"]: job for job in Job.objects.filter(kind=BUILD, payload__batch__in=batches).order_by("pk")
    }
    frozen = Snapshot.objects.in_bulk([pk for found in rounds if (pk := _snapshot_made(found))])
    policies = [found.policy_run.result_id for found in rounds if found.policy_run and found.policy_run.result_id]
    following = dict(Round.objects.filter(policy__in=policies).order_by("-number").values_list("policy", "number"))
    return [
        RoundFacts(
            round=found,
            completions=written.get(found.sampling_id or 0, 0),
            progress=progress.get(found.batch_id or 0, Progress()),
            build=builds.get(found.batch_id or 0),
            snapshot=found.snapshot or frozen.get(_snapshot_made(found) or 0),
            next_number=following.get(found.policy_run.result_id or 0) if found.policy_run else None,
        )
        for found in rounds
    ]


def round_facts(found: Round) -> RoundFacts:
    """What is known of one round."""
    return rounds_facts([found])[0]


def _snapshot_made(found: Round) -> int | None:
    """The snapshot that the round's freeze made or found, unless the round has noted it already."""
    return found.freeze.result.get("snapshot") if found.freeze and not found.snapshot_id else None


def round_ring(facts: RoundFacts) -> list[Arrow]:
    """The arrows of a round, in their order."""
    arrows: list[Arrow] = []
    for draw in (_sample, _label, _freeze, _reward, _policy, _next):
        free = not arrows or arrows[-1].state in ENDED
        arrows.append(draw(facts, free))
    return arrows


def arrow_now(arrows: Sequence[Arrow]) -> Arrow:
    """The arrow where the round stands: the first that has not ended, else the last."""
    return next((arrow for arrow in arrows if arrow.state not in ENDED), arrows[-1])


def ring_version(arrows: Sequence[Arrow]) -> str:
    """A short text that changes whenever something changes that the ring shows."""
    return hashlib.sha256(repr(arrows).encode()).hexdigest()[:16]


def round_choices(options: RoundOptions) -> list[tuple[str, str]]:
    """How a round is done, in words, by what is chosen; of the trainer's options those that were given."""
    choices = [("Labels", LABELS[options.labels])]
    if options.labels != EXISTING:
        shared = f"; {options.shared_overlap} for a random {options.shared_percent} %" if options.shared_percent else ""
        choices += [
            ("Prompts", f"at most {options.prompts:,}, {options.split or 'of all splits'}"),
            ("Labels per task", f"{options.overlap}{shared}"),
            ("Sampling", _pairs(options.trainer_options("sampling"))),
        ]
    choices += [("Reward model", _pairs(options.reward)), ("Policy", _pairs(options.preference))]
    return [*choices, ("Stays close to", ANCHORS[options.anchor])]


def _pairs(options: Mapping[str, Any]) -> str:
    shown = (f"{name.replace('_', ' ')} {value}" for name, value in options.items() if value not in ((), [], ""))
    return ", ".join(shown) or "the trainer's defaults"


def _job_state(job: Job | None, *, free: bool) -> ArrowState:
    if job is None:
        return ArrowState.READY if free else ArrowState.WAITING
    if not job.is_finished:
        return ArrowState.RUNNING
    return ArrowState.DONE if job.state == Job.State.SUCCEEDED else ArrowState.FAILED


def _action(state: ArrowState, words: str) -> str:
    return {ArrowState.READY: words, ArrowState.FAILED: "Try again"}.get(state, "")


def _note(job: Job | None, state: ArrowState) -> str:
    return job.message if job and state in {ArrowState.FAILED, ArrowState.RUNNING} else ""


def _address(name: str, facts: RoundFacts, pk: int | None) -> str:
    return reverse(name, args=[facts.round.project.slug, pk]) if pk else ""


def _sample(facts: RoundFacts, free: bool) -> Arrow:
    found, options = facts.round, round_options_read(facts.round.options)
    if options.labels == EXISTING:
        return Arrow("sample", "Sample", ArrowState.PASSED, note="The completions are there already.")
    state = _job_state(found.sampling, free=free)
    total = found.sampling.total if found.sampling else None
    return Arrow(
        "sample",
        "Sample",
        state,
        figure=f"{facts.completions:,}",
        unit="completions",
        note=_note(found.sampling, state) or f"by {found.policy.name}, {options.completions} for each prompt",
        url=_address("sampling", facts, found.sampling_id),
        action=_action(state, "Sample completions"),
        done=facts.completions if state == ArrowState.RUNNING else None,
        total=total,
    )


def _label(facts: RoundFacts, free: bool) -> Arrow:
    found, progress, build = facts.round, facts.progress, facts.build
    if round_options_read(found.options).labels == EXISTING:
        return Arrow("label", "Label", ArrowState.PASSED, note="The labels are there already.")
    state, note = _label_state(facts, free=free)
    return Arrow(
        "label",
        "Label",
        state,
        figure=f"{progress.filled:,} of {progress.seats:,}" if found.batch_id else "",
        unit="labels" if found.batch_id else "",
        note=note or _note(build, state),
        url=_address("batch", facts, found.batch_id),
        action="Make the batch" if state == ArrowState.READY else "",
        done=progress.filled if state == ArrowState.RUNNING and progress.seats else None,
        total=progress.seats or None,
    )


def _label_state(facts: RoundFacts, *, free: bool) -> tuple[ArrowState, str]:
    batch, build, progress = facts.round.batch, facts.build, facts.progress
    if batch is None:
        return (ArrowState.READY if free else ArrowState.WAITING), ""
    if batch.state == Batch.State.CLOSED:
        return ArrowState.DONE, "The batch is closed."
    if build and build.is_finished and build.state != Job.State.SUCCEEDED:
        return (
            ArrowState.FAILED,
            "The job that makes its tasks ended before all were made. Finish it on the batch's page.",
        )
    if build and not build.is_finished:
        return ArrowState.RUNNING, "Its tasks are being made."
    if not progress.seats:
        return ArrowState.FAILED, "No prompt got two different completions, so there is nothing to compare."
    if progress.filled == progress.seats:
        return ArrowState.DONE, ""
    waits = {Batch.State.PAUSED: "The batch is paused.", Batch.State.DRAFT: "Open the batch for labeling."}
    return ArrowState.RUNNING, waits.get(Batch.State(batch.state), "")


def _freeze(facts: RoundFacts, free: bool) -> Arrow:
    state = _job_state(facts.round.freeze, free=free)
    count = comparisons_of(facts.snapshot) if facts.snapshot else None
    return Arrow(
        "freeze",
        "Freeze",
        state,
        figure=f"{count:,}" if count is not None else "",
        unit="comparisons" if count is not None else "",
        note=_note(facts.round.freeze, state) or (snapshot_in_words(facts.snapshot) if facts.snapshot else ""),
        url=_address("snapshot", facts, facts.snapshot.pk if facts.snapshot else None),
        action=_action(state, "Freeze the labels"),
    )


def _reward(facts: RoundFacts, free: bool) -> Arrow:
    run = facts.round.reward_run
    accuracy = reward_accuracy(run.report) if run else None
    figure, unit = (percent(accuracy.value, 0), "right") if accuracy else ("", "")
    note = str(accuracy) if accuracy else ""
    return _training("reward", "Reward model", facts, run, free, (figure, unit, note), "Train the reward model")


def _policy(facts: RoundFacts, free: bool) -> Arrow:
    run = facts.round.policy_run
    made = run.result if run else None
    shown = ("1", "new policy", made.name) if made else ("", "", "")
    return _training("policy", "Policy", facts, run, free, shown, "Train the policy")


def _training(
    name: str, title: str, facts: RoundFacts, run: Run | None, free: bool, shown: tuple[str, str, str], action: str
) -> Arrow:
    job = run.job if run else None
    state = _job_state(job, free=free)
    figure, unit, note = shown
    at_work = state == ArrowState.RUNNING and job is not None and job.total
    if at_work and job:
        figure, unit = f"{job.done:,} of {job.total:,}", "steps"
    return Arrow(
        name,
        title,
        state,
        figure=figure,
        unit=unit,
        note=_note(job, state) or note,
        url=_address("run", facts, run.pk if run else None),
        action=_action(state, action),
        done=job.done if at_work and job else None,
        total=job.total if job else None,
    )


def _next(facts: RoundFacts, free: bool) -> Arrow:
    number = facts.next_number
    if number:
        url = reverse("round", args=[facts.round.project.slug, number])
        return Arrow("next", "Next round", ArrowState.DONE, figure=f"Round {number}", unit="goes on", url=url)
    state = ArrowState.READY if free else ArrowState.WAITING
    return Arrow("next", "Next round", state, action="Start the next round" if free else "")
