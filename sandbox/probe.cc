#include "sandbox/sandbox.h"

namespace lares::sandbox {

asio::awaitable<Probe> probe(std::string launcher) { co_return Probe{.why = launcher}; }

}  // namespace lares::sandbox
