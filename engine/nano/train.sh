#!/bin/sh
# Trains nano and exports it to $NANO_BUILD/checkpoint (build-nano): train.sh [LENGTH [THREADS]]. LENGTH is a number of tokens such as 22M
# (reproducible), or of seconds such as 7200s. Debian's python3-torch, gcc and libdnnl2 are all it needs. With RESUME=1 it goes on from the
# last saved state, with NANO_ARGS as further arguments.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
build=${NANO_BUILD:-$here/../../build-nano}
python=${NANO_PYTHON:-/usr/bin/python3}
length=${1:-22M}
case $length in
  *M) length="--tokens ${length%M}e6" ;;
  *) length="--seconds ${length%s}" ;;
esac
threads=${2:-$(nproc)}
mkdir -p "$build"
cc -O3 -march=native -ffast-math -fopenmp -shared -fPIC "$here/kernels.c" -o "$build/kernels.so" -lmvec -lm
# Debian's torch calls the reference BLAS; oneDNN, which it already links, is ten times faster.
preload=
if cc -O2 -shared -fPIC "$here/fastblas.c" -o "$build/fastblas.so" -l:libdnnl.so.2 2>/dev/null; then preload=$build/fastblas.so; fi
# glibc would otherwise map and unmap every large tensor; barriers that spin lose to any neighbour.
train() {
  LD_PRELOAD=$preload MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=16000000000 GOMP_SPINCOUNT=1000 OMP_NUM_THREADS=$threads \
    NANO_KERNELS=$build/kernels.so "$python" "$here/train.py" "$build/run" --threads "$threads" "$@"
}
if [ -z "${RESUME:-}" ]; then
  train $length ${NANO_ARGS:-}
  # Questions are too few in the first run to be answered for sure.
  train --tokens 1e6 --resume --start 0.85 --seed 7 --questions 0.6
  # So are repairs that miss, and what comes after many of them.
  train --tokens 3.4e6 --resume --start 0.92 --seed 31 --mix missed
else
  train $length --resume ${NANO_ARGS:-}
fi
mkdir -p "$build/checkpoint"
cp "$here/checkpoint/tokenizer.json" "$build/checkpoint/"  # for the text of every prompt's head, where NANO_HEAD does not bring it
"$python" "$here/export.py" "$build/run/state.pt" "$build/checkpoint" ${NANO_HEAD:+--head "$NANO_HEAD"}
echo "$build/checkpoint: try it with \`lares --model $build/checkpoint\`, measure it with engine/nano/eval.py --model"
