#include "daemon/session/worktree_records.h"

#include <fcntl.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>

#include <fmt/format.h>

#include "daemon/protocol/wire.h"
#include "daemon/repository.h"
#include "tools/atomic_file.h"

namespace lares::daemon {
// Read and written as the protocol's types are; outside the nameless namespace, where their reader
// would not find it.
template <class V>
static void fields(V& v, WorktreeRecord::Applied& x) {
  v.o("before", x.before);
  v.o("after", x.after);
  v.o("theirs", x.theirs);
  v.o("paths", x.paths);
  v.o("putting", x.putting);
}
template <class V>
static void fields(V& v, WorktreeRecord& x) {
  v.r("sessionId", x.session_id);
  v.r("root", x.root);
  v.r("worktreeOf", x.worktree_of);
  v.r("storeOf", x.store_of);
  v.r("branch", x.branch);
  v.r("commit", x.commit);
  v.o("began", x.began);
  v.o("beganMs", x.began_ms);
  v.o("applied", x.applied);
  v.o("earlier", x.earlier);
}

namespace {

namespace fs = std::filesystem;
using protocol::Json;

constexpr std::string_view kSuffix = ".json";
constexpr std::string_view kBegan = "worktree begins: ", kApplied = "worktree applied: ";

std::optional<WorktreeRecord> read(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return std::nullopt;
  const std::string text(std::istreambuf_iterator<char>(file), {});
  const Json json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  WorktreeRecord out;
  std::string wrong;
  if (!json.is_object()) return std::nullopt;
  protocol::detail::Reader reader{json, wrong, ""};
  fields(reader, out);
  if (!wrong.empty() || out.root + std::string(kSuffix) != path.string()) return std::nullopt;
  return out;
}

std::string label(std::string_view what, const std::string& root) {
  const fs::path path(root);
  return fmt::format("{}{}/{}", what, path.parent_path().filename().string(),
                     path.filename().string());
}

}  // namespace

std::string began_label(const std::string& root) { return label(kBegan, root); }
std::string applied_label(const std::string& root) { return label(kApplied, root); }

void WorktreeRecord::apply(Applied now) {
  if (!applied.before.empty()) earlier.push_back(std::move(applied));
  if (earlier.size() >= kAppliedMax) earlier.erase(earlier.begin());
  applied = std::move(now);
}

void WorktreeRecord::take_back() {
  applied = {};
  if (earlier.empty()) return;
  applied = std::move(earlier.back());
  earlier.pop_back();
}

std::string WorktreeRecords::root_of(const std::string& worktree_of,
                                     const std::string& session_id) const {
  return fmt::format("{}/{}/{}", directory_, repository_key(worktree_of), session_id);
}

std::optional<WorktreeRecord> WorktreeRecords::find(const std::string& root) const {
  if (!root.starts_with(directory_ + "/")) return std::nullopt;
  return read(root + std::string(kSuffix));
}

std::vector<WorktreeRecord> WorktreeRecords::all() const {
  std::vector<WorktreeRecord> out;
  std::error_code ec;
  for (const auto& repository : fs::directory_iterator(directory_, ec)) {
    std::error_code unreadable;
    for (const auto& entry : fs::directory_iterator(repository.path(), unreadable)) {
      if (entry.path().extension() != kSuffix) continue;
      if (auto record = read(entry.path())) out.push_back(std::move(*record));
    }
  }
  std::ranges::sort(out, [](const auto& a, const auto& b) { return a.began_ms > b.began_ms; });
  return out;
}

tl::expected<void, std::string> WorktreeRecords::write(const WorktreeRecord& record) const {
  const auto failed = [&](int error) {
    return tl::unexpected(
        fmt::format("write {}{}: {}", record.root, kSuffix, std::strerror(error)));
  };
  const fs::path path(record.root + std::string(kSuffix));
  std::error_code ec;
  fs::create_directories(path.parent_path(), ec);
  if (!ec) fs::permissions(directory_, fs::perms::owner_all, ec);
  if (ec) return failed(ec.value());
  const tools::Fd directory(::open(path.parent_path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!directory) return failed(errno);
  protocol::detail::Writer writer;
  WorktreeRecord copy = record;
  fields(writer, copy);
  if (const int error = tools::put_file(directory.get(), path.filename().string(),
                                        protocol::dump(writer.out) + "\n");
      error != 0)
    return failed(error);
  return {};
}

void WorktreeRecords::remove(const WorktreeRecord& record) const {
  std::error_code ignored;
  fs::remove(record.root + std::string(kSuffix), ignored);
}

std::string WorktreeRecords::store_of(const std::string& root) const {
  const auto record = find(root);
  return record ? record->store_of : "";
}

bool WorktreeRecords::needs(const tools::Snapshot& snapshot) const {
  const bool began = snapshot.label.starts_with(kBegan);
  if (!began && !snapshot.label.starts_with(kApplied)) return false;
  const std::size_t n_label = began ? kBegan.size() : kApplied.size();
  const fs::path path(fmt::format("{}/{}{}", directory_, snapshot.label.substr(n_label), kSuffix));
  std::error_code ec;
  if (!fs::exists(path, ec)) return static_cast<bool>(ec);
  const auto record = began ? std::nullopt : read(path);
  return !record || record->applied.theirs == snapshot.id ||
         std::ranges::find(record->earlier, snapshot.id, &WorktreeRecord::Applied::theirs) !=
             record->earlier.end();
}

}  // namespace lares::daemon
