// What the official conformance suite expects a server to offer: its fixture tools, resources and
// prompts.
#pragma once

#include <boost/asio/any_io_executor.hpp>

#include "mcp/server.h"

namespace lares::mcp::server::test {

class ConformanceProvider final : public Provider {
 public:
  explicit ConformanceProvider(asio::any_io_executor io) : io_(io) {}
  void tell(Endpoint& endpoint) { endpoint_ = &endpoint; }

  Info info() const override {
    return {"lares-conformance", "Lares", "0.1.0", "Fixtures of the conformance suite."};
  }
  Json tools() override;
  asio::awaitable<Answer<>> call_tool(Call& call, std::string name, const Json& arguments) override;

  bool has_resources() const override { return true; }
  Json resources(const std::string& root, std::size_t from, std::size_t n) override;
  Json resource_templates() override;
  asio::awaitable<Answer<>> read_resource(Call& call, std::string uri) override;

  bool has_prompts() const override { return true; }
  Json prompts() override;
  asio::awaitable<Answer<>> get_prompt(Call& call, std::string name,
                                       const Json& arguments) override;

  bool completes() const override { return true; }
  Answer<> complete(const Json& ref, const std::string& argument,
                    const std::string& value) override;
  bool logs() const override { return true; }

 private:
  asio::awaitable<void> pause();
  asio::awaitable<Answer<>> asks(Call& call, const std::string& name,
                                 const Json& arguments);                     // legacy's questions
  asio::awaitable<Answer<>> asks_back(Call& call, const std::string& name);  // modern ones

  asio::any_io_executor io_;
  Endpoint* endpoint_ = nullptr;
};

}  // namespace lares::mcp::server::test
