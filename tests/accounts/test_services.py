"""Writes about people, below the pages."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connection

from labelapp.accounts.services import (
    annotator_update,
    invitation_accept,
    invitation_create,
    invitation_find,
    invitation_revoke,
    membership_end,
    membership_grant,
)
from labelapp.errors import ConflictError, DomainError
from labelapp.models import Annotator, AuditEntry, Invitation, Membership, Project, Role, User


def test_the_secret_itself_is_stored_nowhere(project: Project, omar: User) -> None:
    invitation, secret = invitation_create(project=project, role=Role.LABELER, created_by=omar)
    assert invitation_find(secret) == invitation
    assert secret not in str(Invitation.objects.values().get())
    assert secret not in str(list(AuditEntry.objects.values()))


def test_accepting_never_lowers_a_role(project: Project, omar: User, rita: User) -> None:
    _, secret = invitation_create(project=project, role=Role.LABELER, created_by=omar)
    assert invitation_accept(secret=secret, user=rita).role == Role.REVIEWER


def test_a_withdrawn_invitation_cannot_be_accepted(project: Project, omar: User, stan: User) -> None:
    invitation, secret = invitation_create(project=project, role=Role.LABELER, created_by=omar)
    invitation_revoke(invitation=invitation, actor=omar)
    with pytest.raises(ConflictError):
        invitation_accept(secret=secret, user=stan)
    assert not Membership.objects.filter(user=stan).exists()


def test_a_used_invitation_is_not_withdrawn_after_the_fact(project: Project, omar: User, stan: User) -> None:
    invitation, secret = invitation_create(project=project, role=Role.LABELER, created_by=omar)
    invitation_accept(secret=secret, user=stan)
    invitation_revoke(invitation=invitation, actor=omar)
    assert Invitation.objects.get().revoked_at is None


@pytest.mark.django_db(transaction=True)
def test_of_many_at_once_one_person_gets_in(project: Project, omar: User) -> None:
    _, secret = invitation_create(project=project, role=Role.LABELER, created_by=omar)
    people = [User.objects.create_user(email=f"p{number}@example.com", name="P") for number in range(6)]

    def accept(user: User) -> bool:
        try:
            invitation_accept(secret=secret, user=user)
        except ConflictError:
            return False
        finally:
            connection.close()
        return True

    with ThreadPoolExecutor(max_workers=6) as pool:
        results = list(pool.map(accept, people))
    assert results.count(True) == 1
    assert Membership.objects.filter(user__in=people).count() == 1


@pytest.mark.django_db(transaction=True)
def test_two_admins_who_leave_at_once_cannot_both_go(project: Project, omar: User, rita: User) -> None:
    membership_grant(project=project, user=rita, role=Role.ADMIN, actor=omar)

    def leave(user: User) -> bool:
        try:
            membership_end(membership=Membership.objects.get(user=user), actor=user)
        except DomainError:
            return False
        finally:
            connection.close()
        return True

    with ThreadPoolExecutor(max_workers=2) as pool:
        assert sorted(pool.map(leave, [omar, rita])) == [False, True]


def test_coming_back_keeps_the_annotator(project: Project, omar: User, lena: User) -> None:
    annotator = Annotator.objects.get(user=lena)
    membership_end(membership=Membership.objects.get(user=lena), actor=omar)
    membership_grant(project=project, user=lena, role=Role.REVIEWER, actor=omar)
    assert Annotator.objects.get(user=lena) == annotator
    assert Membership.objects.get(user=lena).ended_at is None


def test_an_update_leaves_alone_what_it_does_not_name(annotator: Annotator, omar: User) -> None:
    annotator_update(annotator=annotator, actor=omar, languages=["de"], accepts_sensitive=["hate"])
    annotator_update(annotator=annotator, actor=omar, skills=["law"])
    annotator.refresh_from_db()
    assert (annotator.languages, annotator.accepts_sensitive, annotator.skills) == (["de"], ["hate"], ["law"])


def test_the_audit_trail_holds_ids_and_no_words(project: Project, omar: User, lena: User) -> None:
    invitation_create(project=project, role=Role.LABELER, created_by=omar, note="Nia from the shop")
    membership_end(membership=Membership.objects.get(user=lena), actor=omar)
    entries = AuditEntry.objects.filter(actor_id=omar.pk)
    assert list(entries.order_by("pk").values_list("verb", flat=True)) == ["invitation_create", "membership_end"]
    assert "Nia" not in str(list(entries.values()))
