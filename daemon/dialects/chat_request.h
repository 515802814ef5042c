// A request of OpenAI's Chat Completions, with what DeepSeek's API adds, as a Conversation. One
// that ends with an assistant's message is gone on with where that says "prefix": true; else the
// answer is a new message, as OpenAI's API has it: agents append what is meant for the model as the
// assistant's words (opencode, when its steps are used up).
#pragma once

#include <string>

#include <tl/expected.hpp>

#include "daemon/completions/conversation.h"
#include "daemon/dialects/wire.h"

namespace lares::daemon {

struct ChatRequest {
  Conversation conversation;
  std::string model;  // as it is called there
  bool stream = false, with_usage = false;
};

// `defaults`: how is sampled where it says nothing. `beta`: asked of the endpoint where strict
// tools are held to what the hosted API takes; elsewhere to what can be enforced, which is more.
tl::expected<ChatRequest, WireError> read_chat(const WireJson& body,
                                               const engine::Sampling& defaults, bool beta = false);

}  // namespace lares::daemon
