"""One attempt at a job, and how its end is recorded."""

import logging
import traceback
from typing import Any

from django.db import InterfaceError, OperationalError

from labelapp.errors import DomainError
from labelapp.jobs.registry import JobCancelledError, JobFailedError, JobLostError, JobRetryError, JobRun, handler_for
from labelapp.jobs.services import job_fail, job_finish, job_retry, job_stop

log = logging.getLogger(__name__)

TRACE_LINES = 30
UNEXPECTED = "Something unexpected happened. What was saved stays. The workers' log and the text below say more."


def job_execute(run: JobRun) -> None:
    """Do the work of a claimed job and record how it ended. Raises nothing that the job itself could have caused."""
    try:
        result = handler_for(run.job.kind)(run)
    except JobLostError:
        log.warning("Job %s was taken over by another worker; attempt %s stops", run.job.pk, run.attempt)
    except JobCancelledError:
        job_stop(run)
    except (OperationalError, InterfaceError):
        log.exception("Job %s lost the database in attempt %s", run.job.pk, run.attempt)
        _retry(run, error=_trace())
    except JobRetryError as error:
        log.warning("Job %s, attempt %s: %s", run.job.pk, run.attempt, error.happened)
        _retry(run, error="", happened=error.happened, last_message=error.message, result=error.result)
    except JobFailedError as error:
        job_fail(run, message=error.message, result=error.result)
    except DomainError as error:
        job_fail(run, message=error.message)
    except Exception:
        log.exception("Job %s failed in attempt %s", run.job.pk, run.attempt)
        job_fail(run, message=UNEXPECTED, error=_trace())
    else:
        job_finish(run, result=result)


def _retry(run: JobRun, **told: Any) -> None:
    """Let another attempt go on. Where the database cannot be told, the job stays as it is for the reaper to find."""
    try:
        job_retry(run, **told)
    except (OperationalError, InterfaceError):
        log.warning("Job %s is left to the reaper", run.job.pk)


def _trace() -> str:
    return "\n".join(traceback.format_exc().splitlines()[-TRACE_LINES:])
