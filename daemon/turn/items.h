// What a model's answer is as items, told as its events come.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "daemon/protocol/protocol.h"
#include "daemon/turn/turn.h"
#include "engine/chat.h"

namespace lares::daemon {

class TurnItems {
 public:
  struct Call {
    protocol::Item item;
    bool rejected = false;  // by the parser; the item is complete
  };

  TurnItems(TurnEvents& events, std::int64_t turn_id) : events_(events), turn_id_(turn_id) {}

  struct Drawn {  // tokens of this answer, up to the end of what is heard
    std::int64_t all = 0, thinking = 0;
  };

  void begin_answer();  // the last one's calls are forgotten
  // Several tokens come at once where they were guessed: `drawn` is the same for all their events.
  void hear(engine::Event event, Drawn drawn);
  void close();                               // what is being said is complete
  void said_before(const std::string& text);  // the answer's text begins with it
  void drop_calls(const std::string& why);    // they will not run

  protocol::Item make(protocol::Item item);  // its id and turn are filled in
  void complete(protocol::Item item) { events_.item_completed(make(std::move(item))); }

  std::vector<Call>& calls() { return calls_; }
  const std::vector<Call>& calls() const { return calls_; }
  bool said_anything() const { return said_anything_; }  // text or a call
  const std::string& said() const { return said_; }      // the answer's text

 private:
  void text(const char* kind, const std::string& piece);
  std::int64_t n_of(const protocol::Item& item, Drawn drawn) const;
  Call& begin_call(const std::string& name);

  TurnEvents& events_;
  const std::int64_t turn_id_;
  std::vector<Call> calls_;
  std::unique_ptr<protocol::Item> open_;    // think or text
  Drawn drawn_, drawn_before_, opened_at_;  // before_: what came with drawn_
  std::int64_t n_items_ = 0;
  bool said_anything_ = false;
  std::string said_;
};

}  // namespace lares::daemon
