// Every launch, emulated (simt_host.h): host pointers in, nothing asynchronous. For tests of what
// launches, where there is no device.
#include "kernels/cuda/attention.cu"
#include "kernels/cuda/attention_inputs.cu"
#include "kernels/cuda/compress.cu"
#include "kernels/cuda/draft_rows.cu"
#include "kernels/cuda/elementwise.cu"
#include "kernels/cuda/experts.cu"
#include "kernels/cuda/hyper.cu"
#include "kernels/cuda/indexer.cu"
#include "kernels/cuda/linear.cu"
#include "kernels/cuda/wide.cu"
