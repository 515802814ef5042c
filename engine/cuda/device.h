// A GPU as the forward pass sees it: memory, copies, the kernels of kernels/cuda in the order they
// are asked for, and runs of them that are recorded once. One thread at a time. A second
// implementation, in host memory, is what tests run the forward pass on.
#pragma once

#include <memory>
#include <span>
#include <string>

#include "engine/engine.h"
#include "engine/model/memory/page_arena.h"
#include "kernels/cuda/attention/attention.h"
#include "kernels/cuda/attention/attention_inputs.h"
#include "kernels/cuda/attention/compress.h"
#include "kernels/cuda/draft_rows.h"
#include "kernels/cuda/products/experts.h"
#include "kernels/cuda/hyper/hyper.h"
#include "kernels/cuda/indexer/indexer.h"
#include "kernels/cuda/products/linear.h"
#include "kernels/cuda/norm.h"
#include "kernels/cuda/quantise.h"
#include "kernels/cuda/rope.h"
#include "kernels/cuda/products/tiles.h"
#include "kernels/cuda/vocabulary.h"

namespace lares::engine::cuda {

namespace kc = kernels::cuda;

class Device {
 public:
  virtual ~Device() = default;

  virtual std::string name() const = 0;  // for people
  // Null: there is not so much. 256-byte aligned, not initialised.
  virtual void* allocate(std::size_t bytes) = 0;
  virtual void release(void* memory) = 0;
  // Bytes that allocate() could give now: others who use the GPU make them fewer and more.
  virtual std::uint64_t memory_free() = 0;
  // Host memory that copies of every GPU go to and from without a stop. Null: there is not so much,
  // or none is given.
  virtual void* allocate_pinned(std::size_t bytes) = 0;
  virtual void release_pinned(void* memory) = 0;
  // What pins memory of others for every GPU.
  virtual std::unique_ptr<Pins> pins() = 0;

  // Rows of a matrix in the kernels' order (kc::pack_tiles), in host memory. From any thread.
  virtual void pack_rows(const kernels::Matrix& m, int row_begin, int row_end, std::uint8_t* tiles,
                         float* scale) const {
    kc::pack_tiles(m, row_begin, row_end, tiles, scale);
  }

  virtual void to_device(void* to, const void* from, std::size_t bytes) = 0;
  virtual void to_host(void* to, const void* from, std::size_t bytes) = 0;
  virtual void on_device(void* to, const void* from, std::size_t bytes) = 0;
  virtual void clear(void* to, std::size_t bytes) = 0;  // to zero bytes
  virtual void synchronise() = 0;

  // Work that is asked for runs in that order, copy_beside() in an order of its own, at any time
  // that events do not rule out: what is marked is how far one of the two had been asked to go, and
  // one that waits goes no farther before the other has come to the newest mark.
  enum class Queue { work, copies };
  class Event {
   public:
    virtual ~Event() = default;
  };
  virtual std::unique_ptr<Event> event() = 0;
  virtual void mark(Queue queue, Event& event) = 0;
  virtual void wait(Queue queue, Event& event) = 0;  // not marked yet: for nothing
  // To the device, from pinned memory: from other memory it may already have happened when this
  // returns. synchronise() does not wait for it.
  virtual void copy_beside(void* to, const void* from, std::size_t bytes) = 0;

  // Whether it multiplies many tokens by wgmma, as some GPUs can: the promise is the bits of mma,
  // and an engine that finds it broken does without.
  virtual bool has_wgmma() const { return false; }
  virtual void use_wgmma(bool) {}

  // What is asked for between record() and the end of it is not run, but kept: replay() runs it,
  // reading memory as it then is.
  class Recording {
   public:
    virtual ~Recording() = default;
  };
  virtual void record() = 0;
  virtual std::unique_ptr<Recording> end_recording() = 0;  // null: no memory for it
  virtual void replay(const Recording& recording) = 0;

  virtual void embed(const kc::EmbedArgs& a) = 0;
  virtual void rope_table(const kc::RopeTableArgs& a) = 0;
  virtual void hyper(const kc::HyperArgs& a) = 0;
  virtual void linear(std::span<const kc::LinearArgs> together,
                      const kc::HyperMixes& mixes = kc::HyperMixes()) = 0;
  virtual void rms_norm(const kc::RmsNormArgs& a) = 0;
  virtual void queries(const kc::QueryArgs& a) = 0;
  virtual void attention_inputs(const kc::AttentionInputsArgs& a) = 0;
  virtual void put_window(const kc::WindowArgs& a) = 0;
  virtual void quantise(const kc::QuantiseArgs& a) = 0;
  virtual void compress(const kc::CompressArgs& a) = 0;
  virtual void put_raw(const kc::CompressArgs& a) = 0;
  virtual void index_queries(const kc::IndexQueryArgs& a) = 0;
  virtual void index_scores(const kc::IndexScoreArgs& a) = 0;
  virtual void top_k(const kc::TopKArgs& a) = 0;
  virtual std::size_t top_k_scratch(int n_tokens, int n_max) = 0;  // words
  virtual void attention(const kc::AttentionArgs& a) = 0;
  virtual void route(const kc::RouteArgs& a) = 0;
  virtual void route_and_group(const kc::RouteArgs& a, const kc::GroupArgs& b) = 0;
  virtual void group(const kc::GroupArgs& a) = 0;
  virtual void experts_linear(const kc::ExpertLinearArgs& a) = 0;
  virtual void swiglu(const kc::SwigluArgs& a) = 0;
  virtual void combine(const kc::CombineArgs& a) = 0;
  virtual void draft_rows(const kc::DraftRowsArgs& a) = 0;
  virtual void add_to_streams(const kc::AddToStreamsArgs& a) = 0;
};

// Device memory with one owner.
class Memory {
 public:
  Memory() = default;
  Memory(Device& device, std::size_t bytes)
      : device_(&device), data_(device.allocate(bytes)), size_(data_ ? bytes : 0) {}
  Memory(Memory&& other) noexcept { *this = std::move(other); }
  Memory& operator=(Memory&& other) noexcept {
    std::swap(device_, other.device_);
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    return *this;
  }
  ~Memory() {
    if (data_) device_->release(data_);
  }
  explicit operator bool() const { return data_ != nullptr; }
  std::uint8_t* data() const { return static_cast<std::uint8_t*>(data_); }
  std::size_t size() const { return size_; }

 private:
  Device* device_ = nullptr;
  void* data_ = nullptr;
  std::size_t size_ = 0;
};

// Pinned host memory with one owner.
class Pinned {
 public:
  Pinned() = default;
  Pinned(Device& device, std::size_t bytes)
      : device_(&device), data_(device.allocate_pinned(bytes)) {}
  Pinned(Pinned&& other) noexcept { *this = std::move(other); }
  Pinned& operator=(Pinned&& other) noexcept {
    std::swap(device_, other.device_);
    std::swap(data_, other.data_);
    return *this;
  }
  ~Pinned() {
    if (data_) device_->release_pinned(data_);
  }
  explicit operator bool() const { return data_ != nullptr; }
  std::uint8_t* data() const { return static_cast<std::uint8_t*>(data_); }

 private:
  Device* device_ = nullptr;
  void* data_ = nullptr;
};

// The GPU of that number, of this machine. unsupported where this program was built without CUDA.
Result<std::unique_ptr<Device>> open_device(int index);

}  // namespace lares::engine::cuda
