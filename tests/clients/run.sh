#!/bin/sh
# run.sh BUILD [NAME...]: installs the packages of package.json below BUILD and runs each *_test.py, or those named, where nothing but
# loopback can be reached. What each agent makes of failing and of incomplete answers (failures, drops) is printed as tables last.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
build=$(cd "$1" && pwd)
shift
npm=$build/clients
mkdir -p "$npm"
if ! cmp -s "$here/package.json" "$npm/package.json"; then
  rm -rf "$npm/node_modules"
  cp "$here/package.json" "$npm/wanted.json"
  echo "installing $(grep -c '": "\(npm:.*@\)\{0,1\}[0-9]' "$here/package.json") packages from npm (2.6 GB)" >&2
  (cd "$npm" && cp wanted.json package.json && npm install --no-audit --no-fund --no-package-lock --loglevel=error) ||
    { rm -f "$npm/package.json"; exit 1; }
fi
failed=0
LARES_TEST_TABLES=$build/clients-tables.txt
export LARES_TEST_TABLES
: >"$LARES_TEST_TABLES"
for test in "$here"/*_test.py; do
  name=$(basename "$test" .py)
  [ $# -eq 0 ] || case " $* " in *" ${name%_test} "* | *" $name "*) ;; *) continue ;; esac
  echo "== $name" >&2
  python3 "$here/loopback.py" python3 "$test" "$build/bin" "$build/tests/lares_scripted_daemon" "$npm" -v || failed=1
done
cat "$LARES_TEST_TABLES"
exit $failed
