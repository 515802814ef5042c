#!/bin/sh
# sanitized.sh BUILD COMMAND...: runs it with a folder, BUILD/reports, into which programs built with a sanitizer write what it saw, whoever
# started them and whether or not anybody looks at how they ended; then shows that. Its status is the command's, or 1 after a report.
# ASAN_OPTIONS, UBSAN_OPTIONS and TSAN_OPTIONS come after its own, and win.
set -u
build=$(cd "$1" && pwd) || exit 1
shift
reports=$build/reports
rm -rf "$reports"
mkdir "$reports" || exit 1
into=log_path=$reports/report:log_exe_name=1
# Aborts are reported too: the standard library's assertions, what no handler caught.
export ASAN_OPTIONS="$into:handle_abort=1${ASAN_OPTIONS:+:$ASAN_OPTIONS}"
export UBSAN_OPTIONS="$into:print_stacktrace=1${UBSAN_OPTIONS:+:$UBSAN_OPTIONS}"
export TSAN_OPTIONS="$into:halt_on_error=1${TSAN_OPTIONS:+:$TSAN_OPTIONS}"
"$@"
status=$?
n=0
for report in "$reports"/*; do
  [ -s "$report" ] || continue
  n=$((n + 1))
  printf '\n%s:\n' "$report"
  cat "$report"
done
[ $n -eq 0 ] && exit $status
printf '\nsanitizers: %d report%s, kept in %s\n' $n "$([ $n -eq 1 ] || echo s)" "$reports"
[ $status -ne 0 ] && exit $status
exit 1
