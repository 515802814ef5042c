// What a session's editor holds of files and has not saved.
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "daemon/protocol/overlay_wire.h"
#include "daemon/session/facts.h"
#include "daemon/session/session.h"
#include "tools/edit/editor_texts.h"

namespace lares::daemon {

void Session::editor_is(Subscriber* subscriber) {
  editor_ = subscriber;
  overlays_->editor_came([subscriber, id = info_.session_id](const std::string& path, bool save) {
    const protocol::Json params = {{"sessionId", id}, {"path", path}, {"save", save}};
    subscriber->notify(id, protocol::notification_line(protocol::kSessionOverlayWanted, params),
                       Subscriber::Weight::state);
  });
}

Reply<> Session::overlay(const std::string& path, std::optional<std::string> text, bool told) {
  const std::string what = fmt::format("overlay of {} in session {}: ", path, info_.session_id);
  if (path.empty() || tools::editors_path(path) != path)
    return tl::unexpected(
        refusal(protocol::Code::invalid_params,
                what + "the path must be relative to the session's root, and inside it"));
  if (text && text->size() > tools::kUnsavedBytesMax)
    return tl::unexpected(
        refusal(protocol::Code::invalid_params,
                fmt::format("{}the text is {} bytes long, and {} at most are kept; save the file",
                            what, text->size(), tools::kUnsavedBytesMax)));
  overlays_->told(path, std::move(text), told);
  if (told && !tools_.empty()) tools::note_shown(tools_, overlays_->shown());
  return {};
}

}  // namespace lares::daemon
