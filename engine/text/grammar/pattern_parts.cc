// From the expression to a tree, from the tree to the parts, from the end backwards: each piece is
// built knowing what follows it.
#include "engine/text/grammar/pattern_parts.h"

#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <utility>

#include "engine/text/grammar/pattern.h"

namespace lares::engine {
namespace {

using Range = std::pair<char32_t, char32_t>;  // of code points, both ends in it
using Ranges = std::vector<Range>;

constexpr char32_t kLast = 0x10FFFF;
constexpr Range kWritable[] = {{0x08, 0x0A}, {0x0C, 0x0D}, {0x20, 0xD7FF}, {0xE000, kLast}};

Ranges sorted(Ranges ranges) {
  std::sort(ranges.begin(), ranges.end());
  Ranges out;
  for (const Range& r : ranges) {
    if (!out.empty() && r.first <= out.back().second + 1)
      out.back().second = std::max(out.back().second, r.second);
    else
      out.push_back(r);
  }
  return out;
}
Ranges opposite(const Ranges& ranges) {
  Ranges out;
  char32_t from = 0;
  for (const Range& r : sorted(ranges)) {
    if (r.first > from) out.emplace_back(from, r.first - 1);
    from = r.second + 1;
  }
  if (from <= kLast) out.emplace_back(from, kLast);
  return out;
}
Ranges writable(const Ranges& ranges) {
  Ranges out;
  for (const Range& r : sorted(ranges)) {
    for (const Range& w : kWritable) {
      if (std::max(r.first, w.first) <= std::min(r.second, w.second))
        out.emplace_back(std::max(r.first, w.first), std::min(r.second, w.second));
    }
  }
  return out;
}

// What any reader takes for a blank: ECMA-262's, and U+0085, which Python's is besides.
constexpr Range kAnyBlank[] = {{0x09, 0x0D},     {' ', ' '},       {0x85, 0x85},
                               {0xA0, 0xA0},     {0x1680, 0x1680}, {0x2000, 0x200A},
                               {0x2028, 0x2029}, {0x202F, 0x202F}, {0x205F, 0x205F},
                               {0x3000, 0x3000}, {0xFEFF, 0xFEFF}};
Ranges any_blank() { return {std::begin(kAnyBlank), std::end(kAnyBlank)}; }

// ECMA-262's; of \s only what is a blank to all readers, of \S what is one to none.
std::optional<Ranges> named_class(char c) {
  const Ranges digits = {{'0', '9'}}, word = {{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}},
               space = {{0x09, 0x0A}, {0x0C, 0x0D}, {' ', ' '}};
  switch (c) {
    case 'd':
      return digits;
    case 'D':
      return opposite(digits);
    case 'w':
      return word;
    case 'W':
      return opposite(word);
    case 's':
      return space;
    case 'S':
      return opposite(any_blank());
    default:
      return std::nullopt;
  }
}

struct Piece {
  enum class Kind { one_of, sequence, choice, repeat } kind = Kind::sequence;
  Ranges ranges;                               // one_of
  std::vector<std::unique_ptr<Piece>> pieces;  // the others
  int least = 0, most = -1;                    // repeat; most -1: without end
};
using PieceRef = std::unique_ptr<Piece>;

class Parser {
 public:
  explicit Parser(std::string_view text) : text_(text) {}

  tl::expected<PieceRef, std::string> parse() {
    PieceRef whole = choice(0);
    if (error_.empty() && at_ < text_.size()) fail("a ) that closes nothing");
    if (!error_.empty()) return tl::unexpected(error_);
    return whole;
  }

 private:
  static PieceRef make(Piece::Kind kind) {
    auto piece = std::make_unique<Piece>();
    piece->kind = kind;
    return piece;
  }
  static PieceRef one_of(Ranges ranges) {
    auto piece = make(Piece::Kind::one_of);
    piece->ranges = std::move(ranges);
    return piece;
  }
  static PieceRef repeat(PieceRef of, int least, int most) {
    auto piece = make(Piece::Kind::repeat);
    piece->pieces.push_back(std::move(of));
    piece->least = least, piece->most = most;
    return piece;
  }

