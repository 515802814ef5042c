#!/bin/sh
# The main job on a small repository: a test fails, and Lares repairs it. demo.sh BIN [DIRECTORY]
# The repository is a copy in DIRECTORY (default: a new temporary one), which stays, so that you can look at it and go on.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
bin=$(cd "$1" && pwd)
work=${2:-$(mktemp -d /tmp/lares-demo-XXXXXX)}
repo=$work/shop
export LARES_SOCKET=$work/run/lares.sock LARES_STATE_DIR=$work/state
mkdir -p "$repo"
cp -r "$here/demo/." "$repo"
cd "$repo"
git init -q
git add .
git -c user.name=demo -c user.email=demo@localhost commit -qm "A small shop"

say() { printf '\n\033[1m%s\033[0m\n' "$*"; }
[ -t 1 ] || say() { printf '\n%s\n' "$*"; }

say "$repo: one of its tests fails"
python3 -m unittest discover -s tests 2>&1 | sed -n '/^FAIL/,/^AssertionError/p' || true
say "lares run 'A test fails. Find the bug and fix it.'"
status=0
"$bin/lares" run 'A test fails. Find the bug and fix it.' || status=$?
say "git diff"
git --no-pager diff
say "The tests now"
if python3 -m unittest discover -s tests 2>&1 | tail -3 | grep -x OK; then result=0; else result=1; fi
"$bin/lares" shutdown >/dev/null 2>&1 || true
if [ $result = 0 ]; then
  say "Repaired. Try it on a repository of yours:  cd REPOSITORY && $bin/lares run 'what is to be done'"
else
  say "Not repaired (lares run ended with status $status)."
fi
exit $result
