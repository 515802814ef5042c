#include "daemon/session/on_disk.h"

#include <filesystem>
#include <system_error>

#include "daemon/session/summary.h"

namespace lares::daemon {

namespace fs = std::filesystem;

namespace {

std::string outputs_of(const std::string& state_dir, const std::string& id) {
  return state_dir + "/outputs/" + id;
}

// What lies there, one by one; links are not followed.
template <class Each>
void for_each_file(const std::string& folder, const Each& each) {
  std::error_code ec;
  for (fs::recursive_directory_iterator at(folder, ec), end; !ec && at != end; at.increment(ec)) {
    std::error_code gone;
    if (at->symlink_status(gone).type() == fs::file_type::regular) each(*at);
  }
}

}  // namespace

std::map<std::string, std::uint64_t> bytes_of_sessions(const std::string& state_dir,
                                                       const std::vector<std::string>& ids) {
  std::map<std::string, std::uint64_t> bytes;
  for (const auto& id : ids) bytes[id] = 0;
  const auto add = [](std::uint64_t& to, const fs::directory_entry& file) {
    std::error_code gone;
    if (const auto size = file.file_size(gone); !gone) to += size;
  };
  for_each_file(state_dir + "/sessions", [&](const fs::directory_entry& file) {
    const std::string name = file.path().filename().string();
    if (const auto of = bytes.find(name.substr(0, name.find('.'))); of != bytes.end())
      add(of->second, file);
  });
  for (auto& [id, n] : bytes)
    for_each_file(outputs_of(state_dir, id),
                  [&](const fs::directory_entry& file) { add(n, file); });
  return bytes;
}

std::string remove_session(const std::string& state_dir, const std::string& id) {
  std::error_code ec;
  fs::remove_all(outputs_of(state_dir, id), ec);
  const std::string journal = id + std::string(kJournalSuffix);
  for_each_file(state_dir + "/sessions", [&](const fs::directory_entry& file) {
    const std::string name = file.path().filename().string();
    std::error_code ignored;
    if (name.starts_with(id + ".") && name != journal) fs::remove(file.path(), ignored);
  });
  fs::remove(state_dir + "/sessions/" + journal, ec);
  return ec ? ec.message() : "";
}

}  // namespace lares::daemon
