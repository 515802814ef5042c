#include "daemon/dialects/reader.h"

#include <utility>

namespace lares::daemon {

asio::awaitable<void> Reader::write(std::string bytes) {
  if (!there_) co_return;
  there_ = co_await exchange_.write(std::move(bytes));
  if (!there_) stop_.request_stop();
}

}  // namespace lares::daemon
