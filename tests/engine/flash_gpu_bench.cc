// Full-width V4-Flash layers with generated weights on a GPU: decode at several contexts, of
// several tokens together, and prefill, beside the bytes they read and the device's own copy speed
// in the same run. For tests/gpu_check.sh.
//   engine_flash_gpu_bench [LAYERS [EXPERTS [once | steps]]]
// `once`: each step a single time and unrecorded, for a profiler that wants every launch. `steps`:
// decode and prefill, without guesses and missing experts.
#include "engine/cuda/draft_blocks.h"  // before kernels/tiles.h, whose tile_bytes() its own would be mistaken for

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "engine/bench/fill.h"
#include "engine/bench/floors.h"
#include "engine/bench/shapes.h"
#include "engine/cuda/layout.h"
#include "engine/gpus.h"
#include "kernels/cuda/device.h"
#include "kernels/cuda/shared_split.h"
#include "kernels/cuda/simt/stamps_list.h"

namespace lares::engine {
namespace {

using Clock = std::chrono::steady_clock;
using kernels::Format;

constexpr int kChunk = cuda::kChunk, kSteps = 20, kWarmUp = 3, kCopies = 10, kLayersOfFlash = 43;
constexpr double kCopySeconds = 0.2;  // of copies within the device, by which its clocks are up
// Seconds of 8,192 tokens and 43 layers by the products of fp8 at 1979 TFLOP/s, others at 989: what
// the 132 SMs of an H100 (SXM) and of an H200 have at 1.83 GHz; and the memory's part, which is
// less on an H200.
constexpr double kPrefillFloor = 0.20, kPrefillFloorH200 = 0.191;
constexpr double kH200Rate = 3.6e12;  // bytes a second that no H100 copies
constexpr int kFloorSms = 132;
constexpr int kDistinctExperts = 8;  // of a layer; on the device every expert has its own memory
constexpr std::size_t kCopyBytes = std::size_t{2} << 30;
constexpr std::size_t kDistinctPages = 32;

double seconds_since(Clock::time_point begun) {
  return std::chrono::duration<double>(Clock::now() - begun).count();
}
double median(std::vector<double> of) {
  std::nth_element(of.begin(), of.begin() + static_cast<std::ptrdiff_t>(of.size() / 2), of.end());
  return of[of.size() / 2];
}
[[noreturn]] void give_up(const std::string& why) {
  fmt::print("{}\n", why);
  std::exit(1);
}

// Matrices of random codes, in host memory.
class Generated {
 public:
  explicit Generated(const Config& c)
      : c_(c), weights_(Weights{.checkpoint = Checkpoint::of_shape(c)}) {
    for (int i = 0; i < c.num_hidden_layers; ++i) weights_.layers.push_back(layer(i));
    weights_.embed = matrix(Format::bf16, c.vocab_size, c.hidden_size);
    weights_.head = weights_.embed;
    weights_.norm = floats(c.hidden_size, 1);
    weights_.hc_head = hyper(true);
    const std::uint64_t counted = layer_bytes_;
    const int D = c.hidden_size;
    weights_.mtp.push_back({layer(c.num_hidden_layers), matrix(Format::fp8, D, D),
                            matrix(Format::fp8, D, D), floats(D, 1), floats(D, 1), floats(D, 1),
                            hyper(true)});
    draft_bytes_ = layer_bytes_ - counted + 2 * bench::stored_bytes(Format::fp8, D, D) +
                   head_bytes();
    layer_bytes_ = counted;
  }
  const Weights& weights() const { return weights_; }
  // What a token reads: everything but the embedding, and the experts it is sent to.
  std::uint64_t layer_bytes() const { return layer_bytes_; }
  std::uint64_t draft_bytes() const { return draft_bytes_; }  // of a guess, the head included
  std::uint64_t head_bytes() const {
    return bench::stored_bytes(Format::bf16, c_.vocab_size, c_.hidden_size);
  }

