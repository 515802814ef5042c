#include "daemon/version.h"

namespace lares::daemon {

const char* const kVersion = LARES_VERSION;

}  // namespace lares::daemon
