// Fixed-width little-endian numbers, written and read one after the other; what every format of the store is made of.
#pragma once

#include <cassert>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <span>

namespace lares::daemon::store {

class LittleEndianWriter {
 public:
  explicit LittleEndianWriter(std::span<std::byte> out) : out_(out) {}
  void u32(std::uint32_t v) { number(v, 4); }
  void u64(std::uint64_t v) { number(v, 8); }
  void bytes(std::span<const std::byte> in) {
    if (in.size() > out_.size() - at_) std::abort();  // the writer's own arithmetic is wrong
    if (!in.empty()) std::memcpy(out_.data() + at_, in.data(), in.size());
    at_ += in.size();
  }
  std::size_t at() const { return at_; }

 private:
  void number(std::uint64_t v, std::size_t n) {
    if (n > out_.size() - at_) std::abort();
    for (std::size_t i = 0; i < n; ++i) out_[at_++] = static_cast<std::byte>(v >> (8 * i));
  }
  std::span<std::byte> out_;
  std::size_t at_ = 0;
};

// Past the end everything reads as 0 and ok() is false.
class LittleEndianReader {
 public:
  explicit LittleEndianReader(std::span<const std::byte> in) : in_(in) {}
  std::uint32_t u32() { return static_cast<std::uint32_t>(number(4)); }
  std::uint64_t u64() { return number(8); }
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
  std::uint64_t number(std::size_t n) {
    if (n > in_.size() - at_) return ok_ = false, 0;
    std::uint64_t v = 0;
    for (std::size_t i = 0; i < n; ++i) v |= static_cast<std::uint64_t>(in_[at_++]) << (8 * i);
    return v;
  }
  std::span<const std::byte> in_;
  std::size_t at_ = 0;
  bool ok_ = true;
};

}  // namespace lares::daemon::store
