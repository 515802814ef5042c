// What a session's model knows of the repository beyond its base, as the journal holds it: a record
// of all of it, then of what changed since the record before.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "daemon/residency/view.h"

namespace lares::daemon {

// Read back.
struct WasShown {
  struct File {
    std::string blob;  // of text; else as it was when it was last told, empty: not known
    Seen::State state = Seen::State::hidden;  // absent, text or hidden
    bool operator==(const File&) const = default;
  };
  std::map<std::string, File, std::less<>> files;
  std::vector<std::string> hidden_below;  // directories; a file of `files` is known all the same

  void take(const nlohmann::ordered_json& record);
};

class ShownRecord {
 public:
  // What is to be recorded of `view` now; nullopt: nothing changed.
  std::optional<nlohmann::ordered_json> next(const View& view);
  // Another record says something else of this file: what the view says of it is recorded again.
  void told(const std::string& path) { told_.insert(path); }
  // The next one begins anew.
  void forget() { *this = {}; }

 private:
  std::map<std::string, WasShown::File, std::less<>> files_;
  std::set<std::string, std::less<>> hidden_below_, told_;
  bool begun_ = false;
};

}  // namespace lares::daemon
