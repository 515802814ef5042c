// Anthropic Messages: an answer, as a stream of events or as one message.
#pragma once

#include <string>

#include "daemon/dialects/parts.h"

namespace lares::daemon {

// message_start says how long the prompt is and takes none of it for cached: that is known when it
// was evaluated. message_delta, the last but one, has the true figures.
class MessagesAnswer : public DialectAnswer {
 public:
  // `knows_context`: the client takes "model_context_window_exceeded" for a reason to stop; some
  // break with what they do not know.
  MessagesAnswer(std::string id, std::string model, bool knows_context = false)
      : id_(std::move(id)), model_(std::move(model)), knows_context_(knows_context) {}
  void begin(std::int64_t prompt_tokens) override;
  void end(const GenerationEnd& end) override;
  WireJson whole(const GenerationEnd& end) const override;
  Exchange::KeepAlive keep_alive() const override;

 protected:
  void opened(const Part& part) override;
  void extended(const Part& part, std::string_view piece) override;
  void closed(const Part& part) override;

 private:
  WireJson message(const WireJson& usage) const;
  void delta(const Part& part, WireJson delta);
  std::string id_, model_;
  const bool knows_context_;
};

// {"type": "error", ...} with the header and the member that support people ask for.
HttpReply messages_refusal(const WireError& error, const std::string& request_id);

}  // namespace lares::daemon
