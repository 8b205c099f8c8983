# Read by deploy/build.sh. Where no registry can be reached, podman builds all the same: the base image is made of
# Debian's packages. Where one can be, or with docker, this changes nothing.

base=docker.io/library/debian:bookworm-slim
made_here="made of Debian's packages, without a registry"
certificates=/etc/ssl/certs/ca-certificates.crt

where_no_registry() {  # ENGINE build ARGUMENTS...
    if [ "$1" != podman ]; then "$@"; return; fi
    # podman's defaults need systemd.
    [ -d /run/systemd/system ] || export CONTAINERS_CONF="${CONTAINERS_CONF:-$PWD/tests/deploy/containers.conf}"
    if ! podman image exists $base && ! podman pull --quiet $base; then
        echo "making $base of Debian's packages instead" >&2
        make_base
    fi
    if [ "$(podman image inspect --format '{{.Comment}}' $base)" = "$made_here" ]; then
        shift 2
        # The network may be reached through a proxy that only this machine's certificates make trustworthy.
        set -- podman build --pull=never --network host --volume $certificates:/run/certificates:ro \
            --build-arg PIP_CERT=/run/certificates "$@"
    fi
    "$@"
}

make_base() {
    folder=$(mktemp -d)
    # Like the image on Docker Hub: the essential packages and apt, a merged /usr, no manuals, no caches of apt.
    mmdebstrap --quiet --variant=apt --hook-dir=/usr/share/mmdebstrap/hooks/merged-usr \
        --aptopt='Dir::Cache::pkgcache ""' --aptopt='Dir::Cache::srcpkgcache ""' \
        --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-include=/usr/share/doc/*/copyright' \
        --dpkgopt='path-exclude=/usr/share/info/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
        --dpkgopt='path-exclude=/usr/share/man/*' bookworm "$folder/base.tar"
    podman import --quiet --message "$made_here" "$folder/base.tar" $base
    rm -r "$folder"
}
