#!/usr/bin/env bash
# One call on a machine with an NVIDIA GPU: builds kernels and engine, tests them on the GPU, measures, and prints a short table last.
# What came of a step is said when it ends, too: a call that is cut off has shown what was done. The full log goes to a file. Nothing is fetched:
# it needs a C++ compiler, CMake, nvcc and Python; what else the sources include comes from the system, or from build-deps, which `--deps` fills
# on a machine that has the packages of .ci/packages.
#
#   tests/gpu_check.sh               all of it, within nine minutes
#   tests/gpu_check.sh --deps        here there are packages: put what a bare machine lacks into build-deps
#   tests/gpu_check.sh --build-only  build, and run what needs no GPU
#
# Exit status: 0 all passed, 1 something failed, 2 wrong call, 3 there is no GPU here.
set -uo pipefail
cd "$(dirname "$0")/.."

build=${LARES_GPU_BUILD:-build-gpu}
out=${OUT:-$build}
log=$out/gpu_check.log
deps=build-deps
# Seconds. A step that is cut off fails, and those after it still run, as long as there is time; tests and sanitizers always have theirs, as
# what comes before them takes no more than the rest.
total_max=520
configure_max=40 build_max=270 test_max=110 sanitize_max=80 measure_max=90 host_test_max=120
case_max=${LARES_GPU_CASE_SECONDS:-75}  # of one test case, which on a GPU may hang
table_lines=64    # of each benchmark's output, at the end
sanitized_jobs=4  # cases under a sanitizer at a time
driver_max=10     # of nvidia-smi, which waits for a GPU that does not answer
large_gpu_mib=130000  # of memory: an H200's, for 43 layers of 192 experts
copies_apart_max=3    # percent, between benchmarks of one run

die() {
  echo "gpu_check: $2" >&2
  exit "$1"
}

