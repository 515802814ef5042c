// Files that appear whole or not at all: written under no name or a passing one, then renamed.
// Descriptors of directories stand for paths; errors are errno values, 0 for none.
#pragma once

#include <sys/stat.h>

#include <functional>
#include <string>
#include <string_view>

#include "tools/fd.h"

namespace lares::tools {

struct Temporary {
  Fd fd;
  std::string name;
  bool named = false;
};

std::string temporary_name();                             // .lares-0123456789abcdef.tmp
bool is_temporary_name(std::string_view name);            // of this process or another
Temporary make_temporary(int dir, unsigned mode = 0600);  // no fd: errno says why
int give_name(int dir, Temporary& temporary);  // the passing one, from which it can be renamed
int rename_to_new(int dir, const std::string& from, const std::string& to);  // EEXIST: over nothing
int write_all(int fd, std::string_view bytes);
// Two steps of which somebody may write in between, so that what was there is looked at once more
// when it has the other name: `is_it`, asked with that name, says whether it is what was to go. If
// not, `lost` is true, and it is where it was again; of several that were written meanwhile, the
// newest.
using IsIt = std::function<bool(const std::string& name)>;
// Puts `temporary` in the place of `name`.
int take_place(int dir, const std::string& temporary, const std::string& name, const IsIt& is_it,
               bool& lost);
int remove_file(int dir, const std::string& name, const IsIt& is_it, bool& lost);
// Durable, mode 0600, in place of what is called so
int put_file(int dir, const std::string& name, std::string_view bytes);
// Of a new file: the owner and group of `was`, which may take rights that we do not have. False: it
// has another one, though the group if that alone can be given.
bool give_owner(int fd, const struct stat& was);
// Writes `bytes` over what a file holds, `was`: not atomic, but the file stays the one it is. A
// full disk is met before the first byte; what fails later all the same (a file system that writes
// elsewhere, a bad disk) is put back, and `partly` says that it could not be.
int write_over(int fd, std::string_view was, std::string_view bytes, bool& partly);
// user.* and the ACL; what cannot be copied (another owner's, a file system without them) is left
// out.
void copy_xattrs(int from, int to);

}  // namespace lares::tools
