// The Device that is one: kernels/cuda and the driver behind it. Compiled to a refusal where the
// program is built without CUDA.
#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <unordered_map>
#include <vector>

#include "engine/cuda/device.h"
#include "engine/gpus.h"

namespace lares::engine::cuda {

#ifdef LARES_HAS_CUDA

namespace {

constexpr int kSmWgmma = 90;  // later ones have others

class GpuDevice : public Device {
 public:
  Result<> open(int index, const std::string& model, int sm) {
    index_ = index;
    has_wgmma_ = sm == kSmWgmma;
    name_ = fmt::format("GPU {} ({})", index, model);
    if (const auto used = kc::use_device(index); !used.ok()) return refused(used);
    current_ = index;
    for (kc::OwnedStream* stream : {&stream_, &copies_})
      if (const auto made = stream->create(); !made.ok()) return refused(made);
    scratch_.streams = static_cast<kc::StreamScratch*>(
        allocate(sizeof(kc::StreamScratch) * kc::kScratchBlocks));  // products do without, too
    if (scratch_.streams) clear(scratch_.streams, sizeof(kc::StreamScratch) * kc::kScratchBlocks);
    return {};
  }

  std::string name() const override { return name_; }
  bool has_wgmma() const override { return has_wgmma_; }
  void use_wgmma(bool use) override { use_wgmma_ = use; }

  void* allocate(std::size_t bytes) override {
    kc::Status status;
    void* const at = allocated(device_, bytes, status);
    if (!status.out_of_memory()) must(status);
    return at;
  }
  void release(void* memory) override {
    wait_for_all();  // nobody uses it any more
    device_.erase(memory);
  }
  std::uint64_t memory_free() override {
    here();
    std::uint64_t bytes = 0;
    must(kc::free_memory(&bytes));
    return bytes;
  }
  void* allocate_pinned(std::size_t bytes) override {
    kc::Status status;
    return allocated(pinned_, bytes, status);
  }
  void release_pinned(void* memory) override {
    wait_for_all();
    pinned_.erase(memory);
  }

  class Registered : public Pins {
   public:
    explicit Registered(int index) : index_(index) {}
    bool pin(void* at, std::size_t bytes) override { return here() && kc::pin(at, bytes).ok(); }
    void unpin(void* at) override {
      if (here()) (void)kc::unpin(at);  // at the program's end the driver has done so
    }

   private:
    // In the context of that GPU, and not of one that nobody uses.
    bool here() const {
      if (current_ != index_ && !kc::use_device(index_).ok()) return false;
      current_ = index_;
      return true;
    }
    const int index_;
  };
  std::unique_ptr<Pins> pins() override { return std::make_unique<Registered>(index_); }

  void to_device(void* to, const void* from, std::size_t bytes) override {
    must(kc::copy_to_device(to, from, bytes, here()));
  }
  void to_host(void* to, const void* from, std::size_t bytes) override {
    must(kc::copy_to_host(to, from, bytes, here()));
  }
  void on_device(void* to, const void* from, std::size_t bytes) override {
    must(kc::copy_on_device(to, from, bytes, here()));
  }
  void clear(void* to, std::size_t bytes) override { must(kc::fill(to, 0, bytes, here())); }
  void synchronise() override { must(kc::synchronise(here())); }

  struct Mark : Event {
    kc::Event event;
  };
  std::unique_ptr<Event> event() override {
    here();
    auto out = std::make_unique<Mark>();
    must(out->event.create());
    return out;
  }
  void mark(Queue queue, Event& event) override {
    must(static_cast<Mark&>(event).event.record(stream_of(queue)));
  }
  void wait(Queue queue, Event& event) override {
    must(static_cast<Mark&>(event).event.make_wait(stream_of(queue)));
  }
  void copy_beside(void* to, const void* from, std::size_t bytes) override {
    must(kc::copy_to_device(to, from, bytes, stream_of(Queue::copies)));
  }

  struct Graph : Recording {
    kc::Graph graph;
  };
  void record() override { must(kc::Graph::begin(here())); }
  std::unique_ptr<Recording> end_recording() override {
    auto out = std::make_unique<Graph>();
    const kc::Status made = out->graph.end(here());
    if (made.out_of_memory()) return nullptr;
    must(made);
    return out;
  }
  void replay(const Recording& recording) override {
    must(static_cast<const Graph&>(recording).graph.launch(here()));
  }

