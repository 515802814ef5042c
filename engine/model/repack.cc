#include "engine/model/repack.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <map>
#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

#include "engine/inspect.h"
#include "engine/model/fnv1a.h"

namespace lares::engine {
namespace {

constexpr std::uint64_t kAlign = 4096;
constexpr int kRowsPiece = 128;  // rows a thread repacks at a time: one block of fp8 scales

constexpr std::uint64_t aligned(std::uint64_t n, std::uint64_t to) { return (n + to - 1) / to * to; }

// Where a matrix's tiles and, for fp8, their scales lie from the beginning of the data.
struct Slot {
  const NamedMatrix* of;
  std::uint64_t at, scale_at, end;
};

std::uint64_t tiles_size(const kernels::Matrix& m) { return static_cast<std::uint64_t>(kernels::tiles_bytes(m.format, m.n_out, m.n_in)); }
std::uint64_t scales_size(const kernels::Matrix& m) {
  return m.format == kernels::Format::fp8 ? sizeof(float) * static_cast<std::uint64_t>(kernels::tiles_scales(m.n_out, m.n_in)) : 0;
}

Slot slot_after(std::uint64_t end, const NamedMatrix& of) {
  Slot s{&of, aligned(end, 64), 0, 0};
  s.scale_at = s.at + tiles_size(*of.matrix);  // whole lines, so still aligned
  s.end = s.scale_at + scales_size(*of.matrix);
  return s;
}

// Every matrix that tiles can hold, in order. Reads all weights.
std::vector<Slot> plan(const Weights& weights, kernels::ThreadPool& pool) {
  std::vector<char> fits(weights.matrices.size());
  pool.run(static_cast<std::int64_t>(fits.size()), 1, [&](std::int64_t begin, std::int64_t end) {
    for (auto i = begin; i < end; ++i) fits[i] = kernels::tileable(*weights.matrices[i].matrix);
  });
  std::vector<Slot> out;
  std::uint64_t end = 0;
  for (std::size_t i = 0; i < fits.size(); ++i)
    if (fits[i]) {
      out.push_back(slot_after(end, weights.matrices[i]));
      end = out.back().end;
    }
  return out;
}

// The experts of a layer are all read as tiles or all as they are stored.
void keep_whole_layers(LayerWeights& layer) {
  const auto tiled = [](const ExpertWeights& e) { return e.w1.tiles && e.w2.tiles && e.w3.tiles; };
  if (tiled(layer.shared) && std::all_of(layer.experts.begin(), layer.experts.end(), tiled)) return;
  const auto drop = [](ExpertWeights& e) { e.w1.tiles = e.w2.tiles = e.w3.tiles = nullptr; };
  for (ExpertWeights& e : layer.experts) drop(e);
  drop(layer.shared);
}
void keep_whole_layers(Weights& weights) {
  for (LayerWeights& layer : weights.layers) keep_whole_layers(layer);
  for (MtpWeights& block : weights.mtp) keep_whole_layers(block.block);
  if (weights.dspark)
    for (LayerWeights& stage : weights.dspark->stages) keep_whole_layers(stage);
}

void fill(const Slot& slot, std::uint8_t* data, kernels::ThreadPool& pool) {
  const kernels::Matrix& m = *slot.of->matrix;
  const std::int64_t pieces = (m.n_out + kRowsPiece - 1) / kRowsPiece;
  pool.run(pieces, 1, [&](std::int64_t begin, std::int64_t end) {
    for (auto i = begin; i < end; ++i)
      kernels::repack(m, static_cast<int>(i) * kRowsPiece, std::min(m.n_out, static_cast<int>(i + 1) * kRowsPiece), data + slot.at,
                      reinterpret_cast<float*>(data + slot.scale_at));
  });
}

kernels::Tiles tiles_at(const Slot& slot, const std::uint8_t* data) {
  const kernels::Matrix& m = *slot.of->matrix;
  return {m.format, data + slot.at, m.format == kernels::Format::fp8 ? reinterpret_cast<const float*>(data + slot.scale_at) : nullptr, m.n_out, m.n_in};
}

Error failed(const std::string& path, std::string_view what) {
  return {Errc::bad_argument, fmt::format("write {}: {}: {}; name another place with --to", path, what, std::strerror(errno))};
}

// A file under another name until it is complete.
class Draft {
 public:
  explicit Draft(std::string path) : path_(std::move(path)), part_(path_ + ".part"), fd_(::open(part_.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644)) {}
  ~Draft() {
    if (fd_ >= 0) ::close(fd_);
    if (!kept_) ::unlink(part_.c_str());
  }
  Draft(const Draft&) = delete;
  Draft& operator=(const Draft&) = delete;
  int fd() const { return fd_; }
  bool write(const void* data, std::size_t n, std::uint64_t at) const {
    const auto* p = static_cast<const std::uint8_t*>(data);
    while (n > 0) {
      const ssize_t done = ::pwrite(fd_, p, n, static_cast<off_t>(at));
      if (done < 0 && errno == EINTR) continue;
      if (done <= 0) return false;
      p += done, n -= static_cast<std::size_t>(done), at += static_cast<std::uint64_t>(done);
    }
    return true;
  }
  bool keep() { return kept_ = ::fsync(fd_) == 0 && ::rename(part_.c_str(), path_.c_str()) == 0; }

