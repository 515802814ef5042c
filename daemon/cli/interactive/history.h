// The prompts of a repository, oldest first, kept in a file of the state directory for the next
// session.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "daemon/client/error.h"

namespace lares::cli {

inline constexpr std::size_t kHistoryEntriesMax = 1000;
// a longer prompt is not remembered
inline constexpr std::size_t kHistoryEntryBytesMax = 64u << 10;
// When it has grown beyond, its older half is dropped
inline constexpr std::size_t kHistoryFileBytesMax = 1u << 20;

// Where a paste stands in an entry, in bytes.
struct Pasted {
  std::size_t begin = 0, size = 0;
  bool operator==(const Pasted&) const = default;
};

class History {
 public:
  // The file of `root`. One that is damaged in places gives the rest.
  static std::string path_of(const std::string& state_dir, const std::string& root);
  explicit History(std::string path);

  // `pasted`: in order, none of them in another. An entry like the one before it is not added.
  // Several sessions may add to one file; each sees its own and what was there when it began.
  Result<> add(const std::string& entry, const std::vector<Pasted>& pasted);
  const std::vector<std::string>& entries() const { return entries_; }
  const std::vector<Pasted>& pasted_in(std::size_t entry) const { return pasted_[entry]; }

 private:
  void load();
  void shorten_file();
  void drop_oldest();
  std::string path_;
  std::vector<std::string> entries_;
  std::vector<std::vector<Pasted>> pasted_;  // of each entry
};

}  // namespace lares::cli
