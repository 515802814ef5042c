// What the editor holds of a session's files, between its tools and the editor.
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "daemon/bridges/acp/session.h"
#include "daemon/protocol/overlay_wire.h"

namespace lares::cli::acp {

// The files it works on are those that the user may be writing in.
void Session::watch(const protocol::Item& item) {
  if (item.kind != "tool" || !world_.can.reads_files) return;
  const Json arguments = Json::parse(item.arguments, nullptr, /*allow_exceptions=*/false);
  if (item.name == "str_replace_editor") unsaved_.watch(string_at(arguments, "path"));
  if (item.changes_untold) return;  // a command's are on the disk, where the editor finds them
  for (const auto& change : item.changes) unsaved_.watch(change.path);
  unsaved_.edited(item.changes);
  if (!item.changes.empty() && world_.can.writes_files) spawn(merge(item.changes));
}

asio::awaitable<void> Session::merge(std::vector<protocol::FileChange> changes) {
  const auto self = shared_from_this();
  auto merging = unsaved_.merge(id(), std::move(changes));
  if (const std::string wrong = co_await std::move(merging); !wrong.empty())
    view_.notice("warning", wrong);
}

asio::awaitable<void> Session::tell_overlay(Unsaved::Held held, bool told) {
  const auto self = shared_from_this();
  Json params = {{"sessionId", id()}, {"path", held.path}, {"told", told}};
  if (held.text) params["text"] = std::move(*held.text);
  auto telling = world_.daemon->call(std::string(protocol::kSessionOverlay), std::move(params));
  const auto answer = co_await std::move(telling);
  if (!answer) world_.log(fmt::format("session {}: {}", id(), answer.error().message));
}

// A tool of the daemon's waits for this.
asio::awaitable<void> Session::look(std::string name, bool save) {
  const auto self = shared_from_this();
  co_await opened_.wait();
  auto looking = unsaved_.look(id(), std::move(name), save);
  Unsaved::Held held = co_await std::move(looking);
  if (save && held.parted)
    view_.notice("warning",
                 fmt::format("{} was changed on disk, and the editor holds another text that is "
                             "not saved; no call edits it until you save it there or read it again "
                             "from the disk",
                             held.path));
  auto telling = tell_overlay(std::move(held), /*told=*/false);
  co_await std::move(telling);
}

}  // namespace lares::cli::acp
