// All that came of a call, where the model was given its beginning and its end.
#pragma once

#include <cstddef>
#include <string>

namespace lares::cli {

// Of a call's output that is on disk so much is shown, as far as lines are whole.
inline constexpr std::size_t kWholeOutputBytesMax = 1u << 20;

// `output` as the model was given it (tools/clip.h), with the file below `state_dir` that it names
// in the place of what was left out. Where there is none, in words for a person.
std::string whole_output(const std::string& output, const std::string& state_dir);

}  // namespace lares::cli
