// A base as bytes and back, to be kept beside its evaluated tokens.
//   magic, format, renderer, tokenizer id, epoch, tree, files_end, n_tokens, u32 each,
//   n_files, tokens_max (format 1 lacks it),
//   {path, blob, reason, shown, flags, tier, n_bytes, start, n_tokens}*
// All tokens are in it, those of the extents too: 4 bytes beside the thousands that a token's cells
// take, so that a base is whole when of its extents only the first ones are. The texts are not:
// they are read out of the tokens again.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <tl/expected.hpp>

#include "daemon/residency/base.h"
#include "engine/tokenizer.h"

namespace lares::daemon {

inline constexpr std::uint32_t kBaseRecordFormat = 2;

struct BaseRecord {
  std::shared_ptr<const Base> base;
  std::uint64_t epoch = 0;
};

// `tokenizer_id`: what made the tokens, as TokenCacheOptions has it.
std::vector<std::byte> encode_base(const Base& base, std::uint64_t epoch,
                                   std::string_view tokenizer_id);

// Equal to what was encoded, but for the texts of files that are not shown in full: those are null,
// and nobody asks a base for them. The error, in a few words: `in` is not such a record, another
// renderer or tokenizer made it, or a text is not its blob.
tl::expected<BaseRecord, std::string> decode_base(std::span<const std::byte> in,
                                                  const engine::Tokenizer& tokenizer,
                                                  std::string_view tokenizer_id);

}  // namespace lares::daemon
