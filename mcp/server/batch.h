// The answers to a batch of requests, on their way to where they go.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <utility>

#include "mcp/server.h"

namespace lares::mcp::server {

// Together in one message once the last of them is there, or each by itself, as `out` wants it.
class Batch : public std::enable_shared_from_this<Batch> {
 public:
  explicit Batch(std::shared_ptr<Outlet> out) : out_(std::move(out)) {}

  std::shared_ptr<Outlet> request();  // of one more, whose answer goes there
  // No more belong to it. False: nothing in it is answered.
  bool close();

 private:
  class One;
  void finished(std::string answer);
  void end_if_whole();

  const std::shared_ptr<Outlet> out_;
  std::string answers_;  // "[{...},{...}" while they are gathered
  std::size_t n_ = 0, n_open_ = 0;
  bool closed_ = false;
};

}  // namespace lares::mcp::server
