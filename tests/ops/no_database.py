"""Settings for commands that compare the models with the migrations: without a database there is none to wait for."""

from labelapp.settings import *  # noqa: F403

DATABASES = {"default": {"ENGINE": "django.db.backends.dummy"}}
