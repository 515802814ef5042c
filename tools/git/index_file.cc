#include "tools/git/index_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <iterator>
#include <string>
#include <tuple>
#include <utility>

#include "tools/fd.h"

namespace lares::tools::git {
namespace {

constexpr std::string_view kSignature = "DIRC", kSplit = "link", kSparse = "sdir";
constexpr std::size_t kHeaderBytes = 12, kStatBytes = 40;
constexpr std::uint16_t kExtended = 0x4000, kNameBytesMask = 0x0fff;
constexpr const char* kDamaged = "it is damaged; git fsck says more";

class Bytes {
 public:
  explicit Bytes(std::string_view all) : all_(all) {}

  bool failed() const { return failed_; }
  std::size_t at() const { return at_; }
  std::size_t left() const { return all_.size() - at_; }
  std::string_view take(std::size_t n) {
    if (n > left()) failed_ = true;
    if (failed_) return {};
    at_ += n;
    return all_.substr(at_ - n, n);
  }
  std::string_view take_up_to_nul() {
    const std::size_t end = failed_ ? std::string_view::npos : all_.find('\0', at_);
    if (end == std::string_view::npos) failed_ = true;
    if (failed_) return {};
    const std::string_view out = all_.substr(at_, end - at_);
    at_ = end + 1;
    return out;
  }
  template <class T>
  T number() {  // big-endian
    T out = 0;
    for (const char c : take(sizeof(T)))
      out = static_cast<T>((out << 8) | static_cast<unsigned char>(c));
    return out;
  }
  // As the offsets of pack files: seven bits a byte, one added where another byte follows.
  std::size_t varint() {
    auto byte = number<std::uint8_t>();
    std::size_t out = byte & 0x7f;
    for (int n = 1; (byte & 0x80) != 0 && n < 8; ++n) {
      byte = number<std::uint8_t>();
      out = ((out + 1) << 7) | (byte & 0x7f);
    }
    return out;
  }

