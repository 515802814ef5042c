// When the context is nearly full, or the user asks for it: the conversation is begun anew with a
// summary in its place, which the model writes itself while it still has all of it before it. The
// repository stays as it is, word for word, and so do the user's own words.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace lares::daemon {

inline constexpr std::int64_t kRoomTokens = 65'536;  // that an answer should find ...
inline constexpr std::int64_t kRoomShare = 8;        // ... or this part of a shorter context
// Of the context: a shorter conversation is not what fills it
inline constexpr std::int64_t kConversationShare = 4;
// That of a shorter context
inline constexpr std::int64_t kSummaryTokensMax = 16'384, kSummaryShare = 16;
inline constexpr std::int64_t kSummaryThinkShare = 4;         // of a summary's tokens: reasoning
inline constexpr std::size_t kUserWordsBytesMax = 64u << 10;  // of earlier prompts, the newest
                                                              // first ...
inline constexpr std::int64_t kBytesShare = 4;  // ... or one for so many tokens of a shorter
                                                // context

// Whether a prompt of n_prompt tokens, of which n_repository stand before the conversation, leaves
// too little of the context.
bool is_crowded(std::int64_t n_prompt, std::int64_t n_repository, std::int64_t n_context);

// A prompt that is "/compact", with or without what the summary is to keep behind it.
bool asks_for_summary(std::string_view prompt);

std::int64_t summary_tokens_max(std::int64_t n_context);
std::string summary_request();
std::string summary_request(std::string_view prompt);  // of one that asks for it

// What the conversation begins anew with. `words`: what the user asked, oldest first, as far as
// they fit into `bytes_max`; `next`: what the model has to do now.
std::string anew(const std::string& summary, const std::vector<std::string>& words,
                 const std::string& next, std::size_t bytes_max = kUserWordsBytesMax);
std::size_t user_words_bytes_max(std::int64_t n_context);

// Cuts the middle out of those that are too long for all of them to have `bytes_max` at most.
// False: none is.
bool clip(std::vector<std::string>& results, std::size_t bytes_max);

}  // namespace lares::daemon
