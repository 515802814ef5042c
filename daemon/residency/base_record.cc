#include "daemon/residency/base_record.h"

#include <algorithm>
#include <array>
#include <utility>

#include <fmt/format.h>

#include "daemon/residency/compose.h"
#include "daemon/store/little_endian.h"
#include "daemon/store/manifest.h"
#include "tools/text.h"
#include "tools/workspace/workspace.h"

namespace lares::daemon {
namespace {

using store::LittleEndianReader;
using store::LittleEndianWriter;
using tools::Shown;
using tools::SourceFile;

constexpr std::string_view kMagic = "lares-base\n\x1a";
constexpr std::uint32_t kCrlf = 1, kText = 2;  // flags of a file
constexpr std::uint32_t kTierMax = 1'000;

std::span<const std::byte> as_bytes(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

class Out {
 public:
  void u32(std::uint32_t v) {
    std::array<std::byte, 4> bytes;
    LittleEndianWriter(bytes).u32(v);
    put(bytes);
  }
  void u64(std::uint64_t v) {
    std::array<std::byte, 8> bytes;
    LittleEndianWriter(bytes).u64(v);
    put(bytes);
  }
  void put(std::span<const std::byte> bytes) {
    bytes_.insert(bytes_.end(), bytes.begin(), bytes.end());
  }
  void text(std::string_view text) {
    u32(static_cast<std::uint32_t>(text.size()));
    put(as_bytes(text));
  }
  std::vector<std::byte> take() { return std::move(bytes_); }

 private:
  std::vector<std::byte> bytes_;
};

std::string_view read_text(LittleEndianReader& in) {
  const auto bytes = in.bytes(in.u32());
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// Its text, from between the header and the end that render_file() wrote. That adds a newline where
// a text lacks its last; the blob says which it was. False: this is not the file as it was
// rendered.
bool read_out(std::string_view rendered, SourceFile& file) {
  constexpr std::string_view kEnd = "</file>\n";
  const std::size_t header = rendered.find('\n');
  if (header == std::string_view::npos) return false;
  std::string_view text = rendered.substr(header + 1);
  if (!text.ends_with(kEnd)) return false;
  text.remove_suffix(kEnd.size());
  if (tools::blob_sha(text) != file.blob) {
    if (!text.ends_with('\n')) return false;
    text.remove_suffix(1);
    if (tools::blob_sha(text) != file.blob) return false;
  }
  file.text = std::make_shared<const std::string>(text);
  return tools::render_file(file) == rendered;
}

tl::unexpected<std::string> wrong(std::string why) { return tl::unexpected(std::move(why)); }

// Up to the file table. The error: why not.
tl::expected<Base, std::string> read_tokens(LittleEndianReader& in, int vocab_size) {
  Base base;
  base.has_tree = in.u32() != 0;
  const std::uint64_t files_end = in.u64(), n_tokens = in.u64();
  if (n_tokens > store::kPayloadBytesMax / 4 || files_end > n_tokens)
    return wrong("its sizes contradict each other");
  LittleEndianReader ids(in.bytes(4 * n_tokens));
  if (!in.ok()) return wrong("it is truncated");
  base.files_end = static_cast<std::int64_t>(files_end);
  base.tokens.reserve(n_tokens);
  for (std::uint64_t i = 0; i < n_tokens; ++i) {
    const std::uint32_t id = ids.u32();
    if (!ids.ok() || id >= static_cast<std::uint32_t>(vocab_size))
      return wrong("a token is outside the vocabulary");
    base.tokens.push_back(static_cast<engine::Token>(id));
  }
  return base;
}

// The next of the file table, which begins at `at` or later. The error: why not.
tl::expected<BaseFile, std::string> read_file(LittleEndianReader& in, const Base& base,
                                              std::int64_t at, const engine::Tokenizer& tokenizer) {
  BaseFile file;
  SourceFile& source = file.source;
  source.path = read_text(in);
  source.blob = read_text(in);
  source.reason = read_text(in);
  const std::uint32_t shown = in.u32(), flags = in.u32(), tier = in.u32();
  source.n_bytes = in.u64();
  const std::uint64_t start = in.u64(), n_tokens = in.u64();
  const auto end = static_cast<std::uint64_t>(base.files_end);
  if (!in.ok() || shown > static_cast<std::uint32_t>(Shown::path) || flags > (kCrlf | kText) ||
      tier > kTierMax)
    return wrong("its file table is no such");
  if (start < static_cast<std::uint64_t>(at) || start > end || n_tokens > end - start)
    return wrong("its files are not one behind the other");
  source.shown = static_cast<Shown>(shown);
  source.crlf = (flags & kCrlf) != 0;
  file.tier = static_cast<int>(tier);
  file.start = static_cast<std::int64_t>(start);
  file.n_tokens = static_cast<std::int64_t>(n_tokens);
  if ((flags & kText) == 0) return file;
  const std::string rendered = tokenizer.decode(std::span(base.tokens).subspan(start, n_tokens));
  if (source.shown != Shown::full || !read_out(rendered, source))
    return wrong(
        fmt::format("the tokens of {} are not its text", tools::attribute_text(source.path)));
  return file;
}

}  // namespace

std::vector<std::byte> encode_base(const Base& base, std::uint64_t epoch,
                                   std::string_view tokenizer_id) {
  Out out;
  out.put(as_bytes(kMagic));
  out.u32(kBaseRecordFormat);
  out.u32(kRendererVersion);
  out.text(tokenizer_id);
  out.u64(epoch);
  out.u32(base.has_tree ? 1 : 0);
  out.u64(static_cast<std::uint64_t>(base.files_end));
  out.u64(base.tokens.size());
  for (const engine::Token token : base.tokens) out.u32(static_cast<std::uint32_t>(token));
  out.u64(base.files.size());
  out.u64(static_cast<std::uint64_t>(base.tokens_max));
  for (const BaseFile& file : base.files) {
    const SourceFile& source = file.source;
    out.text(source.path);
    out.text(source.blob);
    out.text(source.reason);
    out.u32(static_cast<std::uint32_t>(source.shown));
    out.u32((source.crlf ? kCrlf : 0) | (source.shown == Shown::full && source.text ? kText : 0));
    out.u32(static_cast<std::uint32_t>(file.tier));
    out.u64(source.n_bytes);
    out.u64(static_cast<std::uint64_t>(file.start));
    out.u64(static_cast<std::uint64_t>(file.n_tokens));
  }
  return out.take();
}

tl::expected<BaseRecord, std::string> decode_base(std::span<const std::byte> in,
                                                  const engine::Tokenizer& tokenizer,
                                                  std::string_view tokenizer_id) {
  LittleEndianReader r(in);
  const auto magic = r.bytes(kMagic.size());
  if (!std::ranges::equal(magic, as_bytes(kMagic))) return wrong("it does not begin like a base");
  const std::uint32_t format = r.u32();
  if (format < 1 || format > kBaseRecordFormat)
    return wrong(
        fmt::format("its format is {} and this daemon reads up to {}", format, kBaseRecordFormat));
  if (const std::uint32_t renderer = r.u32(); renderer != kRendererVersion)
    return wrong(fmt::format("it was written as renderer {} does and this daemon's is {}", renderer,
                             kRendererVersion));
  if (read_text(r) != tokenizer_id) return wrong("another tokenizer made it");
  BaseRecord out;
  out.epoch = r.u64();
  auto base = read_tokens(r, tokenizer.vocab_size());
  if (!base) return wrong(std::move(base.error()));
  const std::uint64_t n_files = r.u64(), tokens_max = format > 1 ? r.u64() : 0;
  if (tokens_max > INT64_MAX) return wrong("its sizes contradict each other");
  base->tokens_max = static_cast<std::int64_t>(tokens_max);
  std::int64_t at = 0;
  for (std::uint64_t i = 0; i < n_files; ++i) {
    auto file = read_file(r, *base, at, tokenizer);
    if (!file) return wrong(std::move(file.error()));
    at = file->start + file->n_tokens;
    base->files.push_back(std::move(*file));
  }
  if (!r.ok() || r.at() != in.size()) return wrong("its sizes contradict each other");
  out.base = std::make_shared<const Base>(std::move(*base));
  return out;
}

}  // namespace lares::daemon
