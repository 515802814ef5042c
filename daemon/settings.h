// What a user may set once instead of on every command line: the table of settings, and the values
// that hold. A value comes from the command line (whoever parses that looks there first), else the
// environment, else the user's file, else it is the default.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json_fwd.hpp>
#include <tl/expected.hpp>

namespace lares::daemon {

struct Setting {
  enum class Kind { path, number, whole, word, device, flag, hosts, address, url };
  std::string_view key, what;
  std::string_view usual;  // in words, where nothing is set; empty: the caller computes it
  Kind kind = Kind::path;
  double low = 0, high = 0;     // number, whole
  std::string_view words = {};  // word: "auto ask"; device: and any GPUs in the form of the last
  bool of_daemon = false;       // read when it starts
};
std::span<const Setting> settings_table();
const Setting* find_setting(std::string_view key);  // "state-dir" is state_dir
std::string_view nearest_setting(std::string_view key);
std::string environment_name(const Setting& setting);  // LARES_STATE_DIR

// $XDG_CONFIG_HOME/lares/config.json, else ~/.config/lares/config.json; an object with a member for
// each setting.
tl::expected<std::string, std::string> settings_path();

// `text` as a value of the setting; the error says what it must be.
tl::expected<nlohmann::ordered_json, std::string> setting_value(const Setting& setting,
                                                                const std::string& text);

class Settings {
 public:
  // The error is one line: a file that cannot be read, is no JSON, or holds a value that makes no
  // sense, with its line; or a variable. Nothing is taken from a file that is wrong anywhere.
  static tl::expected<Settings, std::string> load();
  // The same for what is to mend them: what makes no sense is left out and told, one line each. An
  // empty key: the whole file.
  struct Fault {
    std::string key, value, why;
    bool from_environment = false;
    std::string line;  // where it is, why, and what to do
  };
  static Settings load_sound();
  const std::vector<Fault>& faults() const { return faults_; }

  struct Value {
    std::string text;
    bool from_environment = false;
  };
  const Value* find(std::string_view key) const;  // null: the default holds
  std::optional<std::string> text(std::string_view key) const;
  std::optional<double> number(std::string_view key) const;
  std::optional<std::int64_t> whole(std::string_view key) const;
  std::optional<bool> flag(std::string_view key) const;
  std::vector<std::string> list(std::string_view key) const;  // of hosts

  const std::string& path() const { return path_; }
  const std::vector<std::string>& warnings() const {
    return warnings_;
  }  // unknown members of the file; at most one line

 private:
  void take_file();
  void take_environment();

  std::string path_;
  std::map<std::string, Value, std::less<>> values_;
  std::vector<std::string> warnings_;
  std::vector<Fault> faults_;
};

// The object in the file at `path`; an empty one where there is none.
tl::expected<nlohmann::ordered_json, std::string> read_settings_file(const std::string& path);

}  // namespace lares::daemon
