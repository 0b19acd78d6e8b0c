#!/bin/sh
# A release of both architectures, with what speaks of it: make release.
#
#   BUILD KEYS          folders, of what is made and of the roots
#   RELEASE_VERSION     --release-version N, or nothing
#   BOARD               rpi for the image of that board too, or nothing
#   EXPORT=1            sign nothing here, also with a key in KEYS
#   IMPORT="DIR …"      folders that came back signed
#
# Where KEYS has no private release key, what is to be signed goes into
# BUILD/unsigned, and IMPORT finishes it.
set -eu
cd "$(dirname "$0")/.."
unsigned=$BUILD/unsigned

die() { printf 'release: %s\n' "$*" >&2; exit 1; }
images() { go run ./images/main "$@"; }

# board ARCH prints the flags for the image of a board.
board() {
	[ "$1" != arm64 ] || [ -z "${BOARD:-}" ] || echo "--board $BOARD"
}

# made says what there is, and what comes next.
made() {
	images inspect "$BUILD/release"
	cat <<-END

		the release is in $BUILD/release, the images are $BUILD/phase-*
		  serve it:          $BUILD/bin/plasmd serve -a $BUILD/release    (make build)
		  write a stick:     make flash DEV=/dev/sdX
		  some nodes first:  images sign -k $KEYS --rollout 10 --release-version N -o $BUILD/release
		  have others rebuild and compare it: docs/releasing.md
	END
}

[ -z "$(git status --porcelain)" ] || die "the tree is not as committed, and a release names its commit: commit or stash what was changed"

if [ -n "${IMPORT:-}" ]; then
	for arch in x86_64 arm64; do
		set --
		for dir in $IMPORT; do
			set -- "$@" --import "$dir/manifest-$arch.unsigned"
		done
		# shellcheck disable=SC2046 # two words, or none
		images build --out "$BUILD" --keys "$KEYS" $(board "$arch") "$@"
		set --
		for dir in $IMPORT; do
			set -- "$@" --import "$dir/provenance-$arch.unsigned"
		done
		images attest --arch "$arch" --out "$BUILD" --keys "$KEYS" "$@"
	done
	made
elif [ -z "${EXPORT:-}" ] && { [ -e "$KEYS/release.pem" ] || ! [ -e "$KEYS/root.json" ]; }; then
	for arch in x86_64 arm64; do
		# shellcheck disable=SC2046,SC2086
		images build --make-keys --arch "$arch" --out "$BUILD" --keys "$KEYS" $(board "$arch") $RELEASE_VERSION
		images attest --arch "$arch" --out "$BUILD" --keys "$KEYS"
	done
	made
else
	mkdir -p "$unsigned"
	for arch in x86_64 arm64; do
		# shellcheck disable=SC2086
		images build --arch "$arch" --out "$BUILD" --keys "$KEYS" --export "$unsigned/manifest-$arch.unsigned" $RELEASE_VERSION
		images attest --out "$BUILD" --keys "$KEYS" --export "$unsigned/provenance-$arch.unsigned" "$unsigned/manifest-$arch.unsigned"
	done
	cat <<-END

		nothing is signed yet. Take $unsigned to where the keys are, and there, for each file:
		  images sign --key KEY FILE.unsigned
		Several people sign one after the other, or each a copy of the folder. Then, here:
		  make release KEYS=$KEYS IMPORT="FOLDER …"
	END
fi
