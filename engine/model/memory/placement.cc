#include "engine/placement.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <numeric>
#include <optional>
#include <span>
#include <utility>

#include "engine/cuda/layout.h"
#include "engine/model/checkpoint/placement_tensors.h"
#include "engine/model/memory/pages.h"
#include "engine/model/timeline.h"

namespace lares::engine {
namespace {

// Usual cards, by the GB that they are sold with, and the MiB that the driver gives of them.
struct Card {
  int gb;
  std::uint64_t mib;
};
constexpr std::array<Card, 7> kCards{{{24, 24564},
                                      {32, 32607},
                                      {48, 49140},
                                      {80, 81559},
                                      {96, 97887},
                                      {141, 143771},
                                      {180, 183359}}};

double gb(std::uint64_t bytes) { return static_cast<double>(bytes) / 1e9; }

// What a run of layers takes on a GPU, experts apart, and how many of those the rest of its budget
// holds.
class Planner {
 public:
  Planner(const Sized& model, const PlacementRequest& request)
      : c_(model.config),
        bytes_(model.bytes),
        r_(request),
        pages_(page_layout(c_, false)),
        layers_(c_.num_hidden_layers) {
    n_context_ = r_.n_context > 0 ? std::min(r_.n_context, c_.max_position_embeddings)
                                  : c_.max_position_embeddings;
    n_pages_ = static_cast<std::uint64_t>((n_context_ + pages_.tokens - 1) / pages_.tokens);
    const auto n = static_cast<std::size_t>(layers_);
    dense_.assign(n + 1, 0);
    experts_.assign(n + 1, 0);
    for (std::size_t i = 0; i < n; ++i) {
      const LayerBytes& layer = bytes_.layers[i];
      const std::uint64_t state = cuda::layer_state_bytes(c_, static_cast<int>(i)) *
                                  static_cast<std::uint64_t>(r_.n_sequences);
      dense_[i + 1] = dense_[i] + layer.dense() + state +
                      n_pages_ * cuda::layer_page_bytes(pages_, static_cast<int>(i));
      experts_[i + 1] = experts_[i] + layer.expert;
    }
  }

  // Experts of layers [begin, end) that GPU g holds beside everything else; nothing where that
  // alone is too much.
  std::optional<std::int64_t> experts(std::size_t g, int begin, int end, int chunk) const {
    return experts(g, begin, end, chunk, expert_of(begin, end));
  }
  std::optional<std::int64_t> experts(std::size_t g, int begin, int end, int chunk,
                                      std::uint64_t one) const {  // one: bytes of the largest
    const std::uint64_t budget = budget_of(g), fixed = fixed_of(g, begin, end, chunk);
    if (fixed > budget) return std::nullopt;
    const auto all = static_cast<std::int64_t>(end - begin) * c_.n_routed_experts;
    return one == 0 ? all
                    : std::min<std::int64_t>(
                          all, static_cast<std::int64_t>(
                                   (budget - fixed - ring_of(g, begin, end, chunk, one)) / one));
  }
  // What a GPU without room for all of its experts gives up for those that pass, where it has so
  // much.
  std::uint64_t ring_of(std::size_t g, int begin, int end, int chunk, std::uint64_t one) const {
    const std::uint64_t room = budget_of(g) - fixed_of(g, begin, end, chunk),
                        ring = cuda::ring_bytes(one, c_.n_routed_experts);
    const bool lacks = room / std::max<std::uint64_t>(1, one) <
                       static_cast<std::uint64_t>(end - begin) *
                           static_cast<std::uint64_t>(c_.n_routed_experts);
    return lacks && room >= ring ? ring : 0;
  }
  std::uint64_t fixed_of(std::size_t g, int begin, int end, int chunk) const {
    std::uint64_t bytes = dense_[static_cast<std::size_t>(end)] -
                          dense_[static_cast<std::size_t>(begin)] + work_of(chunk) + reserve();
    if (g + 1 == r_.gpus.size()) bytes += bytes_.head + draft();
    return bytes;
  }
  // The draft blocks, and what goes with them.
  std::uint64_t draft() const {
    if (!r_.draft || bytes_.draft == 0) return 0;
    return bytes_.draft + cuda::draft_work_bytes(c_) +
           cuda::draft_state_bytes(c_) * static_cast<std::uint64_t>(r_.n_sequences);
  }
  std::uint64_t work_of(int chunk) const {
    if (chunk != worked_.first) worked_ = {chunk, cuda::work_bytes(c_, chunk, n_context_)};
    return worked_.second;
  }
  // Of what is free, where that is known: the context is there already then, and in neither.
  std::uint64_t budget_of(std::size_t g) const {
    const std::uint64_t own = allowed(g);
    return r_.gpus_free.empty() ? own : std::min(own, r_.gpus_free[g]);
  }
  std::uint64_t reserve() const { return cuda::kReserve - context(); }
  std::uint64_t expert_of(int begin, int end) const {
    std::uint64_t largest = 0;
    for (int i = begin; i < end; ++i)
      largest = std::max(largest, bytes_.layers[static_cast<std::size_t>(i)].expert);
    return largest;
  }

