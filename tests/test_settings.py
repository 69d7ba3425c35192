"""Settings that others rely on."""

import logging
import os
import subprocess
import sys

import pytest
from django.conf import settings


@pytest.mark.parametrize("name", ["celery.worker.strategy", "celery.app.trace"])
def test_the_log_does_not_tell_of_every_tick(name: str) -> None:
    assert not logging.getLogger(name).isEnabledFor(logging.INFO)
    assert logging.getLogger(name).isEnabledFor(logging.WARNING)


def test_the_word_that_a_worker_is_ready_is_logged() -> None:
    assert logging.getLogger("celery.worker").isEnabledFor(logging.INFO)


@pytest.mark.parametrize(("given", "limit"), [("", 8192), ("20", 20)])
def test_the_environment_sets_the_limit_of_uploads(given: str, limit: int) -> None:
    ask = "from labelapp import settings; print(settings.UPLOAD_LIMIT)"
    environment = {**os.environ, "PREFLOOP_UPLOAD_LIMIT_MB": given}
    said = subprocess.check_output([sys.executable, "-c", ask], env=environment, cwd=settings.BASE_DIR, text=True)
    assert int(said) == limit * 1024**2
