// What the agent loop may know about a tool; nothing here is about any one tool.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <boost/asio/awaitable.hpp>
#include <nlohmann/json_fwd.hpp>
#include <tl/expected.hpp>

namespace lares::tools {

namespace asio = boost::asio;

enum class Errc { broken, cancelled };
struct Error {
  Errc code;
  std::string message;
};
template <class T = void>
using Result = tl::expected<T, Error>;

// `schema` is the JSON Schema of the parameters, as text. All three stand in every prompt, so they
// are short.
struct Spec {
  std::string name, description, schema;
};

// A file that a call changed, for clients that show diffs. `diff` is unified, bounded, and empty
// for binary files.
struct Change {
  std::string path;  // relative to the worktree
  std::string diff;
  // Names of the contents, equal where they are; kNoFile where there is none
  std::string before, after;
  std::string shown;  // of `after` as the model is shown it (text.h), as a SourceFile's blob
};
inline constexpr std::string_view kNoFile = "none";

struct Outcome {
  std::string text;  // what the model reads: bounded, and it says where it was cut
  bool ok = true;    // false: it ran and failed, or the arguments were unusable; the text says why
                     // and what to do
  std::vector<Change> changes;
  bool disk = false;  // it failed because nothing can be written, whatever the arguments: the disk
                      // is full, or read-only
};

// Which values an argument may take, when the tool knows more than the schema says.
struct Choices {
  std::vector<std::string> one_of;
  std::string substring_of;  // when one_of is empty: a stretch of this text ...
  bool unique = false;       // ... that occurs there once
};

// Output while a call runs, for people; at most ten times a second.
using OnOutput = std::function<void(const std::string& text)>;

class Tool {
 public:
  virtual ~Tool() = default;
  virtual const Spec& spec() const = 0;
  virtual bool mutates(const nlohmann::json& args) const = 0;  // in doubt, true
  // Outcome::changes names every file of the worktree that the call changes.
  virtual bool tells_changes(const nlohmann::json& /*args*/) const { return false; }
  // What is called by its name in a turn that changes nothing, as long as its calls do not mutate:
  // it is asked for its own news in such a turn. Null: nothing. What stands in for a tool may also
  // be called where a call would mutate: it then says why it does not.
  virtual Tool* for_reading() { return this; }
  // What happened since the last call that the model should hear of, a job's end for instance;
  // empty: nothing.
  virtual asio::awaitable<std::string> news() { co_return std::string(); }
  // nullopt: anything the schema allows. `so_far`: the arguments already written, (key, text).
  virtual std::optional<Choices> choices(
      const std::string& /*key*/,
      const std::vector<std::pair<std::string, std::string>>& /*so_far*/) const {
    return std::nullopt;
  }
  // Error: the harness is broken and the turn ends. What the model can react to is an Outcome.
  // Cancelling the coroutine (asio cancellation) kills what runs and returns an Error with
  // Errc::cancelled.
  virtual asio::awaitable<Result<Outcome>> run(nlohmann::json args, OnOutput on_output) = 0;
};

}  // namespace lares::tools
