// The io loop and the pools of blocking work, which can be emptied before they are destroyed.
//
// What still waits in a context when it is destroyed is unwound by its destructor. Contexts are
// declared first, for what works with them is to end before them; so a coroutine that waits would
// be unwound after everything that its frame refers to. Whoever owns them empties them before that.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/thread_pool.hpp>

namespace lares::daemon {

namespace asio = boost::asio;

class IoLoop : public asio::io_context {
 public:
  using asio::io_context::io_context;
  void abandon() { shutdown(); }  // unwinds what waits here; to be called when nothing runs here
};

class DiskPool : public asio::thread_pool {
 public:
  using asio::thread_pool::thread_pool;
  void abandon() {  // waits for what runs; unwinds what waits for its turn
    stop();
    join();
    shutdown();
  }
};

}  // namespace lares::daemon