  bool more() const { return error_.empty() && at_ < text_.size(); }
  bool eat(std::string_view what) {
    if (!error_.empty() || !text_.substr(at_).starts_with(what)) return false;
    at_ += what.size();
    return true;
  }
  PieceRef fail(std::string why) {
    if (error_.empty()) error_ = fmt::format("at byte {}: {}", at_, why);
    return make(Piece::Kind::sequence);
  }

  PieceRef choice(int depth) {
    if (depth > kPatternDepthMax)
      return fail(fmt::format("more than {} groups in one another", kPatternDepthMax));
    auto all = make(Piece::Kind::choice);
    do all->pieces.push_back(sequence(depth));
    while (eat("|"));
    return all;
  }

  PieceRef sequence(int depth) {
    const auto anything = [] { return repeat(one_of({{0, kLast}}), 0, -1); };
    auto all = make(Piece::Kind::sequence);
    if (!eat("^") && depth == 0)
      all->pieces.push_back(anything());
    else if (depth > 0 && at_ > 0 && text_[at_ - 1] == '^')
      return fail("^ in a group");
    while (more() && text_[at_] != '|' && text_[at_] != ')' && text_[at_] != '$')
      all->pieces.push_back(quantified(depth));
    if (eat("$")) {
      if (depth > 0 || (more() && text_[at_] != '|')) return fail("$ before the end");
    } else if (depth == 0) {
      all->pieces.push_back(anything());
    }
    return all;
  }

  PieceRef quantified(int depth) {
    PieceRef piece = atom(depth);
    bool quantifier = false;
    if (eat("*"))
      quantifier = true, piece = repeat(std::move(piece), 0, -1);
    else if (eat("+"))
      quantifier = true, piece = repeat(std::move(piece), 1, -1);
    else if (eat("?"))
      quantifier = true, piece = repeat(std::move(piece), 0, 1);
    else if (eat("{")) {
      quantifier = true;
      const int least = number();
      const int most = eat(",") ? (more() && text_[at_] != '}' ? number() : -1) : least;
      if (!eat("}") || (most >= 0 && most < least))
        return fail("a { that begins no {n}, {n,} or {n,m}");
      piece = repeat(std::move(piece), least, most);
    }
    if (quantifier) eat("?");  // lazy: the same texts
    if (more() &&
        (text_[at_] == '*' || text_[at_] == '+' || text_[at_] == '?' || text_[at_] == '{'))
      return fail("a quantifier behind a quantifier");
    return piece;
  }
  int number() {
    int n = 0;
    if (!more() || text_[at_] < '0' || text_[at_] > '9')
      fail("a { that begins no {n}, {n,} or {n,m}");
    for (; more() && text_[at_] >= '0' && text_[at_] <= '9'; ++at_) {
      n = n * 10 + (text_[at_] - '0');
      if (n > kPatternRepeatMax) fail(fmt::format("more than {} repeats", kPatternRepeatMax));
    }
    return n;
  }

  PieceRef atom(int depth) {
    if (eat("(?:") || (!text_.substr(at_).starts_with("(?") && eat("("))) {
      PieceRef inside = choice(depth + 1);
      if (!eat(")")) return fail("a ( that nothing closes");
      return inside;
    }
    if (text_.substr(at_).starts_with("(?"))
      return fail("look-around, named groups and flags cannot be enforced");
    if (eat(".")) return one_of(opposite({{'\n', '\n'}, {'\r', '\r'}, {0x2028, 0x2029}}));
    if (eat("[")) return character_class();
    if (text_[at_] == '*' || text_[at_] == '+' || text_[at_] == '?' || text_[at_] == '{' ||
        text_[at_] == '^')
      return fail("a quantifier or ^ behind nothing");
    if (text_[at_] == '\\' && at_ + 1 < text_.size()) {
      if (auto named = named_class(text_[at_ + 1])) return at_ += 2, one_of(std::move(*named));
    }
    const char32_t c = character(/*in_class=*/false);
    return one_of({{c, c}});
  }

