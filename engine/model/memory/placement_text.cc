#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <locale>
#include <nlohmann/json.hpp>

#include "engine/cuda/layout.h"
#include "engine/placement.h"

namespace lares::engine {
namespace {

using Json = nlohmann::ordered_json;

// 80 columns hold four GPUs and the host
constexpr int kLabel = 26, kColumn = 12, kGpusInATable = 4;

std::string gb(std::uint64_t bytes) {
  const double g = static_cast<double>(bytes) / 1e9;
  return bytes == 0 ? "-" : fmt::format("{:.{}f} GB", g, g < 1 ? 3 : g < 100 ? 2 : 1);
}

std::string grouped(std::int64_t n) {
  std::string s = fmt::format("{}", n);
  for (auto at = static_cast<std::ptrdiff_t>(s.size()) - 3; at > 0; at -= 3)
    s.insert(static_cast<std::size_t>(at), 1, ',');
  return s;
}

// The GPUs [begin, end), and the host where it is their turn.
void table(const Placement& p, std::size_t begin, std::size_t end, bool with_host, std::string& s) {
  const auto row = [&](std::string_view label,
                       const std::function<std::string(const GpuPlacement&)>& cell,
                       std::string_view host, bool always = false) {
    bool any = always || !host.empty();
    std::string line = fmt::format("  {:<{}}", label, kLabel - 2);
    for (std::size_t g = begin; g < end; ++g) {
      const std::string text = cell(p.gpus[g]);
      any = any || text != "-";
      line += fmt::format("{:>{}}", text, kColumn);
    }
    if (with_host) line += fmt::format("{:>{}}", host, kColumn);
    if (any) s += line.substr(0, line.find_last_not_of(' ') + 1) + "\n";
  };
  std::string head(kLabel, ' ');
  for (std::size_t g = begin; g < end; ++g)
    head += fmt::format("{:>{}}", fmt::format("GPU {}", g), kColumn);
  const bool held = std::ranges::any_of(p.gpus, &GpuPlacement::held);
  s += head + (with_host ? fmt::format("{:>{}}", "host", kColumn) : "") + "\n";
  if (held) {
    row(
        "memory", [](const GpuPlacement& g) { return gb(g.memory); }, "");
    row(
        "free now", [](const GpuPlacement& g) { return gb(g.free); }, "");
  }
  row(
      "layers",
      [](const GpuPlacement& g) {
        return g.layer_begin == g.layer_end
                   ? std::string("none")
                   : fmt::format("{} to {}", g.layer_begin, g.layer_end - 1);
      },
      "", true);
  row(
      "embedding", [](const GpuPlacement&) { return std::string("-"); }, gb(p.host.embed));
  for (std::size_t k = 0; k < kComponentNames.size(); ++k)
    row(
        kComponentNames[k], [k](const GpuPlacement& g) { return gb(g.components[k]); }, "");
  row(
      "head", [](const GpuPlacement& g) { return gb(g.head); }, "");
  row(
      "draft blocks", [](const GpuPlacement& g) { return gb(g.draft); }, "");
  row(
      "cells of the context", [](const GpuPlacement& g) { return gb(g.pages); }, "");
  row(
      fmt::format("state of {} sequence{}", p.n_sequences, p.n_sequences == 1 ? "" : "s"),
      [](const GpuPlacement& g) { return gb(g.state); }, gb(p.host.snapshots));
  row(
      "work space", [](const GpuPlacement& g) { return gb(g.work); },
      p.host.work ? gb(p.host.work) : "");
  row(
      "experts that pass", [](const GpuPlacement& g) { return gb(g.ring); },
      p.host.passing ? gb(p.host.passing) : "");
  row(
      "CUDA", [](const GpuPlacement& g) { return gb(g.reserve); }, "");
  row(
      "routed experts", [](const GpuPlacement& g) { return gb(g.experts); }, gb(p.host.experts),
      true);
  row(
      "all", [](const GpuPlacement& g) { return gb(g.used()); }, gb(p.host.total()), true);
  row(
      "free", [](const GpuPlacement& g) { return gb(g.budget - g.used()); }, "", true);
}

Json of_gpu(const GpuPlacement& g) {
  Json components;
  for (std::size_t k = 0; k < kComponentNames.size(); ++k)
    components[kComponentNames[k]] = g.components[k];
  return {{"memory", g.memory},       {"free", g.free},
          {"budget", g.budget},       {"layers", {g.layer_begin, g.layer_end}},
          {"components", components}, {"head", g.head},
          {"draft", g.draft},         {"pages", g.pages},
          {"state", g.state},         {"work", g.work},
          {"ring", g.ring},           {"reserve", g.reserve},
          {"experts", g.experts},     {"n_experts", g.n_experts},
          {"used", g.used()}};
}

// Of uses whose expert is on no GPU: lines of at most 90 columns behind the 34 that come before.
std::string others_text(const Placement& p) {
  const auto seconds = [](std::uint64_t bytes) {
    return static_cast<double>(bytes) / cuda::kPcieBytes;
  };
  switch (p.misses) {
    case Misses::none:
      break;
    case Misses::computed:
      return "the CPU computes the others, a prompt's too";
    case Misses::computed_or_pass:
      return fmt::format(
          "the CPU computes the others of few tokens; a prompt's\nexperts pass through the GPUs, "
          "{:.1f} s of PCIe 4 for {} tokens, beside the launches",
          seconds(p.host.passing), grouped(p.chunk));
    case Misses::pass:
      return fmt::format(
          "the others' experts pass through the GPUs: {:.0f} ms of\nPCIe 4 a token, {:.1f} s for "
          "{} tokens of a prompt, beside the launches{}",
          1000 * seconds(p.token_host), seconds(p.host.passing), grouped(p.chunk),
          p.model.fp4_experts
              ? fmt::format(";\nwith {} more in host memory the CPU would compute few tokens",
                            gb(p.host.passing))
              : "");
  }
  return {};
}

std::string source_of(const ModelBytes& model) {
  return model.from_shards
             ? ""
             : "\nno shards are there: the sizes are those of a release with this config.json\n";
}

}  // namespace

std::string placement_text(const Placement& p) {
  const std::int64_t all = static_cast<std::int64_t>(p.n_layers) * p.n_experts;
  std::int64_t held = 0;
  for (const GpuPlacement& g : p.gpus) held += g.n_experts;
  std::string s = fmt::format("{}: {}, {} layers of {} experts, {} of weights\n", p.directory,
                              p.model_type, p.n_layers, p.n_experts,
                              gb(p.model.total(p.n_experts)));
  s += fmt::format("context {} tokens, evaluated up to {} at a time\n\n", grouped(p.n_context),
                   grouped(p.chunk));
  for (std::size_t g = 0; g < p.gpus.size(); g += kGpusInATable) {
    table(p, g, std::min(p.gpus.size(), g + kGpusInATable), g + kGpusInATable >= p.gpus.size(), s);
    s += "\n";
  }
  s += fmt::format("experts: {} of {} on GPUs ({:.1f} %), {}\n", grouped(held), grouped(all),
                   all ? 100.0 * static_cast<double>(held) / static_cast<double>(all) : 100,
                   held == all    ? "so none is missed"
                   : p.heat_known ? "those asked for most"
                                  : "as many of each layer");
  if (held < all)
    s += fmt::format("{:.1f} % of uses find theirs there; {}\n", 100 * p.found, others_text(p));
  s += fmt::format("a token reads {} of weights on GPUs{}\n", gb(p.token_gpu),
                   p.token_host ? " and " + gb(p.token_host) +
                                      (p.misses == Misses::pass ? " that pass" : " in host memory")
                                : "");
  return s + source_of(p.model);
}

std::string placement_json(const Placement& p) {
  Json json{{"directory", p.directory},
            {"layers", p.n_layers},
            {"experts", p.n_experts},
            {"context", p.n_context},
            {"sequences", p.n_sequences},
            {"chunk", p.chunk},
            {"weights", p.model.total(p.n_experts)},
            {"from_shards", p.model.from_shards},
            {"gpus", Json::array()}};
  for (const GpuPlacement& g : p.gpus) json["gpus"].push_back(of_gpu(g));
  json["host"] = {{"embed", p.host.embed},     {"experts", p.host.experts},
                  {"passing", p.host.passing}, {"snapshots", p.host.snapshots},
                  {"work", p.host.work},       {"used", p.host.total()}};
  json["found"] = p.found;
  json["token"] = {{"gpu", p.token_gpu}, {"host", p.token_host}};
  return json.dump(2, ' ', false, Json::error_handler_t::replace);
}

std::string needs_text(const Needs& n) {
  std::string s = fmt::format("{}: {} of weights, {} of them routed experts; context {} tokens\n\n",
                              n.directory, gb(n.model.total(n.n_experts)),
                              gb(n.model.total(n.n_experts) - n.model.total(0)),
                              grouped(n.n_context));
  s += fmt::format("  {:<12}{:>16}   {:>18}{:>14}{:>14}\n", "card", "hold everything",
                   "all but experts", "uses found", "host memory");
  for (const CardNeeds& card : n.cards) {
    const auto count = [](std::int64_t cards) {
      return cards == 0 ? fmt::format("more than {}", kGpusMax) : fmt::format("{}", cards);
    };
    s += fmt::format("  {:<12}{:>16}   {:>18}{:>14}{:>14}\n", fmt::format("{} GB", card.gb),
                     count(card.n_all), count(card.n_least),
                     card.n_least ? fmt::format("{:.1f} %", 100 * card.found) : "-",
                     card.n_least ? gb(card.host) : "-");
  }
  s += "\nwith a plan of its own: --gpus 1x80, and --context, --host, --gpu-memory\n";
  return s + source_of(n.model);
}

std::string needs_json(const Needs& n) {
  Json json{{"directory", n.directory},
            {"context", n.n_context},
            {"weights", n.model.total(n.n_experts)},
            {"from_shards", n.model.from_shards},
            {"cards", Json::array()}};
  for (const CardNeeds& card : n.cards) {
    const auto or_null = [](std::int64_t cards) { return cards ? Json(cards) : Json(); };
    json["cards"].push_back({{"memory", card.memory},
                             {"hold_all", or_null(card.n_all)},
                             {"hold_dense", or_null(card.n_least)},
                             {"found", card.found},
                             {"host", card.host}});
  }
  return json.dump(2, ' ', false, Json::error_handler_t::replace);
}

}  // namespace lares::engine
