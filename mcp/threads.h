// The tools of mcp.h, with threads for what takes long: messages of megabytes are read and shown
// there, and the io thread serves others meanwhile.
#pragma once

#include <memory>
#include <vector>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/thread_pool.hpp>

#include "mcp/mcp.h"

namespace lares::mcp {

// Null: all on the io thread.
std::vector<std::unique_ptr<tools::Tool>> make_mcp_tools(asio::any_io_executor io,
                                                         const Options& options,
                                                         asio::thread_pool* threads);

}  // namespace lares::mcp
