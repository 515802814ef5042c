// What `lares doctor` finds out about work in the repository one is in, before a session begins
// there: the repository, and what the user has configured for every session.
#pragma once

#include <string>
#include <vector>

namespace lares::cli {

struct Finding {
  enum class Kind { good, note, bad } kind;
  std::string about, text;
};

// Of the directory one is in: only what costs something.
void look_at_repository(std::vector<Finding>& out);
// What is wrong with the user's mcp.json and hooks.json, and what is in them. Starts nothing.
void look_at_servers_and_hooks(std::vector<Finding>& out);
// Where no daemon runs: whether one would find a model.
void look_at_model_directory(std::vector<Finding>& out);

}  // namespace lares::cli
