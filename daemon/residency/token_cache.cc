#include "daemon/residency/token_cache.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <system_error>

#include "daemon/residency/compose.h"
#include "tools/text.h"

namespace lares::daemon {
namespace {

namespace fs = std::filesystem;
using engine::Token;

// magic, key (40 hex digits), tokens as little-endian u32, SHA-1 of all that (40 hex digits).
constexpr std::string_view kMagic = "LARESTOK1\n";
constexpr std::size_t kHashBytes = 40;
constexpr std::size_t kEntryBytesMax = 8 << 20;

std::string packed(const std::string& key, const std::vector<Token>& tokens) {
  std::string out(kMagic);
  out += key;
  for (const Token token : tokens) {
    const auto id = static_cast<std::uint32_t>(token);
    for (int shift = 0; shift < 32; shift += 8) out += static_cast<char>(id >> shift);
  }
  return out + tools::blob_sha(out);
}

// nullopt-like: null where anything is wrong.
Tokens unpacked(const std::string& key, std::string_view bytes, int vocab_size) {
  const std::size_t around = kMagic.size() + 2 * kHashBytes;
  if (bytes.size() < around || (bytes.size() - around) % 4 != 0) return nullptr;
  const auto signed_part = bytes.substr(0, bytes.size() - kHashBytes);
  if (!bytes.starts_with(kMagic) || bytes.substr(kMagic.size(), kHashBytes) != key) return nullptr;
  if (tools::blob_sha(signed_part) != bytes.substr(signed_part.size())) return nullptr;
  const auto payload = signed_part.substr(kMagic.size() + kHashBytes);
  std::vector<Token> tokens(payload.size() / 4);
  for (std::size_t i = 0; i < payload.size(); ++i) {
    tokens[i / 4] |= static_cast<Token>(
        static_cast<std::uint32_t>(static_cast<unsigned char>(payload[i])) << (8 * (i % 4)));
  }
  const auto unknown = [&](Token token) { return token < 0 || token >= vocab_size; };
  if (std::ranges::any_of(tokens, unknown)) return nullptr;
  return std::make_shared<const std::vector<Token>>(std::move(tokens));
}

}  // namespace

TokenCache::TokenCache(const engine::Tokenizer& tokenizer, TokenCacheOptions options)
    : tokenizer_(tokenizer), options_(std::move(options)) {
  if (options_.directory.empty()) return;
  const std::string kind = tools::blob_sha(
      fmt::format("{}\n{}\n{}", kRendererVersion, tokenizer.vocab_size(), options_.tokenizer_id));
  folder_ = options_.directory + "/" + kind.substr(0, 16);
  std::error_code failed;
  fs::create_directories(folder_, failed);
  if (failed) folder_.clear();
  shrink_directory();
}

Tokens TokenCache::tokens(std::string_view text) {
  ++figures_.n_asked;
  std::string key = tools::blob_sha(text);
  if (const auto found = by_key_.find(key); found != by_key_.end()) {
    entries_.splice(entries_.begin(), entries_, found->second);
    return found->second->tokens;
  }
  Tokens tokens = load(key);
  if (tokens) {
    ++figures_.n_from_disk;
  } else {
    ++figures_.n_tokenised;
    tokens = std::make_shared<const std::vector<Token>>(tokenizer_.encode(text, false));
    save(key, *tokens);
  }
  hold(key, tokens);
  return tokens;
}

void TokenCache::hold(const std::string& key, Tokens tokens) {
  tokens_held_ += static_cast<std::int64_t>(tokens->size());
  entries_.push_front({key, std::move(tokens)});
  by_key_[key] = entries_.begin();
  while (tokens_held_ > options_.tokens_max && !entries_.empty()) {
    tokens_held_ -= static_cast<std::int64_t>(entries_.back().tokens->size());
    by_key_.erase(entries_.back().key);
    entries_.pop_back();
  }
}

std::string TokenCache::file_of(const std::string& key) const {
  return fmt::format("{}/{}/{}.tok", folder_, key.substr(0, 2), key.substr(2));
}

Tokens TokenCache::load(const std::string& key) const {
  if (folder_.empty()) return nullptr;
  const std::string path = file_of(key);
  std::error_code failed;
  const auto size = fs::file_size(path, failed);
  if (failed || size > kEntryBytesMax) return nullptr;
  std::string bytes(size, '\0');
  std::ifstream in(path, std::ios::binary);
  if (!in.read(bytes.data(), static_cast<std::streamsize>(size))) return nullptr;
  Tokens tokens = unpacked(key, bytes, tokenizer_.vocab_size());
  if (tokens) ::utimensat(AT_FDCWD, path.c_str(), nullptr, 0);  // used now: the last to be removed
  return tokens;
}

// Whole or not at all. Not flushed: what a crash tears is found by its hash and made again.
void TokenCache::save(const std::string& key, const std::vector<Token>& tokens) {
  if (folder_.empty()) return;
  const std::string path = file_of(key), bytes = packed(key, tokens);
  if (bytes.size() > kEntryBytesMax) return;
  const std::string temporary = fmt::format("{}.{}.tmp", path, ::getpid());
  std::error_code failed;
  fs::create_directories(fs::path(path).parent_path(), failed);
  std::ofstream out(temporary, std::ios::binary | std::ios::trunc);
  out.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  out.close();
  if (!out) {
    fs::remove(temporary, failed);
    return;
  }
  fs::rename(temporary, path, failed);
  if (failed) {
    fs::remove(temporary, failed);
    return;
  }
  disk_bytes_ += static_cast<std::int64_t>(bytes.size());
  if (disk_bytes_ > options_.disk_bytes_max) shrink_directory();
}

// Counts what is there, other tokenizers' entries and left-over temporaries included, and beyond
// the bound removes the least recently used down to three quarters of it.
void TokenCache::shrink_directory() {
  struct Old {
    fs::file_time_type used;
    std::int64_t bytes;
    fs::path path;
  };
  std::vector<Old> all;
  disk_bytes_ = 0;
  std::error_code failed;
  for (fs::recursive_directory_iterator it(options_.directory, failed), end; !failed && it != end;
       it.increment(failed)) {
    std::error_code gone;
    const auto extension = it->path().extension();
    if ((extension != ".tok" && extension != ".tmp") || !it->is_regular_file(gone)) continue;
    const auto bytes = static_cast<std::int64_t>(it->file_size(gone));
    const auto used = it->last_write_time(gone);
    if (gone) continue;
    all.push_back({used, bytes, it->path()});
    disk_bytes_ += bytes;
  }
  if (disk_bytes_ <= options_.disk_bytes_max) return;
  std::ranges::sort(all, [](const Old& a, const Old& b) {
    return std::tie(a.used, a.path) < std::tie(b.used, b.path);
  });
  for (const Old& old : all) {
    if (disk_bytes_ <= options_.disk_bytes_max / 4 * 3) break;
    std::error_code gone;
    if (fs::remove(old.path, gone)) disk_bytes_ -= old.bytes;
  }
}

}  // namespace lares::daemon
