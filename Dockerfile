# The project with everything installed:
#
#   docker build --tag overfitting-gap .
#   docker run --rm --network host --volume overfitting-gap:/project overfitting-gap            # make run
#   docker run --rm --network host --volume overfitting-gap:/project overfitting-gap make ui
#
# For NVIDIA GPUs add --build-arg EXTRAS=gpu to the first and --gpus all to the others. The volume keeps data, runs and reports,
# and the code: remove it (docker volume rm overfitting-gap) after building another version.
# hadolint finds nothing in this file; it has not been built.

FROM python:3.13-slim-bookworm

# Debian keeps one version of a package for each of its releases: there is no other to pin.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends git make \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 1000 --create-home --shell /bin/bash person \
    && install --directory --owner 1000 /project

USER 1000
WORKDIR /project

# What decides the packages comes first: an edit elsewhere installs nothing anew.
ARG EXTRAS=""
COPY --chown=1000 Makefile pyproject.toml requirements*.lock README.md LICENSE ./
COPY --chown=1000 scripts scripts
RUN make setup EXTRAS="$EXTRAS"

COPY --chown=1000 . .
CMD ["make", "run"]
