#include "daemon/cli/commands/generate_output.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "daemon/cli/report.h"
#include "daemon/cli/terminal/print.h"
#include "daemon/shown/text.h"
#include "engine/tokenizer.h"

namespace lares::cli {
namespace {

double seconds(GenerateTimes::Time from, GenerateTimes::Time to) {
  return std::max(1e-9, std::chrono::duration<double>(to - from).count());
}

}  // namespace

void DrawnTokens::show(engine::Token token) {
  if (tokenizer_) {
    const auto bytes = tokenizer_->bytes(token);
    std::fwrite(bytes.data(), 1, bytes.size(), stdout);
  } else {
    print_out("{}{}", any_ ? ", " : "[", token);
  }
  any_ = true;
  std::fflush(stdout);
}

void DrawnTokens::end() {
  print_out("{}\n", tokenizer_ ? "" : any_ ? "]" : "[]");
  std::fflush(stdout);
}

Result<> LogprobsFile::open(const std::string& path) {
  path_ = path;
  if (path.empty()) return {};
  file_.open(path, std::ios::binary | std::ios::trunc);
  if (!file_) return tl::unexpected(Error{fmt::format("write {}: cannot create it", path)});
  return {};
}

Result<> LogprobsFile::add(const engine::Timeline& timeline, engine::Token token,
                           const std::string& text, int n) {
  if (!file_.is_open()) return {};
  const engine::Logprobs p = timeline.logprobs(n);
  nlohmann::ordered_json json{{"position", static_cast<std::int64_t>(timeline.tokens().size()) - 1},
                              {"token", token},
                              {"text", text},
                              {"logprob", p.drawn},
                              {"top", nlohmann::json::array()}};
  for (const auto& [id, logprob] : p.top) json["top"].push_back({id, logprob});
  file_ << json.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace)
        << "\n";  // half a character has U+FFFD in it
  return file_ ? Result<>{}
               : tl::unexpected(Error{
                     fmt::format("write {}: the disk is full, or the file went away", path_)});
}

Result<> LogprobsFile::close() {
  if (!file_.is_open()) return {};
  file_.close();
  return file_ ? Result<>{}
               : tl::unexpected(Error{
                     fmt::format("write {}: the disk is full, or the file went away", path_)});
}

void print_rates(const GenerateTimes& t) {
  print_err("prompt: {} tokens, {:.1f}/s\n", t.n_prompt,
            static_cast<double>(t.n_prompt) / seconds(t.asked, t.read));
  print_err("{} tokens, {:.1f}/s\n", t.n_drawn,
            std::max(0, t.n_drawn - 1) / seconds(t.first, t.last));
}

void print_stats(const engine::Engine& engine, const engine::Timeline& timeline) {
  for (const std::string& note : engine.info().notes) print_err("note: {}\n", printable(note));
  const auto d = timeline.drafts();
  print_err("{} evaluations; guesses right: {} of {} copied, {} of {} by the draft blocks\n",
            d.evaluations, d.copy.accepted, d.copy.drafted, d.block.accepted, d.block.drafted);
  if (const auto e = engine.memory().experts; e.bytes_max > 0)
    print_err(
        "experts: {} of {} in memory, {} at most; {} of {} uses found theirs there, {} read\n",
        bytes_text(static_cast<double>(e.resident)), bytes_text(static_cast<double>(e.bytes)),
        bytes_text(static_cast<double>(e.bytes_max)), e.found, e.found + e.missed,
        bytes_text(static_cast<double>(e.read)));
}

Result<> print_trace(const engine::Engine& engine, const std::string& path) {
  const auto totals = engine.write_trace(path);
  if (!totals) return tl::unexpected(Error{totals.error().message});
  double all = 0;
  for (const auto& t : *totals) all += t.self_s;
  for (const auto& t : *totals)
    print_err("{:<26} {:>8} times {:>10.3f} s {:>5.1f} %\n", t.name, t.count, t.self_s,
              100 * t.self_s / all);
  return {};
}

}  // namespace lares::cli
