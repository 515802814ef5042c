#include "daemon/bridges/acp/agreement.h"

#include <time.h>

#include <algorithm>
#include <iterator>
#include <set>
#include <string_view>
#include <utility>
#include <vector>

#include "daemon/residency/line_diff.h"
#include "tools/text.h"

namespace lares::cli::acp {
namespace {

// Of the clock that files are stamped by.
std::int64_t now_ns() {
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME_COARSE, &now);
  return now.tv_sec * 1'000'000'000ll + now.tv_nsec;
}

using daemon::Hunk;
using Lines = std::vector<std::string_view>;

std::string_view without_end(std::string_view line) {
  return line.ends_with('\n') ? line.substr(0, line.size() - 1) : line;
}
Lines marked(const Hunk& hunk, char mark) {
  Lines out;
  for (const auto& line : hunk.lines)
    if (line.mark == mark) out.push_back(without_end(line.text));
  return out;
}

bool is_typed_into(std::string_view line, std::string_view longer) {
  const auto first = std::ranges::mismatch(line, longer).in1 - line.begin();
  const std::string_view rest = line.substr(static_cast<std::size_t>(first));
  return longer.size() >= line.size() && longer.ends_with(rest);
}

// As texts are compared: some editors hand out lines, without the end of the last.
std::string without_last_end(std::string text) {
  if (text.ends_with('\n')) text.pop_back();
  return text;
}

std::string ascii_of(std::string_view text) {
  std::string out;
  std::ranges::copy_if(text, std::back_inserter(out), [](unsigned char c) { return c < 0x80; });
  return out;
}

// Whether all that changed from `before` to `disk` is in `held` as well: no line that came is gone
// again, but for what was typed into it, and none that went is back.
bool has_changes(std::string_view before, std::string_view disk, std::string_view held) {
  const auto changes = daemon::find_hunks(before, disk), own = daemon::find_hunks(disk, held);
  if (changes.empty() || own.empty()) return false;  // it is binary
  std::set<std::string_view> came, went;
  for (const Hunk& hunk : changes) {
    for (const auto line : marked(hunk, '+')) came.insert(line);
    for (const auto line : marked(hunk, '-')) went.insert(line);
  }
  for (const Hunk& hunk : own) {
    const Lines more = marked(hunk, '+');
    auto at = more.begin();
    for (const auto line : marked(hunk, '-')) {
      if (!came.contains(line) || tools::trimmed(line).empty()) continue;
      at = std::find_if(at, more.end(), [&](auto longer) { return is_typed_into(line, longer); });
      if (at++ == more.end()) return false;
    }
    for (const auto line : more)
      if (went.contains(line) && !came.contains(line) && !tools::trimmed(line).empty())
        return false;
  }
  return true;
}

}  // namespace

Agreement::Agreement() : since_ns_(now_ns()) {}

Agreement::Standing Agreement::of(const std::string& path, const std::string& held,
                                  const std::string& disk, std::int64_t changed_ns) {
  // Editors hand out texts with line ends of their own.
  const std::string text = without_last_end(tools::shown_text(held));
  std::string shown = without_last_end(tools::shown_text(disk));
  const bool decoded = !tools::is_utf8(disk);
  const bool same = decoded ? ascii_of(text) == ascii_of(shown) : text == shown;
  std::string text_is = tools::blob_sha(text), disk_is = tools::blob_sha(disk);
  if (same) {
    know({path, std::move(text_is), std::move(disk_is), std::move(shown)});
    return Standing::same;
  }
  if (const Known* const known = find(path)) {
    if (known->agreed == text_is) return Standing::stale;
    if (decoded) return Standing::parted;
    const bool over_it = known->disk == disk_is;
    if (!over_it && (!known->over || !has_changes(*known->over, shown, text)))
      return known->edited == disk_is ? Standing::behind : Standing::parted;
    know({path, over_it ? known->agreed : tools::blob_sha(shown), std::move(disk_is),
          std::move(shown)});
    return Standing::unsaved;
  }
  if (decoded || changed_ns >= since_ns_) return Standing::parted;
  know({path, "", std::move(disk_is), std::move(shown)});
  return Standing::unsaved;
}

void Agreement::edited(const std::string& path, const std::string& before,
                       const std::string& after) {
  Known* const known = find(path);
  if (!known || before.empty()) return;
  if (known->disk == before || known->edited == before) known->edited = after;
}

std::optional<std::string> Agreement::before_edits(const std::string& path,
                                                   const std::string& disk) const {
  const auto known = std::ranges::find(known_, path, &Known::path);
  if (known == known_.end() || known->edited != tools::blob_sha(disk)) return std::nullopt;
  return known->over;
}

Agreement::Known* Agreement::find(const std::string& path) {
  const auto it = std::ranges::find(known_, path, &Known::path);
  return it == known_.end() ? nullptr : &*it;
}

void Agreement::know(Known known) {
  std::erase_if(known_, [&](const Known& k) { return k.path == known.path; });
  known_.push_front(std::move(known));
  if (known_.size() > kAgreementsMax) known_.pop_back();
  forget_texts();
}

void Agreement::forget_texts() {
  std::size_t n_bytes = 0;
  for (Known& known : known_)
    if (known.over && (n_bytes += known.over->size()) > kAgreedBytesMax) known.over.reset();
}

}  // namespace lares::cli::acp
