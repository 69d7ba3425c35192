"""The arrows of the ring: each starts one step of a round, once the step before is done."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from django.db import transaction
from django.db.models import Max

from labelapp.accounts.audit import audit_record
from labelapp.datasets.freeze_options import SUBMITTED, FreezeOptions
from labelapp.datasets.snapshots import snapshot_freeze
from labelapp.errors import ConflictError, DomainError
from labelapp.generation.sampling import SampleChoice, completions_sample
from labelapp.labeling.services.batches import BatchPlan, PromptChoice, batch_create
from labelapp.models import Batch, Job, ModelVersion, Project, Protocol, Round, Run, RunKind, User
from labelapp.rounds.options import FIRST, RoundOptions, round_options_read
from labelapp.rounds.selectors import Arrow, ArrowState, RoundFacts, round_facts, round_ring, rounds_of
from labelapp.training.services import run_resume, run_start

WRITERS = (ModelVersion.Kind.BASE, ModelVersion.Kind.SFT, ModelVersion.Kind.POLICY)
"""Kinds of models that can write completions and be trained further."""


@transaction.atomic
def round_start(*, project: Project, policy: ModelVersion, options: RoundOptions, created_by: User | None) -> Round:
    """Begin a round with a policy. Nothing is done yet.

    Raises DomainError when the policy or the protocol is not the project's, or the policy cannot write.
    """
    Project.objects.select_for_update(no_key=True).get(pk=project.pk)
    if policy.project_id != project.pk or policy.state != ModelVersion.State.READY or policy.kind not in WRITERS:
        raise DomainError(
            f"“{policy.name}” cannot write completions here. Choose a base model or a policy that is ready."
        )
    if options.protocol and not Protocol.objects.filter(pk=options.protocol, project=project).exists():
        raise DomainError("This protocol belongs to another project. Choose one of this project.")
    newest = Round.objects.filter(project=project).aggregate(number=Max("number", default=0))["number"]
    made = Round.objects.create(
        project=project, number=newest + 1, policy=policy, options=asdict(options), created_by=created_by
    )
    audit_record(actor=created_by, verb="round_start", subject=made, project_id=project.pk, number=made.number)
    return made


@transaction.atomic
def round_sample(*, round: Round, actor: User) -> Job:
    """Let the policy write. Raises ConflictError when it does or did already."""
    facts = _facts_locked(round)
    _arrow_open(facts, "sample")
    options = round_options_read(facts.round.options)
    job = completions_sample(
        project=facts.round.project,
        model_versions=[facts.round.policy],
        choice=SampleChoice(split=options.split, limit=options.prompts),
        options=options.trainer_options("sampling"),
        created_by=actor,
    )
    return _noted(facts.round, actor, sampling=job, job=job)


@transaction.atomic
def round_label(*, round: Round, actor: User) -> Job:
    """Put what the policy wrote before the labelers; return the job that makes the tasks.

    Raises ConflictError when the sampling is not done or the batch is there, DomainError when there is no protocol.
    """
    facts = _facts_locked(round)
    _arrow_open(facts, "label")
    found, options = facts.round, round_options_read(facts.round.options)
    plan = BatchPlan(
        name=_name_free(Batch.objects.filter(project=found.project_id), f"Round {found.number}"),
        k=options.completions,
        overlap=options.overlap,
        shared_share=options.shared_percent / 100,
        shared_overlap=options.shared_overlap,
    )
    batch, job = batch_create(
        project=found.project,
        protocol=_protocol(found.project, options),
        plan=plan,
        choice=PromptChoice(sampled_by=found.sampling_id),
        open_when_made=True,
        actor=actor,
    )
    return _noted(found, actor, batch=batch, job=job)


@transaction.atomic
def round_freeze(*, round: Round, actor: User) -> Job:
    """Freeze the labels of the round's batch, or all of the project where the round makes none of its own.

    Raises ConflictError when labels are still to come.
    """
    facts = _facts_locked(round)
    _arrow_open(facts, "freeze")
    batches = (facts.round.batch_id,) if facts.round.batch_id else ()
    options = FreezeOptions(batches=batches, minimum_state=SUBMITTED)
    job = snapshot_freeze(project=facts.round.project, options=options, created_by=actor)
    return _noted(facts.round, actor, freeze=job, snapshot=None, job=job)


@transaction.atomic
def round_reward(*, round: Round, actor: User) -> Job:
    """Train a reward model from the round's snapshot, or go on with a run that stopped.

    Raises ConflictError when the snapshot is not there yet.
    """
    facts = _facts_locked(round)
    _arrow_open(facts, "reward")
    return _train(facts, actor, field="reward_run", kind=RunKind.REWARD, word="reward")


@transaction.atomic
def round_policy(*, round: Round, actor: User) -> Job:
    """Train the next policy from the round's snapshot, or go on with a run that stopped.

    Raises ConflictError when the reward model is not there yet.
    """
    facts = _facts_locked(round)
    _arrow_open(facts, "policy")
    anchor = round_options_read(facts.round.options).anchor
    reference = policy_first(facts.round) if anchor == FIRST else facts.round.policy
    return _train(facts, actor, field="policy_run", kind=RunKind.PREFERENCE, word="policy", reference=reference)


@transaction.atomic
def round_next(*, round: Round, actor: User | None, options: RoundOptions | None = None) -> Round:
    """Begin the next round with the policy that this one made; or return it when it was begun already.

    It is done like this one unless `options` say otherwise.

    Raises ConflictError when there is no new policy yet.
    """
    facts = _facts_locked(round)
    run = facts.round.policy_run
    if run is None or run.result is None:
        raise ConflictError(f"Round {facts.round.number} has no new policy yet. Train it first.")
    if facts.next_number:
        return Round.objects.get(project=facts.round.project_id, number=facts.next_number)
    usual = round_options_read(facts.round.options)
    return round_start(project=facts.round.project, policy=run.result, options=options or usual, created_by=actor)


def policy_first(found: Round) -> ModelVersion:
    """The policy that the chain of rounds began with, of which this round is the last."""
    policy, seen = found.policy, set[int]()
    while policy.pk not in seen:
        seen.add(policy.pk)
        before = Round.objects.filter(policy_run__result=policy).select_related("policy").first()
        policy = before.policy if before else policy
    return policy


def _facts_locked(round: Round) -> RoundFacts:
    """The round as it is now, its row locked: two clicks start a step once."""
    Round.objects.select_for_update(no_key=True).get(pk=round.pk)
    return round_facts(rounds_of(round.project).get(pk=round.pk))


def _arrow_open(facts: RoundFacts, name: str) -> Arrow:
    """The arrow, which is free to be started. Raises ConflictError otherwise, with what it waits for."""
    arrows = {arrow.name: arrow for arrow in round_ring(facts)}
    arrow, where = arrows[name], f"Round {facts.round.number}"
    if arrow.action:
        return arrow
    if arrow.state == ArrowState.PASSED:
        raise ConflictError(f"{where} does without “{arrow.title}”: it learns from the labels that are there.")
    if arrow.state != ArrowState.WAITING:
        raise ConflictError(f"“{arrow.title}” of {where} was started before: {arrow.words.lower()}.")
    names = list(arrows)
    before = arrows[names[names.index(name) - 1]]
    count = f" ({before.figure} {before.unit})" if before.figure else ""
    mend = " Wait, or close the batch to go on with the labels that are in." if before.name == "label" else ""
    raise ConflictError(f"“{arrow.title}” of {where} comes after “{before.title}”, which is not done yet{count}.{mend}")


def _train(
    facts: RoundFacts, actor: User, *, field: str, kind: RunKind, word: str, reference: ModelVersion | None = None
) -> Job:
    found = facts.round
    stopped: Run | None = getattr(found, field)
    if stopped:
        return run_resume(run=stopped, actor=actor)
    if facts.snapshot is None:
        raise ConflictError(f"The freeze of Round {found.number} left no snapshot. Freeze the labels of a new round.")
    run = run_start(
        project=found.project,
        kind=kind,
        name=_name_free(Run.objects.filter(project=found.project_id), f"round-{found.number}-{word}"),
        snapshot=facts.snapshot,
        start=found.policy,
        reference=reference,
        options=_asked(found, kind.value),
        created_by=actor,
    )
    return _noted(found, actor, **{field: run}, snapshot=facts.snapshot, job=run.job)


def _asked(found: Round, name: str) -> Mapping[str, Any]:
    return dict(getattr(round_options_read(found.options), name))


def _noted(found: Round, actor: User | None, *, job: Job, **fields: Any) -> Job:
    """Let the round point at what was started."""
    Round.objects.filter(pk=found.pk).update(**fields)
    audit_record(actor=actor, verb="round_step", subject=found, project_id=found.project_id, job_id=job.pk)
    return job


def _protocol(project: Project, options: RoundOptions) -> Protocol:
    protocols = Protocol.objects.filter(project=project)
    chosen = protocols.filter(pk=options.protocol) if options.protocol else protocols.order_by("-pk")
    protocol = chosen.first()
    if protocol is None:
        raise DomainError("The project has no protocol to label under. Make one first.")
    return protocol


def _name_free(rows: Any, wanted: str) -> str:
    """The name, with a number where it is taken."""
    taken = set(rows.filter(name__startswith=wanted).values_list("name", flat=True))
    numbered = (f"{wanted} ({number})" for number in range(2, len(taken) + 3))
    return wanted if wanted not in taken else next(name for name in numbered if name not in taken)
