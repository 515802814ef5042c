// Host memory for pages, in blocks that a device copies to and from without a stop. To pin memory
// takes about as long as a copy of it, so blocks are pinned once, and the places of pages that are
// gone are used again.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <vector>

namespace lares::engine {

inline constexpr std::size_t kArenaBlockMax = std::size_t{64} << 20;  // bytes
inline constexpr std::size_t kArenaBlockPages = 64;  // of small pages: no more than these

// What pins memory for a device. From any thread; it may outlive the device.
class Pins {
 public:
  virtual ~Pins() = default;
  // false: it stays as it was, and copies of it take longer
  virtual bool pin(void* at, std::size_t bytes) = 0;
  virtual void unpin(void* at) = 0;  // what pin() has taken
};

// From any thread. Pages keep it alive.
class PageArena {
 public:
  // pins: null: nothing is pinned.
  PageArena(std::size_t page_bytes, std::unique_ptr<Pins> pins);
  PageArena(const PageArena&) = delete;
  PageArena& operator=(const PageArena&) = delete;
  ~PageArena();

  std::size_t page_bytes() const { return page_bytes_; }
  void* take();  // [page_bytes()], on a cache line, not initialised; or throws std::bad_alloc
  void give(void* page);
  // In blocks, and of those in places that no page has: at most one block of nothing else.
  std::uint64_t bytes() const;
  std::uint64_t free_bytes() const;

 private:
  struct Block {
    std::vector<std::uint8_t*> free;
    bool pinned = false;
  };
  using Blocks = std::map<std::uint8_t*, Block>;  // by where they begin
  Blocks::iterator add_block();
  void drop_block(Blocks::iterator at);

  const std::size_t page_bytes_, place_bytes_, places_, block_bytes_;
  const std::unique_ptr<Pins> pins_;
  mutable std::mutex mutex_;  // of what follows
  Blocks blocks_;
  std::size_t n_free_ = 0;  // places
};

}  // namespace lares::engine
