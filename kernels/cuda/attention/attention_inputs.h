// What the attention of few tokens reads, in one launch between its projections and itself:
// queries, put_window and, where the layer has them, index_queries and both compressors with their
// raw rows. The same bits as those launches one after the other.
#pragma once

#include "kernels/cuda/attention/compress.h"
#include "kernels/cuda/indexer/indexer.h"
#include "kernels/cuda/norm.h"

namespace lares::kernels::cuda {

struct AttentionInputsArgs {
  QueryArgs queries;
  WindowArgs window;
  IndexQueryArgs index_queries = {};  // n_tokens 0: none
  // Entries, then index keys: compress(), then put_raw(), of the same rings
  CompressArgs compress[2] = {};
  int n_compress = 0;
};
// At most kTokensFew tokens. The rope tables are not what the launch just before this one writes:
// they are read before that has ended.
Status attention_inputs(const AttentionInputsArgs& a, Stream stream);

}  // namespace lares::kernels::cuda
