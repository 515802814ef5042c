#include "daemon/cli/commands/model_parts.h"

#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "daemon/cli/exit_status.h"
#include "daemon/cli/help.h"
#include "daemon/cli/option_checks.h"
#include "daemon/cli/options.h"
#include "daemon/cli/terminal/print.h"
#include "daemon/protocol/nano_directory.h"
#include "daemon/settings.h"
#include "daemon/shown/text.h"
#include "engine/tokenizer.h"

namespace lares::cli {
namespace {

constexpr auto kRedraw = std::chrono::milliseconds(100);
constexpr std::uint64_t kThreadsMax = 1024;

const char* last_word = "";

}  // namespace

void ModelPart::add_directory() {
  app_->add_option("dir", directory_, "checkpoint directory (default: the daemon's model)");
}
void ModelPart::add_model_directory() {
  app_->add_option("--model", directory_, "checkpoint directory (default: the daemon's model)")
      ->type_name("DIR");
}
void ModelPart::add_threads() {
  threads_given_ = app_->add_option("--threads", threads_,
                                    "threads; 0: the CPUs this process may use")
                       ->check(whole_number_in(0, kThreadsMax))
                       ->capture_default_str();
}

CLI::Validator device_name() {
  const auto check = [](std::string& text) -> std::string {
    const auto value = daemon::setting_value(*daemon::find_setting("device"), text);
    return value ? "" : fmt::format("{} is none: {}", text, value.error());
  };
  return CLI::Validator(check, "");
}

void ModelPart::resolve(const daemon::Settings& settings) {
  if (directory_.empty()) directory_ = settings.text("model").value_or(daemon::nano_directory());
  if (threads_given_ && !*threads_given_)
    threads_ = static_cast<int>(settings.whole("threads").value_or(0));
}

bool ModelPart::prints_json() const {
  const auto* const option = app_->get_option_no_throw("--json");
  return option && *option;
}
int ModelPart::failed(const std::string& message) const {
  return say_why_not("lares model: " + printable(message), kExitError, prints_json());
}
int ModelPart::failed_to_open(const engine::Error& error) const {
  return failed(error.code == engine::Errc::not_found &&
                        error.message.find("; ") == std::string::npos
                    ? error.message + "; name the directory of a checkpoint as it was released"
                    : error.message);
}
int ModelPart::wrong_usage(const std::string& message) const {
  return cli::wrong_usage(path_of(*app_), printable(message), prints_json());
}
int ModelPart::interrupted() const {
  return say_why_not(path_of(*app_) + ": interrupted", kExitInterrupted, prints_json());
}

ProgressLine::ProgressLine(const char* label)
    : shown_(::isatty(2) == 1), begun_(Progress::Clock::now()) {
  progress_.begin(label, begun_);
}

engine::Progress ProgressLine::callback(std::string unit) {
  return [this, unit](std::int64_t done, std::int64_t total) {
    const auto now = Progress::Clock::now();
    progress_.count(done, total, unit, now);
    if (!shown_ || now - drawn_ < kRedraw) return;
    drawn_ = now;
    print_err("\r\033[K{}", progress_.text(now, false));
    std::fflush(stderr);
  };
}

void ProgressLine::clear() {
  if (drawn_ != Progress::Clock::time_point{}) print_err("\r\033[K");
  drawn_ = {};
}

Result<std::string> read_input(const std::string& path) {
  const auto refused = [&](std::string_view why) {
    return tl::unexpected(Error{fmt::format("read {}: {}", path == "-" ? "stdin" : path, why)});
  };
  std::error_code ec;
  if (path != "-" && std::filesystem::is_directory(path, ec)) return refused("it is a directory");
  std::FILE* const file = path == "-" ? stdin : std::fopen(path.c_str(), "rbe");
  if (!file) return refused(std::strerror(errno));
  std::string text;
  char piece[1 << 16];
  for (std::size_t n = 1; n > 0 && text.size() <= kInputBytesMax;)
    text.append(piece, n = std::fread(piece, 1, sizeof piece, file));
  const bool bad = std::ferror(file) != 0;
  const int error = errno;
  if (file != stdin) std::fclose(file);
  if (bad) return refused(std::strerror(error));
  if (text.size() > kInputBytesMax)
    return refused(fmt::format("larger than {} bytes", kInputBytesMax));
  return text;
}

std::string tokenizer_fault(const std::string& directory) {
  const std::string path = directory + "/tokenizer.json";
  std::error_code ec;
  if (std::filesystem::is_directory(path, ec))
    return fmt::format("read the tokenizer {}: it is a directory", path);
  const auto tokenizer = engine::Tokenizer::from_file(path);
  return tokenizer ? "" : tokenizer.error().message;
}

Result<std::vector<engine::Token>> read_tokens(const std::string& path) {
  const auto text = read_input(path);
  if (!text) return tl::unexpected(text.error());
  const bool flat = std::count(text->begin(), text->end(), '[') == 1;  // the parser recurses; a
                                                                       // list of ids does not nest
  const auto json = flat ? nlohmann::json::parse(*text, nullptr, /*allow_exceptions=*/false)
                         : nlohmann::json();
  std::vector<engine::Token> tokens;
  bool good = json.is_array();
  for (std::size_t i = 0; good && i < json.size(); ++i) {
    const auto* id = json[i].get_ptr<const nlohmann::json::number_unsigned_t*>();
    good = id && *id <= INT32_MAX;
    if (good) tokens.push_back(static_cast<engine::Token>(*id));
  }
  if (!good)
    return tl::unexpected(
        Error{fmt::format("read {}: not a JSON array of token ids, such as [0, 5, 7]", path)});
  return tokens;
}

void exit_when_interrupted(const char* word) {
  last_word = word;
  std::signal(SIGINT, [](int) {
    [[maybe_unused]] const auto n = ::write(STDERR_FILENO, last_word, std::strlen(last_word));
    ::_exit(kExitInterrupted);
  });
}

}  // namespace lares::cli
