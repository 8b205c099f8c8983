#!/bin/sh
# Build the server's image with podman or docker, whichever works here, as localhost/fashion:VERSION and :latest, or
# with `--target training` as localhost/fashion-training. All arguments go to its `build`.
set -eu
cd "$(dirname "$0")/.."

engine=
for program in podman docker; do
    if "$program" info >/dev/null 2>&1; then engine=$program; break; fi
done
if [ -z "$engine" ]; then
    echo 'error: neither podman nor docker works here; install one (on Debian: make services)' >&2
    exit 2
fi
. tests/deploy/without_registry.sh  # defines where_no_registry, for machines of CI

version=$(sed -n 's/^__version__ = "\(.*\)"$/\1/p' fashion/__init__.py)
case " $* " in
*" --target training "* | *" --target=training "*) name=localhost/fashion-training ;;
*) name=localhost/fashion ;;
esac
set -- --tag "$name:$version" --tag "$name:latest" \
    --build-arg "VERSION=$version" --build-arg "REVISION=$(git rev-parse HEAD 2>/dev/null || echo unknown)" "$@"
# OCI's own format has no health check, and docker writes only its own.
[ "$engine" = docker ] || set -- --format docker "$@"
where_no_registry "$engine" build --file deploy/Dockerfile "$@" .
