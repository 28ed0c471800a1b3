# One image, three processes: `web` (the default), `worker`, `clock`. Your handlers/ and zohook.toml are mounted or copied to /app.
FROM python:3.12-slim AS build
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY receiver receiver
COPY handlers handlers
RUN python -m venv /opt/zohook && /opt/zohook/bin/pip install --no-cache-dir --no-compile .

FROM python:3.12-slim
RUN useradd --system --uid 65532 --home-dir /app --shell /usr/sbin/nologin zohook && install -d -o zohook /app
COPY --from=build /opt/zohook /opt/zohook
ENV PATH=/opt/zohook/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    ZOHOOK_FOLDER=/app ZOHOOK_WEB__HOST=0.0.0.0 ZOHOOK_WEB__PORT=8080
WORKDIR /app
USER 65532
EXPOSE 8080
STOPSIGNAL SIGTERM
ENTRYPOINT ["zohook"]
CMD ["web"]
