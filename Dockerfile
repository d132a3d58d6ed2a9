# docs/image.md explains how to build and run the image. To pin the base, pass its digest:
# --build-arg BASE=docker.io/library/python:3.11-slim-bookworm@sha256:…
ARG BASE=docker.io/library/python:3.11-slim-bookworm

FROM ${BASE} AS build
# Pass requirements-train.txt for an image that reads pickles and trains.
ARG REQUIREMENTS=requirements.txt
WORKDIR /app
COPY ${REQUIREMENTS} /build/
# No --mount, because some builders do not support it, for instance Heroku's.
RUN python3 -m venv /opt/slipway \
    && /opt/slipway/bin/pip install --no-cache-dir --no-compile -r /build/${REQUIREMENTS} \
    && /opt/slipway/bin/pip uninstall --yes pip setuptools
# Remove Flasgger's own copies of Swagger UI, which are old and unused, and the tests of libraries,
# which are a ninth of the image that trains.
RUN rm -r /opt/slipway/lib/python*/site-packages/flasgger/ui[23]/static \
    && find /opt/slipway/lib -type d -name tests -prune -exec rm -r {} +
COPY . .
# Compile bytecode here, because the service may not write it. Python checks it by content, so that
# it stays valid if a builder changes file dates.
RUN rm requirements*.txt \
    && chmod -R a+rX . \
    && python3 -m compileall -q -j 0 --invalidation-mode unchecked-hash /opt/slipway/lib /app

FROM ${BASE}
# Any user may write to the cache, because some platforms choose the user.
RUN groupadd --gid 10001 slipway \
    && useradd --no-log-init --uid 10001 --gid 10001 --home-dir /nonexistent slipway \
    && install --directory --mode 1777 /var/cache/slipway
ENV PATH=/opt/slipway/bin:$PATH \
    PORT=8000 \
    SLIPWAY_CACHE=/var/cache/slipway
WORKDIR /app
COPY --from=build /opt/slipway /opt/slipway
COPY --from=build /app /app
USER 10001
EXPOSE ${PORT}
HEALTHCHECK --interval=15s --timeout=5s --start-period=30s CMD ["python", "-c", \
    "import os, urllib.request as r; e = os.environ; r.urlopen('http://127.0.0.1:' + e['PORT'] + e.get('SCRIPT_NAME', '') + '/readyz', timeout=4)"]
# As in the Procfile: Gunicorn reads the address from PORT, and the number of workers from
# WEB_CONCURRENCY or gunicorn.conf.py (four). It is process 1, so that it receives SIGTERM.
CMD ["gunicorn", "app:app"]
ARG GIT_SHA=
LABEL org.opencontainers.image.title="Slipway" \
    org.opencontainers.image.licenses="Apache-2.0" \
    org.opencontainers.image.revision="${GIT_SHA}"
