#include "daemon/session/export.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <span>

#include <fmt/format.h>

#include "daemon/protocol/wire.h"
#include "daemon/session/journal.h"
#include "daemon/store/chain_hash.h"
#include "daemon/version.h"
#include "engine/tokenizer.h"
#include "tools/atomic_file.h"

namespace lares::daemon {
namespace {

using protocol::Json;

constexpr std::string_view kFormat = "lares-session", kChecksum = R"({"sha256":")";
constexpr std::size_t kChecksumLineBytes = kChecksum.size() + 64 + 3;  // the digits, and "}\n
                                                                       // behind them

std::string hash_of(std::string_view bytes) {
  return store::to_hex(store::hash256(std::as_bytes(std::span(bytes))));
}

std::string header(const Export& about, std::size_t n_frames) {
  Json model = Json::object();
  model["name"] = about.model.name, model["type"] = about.model.type;
  model["fingerprint"] = about.model.fingerprint, model["vocabulary"] = about.model.vocabulary;
  Json out = Json::object();
  out["format"] = kFormat, out["version"] = kExportVersion, out["session"] = about.session,
  out["root"] = about.root;
  out["server"] = fmt::format("laresd/{}", kVersion), out["frames"] = n_frames,
  out["model"] = std::move(model);
  return protocol::dump(out) + "\n";
}

std::string text_of(const Json& in, const char* key) {
  const auto at = in.find(key);
  return at != in.end() && at->is_string() ? at->get<std::string>() : "";
}

// A new name in the directory for a whole file; an existing one is left alone.
int put_in_place(int dir, tools::Temporary& file, const std::string& name) {
  if (!file.named) {
    const std::string link = fmt::format("/proc/self/fd/{}", file.fd.get());
    return ::linkat(AT_FDCWD, link.c_str(), dir, name.c_str(), AT_SYMLINK_FOLLOW) == 0 ? 0 : errno;
  }
  const int failed = ::linkat(dir, file.name.c_str(), dir, name.c_str(), 0) == 0 ? 0 : errno;
  ::unlinkat(dir, file.name.c_str(), 0);
  return failed;
}

int write_whole(const std::string& path, std::string_view text) {
  const std::filesystem::path where(path);
  const tools::Fd dir(::open(where.parent_path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!dir) return errno;
  struct stat st {};
  if (::fstatat(dir.get(), where.filename().c_str(), &st, AT_SYMLINK_NOFOLLOW) == 0)
    return EEXIST;  // before all the work
  auto file = tools::make_temporary(dir.get(), 0600);
  if (!file.fd) return errno;
  int failed = tools::write_all(file.fd.get(), text);
  if (failed == 0 && ::fsync(file.fd.get()) != 0) failed = errno;
  if (failed == 0) return put_in_place(dir.get(), file, where.filename().string());
  if (file.named) ::unlinkat(dir.get(), file.name.c_str(), 0);
  return failed;
}

tl::expected<std::string, std::string> read_whole(const std::string& path) {
  constexpr const char* kWanted = "name a file that `lares export -o FILE` wrote";
  const auto failed = [&] {
    return tl::unexpected(fmt::format("read {}: {}; {}", path, std::strerror(errno), kWanted));
  };
  const tools::Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  struct stat st {};
  if (!fd || ::fstat(fd.get(), &st) != 0) return failed();
  if (!S_ISREG(st.st_mode))
    return tl::unexpected(fmt::format("read {}: it is no file; {}", path, kWanted));
  if (static_cast<std::uint64_t>(st.st_size) > kExportBytesMax)
    return tl::unexpected(fmt::format("read {}: it has {} bytes; at most {} are taken", path,
                                      st.st_size, kExportBytesMax));
  std::string text(static_cast<std::size_t>(st.st_size), '\0');
  for (std::size_t done = 0; done < text.size();) {
    const ssize_t n = ::pread(fd.get(), text.data() + done, text.size() - done,
                              static_cast<off_t>(done));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return failed();
    if (n == 0) return tl::unexpected(fmt::format("read {}: it became shorter meanwhile", path));
    done += static_cast<std::size_t>(n);
  }
  return text;
}

}  // namespace

std::string vocabulary_of(const engine::Engine& engine) {
  std::string all;
  for (engine::Token id = 0; id < engine.info().vocab_size; ++id) {
    const std::string_view bytes = engine.tokenizer().bytes(id);
    all += fmt::format("{}:", bytes.size());
    all += bytes;
  }
  return hash_of(all);
}

ExportModel model_of(const engine::Engine* engine) {
  if (!engine) return {};
  const engine::ModelInfo& info = engine->info();
  ExportModel out{.name = std::filesystem::path(info.directory).filename().string(),
                  .type = info.model_type,
                  .vocab_size = info.vocab_size};
  out.fingerprint = engine->prefix_format().fingerprint;
  out.vocabulary = vocabulary_of(*engine);
  return out;
}

std::string other_vocabulary(const ExportModel& file, const ExportModel& ours) {
  return fmt::format(
      "its token ids are those of {}, whose vocabulary is not that of {}; start laresd with that "
      "model",
      file.name, ours.name);
}

tl::expected<Exported, std::string> write_export(const std::string& path, const Export& about,
                                                 const std::string& journal_path,
                                                 std::uint64_t journal_bytes) {
  std::string frames;
  std::size_t n = 0;
  const auto read = Journal::scan(journal_path, journal_bytes,
                                  [&](std::size_t, std::string_view payload) {
                                    ++n;
                                    if (frames.size() <= kExportBytesMax)
                                      frames.append(R"({"frame":)").append(payload).append("}\n");
                                  });
  if (!read) return tl::unexpected(read.error());
  std::string text = header(about, n) + frames;
  if (text.size() + kChecksumLineBytes > kExportBytesMax)
    return tl::unexpected(
        fmt::format("write {}: the session is longer than {} bytes", path, kExportBytesMax));
  text += fmt::format("{}{}\"}}\n", kChecksum, hash_of(text));
  if (const int failed = write_whole(path, text); failed != 0)
    return tl::unexpected(fmt::format(
        "write {}: {}", path,
        failed == EEXIST ? "there is such a file already, and it is left alone; name another"
        : failed == ENOENT || failed == ENOTDIR
            ? "there is no such directory; make it, or name another"
            : std::strerror(failed)));
  return Exported{text.size(), n};
}

tl::expected<Export, std::string> read_export(const std::string& path) {
  const auto text = read_whole(path);
  if (!text) return tl::unexpected(text.error());
  const auto damaged = [&](std::string_view why) {
    return tl::unexpected(fmt::format("read the session in {}: {}", path, why));
  };
  if (!text->starts_with(R"({"format":"lares-session")"))
    return damaged("it is no export of a session; `lares export -o FILE` writes one");
  if (text->size() < kChecksumLineBytes) return damaged("it was cut off; copy it again, whole");
  const std::string_view body = std::string_view(*text).substr(0,
                                                               text->size() - kChecksumLineBytes),
                         end = std::string_view(*text).substr(body.size());
  if (!end.starts_with(kChecksum) || !body.ends_with('\n'))
    return damaged("it was cut off, for its last line is no checksum; copy it again, whole");
  if (end != fmt::format("{}{}\"}}\n", kChecksum, hash_of(body)))
    return damaged(
        "it is damaged, for its checksum is wrong; copy it again from where it was exported");
  Export out;
  std::size_t n_frames = 0;
  std::string_view rest = body;
  for (std::size_t line = 0; !rest.empty(); ++line) {
    const std::size_t n = rest.find('\n');
    const Json json = Json::parse(rest.substr(0, n), nullptr, /*allow_exceptions=*/false);
    rest.remove_prefix(n + 1);
    if (!json.is_object()) return damaged(fmt::format("line {} is no object", line + 1));
    if (line == 0) {
      const auto version = json.find("version"), frames = json.find("frames"),
                 model = json.find("model");
      if (version == json.end() || *version != kExportVersion)
        return damaged(fmt::format("it is of another version than {}", kExportVersion));
      if (frames == json.end() || !frames->is_number_unsigned())
        return damaged("it does not say how many frames it has");
      n_frames = frames->get<std::size_t>();
      out.session = text_of(json, "session"), out.root = text_of(json, "root");
      if (model != json.end() && model->is_object()) {
        out.model = {.name = text_of(*model, "name"), .type = text_of(*model, "type")};
        out.model.fingerprint = text_of(*model, "fingerprint"),
        out.model.vocabulary = text_of(*model, "vocabulary");
      }
    } else if (const auto frame = json.find("frame"); frame != json.end()) {
      const auto method = frame->find("method");
      if (!frame->is_object() || method == frame->end() || !method->is_string() ||
          !frame->contains("params"))
        return damaged(fmt::format("line {} is no frame", line + 1));
      out.frames.push_back(protocol::dump(*frame));
    }
  }
  if (out.frames.size() != n_frames)
    return damaged(fmt::format("it has {} of {} frames", out.frames.size(), n_frames));
  return out;
}

}  // namespace lares::daemon
