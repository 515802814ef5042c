// What a model's answer is as items, told as its events come.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "daemon/protocol.h"
#include "daemon/turn.h"
#include "engine/chat.h"

namespace lares::daemon {

class TurnItems {
 public:
  struct Call {
    protocol::Item item;
    bool rejected = false;  // by the parser; the item is complete
  };

  TurnItems(TurnEvents& events, std::int64_t turn_id) : events_(events), turn_id_(turn_id) {}

  void begin_answer();                                    // the last one's calls are forgotten
  void hear(engine::Event event, std::int64_t n_tokens);  // n_tokens: drawn of this answer
  void close();                                           // what is being said is complete
  void said_before(const std::string& text);              // the answer's text begins with it
  void drop_calls(const std::string& why);                // they will not run

  protocol::Item make(protocol::Item item);  // its id and turn are filled in
  void complete(protocol::Item item) { events_.item_completed(make(std::move(item))); }

  std::vector<Call>& calls() { return calls_; }
  const std::vector<Call>& calls() const { return calls_; }
  bool said_anything() const { return said_anything_; }  // text or a call
  const std::string& said() const { return said_; }      // the answer's text

 private:
  void text(const char* kind, const std::string& piece, std::int64_t n_tokens);
  Call& begin_call(const std::string& name);

  TurnEvents& events_;
  const std::int64_t turn_id_;
  std::vector<Call> calls_;
  std::unique_ptr<protocol::Item> open_;  // think or text
  std::int64_t opened_at_ = 0, n_items_ = 0;
  bool said_anything_ = false;
  std::string said_;
};

}  // namespace lares::daemon
