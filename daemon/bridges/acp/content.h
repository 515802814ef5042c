// What a prompt's blocks say, as the model reads it.
#pragma once

#include <string>
#include <vector>

#include "daemon/bridges/acp/message.h"
#include "daemon/bridges/acp/root.h"

namespace lares::cli::acp {

struct Prompt {
  std::string text;
  std::vector<std::string> files;  // absolute paths that it names
};
// Text, links and embedded text; nothing else is taken.
Reply<Prompt> read_prompt(const Json& blocks, const Root& root);

// The path of a file:// address, without its fragment; empty: it is none.
std::string path_of_uri(const std::string& uri);

}  // namespace lares::cli::acp
