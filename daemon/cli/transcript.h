// What a person reads while a turn runs: thinking, tool calls, their output, diffs, the answer.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "daemon/cli/terminal/prose.h"
#include "daemon/cli/terminal/screen.h"
#include "daemon/cli/terminal/wrap.h"
#include "daemon/shown/asked_call.h"

namespace lares::cli {

// A tool call's arguments as one line: a command, or what is done to which file. `root` is cut from
// paths.
std::string summarise_call(std::string_view tool, const nlohmann::json& arguments,
                           std::string_view root);

// A file that a call changed.
struct ChangedFile {
  std::string path, diff;
};

// The transcript goes to `screen` (stderr). The answer, the text after the last tool call, goes to
// stdout and nothing else does, so that `lares ask ... > answer` holds the answer alone.
class Transcript {
 public:
  struct Options {
    bool answer_live = false;  // stdout is the same terminal: show the answer while it is written
    bool show_thinking = true;
    int output_lines_max = 14;  // of one call; a diff gets three times as many
    // Of a call's output its first line, or its last ones where it failed, and how many more there
    // are
    bool fold_output = false;
  };
  Transcript(Screen& screen, Options options);

  // Paths below `root` are shown without it.
  void set_root(std::string root) { root_ = std::move(root); }

  void think(std::string_view delta);
  void text(std::string_view delta);
  void call(std::string_view tool, const nlohmann::json& arguments);
  void result(bool ok, std::string_view output, const std::vector<ChangedFile>& changes);
  // What the user wrote; `how` it is delivered, or nothing
  void said(std::string_view prompt, std::string_view how);
  void note(Style style, std::string_view line);  // something the daemon or the CLI has to say
  void complete();  // what was thought or said last is whole: no word of it is held back any more
  void finish();    // the text shown last was the answer
  void thought(std::string_view how_long);                       // instead of the thinking itself
  void beginning(std::string_view text, std::size_t lines_max);  // of an answer given earlier
  void lines(std::string_view text);  // as they are, as far as they are printable
  void show_thinking(bool show) { options_.show_thinking = show; }
  bool shows_thinking() const { return options_.show_thinking; }
  void diff(const ChangedFile& change, int lines_max);
  void asked(const shown::AskedCall& call);  // the last one that was shown, as far as it was not
  void resized();                            // what is being written goes on in the new width

 private:
  enum class Open { nothing, thinking, text };
  void close();
  void aside();
  void open_paragraph();
  void show_plan(std::string_view steps);
  void show_output(bool ok, std::string_view output);
  void show_output_folded(bool ok, std::string_view output);
  int thinking_columns() const;
  std::string call_summary(std::string_view tool, const nlohmann::json& arguments) const;
  std::string mark(std::string_view utf8, std::string_view ascii) const;

  Screen& screen_;
  Options options_;
  std::string root_, tool_;
  // The line of the last call shows all that it does, but for an edit's lines
  bool called_whole_ = false;
  Open open_ = Open::nothing;
  std::optional<Wrap> thinking_;
  std::optional<Prose> prose_;
  std::string held_text_;  // text that is not live: an answer or, if a call follows, a comment
  bool something_above_ = false;
};

}  // namespace lares::cli
