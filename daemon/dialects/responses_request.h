// OpenAI Responses: a request as the conversation it means.
#pragma once

#include <string>

#include <tl/expected.hpp>

#include "daemon/completions/conversation.h"
#include "daemon/dialects/responses_tools.h"
#include "daemon/dialects/wire.h"

namespace lares::daemon {

struct ResponsesRequest {
  std::string model;  // as the client calls it
  bool stream = false;
  Conversation conversation;
  ResponsesTools tools;
  WireJson echo;  // the fields of a response that repeat the request's
};

// Nothing is stored, so what refers to a stored response (previous_response_id, conversation) is
// refused; items that refer to stored ones and kinds that nobody here knows are ignored. Refused
// besides: values of the wrong kind, no input, calls without their outputs at the end.
tl::expected<ResponsesRequest, WireError> read_responses_request(const WireJson& body,
                                                                 const engine::Sampling& defaults);

}  // namespace lares::daemon
