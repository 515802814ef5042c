#include "tools/git/objects.h"

#include <dirent.h>
#include <fcntl.h>
#include <git2.h>
#include <git2/sys/odb_backend.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <fstream>
#include <memory>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "tools/fd.h"

namespace lares::tools::git {
namespace {

constexpr std::size_t kFileBytesMax = 1u << 30, kObjectBytesMax = 1u << 30;
constexpr std::size_t kHeaderBytesMax = 32;  // "commit 123\0": the longest type, 20 digits
// Of any zlib stream: a size beyond it is made up, and nothing is allocated for it
constexpr std::size_t kDeflateRatioMax = 1032;
constexpr int kAlternatesDepthMax = 5;  // as git
constexpr int kPriority = 100;          // libgit2's own stores have 1 and 2
constexpr int kPriorityOfNone = -100;

struct Header {
  git_object_t type = GIT_OBJECT_INVALID;
  std::size_t size = 0, n_bytes = 0;  // of the object; of the header with its NUL
};

// "blob 12\0..."
bool parse_header(std::string_view text, Header& out) {
  const std::size_t end = text.find('\0'), space = text.find(' ');
  if (end == std::string_view::npos || space >= end) return false;
  out.type = git_object_string2type(std::string(text.substr(0, space)).c_str());
  const char *first = text.data() + space + 1, *last = text.data() + end;
  const auto [stop, error] = std::from_chars(first, last, out.size);
  out.n_bytes = end + 1;
  return out.type != GIT_OBJECT_INVALID && error == std::errc() && stop == last;
}

// One zlib stream that lies in memory: it ends where its bytes do, whether it is whole or not.
class Inflater {
 public:
  explicit Inflater(std::string_view bytes) {
    stream_.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data()));
    stream_.avail_in = static_cast<uInt>(bytes.size());
    state_ = ::inflateInit(&stream_);
  }
  ~Inflater() { ::inflateEnd(&stream_); }
  Inflater(const Inflater&) = delete;
  Inflater& operator=(const Inflater&) = delete;

  // As many bytes as there are, at most n.
  std::size_t read(char* into, std::size_t n) {
    stream_.next_out = reinterpret_cast<Bytef*>(into);
    stream_.avail_out = static_cast<uInt>(n);
    while (state_ == Z_OK && stream_.avail_out > 0) state_ = ::inflate(&stream_, Z_NO_FLUSH);
    return n - stream_.avail_out;
  }
  bool ended() {
    char more = 0;
    // The checksum is looked at behind the last byte
    return read(&more, 1) == 0 && state_ == Z_STREAM_END;
  }

 private:
  z_stream stream_{};
  int state_ = Z_OK;
};

// The store itself, C on the outside.
struct Loose : git_odb_backend {
  std::vector<std::string> directories;  // .git/objects and what it borrows from
  ReadBound bound;
  git_odb_backend* writer = nullptr;  // libgit2's, which stores what is new
};

// A file on its way into that one.
struct Stored : git_odb_stream {
  git_odb_stream* into;
};

thread_local std::string failure;

int failed(const std::string& why) {
  if (failure.empty()) failure = why;
  git_error_set_str(GIT_ERROR_ODB, why.c_str());
  return GIT_ERROR;
}
int damaged(const std::string& path, std::string_view why) {
  return failed(fmt::format(
      "{} is damaged: {}; git fsck names all that is broken, a fetch or another clone has it whole",
      path, why));
}

// 0 while there is time.
int ask_bound(const ReadBound& bound) {
  if (bound.stop && bound.stop->requested()) return failed(kCancelled);
  if (std::chrono::steady_clock::now() > bound.deadline) {
    return failed(
        fmt::format("stopped after {} s; name a path or fewer commits, or use git in bash",
                    kReadTimeMax.count()));
  }
  return 0;
}

// GIT_PASSTHROUGH: there is no such file.
int read_file(const std::string& path, std::string& out) {
  // a FIFO would wait for its writer
  const Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!fd)
    return errno == ENOENT || errno == ENOTDIR
               ? static_cast<int>(GIT_PASSTHROUGH)
               : failed(fmt::format("read {}: {}", path, std::strerror(errno)));
  struct stat st {};
  if (::fstat(fd.get(), &st) != 0 || !S_ISREG(st.st_mode))
    return damaged(path, "it is no plain file");
  if (static_cast<std::size_t>(st.st_size) > kFileBytesMax)
    return failed(fmt::format("read {}: it has more than {} bytes; use git in bash to read it",
                              path, kFileBytesMax));
  out.resize(static_cast<std::size_t>(st.st_size));
  std::size_t n = 0;
  while (n < out.size()) {
    const ssize_t got = ::read(fd.get(), out.data() + n, out.size() - n);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return failed(fmt::format("read {}: {}", path, std::strerror(errno)));
    if (got == 0) break;
    n += static_cast<std::size_t>(got);
  }
  out.resize(n);
  return 0;
}

