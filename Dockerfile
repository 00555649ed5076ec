# The image of every program here. What runs is named by the command: worker, mcp_server, emulator, cli, embedded.

FROM python:3.11.15-slim AS dependencies
COPY requirements-runtime.txt /
RUN python -m venv /venv && \
    /venv/bin/python -m pip install --quiet --no-cache-dir --disable-pip-version-check --only-binary :all: \
        --require-hashes -r /requirements-runtime.txt && \
    /venv/bin/python -m pip uninstall --quiet --yes pip setuptools

FROM python:3.11.15-slim
COPY --from=dependencies /venv /venv
WORKDIR /app
COPY durable_responses ./durable_responses
COPY workflows ./workflows
COPY activities ./activities
# For whatever user the container is started as; a named volume takes this over.
RUN install -d -m 1777 /state /workspace
ENV PATH=/venv/bin:$PATH \
    PYTHONPATH=/app \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    HOME=/state \
    AGENT_STATE_FOLDER=/state \
    AGENT_WORKSPACE=/workspace
USER 10001:10001
# Relative paths, of files and of tool modules, are those of the workspace.
WORKDIR /workspace
ENTRYPOINT ["python", "-P", "-m"]
CMD ["durable_responses.worker"]