  void embed(const kc::EmbedArgs& a) override { must(kc::embed(a, here())); }
  void rope_table(const kc::RopeTableArgs& a) override { must(kc::rope_table(a, here())); }
  void hyper(const kc::HyperArgs& a) override { must(kc::hyper(a, here())); }
  void linear(std::span<const kc::LinearArgs> together, const kc::HyperMixes& mixes) override {
    if (use_wgmma_) return must(kc::linear(together, here(), scratch_, mixes));
    std::vector<kc::LinearArgs> all(together.begin(), together.end());
    for (kc::LinearArgs& a : all) a.wgmma = false;
    must(kc::linear(all, here(), scratch_, mixes));
  }
  void rms_norm(const kc::RmsNormArgs& a) override { must(kc::rms_norm(a, here())); }
  void queries(const kc::QueryArgs& a) override { must(kc::queries(a, here())); }
  void attention_inputs(const kc::AttentionInputsArgs& a) override {
    must(kc::attention_inputs(a, here()));
  }
  void put_window(const kc::WindowArgs& a) override { must(kc::put_window(a, here())); }
  void quantise(const kc::QuantiseArgs& a) override { must(kc::quantise(a, here())); }
  void compress(const kc::CompressArgs& a) override { must(kc::compress(a, here())); }
  void put_raw(const kc::CompressArgs& a) override { must(kc::put_raw(a, here())); }
  void index_queries(const kc::IndexQueryArgs& a) override { must(kc::index_queries(a, here())); }
  void index_scores(const kc::IndexScoreArgs& a) override { must(kc::index_scores(a, here())); }
  void top_k(const kc::TopKArgs& a) override { must(kc::top_k(a, here())); }
  std::size_t top_k_scratch(int n_tokens, int n_max) override {
    return kc::top_k_scratch(n_tokens, n_max);
  }
  void attention(const kc::AttentionArgs& a) override { must(kc::attention(by_choice(a), here())); }
  void route(const kc::RouteArgs& a) override { must(kc::route(a, here())); }
  void route_and_group(const kc::RouteArgs& a, const kc::GroupArgs& b) override {
    must(kc::route_and_group(a, b, here()));
  }
  void group(const kc::GroupArgs& a) override { must(kc::group(a, here())); }
  void experts_linear(const kc::ExpertLinearArgs& a) override {
    must(kc::experts_linear(by_choice(a), here(), scratch_));
  }
  void swiglu(const kc::SwigluArgs& a) override { must(kc::swiglu(a, here())); }
  void combine(const kc::CombineArgs& a) override { must(kc::combine(a, here())); }
  void draft_rows(const kc::DraftRowsArgs& a) override { must(kc::draft_rows(a, here())); }
  void add_to_streams(const kc::AddToStreamsArgs& a) override {
    must(kc::add_to_streams(a, here()));
  }

 private:
  // No context could be made.
  Result<> refused(const kc::Status& why) const {
    if (!why.out_of_memory())
      return tl::unexpected(
          Error{Errc::unsupported, fmt::format("use GPU {}: {}", index_, why.message())});
    return tl::unexpected(
        Error{Errc::no_memory,
              fmt::format("use {}: others hold so much of its memory that CUDA cannot begin, which "
                          "takes some 0.5 GB ({}); end what `nvidia-smi` lists",
                          name_, why.message())});
  }
  template <class Args>
  Args by_choice(Args a) const {
    a.wgmma = a.wgmma && use_wgmma_;
    return a;
  }
  // Whatever fails but an allocation leaves the context unusable; what was acknowledged is in the
  // log on the disk.
  void must(const kc::Status& status) const {
    if (status.ok()) return;
    fmt::print(stderr, "lares: {} is lost: {}\n", name_, status.message());
    std::abort();
  }
  // The stream; what is launched, allocated and recorded belongs to the GPU that is the thread's,
  // so it is made that first.
  kc::Stream here() {
    if (current_ != index_) {
      must(kc::use_device(index_));
      current_ = index_;
    }
    return stream_;
  }
  kc::Stream stream_of(Queue queue) {
    const kc::Stream work = here();
    return queue == Queue::work ? work : static_cast<kc::Stream>(copies_);
  }
  void wait_for_all() {
    must(kc::synchronise(here()));
    must(kc::synchronise(copies_));
  }
  template <class Buffer>
  void* allocated(std::unordered_map<void*, Buffer>& in, std::size_t bytes, kc::Status& status) {
    here();
    Buffer buffer;
    status = buffer.allocate(std::max<std::size_t>(bytes, 1));
    if (!status.ok()) return nullptr;
    void* const at = buffer.data();
    in.emplace(at, std::move(buffer));
    return at;
  }

  static inline thread_local int current_ = -1;  // the GPU that the thread used last
  int index_ = 0;
  std::string name_;
  bool has_wgmma_ = false, use_wgmma_ = true;
  kc::OwnedStream stream_, copies_;
  kc::Scratch scratch_;  // of stream_'s launches
  std::unordered_map<void*, kc::DeviceBuffer> device_;
  std::unordered_map<void*, kc::PinnedBuffer> pinned_;
};

}  // namespace

Result<std::unique_ptr<Device>> open_device(int index) {
  const GpuReport report = find_gpus();
  if (report.gpus.empty())
    return tl::unexpected(Error{
        Errc::unsupported, fmt::format("use GPU {}: {}; with device cpu or auto the CPU computes",
                                       index, report.unused)});
  if (index < 0 || index >= static_cast<int>(report.gpus.size()))
    return tl::unexpected(
        Error{Errc::bad_argument,
              fmt::format("use GPU {}: there are {}, counted from 0", index, report.gpus.size())});
  if (const std::string& why = report.gpus[static_cast<std::size_t>(index)].unused; !why.empty())
    return tl::unexpected(Error{Errc::unsupported, fmt::format("use GPU {}: {}", index, why)});
  auto out = std::make_unique<GpuDevice>();
  if (const auto opened = out->open(index, report.gpus[static_cast<std::size_t>(index)].name,
                                    report.gpus[static_cast<std::size_t>(index)].sm);
      !opened)
    return tl::unexpected(opened.error());
  return out;
}

#else

Result<std::unique_ptr<Device>> open_device(int index) {
  return tl::unexpected(
      Error{Errc::unsupported,
            fmt::format("use GPU {}: this program was built without CUDA; build it where nvcc is",
                        index)});
}

#endif

}  // namespace lares::engine::cuda
