// lares model inspect and repack: what a checkpoint holds, and the same once more in the kernels'
// order.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <csignal>
#include <cstdio>

#include "daemon/cli/commands/model_parts.h"
#include "daemon/cli/exit_status.h"
#include "daemon/cli/options.h"
#include "daemon/cli/terminal/print.h"
#include "daemon/protocol/socket_path.h"
#include "daemon/shown/text.h"
#include "engine/inspect.h"

namespace lares::cli {
namespace {

volatile std::sig_atomic_t stop_asked = 0;

class Inspect : public ModelPart {
 public:
  explicit Inspect(CLI::App& model)
      : ModelPart(model.add_subcommand("inspect",
                                       "Check every tensor and show what the checkpoint holds")) {
    add_directory();
    app_->add_flag("--json", json_, "as JSON");
  }

  int run(const daemon::Settings& settings) override {
    resolve(settings);
    const auto inspection = engine::inspect(directory_);
    if (!inspection)
      return json_ ? fail(Error{inspection.error().message}, true)
                   : failed_to_open(inspection.error());
    const std::string fault = tokenizer_fault(directory_);
    if (!fault.empty() && json_) return fail(Error{fault}, true);
    if (json_) {
      const auto text = engine::inspect_json(directory_);
      if (!text) return fail(Error{text.error().message}, true);
      print_out("{}\n", *text);
    } else {
      print_out("{}", engine::inspect_text(*inspection));
    }
    std::fflush(stdout);
    return fault.empty()
               ? kExitFinished
               : failed(fault + "; without it the model reads and writes token ids alone");
  }

 private:
  bool json_ = false;
};

class Repack : public ModelPart {
 public:
  explicit Repack(CLI::App& model)
      : ModelPart(
            model.add_subcommand("repack",
                                 "Write the weights once more in the order the kernels read them, "
                                 "into the checkpoint's directory; the results are the same")) {
    add_directory();
    add_threads();
    app_->footer(
        "Where that directory is read-only, into ~/.cache/lares/tiles ($XDG_CACHE_HOME). They are "
        "used as long as the checkpoint's files "
        "are what they were, times of change included.");
  }

  int run(const daemon::Settings& settings) override {
    resolve(settings);
    ProgressLine line("repacking");
    std::stop_source stop;
    std::signal(SIGINT, [](int) { stop_asked = 1; });
    const auto done = engine::repack_checkpoint(
        directory_, daemon::tiles_dir(), threads_, stop.get_token(),
        [&, report = line.callback("bytes")](std::int64_t written, std::int64_t all) {
          if (stop_asked) stop.request_stop();
          report(written, all);
        });
    line.clear();
    if (!done && done.error().code == engine::Errc::cancelled) return interrupted();
    if (!done) return failed_to_open(done.error());
    if (!done->elsewhere.empty())
      print_err("lares model: {}; they are in {} instead\n", printable(done->elsewhere),
                printable(done->path));
    print_out("{}: {:.1f} MB\n", printable(done->path), static_cast<double>(done->bytes) / 1e6);
    return kExitFinished;
  }
};

}  // namespace

std::unique_ptr<ModelPart> inspect_part(CLI::App& model) {
  return std::make_unique<Inspect>(model);
}
std::unique_ptr<ModelPart> repack_part(CLI::App& model) { return std::make_unique<Repack>(model); }

}  // namespace lares::cli
