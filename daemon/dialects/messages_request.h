// Anthropic Messages: a request as the conversation it means.
#pragma once

#include <string>

#include <tl/expected.hpp>

#include "daemon/completions/conversation.h"
#include "daemon/dialects/wire.h"

namespace lares::daemon {

struct MessagesRequest {
  std::string model;  // as the client calls it
  bool stream = false;
  Conversation conversation;
};

// Fields and blocks that nobody here knows are ignored, or named in the text where the model would
// miss them. Refused is only what makes no sense: values of the wrong kind, no messages, calls
// without their results at the end.
//
// A tool the client defers (`defer_loading`, or one that a tool_reference points to) is not in the
// catalogue at the beginning of the prompt: clients append such tools while a conversation goes on,
// and the beginning must not change. Its definition stands where the first tool_reference to it is,
// in the result of the search that found it; in Conversation::tools it is marked "defer_loading":
// true, so that it can be called. One that nothing points to cannot be called.
//
// `to_count`: its tokens are only counted, so it may end anywhere; clients count pieces of
// conversations.
tl::expected<MessagesRequest, WireError> read_messages_request(const WireJson& body,
                                                               const engine::Sampling& defaults,
                                                               bool to_count = false);

}  // namespace lares::daemon