  PieceRef character_class() {
    Ranges ranges;
    const bool inverted = eat("^");
    while (more() && text_[at_] != ']') {
      if (text_[at_] == '\\' && at_ + 1 < text_.size()) {
        const char c = text_[at_ + 1];
        // The wider of each, where what is left is what counts.
        const auto named = inverted && c == 's'   ? any_blank()
                           : inverted && c == 'S' ? opposite(*named_class('s'))
                                                  : named_class(c);
        if (named) {
          at_ += 2;
          ranges.insert(ranges.end(), named->begin(), named->end());
          continue;
        }
      }
      const char32_t low = character(/*in_class=*/true);
      char32_t high = low;
      if (at_ + 1 < text_.size() && text_[at_] == '-' && text_[at_ + 1] != ']') {
        ++at_;
        if (text_[at_] == '\\' && at_ + 1 < text_.size() && named_class(text_[at_ + 1]))
          return fail("a range that ends with a class");
        high = character(/*in_class=*/true);
      }
      if (high < low) return fail("a range whose end comes before its beginning");
      ranges.emplace_back(low, high);
    }
    if (!eat("]")) return fail("a [ that nothing closes");
    return one_of(inverted ? opposite(ranges) : std::move(ranges));
  }

  char32_t hex(int n) {
    char32_t c = 0;
    for (; n > 0; --n, ++at_) {
      const char digit = at_ < text_.size() ? text_[at_] : ' ';
      const int value = digit >= '0' && digit <= '9'   ? digit - '0'
                        : digit >= 'a' && digit <= 'f' ? digit - 'a' + 10
                        : digit >= 'A' && digit <= 'F' ? digit - 'A' + 10
                                                       : -1;
      if (value < 0) return fail("an escape without its hexadecimal digits"), 0;
      c = c * 16 + char32_t(value);
    }
    return c;
  }
  char32_t character(bool in_class) {
    if (!eat("\\")) return code_point();
    if (!more()) return fail("a \\ before nothing"), 0;
    const char c = text_[at_++];
    switch (c) {
      case 'n':
        return '\n';
      case 'r':
        return '\r';
      case 't':
        return '\t';
      case 'f':
        return '\f';
      case 'v':
        return '\v';
      case '0':
        return 0;
      case 'x':
        return hex(2);
      case 'u':
        return hex(4);
      case 'b':
        if (in_class) return '\b';
        break;
      default:
        if (!(c >= 'a' && c <= 'z') && !(c >= 'A' && c <= 'Z') && !(c >= '0' && c <= '9'))
          return --at_, code_point();
    }
    return fail(fmt::format("\\{} cannot be enforced", c)), 0;
  }
  char32_t code_point() {  // the text is UTF-8: it came as JSON
    const auto b = std::uint8_t(text_[at_++]);
    const int n = b < 0x80 ? 0 : b < 0xE0 ? 1 : b < 0xF0 ? 2 : 3;
    char32_t c = n == 0 ? b : b & (0x3F >> n);
    for (int i = 0; i < n && at_ < text_.size(); ++i)
      c = c << 6 | (std::uint8_t(text_[at_++]) & 0x3F);
    return c;
  }

  std::string_view text_;
  std::size_t at_ = 0;
  std::string error_;
};

class Builder {
 public:
  tl::expected<PatternParts, std::string> build(const Piece& whole) {
    const std::uint32_t match = add({});
    out_.start = before(whole, match);
    if (!error_.empty()) return tl::unexpected(error_);
    out_.n_pieces = n_pieces_;
    return std::move(out_);
  }

 private:
  std::uint32_t add(PatternPart part) {
    if (out_.parts.size() >= kPatternPartsMax) {
      if (error_.empty())
        error_ = fmt::format("it is more than {} parts, repeats written out", kPatternPartsMax);
      return 0;
    }
    out_.parts.push_back(part);
    return std::uint32_t(out_.parts.size() - 1);
  }
  std::uint32_t bytes(int low, int high, std::uint32_t next) {
    return add({PatternPart::Kind::bytes, std::uint8_t(low), std::uint8_t(high), next, 0});
  }
  std::uint32_t fork(std::uint32_t a, std::uint32_t b) {
    return add({PatternPart::Kind::fork, 0, 0, a, b});
  }

