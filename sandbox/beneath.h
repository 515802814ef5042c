// Opening what lies below a directory, and nowhere else: neither "..", nor a link, nor somebody who
// exchanges what is on the way leads out of it. For the launcher as well, so nothing else is here.
#pragma once

#include <cstdint>
#include <string>

#include "sandbox/fd.h"

namespace lares::sandbox {

// openat2(2), for which glibc 2.36 has no name; closed on exec, and tried again while somebody
// renames directories on the way. -1 with errno.
int openat2(int dir, const char* path, std::uint64_t flags, std::uint64_t resolve,
            unsigned mode = 0);

enum class Links { refused, followed };  // followed: those that lead to what is below the root
// `path` is relative to `root`; "" is the root itself. Without openat2 (Linux 5.6) every component
// is opened by hand, and no link is followed. Errno says why not.
Fd open_beneath(int root, const std::string& path, int flags, Links links, unsigned mode = 0);

}  // namespace lares::sandbox
