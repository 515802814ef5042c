#!/bin/sh
# What the last ctest run skipped, and why: skips.sh BUILD_DIRECTORY. ctest itself counts a program with skipped cases as passed.
set -eu
awk '
  /: Skipped$/ { getline; why = $0; n[why]++; total++ }                                     # GoogleTest
  /^OK \(.*skipped=[0-9]+\)/ { match($0, /skipped=[0-9]+/); k = substr($0, RSTART + 8, RLENGTH - 8); n["said by unittest -v"] += k; total += k }
  END {
    if (!total) exit
    printf "%d test cases were skipped:\n", total
    for (why in n) printf "%5d  %s\n", n[why], why | "sort -rn"
  }' "$1/Testing/Temporary/LastTest.log"
