#include "daemon/residency/notice.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <map>

namespace lares::daemon {
namespace {

using Kind = Notice::Kind;

constexpr std::string_view kHex = "0123456789abcdef";

// So that a value stays on its line and inside its quotes.
std::string quoted(std::string_view value) {
  std::string out = "\"";
  for (const char c : value) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out.append(1, '\\').append(1, c);
    } else if (byte < 0x20 || byte == 0x7f) {
      out.append("\\x").append(1, kHex[byte >> 4]).append(1, kHex[byte & 15]);
    } else {
      out += c;
    }
  }
  return out + '"';
}

std::string_view eol(bool crlf) { return crlf ? " eol=\"crlf\"" : " eol=\"lf\""; }

// One tag: `<name key="value" word word>` or `/>`.
struct Tag {
  std::string name;
  std::map<std::string, std::string, std::less<>> values;  // words: with ""
  bool alone = false;                                      // "/>"

  std::string operator[](std::string_view key) const {
    const auto it = values.find(key);
    return it == values.end() ? "" : it->second;
  }
  std::optional<bool> crlf() const {
    const auto it = values.find("eol");
    return it == values.end() ? std::nullopt : std::optional(it->second == "crlf");
  }
};

// Moves `at` behind the closing quote.
std::string unquote(std::string_view line, std::size_t& at) {
  std::string out;
  for (; at < line.size() && line[at] != '"'; ++at) {
    if (line[at] != '\\' || at + 1 == line.size()) {
      out += line[at];
    } else if (line[++at] == 'x' && at + 2 < line.size()) {
      unsigned byte = 0;
      std::from_chars(line.data() + at + 1, line.data() + at + 3, byte, 16);
      out += static_cast<char>(byte);
      at += 2;
    } else {
      out += line[at];
    }
  }
  ++at;
  return out;
}

std::optional<Tag> parse_tag(std::string_view line) {
  if (!line.starts_with('<') || !line.ends_with('>')) return std::nullopt;
  line = line.substr(1, line.size() - 2);
  Tag out;
  std::size_t at = std::min(line.find_first_of(" /"), line.size());
  out.name = line.substr(0, at);
  while (at < line.size()) {
    if (line[at] == '/') {
      out.alone = at + 1 == line.size();
      return out.alone ? std::optional(out) : std::nullopt;
    }
    ++at;  // the blank
    const std::size_t end = std::min(line.find_first_of(" /=", at), line.size());
    const std::string key(line.substr(at, end - at));
    at = end;
    std::string value;
    if (line.substr(at).starts_with("=\"")) value = unquote(line, at += 2);
    out.values[key] = value;
  }
  return out;
}

// Lines of the text, one after another.
class Reader {
 public:
  explicit Reader(std::string_view text) : left_(text) {}
  bool done() const { return left_.empty(); }
  std::string_view peek() const { return left_.substr(0, left_.find('\n')); }
  std::string_view next() {  // with its line end
    const std::size_t end = left_.find('\n');
    const std::string_view line = left_.substr(0, end == std::string_view::npos ? end : end + 1);
    left_.remove_prefix(line.size());
    return line;
  }

 private:
  std::string_view left_;
};

std::optional<std::string> read_text(Reader& in, const Tag& tag) {
  std::size_t n = 0;
  const std::string count = tag["lines"];
  std::from_chars(count.data(), count.data() + count.size(), n);
  std::string out;
  for (std::size_t i = 0; i < n; ++i) {
    if (in.done()) return std::nullopt;
    out += in.next();
  }
  if (tag["end"] == "no newline" && !out.empty()) out.pop_back();
  if (in.next() != "</file>\n") return std::nullopt;
  return out;
}

std::optional<std::string> read_diff(Reader& in) {
  std::string out;
  while (!in.done() && !in.peek().starts_with('<')) out += in.next();
  if (in.next() != "</changed>\n") return std::nullopt;
  return out;
}

std::optional<Notice> read_notice(Reader& in) {
  std::string_view line = in.next();
  if (!line.ends_with('\n')) return std::nullopt;
  line.remove_suffix(1);
  const auto tag = parse_tag(line);
  if (!tag) return std::nullopt;
  Notice out{.path = (*tag)["path"],
             .from = (*tag)["from"],
             .sha = (*tag)["sha"],
             .reason = (*tag)["reason"],
             .crlf = tag->crlf()};
  if (tag->name == "file" || (tag->name == "changed" && !tag->alone)) {
    out.kind = tag->name == "file" ? Kind::full : Kind::diff;
    auto body = out.kind == Kind::full ? read_text(in, *tag) : read_diff(in);
    if (!body) return std::nullopt;
    out.body = std::move(*body);
    return out;
  }
  if (!tag->alone) return std::nullopt;
  static const std::map<std::string_view, Kind> kinds = {{"reverted", Kind::reverted},
                                                         {"deleted", Kind::deleted},
                                                         {"renamed", Kind::renamed},
                                                         {"listed", Kind::listed},
                                                         {"changed", Kind::not_shown}};
  const auto kind = kinds.find(tag->name);
  if (kind == kinds.end()) return std::nullopt;
  out.kind = kind->second;
  return out;
}

}  // namespace

std::string write_notice(const Notice& n) {
  const std::string path = quoted(n.path);
  switch (n.kind) {
    case Kind::diff:
      return fmt::format("<changed path={} sha=\"{}\"{}>\n{}</changed>\n", path, n.sha,
                         n.crlf ? eol(*n.crlf) : "", n.body);
    case Kind::full: {
      const bool open = !n.body.empty() && !n.body.ends_with('\n');
      const auto lines = std::count(n.body.begin(), n.body.end(), '\n') + (open ? 1 : 0);
      return fmt::format("<file path={} lines=\"{}\" sha=\"{}\"{}{}>\n{}{}</file>\n", path, lines,
                         n.sha, n.crlf.value_or(false) ? eol(true) : "",
                         open ? " end=\"no newline\"" : "", n.body, open ? "\n" : "");
    }
    case Kind::reverted:
      return fmt::format("<reverted path={} sha=\"{}\"/>\n", path, n.sha);
    case Kind::deleted:
      return fmt::format("<deleted path={}/>\n", path);
    case Kind::renamed:
      return fmt::format("<renamed path={} from={}/>\n", path, quoted(n.from));
    case Kind::listed:
      return fmt::format("<listed path={} reason={}/>\n", path, quoted(n.reason));
    case Kind::not_shown:
      return fmt::format("<changed path={} not shown/>\n", path);
  }
  return "";
}

tl::expected<std::vector<Notice>, std::string> read_notices(std::string_view text) {
  std::vector<Notice> out;
  for (Reader in(text); !in.done();) {
    const std::string at(in.peek());
    auto notice = read_notice(in);
    if (!notice)
      return tl::unexpected(
          fmt::format("read what was shown: no notice at `{}`, the {}. one", at, out.size() + 1));
    out.push_back(std::move(*notice));
  }
  return out;
}

bool covers(std::string_view not_shown, std::string_view path) {
  if (not_shown == kEverything || not_shown == path) return true;
  return not_shown.ends_with('/') && path.starts_with(not_shown);
}

bool NotShownBelow::covers(std::string_view path) const {
  if (directories_.empty()) return false;
  if (directories_.contains(kEverything) || directories_.contains(path)) return true;
  for (std::size_t at = path.find('/'); at != std::string_view::npos; at = path.find('/', at + 1)) {
    if (directories_.contains(path.substr(0, at + 1))) return true;
  }
  return false;
}

}  // namespace lares::daemon
