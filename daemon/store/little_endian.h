// Fixed-width little-endian numbers, written and read one after the other; what every format of the
// store is made of.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <span>

namespace lares::daemon::store {

class LittleEndianWriter {
 public:
  explicit LittleEndianWriter(std::span<std::byte> out) : out_(out) {}
  void u32(std::uint32_t v) { number<4>(v); }
  void u64(std::uint64_t v) { number<8>(v); }
  void bytes(std::span<const std::byte> in) {
    if (in.size() > out_.size() - at_) std::abort();  // the writer's own arithmetic is wrong
    if (!in.empty()) std::memcpy(out_.data() + at_, in.data(), in.size());
    at_ += in.size();
  }
  std::size_t at() const { return at_; }

 private:
  template <std::size_t n>  // a constant, so that the loop becomes one store
  void number(std::uint64_t v) {
    if (n > out_.size() - at_) std::abort();
    std::byte* to = out_.data() + at_;
    for (std::size_t i = 0; i < n; ++i) to[i] = static_cast<std::byte>(v >> (8 * i));
    at_ += n;
  }
  std::span<std::byte> out_;
  std::size_t at_ = 0;
};

// Past the end everything reads as 0 and ok() is false.
class LittleEndianReader {
 public:
  explicit LittleEndianReader(std::span<const std::byte> in) : in_(in) {}
  std::uint32_t u32() { return static_cast<std::uint32_t>(number<4>()); }
  std::uint64_t u64() { return number<8>(); }
  // An empty span past the end.
  std::span<const std::byte> bytes(std::size_t n) {
    if (n > in_.size() - at_) return ok_ = false, std::span<const std::byte>();
    const auto out = in_.subspan(at_, n);
    at_ += n;
    return out;
  }
  bool ok() const { return ok_; }
  std::size_t at() const { return at_; }

 private:
  template <std::size_t n>
  std::uint64_t number() {
    if (n > in_.size() - at_) return ok_ = false, 0;
    const std::byte* from = in_.data() + at_;
    std::uint64_t v = 0;
    for (std::size_t i = 0; i < n; ++i) v |= static_cast<std::uint64_t>(from[i]) << (8 * i);
    at_ += n;
    return v;
  }
  std::span<const std::byte> in_;
  std::size_t at_ = 0;
  bool ok_ = true;
};

}  // namespace lares::daemon::store
