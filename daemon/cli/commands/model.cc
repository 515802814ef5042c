// lares model: what is in a checkpoint, what it computes from given tokens, and what it says.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <string_view>

#include "daemon/cli/commands/commands.h"
#include "daemon/cli/commands/model_parts.h"
#include "daemon/cli/exit_status.h"
#include "daemon/cli/options.h"
#include "daemon/cli/terminal/print.h"
#include "daemon/nearest.h"
#include "daemon/settings.h"
#include "daemon/shown/text.h"

namespace lares::cli {

int model_command(int argc, const char* const* argv) {
  CLI::App app{"Look into a checkpoint and run it without the daemon",
               argc > 0 ? argv[0] : "lares model"};
  app.require_subcommand(1);
  std::vector<std::unique_ptr<ModelPart>> parts;
  for (const auto make :
       {inspect_part, repack_part, plan_part, verify_part, logits_part, generate_part})
    parts.push_back(make(app));
  if (const std::string_view word = argc > 1 ? argv[1] : "-"; !word.starts_with('-')) {
    std::vector<std::string> names;
    for (const auto& part : parts) names.push_back(part->app().get_name());
    if (std::find(names.begin(), names.end(), word) == names.end()) {
      const std::string_view near = daemon::slip_of(word, names);
      print_err("lares model: there is no {}{}; `lares model --help` says what it takes\n",
                printable(word), near.empty() ? "" : fmt::format(", do you mean {}?", near));
      return kExitUsage;
    }
  }
  if (const auto over = parse(app, argc, argv)) return *over;
  const auto settings = user_settings();
  if (!settings) return fail(settings.error(), /*json=*/false);
  for (const auto& warning : settings->warnings()) print_err("lares: {}\n", printable(warning));
  const auto asked = std::find_if(parts.begin(), parts.end(),
                                  [](const auto& part) { return part->app().parsed(); });
  return (*asked)->run(*settings);
}

}  // namespace lares::cli
