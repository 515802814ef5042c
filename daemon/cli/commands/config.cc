// lares config: what may be set once, where each value comes from, and setting it.
#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>

#include "daemon/cli/commands/commands.h"
#include "daemon/cli/exit_status.h"
#include "daemon/cli/options.h"
#include "daemon/cli/settings_file.h"
#include "daemon/cli/terminal/output.h"
#include "daemon/cli/terminal/print.h"
#include "daemon/cli/terminal/screen.h"
#include "daemon/protocol/nano_directory.h"
#include "daemon/protocol/socket_path.h"
#include "daemon/protocol/wire.h"
#include "daemon/settings.h"
#include "daemon/shown/text.h"

namespace lares::cli {

namespace fs = std::filesystem;
namespace protocol = daemon::protocol;

namespace {

using daemon::Setting;
using daemon::Settings;
using protocol::Json;

struct Shown {
  std::string value, from;
  Json json;          // null: in words alone
  std::string fault;  // why the value makes no sense
};

const Settings::Fault* fault_of(const Setting& s, const Settings& settings) {
  const auto at = std::ranges::find(settings.faults(), s.key, &Settings::Fault::key);
  return at == settings.faults().end() ? nullptr : &*at;
}

Shown shown(const Setting& s, const Settings& settings) {
  if (const auto* fault = fault_of(s, settings))
    return {fault->value, fault->from_environment ? "environment" : "file", nullptr, fault->why};
  if (const auto* value = settings.find(s.key)) {
    const auto json = daemon::setting_value(s, value->text);
    return {value->text, value->from_environment ? "environment" : "file",
            json ? *json : Json(value->text), ""};
  }
  Shown out{std::string(s.usual), "default", nullptr, ""};
  const auto path = s.key == "socket"      ? daemon::socket_path()
                    : s.key == "state_dir" ? daemon::state_dir()
                                           : daemon::nano_directory();
  if (s.usual.empty()) out.value = path ? *path : path.error();
  if (s.kind == Setting::Kind::path && path)
    out.json = *path;
  else if (const auto json = daemon::setting_value(s, out.value))
    out.json = *json;
  return out;
}

Json to_json(const Setting& s, const Settings& settings) {
  const Shown v = shown(s, settings);
  Json out = {{"key", s.key},
              {"value", v.json},
              {"from", v.from},
              {"what", s.what},
              {"environment", daemon::environment_name(s)}};
  if (!v.fault.empty()) out["fault"] = v.fault;
  return out;
}

Error unknown(const std::string& key) {
  const std::string_view near = daemon::nearest_setting(key);
  const std::string meant = near.empty() ? "" : fmt::format("do you mean {}? ", near);
  return Error{
      fmt::format("config: there is no setting {}; {}`lares config` lists them all", key, meant)};
}

void list(const Settings& settings, bool json) {
  if (json) {
    Json all = Json::array();
    for (const Setting& s : daemon::settings_table()) all.push_back(to_json(s, settings));
    const Json object = {{"file", settings.path()}, {"settings", all}};
    return print_line(protocol::dump(object));
  }
  constexpr int kKeyColumns = 13, kValueColumns = 46, kFromColumns = 19;
  const Terminal t = Terminal::detect(STDOUT_FILENO);
  const bool narrow = t.width > 0 && t.width < kKeyColumns + kValueColumns + kFromColumns;
  for (const Setting& s : daemon::settings_table()) {
    const Shown v = shown(s, settings);
    std::string value = printable(v.value);
    const bool on_one_line = !narrow &&
                             columns(value) + 2 + static_cast<int>(s.what.size()) <= kValueColumns;
    if (on_one_line) value += "  " + std::string(s.what);
    const std::string from = v.from == "environment" ? daemon::environment_name(s) : v.from;
    // A long name beside it takes its room, where it has some.
    const int wide = std::max(0, static_cast<int>(s.key.size()) - kKeyColumns) +
                     std::max(0, static_cast<int>(from.size()) - kFromColumns);
    if (const int filled = columns(value), padded = kValueColumns - wide;
        filled < padded && !narrow)
      value.append(static_cast<std::size_t>(padded - filled), ' ');
    print_line(fmt::format("{} {} {}",
                           t.paint(Style::bold, fmt::format("{:<{}}", s.key, kKeyColumns)), value,
                           t.paint(v.from == "default" ? Style::dim : Style::cyan, from)));
    if (!v.fault.empty())
      print_line(fmt::format("{:<{}} {}", "", narrow ? 1 : kKeyColumns,
                             t.paint(Style::red, printable(v.fault))));
    if (!on_one_line)
      print_line(
          fmt::format("{:<{}} {}", "", narrow ? 1 : kKeyColumns, t.paint(Style::dim, s.what)));
  }
  std::error_code ec;
  print_line(fmt::format("file: {}{}", printable(settings.path()),
                         fs::exists(settings.path(), ec) ? "" : " (none yet)"));
}

// What a person types, made into what another process in another directory understands.
Result<std::string> meant(const Setting& s, const std::string& text) {
  if (s.kind != Setting::Kind::path) return text;
  const std::string what = fmt::format("set {} to {}", s.key, text);
  std::error_code ec;
  // Whoever names a checkpoint means the one before them; a socket beside whatever they happen to
  // work in would become part of it.
  if (s.key != "model" && !text.starts_with('/'))
    return tl::unexpected(
        Error{fmt::format("{}: it is no absolute path; give one that starts with /", what)});
  const std::string path = fs::absolute(text, ec).lexically_normal().string();
  if (text.empty() || ec)
    return tl::unexpected(Error{fmt::format("{}: it is no path; name one", what)});
  if (s.key == "model" && !fs::exists(fs::path(path) / "config.json", ec))
    return tl::unexpected(Error{fmt::format(
        "{}: there is no {}/config.json; name the directory of a checkpoint, as it was released",
        what, path)});
  if (s.key == "socket") {
    if (const auto usable = daemon::socket_path(path); !usable)
      return tl::unexpected(Error{usable.error()});
  }
  return path;
}

Result<> change(const Settings& settings, const Setting& s, const std::string* text) {
  // Where the file cannot be written.
  const auto otherwise = [&](const Error& error) {
    const std::string variable = daemon::environment_name(s) + (text ? "=" + *text : "");
    return Error{
        fmt::format("{}; set {} in the environment instead, or let XDG_CONFIG_HOME name a "
                    "directory that you may write to",
                    error.message, variable)};
  };
  Json value;
  if (text) {
    const auto path = meant(s, *text);
    if (!path) return tl::unexpected(path.error());
    const auto made = daemon::setting_value(s, *path);
    if (!made)
      return tl::unexpected(Error{fmt::format("set {} to {}: {}", s.key, *text, made.error())});
    value = *made;
  }
  // While it is read and written: what another sets meanwhile is not lost
  const auto held = hold_settings_file(settings.path());
  if (!held) return tl::unexpected(otherwise(held.error()));
  auto object = daemon::read_settings_file(settings.path());
  if (!object) return tl::unexpected(Error{object.error()});
  for (auto it = object->begin(); it != object->end();)
    it = daemon::find_setting(it.key()) == &s ? object->erase(it) : std::next(it);
  if (text) (*object)[std::string(s.key)] = value;
  if (auto written = write_settings_file(settings.path(), *object); !written)
    return tl::unexpected(otherwise(written.error()));
  return {};
}

void tell_faults(const Settings& settings) {
  for (const auto& fault : settings.faults()) print_err("lares: {}\n", printable(fault.line));
}

// What a person may stumble over next.
void tell(const Setting& s, const Settings& settings) {
  const auto* held = settings.find(s.key);
  if (held && held->from_environment)
    print_err("lares: {}={} in the environment comes before it\n", daemon::environment_name(s),
              printable(held->text));
  if (s.of_daemon)
    print_err(
        "lares: it holds from the next start of the daemon; `lares shutdown` ends one that runs\n");
}

}  // namespace

int config_command(int argc, const char* const* argv) {
  CLI::App app("Shows the settings: each value, where it comes from, what it does; and sets them.",
               "lares config");
  bool json = false;
  std::string key, value;
  app.add_flag("--json", json, "print JSON");
  app.footer("The command line comes before the environment, that before the file.");
  app.require_subcommand(0, 1);
  std::string keys;
  for (const Setting& s : daemon::settings_table())
    keys += (keys.empty() ? "{" : ",") + std::string(s.key);
  const auto any = [](std::string&) { return std::string(); };
  const CLI::Validator completed(any, keys + "}");  // what is no key is told the nearest one, below
  auto* const get = app.add_subcommand("get", "prints the value that holds");
  auto* const set = app.add_subcommand("set", "sets it in the file");
  auto* const unset = app.add_subcommand("unset", "takes it out of the file");
  for (auto* const sub : {get, set, unset})
    sub->add_option("KEY", key, "which setting")->required()->check(completed);
  set->add_option("VALUE", value, "of the setting")->required();
  for (auto* const sub : {get, set, unset}) sub->add_flag("--json", json, "print JSON");
  if (const auto over = parse(app, argc, argv)) return *over;
  // What is wrong is shown where it stands, and mended here.
  const Settings settings = Settings::load_sound();
  const auto& faults = settings.faults();
  if (!faults.empty() && faults.front().key.empty())
    return fail(Error{faults.front().line}, json);  // no file of settings at all
  for (const auto& warning : settings.warnings()) print_err("lares: {}\n", printable(warning));
  if (app.get_subcommands().empty()) {
    list(settings, json);
    tell_faults(settings);
    return faults.empty() ? kExitFinished : kExitError;
  }
  const Setting* const s = daemon::find_setting(key);
  if (!s) return fail(unknown(key), json), kExitUsage;
  if (get->parsed()) {
    const Shown v = shown(*s, settings);
    if (const auto* fault = fault_of(*s, settings)) return fail(Error{fault->line}, json);
    if (json) print_line(protocol::dump(to_json(*s, settings)));
    // Words, and no value for a script
    else if (v.json.is_null())
      print_err("{} is not set: {}\n", s->key, printable(v.value));
    else
      print_line(printable(v.value));
    return kExitFinished;
  }
  if (settings.path().empty()) return fail(Error{daemon::settings_path().error()}, json);
  if (auto done = change(settings, *s, set->parsed() ? &value : nullptr); !done)
    return fail(done.error(), json);
  if (json) {
    print_line(protocol::dump(to_json(*s, Settings::load_sound())));
  } else {
    tell(*s, settings);
  }
  tell_faults(Settings::load_sound());  // others
  return kExitFinished;
}

}  // namespace lares::cli
