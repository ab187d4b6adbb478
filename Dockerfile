# syntax=docker/dockerfile:1

# glibc and not musl: it is what the tests and benches run on, names resolve as they do on the host, and a stock image
# builds it. The builder's Debian and the runtime's must be the same release, or the binary asks for a newer glibc than
# there is.
FROM rust:1.95-bookworm AS build
WORKDIR /build
COPY Cargo.toml Cargo.lock ./
# Cargo.toml names the bench, so its source has to be there, though it is not built.
COPY benches benches
# Presets, prices and defaults: compiled into the binary.
COPY config config
COPY src src
# The caches do not end up in a layer; that is why the binary is copied out in the same step.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/build/target \
    cargo build --release --locked --bin weir && install -D target/release/weir /out/weir

# glibc, libgcc and CA certificates; no shell, no package manager. `nonroot` is uid 65532.
FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build /out/weir /usr/local/bin/weir
# Listens on all addresses and holds no key. Mount your own over it, or name another in WEIR_CONFIG.
COPY deploy/container.toml /etc/weir/weir.toml
# 8484: apps. 8485: metrics, health, status.
EXPOSE 8484 8485
# Drains: running calls end first.
STOPSIGNAL SIGTERM
# By address and not by configuration: a file that is being edited must not make a gateway look ill that still runs
# on the old one.
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s --retries=3 \
    CMD ["/usr/local/bin/weir", "health", "--address", "127.0.0.1:8484"]
# weir writes nothing but its access log, to stdout: the root file system can be read-only.
ENTRYPOINT ["/usr/local/bin/weir"]
CMD ["serve"]
