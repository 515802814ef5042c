// A directory of one test's own, and what it needs to fill and read it.
#pragma once

#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "tests/temporary_directory.h"
#include "tools/builtin.h"

namespace lares::tools::test {

class Scratch {
 public:
  const std::string& root() const { return directory_.path(); }
  std::string at(const std::string& path) const { return directory_ / path; }
  std::string write(const std::string& path, const std::string& text) const {
    std::filesystem::create_directories(std::filesystem::path(at(path)).parent_path());
    std::ofstream(at(path), std::ios::binary) << text;
    return at(path);
  }
  std::string read(const std::string& path) const {
    std::ifstream in(at(path), std::ios::binary);
    std::ostringstream out;
    out << in.rdbuf();
    return out.str();
  }

 private:
  TemporaryDirectory directory_;
};

inline std::string launcher() { return std::string(LARES_BINARY_DIR) + "/bin/lares-sandbox"; }

// Runs one call to its end on an io_context of its own.
inline Result<Outcome> call(asio::io_context& io, Tool& tool, nlohmann::json args,
                            OnOutput on_output = {}) {
  Result<Outcome> out = tl::unexpected(Error{Errc::broken, "the call did not end"});
  asio::co_spawn(io, tool.run(std::move(args), std::move(on_output)),
                 [&](std::exception_ptr thrown, Result<Outcome> result) {
                   if (thrown)
                     out = tl::unexpected(Error{Errc::broken, "the call threw"});
                   else
                     out = std::move(result);
                 });
  io.restart();
  io.run();
  return out;
}

}  // namespace lares::tools::test
