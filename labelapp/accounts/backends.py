"""Who is signed in, read by one planned statement: every request of a signed-in person asks."""

from typing import Any

from allauth.account.auth_backends import AuthenticationBackend

from labelapp.models import User
from labelapp.statements import columns, instances, prepared

READ = f"SELECT {columns(User, 'person')} FROM labelapp_user person WHERE person.id = %s"  # noqa: S608 (words of our own)


class AccountBackend(AuthenticationBackend):  # type: ignore[misc]
    """Allauth's, but for how the signed-in person is read."""

    def get_user(self, user_id: Any) -> User | None:
        """The person of a session; None when they are gone or may not sign in any more."""
        with prepared() as cursor:
            cursor.execute(READ, [int(user_id)])
            row = cursor.fetchone()
        if row is None:
            return None
        user: User = instances(iter(row), [User])[0]
        return user if self.user_can_authenticate(user) else None
