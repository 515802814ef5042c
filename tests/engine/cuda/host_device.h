// A Device in host memory: every launch is computed by the CPU kernels, from what the launch's
// arguments say and nothing else. So the forward pass of engine/cuda runs, bit for bit, where there
// is no GPU. Memory it hands out is full of NaNs.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "engine/cuda/device.h"
#include "kernels/dispatch.h"

namespace lares::engine::test {

namespace kc = kernels::cuda;

class HostDevice : public cuda::Device {
 public:
  // bytes_max: device memory it has.
  explicit HostDevice(std::size_t bytes_max = std::size_t{4} << 30,
                      std::string name = "a device in host memory");
  ~HostDevice() override;

  std::vector<std::string> launches;  // names of what was run, copies too, in order
  // Which of the queues goes ahead where events leave it open. A wait that is missing gives other
  // bits with the one or the other: a copy that comes as late as it may, or as early, which is
  // before the work that still reads what it writes over.
  enum class Ahead { work, copies };
  Ahead ahead = Ahead::work;
  int graphs_max = -1;  // recordings that there is memory for; -1: any number
  int refused = -1;     // the request for device memory, counted from 0, that finds none
  std::size_t taken_meanwhile = 0;  // by somebody else, as soon as it was asked what is free
  int pinned_refused = -1;  // the request for pinned memory, counted from 0, that finds none
  std::size_t n_bytes() const { return bytes_max_ - free_ - of_others_; }  // taken

  std::string name() const override { return name_; }
  void* allocate(std::size_t bytes) override;
  void release(void* memory) override;
  std::uint64_t memory_free() override;
  void* allocate_pinned(std::size_t bytes) override;
  void release_pinned(void* memory) override;
  std::unique_ptr<Pins> pins() override;
  // Of others' memory; shared, for it may be given back when the device is gone.
  struct PinnedRanges {
    std::mutex mutex;
    std::map<const void*, std::size_t> ranges;
    std::size_t bytes();
    bool has(const void* at, std::size_t bytes);
  };
  const std::shared_ptr<PinnedRanges> others = std::make_shared<PinnedRanges>();
  void pack_rows(const kernels::Matrix& m, int row_begin, int row_end, std::uint8_t* tiles,
                 float* scale) const override;
  void to_device(void* to, const void* from, std::size_t bytes) override;
  void to_host(void* to, const void* from, std::size_t bytes) override;
  void on_device(void* to, const void* from, std::size_t bytes) override;
  void clear(void* to, std::size_t bytes) override;
  void synchronise() override;
  std::unique_ptr<Event> event() override;
  void mark(Queue queue, Event& event) override;
  void wait(Queue queue, Event& event) override;
  void copy_beside(void* to, const void* from, std::size_t bytes) override;
  void record() override;
  std::unique_ptr<Recording> end_recording() override;
  void replay(const Recording& recording) override;
  void embed(const kc::EmbedArgs& a) override;
  void rope_table(const kc::RopeTableArgs& a) override;
  void hyper(const kc::HyperArgs& a) override;
  void linear(std::span<const kc::LinearArgs> together, const kc::HyperMixes& mixes) override;
  void rms_norm(const kc::RmsNormArgs& a) override;
  void queries(const kc::QueryArgs& a) override;
  void attention_inputs(const kc::AttentionInputsArgs& a) override;
  void put_window(const kc::WindowArgs& a) override;
  void quantise(const kc::QuantiseArgs& a) override;
  void compress(const kc::CompressArgs& a) override;
  void put_raw(const kc::CompressArgs& a) override;
  void index_queries(const kc::IndexQueryArgs& a) override;
  void index_scores(const kc::IndexScoreArgs& a) override;
  void top_k(const kc::TopKArgs& a) override;
  std::size_t top_k_scratch(int n_tokens, int n_max) override;
  void attention(const kc::AttentionArgs& a) override;
  void route(const kc::RouteArgs& a) override;
  void route_and_group(const kc::RouteArgs& a, const kc::GroupArgs& b) override;
  void group(const kc::GroupArgs& a) override;
  void experts_linear(const kc::ExpertLinearArgs& a) override;
  void swiglu(const kc::SwigluArgs& a) override;
  void combine(const kc::CombineArgs& a) override;
  void draft_rows(const kc::DraftRowsArgs& a) override;
  void add_to_streams(const kc::AddToStreamsArgs& a) override;

 protected:
  // When it is its turn, or with the recording. `overlaps`: a launch that may begin before the one
  // before it has ended.
  void run(const char* name, std::function<void()> f, bool overlaps = false);
  virtual void settle() {}  // what has begun ends, for something comes that does not overlap

 private:
  struct Recorded;
  struct Mark;
  // A launch or copy, or a mark, or a wait for one.
  struct Entry {
    const char* name = nullptr;
    std::function<void()> run;
    std::shared_ptr<std::int64_t> reached;  // how often the mark was come to
    std::int64_t count = 0;
    bool waits = false, overlaps = false;
  };
  void add(Queue queue, Entry entry);
  bool step(Queue queue);    // its next entry; false: there is none, or it waits
  void finish(Queue queue);  // all of it, and of the other what it waits for
  void finish_all();
  kernels::Matrix matrix(const std::uint8_t* tiles) const;

  const kernels::Kernels& k_ = kernels::best();
  const std::size_t bytes_max_;
  std::size_t free_, of_others_ = 0;
  int n_asked_ = 0;  // requests for device memory
  const std::string name_;
  std::map<void*, std::size_t> sizes_;
  std::set<void*> pinned_;
  int n_pinned_ = 0;  // asked for
  std::deque<Entry> queues_[2];
  std::unique_ptr<Recorded> recording_;
  const std::shared_ptr<int> graphs_ = std::make_shared<int>(0);  // that there are
};

}  // namespace lares::engine::test
