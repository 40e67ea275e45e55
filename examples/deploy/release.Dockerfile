# The image of a release: binaries that the release's workflow has built, on Debian, without root.
#
#   docker buildx build -f examples/deploy/release.Dockerfile --platform linux/amd64,linux/arm64 .
#
# It expects dist/tidegate-amd64 and dist/tidegate-arm64. `Dockerfile` builds from source instead.

FROM debian:bookworm-slim
ARG TARGETARCH
RUN apt-get update \
 && apt-get install --yes --no-install-recommends ca-certificates \
 && rm -rf /var/lib/apt/lists/* \
 && install -d -o 65532 -g 65532 -m 700 /var/lib/tidegate
COPY dist/tidegate-${TARGETARCH} /usr/local/bin/tidegate
USER 65532:65532
VOLUME /var/lib/tidegate
EXPOSE 8088
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s CMD ["bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/8088 && printf 'GET /readyz HTTP/1.0\\r\\nhost: localhost\\r\\n\\r\\n' >&3 && head -n 1 <&3 | grep -q ' 200 '"]
ENTRYPOINT ["tidegate"]
CMD ["server", "--data", "/var/lib/tidegate", "--listen", "0.0.0.0:8088", "--users", "/etc/tidegate/users"]
