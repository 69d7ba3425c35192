"""Writes about people: invitations, memberships, and the annotator each member labels as."""

import hashlib
import secrets
from datetime import timedelta

from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from labelapp.accounts.audit import audit_record
from labelapp.accounts.selectors import invitations_valid
from labelapp.errors import ConflictError, DomainError
from labelapp.models import Annotator, Invitation, Membership, Project, Role, User

INVITATION_LIFETIME = timedelta(days=14)
LAST_ADMIN = "A project needs an admin. Make somebody else admin first."


def _secret_hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


@transaction.atomic
def invitation_create(*, project: Project, role: Role, created_by: User, note: str = "") -> tuple[Invitation, str]:
    """Make a link for one person; return it with its secret, which is shown once and never stored."""
    secret = secrets.token_urlsafe(24)
    invitation = Invitation.objects.create(
        project=project,
        role=role,
        note=note,
        created_by=created_by,
        secret_hash=_secret_hash(secret),
        expires_at=timezone.now() + INVITATION_LIFETIME,
    )
    audit_record(actor=created_by, verb="invitation_create", subject=invitation, project_id=project.pk, role=role.value)
    return invitation, secret


def invitation_find(secret: str) -> Invitation | None:
    """Return the invitation of a secret when it can still be accepted."""
    return invitations_valid().select_related("project").filter(secret_hash=_secret_hash(secret)).first()


@transaction.atomic
def invitation_accept(*, secret: str, user: User) -> Membership:
    """Join the project. An invitation serves one person; a role already held is never lowered.

    Raises ConflictError when the link was used, withdrawn or has expired, or its maker is no admin any more.
    """
    invitation = invitation_find(secret)
    if invitation is None or not _invitation_take(invitation, user):
        raise ConflictError(_("This invitation was used, withdrawn or has expired. Ask an admin for a new one."))
    held = Membership.objects.filter(project=invitation.project, user=user, ended_at__isnull=True).first()
    role = Role(invitation.role)
    if held and Role(held.role).rank >= role.rank:
        return held
    return membership_grant(project=invitation.project, user=user, role=role, actor=user)


@transaction.atomic
def invitation_revoke(*, invitation: Invitation, actor: User | None) -> None:
    """Make an unused link worthless. A used one stays as it is: end the membership instead."""
    revoked = Invitation.objects.filter(pk=invitation.pk, accepted_at__isnull=True, revoked_at__isnull=True).update(
        revoked_at=timezone.now()
    )
    if revoked:
        audit_record(actor=actor, verb="invitation_revoke", subject=invitation, project_id=invitation.project_id)


@transaction.atomic
def membership_grant(*, project: Project, user: User, role: Role, actor: User | None) -> Membership:
    """Give a person a role, new or changed, and the annotator that their labels belong to.

    Whoever is not to be an admin keeps no open invitations. Raises DomainError when it would leave the project without
    an admin.
    """
    _admin_keep(project, user, becomes_admin=role == Role.ADMIN)
    if role != Role.ADMIN:
        _invitations_revoke(project, user, actor)
    membership, _ = Membership.objects.update_or_create(
        project=project, user=user, defaults={"role": role, "ended_at": None}
    )
    Annotator.objects.get_or_create(project=project, user=user, defaults={"kind": Annotator.Kind.PERSON})
    audit_record(
        actor=actor,
        verb="membership_grant",
        subject=membership,
        project_id=project.pk,
        role=role.value,
        user_id=user.pk,
    )
    return membership


@transaction.atomic
def membership_end(*, membership: Membership, actor: User) -> None:
    """Close the project to a member and to those they invited who did not come yet. Their labels stay.

    Raises DomainError for the last admin.
    """
    _admin_keep(membership.project, membership.user, becomes_admin=False)
    _invitations_revoke(membership.project, membership.user, actor)
    Membership.objects.filter(pk=membership.pk).update(ended_at=timezone.now())
    audit_record(
        actor=actor,
        verb="membership_end",
        subject=membership,
        project_id=membership.project_id,
        user_id=membership.user_id,
    )


@transaction.atomic
def annotator_update(
    *,
    annotator: Annotator,
    actor: User,
    languages: list[str] | None = None,
    skills: list[str] | None = None,
    accepts_sensitive: list[str] | None = None,
    group: Annotator.Group | None = None,
) -> Annotator:
    """Change what a person may be seated for; what is None stays."""
    given = {
        "languages": languages,
        "skills": skills,
        "accepts_sensitive": accepts_sensitive,
        "group": group,
    }
    changed = {name: value for name, value in given.items() if value is not None}
    for name, value in changed.items():
        setattr(annotator, name, sorted(set(value)) if isinstance(value, list) else value)
    annotator.save(update_fields=list(changed))
    audit_record(actor=actor, verb="annotator_update", subject=annotator, project_id=annotator.project_id)
    return annotator


def _invitation_take(invitation: Invitation, user: User) -> bool:
    """Use the link up. False when it became worthless meanwhile."""
    # Locked as where roles are taken: a maker who is losing theirs this moment is waited for, then seen as they are.
    _project_lock(invitation.project)
    valid = invitations_valid().filter(pk=invitation.pk)
    return bool(valid.update(accepted_by=user, accepted_at=timezone.now()))


def _invitations_revoke(project: Project, maker: User, actor: User | None) -> None:
    """Withdraw the links that a person made and nobody used, lest they come back by one of their own."""
    for invitation in Invitation.objects.filter(
        project=project,
        created_by=maker,
        accepted_at__isnull=True,
        revoked_at__isnull=True,
        expires_at__gt=timezone.now(),
    ):
        invitation_revoke(invitation=invitation, actor=actor)


def _project_lock(project: Project) -> None:
    """Let one change of roles through at a time."""
    Project.objects.select_for_update(no_key=True).get(pk=project.pk)


def _admin_keep(project: Project, user: User, *, becomes_admin: bool) -> None:
    """Refuse to take the role from the project's only admin. Locks the project, so two admins cannot both leave."""
    _project_lock(project)
    admins = Membership.objects.filter(project=project, role=Role.ADMIN, ended_at__isnull=True)
    if not becomes_admin and set(admins.values_list("user_id", flat=True)) == {user.pk}:
        raise DomainError(LAST_ADMIN)