 private:
  kernels::Matrix matrix(Format format, int n_out, int n_in, bool counts = false) {
    const std::size_t bytes = bench::stored_bytes(format, n_out, n_in);
    auto& memory = memory_.emplace_back(bytes + 64);
    bench::fill_codes(format, n_in, ++seed_, memory.data(), bytes / 8 * 8);
    if (counts) layer_bytes_ += bytes;
    return bench::lay_out(format, n_out, n_in, memory.data());
  }
  const float* floats(int n, float value) {
    return floats_.emplace_back(static_cast<std::size_t>(n), value).data();
  }
  HyperWeights hyper(bool head) {
    const int rows = head ? c_.hc_mult : (2 + c_.hc_mult) * c_.hc_mult;
    return {matrix(Format::f32, rows, c_.hc_mult * c_.hidden_size, !head), floats(rows, 0.1f),
            floats(3, 0.5f)};
  }
  CompressorWeights compressor(int ratio, int dim) {
    CompressorWeights w{};
    w.ratio = ratio;
    w.dim = dim;
    w.wkv = matrix(Format::bf16, w.width(), c_.hidden_size, true);
    w.wgate = matrix(Format::bf16, w.width(), c_.hidden_size, true);
    w.ape = floats(ratio * w.width(), 0.01f);
    w.norm = floats(dim, 1);
    return w;
  }
  LayerWeights layer(int index) {
    const int D = c_.hidden_size, H = c_.num_attention_heads, C = c_.head_dim, Q = c_.q_lora_rank,
              G = c_.o_groups, A = c_.o_lora_rank, I = c_.moe_intermediate_size;
    LayerWeights w{};
    w.index = index;
    w.ratio = c_.ratio(index);
    w.hc_attn = hyper(false);
    w.hc_ffn = hyper(false);
    w.attn_norm = w.ffn_norm = floats(D, 1);
    w.q_norm = floats(Q, 1);
    w.kv_norm = floats(C, 1);
    w.attn_sink = floats(H, 0);
    w.wq_a = matrix(Format::fp8, Q, D, true);
    w.wq_b = matrix(Format::fp8, H * C, Q, true);
    w.wkv = matrix(Format::fp8, C, D, true);
    w.wo_a = matrix(Format::fp8, G * A, H * C / G, true);
    w.wo_b = matrix(Format::fp8, D, G * A, true);
    if (w.ratio != 0) w.compressor = compressor(w.ratio, C);
    if (w.ratio == 4)
      w.indexer = IndexerWeights{matrix(Format::fp8, c_.index_n_heads * c_.index_head_dim, Q, true),
                                 matrix(Format::bf16, c_.index_n_heads, D, true),
                                 compressor(4, c_.index_head_dim)};
    w.gate = matrix(Format::bf16, c_.n_routed_experts, D, true);
    w.gate_bias = floats(c_.n_routed_experts, 0);
    w.shared = {matrix(Format::fp8, I, D, true), matrix(Format::fp8, D, I, true),
                matrix(Format::fp8, I, D, true)};
    std::vector<ExpertWeights> distinct;
    for (int e = 0; e < kDistinctExperts; ++e)
      distinct.push_back(
          {matrix(Format::fp4, I, D), matrix(Format::fp4, D, I), matrix(Format::fp4, I, D)});
    for (int e = 0; e < c_.n_routed_experts; ++e)
      w.experts.push_back(distinct[static_cast<std::size_t>(e % kDistinctExperts)]);
    layer_bytes_ += static_cast<std::uint64_t>(c_.num_experts_per_tok) * 3 *
                    bench::stored_bytes(Format::fp4, I, D);
    return w;
  }