 private:
  std::string_view all_;
  std::size_t at_ = 0;
  bool failed_ = false;
};

struct Parsed {
  std::vector<IndexEntry> entries;
  std::string_view split;  // what the extension says
};

// One entry, whose name goes on from the one before.
IndexEntry take_entry(Bytes& bytes, std::uint32_t version, std::size_t name_bytes,
                      const std::string& before) {
  const std::size_t start = bytes.at();
  IndexEntry out;
  git_index_entry& about = out.about;
  about.ctime = {static_cast<std::int32_t>(bytes.number<std::uint32_t>()),
                 bytes.number<std::uint32_t>()};
  about.mtime = {static_cast<std::int32_t>(bytes.number<std::uint32_t>()),
                 bytes.number<std::uint32_t>()};
  for (auto* field :
       {&about.dev, &about.ino, &about.mode, &about.uid, &about.gid, &about.file_size})
    *field = bytes.number<std::uint32_t>();
  const std::string_view name = bytes.take(name_bytes);
  if (name.size() == GIT_OID_RAWSZ) std::memcpy(about.id.id, name.data(), name.size());
  about.flags = bytes.number<std::uint16_t>();
  if ((about.flags & kExtended) != 0) about.flags_extended = bytes.number<std::uint16_t>();
  if (version >= 4) {
    const std::size_t kept = before.size() - std::min(bytes.varint(), before.size());
    out.path = before.substr(0, kept);
    out.path += bytes.take_up_to_nul();
    return out;
  }
  const std::size_t n = about.flags & kNameBytesMask;
  if (n < kNameBytesMask) {
    out.path = bytes.take(n);
    (void)bytes.take(8 - (bytes.at() - start) % 8);  // one NUL at least
  } else {
    out.path = bytes.take_up_to_nul();
    (void)bytes.take((8 - (bytes.at() - start) % 8) % 8);
  }
  return out;
}

GitResult<Parsed> parse_one(std::string_view own, std::size_t name_bytes) {
  Parsed out;
  if (own.size() < kHeaderBytes + name_bytes || !own.starts_with(kSignature))
    return tl::unexpected(std::string(kDamaged));
  own.remove_suffix(name_bytes);  // a checksum, or zeros: git itself looks at it in fsck alone
  Bytes bytes(own);
  (void)bytes.take(kSignature.size());
  const auto version = bytes.number<std::uint32_t>();
  if (version < 2 || version > 4)
    return tl::unexpected(fmt::format("its version {} is not known here", version));
  const std::size_t n = bytes.number<std::uint32_t>();
  if (n > bytes.left() / (kStatBytes + name_bytes)) return tl::unexpected(std::string(kDamaged));
  out.entries.reserve(n);
  const std::string none;
  for (std::size_t i = 0; i < n && !bytes.failed(); ++i)
    out.entries.push_back(
        take_entry(bytes, version, name_bytes, i ? out.entries.back().path : none));
  while (!bytes.failed() && bytes.left() > 0) {
    const std::string_view name = bytes.take(4);
    const std::string_view content = bytes.take(bytes.number<std::uint32_t>());
    if (bytes.failed()) break;
    if (name == kSplit)
      out.split = content;
    else if (name != kSparse && (name[0] < 'A' || name[0] > 'Z'))
      return tl::unexpected(fmt::format("its part `{}` is not known here", name));
  }
  if (bytes.failed()) return tl::unexpected(std::string(kDamaged));
  return out;
}

// A compressed bitmap, gitformat-bitmap(5): words of 64 bits, the lowest first; a word that says
// how many equal ones follow it, and how many as they are.
std::vector<bool> take_bitmap(Bytes& bytes, std::size_t n_max) {
  const std::size_t n_bits = bytes.number<std::uint32_t>();
  std::size_t n_words = bytes.number<std::uint32_t>();
  std::vector<bool> out(std::min(n_bits, n_max));
  std::size_t at = 0;
  while (n_words > 0 && !bytes.failed()) {
    const auto marker = bytes.number<std::uint64_t>();
    --n_words;
    const std::size_t n_equal = (marker >> 1) & 0xffff'ffff;
    const std::size_t end = std::min(at + 64 * n_equal, out.size());
    if ((marker & 1) != 0)
      for (std::size_t i = at; i < end; ++i) out[i] = true;
    at += 64 * n_equal;
    for (std::size_t n = std::min<std::size_t>(marker >> 33, n_words); n > 0; --n, --n_words) {
      const auto word = bytes.number<std::uint64_t>();
      for (std::size_t bit = 0; bit < 64; ++bit, ++at)
        if (((word >> bit) & 1) != 0 && at < out.size()) out[at] = true;
    }
  }
  (void)bytes.number<std::uint32_t>();  // where the last marker is
  return out;
}

bool is_before(const IndexEntry& a, const IndexEntry& b) {
  const auto key = [](const IndexEntry& entry) {
    return std::tuple<std::string_view, int>(entry.path, git_index_entry_stage(&entry.about));
  };
  return key(a) < key(b);
}

// The shared entries without those that were deleted, some replaced, and the own ones among them.
GitResult<std::vector<IndexEntry>> joined(Parsed own, std::vector<IndexEntry> shared,
                                          std::size_t name_bytes) {
  Bytes bytes(own.split);
  (void)bytes.take(name_bytes);
  std::vector<bool> deleted, replaced;
  if (bytes.left() > 0) {
    deleted = take_bitmap(bytes, shared.size());
    replaced = take_bitmap(bytes, shared.size());
  }
  auto next = own.entries.begin();
  for (std::size_t i = 0; i < replaced.size(); ++i) {
    if (!replaced[i]) continue;
    if (next == own.entries.end() || !next->path.empty())
      return tl::unexpected(std::string(kDamaged));
    shared[i].about = (next++)->about;
  }
  std::vector<IndexEntry> kept, out;
  for (std::size_t i = 0; i < shared.size(); ++i)
    if (i >= deleted.size() || !deleted[i]) kept.push_back(std::move(shared[i]));
  const auto same = [](const IndexEntry& a, const IndexEntry& b) {
    return !is_before(a, b) && !is_before(b, a);
  };
  auto old = kept.begin();
  for (; next != own.entries.end(); ++next) {
    while (old != kept.end() && is_before(*old, *next)) out.push_back(std::move(*old++));
    if (old != kept.end() && same(*old, *next)) ++old;
    out.push_back(std::move(*next));
  }
  std::move(old, kept.end(), std::back_inserter(out));
  return out;
}

// Nothing where there is no such file.
GitResult<std::string> read_whole(const std::string& path) {
  const auto no = [&](std::string_view why) {
    return tl::unexpected(fmt::format("read {}: {}", path, why));
  };
  const Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));  // a FIFO would wait
  if (!fd && (errno == ENOENT || errno == ENOTDIR)) return std::string();
  struct stat st {};
  if (!fd || ::fstat(fd.get(), &st) != 0) return no(std::strerror(errno));
  if (!S_ISREG(st.st_mode)) return no("it is no plain file");
  if (static_cast<std::uint64_t>(st.st_size) > kIndexBytesMax)
    return no(fmt::format("it has more than {} bytes", kIndexBytesMax));
  std::string out(static_cast<std::size_t>(st.st_size), '\0');
  std::size_t n = 0;
  while (n < out.size()) {
    const ssize_t got = ::read(fd.get(), out.data() + n, out.size() - n);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return no(std::strerror(errno));
    if (got == 0) break;
    n += static_cast<std::size_t>(got);
  }
  out.resize(n);
  return out;
}