int read_object(const std::string& path, Loose& store, void** data, std::size_t* size,
                git_object_t* type, bool header_only) {
  std::string bytes;
  if (const int error = read_file(path, bytes); error != 0) return error;
  Inflater inflater(bytes);
  char begin[kHeaderBytesMax];
  const std::size_t n_begin = inflater.read(begin, sizeof begin);
  Header header;
  if (!parse_header({begin, n_begin}, header))
    return damaged(path, bytes.empty() ? "it is empty" : "it does not begin as an object does");
  *type = header.type, *size = header.size;
  if (header_only) return 0;
  if (header.size > kObjectBytesMax)
    return failed(fmt::format("read {}: the object has {} bytes; use git in bash to read it", path,
                              header.size));
  if (header.size / kDeflateRatioMax > bytes.size()) return damaged(path, "it ends too early");
  char* body = static_cast<char*>(git_odb_backend_data_alloc(&store, header.size + 1));
  if (!body) return failed("out of memory");
  const std::size_t n_have = std::min(n_begin - header.n_bytes, header.size);
  std::memcpy(body, begin + header.n_bytes, n_have);
  body[header.size] = '\0';  // libgit2's parsers look there
  if (n_have + inflater.read(body + n_have, header.size - n_have) == header.size &&
      inflater.ended()) {
    *data = body;
    return 0;
  }
  git_odb_backend_data_free(&store, body);
  return damaged(path, "it ends too early, or its bytes were changed");
}

int read_or_pass(Loose& store, const std::string& id, void** data, std::size_t* size,
                 git_object_t* type, bool header_only) {
  if (const int stopped = ask_bound(store.bound); stopped != 0) return stopped;
  for (const std::string& directory : store.directories) {
    const int error = read_object(directory + "/" + id.substr(0, 2) + "/" + id.substr(2), store,
                                  data, size, type, header_only);
    if (error != GIT_PASSTHROUGH) return error;
  }
  return GIT_PASSTHROUGH;
}

int read(void** data, std::size_t* size, git_object_t* type, git_odb_backend* self,
         const git_oid* id) {
  return read_or_pass(*static_cast<Loose*>(self), git_oid_tostr_s(id), data, size, type, false);
}
int read_header(std::size_t* size, git_object_t* type, git_odb_backend* self, const git_oid* id) {
  return read_or_pass(*static_cast<Loose*>(self), git_oid_tostr_s(id), nullptr, size, type, true);
}

// The full id of the one loose object that begins with `prefix`, "" where there is none; false:
// there are several.
bool complete(const Loose& store, const std::string& prefix, std::string& out) {
  for (const std::string& directory : store.directories) {
    const std::string folder = directory + "/" + prefix.substr(0, 2);
    const std::unique_ptr<DIR, int (*)(DIR*)> listing(::opendir(folder.c_str()), ::closedir);
    while (const dirent* entry = listing ? ::readdir(listing.get()) : nullptr) {
      const std::string id = prefix.substr(0, 2) + entry->d_name;
      if (id.size() != GIT_OID_HEXSZ || !id.starts_with(prefix) || id == out) continue;
      if (!out.empty()) return false;
      out = id;
    }
  }
  return true;
}

int read_prefix(git_oid* id, void** data, std::size_t* size, git_object_t* type,
                git_odb_backend* self, const git_oid* begin, std::size_t n_digits) {
  auto& store = *static_cast<Loose*>(self);
  std::string full;
  if (!complete(store, std::string(git_oid_tostr_s(begin)).substr(0, n_digits), full))
    return GIT_EAMBIGUOUS;
  if (full.empty() || git_oid_fromstr(id, full.c_str()) != 0) return GIT_PASSTHROUGH;
  return read_or_pass(store, full, data, size, type, false);
}

// What was stored of it by then is a file of `writer`'s own, which goes with the stream.
int write_piece(git_odb_stream* self, const char* bytes, std::size_t n) {
  auto& stored = *static_cast<Stored*>(self);
  if (const int stopped = ask_bound(static_cast<Loose*>(self->backend)->bound); stopped != 0)
    return stopped;
  return stored.into->write(stored.into, bytes, n);
}

int write_stream(git_odb_stream** out, git_odb_backend* self, git_object_size_t size,
                 git_object_t type) {
  git_odb_backend* const writer = static_cast<Loose*>(self)->writer;
  git_odb_stream* into = nullptr;
  if (const int error = writer->writestream(&into, writer, size, type); error != 0) return error;
  auto stored = std::make_unique<Stored>();
  stored->backend = self;
  stored->mode = GIT_STREAM_WRONLY;
  stored->into = into;
  stored->write = write_piece;
  stored->finalize_write = [](git_odb_stream* whole, const git_oid* id) {
    git_odb_stream* const below = static_cast<Stored*>(whole)->into;
    return below->finalize_write(below, id);
  };
  stored->free = [](git_odb_stream* ended) {
    const std::unique_ptr<Stored> owned(static_cast<Stored*>(ended));
    owned->into->free(owned->into);
  };
  *out = stored.release();
  return 0;
}

