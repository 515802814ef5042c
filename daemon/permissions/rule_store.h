// The rules that outlive a session: the user's, and those of each repository. They lie in the state
// directory and never in a repository, where what the model writes could change them.
#pragma once

#include <string>
#include <vector>

#include <tl/expected.hpp>

#include "daemon/protocol/protocol.h"

namespace lares::daemon {

inline constexpr std::size_t kRulesMax = 1000;  // of one file

class RuleStore {
 public:
  explicit RuleStore(std::string directory)
      : directory_(std::move(directory)) {}  // made when a rule is added; its parent is there

  // The user's, then the repository's; each has its scope. A file that cannot be read as rules is
  // an error: it may have denied something.
  tl::expected<std::vector<protocol::PermissionRule>, std::string> of(
      const std::string& root) const;
  // By its scope, "repository" or "user". One that is there already is not added twice; one that
  // says otherwise of the same takes its place.
  tl::expected<void, std::string> add(const std::string& root,
                                      const protocol::PermissionRule& rule);
  // false: there is none
  tl::expected<bool, std::string> remove(const std::string& root,
                                         const protocol::PermissionRule& rule);

 private:
  std::string file(const std::string& root, const std::string& scope) const;
  tl::expected<std::vector<protocol::PermissionRule>, std::string> read(
      const std::string& root, const std::string& scope) const;
  tl::expected<void, std::string> write(const std::string& root, const std::string& scope,
                                        const std::vector<protocol::PermissionRule>& rules) const;

  std::string directory_;
};

}  // namespace lares::daemon