  // Where each GPU's layers end, so that together they hold the most experts; empty where some
  // layer fits nowhere. Of equal splits the one whose GPUs hold the most even share of theirs, then
  // the one whose fullest GPU is least full.
  std::vector<int> split(int chunk) const {
    const std::size_t G = r_.gpus.size();
    const auto L = static_cast<std::size_t>(layers_);
    struct Best {
      std::int64_t experts = -1;
      double worst = 0;    // the least share of its experts that any GPU so far holds
      double fullest = 0;  // the greatest share of its budget that any of them uses
      int from = 0;
      bool less(const Best& than) const {
        return experts != than.experts ? experts < than.experts
               : worst != than.worst   ? worst < than.worst
                                       : fullest > than.fullest;
      }
    };
    std::vector<std::vector<Best>> best(G + 1, std::vector<Best>(L + 1));
    best[0][0] = {0, 1, 0, 0};
    for (std::size_t g = 0; g < G; ++g)
      for (std::size_t begin = 0; begin <= L; ++begin) {
        if (best[g][begin].experts < 0) continue;
        std::uint64_t one = 0;
        for (std::size_t end = begin; end <= L; ++end) {
          if (end > begin) one = std::max(one, bytes_.layers[end - 1].expert);
          if (g + 1 == G && end < L) continue;
          const auto held = experts(g, static_cast<int>(begin), static_cast<int>(end), chunk, one);
          if (!held) {
            if (g + 1 < G) break;  // more layers take no less
            continue;
          }
          const double share = end == begin
                                   ? 1
                                   : static_cast<double>(*held) /
                                         (static_cast<double>(end - begin) * c_.n_routed_experts);
          const double full = static_cast<double>(fixed_of(g, static_cast<int>(begin),
                                                           static_cast<int>(end), chunk) +
                                                  static_cast<std::uint64_t>(*held) * one) /
                              static_cast<double>(budget_of(g));
          const Best now{best[g][begin].experts + *held, std::min(best[g][begin].worst, share),
                         std::max(best[g][begin].fullest, full), static_cast<int>(begin)};
          if (best[g + 1][end].less(now)) best[g + 1][end] = now;
        }
      }
    if (best[G][L].experts < 0) return {};
    std::vector<int> ends(G);
    int end = layers_;
    for (std::size_t g = G; g-- > 0;) {
      ends[g] = end;
      end = best[g + 1][static_cast<std::size_t>(end)].from;
    }
    return ends;
  }

