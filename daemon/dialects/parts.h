// An answer as the parts it is made of, one after the other: what was thought, what was said, every
// call. Both dialects with typed parts are written out of these.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/dialects/wire.h"
#include "daemon/http/exchange.h"

namespace lares::daemon {

struct Part {
  enum class Kind { reasoning, content, call } kind = Kind::content;
  std::size_t index = 0;  // of all parts
  std::string text;       // of a call: its arguments, which are an object once it is whole
  int call = -1;          // Kind::call: the events' own index
  std::string id, name;
  bool whole = false;  // the model ended it itself
};

// However the events were cut, the parts are the same, and no piece ends within a character.
class Parts {
 public:
  virtual ~Parts() = default;
  void add(const GenerationEvent& event);
  const std::vector<Part>& parts() const { return parts_; }

 protected:
  virtual void opened(const Part&) {}
  virtual void extended(const Part&, std::string_view /*piece*/) {}
  virtual void closed(const Part&) {}
  void close(bool whole);  // what is open, if something is

 private:
  void text(Part::Kind kind, std::string_view piece);
  void open(Part part);
  void extend(std::string_view piece);
  void flush();  // what is held, as it is
  void done(const CallDone& call);

  std::vector<Part> parts_;
  bool open_ = false;  // the last of them
  std::string held_;   // the beginning of a character, until the rest comes
};

// What one dialect makes of an answer. As a stream: begin(), add(), end(), and take() whenever
// there is somebody to send it to.
class DialectAnswer : public Parts {
 public:
  virtual void begin(std::int64_t prompt_tokens) = 0;
  virtual void end(const GenerationEnd& end) = 0;  // with the terminal event, whatever the reason
  // Instead of the stream: of what is_answer(), after end()
  virtual WireJson whole(const GenerationEnd& end) const = 0;
  std::string take();
  // Of a stream in which nothing is said for a while; it may outlive this.
  virtual Exchange::KeepAlive keep_alive() const;

 protected:
  std::string out_;
};

// Both tell `generation` to its end, which `reader` hastens when it leaves.
class Reader;
asio::awaitable<void> stream_answer(Exchange& exchange, Reader& reader, Generation& generation,
                                    DialectAnswer& answer, HttpReply head);
asio::awaitable<tl::expected<WireJson, WireError>> whole_answer(Exchange& exchange,
                                                                Generation& generation,
                                                                DialectAnswer& answer);

}  // namespace lares::daemon
