// What goes to clients beside a thought so that they send it back: they take it for a provider's
// secret and keep it as it is.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace lares::daemon {

// A name of the text: Messages clients send a thinking block back only with a signature, and with
// its text. Whatever signature they send, it is the text that counts; a conversation begun with
// another model has that one's.
std::string thought_signature(std::string_view text);

// The text itself: some Responses clients send back nothing else. nullopt: not one of ours.
std::string sealed_thought(std::string_view text);
std::optional<std::string> unsealed_thought(std::string_view sealed);

}  // namespace lares::daemon