// Into the repository's own objects. The database has such a one, but among those of the stores
// that the repository borrows from, and does not say which is which.
git_odb_backend* writer_of(git_repository* repository, const std::string& objects) {
  git_config* raw = nullptr;
  int durable = 0;
  if (git_repository_config_snapshot(&raw, repository) == 0) {
    const std::unique_ptr<git_config, decltype(&git_config_free)> config(raw, git_config_free);
    if (git_config_get_bool(&durable, raw, "core.fsyncObjectFiles") != 0) durable = 0;
  }
  constexpr int kUsualCompression = -1;
  constexpr unsigned kUsualMode = 0;
  git_odb_backend* writer = nullptr;
  if (git_odb_backend_loose(&writer, objects.c_str(), kUsualCompression, durable, kUsualMode,
                            kUsualMode) != 0)
    return nullptr;
  return writer;
}

// A clone that left objects behind on purpose (`git clone --filter`), to fetch each when it is
// wanted. libgit2 cannot, and its blame takes a file whose text is missing for one that begins
// there.
bool is_partial(git_repository* repository) {
  git_config* raw = nullptr;
  if (git_repository_config_snapshot(&raw, repository) != 0) return false;
  const std::unique_ptr<git_config, decltype(&git_config_free)> config(raw, git_config_free);
  bool partial = false;
  // All of it, and not by a pattern: libgit2 1.5 loses 20 KB for each entry that does not fit one.
  git_config_foreach(
      raw,
      [](const git_config_entry* entry, void* payload) {
        const std::string_view name = entry->name;
        if ((name.starts_with("remote.") && name.ends_with(".promisor")) ||
            name == "extensions.partialclone")
          *static_cast<bool*>(payload) |= std::string_view(entry->value ? entry->value : "true") !=
                                          "false";
        return 0;
      },
      &partial);
  return partial;
}

// Asked when no other store has an object: in a partial clone it is noted why.
git_odb_backend* noting_store() {
  auto store = std::make_unique<git_odb_backend>();
  git_odb_init_backend(store.get(), GIT_ODB_BACKEND_VERSION);
  store->read = [](void**, std::size_t*, git_object_t*, git_odb_backend*, const git_oid* id) {
    failed(
        fmt::format("the object {} is not here, for this is a partial clone; git fetches it when "
                    "the user asks for the same in a terminal",
                    git_oid_tostr_s(id)));
    return static_cast<int>(GIT_ENOTFOUND);
  };
  store->free = [](git_odb_backend* self) { delete self; };
  return store.release();
}

void add_directories(const std::string& objects, int depth, std::vector<std::string>& out) {
  if (std::ranges::find(out, objects) != out.end()) return;
  out.push_back(objects);
  if (depth == kAlternatesDepthMax) return;
  std::ifstream alternates(objects + "/info/alternates");
  for (std::string line; std::getline(alternates, line);) {
    if (line.empty() || line[0] == '#') continue;
    add_directories(line[0] == '/' ? line : objects + "/" + line, depth + 1, out);
  }
}

}  // namespace

tl::expected<void, std::string> bound_reads(git_repository* repository, ReadBound bound) {
  failure.clear();
  git_odb* odb = nullptr;
  if (git_repository_odb(&odb, repository) != 0)
    return tl::unexpected(std::string("the repository's objects cannot be opened"));
  const std::unique_ptr<git_odb, decltype(&git_odb_free)> owned(odb, git_odb_free);
  auto store = std::make_unique<Loose>();
  git_odb_init_backend(store.get(), GIT_ODB_BACKEND_VERSION);
  store->read = read;
  store->read_header = read_header;
  store->read_prefix = read_prefix;
  store->writestream = write_stream;
  store->free = [](git_odb_backend* self) {
    const std::unique_ptr<Loose> ended(static_cast<Loose*>(self));
    ended->writer->free(ended->writer);
  };
  store->bound = bound;
  const std::string objects = std::string(git_repository_commondir(repository)) + "objects";
  add_directories(objects, 0, store->directories);
  store->writer = writer_of(repository, objects);
  if (!store->writer)
    return tl::unexpected(std::string("the repository's objects cannot be written"));
  if (git_odb_add_backend(odb, store.get(), kPriority) != 0) {
    store->writer->free(store->writer);
    return tl::unexpected(std::string("the repository's objects cannot be guarded"));
  }
  store.release();
  if (is_partial(repository)) {
    git_odb_backend* last = noting_store();
    if (git_odb_add_alternate(odb, last, kPriorityOfNone) != 0) last->free(last);
  }
  return {};
}

std::string read_failure() { return failure; }

}  // namespace lares::tools::git
