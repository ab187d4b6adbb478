#!/bin/sh
# Does what the Dockerfile does, without a container engine, and checks what comes out: the build from the copied files
# only; a root with nothing but the binary, its libraries, certificates and configuration; a user without rights; a
# read-only file system; the health check; a call to the simulated provider; the drain.
#
# As root on Linux (it uses unshare and chroot). WEIR_BINARY=FILE skips the build.
set -eu
cd "$(dirname "$0")/.."
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
fail() { echo "verify-image: $*" >&2; exit 1; }

# --- the build stage: only what its COPY lines name ---------------------------
if [ -z "${WEIR_BINARY:-}" ]; then
    mkdir "$root/build"
    sed -n '/AS build/,/^FROM gcr/p' Dockerfile | sed -n 's/^COPY \(.*\) [^ ]*$/\1/p' | tr ' ' '\n' | while read -r path; do
        cp -R "$path" "$root/build/$path"
    done
    CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$PWD/target}" \
        cargo build --manifest-path "$root/build/Cargo.toml" --release --locked --bin weir
    WEIR_BINARY="${CARGO_TARGET_DIR:-$PWD/target}/release/weir"
    rm -rf "$root/build"
fi

# --- the runtime stage ----------------------------------------------------------
image="$root/image"
mkdir -p "$image/usr/local/bin" "$image/etc/weir" "$image/etc/ssl/certs" "$image/dev" "$image/proc" "$image/tmp"
cp "$WEIR_BINARY" "$image/usr/local/bin/weir"
cp deploy/container.toml "$image/etc/weir/weir.toml"
cp /etc/ssl/certs/ca-certificates.crt "$image/etc/ssl/certs/"
printf 'hosts: files dns\n' > "$image/etc/nsswitch.conf"
printf '127.0.0.1 localhost\n' > "$image/etc/hosts"
# What distroless/cc offers to programs: glibc and libgcc. Anything else would be missing there.
ldd "$WEIR_BINARY" | awk '$2 == "=>" { print $3 } $1 ~ /^\// { print $1 }' | while read -r library; do
    case "$library" in
        */libc.so.*|*/libm.so.*|*/libgcc_s.so.*|*/libdl.so.*|*/libpthread.so.*|*/librt.so.*|*/ld-linux*) ;;
        *) fail "the image would lack $library" ;;
    esac
    mkdir -p "$image$(dirname "$library")"
    cp -L "$library" "$image$library"
done
# musl or a newer Debian than the image's would show here.
needs=$(grep -ao 'GLIBC_2\.[0-9]*' "$WEIR_BINARY" | sort -t. -k2 -n | tail -1)
[ "${needs#GLIBC_2.}" -le 36 ] || fail "the binary needs $needs; Debian 12 has 2.36"

# --- run it -----------------------------------------------------------------------
cat > "$root/inside.sh" <<'INSIDE'
set -eu
image=$1
fail() { echo "verify-image: $*" >&2; exit 1; }
sim='' weir=''
trap 'for left in $sim $weir; do kill "$left" 2>/dev/null || true; done' EXIT
ip link set lo up
mount --bind "$image" "$image"
mount --bind /dev "$image/dev"
mount -o remount,ro,bind "$image"
# As the image runs it: uid 65532, and nothing of this environment. `inside [NAME=VALUE...] COMMAND...`
inside() { env -i PATH="$PATH" "$@"; }
as_nobody="chroot --userspec=65532:65532 $image"

env -i PATH="$PATH" $as_nobody /usr/local/bin/weir simulate --listen 127.0.0.1:8090 > "$image.sim" 2>&1 &
sim=$!
if $as_nobody /bin/sh -c true 2>/dev/null; then fail "there is a shell in the image"; fi
env -i PATH="$PATH" WEIR__UPSTREAM__OPENAI__BASE_URL=http://127.0.0.1:8090/v1 \
    $as_nobody /usr/local/bin/weir serve > "$image.log" 2> "$image.err" &
weir=$!
health() { inside $as_nobody /usr/local/bin/weir health --address 127.0.0.1:8484; }
tries=0
until health > /dev/null 2>&1; do
    tries=$((tries + 1))
    [ "$tries" -lt 50 ] || { cat "$image.err" >&2; fail "not healthy"; }
    sleep 0.1
done
echo "healthy"
[ "$(awk '/^Uid:/ { print $2 }' "/proc/$weir/status")" = 65532 ] || fail "it runs as another user"
if touch "$image/tmp/x" 2>/dev/null; then fail "the root is not read-only"; fi

answer=$(curl -sS -i http://127.0.0.1:8484/v1/chat/completions -H 'authorization: Bearer sk-anything' \
    -H 'content-type: application/json' -d '{"model":"gpt-4o-mini","messages":[{"role":"user","content":"Hello"}]}')
echo "$answer" | grep -q '^HTTP/1.1 200' || fail "no answer: $answer"
echo "$answer" | grep -qi '^x-weir-upstream: openai' || fail "not by the upstream: $answer"
curl -sS http://127.0.0.1:8485/metrics | grep -q '^weir_requests_total{.*outcome="ok".*} 1' || fail "no metrics"
echo "answers a call"

# SIGTERM during a stream of two seconds: the stream ends whole, then the process does, with 0.
curl -sSN http://127.0.0.1:8484/v1/chat/completions -H 'authorization: Bearer sk-anything' -H 'content-type: application/json' \
    -d '{"model":"gpt-4o-mini","stream":true,"messages":[{"role":"user","content":"[sim:tokens=40] [sim:event-ms=50]"}]}' \
    > "$image.stream" &
stream=$!
sleep 0.5
kill -TERM "$weir"
wait "$stream" || fail "the stream was cut"
tail -n 2 "$image.stream" | grep -q '^data: \[DONE\]' || fail "the stream is not whole"
code=0
wait "$weir" || code=$?
[ "$code" = 0 ] || fail "exit code $code after SIGTERM"
[ "$(grep -c '"outcome":"ok"' "$image.log")" = 2 ] || fail "the access log misses a call"
if health > /dev/null 2>&1; then fail "the health check says yes to a gateway that is gone"; fi
echo "drains: the stream was whole, exit code 0"

# A key of weir's own on an open listener, and nobody told apart: refused.
code=0
inside WEIR__UPSTREAM__OPENAI__API_KEY=sk-own $as_nobody /usr/local/bin/weir serve 2> "$image.refused" || code=$?
[ "$code" = 64 ] || fail "exit code $code for a key on an open listener"
kill -TERM "$sim"
wait "$sim" || true
echo "refuses to offer its own key to everybody"
INSIDE
unshare --mount --net --propagation private sh "$root/inside.sh" "$image"
echo "ok: $(du -h "$WEIR_BINARY" | cut -f1) of binary, $needs"
