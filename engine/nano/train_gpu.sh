#!/bin/sh
# Trains nano on a GPU and leaves OUT/state.pt, which export.py makes a checkpoint of: train_gpu.sh OUT SECONDS [train_gpu.py's arguments].
# Needs a CUDA build of torch ($NANO_PYTHON), nvcc and numpy. Without nvcc it trains more slowly, with torch's own operators.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
out=$1
seconds=$2
shift 2
mkdir -p "$out"
begin=$(date +%s)
compile() { "${NVCC:-nvcc}" -O3 "-arch=$1" --shared -Xcompiler -fPIC "$here/kernels.cu" -o "$out/kernels_gpu.so" >"$out/nvcc.txt" 2>&1; }
if compile native || compile sm_90; then
  export NANO_KERNELS_GPU="$out/kernels_gpu.so"
fi
seconds=$((seconds - $(date +%s) + begin))
exec env OMP_NUM_THREADS=1 "${NANO_PYTHON:-python3}" "$here/train_gpu.py" "$out" --seconds "$seconds" "$@"