  // Whether no expert of such a split is left out.
  bool holds_all(std::span<const int> ends, int chunk) const {
    for (std::size_t g = 0; g < ends.size(); ++g) {
      const int begin = g ? ends[g - 1] : 0;
      if (experts(g, begin, ends[g], chunk) !=
          static_cast<std::int64_t>(ends[g] - begin) * c_.n_routed_experts)
        return false;
    }
    return true;
  }

  Result<Placement> plan() const;
  Result<Placement> plan_as(Misses misses) const;
  std::int64_t n_context() const { return n_context_; }

 private:
  std::uint64_t context() const { return r_.gpus_free.empty() ? 0 : cuda::kContextLeast; }
  // Whoever else uses the GPU.
  std::uint64_t allowed(std::size_t g) const {
    const std::uint64_t all = r_.gpu_memory > 0 ? std::min(r_.gpu_memory, r_.gpus[g]) : r_.gpus[g];
    return all - std::min(all, context());
  }
  std::uint64_t free_of(std::size_t g) const {
    return r_.gpus_free.empty() ? r_.gpus[g] : std::min(r_.gpus[g], r_.gpus_free[g]);
  }
  std::string held() const;
  GpuPlacement gpu(std::size_t g, int begin, int end, int chunk) const;
  void choose_experts(Placement& p) const;
  std::uint64_t host_work(const Placement& p) const;
  Error refusal(int chunk) const;
  std::uint64_t state_all() const {
    std::uint64_t bytes = 0;
    for (int i = 0; i < layers_; ++i)
      bytes += cuda::layer_state_bytes(c_, i) * static_cast<std::uint64_t>(r_.n_sequences);
    return bytes;
  }

