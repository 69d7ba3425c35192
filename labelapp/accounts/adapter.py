"""Sign-up is open only to somebody who came by an invitation link."""

from typing import Any

from allauth.account.adapter import DefaultAccountAdapter
from django.http import HttpRequest

from labelapp.accounts.services import invitation_accept, invitation_find

SESSION_KEY = "invitation"


class InvitationOnlyAdapter(DefaultAccountAdapter):  # type: ignore[misc]
    """Reads the invitation that the link left in the session."""

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        """Only with an invitation that can still be accepted."""
        secret = request.session.get(SESSION_KEY)
        return bool(secret and invitation_find(secret))

    def save_user(self, request: HttpRequest, user: Any, form: Any, commit: bool = True) -> Any:
        """Save the person and let them in where they were invited."""
        user = super().save_user(request, user, form, commit)
        invitation_accept(secret=request.session.pop(SESSION_KEY), user=user)
        return user
