// Files of a worktree by paths relative to it, in which commands may have put links: nothing here
// leaves the worktree by one.
#pragma once

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "sandbox/fd.h"

namespace lares::sandbox {

std::string join(const std::string& dir, const std::string& name);
std::string parent_of(const std::string& path);  // "" of one in the root
std::string name_of(const std::string& path);

// Without `links` there is none on the way either. Errno says why not.
Fd open_below(int root, const std::string& path, int flags, bool links = false);
bool stat_of(int root, const std::string& path, struct stat& out);  // of a link, its own
// nullopt: not a regular file that can be read, or larger than 256 KiB.
std::optional<std::string> text_of(int root, const std::string& path);

// Where `to`, as written in a file or a link in `dir`, leads below the root; nullopt: elsewhere.
// Not there: "" and false. As the kernel goes, for "link/../x" is not "x".
std::optional<std::string> leads(int root, const std::string& root_path, const std::string& dir,
                                 const std::string& to, bool& there);

// `on_entry` takes a name and a type, DT_UNKNOWN where the file system tells none; false ends it.
template <class OnEntry>
void for_entries(const Fd& dir, OnEntry on_entry) {
  const int copy = ::openat(dir.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  const std::unique_ptr<DIR, int (*)(DIR*)> entries(copy < 0 ? nullptr : ::fdopendir(copy),
                                                    ::closedir);
  while (const dirent* entry = entries ? ::readdir(entries.get()) : nullptr)
    if (const std::string_view name = entry->d_name; name != "." && name != "..")
      if (!on_entry(std::string(name), entry->d_type)) break;
}

}  // namespace lares::sandbox
