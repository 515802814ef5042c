// Reading back: which manifest counts, how far its chain is whole, and where damaged files go.
#include <algorithm>
#include <cstring>

#include <fmt/format.h>

#include "daemon/store/draft.h"
#include "daemon/store/extent_reader.h"
#include "daemon/store/store.h"

namespace lares::daemon::store {
namespace {

// Files open at a time; their blocks are one stream of reads
constexpr std::size_t kOpenExtents = 32;
constexpr std::size_t kQuarantinedMax = 32;

// Why the file is not the extent that the manifest means by `ref`, after `before`; empty when it
// is.
std::string unlike(const OpenExtent& opened, const ExtentRef& ref, const Hash256& before) {
  const ExtentHeader& h = opened.header;
  if (h.chain_in != before) return "it follows another extent than the one before it";
  if (h.pos0 != ref.pos0 || h.n_tokens != ref.n_tokens)
    return fmt::format("it has tokens {}..{} where the manifest says {}..{}", h.pos0,
                       h.pos0 + h.n_tokens, ref.pos0, ref.pos0 + ref.n_tokens);
  if (opened.layout.total != ref.bytes)
    return fmt::format("it has {} bytes where the manifest says {}", opened.layout.total,
                       ref.bytes);
  return {};
}

}  // namespace

std::string Store::quarantine(const std::string& path) {
  const std::string name = fmt::format("{:06}-{}", ++n_quarantined_,
                                       path.substr(path.rfind('/') + 1));
  while (quarantined_.size() >= kQuarantinedMax && delete_oldest_quarantined()) {
  }
  const std::string to = directory_ + "/quarantine/" + name;
  std::uint64_t bytes = 0;
  if (const auto file = disk_->open(path, Disk::Cache::buffered); file)
    if (const auto size = (*file)->size(); size) bytes = *size;
  if (auto moved = disk_->rename(path, to); !moved)
    return fmt::format("and cannot be moved to {}: {}", to, std::strerror(moved.error()));
  quarantined_[name] = bytes;
  return fmt::format("moved to quarantine/{}", name);
}

std::string Store::drop(const Hash256& chain_out, const FileFault& fault) {
  if (fault.kind == FileFault::Kind::unreadable) return "left where it is";
  extents_.erase(chain_out);
  return fault.kind == FileFault::Kind::missing ? "nothing is left of it"
                                                : quarantine(extent_path(chain_out));
}

std::optional<Manifest> Store::choose_manifest(std::vector<std::string>& lost) {
  std::vector<std::uint64_t> order;  // CURRENT's, then the newest first
  if (current_file_ && current_damage_.empty()) order.push_back(current_file_->epoch);
  for (auto it = epochs_.rbegin(); it != epochs_.rend(); ++it)
    if (order.empty() || it->first != order.front()) order.push_back(it->first);
  if (!current_damage_.empty()) lost.push_back(fmt::format("CURRENT: {}", current_damage_));
  for (const std::uint64_t epoch : order) {
    const bool named = current_file_ && current_file_->epoch == epoch;
    auto manifest = load_manifest(epoch, named ? &current_file_->manifest : nullptr);
    if (!manifest) {
      const FileFault& fault = manifest.error();
      const bool damaged = fault.kind == FileFault::Kind::damaged;
      lost.push_back(fmt::format("{}: {}; {}", manifest_name(epoch), fault.why,
                                 damaged ? quarantine(manifest_path(epoch)) : "left as it is"));
      if (fault.kind != FileFault::Kind::unreadable) epochs_.erase(epoch);
      if (named) current_damage_ = "the manifest that it names cannot be used";
      continue;
    }
    if (manifest->fingerprint != fingerprint_) {
      lost.push_back(fmt::format("{}: another engine or checkpoint made it", manifest_name(epoch)));
      continue;
    }
    if (!lost.empty()) lost.push_back(fmt::format("{} is used instead", manifest_name(epoch)));
    return std::move(*manifest);
  }
  return std::nullopt;
}

Restored Store::restore(const Receiver& receiver) {
  Restored out;
  out.manifest = choose_manifest(out.lost);
  if (!out.manifest) return out;
  restored_ = out.manifest->epoch;
  if (receiver.begin) receiver.begin(*out.manifest);
  read_chain(out.manifest->extents, chain_begin(fingerprint_), receiver, out);
  return out;
}

Restored Store::read(std::span<const Hash256> chain, std::size_t n_skip, const Receiver& receiver) {
  Restored out;
  const std::string attempted = fmt::format("read {} extents of {}", chain.size(), directory_);
  auto refs = link_chain(chain, attempted);
  // Cut in another way from there on
  while (!refs && chain.size() > n_skip)
    refs = link_chain(chain = chain.first(chain.size() - 1), attempted);
  if (!refs) return out;
  read_chain(std::span(*refs).subspan(n_skip),
             n_skip == 0 ? chain_begin(fingerprint_) : chain[n_skip - 1], receiver, out);
  for (const Hash256& name : chain.first(n_skip + out.n_extents))
    if (const auto known = extents_.find(name); known != extents_.end())
      known->second.fresh = true, known->second.unreachable_since.reset();
  return out;
}

// Those that are whole, from the first, behind the extent `before`.
void Store::read_chain(std::span<const ExtentRef> refs, Hash256 before, const Receiver& receiver,
                       Restored& out) {
  std::optional<FileFault> fault;  // of the extent after the last valid one
  while (!fault && out.n_extents < refs.size()) {
    const std::size_t first = out.n_extents;
    std::vector<OpenExtent> opened;
    while (opened.size() < kOpenExtents && first + opened.size() < refs.size()) {
      const ExtentRef& ref = refs[first + opened.size()];
      auto extent = open_extent(*disk_, extent_path(ref.chain_out), fingerprint_, ref.chain_out);
      if (!extent) {
        fault = std::move(extent.error());
      } else if (auto why = unlike(*extent, ref, before); !why.empty()) {
        fault = FileFault{FileFault::Kind::damaged, std::move(why)};
      }
      if (fault) break;
      before = ref.chain_out;
      opened.push_back(std::move(*extent));
    }
    if (auto earlier = read_extents(opened, first, receiver, out)) fault = std::move(earlier);
  }
  if (!fault) return;
  const ExtentRef& bad = refs[out.n_extents];
  std::string line = fmt::format("extent {}, tokens {}..{}: {}; {}", to_hex(bad.chain_out),
                                 bad.pos0, bad.pos0 + bad.n_tokens, fault->why,
                                 drop(bad.chain_out, *fault));
  if (const std::size_t after = refs.size() - out.n_extents - 1; after > 0)
    line += fmt::format("; the {} extents after it, tokens {}..{}, cannot be used without it",
                        after, bad.pos0 + bad.n_tokens, refs.back().pos0 + refs.back().n_tokens);
  out.lost.push_back(std::move(line));
}

// The blocks of several extents as one stream; counts the extents that were whole, and says why the
// next was not.
std::optional<FileFault> Store::read_extents(const std::vector<OpenExtent>& opened,
                                             std::size_t first, const Receiver& receiver,
                                             Restored& out) {
  std::vector<BlockRead> blocks;
  for (const OpenExtent& extent : opened) {
    const auto more = extent.blocks();
    blocks.insert(blocks.end(), more.begin(), more.end());
  }
  std::size_t at = 0;  // in `opened`
  ExtentSink sink;
  if (receiver.page)
    sink.page = [&](std::uint32_t page, std::size_t bytes) {
      return receiver.page(first + at, page, bytes);
    };
  if (receiver.frontier)
    sink.frontier = [&](std::size_t bytes) { return receiver.frontier(first + at, bytes); };
  std::optional<ExtentScan> scan;
  std::optional<FileFault> fault;
  disk_->read_blocks(blocks, [&](std::size_t, DiskResult<std::span<const std::byte>> block) {
    if (!scan) scan.emplace(opened[at], sink);
    if (auto ok = scan->take(block); !ok) return fault = std::move(ok.error()), false;
    if (!scan->complete()) return true;
    const ExtentHeader& h = opened[at].header;
    if (const auto known = extents_.find(h.chain_out); known != extents_.end())
      known->second.link = Link{h.chain_in, h.pos0, h.n_tokens};
    ++out.n_extents;
    out.n_tokens += h.n_tokens;
    if (receiver.valid) receiver.valid(first + at, scan->tokens());
    scan.reset();
    ++at;
    return true;
  });
  return fault;
}

Result<ScrubReport> Store::scrub(const Hash256& chain_out, const Compare& compare) {
  const std::string attempted = fmt::format("scrub extent {}", to_hex(chain_out));
  const auto failed = [&](const FileFault& fault) {
    const Errc code = fault.kind == FileFault::Kind::unreadable ? Errc::disk : Errc::damaged;
    return tl::unexpected(
        Error{code, fmt::format("{}: {}; {}", attempted, fault.why, drop(chain_out, fault))});
  };
  if (!has(chain_out))
    return tl::unexpected(Error{Errc::not_found, attempted + ": it is not in the store"});
  const auto opened = open_extent(*disk_, extent_path(chain_out), fingerprint_, chain_out);
  if (!opened) return failed(opened.error());
  ScrubReport report;
  std::vector<std::byte> page(opened->header.page_bytes), frontier(opened->header.frontier_bytes);
  std::size_t n_page = 0;
  ExtentSink sink;
  if (compare.page) {
    sink.page = [&](std::uint32_t, std::size_t bytes) {
      return std::span(page).first(n_page = bytes);
    };
    sink.page_read = [&](std::uint32_t i) {
      if (!compare.page(i, std::span(page).first(n_page))) report.pages_differ.push_back(i);
    };
  }
  sink.frontier = [&](std::size_t) { return std::span(frontier); };
  auto tokens = read_extent(*disk_, *opened, sink);
  if (!tokens) return failed(tokens.error());
  report.tokens = std::move(*tokens);
  report.frontier_differs = compare.frontier && !compare.frontier(frontier);
  return report;
}

}  // namespace lares::daemon::store
