#include "tools/git/filtered.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <openssl/evp.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "tools/fd.h"

namespace lares::tools::git {
namespace {

constexpr std::size_t kPointerBytesMax = 1024, kChunkBytes = 1 << 20;
constexpr std::uint64_t kHashedBytesMax = 4ull << 30;  // some seconds

constexpr unsigned kFlags = GIT_ATTR_CHECK_FILE_THEN_INDEX;

// What a pointer of Git LFS says, its specification 1.
struct Pointer {
  std::string sha256;  // 64 hex digits
  std::uint64_t size = 0;
};
std::optional<Pointer> parse_pointer(std::string_view text) {
  if (text.size() > kPointerBytesMax ||
      !text.starts_with("version https://git-lfs.github.com/spec/v1\n"))
    return std::nullopt;
  Pointer out;
  bool sized = false;
  while (!text.empty()) {
    const std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(line.size() + 1, text.size()));
    constexpr std::string_view kOid = "oid sha256:", kSize = "size ";
    if (line.starts_with(kOid)) out.sha256 = line.substr(kOid.size());
    if (line.starts_with(kSize)) {
      const char* const end = line.data() + line.size();
      sized = std::from_chars(line.data() + kSize.size(), end, out.size).ptr == end;
    }
  }
  if (out.sha256.size() != 64 || !sized) return std::nullopt;
  return out;
}

// In hex digits; "": it cannot be read, or changed its size.
std::string sha256_of(int fd, std::uint64_t size) {
  const std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context(EVP_MD_CTX_new(),
                                                                        EVP_MD_CTX_free);
  if (!context || EVP_DigestInit_ex(context.get(), EVP_sha256(), nullptr) != 1) return "";
  std::vector<char> chunk(kChunkBytes);
  std::uint64_t n = 0;
  for (ssize_t got = 1; got > 0 || (got < 0 && errno == EINTR);) {
    got = ::read(fd, chunk.data(), chunk.size());
    if (got <= 0) continue;
    n += static_cast<std::uint64_t>(got);
    if (EVP_DigestUpdate(context.get(), chunk.data(), static_cast<std::size_t>(got)) != 1)
      return "";
  }
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned n_digest = 0;
  if (n != size || EVP_DigestFinal_ex(context.get(), digest, &n_digest) != 1) return "";
  std::string out;
  for (unsigned i = 0; i < n_digest; ++i) out += fmt::format("{:02x}", digest[i]);
  return out;
}

// Whether the file is what the pointer stands for; nothing: that is not known.
std::optional<bool> is_what(const Pointer& pointer, const std::string& path) {
  const Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  struct stat st {};
  if (!fd || ::fstat(fd.get(), &st) != 0 || !S_ISREG(st.st_mode)) return std::nullopt;
  const auto size = static_cast<std::uint64_t>(st.st_size);
  if (size != pointer.size) return false;
  if (size > kHashedBytesMax) return std::nullopt;
  const std::string found = sha256_of(fd.get(), size);
  if (found.empty()) return std::nullopt;
  return found == pointer.sha256;
}

}  // namespace

Filters::Filters(git_repository* repo) : repo_(repo) {
  git_config* raw = nullptr;
  if (git_repository_config_snapshot(&raw, repo) == 0) config_.reset(raw);
}

std::string Filters::filter_of(const char* path, Way way, unsigned flags) const {
  const char* filter = nullptr;
  if (!config_ || git_attr_get(&filter, repo_, flags, path, "filter") != 0 ||
      git_attr_value(filter) != GIT_ATTR_VALUE_STRING)
    return "";
  const auto has = [&](const char* kind) {
    git_config_entry* entry = nullptr;
    const std::string key = fmt::format("filter.{}.{}", filter, kind);
    if (git_config_get_entry(&entry, config_.get(), key.c_str()) != 0) return false;
    git_config_entry_free(entry);
    return true;
  };
  const bool found = has("process") || (way != Way::out && has("clean")) ||
                     (way != Way::in && has("smudge"));
  return found ? filter : "";
}

bool Filters::only_git_compares(const char* path) const {
  return !filter_of(path, Way::either, kFlags).empty() ||
         !other_encoding(repo_, kFlags, path).empty();
}

Filters::Stored Filters::stored(const char* path, const git_oid& blob) const {
  const bool encoded = !other_encoding(repo_, kFlags, path).empty();
  if (filter_of(path, Way::either, kFlags).empty())
    return encoded ? Stored::unknown : Stored::as_it_lies;
  git_blob* raw = nullptr;
  if (git_blob_lookup(&raw, repo_, &blob) != 0) return Stored::unknown;
  const Owned<git_blob, git_blob_free> owned(raw);
  const std::string_view text(static_cast<const char*>(git_blob_rawcontent(raw)),
                              static_cast<std::size_t>(git_blob_rawsize(raw)));
  const auto pointer = parse_pointer(text);
  if (!pointer || encoded) return Stored::unknown;
  const auto same = is_what(*pointer, git_repository_workdir(repo_) + std::string(path));
  if (!same) return Stored::unknown;
  return *same ? Stored::same : Stored::other;
}

}  // namespace lares::tools::git
