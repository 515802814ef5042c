// Sessions as files, sampled again, and by name, for clients.
#include <utility>

#include <fmt/format.h>

#include "daemon/on_disk_pool.h"
#include "daemon/protocol/transfer.h"
#include "daemon/server/answers.h"
#include "daemon/server/connection.h"
#include "daemon/server/server.h"
#include "daemon/session/export.h"

namespace lares::daemon {

using namespace protocol;

asio::awaitable<Reply<Json>> Server::about_transfer(std::shared_ptr<Connection> from,
                                                    std::string method, Json params) {
  if (method == SessionImport::kMethod) {
    auto request = typed<SessionImport>(method, params);
    if (!request) co_return tl::unexpected(request.error());
    if (!request->path.starts_with('/'))
      co_return no(Code::invalid_params, method + ": path must be absolute");
    auto importing = sessions_.import(request->path, request->root);
    auto made = co_await std::move(importing);
    if (!made) co_return tl::unexpected(made.error());
    co_return to_json((*made)->info());
  }
  if (method == SessionReplay::kMethod) {
    auto request = typed<SessionReplay>(method, params);
    if (!request) co_return tl::unexpected(request.error());
    if (request->session_id.empty() != request->path.starts_with('/'))
      co_return no(Code::invalid_params,
                   method + ": give sessionId, or path, which must be absolute");
    std::function<bool()> given_up = [this, from] {
      return from->closed() || stopping_ != Stopping::no;
    };
    auto replaying = sessions_.replay(std::move(*request), std::move(given_up));
    auto result = co_await std::move(replaying);
    if (!result) co_return tl::unexpected(result.error());
    co_return to_json(std::move(*result));
  }
  const auto which = typed<SessionGet>(method, params);
  if (!which) co_return tl::unexpected(which.error());
  auto opening = open(method, which->session_id);
  const auto found = co_await std::move(opening);
  if (!found) co_return tl::unexpected(found.error());
  const std::shared_ptr<Session> session = *found;
  if (method == SessionSetTitle::kMethod) {
    const auto request = typed<SessionSetTitle>(method, params);
    if (!request) co_return tl::unexpected(request.error());
    const auto done = co_await session->set_title(request->title);
    if (!done) co_return tl::unexpected(done.error());
    co_return to_json(Nothing{});
  }
  const auto request = typed<SessionExport>(method, params);
  if (!request) co_return tl::unexpected(request.error());
  if (!request->path.starts_with('/'))
    co_return no(Code::invalid_params, method + ": path must be absolute");
  co_await host_.settled();
  Export about{.session = session->info().session_id, .root = session->info().root};
  const auto write = [&, journal = session->journal().path(), bytes = session->journal().bytes()] {
    about.model = model_of(host_.engine());
    return write_export(request->path, about, journal, bytes);
  };
  const auto written = co_await on_disk_pool(disk_, write);
  if (!written)
    co_return no(Code::invalid_params,
                 fmt::format("export session {}: {}", about.session, written.error()));
  co_return to_json(SessionExportResult{.path = request->path,
                                        .bytes = static_cast<std::int64_t>(written->bytes),
                                        .frames = static_cast<std::int64_t>(written->frames)});
}

}  // namespace lares::daemon