collect_deps() {
  mkdir -p $deps/include $deps/lib
  local missing=()
  for header in fmt/format.h tl/expected.hpp nlohmann/json.hpp pcre2.h; do
    local at=${header%%/*}
    if [ -e "/usr/include/$header" ]; then cp -rL "/usr/include/$at" $deps/include/; else missing+=("$header"); fi
  done
  local pcre
  pcre=$(find /usr/lib /usr/lib64 -name libpcre2-8.a 2>/dev/null | head -n 1)
  if [ -n "$pcre" ]; then cp "$pcre" $deps/lib/; else missing+=(libpcre2-8.a); fi
  if [ -e /usr/src/googletest/CMakeLists.txt ]; then cp -rL /usr/src/googletest $deps/; else missing+=("GoogleTest's sources"); fi
  [ ${#missing[@]} -eq 0 ] || die 1 "--deps: not found here: ${missing[*]}; install the packages of .ci/packages first"
  echo "$deps: $(du -sh $deps | cut -f1), to be taken along to the machine with the GPU"
}

mode=all
case "${1:-}" in
  "") ;;
  --deps) collect_deps; exit ;;
  --build-only) mode=build ;;
  *) die 2 "unknown argument $1; see the first lines of $0" ;;
esac
[ $# -le 1 ] || die 2 "one argument at most"

why_no_gpu() {
  command -v nvidia-smi >/dev/null || { echo "no nvidia-smi, so no NVIDIA driver"; return; }
  local said
  said=$(timeout $driver_max nvidia-smi -L 2>&1) && grep -q '^GPU ' <<<"$said" && return
  echo "nvidia-smi says: $(head -n 1 <<<"$said")"
}
no_gpu=$(why_no_gpu)
if [ -n "$no_gpu" ] && [ $mode = all ]; then
  echo "gpu_check: no GPU here ($no_gpu); nothing was built or run. --build-only compiles, and runs what needs none."
  exit 3
fi

mkdir -p "$build" "$out"
: >"$log"
names=() results=() times=() tables=()
failed=0
# step NAME SECONDS COMMAND...: runs it into the log. A word of the command that is %SECONDS% becomes what it may take.
step() {
  local name=$1 limit=$2 begun=$SECONDS rc left=$((total_max - SECONDS))
  shift 2
  if [ $left -lt 5 ]; then
    names+=("$name") results+=("FAILED: no time left of $total_max s") times+=("")
    failed=1
    return 1
  fi
  [ $left -ge "$limit" ] || limit=$left
  set -- "${@/#%SECONDS%/$((limit - 3))}"
  echo "=== $name: $*" >>"$log"
  timeout -k 5 "$limit" "$@" >>"$log" 2>&1
  rc=$?
  local result=passed
  [ $rc -eq 0 ] || result="FAILED ($rc)"
  [ $rc -ne 124 ] && [ $rc -ne 137 ] || result="CUT OFF after $limit s"
  [ $rc -eq 0 ] || failed=1
  names+=("$name") results+=("$result") times+=("$((SECONDS - begun)) s")
  echo "gpu_check: $name: $result, $((SECONDS - begun)) s"
  return $rc
}
skip() {
  names+=("$1") results+=("skipped: $2") times+=("")
}
# cases NAME SECONDS ARGUMENTS...: test cases, each in a process of its own (gpu_cases.py); what came of each program or sanitizer follows
# in the table, with the names of what did not pass.
cases() {
  local name=$1 limit=$2 table=$build/gpu_cases.txt
  shift 2
  rm -f "$table"
  step "$name" "$limit" python3 tests/gpu_cases.py --seconds-each "$case_max" --seconds %SECONDS% --table "$table" "$@"
  [ -e "$table" ] || return
  cat "$table"
  while IFS= read -r name; do
    names+=("  ${name%%$'\t'*}") results+=("${name#*$'\t'}") times+=("")
  done <"$table"
}

# Every % is of the copy rate that its own benchmark measured. Where those differ, something else ran, and the lower ones flatter.
compare_copies() {
  [ ${#tables[@]} -gt 0 ] || return
  local said
  said=$(sed -n 's|^copy, read and written: \([0-9]*\) GB/s.*|\1|p; s|^copy on the device: \([0-9]*\)\.\([0-9]*\) TB/s.*|\1\20|p' "${tables[@]}" | sort -n |
    awk -v most=$copies_apart_max 'NR == 1 {low = $1} {high = $1} END {if (NR == 0) exit; apart = 100 * (high / low - 1)
      printf "%d to %d GB/s%s\n", low, high, (apart > most ? sprintf(", %.0f %% APART: measure again", apart) : "")}')
  names+=("copies of all benchmarks") results+=("${said:-none was printed}") times+=("")
}

# What the benchmarks found, then what ran; the log has the rest.
report() {
  for table in "${tables[@]}"; do tail -n $table_lines "$table"; done
  echo
  [ -n "$no_gpu" ] && echo "no GPU: $no_gpu"
  [ -z "$no_gpu" ] && timeout $driver_max nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader
  printf '%-36s %-7s %s\n' step time result
  for i in "${!names[@]}"; do printf '%-36s %-7s %s\n' "${names[i]}" "${times[i]}" "${results[i]}"; done
  echo "log: $log"
}

generator=() keep_going=(-- -k)
command -v ninja >/dev/null && generator=(-G Ninja) keep_going=(-- -k 0)
{ timeout $driver_max nvidia-smi; nvcc --version; "${CXX:-c++}" --version; cmake --version; nproc; free -g; } >>"$log" 2>&1

[ $mode = build ] && no_gpu=${no_gpu:-none was asked for}
rm -f "$build"/tests/*_test "$build"/tests/*_bench  # of an earlier run: they say nothing of this one
if step configure $configure_max cmake -S . -B "$build" "${generator[@]}" -DCMAKE_BUILD_TYPE=Release -DLARES_ONLY=engine -DLARES_CUDA=ON -DLARES_TESTS=ON; then
  if ! grep -q '^LARES_NVCC:[A-Z]*=/' "$build/CMakeCache.txt"; then
    echo "gpu_check: nvcc was not found; set CUDA_PATH" | tee -a "$log" >&2
    failed=1
  fi
  step build $build_max cmake --build "$build" --parallel "$(nproc)" --target gpu_check_programs "${keep_going[@]}"
else
  skip build "no build files"
fi

# What only a GPU shows comes first; when time is short the tests that need none are left out.
no_device="no GPU: $no_gpu"
if [ -n "$no_gpu" ]; then
  skip "tests on the GPU" "$no_device"
  skip "memory and races" "$no_device"
  skip measurements "$no_device"
else
  programs=()
  # The engine's take longest, so they begin first.
  for name in $(ctest --test-dir "$build" -N -L '^gpu$' | sed -n 's/^ *Test *#[0-9]*: //p' | sort); do programs+=("$build/tests/$name"); done
  if [ ${#programs[@]} -eq 0 ]; then
    names+=("tests on the GPU") results+=("FAILED: ctest knows of none") times+=("")
    failed=1
  else
    cases "tests on the GPU" $test_max --alone Memory.WhatIsFreeIsKnown "${programs[@]}"
  fi
  # Before anything is measured, and never beside it.
  sanitizer=$(command -v compute-sanitizer || ls /usr/local/cuda/bin/compute-sanitizer 2>/dev/null || true)
  if [ -z "$sanitizer" ]; then
    skip "memory and races" "no compute-sanitizer"
  else
    # racecheck takes bulk copies that one warp issues and another one reads behind an mbarrier for races, as wide_*'s are: those are `make
    # racecheck`'s to judge, and what is said of them here is only told. Small models never run what needs full rows (attention by wgmma,
    # clusters of 16, several row tiles of many tokens): the launches' own cases do.
    small='*SmallShapes.NearTheCpu*:*SmallShapes.ChunksAndSteps*'
    full='CudaRowsDevice.Attention:CudaRowsDevice.HyperConnections:CudaLinearDevice.*/fp8_4096x1024_of_1100'
    LARES_RERUNS=2 cases "memory and races" $sanitize_max --jobs $sanitized_jobs --only "$small" --cases "memory (memcheck)" "$small:$full" \
      --under "memory (memcheck)" "$sanitizer --tool memcheck --error-exitcode 9" \
      --under "races (racecheck)" "$sanitizer --tool racecheck --error-exitcode 9 --kernel-name-exclude kernel_substring=wide_" \
      --under "races of wide_, told" "$sanitizer --tool racecheck --error-exitcode 9 --kernel-name kernel_substring=wide_" --told "races of wide_, told" \
      "$build/tests/engine_cuda_device_test" $(ls "$build"/tests/kernels_cuda_{rows,products}_device_test 2>/dev/null)
  fi
  measured=0
  measure() {
    local name=$1 program=$build/tests/$2
    shift 2
    [ -x "$program" ] || return
    measured=1
    rm -f "$out/$name.txt"
    step "$name" $measure_max bash -c 'set -o pipefail; "${@:2}" 2>&1 | tee "$1"' _ "$out/$name.txt" "$program" "$@"
    [ ! -e "$out/$name.txt" ] || tables+=("$out/$name.txt")
  }
  # What needs no wgmma comes first: should a launch with it hang, those figures are there.
  measure kernels_of_1_token kernels_cuda_bench "1 token"
  measure 43_layers engine_flash_gpu_bench 43 32 steps
  measure kernels kernels_cuda_bench
  measure 4_layers engine_flash_gpu_bench
  # 256 experts leave more of a tile empty than 32 do: as many as fit.
  if [ "$(timeout $driver_max nvidia-smi --query-gpu=memory.total --format=csv,noheader,nounits 2>/dev/null | head -n 1)" -gt $large_gpu_mib ] 2>/dev/null; then
    measure 43_layers_of_192 engine_flash_gpu_bench 43 192 steps
  fi
  [ $measured = 1 ] || skip measurements "no benchmark was built"
  compare_copies
fi
# The kernels' own tests and the forward pass: whole engines on emulated devices take minutes, and are make test's and make test-slow's.
step "tests without a GPU" $host_test_max ctest --test-dir "$build" -R '^(kernels_cuda_|engine_cuda_(forward|gpus)_)' -LE '^(gpu|slow)$' --no-tests=error --output-on-failure --parallel "$(nproc)"
report
exit $failed
