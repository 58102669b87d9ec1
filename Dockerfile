FROM python:3.12-slim AS build
WORKDIR /src
COPY . .
RUN pip wheel --no-cache-dir --wheel-dir /wheels .

FROM python:3.12-slim
RUN --mount=type=bind,from=build,source=/wheels,target=/wheels \
    pip install --no-cache-dir --no-index --find-links=/wheels qmpd \
    && useradd --system --create-home --home-dir /run/qmpd --shell /usr/sbin/nologin qmpd
USER qmpd
WORKDIR /run/qmpd
# qmp.sock is the client's; a monitor serves one client, so the health check has its own.
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s \
    CMD ["python", "-m", "qmpd.cli.health", "/run/qmpd/health.sock"]
# Images are in memory. For clients that are not trusted add --allow-sockets /run/qmpd; for images that
# are mounted --storage overlay --allow-read DIR: see docs/security.md.
ENTRYPOINT ["qmpd"]
CMD ["serve", "--qmp", "unix:/run/qmpd/qmp.sock", "--qmp", "unix:/run/qmpd/health.sock", "--disk", "disk0=1G"]
