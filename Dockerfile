# The static binary and the certificates of authorities, and nothing else: no shell, no libraries, no root.
#
#   docker build -t cloakroom .
#   docker run -e CLOAKROOM_REQUIREPASS=... -p 6379:6379 -p 8379:8379 -v cloakroom:/data cloakroom --upstream http://app:3000
#
# Inside it listens on all addresses, and so does not start without a password (protected-mode).

FROM rust:1.95-bookworm AS build
# Versions are those of Debian's release; nothing of these packages but the certificates gets into the image.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates musl-tools \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/src/target \
    packaging/static.sh /out && mkdir /out/state && mkdir -m 700 /out/state/data

FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /out/cloakroom /cloakroom
# /data, for sign-outs, snapshots and keys. Give it a volume, or a restart forgets who signed out. Copied by the folder around
# it, as not every engine keeps the mode of a folder that is named itself.
COPY --from=build --chown=65532:65532 /out/state /
USER 65532:65532
WORKDIR /data
VOLUME /data
ENV CLOAKROOM_BIND="*" CLOAKROOM_LOG_FORMAT=json
EXPOSE 6379 8379
# No HEALTHCHECK: orchestrators ask GET /healthz and /readyz.
ENTRYPOINT ["/cloakroom"]
