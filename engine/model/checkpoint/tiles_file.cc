#include "engine/model/checkpoint/tiles_file.h"

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>

#include "engine/inspect.h"
#include "engine/model/checkpoint/digest.h"
#include "engine/model/checkpoint/draft_file.h"
#include "engine/model/checkpoint/fnv1a.h"
#include "engine/model/checkpoint/repack.h"

namespace lares::engine {
namespace {

constexpr int kVersion = 3;  // of the file
constexpr std::uint64_t kAlign = 4096;
constexpr std::int64_t kAtATime = 64;  // matrices between two reports

constexpr std::uint64_t aligned(std::uint64_t n, std::uint64_t to) {
  return (n + to - 1) / to * to;
}

// Of all that the tiles were made from: see above.
std::string tiles_fingerprint(const Checkpoint& checkpoint) {
  Fnv1a hash;
  hash.add(checkpoint_fingerprint(checkpoint));
  for (const std::string& file : checkpoint.shards()) {
    struct stat s {};
    if (::stat(fmt::format("{}/{}", checkpoint.directory(), file).c_str(), &s) != 0)
      hash.add("missing");
    hash.add(file);
    hash.add(static_cast<std::uint64_t>(s.st_size));
    hash.add(static_cast<std::uint64_t>(s.st_mtim.tv_sec));
    hash.add(static_cast<std::uint64_t>(s.st_mtim.tv_nsec));
  }
  for (const auto& [file, bytes_max] :
       {std::pair<const char*, std::size_t>{"config.json", kConfigBytesMax},
        {"model.safetensors.index.json", kIndexBytesMax}})
    hash.add(read_text(fmt::format("{}/{}", checkpoint.directory(), file), bytes_max)
                 .value_or("missing"));
  return fmt::format("{:016x}", hash.value);
}

std::uint64_t digest_at(const Slot& slot, const std::uint8_t* data) {
  return digest_of(data + slot.at, slot.end - slot.at, seed_of(slot.of->name, slot.at));
}

// As long whatever the digests are: it is written first, and once more when they are known.
std::string header_of(const std::vector<Slot>& slots, const std::vector<std::uint64_t>& digests,
                      const std::string& fingerprint) {
  nlohmann::json tiles = nlohmann::json::array();
  for (std::size_t i = 0; i < slots.size(); ++i)
    tiles.push_back({slots[i].of->name, slots[i].at, fmt::format("{:016x}", digests[i])});
  return nlohmann::json{{"version", kVersion},
                        {"fingerprint", fingerprint},
                        {"bytes", slots.back().end},
                        {"tiles", tiles}}
      .dump();
}

bool parse_digest(const nlohmann::json& json, std::uint64_t& out) {
  const auto* text = json.get_ptr<const std::string*>();
  if (!text || text->size() != 16) return false;
  const auto [end, ec] = std::from_chars(text->data(), text->data() + 16, out, 16);
  return ec == std::errc() && end == text->data() + 16;
}

Error failed(const std::string& path, std::string_view what) {
  return {Errc::bad_argument, fmt::format("write {}: {}: {}", path, what, std::strerror(errno))};
}

}  // namespace

std::vector<std::string> tiles_paths(const Checkpoint& checkpoint,
                                     const std::string& private_directory) {
  std::vector<std::string> out{fmt::format("{}/{}", checkpoint.directory(), kRepackFile)};
  if (!private_directory.empty())
    out.push_back(fmt::format("{}/{}.bin", private_directory, checkpoint_fingerprint(checkpoint)));
  return out;
}

Result<TilesFile> open_tiles(const Weights& weights, const std::string& path) {
  auto file = MappedFile::open(path);
  if (!file) return tl::unexpected(file.error());
  const auto bytes = file->bytes();
  const auto refused = [&](std::string_view why) {
    return tl::unexpected(
        Error{Errc::malformed,
              fmt::format("open {}: {}; delete it, or write it again with `lares model repack {}`",
                          path, why, weights.checkpoint.directory())});
  };
  constexpr std::string_view kStrange = "its header is not what it should be";
  std::uint64_t length = 0;
  if (bytes.size() < 8) return refused("truncated");
  std::memcpy(&length, bytes.data(), 8);
  if (length > kRepackHeaderMax || length > bytes.size() - 8)
    return refused("its header does not fit the file");
  const auto header = nlohmann::json::parse(bytes.data() + 8, bytes.data() + 8 + length, nullptr,
                                            /*allow_exceptions=*/false);
  if (!header.is_object() || !header.contains("tiles") || !header["tiles"].is_array())
    return refused(kStrange);
  if (header.value("version", nlohmann::json()) != kVersion)
    return refused("another version of Lares wrote it");
  if (header.value("fingerprint", nlohmann::json()) != tiles_fingerprint(weights.checkpoint))
    return refused("it was made from other files than the checkpoint has now");
  const std::uint64_t begin = aligned(8 + length, kAlign);
  std::map<std::string_view, const NamedMatrix*> by_name;
  for (const auto& named : weights.matrices) by_name[named.name] = &named;
  TilesFile out{std::move(*file), {}, {}, bytes.data() + begin};
  for (const auto& entry : header["tiles"]) {
    std::uint64_t digest = 0;
    if (!entry.is_array() || entry.size() != 3 || !entry[0].is_string() ||
        !entry[1].is_number_unsigned() || !parse_digest(entry[2], digest))
      return refused(kStrange);
    const auto found = by_name.find(entry[0].get_ref<const std::string&>());
    if (found == by_name.end() || found->second->matrix->format == kernels::Format::f32)
      return refused("it names a tensor that the checkpoint does not have");
    const Slot slot = slot_after(out.slots.empty() ? 0 : out.slots.back().end, *found->second);
    if (slot.at != entry[1].get<std::uint64_t>() || begin > bytes.size() ||
        slot.end > bytes.size() - begin)
      return refused("truncated");
    out.slots.push_back(slot);
    out.digests.push_back(digest);
  }
  return out;
}

Result<> check_tiles(const TilesFile& tiles, const std::string& path, kernels::ThreadPool& pool,
                     const Progress& progress) {
  const auto n = static_cast<std::int64_t>(tiles.slots.size());
  std::vector<char> good(tiles.slots.size());
  for (std::int64_t at = 0; at < n; at += kAtATime) {
    if (progress)
      progress(static_cast<std::int64_t>(tiles.slots[at].at),
               static_cast<std::int64_t>(tiles.slots.back().end));
    pool.run(std::min(kAtATime, n - at), 1, [&](std::int64_t begin, std::int64_t end) {
      for (auto i = at + begin; i < at + end; ++i)
        good[i] = digest_at(tiles.slots[i], tiles.data) == tiles.digests[i];
    });
  }
  const auto bad = std::count(good.begin(), good.end(), 0);
  if (bad == 0) return {};
  const auto first =
      static_cast<std::size_t>(std::find(good.begin(), good.end(), 0) - good.begin());
  return tl::unexpected(Error{
      Errc::malformed, fmt::format("{}: {}{} {} not as it was written; delete the file, or write "
                                   "it again with `lares model repack`",
                                   path, tiles.slots[first].of->name,
                                   bad > 1 ? fmt::format(" and {} other matrices", bad - 1) : "",
                                   bad > 1 ? "are" : "is")});
}

Result<std::uint64_t> write_tiles(Weights& weights, const std::string& path,
                                  kernels::ThreadPool& pool, std::stop_token stop,
                                  const Progress& progress, bool* denied) {
  const std::string fingerprint = tiles_fingerprint(weights.checkpoint);
  auto draft = DraftFile::create(path, denied);  // before the work: it may be refused
  if (!draft) return tl::unexpected(draft.error());
  const auto slots = plan_slots(weights, pool);
  if (slots.empty())
    return tl::unexpected(
        Error{Errc::unsupported,
              fmt::format("repack {}: no matrix is stored in a format that can be repacked",
                          weights.checkpoint.directory())});
  std::vector<std::uint64_t> digests(slots.size());
  const std::uint64_t length = header_of(slots, digests, fingerprint).size(),
                      begin = aligned(8 + length, kAlign), total = begin + slots.back().end;
  if (const std::uint64_t free = draft->free_bytes(); free < total)
    return tl::unexpected(
        Error{Errc::no_memory, fmt::format("write {}: it takes {} bytes and {} are free; make room "
                                           "there, or let it be a link to an empty file elsewhere",
                                           path, total, free)});
  std::vector<std::uint64_t> lines;  // one matrix at a time
  for (std::size_t i = 0; i < slots.size(); ++i) {
    const Slot& slot = slots[i];
    const std::uint64_t size = slot.end - slot.at;
    lines.assign((size + 71) / 8, 0);
    auto* data = reinterpret_cast<std::uint8_t*>(
        aligned(reinterpret_cast<std::uintptr_t>(lines.data()), 64));
    fill({slot.of, 0, slot.scale_at - slot.at, size}, data, pool);
    digests[i] = digest_of(data, size, seed_of(slot.of->name, slot.at));
    if (!draft->write(data, size, begin + slot.at))
      return tl::unexpected(failed(path, slot.of->name));
    if (progress)
      progress(static_cast<std::int64_t>(slot.end), static_cast<std::int64_t>(slots.back().end));
    if (stop.stop_requested())
      return tl::unexpected(Error{Errc::cancelled, fmt::format("write {}: cancelled", path)});
  }
  const std::string header = header_of(slots, digests, fingerprint);
  if (!draft->write(&length, 8, 0) || !draft->write(header.data(), header.size(), 8))
    return tl::unexpected(failed(path, "header"));
  if (tiles_fingerprint(weights.checkpoint) != fingerprint)
    return tl::unexpected(Error{
        Errc::malformed,
        fmt::format("write {}: the checkpoint's files changed meanwhile; repack it again", path)});
  if (!draft->keep()) return tl::unexpected(failed(path, "cannot be finished"));
  return total;
}

Result<RepackResult> repack_checkpoint(const std::string& directory,
                                       const std::string& private_directory, int threads,
                                       std::stop_token stop, const Progress& progress) {
  auto weights = load_weights(directory, {});
  if (!weights) return tl::unexpected(weights.error());
  kernels::ThreadPool pool(threads);
  const auto paths = tiles_paths((*weights)->checkpoint, private_directory);
  bool denied = false;
  auto bytes = write_tiles(**weights, paths[0], pool, stop, progress, &denied);
  if (bytes) return RepackResult{paths[0], *bytes, ""};
  if (!denied || paths.size() < 2) return tl::unexpected(bytes.error());
  const std::string beside = bytes.error().message;
  std::error_code ec;
  const bool made = std::filesystem::create_directories(private_directory, ec);
  if (made) std::filesystem::permissions(private_directory, std::filesystem::perms::owner_all, ec);
  if (ec)
    return tl::unexpected(Error{Errc::bad_argument, fmt::format("{}; make {}: {}", beside,
                                                                private_directory, ec.message())});
  bytes = write_tiles(**weights, paths[1], pool, stop, progress);
  if (!bytes)
    return tl::unexpected(
        Error{bytes.error().code, fmt::format("{}; {}", beside, bytes.error().message)});
  return RepackResult{paths[1], *bytes, beside};
}

}  // namespace lares::engine
