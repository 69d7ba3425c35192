# One image for every process. Two targets: `web` has no torch (web, short worker, beat), `trainer` has it (compute).
FROM python:3.12-slim AS web
ENV PYTHONUNBUFFERED=1 PIP_NO_CACHE_DIR=1 PREFLOOP_VAR=/var/lib/prefloop
WORKDIR /app
COPY requirements.lock ./
RUN pip install --disable-pip-version-check --require-hashes -r requirements.lock
COPY manage.py pyproject.toml ./
COPY labelapp ./labelapp
COPY trainer ./trainer
COPY migrations ./migrations
COPY templates ./templates
COPY static ./static
RUN useradd --system --home-dir /var/lib/prefloop --create-home prefloop
USER prefloop
VOLUME /var/lib/prefloop
EXPOSE 8000
CMD ["uvicorn", "labelapp.asgi:application", "--host", "0.0.0.0", "--port", "8000", "--workers", "2", \
     "--lifespan", "off", "--timeout-graceful-shutdown", "3", "--no-server-header"]

FROM web AS trainer
USER root
COPY requirements-ml.lock ./
# Torch first: what needs it then looks for no other.
RUN pip install --disable-pip-version-check "$(sed -n 's/.*"\(torch==[^"]*\)".*/\1/p' pyproject.toml)" \
    && pip install --disable-pip-version-check --require-hashes -r requirements-ml.lock
USER prefloop
CMD ["celery", "-A", "labelapp", "worker", "-Q", "compute", "-n", "compute@%h", "--pool", "threads", \
     "--concurrency", "1", "--without-gossip", "--without-mingle"]
