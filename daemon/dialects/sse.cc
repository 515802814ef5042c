#include "daemon/dialects/sse.h"

#include <nlohmann/json.hpp>

#include "daemon/dialects/wire.h"

namespace lares::daemon {

HttpReply sse_head() {
  // A proxy on the way must not collect events before it passes them on.
  return {.content_type = "text/event-stream; charset=utf-8",
          .headers = {{"Cache-Control", "no-cache"}, {"X-Accel-Buffering", "no"}}};
}

std::string sse_data(const nlohmann::ordered_json& json) {
  return "data: " + wire_text(json) + "\n\n";
}

std::string sse_event(std::string_view name, const nlohmann::ordered_json& json) {
  return "event: " + std::string(name) + "\ndata: " + wire_text(json) + "\n\n";
}

}  // namespace lares::daemon
