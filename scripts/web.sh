#!/bin/sh
# Builds the web page into the package; $1 is the document that comes of it. Without node 20.19 or newer the control plane runs as
# well and says at / how to build its page, so that is no error here.
set -eu
page=$1
newest() { node -e 'const [major, minor] = process.versions.node.split("."); process.exit(+major > 20 || (+major === 20 && +minor >= 19) ? 0 : 1)'; }
if ! command -v node >/dev/null 2>&1 || ! newest; then
    echo "the web page isn't built: that takes node >= 20.19" >&2
    exit 0
fi
cd "$(dirname "$0")/../web"
[ node_modules/.package-lock.json -nt package-lock.json ] || npm ci --silent
npm run --silent build -- --logLevel warn
touch "../$page"
