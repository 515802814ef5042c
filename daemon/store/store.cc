// Writing: extents, and the commits that name them.
#include "daemon/store/store.h"

#include <algorithm>

#include <fmt/format.h>

#include "daemon/store/draft.h"
#include "daemon/store/extent_reader.h"
#include "daemon/store/extent_writer.h"

namespace lares::daemon::store {
namespace {

// The header that describes the input, or why there is none.
tl::expected<ExtentHeader, std::string> header_for(const ExtentInput& in,
                                                   const Hash256& fingerprint) {
  ExtentHeader h;
  h.fingerprint = fingerprint;
  h.chain_in = in.chain_in;
  h.pos0 = in.pos0;
  if (in.tokens.size() > kExtentTokensMax)
    return tl::unexpected(
        fmt::format("{} tokens; {} are possible", in.tokens.size(), kExtentTokensMax));
  h.n_tokens = static_cast<std::uint32_t>(in.tokens.size());
  if (in.pages.size() != h.n_pages())
    return tl::unexpected(fmt::format("{} pages for {} tokens; {} are needed", in.pages.size(),
                                      h.n_tokens, h.n_pages()));
  if (!in.pages.empty()) {
    h.page_bytes = in.pages.front().size();
    h.last_page_bytes = in.pages.back().size();
  }
  h.frontier_bytes = in.frontier.size();
  for (std::uint32_t i = 0; i < h.n_pages(); ++i)
    if (in.pages[i].size() != h.bytes_of_page(i))
      return tl::unexpected(fmt::format("page {} has {} bytes where others have {}", i,
                                        in.pages[i].size(), h.page_bytes));
  if (auto why = impossible(h); !why.empty()) return tl::unexpected(why);
  if (in.pos0 == 0 && in.chain_in != chain_begin(fingerprint))
    return tl::unexpected<std::string>("at position 0 it follows something");
  h.chain_out = chain_after(in.chain_in, in.tokens);
  return h;
}

std::string what_is(const ExtentInput& in) {
  return fmt::format("keep tokens {}..{} on disk", in.pos0, in.pos0 + in.tokens.size());
}

}  // namespace

Error Store::refused(std::string_view attempted, const std::string& why) {
  paused_until_ = options_.now() + options_.retry;
  return {
      Errc::disk,
      fmt::format("{}: {}; nothing is written for {} s, then it is tried again; serving goes on",
                  attempted, why, options_.retry.count())};
}

std::optional<Error> Store::paused(std::string_view attempted) const {
  if (!paused_until_ || options_.now() >= *paused_until_) return std::nullopt;
  const auto left = std::chrono::ceil<std::chrono::seconds>(*paused_until_ - options_.now());
  return Error{Errc::paused, fmt::format("{}: the disk refused a write; the next try is in {} s",
                                         attempted, left.count())};
}

// Also for a directory that an earlier process made: it may have been killed before its name, or
// the names in it, were durable.
Result<> Store::make_extent_directory(const Hash256& chain_out, std::string_view attempted) {
  const std::string path = extent_directory(chain_out), ext = directory_ + "/ext";
  if (durable_directories_.contains(path)) return {};
  const auto failed = [&](std::string_view what, const std::string& of, int error) {
    return tl::unexpected(
        refused(attempted, DiskFailure{fmt::format("{} {}", what, of), error}.text()));
  };
  if (auto made = disk_->make_dir(path); !made) return failed("make", path, made.error());
  if (auto synced = disk_->sync_dir(path); !synced) return failed("sync", path, synced.error());
  if (auto synced = disk_->sync_dir(ext); !synced) return failed("sync", ext, synced.error());
  durable_directories_.insert(path);
  return {};
}

Result<Hash256> Store::put_extent(const ExtentInput& input) {
  const std::string attempted = what_is(input);
  const auto header = header_for(input, fingerprint_);
  if (!header)
    return tl::unexpected(
        Error{Errc::bad_argument, fmt::format("{}: {}", attempted, header.error())});
  if (auto wait = paused(attempted)) return tl::unexpected(std::move(*wait));
  const Hash256& name = header->chain_out;
  const Link link{header->chain_in, header->pos0, header->n_tokens};
  const auto known = extents_.find(name);
  if (known != extents_.end()) {
    const auto there = open_extent(*disk_, extent_path(name), fingerprint_, name);
    if (there && there->header == *header) {
      if (auto durable = make_extent_directory(name, attempted); !durable)
        return tl::unexpected(std::move(durable.error()));
      known->second.fresh = true;  // an old epoch that has it may go before the commit comes
      known->second.link = link;
      known->second.unreachable_since.reset();
      return name;
    }
    const FileFault fault = there ? FileFault{FileFault::Kind::damaged, "other sizes"}
                                  : there.error();
    if (fault.kind == FileFault::Kind::unreadable)
      return tl::unexpected(
          refused(attempted, fmt::format("{}: {}", extent_path(name), fault.why)));
    (void)drop(name, fault);
  }
  const std::uint64_t bytes = layout_of(*header).total;
  if (auto room = make_room(bytes, attempted); !room)
    return tl::unexpected(std::move(room.error()));
  if (auto made = make_extent_directory(name, attempted); !made)
    return tl::unexpected(std::move(made.error()));
  const std::string path = extent_path(name);
  const auto written = write_extent(*disk_, extent_directory(name),
                                    path.substr(path.rfind('/') + 1), *header,
                                    {input.tokens, input.pages, input.frontier});
  if (!written) return tl::unexpected(refused(attempted, written.error().text()));
  extents_[name] = KnownExtent{.bytes = bytes, .fresh = true, .link = link};
  paused_until_.reset();
  return name;
}

void Store::forget(const Hash256& chain_out) {
  if (const auto known = extents_.find(chain_out); known != extents_.end())
    known->second.fresh = false;
}

// The chain as a manifest names it, when its links hold.
Result<std::vector<ExtentRef>> Store::link_chain(std::span<const Hash256> chain,
                                                 std::string_view attempted) {
  const auto wrong = [&](Errc code, std::size_t i, const std::string& why) {
    return tl::unexpected(Error{code, fmt::format("{}: extent {}, {}: {}; put it again", attempted,
                                                  i, to_hex(chain[i]), why)});
  };
  if (chain.size() > kManifestExtentsMax)
    return tl::unexpected(Error{
        Errc::bad_argument, fmt::format("{}: {} are possible", attempted, kManifestExtentsMax)});
  std::vector<ExtentRef> out;
  Hash256 before = chain_begin(fingerprint_);
  std::uint64_t pos = 0;
  for (std::size_t i = 0; i < chain.size(); ++i) {
    const auto known = extents_.find(chain[i]);
    if (known == extents_.end()) return wrong(Errc::not_found, i, "it is not in the store");
    if (!known->second.link) {
      const auto opened = open_extent(*disk_, extent_path(chain[i]), fingerprint_, chain[i]);
      if (!opened) return wrong(Errc::damaged, i, opened.error().why);
      known->second.link = Link{opened->header.chain_in, opened->header.pos0,
                                opened->header.n_tokens};
    }
    const Link& link = *known->second.link;
    if (link.chain_in != before || link.pos0 != pos)
      return wrong(Errc::bad_argument, i, "it does not follow the one before");
    out.push_back({chain[i], link.pos0, link.n_tokens, known->second.bytes});
    before = chain[i];
    pos += link.n_tokens;
  }
  return out;
}

Result<std::uint64_t> Store::commit(std::span<const Hash256> chain,
                                    std::span<const std::byte> payload) {
  const std::string attempted = fmt::format("commit {} extents to {}", chain.size(), directory_);
  if (payload.size() > kPayloadBytesMax)
    return tl::unexpected(
        Error{Errc::bad_argument, fmt::format("{}: {} bytes of payload; {} are possible", attempted,
                                              payload.size(), kPayloadBytesMax)});
  if (auto wait = paused(attempted)) return tl::unexpected(std::move(*wait));
  auto extents = link_chain(chain, attempted);
  if (!extents) return tl::unexpected(std::move(extents.error()));
  // An extent of an earlier process may be there and not yet durable, as in put_extent. And none
  // may go with an old epoch to make room.
  for (const Hash256& name : chain) extents_[name].fresh = true;
  for (const Hash256& name : chain)
    if (auto durable = make_extent_directory(name, attempted); !durable)
      return tl::unexpected(std::move(durable.error()));
  if (auto durable = sync_root(); !durable)
    return tl::unexpected(refused(attempted, durable.error()));
  Manifest manifest{last_epoch_ + 1,
                    current_,
                    fingerprint_,
                    std::move(*extents),
                    {payload.begin(), payload.end()}};
  const auto bytes = encode_manifest(manifest);
  if (auto room = make_room(bytes.size(), attempted); !room)
    return tl::unexpected(std::move(room.error()));
  const std::uint64_t epoch = manifest.epoch;
  last_epoch_ = epoch;  // a name is never used twice, whatever comes of it
  bool named = false;
  if (auto done = publish_file(*disk_, directory_ + "/epochs", manifest_name(epoch), bytes, &named);
      !done) {
    if (named) (void)disk_->unlink(manifest_path(epoch));
    return tl::unexpected(refused(attempted, done.error().text()));
  }
  const Current current{epoch, hash256(bytes)};
  const std::string line = encode_current(current);
  const auto done = publish_file(*disk_, directory_, "CURRENT",
                                 std::as_bytes(std::span(line.data(), line.size())), &named);
  if (!done && !named) {
    (void)disk_->unlink(manifest_path(epoch));
    return tl::unexpected(refused(attempted, done.error().text()));
  }
  KnownEpoch& known = epochs_[epoch];
  known = KnownEpoch{.bytes = bytes.size(),
                     .parent = manifest.parent,
                     .extents = {chain.begin(), chain.end()},
                     .readable = true,
                     .ours = true};
  current_ = epoch;
  current_file_ = current;
  current_damage_.clear();
  current_uncertain_ = !done;
  if (!done) return tl::unexpected(refused(attempted, done.error().text()));
  restored_ = 0;
  wanted_ = true;
  for (const Hash256& name : chain) extents_[name].fresh = false;
  paused_until_.reset();
  return epoch;
}

}  // namespace lares::daemon::store
