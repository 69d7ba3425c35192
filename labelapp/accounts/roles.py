"""What roles are called. Models carry the words in English; pages say `{% translate held.get_role_display %}`."""

from django.utils.translation import gettext_noop

NAMES = (gettext_noop("Labeler"), gettext_noop("Reviewer"), gettext_noop("Admin"))
