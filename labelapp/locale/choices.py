"""Names of choices that labelers meet. Models carry them in English; pages say `{% translate x.get_role_display %}`."""

from django.utils.translation import gettext_noop

ROLES = (gettext_noop("Labeler"), gettext_noop("Reviewer"), gettext_noop("Admin"))