 private:
  std::string path_, part_;
  int fd_;
  bool kept_ = false;
};

std::string header_of(const std::vector<Slot>& slots, const std::string& fingerprint) {
  nlohmann::json tiles = nlohmann::json::array();
  for (const Slot& s : slots) tiles.push_back({s.of->name, s.at});
  return nlohmann::json{{"fingerprint", fingerprint}, {"bytes", slots.empty() ? 0 : slots.back().end}, {"tiles", tiles}}.dump();
}

}  // namespace

std::uint64_t repacked_bytes(const Weights& weights) {
  std::uint64_t end = 0;
  for (const auto& named : weights.matrices)
    if (named.matrix->format != kernels::Format::f32) end = slot_after(end, named).end;
  return end;
}

Repacked::~Repacked() {
  if (memory_) ::munmap(memory_, memory_bytes_);
}

Result<> Repacked::build(Weights& weights, kernels::ThreadPool& pool, const Progress& progress) {
  const auto slots = plan(weights, pool);
  if (slots.empty()) return {};
  const std::uint64_t bytes = slots.back().end;
  void* memory = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED)
    return tl::unexpected(Error{Errc::no_memory, fmt::format("repack {}: no memory for {} bytes", weights.checkpoint.directory(), bytes)});
  memory_ = static_cast<std::uint8_t*>(memory);
  memory_bytes_ = bytes;
  ::madvise(memory, bytes, MADV_HUGEPAGE);  // a wish: fewer page walks
  for (const Slot& slot : slots) {
    fill(slot, memory_, pool);
    slot.of->matrix->tiles = &tiles_.emplace_back(tiles_at(slot, memory_));
    if (progress) progress(static_cast<std::int64_t>(slot.end), static_cast<std::int64_t>(bytes));
  }
  keep_whole_layers(weights);
  return {};
}

Result<> Repacked::map(Weights& weights, const std::string& path) {
  if (::access(path.c_str(), F_OK) != 0) return tl::unexpected(Error{Errc::not_found, fmt::format("open {}: no such file", path)});
  auto file = MappedFile::open(path);
  if (!file) return tl::unexpected(file.error());
  const auto bytes = file->bytes();
  const auto damaged = [&](std::string_view why) {
    return tl::unexpected(Error{Errc::malformed, fmt::format("open {}: {}; write it again with `lares model repack`", path, why)});
  };
  std::uint64_t length = 0;
  if (bytes.size() < 8) return damaged("truncated");
  std::memcpy(&length, bytes.data(), 8);
  if (length > kRepackHeaderMax || length > bytes.size() - 8) return damaged("its header does not fit the file");
  const auto header = nlohmann::json::parse(bytes.data() + 8, bytes.data() + 8 + length, nullptr, /*allow_exceptions=*/false);
  if (!header.is_object() || !header.contains("tiles") || !header["tiles"].is_array()) return damaged("its header is not what it should be");
  if (header.value("fingerprint", nlohmann::json()) != checkpoint_fingerprint(weights.checkpoint)) return damaged("it was made from another checkpoint");
  const std::uint64_t begin = aligned(8 + length, kAlign);
  std::map<std::string_view, const NamedMatrix*> by_name;
  for (const auto& named : weights.matrices) by_name[named.name] = &named;
  std::vector<Slot> slots;
  for (const auto& entry : header["tiles"]) {
    if (!entry.is_array() || entry.size() != 2 || !entry[0].is_string() || !entry[1].is_number_unsigned()) return damaged("its header is not what it should be");
    const auto found = by_name.find(entry[0].get_ref<const std::string&>());
    if (found == by_name.end() || found->second->matrix->format == kernels::Format::f32) return damaged("it names a tensor that the checkpoint does not have");
    const Slot slot = slot_after(slots.empty() ? 0 : slots.back().end, *found->second);
    if (slot.at != entry[1].get<std::uint64_t>() || begin > bytes.size() || slot.end > bytes.size() - begin) return damaged("truncated");
    slots.push_back(slot);
  }
  file_ = std::move(*file);
  const std::uint8_t* data = file_->bytes().data() + begin;
  for (const Slot& slot : slots) slot.of->matrix->tiles = &tiles_.emplace_back(tiles_at(slot, data));
  keep_whole_layers(weights);
  return {};
}

