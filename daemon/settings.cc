#include "daemon/settings.h"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <sstream>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "daemon/nearest.h"
#include "daemon/protocol/listen_address.h"
#include "daemon/protocol/policies.h"

namespace lares::daemon {
namespace {

using Kind = Setting::Kind;
using json = nlohmann::ordered_json;

constexpr std::size_t kSettingsBytesMax = 1 << 20;

constexpr Setting kSettings[] = {
    {"model", "its checkpoint", "nano, which comes with Lares", Kind::path, 0, 0, {}, true},
    {"memory", "GB for weights and all sessions", "what is free", Kind::number, 0, 1e6, {}, true},
    {"device", "what computes it; auto: the CPU as yet", "auto", Kind::device, 0, 0,
     "auto cpu cuda cuda:1 cuda:0,1", true},
    {"gpu_memory", "GB of each GPU that may be taken", "all of it", Kind::number, 0, 1e6, {}, true},
    {"remote", "address of an engine elsewhere", "none", Kind::url, 0, 0, {}, true},
    {"threads", "threads of the engine", "the daemon's CPUs", Kind::whole, 0, 1024, {}, true},
    {"context", "tokens a session may hold", "what the model can", Kind::whole, 0, 1e9, {}, true},
    {"resident", "tokens of a repository at hand", "262144 at most", Kind::whole, 0, 1e9, {}, true},
    {"effort", "how hard it thinks for clients over HTTP", "max", Kind::word, 0, 0, "low high max",
     true},
    {"socket", "listens here", "", Kind::path, 0, 0, {}, true},
    {"listen", "where HTTP is served over TCP too", "nowhere", Kind::address, 0, 0, {}, true},
    {"listen_without_token", "clients over TCP need no token", "false", Kind::flag, 0, 0, {}, true},
    {"state_dir", "sessions, log", "", Kind::path, 0, 0, {}, true},
    {"idle_days", "days until an idle session is put away", "90", Kind::whole, 1, 1e5, {}, true},
    {"closed_disk", "GB that closed sessions may take", "4", Kind::number, 1, 1e6, {}, true},
    {"network_allow",
     "hosts that commands may reach by HTTP(S)",
     "none",
     Kind::hosts,
     0,
     0,
     {},
     true},
    {"command_timeout",
     "seconds until a command is ended",
     "300",
     Kind::whole,
     1,
     86'400,
     {},
     true},
    {"policy", "what new sessions may change unasked", "auto", Kind::word, 0, 0,
     protocol::kPolicyIds},
    {"wake", "goes on when a background job ends", "attended", Kind::word, 0, 0,
     "attended always never", true},
    {"temperature", "of sampling; 0 is greedy", "the checkpoint's own", Kind::number, 0, 10},
    {"steps", "answers of the model in a turn, at most", "200", Kind::whole, 1, 1e6},
    {"bell", "rings when a turn ends or asks", "away", Kind::word, 0, 0, "away always never"},
    {"hide_thinking", "lares run and the like show no thinking", "false", Kind::flag},
};

std::string environment(const char* name) {
  const char* const value = std::getenv(name);
  return value ? value : "";
}

std::string normal(std::string_view key) {
  std::string out(key);
  std::replace(out.begin(), out.end(), '-', '_');
  return out;
}

std::string range_text(const Setting& s) {
  return fmt::format("from {:.0f} to {:.0f}", s.low, s.high);
}

std::string what_it_must_be(const Setting& s) {
  switch (s.kind) {
    case Kind::path:
      return "an absolute path";
    case Kind::number:
      return "a number " + range_text(s);
    case Kind::whole:
      return "a whole number " + range_text(s);
    case Kind::flag:
      return "true or false";
    case Kind::device:
      return "auto, cpu, cuda, or GPUs by their numbers: cuda:1, cuda:0,1";
    case Kind::hosts:
      return "hosts with blanks between them, such as `pypi.org *.pythonhosted.org localhost:8080`";
    case Kind::address:
      return std::string(kListenAddressForm);
    case Kind::url:
      return "an address such as http://127.0.0.1:8000, with #MODEL behind it where the server has "
             "several models";
    case Kind::word:
      break;
  }
  return "one of: " + std::string(s.words);
}

bool among(std::string_view words, std::string_view word) {
  for (std::size_t at = 0; at <= words.size();) {
    const std::size_t end = std::min(words.find(' ', at), words.size());
    if (words.substr(at, end - at) == word) return true;
    at = end + 1;
  }
  return false;
}

// "cuda:1", "cuda:0,1". Whether there are such GPUs, and each once, the engine says.
bool is_cuda_list(std::string_view text) {
  constexpr std::string_view kPrefix = "cuda:";
  constexpr std::size_t kDigitsMax = 4;
  if (!text.starts_with(kPrefix)) return false;
  std::size_t digits = 0;
  for (const char c : text.substr(kPrefix.size())) {
    if (c == ',' ? digits == 0 : c < '0' || c > '9' || digits == kDigitsMax) return false;
    digits = c == ',' ? 0 : digits + 1;
  }
  return digits > 0;
}

// Of the member `key`, for people; 0: not found.
std::size_t line_of(std::string_view text, const std::string& key) {
  const std::string quoted = '"' + key + '"';
  for (std::size_t at = text.find(quoted); at != std::string_view::npos;
       at = text.find(quoted, at + 1)) {
    const auto next = text.find_first_not_of(" \t\r\n", at + quoted.size());
    if (next != std::string_view::npos && text[next] == ':')
      return 1 + static_cast<std::size_t>(std::count(
                     text.begin(), text.begin() + static_cast<std::ptrdiff_t>(at), '\n'));
  }
  return 0;
}

std::string broken_line(const std::string& path, std::size_t line, std::string_view why,
                        std::string_view hint) {
  return fmt::format("read the settings in {}{}: {}; {}", path,
                     line > 0 ? fmt::format(", line {}", line) : "", why, hint);
}

tl::unexpected<std::string> broken(const std::string& path, std::size_t line,
                                   std::string_view why) {
  return tl::unexpected(broken_line(path, line, why, "mend it, or move the file away"));
}

struct File {
  std::string text;
  nlohmann::ordered_json object = nlohmann::ordered_json::object();
};

tl::expected<File, std::string> read_file(const std::string& path) {
  File file;
  errno = 0;
  std::ifstream in(path, std::ios::binary);
  if (!in && errno == ENOENT) return file;
  if (in) {
    file.text.resize(kSettingsBytesMax + 1);
    in.read(file.text.data(), static_cast<std::streamsize>(file.text.size()));
    file.text.resize(static_cast<std::size_t>(in.gcount()));
  }
  if (!in.eof())
    return broken(path, 0,
                  errno != 0 ? std::strerror(errno)
                             : fmt::format("it is longer than {} bytes", kSettingsBytesMax));
  try {
    file.object = nlohmann::ordered_json::parse(file.text);
  } catch (const json::parse_error& e) {
    std::string_view why = e.what();
    if (const auto at = why.find(": "); at != std::string_view::npos) why.remove_prefix(at + 2);
    const auto before = file.text.begin() + static_cast<std::ptrdiff_t>(std::min(
                                                e.byte > 0 ? e.byte - 1 : 0, file.text.size()));
    return broken(path, 1 + static_cast<std::size_t>(std::count(file.text.begin(), before, '\n')),
                  why);
  }
  if (!file.object.is_object()) return broken(path, 1, "it must hold an object, {...}");
  return file;
}

}  // namespace

std::span<const Setting> settings_table() { return kSettings; }

const Setting* find_setting(std::string_view key) {
  const std::string wanted = normal(key);
  const auto at = std::find_if(std::begin(kSettings), std::end(kSettings),
                               [&](const Setting& s) { return s.key == wanted; });
  return at == std::end(kSettings) ? nullptr : at;
}

std::string_view nearest_setting(std::string_view key) {
  std::vector<std::string_view> keys;
  for (const Setting& s : kSettings) keys.push_back(s.key);
  return slip_of(normal(key), keys);
}

std::string environment_name(const Setting& setting) {
  std::string name = "LARES_";
  for (const char c : setting.key)
    name += c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
  return name;
}

tl::expected<std::string, std::string> settings_path() {
  if (const std::string config = environment("XDG_CONFIG_HOME"); config.starts_with('/'))
    return config + "/lares/config.json";
  const std::string home = environment("HOME");
  if (!home.starts_with('/'))
    return tl::unexpected<std::string>(
        "find the settings: HOME is not set; set it, or XDG_CONFIG_HOME to a directory");
  return home + "/.config/lares/config.json";
}

tl::expected<json, std::string> setting_value(const Setting& s, const std::string& text) {
  const char* const begin = text.data();
  const char* const end = begin + text.size();
  if (s.kind == Kind::number) {
    double value = 0;
    const auto [last, ec] = std::from_chars(begin, end, value);
    if (ec == std::errc() && last == end && std::isfinite(value) && value >= s.low &&
        value <= s.high)
      return value == std::floor(value) ? json(static_cast<std::int64_t>(value)) : json(value);
  } else if (s.kind == Kind::whole) {
    std::int64_t value = 0;
    const auto [last, ec] = std::from_chars(begin, end, value);
    if (ec == std::errc() && last == end && static_cast<double>(value) >= s.low &&
        static_cast<double>(value) <= s.high)
      return json(value);
  } else if (s.kind == Kind::flag) {
    if (text == "true" || text == "false") return json(text == "true");
  } else if (s.kind == Kind::word) {
    if (among(s.words, text)) return json(text);
  } else if (s.kind == Kind::device) {
    if (among(s.words, text) || is_cuda_list(text)) return json(text);
  } else if (s.kind == Kind::hosts) {
    constexpr std::string_view kOfHosts =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-.*:[] ";
    if (text.find_first_not_of(kOfHosts) == std::string::npos) return json(text);
  } else if (s.kind == Kind::address) {
    if (parse_listen_address(text)) return json(text);
  } else if (s.kind == Kind::url) {
    const bool plain = std::ranges::all_of(text, [](char c) { return c > ' ' && c < 127; });
    if (plain && (text.starts_with("http://") || text.starts_with("https://"))) return json(text);
  } else if (text.starts_with('/') && text.find('\0') == std::string::npos) {
    return json(text);
  }
  return tl::unexpected(fmt::format("{} must be {}", s.key, what_it_must_be(s)));
}

tl::expected<nlohmann::ordered_json, std::string> read_settings_file(const std::string& path) {
  auto file = read_file(path);
  if (!file) return tl::unexpected(std::move(file.error()));
  return std::move(file->object);
}

tl::expected<Settings, std::string> Settings::load() {
  Settings out = load_sound();
  if (!out.faults_.empty()) return tl::unexpected(out.faults_.front().line);
  return out;
}

Settings Settings::load_sound() {
  Settings out;
  if (auto path = settings_path()) {
    out.path_ = *path;
    out.take_file();
  }
  out.take_environment();
  return out;
}

void Settings::take_file() {
  const auto file = read_file(path_);
  if (!file) {
    faults_.push_back({"", "", file.error(), false, file.error()});
    return;
  }
  std::string unknown;
  for (const auto& [key, value] : file->object.items()) {
    const Setting* const s = find_setting(key);
    if (!s) {
      const std::string_view near = nearest_setting(key);
      unknown += fmt::format("{}{}{}", unknown.empty() ? "" : ", ", key,
                             near.empty() ? "" : fmt::format(" (near {})", near));
      continue;
    }
    const bool is_text = s->kind != Kind::number && s->kind != Kind::whole && s->kind != Kind::flag;
    const std::string text = value.is_string() ? value.get<std::string>() : value.dump();
    if (value.is_string() == is_text && setting_value(*s, text)) {
      values_[std::string(s->key)] = {text, false};
      continue;
    }
    const std::string why = fmt::format("{} must be {}, and is {}", key, what_it_must_be(*s),
                                        value.dump(-1, ' ', false, json::error_handler_t::replace));
    const std::string hint = fmt::format(
        "mend it, or move the file away; `lares config unset {}` takes it out", key);
    faults_.push_back({std::string(s->key),
                       value.dump(-1, ' ', false, json::error_handler_t::replace), why, false,
                       broken_line(path_, line_of(file->text, key), why, hint)});
  }
  if (!unknown.empty())
    warnings_.push_back(fmt::format(
        "{}: not known, so left alone: {}; `lares config` lists what is", path_, unknown));
}

void Settings::take_environment() {
  for (const Setting& s : kSettings) {
    const std::string name = environment_name(s), text = environment(name.c_str());
    if (text.empty()) continue;
    // A path from the environment may be one of the shell's current directory; whoever uses it says
    // what is wrong with it.
    const auto checked = setting_value(s, text);
    if (s.kind == Kind::path || checked) {
      values_[std::string(s.key)] = {text, true};
      continue;
    }
    faults_.push_back(
        {std::string(s.key), text, checked.error(), true,
         fmt::format("read {}={}: {}; unset it or set it to that", name, text, checked.error())});
  }
}

const Settings::Value* Settings::find(std::string_view key) const {
  const auto at = values_.find(key);
  return at == values_.end() ? nullptr : &at->second;
}

std::optional<std::string> Settings::text(std::string_view key) const {
  const Value* const value = find(key);
  return value ? std::optional(value->text) : std::nullopt;
}

std::optional<double> Settings::number(std::string_view key) const {
  const Value* const value = find(key);
  return value ? std::optional(std::strtod(value->text.c_str(), nullptr)) : std::nullopt;
}

std::optional<std::int64_t> Settings::whole(std::string_view key) const {
  const Value* const value = find(key);
  return value ? std::optional<std::int64_t>(std::strtoll(value->text.c_str(), nullptr, 10))
               : std::nullopt;
}

std::vector<std::string> Settings::list(std::string_view key) const {
  std::vector<std::string> out;
  std::istringstream words(text(key).value_or(""));
  for (std::string word; words >> word;) out.push_back(word);
  return out;
}

std::optional<bool> Settings::flag(std::string_view key) const {
  const Value* const value = find(key);
  return value ? std::optional(value->text == "true") : std::nullopt;
}

}  // namespace lares::daemon
