# The site as an image: `docker build --tag chat .`; docs/deployment.md lists a container's settings.

# The tests run on 3.11; 3.12 and 3.13 work too.
ARG PYTHON=3.11

FROM python:${PYTHON}-slim AS build
WORKDIR /srv/chat
RUN python -m venv .venv
COPY requirements-production.txt ./
# Wheels only, so no compiler is needed. The files of pip and of the packages' tests stay behind.
RUN .venv/bin/python -m pip install --no-cache-dir --disable-pip-version-check --only-binary :all: \
        --require-hashes --requirement requirements-production.txt \
    && .venv/bin/python -m pip uninstall --yes setuptools pip \
    && find .venv -type d -name tests -prune -exec rm -r {} +
COPY manage.py ./
COPY chat chat
COPY chatsite chatsite
COPY templates templates
# The container's file system may be read-only, so Python's bytecode is compiled here.
RUN .venv/bin/python -m compileall -q chat chatsite
# This key signs nothing: Django needs one for every command.
RUN SECRET_KEY=of-this-command-alone-and-no-secret .venv/bin/python manage.py collectstatic --noinput --verbosity 0

FROM python:${PYTHON}-slim
LABEL org.opencontainers.image.title="chat" org.opencontainers.image.licenses="MIT"
WORKDIR /srv/chat
RUN useradd --system --uid 10001 --user-group --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin chat
COPY --from=build /srv/chat ./
# SQLite's file, and a generated secret key if none is given: mount a volume here to keep them.
RUN install --directory --owner=chat --group=chat .local
ENV PATH=/srv/chat/.venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER 10001:10001
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 CMD ["python", "-m", "chatsite.healthcheck"]
ENTRYPOINT ["python", "manage.py"]
CMD ["serve", "--host", "0.0.0.0"]