  // Where what comes before `next` begins.
  std::uint32_t before(const Piece& piece, std::uint32_t next) {
    if (++n_pieces_ > kPatternPiecesMax && error_.empty())
      error_ = fmt::format("it is more than {} pieces, repeats written out", kPatternPiecesMax);
    if (!error_.empty()) return 0;
    switch (piece.kind) {
      case Piece::Kind::one_of:
        return one_of(piece.ranges, next);
      case Piece::Kind::sequence:
        for (std::size_t i = piece.pieces.size(); i-- > 0;) next = before(*piece.pieces[i], next);
        return next;
      case Piece::Kind::choice: {
        std::uint32_t all = before(*piece.pieces.back(), next);
        for (std::size_t i = piece.pieces.size() - 1; i-- > 0;)
          all = fork(before(*piece.pieces[i], next), all);
        return all;
      }
      case Piece::Kind::repeat:
        return repeat(piece, next);
    }
    return next;
  }
  std::uint32_t repeat(const Piece& piece, std::uint32_t next) {
    const Piece& of = *piece.pieces[0];
    if (piece.most < 0) {
      const std::uint32_t again = fork(next, next);
      const std::uint32_t body = before(of, again);
      if (error_.empty()) out_.parts[again].other = body;
      next = again;
    }
    const std::uint32_t behind = next;
    for (int n = piece.least; n < piece.most && error_.empty(); ++n)
      next = fork(before(of, next), behind);
    for (int n = 0; n < piece.least && error_.empty(); ++n) next = before(of, next);
    return next;
  }

  std::uint32_t one_of(const Ranges& ranges, std::uint32_t next) {
    const Ranges can = writable(ranges);
    if (can.empty() && error_.empty()) error_ = "it has a class that no writable character is in";
    std::optional<std::uint32_t> all;
    for (const Range& r : can) encoded(r.first, r.second, next, all);
    return all.value_or(0);
  }
  // The UTF-8 of a range: cut where the number of bytes changes, then until all bytes but the first
  // that differs take their whole range.
  void encoded(char32_t low, char32_t high, std::uint32_t next, std::optional<std::uint32_t>& all) {
    for (const char32_t end : {char32_t(0x7F), char32_t(0x7FF), char32_t(0xFFFF)}) {
      if (low > end || high <= end) continue;
      encoded(low, end, next, all);
      return encoded(end + 1, high, next, all);
    }
    const int n_tail = high < 0x80 ? 0 : high < 0x800 ? 1 : high < 0x10000 ? 2 : 3;
    for (int i = 1; i <= n_tail; ++i) {
      const char32_t tail = (char32_t(1) << (6 * i)) - 1;
      if ((low & ~tail) == (high & ~tail)) continue;
      if ((low & tail) != 0) {
        encoded(low, low | tail, next, all);
        return encoded((low | tail) + 1, high, next, all);
      }
      if ((high & tail) != tail) {
        encoded(low, (high & ~tail) - 1, next, all);
        return encoded(high & ~tail, high, next, all);
      }
    }
    std::uint32_t first = next;
    for (int i = 0; i < n_tail; ++i)
      first = bytes(0x80 | int(low >> (6 * i) & 0x3F), 0x80 | int(high >> (6 * i) & 0x3F), first);
    static constexpr int kLead[] = {0, 0xC0, 0xE0, 0xF0};
    first = bytes(kLead[n_tail] | int(low >> (6 * n_tail)),
                  kLead[n_tail] | int(high >> (6 * n_tail)), first);
    all = all ? fork(first, *all) : first;
  }

  PatternParts out_;
  std::size_t n_pieces_ = 0;  // some make no part: an empty group in repeats multiplies them alone
  std::string error_;
};

}  // namespace

tl::expected<PatternParts, std::string> parse_pattern(std::string_view expression) {
  if (expression.size() > kPatternBytesMax)
    return tl::unexpected(
        fmt::format("it has {} bytes, of at most {}", expression.size(), kPatternBytesMax));
  const auto whole = Parser(expression).parse();
  if (!whole) return tl::unexpected(whole.error());
  return Builder().build(**whole);
}

}  // namespace lares::engine
