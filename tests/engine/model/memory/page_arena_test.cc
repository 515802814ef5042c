// Pages out of blocks that are pinned once: none lies in another, places are used again, empty
// blocks go, and what is free counts as such.
#include "engine/model/memory/page_arena.h"

#include <gmock/gmock.h>

#include <cstring>
#include <random>
#include <thread>

#include "engine/model/memory/available_memory.h"
#include "engine/model/memory/pages.h"

namespace lares::engine {
namespace {

// Notes what is pinned; refuses where it is told to.
struct Noted : Pins {
  struct Log {
    std::map<void*, std::size_t> pinned;
    int pins = 0;
    bool refuses = false;
  };
  explicit Noted(Log& to) : log(to) {}
  bool pin(void* at, std::size_t bytes) override {
    ++log.pins;
    return !log.refuses && log.pinned.emplace(at, bytes).second;
  }
  void unpin(void* at) override { EXPECT_EQ(log.pinned.erase(at), 1u); }
  Log& log;
};

bool within(const Noted::Log& log, const void* at, std::size_t bytes) {
  const auto after = log.pinned.upper_bound(const_cast<void*>(at));
  if (after == log.pinned.begin()) return false;
  const auto& [begin, size] = *std::prev(after);
  return static_cast<const char*>(at) + bytes <= static_cast<const char*>(begin) + size;
}

TEST(PageArena, PagesLieApartInPinnedBlocks) {
  for (const std::size_t bytes :
       {std::size_t{1}, std::size_t{5000}, std::size_t{900'000}, std::size_t{70} << 20}) {
    Noted::Log log;
    {
      PageArena arena(bytes, std::make_unique<Noted>(log));
      std::vector<std::uint8_t*> pages;
      const int n = bytes > (64u << 20) ? 3 : 150;
      for (int i = 0; i < n; ++i) {
        pages.push_back(static_cast<std::uint8_t*>(arena.take()));
        EXPECT_EQ(reinterpret_cast<std::uintptr_t>(pages.back()) % kCacheLine, 0u);
        EXPECT_TRUE(within(log, pages.back(), bytes));
        pages.back()[0] = pages.back()[bytes - 1] = static_cast<std::uint8_t>(i);
      }
      for (int i = 0; i < n; ++i) {
        EXPECT_EQ(pages[static_cast<std::size_t>(i)][0], static_cast<std::uint8_t>(i));
        EXPECT_EQ(pages[static_cast<std::size_t>(i)][bytes - 1], static_cast<std::uint8_t>(i));
      }
      EXPECT_EQ(log.pins, 3) << bytes;  // 64 pages a block, or one
      EXPECT_GE(arena.bytes(), bytes * pages.size());
      for (std::uint8_t* page : pages) arena.give(page);
    }
    EXPECT_TRUE(log.pinned.empty());
  }
}

TEST(PageArena, EmptyBlocksGoButOne) {
  Noted::Log log;
  PageArena arena(4096, std::make_unique<Noted>(log));
  EXPECT_EQ(arena.bytes(), 0u);
  std::vector<void*> pages;
  for (std::size_t i = 0; i < 4 * kArenaBlockPages; ++i) pages.push_back(arena.take());
  const std::uint64_t full = arena.bytes();
  EXPECT_EQ(log.pinned.size(), 4u);
  EXPECT_EQ(arena.free_bytes(), 0u);
  for (std::size_t i = 0; i < pages.size(); i += 2) arena.give(pages[i]);  // half of each
  EXPECT_EQ(arena.bytes(), full);
  EXPECT_EQ(arena.free_bytes(), 2 * kArenaBlockPages * 4096);
  for (std::size_t i = 0; i < pages.size(); i += 2) pages[i] = arena.take();
  EXPECT_EQ(log.pins, 4) << "places are used again";
  for (void* page : pages) arena.give(page);
  EXPECT_EQ(log.pinned.size(), 1u);
  EXPECT_EQ(arena.bytes(), full / 4);
  EXPECT_EQ(arena.free_bytes(), kArenaBlockPages * 4096);
  arena.give(arena.take());
  EXPECT_EQ(log.pins, 4) << "and the block that stayed";
}

TEST(PageArena, WhatCannotBePinnedIsUsedAllTheSame) {
  Noted::Log log;
  log.refuses = true;
  PageArena arena(4096, std::make_unique<Noted>(log));
  PageArena without(4096, nullptr);
  for (PageArena* of : {&arena, &without}) {
    void* const page = of->take();
    std::memset(page, 1, 4096);
    of->give(page);
  }
  EXPECT_EQ(log.pins, 1);
}

TEST(PageArena, PagesAreCountedAndKeepIt) {
  Noted::Log log;
  auto memory = std::make_shared<SequenceMemory>(1 << 20);
  memory->take_pages_from(std::make_shared<PageArena>(4096, std::make_unique<Noted>(log)));
  std::shared_ptr<Page> page = new_page(4096, memory);
  EXPECT_TRUE(within(log, page->data(), 4096));
  EXPECT_EQ(memory->held(), 4096u);
  std::memset(page->data(), 7, 4096);
  const Page copy = *page;  // of its own memory
  EXPECT_FALSE(within(log, copy.data(), 4096));
  EXPECT_EQ(copy, *page);
  auto other = new_page(5000, memory);  // of another size
  EXPECT_FALSE(within(log, other->data(), 5000));
  other = nullptr;
  memory = nullptr;
  EXPECT_EQ(log.pinned.size(), 1u);
  page = nullptr;
  EXPECT_TRUE(log.pinned.empty());
}

TEST(PageArena, FreePlacesAreRoom) {
  constexpr std::uint64_t kPage = std::uint64_t{4} << 30;  // of addresses: nobody touches it
  SequenceMemory memory;
  const SequenceMemory without;
  const auto arena = std::make_shared<PageArena>(kPage, nullptr);
  memory.take_pages_from(arena);
  arena->give(arena->take());
  const std::uint64_t more = available_bytes() + kPage / 2;
  EXPECT_FALSE(without.fits(more));
  EXPECT_TRUE(memory.fits(more));
  EXPECT_FALSE(memory.fits(more + kPage));
}

TEST(PageArena, FromAnyThread) {
  PageArena arena(64, nullptr);
  std::vector<std::jthread> threads;
  for (unsigned t = 0; t < 4; ++t)
    threads.emplace_back([&arena, t] {
      std::mt19937 random(t);
      std::vector<std::uint8_t*> mine;
      for (int i = 0; i < 20'000; ++i) {
        if (mine.empty() || random() % 2 != 0) {
          mine.push_back(static_cast<std::uint8_t*>(arena.take()));
          std::memset(mine.back(), static_cast<int>(t), 64);
        } else {
          std::swap(mine[random() % mine.size()], mine.back());
          for (int b = 0; b < 64; ++b) ASSERT_EQ(mine.back()[b], t);
          arena.give(mine.back());
          mine.pop_back();
        }
      }
      for (std::uint8_t* page : mine) arena.give(page);
    });
  threads.clear();
  EXPECT_LE(arena.free_bytes(), kArenaBlockPages * 64);
}

}  // namespace
}  // namespace lares::engine
