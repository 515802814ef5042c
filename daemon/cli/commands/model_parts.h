// The subcommands of `lares model`, and what they share.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "daemon/cli/terminal/progress.h"
#include "daemon/client/error.h"
#include "engine/engine.h"

namespace CLI {
class App;
class Option;
class Validator;
}  // namespace CLI
namespace lares::daemon {
class Settings;
}

namespace lares::cli {

// Of a prompt or a list of ids; a million ids take 8 MB
inline constexpr std::size_t kInputBytesMax = 64 << 20;

// One subcommand and its options, which live as long as it.
class ModelPart {
 public:
  virtual ~ModelPart() = default;
  // After app() was parsed; returns the exit status.
  virtual int run(const daemon::Settings& settings) = 0;
  const CLI::App& app() const { return *app_; }

 protected:
  explicit ModelPart(CLI::App* app) : app_(app) {}

  void add_directory();        // DIR, and without it the model that a daemon would load
  void add_model_directory();  // the same as --model
  void add_threads();
  // What was not given on the command line, from the settings.
  void resolve(const daemon::Settings& settings);

  bool prints_json() const;                      // where it knows --json, and it was given
  int failed(const std::string& message) const;  // one line on stderr, exit status 1
  // The same, and what to name where nothing is there
  int failed_to_open(const engine::Error& error) const;
  int wrong_usage(const std::string& message) const;  // exit status 2
  int interrupted() const;

  CLI::App* app_;
  std::string directory_;
  int threads_ = 0;

 private:
  CLI::Option* threads_given_ = nullptr;
};

std::unique_ptr<ModelPart> inspect_part(CLI::App& model);
std::unique_ptr<ModelPart> plan_part(CLI::App& model);
std::unique_ptr<ModelPart> verify_part(CLI::App& model);
std::unique_ptr<ModelPart> repack_part(CLI::App& model);
std::unique_ptr<ModelPart> logits_part(CLI::App& model);
std::unique_ptr<ModelPart> generate_part(CLI::App& model);

// An option that chooses what computes, in the words of the setting `device`.
inline constexpr const char* kDeviceHelp =
    "cpu, cuda, or GPUs by their numbers, cuda:1, cuda:0,1: what computes it";
CLI::Validator device_name();

// One line on stderr that overwrites itself; nothing when stderr is not a terminal.
class ProgressLine {
 public:
  explicit ProgressLine(const char* label);
  ~ProgressLine() { clear(); }
  engine::Progress callback(std::string unit);
  void clear();

 private:
  Progress progress_;
  bool shown_;
  Progress::Clock::time_point begun_, drawn_{};
};

// The whole of a file, or of stdin, which is "-"; at most kInputBytesMax.
Result<std::string> read_input(const std::string& path);
// Why `directory` has no tokenizer that can be used; empty: it has one.
std::string tokenizer_fault(const std::string& directory);
// A JSON array of token ids in such a file.
Result<std::vector<engine::Token>> read_tokens(const std::string& path);

// Ctrl-C ends the process at once with status 130 and `word` on stderr. For work that keeps nothing
// when it is stopped.
void exit_when_interrupted(const char* word);

}  // namespace lares::cli
