# syntax=docker/dockerfile:1
# quell alone: it needs a DATABASE_URL, since there is no Postgres in here.

FROM rust:1.95-slim-bookworm AS build
WORKDIR /build
COPY Cargo.toml Cargo.lock build.rs ./
COPY .cargo .cargo
COPY .sqlx .sqlx
COPY benches/load benches/load
COPY crates crates
COPY migrations migrations
COPY policies policies
COPY src src
# Cargo.toml names it.
COPY tests/integration/main.rs tests/integration/
# What was compiled, dependencies above all, stays for the next build.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/build/target \
    cargo build --release --locked --bin quell && cp target/release/quell /quell

# glibc and the certificates of public authorities, no shell.
FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build /quell /usr/bin/quell
USER 65532:65532
# Nobody reaches a container's loopback. Publish the port where something before it speaks TLS.
ENV HOST=0.0.0.0 PORT=8080
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=5s --start-period=1m CMD ["/usr/bin/quell", "health"]
ENTRYPOINT ["/usr/bin/quell"]
CMD ["serve"]
