#include "tests/engine/cuda/host_device.h"

#include <gtest/gtest.h>

#include <cstring>
#include <iterator>
#include <utility>

namespace lares::engine::test {
namespace {

// In place of tiles: which matrix they are of, at both ends, so that a copy which is not there, or
// not whole, is seen.
struct Label {
  std::uint64_t magic = 0;
  kernels::Matrix matrix;
};
constexpr std::uint64_t kMagic = 0x6c61726573746c73;
std::uint8_t* end_label(std::uint8_t* tiles, const kernels::Matrix& m) {
  return tiles + kc::tiles_bytes(m.format, m.n_out, m.n_in) - sizeof(Label);
}

}  // namespace

struct HostDevice::Recorded : Recording {
  struct Asked {
    const char* name;
    std::function<void()> run;
    bool overlaps;
  };
  std::vector<Asked> steps;
  std::shared_ptr<int> counted;  // among those that there are
  ~Recorded() override {
    if (counted) --*counted;
  }
};

HostDevice::HostDevice(std::size_t bytes_max, std::string name)
    : bytes_max_(bytes_max), free_(bytes_max), name_(std::move(name)) {}

HostDevice::~HostDevice() {
  EXPECT_TRUE(sizes_.empty()) << sizes_.size() << " allocations were not given back";
  EXPECT_TRUE(pinned_.empty()) << pinned_.size() << " pinned allocations were not given back";
}

struct HostDevice::Mark : Event {
  std::shared_ptr<std::int64_t> reached = std::make_shared<std::int64_t>(0);
  std::int64_t count = 0;
};

bool HostDevice::step(Queue queue) {
  auto& entries = queues_[static_cast<int>(queue)];
  if (entries.empty() ||
      (entries.front().waits && *entries.front().reached < entries.front().count))
    return false;
  const Entry entry = std::move(entries.front());
  entries.pop_front();
  if (queue == Queue::work && !entry.overlaps) settle();
  if (entry.run) {
    launches.emplace_back(entry.name);
    entry.run();
  } else if (!entry.waits) {
    *entry.reached = entry.count;
  }
  return true;
}

void HostDevice::finish(Queue queue) {
  const Queue other = queue == Queue::work ? Queue::copies : Queue::work;
  while (!queues_[static_cast<int>(queue)].empty())
    if (!step(queue) && !step(other)) {
      ADD_FAILURE() << "both queues wait for each other";
      std::abort();
    }
}
void HostDevice::finish_all() {
  finish(Queue::work);
  finish(Queue::copies);
  settle();
}

void HostDevice::add(Queue queue, Entry entry) {
  queues_[static_cast<int>(queue)].push_back(std::move(entry));
  finish(ahead == Ahead::work ? Queue::work : Queue::copies);
}

void HostDevice::run(const char* name, std::function<void()> f, bool overlaps) {
  if (recording_) {
    recording_->steps.push_back({name, std::move(f), overlaps});
    return;
  }
  add(Queue::work, {.name = name, .run = std::move(f), .reached = {}, .overlaps = overlaps});
}

std::unique_ptr<cuda::Device::Event> HostDevice::event() { return std::make_unique<Mark>(); }
void HostDevice::mark(Queue queue, Event& event) {
  EXPECT_FALSE(recording_) << "a mark within a recording";
  auto& of = static_cast<Mark&>(event);
  add(queue, {.run = {}, .reached = of.reached, .count = ++of.count});
}
void HostDevice::wait(Queue queue, Event& event) {
  EXPECT_FALSE(recording_) << "a wait within a recording";
  const auto& of = static_cast<Mark&>(event);
  add(queue, {.run = {}, .reached = of.reached, .count = of.count, .waits = true});
}
void HostDevice::copy_beside(void* to, const void* from, std::size_t bytes) {
  add(Queue::copies,
      {.name = "copy_beside", .run = [=] { std::memcpy(to, from, bytes); }, .reached = {}});
}

void* HostDevice::allocate(std::size_t bytes) {
  EXPECT_FALSE(recording_) << "memory was asked for within a recording";
  if (n_asked_++ == refused || bytes > free_) return nullptr;
  void* const memory = std::aligned_alloc(256, (bytes + 255) / 256 * 256 + 256);
  std::memset(memory, 0xFF, bytes);
  sizes_[memory] = bytes;
  free_ -= bytes;
  return memory;
}
void HostDevice::release(void* memory) {
  finish_all();
  free_ += sizes_.at(memory);
  sizes_.erase(memory);
  std::free(memory);
}
std::uint64_t HostDevice::memory_free() {
  const std::size_t free = free_, taken = std::min(free_, std::exchange(taken_meanwhile, 0));
  free_ -= taken;
  of_others_ += taken;
  return free;
}
void* HostDevice::allocate_pinned(std::size_t bytes) {
  if (n_pinned_++ == pinned_refused) return nullptr;
  void* const memory = std::aligned_alloc(256, (bytes + 255) / 256 * 256 + 256);
  std::memset(memory, 0xFF, bytes);
  pinned_.insert(memory);
  return memory;
}
void HostDevice::release_pinned(void* memory) {
  finish_all();
  EXPECT_EQ(pinned_.erase(memory), 1u);
  std::free(memory);
}

std::size_t HostDevice::PinnedRanges::bytes() {
  const std::lock_guard lock(mutex);
  std::size_t n = 0;
  for (const auto& [at, size] : ranges) n += size;
  return n;
}
bool HostDevice::PinnedRanges::has(const void* at, std::size_t bytes) {
  const std::lock_guard lock(mutex);
  const auto after = ranges.upper_bound(at);
  if (after == ranges.begin()) return false;
  const auto& [begin, size] = *std::prev(after);
  return static_cast<const char*>(at) + bytes <= static_cast<const char*>(begin) + size;
}
std::unique_ptr<Pins> HostDevice::pins() {
  class Noted : public Pins {
   public:
    explicit Noted(std::shared_ptr<PinnedRanges> all) : all_(std::move(all)) {}
    bool pin(void* at, std::size_t bytes) override {
      const std::lock_guard lock(all_->mutex);
      EXPECT_EQ(reinterpret_cast<std::uintptr_t>(at) % 4096, 0u);
      return all_->ranges.emplace(at, bytes).second;
    }
    void unpin(void* at) override {
      const std::lock_guard lock(all_->mutex);
      EXPECT_EQ(all_->ranges.erase(at), 1u);
    }

   private:
    const std::shared_ptr<PinnedRanges> all_;
  };
  return std::make_unique<Noted>(others);
}

void HostDevice::pack_rows(const kernels::Matrix& m, int row_begin, int row_end,
                           std::uint8_t* tiles, float*) const {
  const Label label{kMagic, m};
  if (row_begin == 0) std::memcpy(tiles, &label, sizeof label);
  if (row_end == m.n_out)
    std::memcpy(tiles + kc::tiles_bytes(m.format, row_end - row_begin, m.n_in) - sizeof label,
                &label, sizeof label);
}
kernels::Matrix HostDevice::matrix(const std::uint8_t* tiles) const {
  Label first, last;
  const auto after = sizes_.upper_bound(const_cast<std::uint8_t*>(tiles));
  const bool here = after != sizes_.begin() &&
                    tiles < static_cast<std::uint8_t*>(std::prev(after)->first) +
                                std::prev(after)->second;
  if (here) std::memcpy(&first, tiles, sizeof first);
  if (first.magic == kMagic)
    std::memcpy(&last, end_label(const_cast<std::uint8_t*>(tiles), first.matrix), sizeof last);
  if (last.magic != kMagic || last.matrix.data != first.matrix.data) {
    ADD_FAILURE() << "tiles are multiplied that are not there";
    return {};
  }
  return first.matrix;
}

void HostDevice::to_device(void* to, const void* from, std::size_t bytes) {
  run("to_device", [=] { std::memcpy(to, from, bytes); });
}
void HostDevice::to_host(void* to, const void* from, std::size_t bytes) {
  run("to_host", [=] { std::memcpy(to, from, bytes); });
}
void HostDevice::on_device(void* to, const void* from, std::size_t bytes) {
  run("on_device", [=] { std::memcpy(to, from, bytes); });
}
void HostDevice::clear(void* to, std::size_t bytes) {
  run("clear", [=] { std::memset(to, 0, bytes); });
}
void HostDevice::synchronise() {
  EXPECT_FALSE(recording_) << "a wait within a recording";
  finish(Queue::work);
  settle();
}
void HostDevice::record() {
  EXPECT_FALSE(recording_);
  recording_ = std::make_unique<Recorded>();
}
std::unique_ptr<cuda::Device::Recording> HostDevice::end_recording() {
  if (graphs_max >= 0 && *graphs_ >= graphs_max) {
    recording_ = nullptr;
    return nullptr;
  }
  recording_->counted = graphs_;
  ++*graphs_;
  return std::move(recording_);
}
void HostDevice::replay(const Recording& recording) {
  EXPECT_FALSE(recording_);
  for (const Recorded::Asked& asked : static_cast<const Recorded&>(recording).steps)
    run(asked.name, asked.run, asked.overlaps);
}

}  // namespace lares::engine::test
