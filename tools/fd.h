// A file descriptor with an owner: the sandbox's.
#pragma once

#include "sandbox/fd.h"

namespace lares::tools {

using sandbox::Fd;

}  // namespace lares::tools