  const Config c_;
  Weights weights_;
  std::deque<std::vector<std::uint8_t>> memory_;
  std::deque<std::vector<float>> floats_;
  std::uint64_t seed_ = 0, layer_bytes_ = 0, draft_bytes_ = 0;
};

// Where this was built with LARES_STAMPS: the median time from each launch of a step to the next.
void print_stamps(int steps) {
  struct Stamp {
    unsigned long long ns;
    const char* file;
  };
  std::vector<Stamp> all;
  std::vector<unsigned long long> of(1 + kernels::cuda::kStampsMax);
  for (const kernels::cuda::StampSource& source : kernels::cuda::stamp_sources()) {
    source.read(of.data(), true);
    for (unsigned long long i = 1;
         i <= std::min<unsigned long long>(of[0], kernels::cuda::kStampsMax); ++i)
      all.push_back({of[i], source.file});
  }
  if (all.empty()) return;
  std::ranges::stable_sort(all, {}, &Stamp::ns);
  const std::size_t a_step = all.size() / static_cast<std::size_t>(steps);
  fmt::print("{} launches a step; us from each to the next:\n", a_step);
  for (std::size_t i = 0; i + 1 < a_step; ++i) {
    std::vector<double> us;
    for (int s = steps / 3; s < steps; ++s) {
      const std::size_t at = static_cast<std::size_t>(s) * a_step + i;
      us.push_back(static_cast<double>(all[at + 1].ns - all[at].ns) / 1e3);
    }
    const std::string_view file = all[static_cast<std::size_t>(steps - 1) * a_step + i].file;
    fmt::print(" {}:{:.1f}",
               file.substr(file.rfind('/') + 1, file.rfind('.') - file.rfind('/') - 1), median(us));
  }
  fmt::print("\n");
}

// What this device takes for a prefill at least, by its SMs. 0: not known.
double prefill_floor([[maybe_unused]] double copy_rate) {
#ifdef LARES_HAS_CUDA
  if (const auto found = kernels::cuda::devices(); !found.empty() && found[0].sm == 90)
    return (copy_rate > kH200Rate ? kPrefillFloorH200 : kPrefillFloor) * kFloorSms / found[0].n_sms;
#endif
  return 0;
}

// Bytes a second, read and written: the fastest of batches, each waited for once.
double copy_rate_of(cuda::Device& device) {
  const cuda::Memory from(device, kCopyBytes), to(device, kCopyBytes);
  if (!from || !to) give_up("no room for two buffers to copy between");
  double best = 0;
  const auto begun = Clock::now();
  while (best == 0 || seconds_since(begun) < kCopySeconds) {
    device.synchronise();
    const auto batch = Clock::now();
    for (int i = 0; i < kCopies; ++i) device.on_device(to.data(), from.data(), kCopyBytes);
    device.synchronise();
    best = std::max(best, 2.0 * kCopyBytes * kCopies / seconds_since(batch));
  }
  return best;
}

// A page of random cells.
PageRef page_of(const Config& c, const PageLayout& layout, std::uint64_t seed) {
  auto page = std::make_shared<Page>(layout.bytes);
  std::fill(page->begin(), page->end(), 0);
  for (const PageLayout::Layer& l : layout.layers) {
    for (int j = 0; j < l.entries.n; ++j)
      bench::fill_cell(
          c.head_dim, c.qk_rope_head_dim, (seed << 32) + static_cast<std::uint64_t>(j),
          page->data() + l.entries.offset + static_cast<std::size_t>(j) * l.entries.row_bytes);
    if (l.index_keys.n)
      bench::fill_index_keys(c.index_head_dim, seed, page->data() + l.index_keys.offset,
                             static_cast<std::size_t>(l.index_keys.n) * l.index_keys.row_bytes);
  }
  return page;
}

std::vector<Token> prompt_of(const Config& c) {
  std::vector<Token> prompt;
  for (int i = 0; i < kChunk; ++i)
    prompt.push_back(1 + static_cast<int>(i * 7919ll % (c.vocab_size - 1)));
  return prompt;
}

// With every other expert on the device: a prompt whose missing ones pass, beside its launches
// alone and its copies alone; then a token, whose missing ones the CPU computes, and to which they
// come.
void print_misses(cuda::Device& device, const Weights& weights, const Config& c,
                  cuda::PagePool& pages, kernels::ThreadPool& pool, double resident_s) {
  const int layers = c.num_hidden_layers;
  std::vector<char> resident(static_cast<std::size_t>(layers) *
                             static_cast<std::size_t>(c.n_routed_experts));
  for (std::size_t i = 0; i < resident.size(); ++i) resident[i] = i % 2 == 0;
  auto on_device = cuda::DeviceWeights::upload(device, weights, 0, layers, true, resident, pool,
                                               {});
  if (!on_device) return fmt::print("with half of the experts: {}\n", on_device.error().message);
  const auto begun = Clock::now();
  auto stream = cuda::ExpertStream::make(device, weights, 0, layers, resident);
  if (!stream) return fmt::print("with half of the experts: {}\n", stream.error().message);
  for (int i = 0; i < layers; ++i) (*stream)->pack(i, pool);
  const double packed = static_cast<double>((*stream)->packed_bytes()),
               seconds = seconds_since(begun);
  fmt::print(
      "with half of the experts: {:.2f} GB pinned and packed in {:.1f} s, a ring of {:.2f} GB\n",
      packed / 1e9, seconds, static_cast<double>((*stream)->ring_size()) / 1e9);
  {
    const cuda::Memory to(device, kCopyBytes);
    const cuda::Pinned from(device, kCopyBytes);
    if (!to || !from) return fmt::print("no room for two buffers to copy between\n");
    const auto arrived = device.event();
    std::vector<double> times;
    for (int i = 0; i < kCopies; ++i) {
      const auto before = Clock::now();
      device.copy_beside(to.data(), from.data(), kCopyBytes);
      device.mark(cuda::Device::Queue::copies, *arrived);
      device.wait(cuda::Device::Queue::work, *arrived);
      device.synchronise();
      times.push_back(seconds_since(before));
    }
    const double rate = kCopyBytes / median(times);
    fmt::print("copies from pinned memory: {:.1f} GB/s, so {:.1f} ms of them\n", rate / 1e9,
               1e3 * packed / rate);
  }
  const std::vector<Token> prompt = prompt_of(c);
  std::vector<float> logits(static_cast<std::size_t>(c.vocab_size));
  for (const int from : {cuda::kStepTokens + 1, 1}) {
    auto forward = cuda::DeviceForward::make(
        device, weights, **on_device,
        {.chunk = kChunk, .n_context = 2 * kChunk, .stream = stream->get(), .stream_from = from},
        pool, kernels::best());
    if (!forward) return fmt::print("with half of the experts: {}\n", forward.error().message);
    cuda::DeviceState state(device, **on_device, pages, 2 * kChunk);
    const auto timed = [&](std::span<const Token> tokens) {
      const cuda::DeviceForward::Sequence one{&state, static_cast<int>(tokens.size())};
      const auto before = Clock::now();
      if (const auto done = (*forward)->evaluate({&one, 1}, tokens, 1, logits.data()); !done)
        give_up(done.error().message);
      return seconds_since(before);
    };
    std::vector<double> times;
    for (int i = 0; i < 4; ++i) {
      state.drop_to(0);
      times.push_back(timed(prompt));
    }
    times.erase(times.begin());
    if (from > 1)
      fmt::print("prefill of {} tokens, {} layers: {:.1f} ms, {:.1f} with all experts there\n",
                 kChunk, layers, 1e3 * median(times), 1e3 * resident_s);
    times.clear();
    for (int i = 0; i < kSteps + kWarmUp; ++i)
      times.push_back(timed(std::span(prompt).subspan(static_cast<std::size_t>(i), 1)));
    times.erase(times.begin(), times.begin() + kWarmUp);
    fmt::print("decode, {} layers and the head, missing experts {}: {:.2f} ms a token\n", layers,
               from > 1 ? "computed by the CPU" : "coming", 1e3 * median(times));
  }
}

// What guesses of an MTP block take: the first, once the block has seen the text, and each further
// one.
void print_drafts(cuda::Device& device, const Generated& model,
                  const cuda::DeviceWeights& on_device, kernels::ThreadPool& pool,
                  double copy_rate) {
  auto blocks = cuda::DraftBlocks::make(device, model.weights(), on_device, pool, kernels::best());
  if (!blocks) return fmt::print("draft blocks: {}\n", blocks.error().message);
  const cuda::DeviceDrafter of = cuda::device_drafter(**blocks);
  if (!of.drafter) return fmt::print("draft blocks: no room for a sequence\n");
  const Config& c = model.weights().checkpoint.config();
  std::vector<Token> tokens = prompt_of(c), guesses;
  tokens.resize(static_cast<std::size_t>(c.sliding_window) + 1);
  std::vector<cuda::bf16*> rows;
  of.rows->make_rows(0, c.sliding_window, rows);
  for (cuda::bf16* const row : rows)
    device.clear(row, sizeof(cuda::bf16) * static_cast<std::size_t>(c.hc_mult) *
                          static_cast<std::size_t>(c.hidden_size));
  const auto timed = [&](int n) {
    const auto before = Clock::now();
    of.drafter->draft(tokens, n, guesses);
    const double seconds = seconds_since(before);
    if (std::ssize(guesses) != n) give_up("draft blocks: no guesses");
    of.rows->make_rows(std::ssize(tokens) - 1, 1, rows);  // what was there serves
    tokens.push_back(guesses.front());
    return seconds;
  };
  const double catching_up = timed(1);
  double ms[2];
  for (const int n : {1, 3}) {
    std::vector<double> times;
    for (int i = 0; i < kSteps + kWarmUp; ++i) times.push_back(timed(n));
    times.erase(times.begin(), times.begin() + kWarmUp);
    ms[n / 2] = 1e3 * median(times);
  }
  fmt::print(
      "draft block: {:.3f} ms a guess, each further one {:.3f}, its weights' floor {:.3f} ms; "
      "{:.1f} ms to take {} tokens in\n",
      ms[0], (ms[1] - ms[0]) / 2, 1e3 * static_cast<double>(model.draft_bytes()) / copy_rate,
      1e3 * catching_up, c.sliding_window);
}

// A decode step by recordings that ask for all of L1 as shared memory, and by such that leave that
// to the driver, in turn. `step_ms`: of a new forward pass.
void print_splits(const std::function<double()>& step_ms) {
  using kernels::cuda::SharedSplit;
  std::string said;
  for (const SharedSplit split :
       {SharedSplit::most, SharedSplit::driver, SharedSplit::most, SharedSplit::driver}) {
    kernels::cuda::shared_split() = split;
    said += fmt::format("{}{} {:.3f}", said.empty() ? "" : ", ",
                        split == SharedSplit::most ? "most" : "the driver's", step_ms());
  }
  kernels::cuda::shared_split() = SharedSplit::unasked;
  fmt::print("a step at 8192 by the share of L1 that is shared memory, ms: {}\n", said);
}

enum class What { all, once, steps };

int run(int layers, int experts, What what) {
  const bool once = what == What::once;
  const int n_steps = once ? 1 : kSteps, n_warm_up = once ? 0 : kWarmUp, n_prefills = once ? 1 : 4;
  auto opened = cuda::open_device(0);
  if (!opened) give_up(opened.error().message);
  cuda::Device& device = **opened;
  Config c = *bench::shape_named("flash");
  c.num_hidden_layers = layers;
  c.num_hash_layers = 0;
  c.n_routed_experts = experts;
  c.compress_ratios.clear();
  for (int i = 0; i < layers; ++i) c.compress_ratios.push_back(i % 2 == 0 ? 4 : 128);

  const double copy_rate = copy_rate_of(device);
  fmt::print("copy on the device: {:.2f} TB/s, read and written\n", copy_rate / 1e12);

  const auto begun = Clock::now();
  const Generated model(c);
  kernels::ThreadPool pool(0);
  auto on_device = cuda::DeviceWeights::upload(device, model.weights(), 0, layers, true, {}, pool,
                                               {});
  if (!on_device) give_up(on_device.error().message);
  fmt::print("{} layers of {} experts: {:.2f} GB on the device, made and packed in {:.1f} s\n",
             layers, experts, static_cast<double>((*on_device)->bytes()) / 1e9,
             seconds_since(begun));

  constexpr std::int64_t kContext = 1 << 20;
  std::unique_ptr<cuda::DeviceForward> forward;
  const auto make_forward = [&] {
    forward.reset();  // there may be room for one
    auto made = cuda::DeviceForward::make(device, model.weights(), **on_device,
                                          {.chunk = kChunk, .n_context = kContext, .record = !once},
                                          pool, kernels::best());
    if (!made) give_up(made.error().message);
    forward = std::move(*made);
  };
  make_forward();
  const PageLayout layout = page_layout(c, false);
  cuda::PagePool pages(device, layout, 0, layers, kContext / layout.tokens + 2);
  if (!pages.made()) give_up("no room for the pages of 1M tokens");
  std::vector<float> logits(static_cast<std::size_t>(c.vocab_size));
  const double floor = static_cast<double>(model.layer_bytes() + model.head_bytes()) / copy_rate;
  std::vector<PageRef> some_pages;  // keys that are all different would take long to make
  for (std::uint64_t i = 0; i < kDistinctPages; ++i)
    some_pages.push_back(page_of(c, layout, i + 7));
  const auto fill = [&](cuda::DeviceState& state, std::int64_t context) {
    if (!state.made()) give_up("no room for a sequence");
    if (const auto opened_pages = state.open(0, context); !opened_pages)
      give_up(opened_pages.error().message);
    std::size_t i = 0;
    for (const cuda::PagePool::Page& at : state.pages())
      device.to_device(at.get(), some_pages[i++ % kDistinctPages]->data(), layout.bytes);
    std::vector<std::uint8_t> frontier(state.frontier_bytes(context), 0);
    state.restore(context, frontier);
  };
  const auto step_ms = [&](cuda::DeviceState& state) {
    std::vector<double> times;
    for (int i = 0; i < n_steps + n_warm_up; ++i) {
      const Token token = 1 + i * 7919 % (c.vocab_size - 1);
      const cuda::DeviceForward::Sequence one{&state, 1};
      const auto before = Clock::now();
      if (const auto done = forward->evaluate({&one, 1}, {&token, 1}, 1, logits.data()); !done)
        give_up(done.error().message);
      if (i >= n_warm_up) times.push_back(seconds_since(before));
    }
    return 1e3 * median(times);
  };
  double first_ms = 0;
  for (const std::int64_t context :
       {std::int64_t{8192}, std::int64_t{131072}, kContext - kSteps - kWarmUp - 1}) {
    cuda::DeviceState state(device, **on_device, pages, kContext);
    fill(state, context);
    const double ms = step_ms(state);
    print_stamps(n_steps + n_warm_up);
    if (first_ms == 0) first_ms = ms;
    fmt::print(
        "decode at {} tokens, {} layers and the head: {:.3f} ms a token, the weights' floor {:.3f} "
        "ms: {:.0f} %; {:+.1f} % beside 8192\n",
        context, layers, ms, 1e3 * floor, 100 * 1e3 * floor / ms, 100 * (ms / first_ms - 1));
  }
  std::vector<double> times;
  bool same = true;
  {
    cuda::DeviceState state(device, **on_device, pages, kContext);
    if (!state.made()) give_up("no room for a sequence");
    const std::vector<Token> prompt = prompt_of(c);
    for (int i = 0; i < n_prefills; ++i) {
      state.drop_to(0);
      const cuda::DeviceForward::Sequence one{&state, kChunk};
      const auto before = Clock::now();
      if (const auto done = forward->evaluate({&one, 1}, prompt, 1, logits.data()); !done)
        give_up(done.error().message);
      if (i > 0 || once) times.push_back(seconds_since(before));
    }
    // Full-width rows, all ways there are: the last token of the chunk alone, by launches, as they
    // are recorded, and replayed.
    make_forward();
    for (const char* const how : {"launched", "recorded", "replayed"}) {
      std::vector<float> alone(logits.size());
      state.drop_to(kChunk - 1);
      const cuda::DeviceForward::Sequence one{&state, 1};
      if (const auto done = forward->evaluate({&one, 1}, {&prompt.back(), 1}, 1, alone.data());
          !done)
        give_up(done.error().message);
      std::size_t differ = 0;
      for (std::size_t i = 0; i < alone.size(); ++i)
        differ += std::bit_cast<std::uint32_t>(alone[i]) != std::bit_cast<std::uint32_t>(logits[i]);
      fmt::print("the chunk's last token alone, {}: {}\n", how,
                 differ == 0 ? "the same bits"
                             : fmt::format("{} of {} logits DIFFER", differ, alone.size()));
      same = same && differ == 0;
    }
  }
  const double prefill = median(times) / layers * kLayersOfFlash, least = prefill_floor(copy_rate);
  fmt::print(
      "prefill of {} tokens, {} layers: {:.1f} ms; of {} layers so {:.2f} s, {:.0f} tokens/s",
      kChunk, layers, 1e3 * median(times), kLayersOfFlash, prefill, kChunk / prefill);
  if (least > 0)
    fmt::print(", {:.0f} % of the floor, {:.2f} s at 1.83 GHz\n", 100 * least / prefill, least);
  else
    fmt::print("\n");
  // What a guess ahead costs: tokens of one sequence evaluated together, with the logits of all of
  // them, and taken back.
  const auto together = [&](int n) {
    cuda::DeviceState state(device, **on_device, pages, kContext);
    fill(state, 8192);
    std::vector<Token> several(static_cast<std::size_t>(n));
    std::vector<float> rows(several.size() * logits.size());
    std::vector<double> taken;
    for (int i = 0; i < n_steps + n_warm_up; ++i) {
      for (int t = 0; t < n; ++t)
        several[static_cast<std::size_t>(t)] = 1 + (i * n + t) * 7919 % (c.vocab_size - 1);
      const cuda::DeviceForward::Sequence one{&state, n};
      const auto before = Clock::now();
      if (const auto done = forward->evaluate({&one, 1}, several, n, rows.data()); !done)
        give_up(done.error().message);
      if (i >= n_warm_up) taken.push_back(seconds_since(before));
      state.drop_to(state.size() - n);
    }
    const double ms = 1e3 * median(taken);
    print_stamps(n_steps + n_warm_up);
    fmt::print("{} tokens together at 8192: {:.3f} ms; each further one {:.2f} of the first\n", n,
               ms, (ms / first_ms - 1) / (n - 1));
  };
  if (!once)
    for (const int n : {2, 4, 8, 16}) together(n);
  if (!once)
    print_splits([&] {
      make_forward();
      cuda::DeviceState state(device, **on_device, pages, kContext);
      fill(state, 8192);
      return step_ms(state);
    });
  if (what != What::all) return same ? 0 : 1;
  print_drafts(device, model, **on_device, pool, copy_rate);
  print_misses(device, model.weights(), c, pages, pool, median(times));
  return same ? 0 : 1;
}

}  // namespace
}  // namespace lares::engine

int main(int argc, char** argv) {
  const int layers = argc > 1 ? std::atoi(argv[1]) : 4,
            experts = argc > 2 ? std::atoi(argv[2]) : 64;
  const std::string_view named = argc > 3 ? argv[3] : "";
  using lares::engine::What;
  const What what = named == "once" ? What::once : named == "steps" ? What::steps : What::all;
  if (layers < 1 || layers > 43 || experts < 8 || experts > 256 || argc > 4 ||
      (argc > 3 && what == What::all)) {
    fmt::print(stderr, "usage: {} [LAYERS 1 to 43 [EXPERTS 8 to 256 [once | steps]]]\n", argv[0]);
    return 2;
  }
  std::setvbuf(stdout, nullptr, _IOLBF, 0);  // what was measured is kept whatever comes after it
  return lares::engine::run(layers, experts, what);
}
