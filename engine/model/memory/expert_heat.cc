#include "engine/model/memory/expert_heat.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <utility>

#include "engine/model/checkpoint/fnv1a.h"
#include "engine/model/checkpoint/mapped_file.h"

namespace lares::engine {
namespace {

// "lares heat 1\n", the fingerprint and its line's end, n as u32, n floats, a checksum of all that
// as u64; little-endian.
constexpr std::string_view kMagic = "lares heat 1\n";
static_assert(std::endian::native == std::endian::little);

std::uint64_t checksum(std::string_view bytes) {
  Fnv1a hash;
  hash.add(bytes);
  return hash.value;
}

template <class T>
void append(std::string& to, const T& value) {
  to.append(reinterpret_cast<const char*>(&value), sizeof value);
}

tl::unexpected<Error> unwritten(const std::string& path, int error) {
  return tl::unexpected(
      Error{Errc::malformed,
            fmt::format("keep what experts were asked for in {}: {}", path, std::strerror(error))});
}

double log2_of_sum(double a, double b) {  // of 2^a + 2^b
  const double high = std::max(a, b), low = std::min(a, b);
  return low == ExpertHeat::kNever ? high : high + std::log2(1 + std::exp2(low - high));
}

}  // namespace

HeatFile::HeatFile(const std::string& directory, std::string fingerprint)
    : path_(fmt::format("{}/expert-heat-{}.bin", directory, fingerprint)),
      fingerprint_(std::move(fingerprint)) {}

Result<std::vector<float>> HeatFile::read(std::size_t n) const {
  const std::string head = fmt::format("{}{}\n", kMagic, fingerprint_);
  const std::size_t expected = head.size() + sizeof(std::uint32_t) + n * sizeof(float) +
                               sizeof(std::uint64_t);
  const auto refused = [&](const std::string& why) {
    return tl::unexpected(Error{
        Errc::malformed, fmt::format("read {}: {}; it is not used, and written anew", path_, why)});
  };
  const auto text = read_text(path_, head.size() + sizeof(std::uint32_t) +
                                         kHeatExpertsMax * sizeof(float) + sizeof(std::uint64_t));
  if (!text)
    return text.error().code == Errc::not_found ? tl::unexpected(text.error())
                                                : refused(text.error().message);
  if (!text->starts_with(kMagic)) return refused("it does not begin as such a file does");
  if (!text->starts_with(head)) return refused("it is of other weights");
  if (text->size() != expected)
    return refused(fmt::format("{} bytes, expected {}", text->size(), expected));
  const std::string_view body(text->data(), text->size() - sizeof(std::uint64_t));
  std::uint64_t sum = 0;
  std::memcpy(&sum, body.data() + body.size(), sizeof sum);
  std::uint32_t count = 0;
  std::memcpy(&count, body.data() + head.size(), sizeof count);
  if (sum != checksum(body) || count != n) return refused("it is damaged");
  std::vector<float> heat(n);
  std::memcpy(heat.data(), body.data() + head.size() + sizeof count, n * sizeof(float));
  for (const float h : heat)
    if (std::isnan(h) || h == INFINITY) return refused("it is damaged");
  return heat;
}

Result<> HeatFile::write(std::span<const float> heat) const {
  std::string bytes = fmt::format("{}{}\n", kMagic, fingerprint_);
  append(bytes, static_cast<std::uint32_t>(heat.size()));
  bytes.append(reinterpret_cast<const char*>(heat.data()), heat.size_bytes());
  append(bytes, checksum(bytes));
  const std::string part = path_ + ".part";
  const int fd = ::open(part.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd < 0) return unwritten(part, errno);
  int error = 0;
  for (std::size_t done = 0; done < bytes.size() && error == 0;) {
    const ssize_t n = ::write(fd, bytes.data() + done, bytes.size() - done);
    if (n >= 0)
      done += static_cast<std::size_t>(n);
    else if (errno != EINTR)
      error = errno;
  }
  if (::close(fd) != 0 && error == 0) error = errno;
  if (error == 0 && ::rename(part.c_str(), path_.c_str()) != 0) error = errno;
  if (error == 0) return {};
  ::unlink(part.c_str());
  return unwritten(path_, error);
}

ExpertHeat::ExpertHeat(std::size_t n_experts) : heat_(n_experts, kNever) {}

Result<> ExpertHeat::remember(HeatFile file) {
  const auto heat = file.read(heat_.size());
  file_.emplace(std::move(file));
  if (!heat && heat.error().code == Errc::not_found) return {};
  if (!heat) return tl::unexpected(heat.error());
  for (std::size_t i = 0; i < heat_.size(); ++i) {
    heat_[i] = static_cast<double>((*heat)[i]) - 1;
    remembered_ += heat_[i] != kNever;
  }
  return {};
}

void ExpertHeat::sent(std::size_t expert, std::int64_t n_tokens) {
  heat_[expert] = log2_of_sum(heat_[expert],
                              std::log2(static_cast<double>(n_tokens)) + clock_ / kHeatHalfLife);
}

void ExpertHeat::keep_now_and_then() {
  if (clock_ - kept_at_ >= kHeatKeptEvery) keep();
}

void ExpertHeat::keep() {
  if (!file_ || clock_ == kept_at_) return;
  kept_at_ = clock_;
  std::vector<float> heat;
  for (const double h : heat_) heat.push_back(static_cast<float>(h - clock_ / kHeatHalfLife));
  const auto written = file_->write(heat);
  const std::lock_guard lock(mutex_);
  unkept_ = written ? "" : written.error().message;
}

std::string ExpertHeat::unkept() const {
  const std::lock_guard lock(mutex_);
  return unkept_;
}

}  // namespace lares::engine
