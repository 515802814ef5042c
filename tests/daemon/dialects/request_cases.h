// What requests of a dialect mean: `read` takes a body and gives what it asks for, or why not.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include <gtest/gtest.h>

#include "daemon/completions/conversation.h"
#include "daemon/dialects/wire.h"

namespace lares::daemon::test {

inline WireJson parsed(const std::string& text) {
  WireJson json = WireJson::parse(text, nullptr, false);
  EXPECT_FALSE(json.is_discarded()) << text;
  return json;
}

// A body and the messages it becomes, both JSON.
struct Meaning {
  const char* what;
  std::string request, messages;
};

template <class Read>
Conversation conversation_of(Read read, const std::string& body) {
  const auto request = read(body);
  EXPECT_TRUE(request) << (request ? "" : request.error().message) << "\n" << body;
  return request ? request->conversation : Conversation();
}

// A body and the field it is refused for.
struct Wrong {
  const char *request, *parameter;
};

template <class Read>
void expect_refused(Read read, std::span<const Wrong> rows) {
  for (const Wrong& row : rows) {
    SCOPED_TRACE(row.request);
    const auto request = read(row.request);
    ASSERT_FALSE(request);
    EXPECT_EQ(request.error().status, std::string_view(row.parameter) == "model" ? 404u : 400u);
    EXPECT_EQ(request.error().parameter, row.parameter);
    EXPECT_FALSE(request.error().message.empty());
    EXPECT_EQ(request.error().message.find('\n'), std::string::npos) << request.error().message;
  }
}

}  // namespace lares::daemon::test
