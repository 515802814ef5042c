// The tokens of rendered texts, so that a file is tokenised once for each of its versions.
#pragma once

#include <cstdint>
#include <list>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "engine/tokenizer.h"

namespace lares::daemon {

struct TokenCacheOptions {
  // What the tokenizer is, for entries that outlive the process: a hash of its tokenizer.json.
  std::string tokenizer_id;
  std::string directory;  // "": in memory only. Made when missing; its parent must exist
  std::int64_t tokens_max = 4 << 20;       // in memory; the least recently used go first
  std::int64_t disk_bytes_max = 64 << 20;  // below `directory`
};

using Tokens = std::shared_ptr<const std::vector<engine::Token>>;

// One thread at a time. The key is the hash of the text itself, and a text is one file's, header
// included: so equal bytes have equal tokens whatever the path of the entry. An entry on disk that
// is not whole and right counts as missing.
class TokenCache {
 public:
  TokenCache(const engine::Tokenizer& tokenizer, TokenCacheOptions options);

  // With special tokens disabled: `<｜User｜>` in a file is eleven ordinary characters.
  Tokens tokens(std::string_view text);

  struct Figures {
    std::int64_t n_asked = 0, n_from_disk = 0, n_tokenised = 0;
  };
  const Figures& figures() const { return figures_; }
  std::int64_t tokens_held() const { return tokens_held_; }
  std::int64_t disk_bytes() const { return disk_bytes_; }

 private:
  struct Entry {
    std::string key;
    Tokens tokens;
  };
  void hold(const std::string& key, Tokens tokens);
  std::string file_of(const std::string& key) const;
  Tokens load(const std::string& key) const;
  void save(const std::string& key, const std::vector<engine::Token>& tokens);
  void shrink_directory();

  const engine::Tokenizer& tokenizer_;
  TokenCacheOptions options_;
  std::string folder_;        // of this tokenizer and renderer, below the directory; "" without one
  std::list<Entry> entries_;  // the most recently used first
  std::unordered_map<std::string, std::list<Entry>::iterator> by_key_;
  std::int64_t tokens_held_ = 0, disk_bytes_ = 0;
  Figures figures_;
};

}  // namespace lares::daemon
