#include "sandbox/spec.h"

#include <charconv>

namespace lares::sandbox {
namespace {

void put(std::string& out, std::string_view key, std::string_view value) {
  out.append(key).append(1, '=').append(value).append(1, '\0');
}

bool number(std::string_view text, std::uint64_t& out) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  return error == std::errc() && end == text.data() + text.size();
}

bool take(Spec& spec, std::string_view key, std::string_view value) {
  const auto text = [&](std::string& field) { return field = value, true; };
  const auto more = [&](std::vector<std::string>& field) {
    return field.emplace_back(value), true;
  };
  if (key == "backend") return text(spec.backend);
  if (key == "root") return text(spec.root);
  if (key == "cwd") return text(spec.cwd);
  if (key == "home") return text(spec.home);
  if (key == "worktree_readonly") return spec.worktree_readonly = value == "1", true;
  if (key == "network") return spec.network = value == "1", true;
  if (key == "readonly") return more(spec.readonly);
  if (key == "hidden") return more(spec.hidden);
  if (key == "emptied") return more(spec.emptied);
  if (key == "file_bytes") return number(value, spec.file_bytes);
  if (key == "memory_bytes") return number(value, spec.memory_bytes);
  if (key == "n_processes") return number(value, spec.n_processes);
  if (key == "n_open_files") return number(value, spec.n_open_files);
  if (key == "cpu_seconds") return number(value, spec.cpu_seconds);
  if (key == "growth_bytes") return number(value, spec.growth_bytes);
  if (key == "growth_inodes") return number(value, spec.growth_inodes);
  if (key == "free_bytes") return number(value, spec.free_bytes);
  if (key == "cgroup") return text(spec.cgroup);
  if (key == "cgroup_limits") return spec.cgroup_limits = value == "1", true;
  if (key == "argv") return more(spec.argv);
  if (key == "env") return more(spec.env);
  return false;
}

}  // namespace

std::string encode(const Spec& spec) {
  std::string out;
  put(out, "backend", spec.backend);
  put(out, "root", spec.root);
  put(out, "cwd", spec.cwd);
  put(out, "home", spec.home);
  put(out, "worktree_readonly", spec.worktree_readonly ? "1" : "0");
  put(out, "network", spec.network ? "1" : "0");
  for (const auto& path : spec.readonly) put(out, "readonly", path);
  for (const auto& path : spec.hidden) put(out, "hidden", path);
  for (const auto& path : spec.emptied) put(out, "emptied", path);
  put(out, "file_bytes", std::to_string(spec.file_bytes));
  put(out, "memory_bytes", std::to_string(spec.memory_bytes));
  put(out, "n_processes", std::to_string(spec.n_processes));
  put(out, "n_open_files", std::to_string(spec.n_open_files));
  put(out, "cpu_seconds", std::to_string(spec.cpu_seconds));
  put(out, "growth_bytes", std::to_string(spec.growth_bytes));
  put(out, "growth_inodes", std::to_string(spec.growth_inodes));
  put(out, "free_bytes", std::to_string(spec.free_bytes));
  if (!spec.cgroup.empty()) put(out, "cgroup", spec.cgroup);
  put(out, "cgroup_limits", spec.cgroup_limits ? "1" : "0");
  for (const auto& word : spec.argv) put(out, "argv", word);
  for (const auto& variable : spec.env) put(out, "env", variable);
  return out;
}

tl::expected<Spec, std::string> decode(std::string_view text) {
  Spec spec;
  while (!text.empty()) {
    const auto end = text.find('\0');
    if (end == std::string_view::npos) return tl::unexpected(std::string("the last record is cut"));
    const auto record = text.substr(0, end);
    text.remove_prefix(end + 1);
    const auto equals = record.find('=');
    if (equals == std::string_view::npos ||
        !take(spec, record.substr(0, equals), record.substr(equals + 1)))
      return tl::unexpected("unknown record '" + std::string(record.substr(0, 80)) + "'");
  }
  if (spec.root.empty() || spec.cwd.empty() || spec.argv.empty() || spec.backend.empty())
    return tl::unexpected(std::string("backend, root, cwd and argv are needed"));
  return spec;
}

}  // namespace lares::sandbox
