// Fields that requests of several dialects have: checked, and named when they are wrong.
#pragma once

#include <optional>
#include <set>
#include <string>
#include <string_view>

#include "daemon/completions/conversation.h"
#include "daemon/dialects/wire.h"

namespace lares::daemon {

// Reads fields of one object; the first that is wrong is kept and the rest read as if absent.
class RequestFields {
 public:
  explicit RequestFields(const WireJson& body) : body_(body) {}
  bool boolean(const char* name, bool otherwise);
  std::string text(const char* name);
  std::optional<double> number(const char* name, double least, double most);
  std::optional<std::int64_t> integer(const char* name, std::int64_t least);
  void refuse(std::string parameter, std::string message);
  const std::optional<WireError>& wrong() const { return wrong_; }

 private:
  const WireJson& body_;
  std::optional<WireError> wrong_;
};

struct OfferedTool {
  std::string name, description;
  const WireJson* parameters = nullptr;  // null: it takes none
  bool strict = false;
};
// Adds a function to `conversation.tools`. False: one is called so already, or it has no name.
bool add_tool(Conversation& conversation, std::set<std::string>& names, OfferedTool tool);

bool is_true(const WireJson& object, std::string_view name);

}  // namespace lares::daemon
