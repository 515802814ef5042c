#include "engine/cuda/no_room.h"

#include <fmt/format.h>

#include "engine/model/memory/available_memory.h"
#include "engine/model/memory/size_text.h"

namespace lares::engine::cuda {

Error no_room(Device& device, const std::string& directory, const std::string& what,
              std::uint64_t bytes) {
  return {Errc::no_memory,
          fmt::format("load {} onto {}: {} for {} have no room, {} are free there, and more were "
                      "when it was planned; load again, which plans with what is free then, or end "
                      "what else uses the GPU",
                      directory, device.name(), size_text(bytes), what,
                      size_text(device.memory_free()))};
}

Error no_pinned_room(Device& device, const std::string& directory, const std::string& what,
                     std::uint64_t bytes) {
  return {
      Errc::no_memory,
      fmt::format("load {} onto {}: the driver gives no {} of pinned host memory for {}, {} of "
                  "host memory are available; free some, or set memory lower",
                  directory, device.name(), size_text(bytes), what, size_text(available_bytes()))};
}

}  // namespace lares::engine::cuda
