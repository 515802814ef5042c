// The prompt, byte for byte: what stands before every session, and how its turns are written behind
// it, in the format of engine/chat.h.
//
//   BOS effort SYSTEM "\n\n" TOOLS       constant: prompt_head()
//   REPOSITORY                           plain text: daemon/residency/compose.h
//   <｜User｜>CHANGES The repository is at ROOT.\n\nASKED TASK<｜Assistant｜><think>
//                                        begin_session()
//   ... the model's answer, EOS ...
//   <｜User｜><tool_result>...</tool_result>...<｜Assistant｜><think>
//                                        continue_session()
//
// What people, files and tools wrote is plain text: a control token spelled there is ordinary
// characters (Segment in engine/tokenizer.h).
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "engine/grammar.h"
#include "engine/tokenizer.h"

namespace lares::daemon {

inline constexpr std::string_view kSystem = "You are a helpful software engineer assistant.";
inline constexpr std::string_view kEffort = "max", kGeneration = "preview";

// The tools in the order every prompt shows them.
const std::vector<engine::ToolSpec>& catalogue();

// Of them, those that a turn may call which changes nothing. Where one has a `command`, its schema
// has only the commands of which some call changes nothing.
const std::vector<engine::ToolSpec>& reading_catalogue();

std::string prompt_head();

// What follows the repository. `changes`: what is no longer as it shows it
// (daemon/residency/overlay.h); `asked`: what is asked of agents (instructions.h); both may be
// empty.
std::vector<engine::Segment> begin_session(const std::string& changes, const std::string& root,
                                           const std::string& task, const std::string& asked = "");

// After an answer that called tools, `results` has one text per call, in order; after one that did
// not it is empty. `said` are texts for the model behind them: what the user wrote meanwhile,
// reminders, or the next task.
std::vector<engine::Segment> continue_session(const std::vector<std::string>& results,
                                              const std::vector<std::string>& said);

// What continue_session() begins with when `results` are the first ones and the next is going to
// begin with `so_far`.
std::vector<engine::Segment> begin_result(const std::vector<std::string>& results,
                                          std::string_view so_far);

}  // namespace lares::daemon