Result<std::uint64_t> write_repacked(Weights& weights, const std::string& path, kernels::ThreadPool& pool, const Progress& progress) {
  const auto slots = plan(weights, pool);
  if (slots.empty())
    return tl::unexpected(Error{Errc::unsupported, fmt::format("repack {}: no matrix is stored in a format that can be repacked", weights.checkpoint.directory())});
  const std::string header = header_of(slots, checkpoint_fingerprint(weights.checkpoint));
  const std::uint64_t begin = aligned(8 + header.size(), kAlign), total = begin + slots.back().end, length = header.size();
  Draft draft(path);
  if (draft.fd() < 0) return tl::unexpected(failed(path, "cannot be created"));
  struct statvfs fs {};
  if (::fstatvfs(draft.fd(), &fs) == 0 && fs.f_bavail * fs.f_frsize < total)
    return tl::unexpected(Error{Errc::no_memory, fmt::format("write {}: it takes {} bytes and {} are free; name another place with --to", path, total,
                                                             fs.f_bavail * fs.f_frsize)});
  if (!draft.write(&length, 8, 0) || !draft.write(header.data(), header.size(), 8)) return tl::unexpected(failed(path, "header"));
  std::vector<std::uint64_t> lines;  // one matrix at a time
  for (const Slot& slot : slots) {
    lines.assign((slot.end - slot.at + 71) / 8, 0);
    auto* data = reinterpret_cast<std::uint8_t*>(aligned(reinterpret_cast<std::uintptr_t>(lines.data()), 64));
    fill({slot.of, 0, slot.scale_at - slot.at, slot.end - slot.at}, data, pool);
    if (!draft.write(data, slot.end - slot.at, begin + slot.at)) return tl::unexpected(failed(path, slot.of->name));
    if (progress) progress(static_cast<std::int64_t>(slot.end), static_cast<std::int64_t>(slots.back().end));
  }
  if (!draft.keep()) return tl::unexpected(failed(path, "cannot be finished"));
  return total;
}

std::string checkpoint_fingerprint(const Checkpoint& checkpoint) {
  constexpr std::size_t kSamples = 64, kSampleBytes = 4096, kBeginning = 1 << 20;
  Fnv1a hash;
  hash.add("tiles 2");  // 2: no bf16 below 2^-46
  for (const auto& [name, entry] : checkpoint.entries()) {
    hash.add(name);
    hash.add(entry.tensor->n_bytes);
    hash.add(static_cast<std::uint64_t>(entry.tensor->dtype));
  }
  for (std::size_t i = 0; i < checkpoint.shards().size(); ++i) {
    const auto bytes = checkpoint.shard(i);
    hash.add(checkpoint.shards()[i]);
    hash.add(bytes.size());
    hash.add(bytes.data(), std::min(bytes.size(), kBeginning));
    for (std::size_t k = 1; k <= kSamples && bytes.size() > kBeginning + kSampleBytes; ++k)
      hash.add(bytes.data() + (bytes.size() - kSampleBytes) / kSamples * k, kSampleBytes);
  }
  return fmt::format("{:016x}", hash.value);
}

Result<RepackResult> repack_checkpoint(const std::string& directory, const std::string& path, int threads, const Progress& progress) {
  auto weights = load_weights(directory, {});
  if (!weights) return tl::unexpected(weights.error());
  kernels::ThreadPool pool(threads);
  const std::string to = path.empty() ? fmt::format("{}/{}", directory, kRepackFile) : path;
  const auto bytes = write_repacked(**weights, to, pool, progress);
  if (!bytes) return tl::unexpected(bytes.error());
  return RepackResult{to, *bytes};
}

}  // namespace lares::engine
