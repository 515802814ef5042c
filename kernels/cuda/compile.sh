#!/bin/sh
# compile.sh LAUNCHER... nvcc ... -o OBJECT: runs the compiler; what ptxas says about each kernel goes to OBJECT.ptxas, the rest to stderr.
object=
before=
for argument; do
  [ "$before" = -o ] && object=$argument
  before=$argument
done
said=$(mktemp)
trap 'rm -f "$said"' EXIT
"$@" 2>"$said"
status=$?
if [ -n "$object" ] && [ $status -eq 0 ]; then
  grep -E '^ptxas info|^    [0-9]+ bytes stack frame' "$said" >"$object.ptxas"
fi
grep -vE '^ptxas info|^    [0-9]+ bytes stack frame|^$' "$said" >&2
exit $status
