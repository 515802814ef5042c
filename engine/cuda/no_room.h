// What is said of an allocation that failed while a model was loaded, although the plan had room
// for it: somebody else took memory meanwhile.
#pragma once

#include <string>

#include "engine/cuda/device.h"

namespace lares::engine::cuda {

// no_memory, with what is free now. what: as in "load /model onto GPU 0: 8.40 GB for `what` have no
// room"; what was taken for the same is to be given back before.
Error no_room(Device& device, const std::string& directory, const std::string& what,
              std::uint64_t bytes);
// Of pinned host memory.
Error no_pinned_room(Device& device, const std::string& directory, const std::string& what,
                     std::uint64_t bytes);

}  // namespace lares::engine::cuda