// Of the shared index that a split one goes on from; "" where it stands for itself.
std::string shared_name(std::string_view split, std::size_t name_bytes) {
  std::string out;
  for (const char c : split.substr(0, name_bytes))
    out += fmt::format("{:02x}", static_cast<unsigned char>(c));
  return out.find_first_not_of('0') == std::string::npos ? "" : out;
}

}  // namespace

IndexEntry entry_below(const IndexEntry& directory, const git_tree_entry* entry) {
  IndexEntry out{.path = directory.path + git_tree_entry_name(entry), .about = {}};
  out.about.mode = git_tree_entry_filemode(entry);
  out.about.id = *git_tree_entry_id(entry);
  out.about.flags_extended = GIT_INDEX_ENTRY_SKIP_WORKTREE;
  if (out.is_directory()) out.path += '/';
  return out;
}

GitResult<std::vector<IndexEntry>> parse_index(std::string_view bytes, std::size_t name_bytes,
                                               const SharedIndex& shared) {
  auto own = parse_one(bytes, name_bytes);
  if (!own) return tl::unexpected(own.error());
  if (own->split.empty()) return std::move(own->entries);
  std::vector<IndexEntry> from;
  if (const std::string name = shared_name(own->split, name_bytes); !name.empty()) {
    const auto other = shared(name);
    if (!other) return tl::unexpected(other.error());
    auto parsed = parse_one(*other, name_bytes);
    if (!parsed) return tl::unexpected(fmt::format("of sharedindex.{}: {}", name, parsed.error()));
    from = std::move(parsed->entries);
  }
  return joined(std::move(*own), std::move(from), name_bytes);
}

GitResult<std::vector<IndexEntry>> read_index_file(git_repository* repo) {
  const std::string directory = git_repository_path(repo), path = directory + "index";
  const auto own = read_whole(path);
  if (!own) return tl::unexpected(own.error());
  if (own->empty()) return std::vector<IndexEntry>();
  auto out = parse_index(*own, object_name_bytes(repo), [&](const std::string& name) {
    auto shared = read_whole(directory + "sharedindex." + name);
    if (shared && shared->empty())
      return GitResult<std::string>(
          tl::unexpected(fmt::format("sharedindex.{}, which it goes on from, is not there", name)));
    return shared;
  });
  if (!out) return tl::unexpected(fmt::format("read {}: {}", path, out.error()));
  return out;
}

}  // namespace lares::tools::git
