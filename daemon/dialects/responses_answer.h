// OpenAI Responses: an answer, as a stream of events or as one response.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "daemon/dialects/parts.h"
#include "daemon/dialects/responses_request.h"

namespace lares::daemon {

inline constexpr int kCommentsMax = 11;  // one behind the other, then it is an event: two minutes

class ResponsesAnswer : public DialectAnswer {
 public:
  // `id` is "resp_" and what its items are called by, too.
  ResponsesAnswer(std::string id, std::string model, std::int64_t created_at, ResponsesTools tools,
                  WireJson echo);
  void begin(std::int64_t prompt_tokens) override;
  void end(const GenerationEnd& end) override;
  WireJson whole(const GenerationEnd& end) const override;
  // Comments, and now and then an event, such as the hosted API sends: Codex hangs up after five
  // minutes without one (stream_idle_timeout_ms), some clients stumble over it. The first of a
  // stream is what begin() says, which then says it no more.
  Exchange::KeepAlive keep_alive() const override;

 protected:
  void opened(const Part& part) override;
  void extended(const Part& part, std::string_view piece) override;
  void closed(const Part& part) override;

 private:
  WireJson item(const Part& part, const char* status) const;
  void event(const char* type, WireJson fields);
  // Of an item, or of the one part in it
  void told(const Part& part, const char* type, WireJson fields);
  void text_closed(const Part& part);
  void call_closed(const Part& part);
  ResponsesTool tool_of(const Part& part) const;

  std::string id_;
  std::string item_id_;  // of the part that is open, or was last
  ResponsesTools tools_;
  std::shared_ptr<const WireJson> begun_;  // the response, as it is before anything was said
  WireJson output_ = WireJson::array();
  const std::shared_ptr<std::int64_t> n_events_ = std::make_shared<std::int64_t>(0);
};

}  // namespace lares::daemon
