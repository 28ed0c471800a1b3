# One image, three processes: `web` (the default), `worker`, `clock`. Your handlers/ and zohook.toml are mounted or copied to /app.
# Every package is pinned with its hashes (deploy/lock.sh). Pin the base too: --build-arg BASE=python:3.12-slim@sha256:...
ARG BASE=python:3.12-slim
FROM ${BASE} AS build
WORKDIR /src
COPY deploy/requirements.lock deploy/build.lock deploy/
RUN python -m venv /opt/build && /opt/build/bin/pip install --no-cache-dir --require-hashes -r deploy/build.lock \
 && python -m venv /opt/zohook && /opt/zohook/bin/pip install --no-cache-dir --no-compile --require-hashes -r deploy/requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY receiver receiver
COPY handlers handlers
RUN /opt/build/bin/pip wheel --no-cache-dir --no-build-isolation --no-deps --wheel-dir /src/dist . \
 && /opt/zohook/bin/pip install --no-cache-dir --no-compile --no-deps --no-index dist/*.whl && /opt/zohook/bin/pip uninstall -y pip

FROM ${BASE}
# /app/.zohook is all that is written to: the spool and the memory of the ledger. A volume goes there.
RUN useradd --system --uid 65532 --home-dir /app --shell /usr/sbin/nologin zohook \
 && install -d /app && install -d -o zohook -m 0700 /app/.zohook
COPY --from=build /opt/zohook /opt/zohook
VOLUME /app/.zohook
ENV PATH=/opt/zohook/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    ZOHOOK_FOLDER=/app ZOHOOK_WEB__HOST=0.0.0.0 ZOHOOK_WEB__PORT=8080
WORKDIR /app
USER 65532
EXPOSE 8080
STOPSIGNAL SIGTERM
ENTRYPOINT ["zohook"]
CMD ["web"]
