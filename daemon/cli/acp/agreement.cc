#include "daemon/cli/acp/agreement.h"

#include <time.h>

#include <algorithm>
#include <utility>

#include "tools/text.h"

namespace lares::cli::acp {
namespace {

// Of the clock that files are stamped by.
std::int64_t now_ns() {
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME_COARSE, &now);
  return now.tv_sec * 1'000'000'000ll + now.tv_nsec;
}

}  // namespace

Agreement::Agreement() : since_ns_(now_ns()) {}

Agreement::Standing Agreement::of(const std::string& path, const std::string& held,
                                  const std::string& disk, std::int64_t changed_ns) {
  // Editors hand out texts with line ends of their own.
  const std::string text = tools::shown_text(held);
  const bool same = text == tools::shown_text(disk);
  std::string text_is = tools::blob_sha(text), disk_is = tools::blob_sha(disk);
  if (same) {
    know({path, std::move(text_is), std::move(disk_is)});
    return Standing::same;
  }
  if (const Known* const known = find(path)) {
    if (known->agreed == text_is) return Standing::stale;
    return known->disk == disk_is ? Standing::unsaved : Standing::parted;
  }
  if (changed_ns >= since_ns_) return Standing::parted;
  know({path, "", std::move(disk_is)});
  return Standing::unsaved;
}

void Agreement::edited(const std::string& path, const std::string& before,
                       const std::string& after) {
  Known* const known = find(path);
  if (known && !before.empty() && known->disk == before) known->disk = after;
}

Agreement::Known* Agreement::find(const std::string& path) {
  const auto it = std::ranges::find(known_, path, &Known::path);
  return it == known_.end() ? nullptr : &*it;
}

void Agreement::know(Known known) {
  std::erase_if(known_, [&](const Known& k) { return k.path == known.path; });
  known_.push_front(std::move(known));
  if (known_.size() > kAgreementsMax) known_.pop_back();
}

}  // namespace lares::cli::acp
