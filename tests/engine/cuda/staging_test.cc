// What goes to a device by way of staging blocks is there in the end, byte for byte, however small
// the blocks, whichever queue goes ahead, with pinned memory and without.
#include "engine/cuda/staging.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <random>

#include "tests/engine/cuda/host_device.h"

namespace lares::engine {
namespace {

using cuda::Staging;
using kernels::Format;
using test::HostDevice;
namespace kc = kernels::cuda;

// That packs as a GPU's driver does.
class PackingDevice : public HostDevice {
 public:
  using HostDevice::HostDevice;
  void pack_rows(const kernels::Matrix& m, int row_begin, int row_end, std::uint8_t* tiles,
                 float* scale) const override {
    kc::pack_tiles(m, row_begin, row_end, tiles, scale);
  }
};

struct Stored {
  Stored(Format format, int n_out, int n_in, unsigned seed) {
    std::mt19937 random(seed);
    const auto n = static_cast<std::size_t>(n_out) * static_cast<std::size_t>(n_in);
    data.resize(format == Format::bf16 ? 2 * n : format == Format::fp8 ? n : n / 2);
    scale.resize(n / 32 + 64);
    for (auto& b : data) b = static_cast<std::uint8_t>(random());
    for (auto& b : scale) b = static_cast<std::uint8_t>(120 + random() % 16);
    m = {
        .format = format, .data = data.data(), .scale = scale.data(), .n_out = n_out, .n_in = n_in};
    tiles.resize(kc::tiles_bytes(format, n_out, n_in));
    scales.resize(kc::tiles_scales(format, n_out, n_in));
    kc::pack_tiles(m, 0, n_out, tiles.data(), scales.data());
  }
  std::vector<std::uint8_t> data, scale;
  kernels::Matrix m;
  std::vector<std::uint8_t> tiles;  // as they are to arrive
  std::vector<float> scales;
};

TEST(Staging, WhatIsPutIsThere) {
  std::vector<Stored> all;
  unsigned seed = 0;
  for (const Format format : {Format::bf16, Format::fp8, Format::fp4})
    for (const auto& [n_out, n_in] :
         {std::pair{16, 128}, {200, 256}, {1000, 384}, {129, 1024}, {128, 32}})
      all.emplace_back(format, n_out, n_in, ++seed);
  std::vector<std::uint8_t> bytes(300'001);
  for (std::size_t i = 0; i < bytes.size(); ++i)
    bytes[i] = static_cast<std::uint8_t>(i * 2654435761u >> 11);
  kernels::ThreadPool pool(2);
  for (const std::size_t block : {std::size_t{64}, std::size_t{150'000}, std::size_t{64} << 20})
    for (const auto ahead : {HostDevice::Ahead::work, HostDevice::Ahead::copies})
      for (const int refused : {-1, 0, 1}) {
        SCOPED_TRACE(testing::Message() << "blocks of " << block << ", refused " << refused);
        PackingDevice device;
        device.ahead = ahead;
        device.pinned_refused = refused;
        std::vector<cuda::Memory> memory;
        memory.reserve(3 * all.size());
        Staging staging(device, pool, block);  // there when all is compared: its end copies, too
        for (const Stored& s : all) {
          cuda::Memory& some = memory.emplace_back(device, bytes.size());
          std::vector<std::uint8_t> brief = bytes;
          staging.bytes(some.data(), brief.data(), brief.size());
          std::ranges::fill(brief, std::uint8_t{0});
          cuda::Memory& tiles = memory.emplace_back(device, s.tiles.size());
          cuda::Memory& scales = memory.emplace_back(device, s.scales.size() * sizeof(float) + 1);
          staging.matrix(s.m, tiles.data(), reinterpret_cast<float*>(scales.data()));
        }
        staging.finish();
        for (std::size_t i = 0; i < all.size(); ++i) {
          EXPECT_TRUE(std::equal(bytes.begin(), bytes.end(), memory[3 * i].data())) << i;
          EXPECT_TRUE(
              std::equal(all[i].tiles.begin(), all[i].tiles.end(), memory[3 * i + 1].data()))
              << i;
          EXPECT_TRUE(std::equal(all[i].scales.begin(), all[i].scales.end(),
                                 reinterpret_cast<const float*>(memory[3 * i + 2].data())))
              << i;
        }
      }
}

// One run of bytes on the device is one copy.
TEST(Staging, WhatLiesTogetherGoesTogether) {
  const Stored s(Format::fp4, 512, 256, 1);
  kernels::ThreadPool pool(2);
  PackingDevice device;
  const cuda::Memory to(device, 4 * s.tiles.size());
  Staging staging(device, pool);
  for (std::size_t i = 0; i < 4; ++i) staging.matrix(s.m, to.data() + i * s.tiles.size(), nullptr);
  staging.finish();
  EXPECT_EQ(std::ranges::count(device.launches, "copy_beside"), 1);
}

}  // namespace
}  // namespace lares::engine
