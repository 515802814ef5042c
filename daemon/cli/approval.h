// What a person is asked: whether a call may run, with what the line they type means, and what the
// model wants to know.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "daemon/cli/transcript.h"
#include "daemon/protocol/protocol.h"

namespace lares::cli {

// All of the call that its line does not show, and then the question and what may be typed.
void show_asking(Transcript& transcript, const daemon::protocol::Item& item);
void show_question(Transcript& transcript, const daemon::protocol::Item& item);
// What may be typed: "y once, t this turn, s this session, r this repository, a always (npm test
// *); n no, or say what to do instead".
std::string approval_choices(const daemon::protocol::Item& item);
// Nothing: the line says nothing, is the letter of a choice that this call does not have, or begins
// as a yes does and is none ("ok", "yes please"), so it asks again; of the last kind once, which
// `doubted` remembers. What is no choice at all is a denial that tells the model so.
std::optional<daemon::protocol::ApprovalReply> approval_of(std::string_view line,
                                                           const daemon::protocol::Item& item,
                                                           bool& doubted);
// Of a line that is no such choice, what a person is told: "there is no t for this call: y once;
// ...", or what is meant by it.
std::string not_offered(std::string_view line, const daemon::protocol::Item& item);

}  // namespace lares::cli
