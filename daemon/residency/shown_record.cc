#include "daemon/residency/shown_record.h"

#include <utility>

#include <nlohmann/json.hpp>

#include "tools/text.h"

namespace lares::daemon {
namespace {

using json = nlohmann::ordered_json;

constexpr const char* kFiles = "files";
constexpr const char* kHiddenBelow = "hiddenBelow";
constexpr const char* kMore = "more";  // the record adds to the one before

using State = Seen::State;

WasShown::File file_of(const Seen& seen) {
  if (seen.state == State::absent) return {"", State::absent};
  return {seen.blob, seen.state == State::text ? State::text : State::hidden};
}

// [path, blob, whether its text is known]; of one that is gone the blob is "", of one of which none
// is known null.
json row(const std::string& path, const WasShown::File& file) {
  const bool unknown = file.state == State::hidden && file.blob.empty();
  return {path, unknown ? json() : json(file.blob), file.state == State::text};
}

std::optional<WasShown::File> file_in(const json& row) {
  if (!row.is_array() || row.size() != 3 || !row[0].is_string() || !row[2].is_boolean())
    return std::nullopt;
  if (row[1].is_null()) return WasShown::File{};
  if (!row[1].is_string()) return std::nullopt;
  WasShown::File out{row[1].get<std::string>(), row[2].get<bool>() ? State::text : State::hidden};
  if (out.blob.empty()) out.state = State::absent;
  return out;
}

}  // namespace

std::optional<json> ShownRecord::next(const View& view) {
  std::vector<std::pair<const std::string*, WasShown::File>> changed;
  std::size_t n_known = 0;
  for (const auto& [path, seen] : view.since()) {
    if (!tools::is_utf8(path)) continue;
    const auto before = files_.find(path);
    n_known += before != files_.end() ? 1 : 0;
    WasShown::File now = file_of(seen);
    if (before == files_.end() || before->second != now || told_.contains(path))
      changed.emplace_back(&path, std::move(now));
  }
  const auto& hidden_below = view.hidden_below().directories();
  const bool anew = !begun_ || n_known < files_.size() || hidden_below != hidden_below_;
  if (!begun_ && view.since().empty() && hidden_below.empty()) return std::nullopt;
  if (begun_ && !anew && changed.empty()) return std::nullopt;

  json record = json::object(), rows = json::array();
  if (anew) {
    files_.clear();
    for (const auto& [path, seen] : view.since()) {
      if (!tools::is_utf8(path)) continue;
      const auto& [_, file] = *files_.emplace(path, file_of(seen)).first;
      rows.push_back(row(path, file));
    }
    for (const std::string& directory : hidden_below) {
      if (tools::is_utf8(directory)) record[kHiddenBelow].push_back(directory);
    }
    hidden_below_ = hidden_below;
    told_.clear();
  } else {
    record[kMore] = true;
    for (auto& [path, file] : changed) {
      rows.push_back(row(*path, file));
      told_.erase(*path);
      files_[*path] = std::move(file);
    }
  }
  record[kFiles] = std::move(rows);
  begun_ = true;
  return record;
}

void WasShown::take(const json& record) {
  const auto more = record.find(kMore);
  if (more == record.end() || *more != true) files.clear(), hidden_below.clear();
  if (const auto below = record.find(kHiddenBelow); below != record.end() && below->is_array()) {
    for (const auto& directory : *below)
      if (directory.is_string()) hidden_below.push_back(directory.get<std::string>());
  }
  if (const auto rows = record.find(kFiles); rows != record.end() && rows->is_array()) {
    for (const auto& r : *rows)
      if (auto file = file_in(r)) files[r[0].get<std::string>()] = std::move(*file);
  }
}

}  // namespace lares::daemon
