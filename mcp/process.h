// One server's process under the launcher that ends all it has started, and the pipes to it.
#pragma once

#include <sys/types.h>

#include <string>
#include <tl/expected.hpp>
#include <utility>

#include "mcp/mcp.h"

namespace lares::mcp {

// Where servers start, and the program that they start under.
struct Place {
  std::string root;      // absolute
  std::string launcher;  // path of lares-sandbox
  std::string start;     // a directory for them, made where it is missing; "" is the root
};

// A server and all that it has started, wherever that went: into other groups and sessions, or left
// behind by whoever started it. Whoever holds it last ends it.
class Tree {
 public:
  Tree() = default;
  Tree(pid_t launcher, int life) : launcher_(launcher), life_(life) {}
  Tree(Tree&& other) noexcept { *this = std::move(other); }
  Tree& operator=(Tree&& other) noexcept;
  ~Tree() { kill(); }

  void terminate() const;  // asks the server politely
  void begin_kill();       // its end shows at Child::pidfd
  // Ends it, and returns how the server ended: "exit status 1", "killed by signal 9". Waits for
  // that, kTreeEndsWithin at most.
  std::string kill();

 private:
  pid_t launcher_ = -1;
  int life_ = -1;  // while it is open, the launcher waits; it closes with this process, however
                   // that ends
};

struct Child {
  Tree tree;
  int in = -1, out = -1, err = -1;  // our ends, non-blocking: its stdin, stdout, stderr
  int pidfd = -1;  // readable when the server and all that it has started have ended
};

// Starts it in place.start (or the server's own cwd, relative to the root) with a short
// environment: HOME, PATH and the like, and what the configuration adds. It has the user's rights,
// so neither it nor what runs it (npx, python3 -m) is looked for in the root, where a command, or
// whoever wrote the repository, could have put another: not in the current directory, not by way of
// PATH. It ends with this process, even when that is killed. The reason follows "could not be
// started: ".
tl::expected<Child, std::string> start_child(const ServerConfig& server, const Place& place);

}  // namespace lares::mcp
