// Every launch, emulated (simt_host.h): host pointers in, nothing asynchronous. For tests of what
// launches, where there is no device.
#include "kernels/cuda/attention/attention.cu"
#include "kernels/cuda/attention/attention_inputs.cu"
#include "kernels/cuda/attention/compress.cu"
#include "kernels/cuda/draft_rows.cu"
#include "kernels/cuda/elementwise.cu"
#include "kernels/cuda/products/experts.cu"
#include "kernels/cuda/hyper/hyper.cu"
#include "kernels/cuda/indexer/indexer.cu"
#include "kernels/cuda/products/linear.cu"
#include "kernels/cuda/products/wide.cu"