  const Config& c_;
  const ModelBytes& bytes_;
  const PlacementRequest& r_;
  const PageLayout pages_;
  const int layers_;
  std::int64_t n_context_ = 0;
  std::uint64_t n_pages_ = 0;
  std::vector<std::uint64_t> dense_, experts_;  // [layers + 1] sums of what lies before
  // The last chunk that was asked for, and its work space
  mutable std::pair<int, std::uint64_t> worked_;
};

GpuPlacement Planner::gpu(std::size_t g, int begin, int end, int chunk) const {
  GpuPlacement out{.memory = r_.gpus[g],
                   .free = free_of(g),
                   .budget = budget_of(g),
                   .layer_begin = begin,
                   .layer_end = end};
  for (int i = begin; i < end; ++i) {
    for (std::size_t k = 0; k < out.components.size(); ++k)
      out.components[k] += bytes_.layers[static_cast<std::size_t>(i)].components[k];
    out.state += cuda::layer_state_bytes(c_, i) * static_cast<std::uint64_t>(r_.n_sequences);
    out.pages += n_pages_ * cuda::layer_page_bytes(pages_, i);
  }
  if (g + 1 == r_.gpus.size()) {
    out.head = bytes_.head;
    out.draft = draft();
  }
  out.work = work_of(chunk);
  out.reserve = reserve();
  out.ring = ring_of(g, begin, end, chunk, expert_of(begin, end));
  return out;
}

// The ones asked for most, and of those that are asked for alike, or nothing is known of, as many
// of each layer: then none lacks more than others.
void Planner::choose_experts(Placement& p) const {
  const auto E = static_cast<std::size_t>(c_.n_routed_experts);
  p.resident.assign(static_cast<std::size_t>(layers_) * E, 0);
  for (std::size_t g = 0; g < p.gpus.size(); ++g) {
    GpuPlacement& gpu = p.gpus[g];
    std::vector<std::size_t> order;
    for (std::size_t e = 0; e < E; ++e)
      for (int i = gpu.layer_begin; i < gpu.layer_end; ++i)
        order.push_back(static_cast<std::size_t>(i) * E + e);
    if (p.heat_known)
      std::stable_sort(order.begin(), order.end(),
                       [&](std::size_t a, std::size_t b) { return r_.heat[a] > r_.heat[b]; });
    const auto n =
        static_cast<std::size_t>(experts(g, gpu.layer_begin, gpu.layer_end, p.chunk).value_or(0));
    for (const std::size_t at : std::span(order).first(n)) {
      p.resident[at] = 1;
      gpu.experts += bytes_.layers[at / E].expert;
      ++gpu.n_experts;
    }
    for (const std::size_t at : std::span(order).subspan(n)) {
      const std::uint64_t bytes = bytes_.layers[at / E].expert;
      p.missing += bytes;
      if (gpu.ring > 0) p.host.passing += bytes;
      if (gpu.ring == 0 || p.misses == Misses::computed_or_pass) p.host.experts += bytes;
    }
  }
  if (p.missing == 0)
    p.misses = Misses::none;
  else if (p.host.passing == 0)
    p.misses = Misses::computed;
  double found = 0, all = 0;
  for (std::size_t at = 0; at < p.resident.size(); ++at) {
    const double heat = p.heat_known ? r_.heat[at] : 1;
    all += heat;
    if (p.resident[at]) found += heat;
  }
  p.found = all > 0 ? found / all : 1;
}

// Pinned buffers of every GPU that has layers, or the head.
std::uint64_t Planner::host_work(const Placement& p) const {
  std::uint64_t bytes = 0;
  for (std::size_t g = 0; g < p.gpus.size(); ++g) {
    const GpuPlacement& gpu = p.gpus[g];
    const bool last = g + 1 == p.gpus.size();
    if (gpu.layer_begin == gpu.layer_end && !last) continue;
    const bool misses = gpu.n_experts < static_cast<std::int64_t>(gpu.layer_end - gpu.layer_begin) *
                                            c_.n_routed_experts;
    const bool computes = misses && (gpu.ring == 0 || p.misses == Misses::computed_or_pass);
    bytes += cuda::host_work_bytes(
        c_, p.chunk,
        {.first = gpu.layer_begin == 0, .last = last, .misses = misses, .computes = computes});
    if (gpu.draft > 0) bytes += cuda::host_work_bytes(c_, cuda::draft_chunk(c_), {});
  }
  return bytes;
}

// Between how much may be taken and what to do about it: the GPUs of which others hold what would
// else be planned, with the numbers.
std::string Planner::held() const {
  std::string out;
  for (std::size_t g = 0; g < r_.gpus.size(); ++g) {
    const std::uint64_t free = free_of(g);
    if (free >= allowed(g) || r_.gpus[g] - free <= kHeldShown) continue;
    out += fmt::format("{} {} has {:.2f} GB, {:.2f} GB free", out.empty() ? ":" : ",",
                       r_.gpu_names.empty() ? fmt::format("GPU {}", g) : r_.gpu_names[g],
                       gb(r_.gpus[g]), gb(free));
  }
  return out.empty() ? ";" : out + "; end what else uses the GPU,";
}

Error Planner::refusal(int chunk) const {
  // Of the GPUs as they are, the largest against what the last, which has the head besides, must
  // hold with one layer.
  std::uint64_t all = 0, least = 0;
  for (std::size_t g = 0; g < r_.gpus.size(); ++g) all += budget_of(g);
  least = fixed_of(r_.gpus.size() - 1, 0, layers_, chunk) +
          (r_.gpus.size() - 1) * (work_of(chunk) + reserve());
  const std::uint64_t pages = n_pages_ * pages_.bytes;
  return {
      Errc::no_memory,
      fmt::format(
          "place {}: all but routed experts takes {:.2f} GB on {} ({:.2f} of weights, {:.2f} for "
          "a context of {}, {:.2f} for the state of {} sequences, {:.2f} of "
          "work space and {:.2f} for CUDA on each), and {:.2f} GB may be taken{}{} add a GPU, or "
          "plan with a shorter --context",
          r_.directory, gb(least),
          r_.gpus.size() == 1 ? "one GPU" : fmt::format("{} GPUs", r_.gpus.size()),
          gb(least - pages - state_all() - r_.gpus.size() * (work_of(chunk) + reserve())),
          gb(pages), n_context_, gb(state_all()), r_.n_sequences, gb(work_of(chunk)), gb(reserve()),
          gb(all),
          r_.gpus.size() > 1 && least <= all ? ", in parts that no run of whole layers fits" : "",
          held())};
}

Result<Placement> Planner::plan() const {
  if (bytes_.fp4_experts)
    if (auto both = plan_as(Misses::computed_or_pass)) return both;
  return plan_as(Misses::pass);
}

Result<Placement> Planner::plan_as(Misses misses) const {
  Placement p;
  p.misses = misses;
  p.directory = r_.directory;
  p.model_type = c_.model_type;
  p.n_layers = layers_;
  p.n_experts = c_.n_routed_experts;
  p.experts_per_token = c_.num_experts_per_tok;
  p.n_context = n_context_;
  p.n_sequences = r_.n_sequences;
  p.heat_known = !r_.heat.empty();
  p.model = bytes_;
  std::vector<int> ends;
  for (int chunk = cuda::kChunk; chunk >= (ends.empty() ? cuda::kChunkMin : cuda::kChunkWhole);
       chunk /= 2) {
    const std::vector<int> at = split(chunk);
    if (at.empty() || (!ends.empty() && !holds_all(at, chunk))) continue;
    ends = at;
    p.chunk = chunk;
    if (holds_all(ends, chunk)) break;
  }
  if (ends.empty()) return tl::unexpected(refusal(cuda::kChunkMin));
  for (std::size_t g = 0; g < ends.size(); ++g)
    p.gpus.push_back(gpu(g, g ? ends[g - 1] : 0, ends[g], p.chunk));
  choose_experts(p);
  p.host.embed = bytes_.embed;
  p.host.snapshots = kSnapshotBytesMax;
  p.host.work = host_work(p);
  if (r_.host_memory > 0 && p.host.total() > r_.host_memory)
    return tl::unexpected(Error{
        Errc::no_memory,
        fmt::format("place {}: the GPUs hold {:.2f} of {:.2f} GB of routed experts, and host "
                    "memory would have to hold {:.2f} GB ({:.2f} of "
                    "experts, {:.2f} of embedding, {:.2f} of snapshots and work space), where "
                    "{:.2f} may be taken{} add GPUs or memory, or plan with "
                    "a shorter --context",
                    r_.directory,
                    gb(std::accumulate(
                        p.gpus.begin(), p.gpus.end(), std::uint64_t{0},
                        [](std::uint64_t sum, const GpuPlacement& g) { return sum + g.experts; })),
                    gb(experts_.back() * static_cast<std::uint64_t>(c_.n_routed_experts)),
                    gb(p.host.total()), gb(p.host.experts + p.host.passing), gb(p.host.embed),
                    gb(p.host.snapshots + p.host.work), gb(r_.host_memory), held())});
  // At batch 1: everything but the embedding, whose row is next to nothing, the draft blocks and
  // the experts of others.
  const double uses = c_.num_experts_per_tok;
  double on_gpu = 0, on_host = 0;
  for (std::size_t i = 0; i < static_cast<std::size_t>(layers_); ++i) {
    const double one = static_cast<double>(bytes_.layers[i].expert) * uses;
    double found = 0, all = 0;
    for (std::size_t e = 0; e < static_cast<std::size_t>(c_.n_routed_experts); ++e) {
      const std::size_t at = i * static_cast<std::size_t>(c_.n_routed_experts) + e;
      const double heat = p.heat_known ? r_.heat[at] : 1;
      all += heat;
      if (p.resident[at]) found += heat;
    }
    const double share = all > 0 ? found / all : 1;
    on_gpu += static_cast<double>(
                  bytes_.layers[i].dense() -
                  bytes_.layers[i].components[static_cast<std::size_t>(Component::hash_tables)]) +
              one * share;
    on_host += one * (1 - share);
  }
  p.token_gpu = static_cast<std::uint64_t>(on_gpu + 0.5) + bytes_.head;
  p.token_host = static_cast<std::uint64_t>(on_host + 0.5);
  return p;
}

Result<> checked(const PlacementRequest& r) {
  const auto bad = [&](std::string why) {
    return tl::unexpected(Error{Errc::bad_argument, fmt::format("place {}: {}", r.directory, why)});
  };
  if (r.gpus.size() > kGpusMax)
    return bad(fmt::format("{} GPUs; {} at most", r.gpus.size(), kGpusMax));
  for (const std::size_t n : {r.gpus_free.size(), r.gpu_names.size()})
    if (n != 0 && n != r.gpus.size())
      return bad(fmt::format("{} GPUs, and what is free or a name of {}", r.gpus.size(), n));
  if (r.n_context < 0) return bad(fmt::format("a context of {} tokens", r.n_context));
  if (r.n_sequences < 1 || r.n_sequences > kSequencesMax)
    return bad(fmt::format("{} sequences; 1 to {}", r.n_sequences, kSequencesMax));
  return {};
}

}  // namespace

std::uint64_t GpuPlacement::fixed() const {
  return std::accumulate(components.begin(), components.end(), std::uint64_t{0}) + head + draft +
         pages + state + work + reserve;
}

Result<Placement> plan_placement(const PlacementRequest& request) {
  if (const auto good = checked(request); !good) return tl::unexpected(good.error());
  if (request.gpus.empty())
    return tl::unexpected(
        Error{Errc::bad_argument, fmt::format("place {}: no GPU is given", request.directory)});
  const auto model = sized_model(request.directory);
  if (!model) return tl::unexpected(model.error());
  const std::size_t n = static_cast<std::size_t>(model->config.num_hidden_layers) *
                        static_cast<std::size_t>(model->config.n_routed_experts);
  if (!request.heat.empty() && request.heat.size() != n)
    return tl::unexpected(Error{
        Errc::bad_argument, fmt::format("place {}: heat of {} experts is given, the model has {}",
                                        request.directory, request.heat.size(), n)});
  return Planner(*model, request).plan();
}

std::uint64_t card_bytes(double gb) {
  const auto sold = std::ranges::find(kCards, gb, [](const Card& card) { return card.gb; });
  return sold == kCards.end() ? static_cast<std::uint64_t>(gb * 1e9) : sold->mib << 20;
}

Result<Needs> placement_needs(const PlacementRequest& request) {
  if (const auto good = checked(request); !good) return tl::unexpected(good.error());
  const auto model = sized_model(request.directory);
  if (!model) return tl::unexpected(model.error());
  Needs out{.directory = request.directory,
            .n_context = Planner(*model, request).n_context(),
            .model = model->bytes,
            .n_experts = model->config.n_routed_experts,
            .cards = {}};
  for (const Card& sold : kCards) {
    const std::uint64_t card = sold.mib << 20;
    CardNeeds& needs = out.cards.emplace_back(CardNeeds{.gb = sold.gb, .memory = card});
    PlacementRequest r = request;
    r.gpus.clear(), r.gpus_free.clear(), r.gpu_names.clear();
    while (r.gpus.size() < kGpusMax && needs.n_all == 0) {
      r.gpus.push_back(card);
      const auto plan = Planner(*model, r).plan_as(Misses::pass);
      if (!plan) continue;
      if (needs.n_least == 0) {
        needs.n_least = static_cast<std::int64_t>(r.gpus.size());
        needs.found = plan->found;
        needs.host = plan->host.total();
      }
      if (plan->missing == 0) needs.n_all = static_cast<std::int64_t>(r.gpus.size());
    }
  }
  return out;
}

}  // namespace lares::engine
