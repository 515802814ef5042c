#include "engine/text/tokenizer/pretokenizer.h"

#include <algorithm>

#include "engine/text/tokenizer/unicode.h"

namespace lares::engine {

const char* const kOfficialSplits[3] = {
    "\\p{N}{1,3}",
    "[一-龥぀-ゟ゠-ヿ]+",
    "[!\"#$%&'()*+,\\-./"
    ":;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| "
    "?[\\p{P}\\p{S}]+[\r\n]*|"
    "\\s*[\r\n]+|\\s+(?!\\S)|\\s+",
};

namespace {

bool is_newline(char c) { return c == '\n' || c == '\r'; }
bool is_ascii_letter(char c) { return unsigned((c | 32) - 'a') < 26u; }

// The official patterns over one stretch of valid UTF-8. The first two only cut runs of numbers and
// of CJK out of the text; what lies between is cut by the third.
class OfficialScanner {
 public:
  OfficialScanner(std::string_view text, std::size_t base, std::vector<std::size_t>& ends)
      : text_(text.data()), size_(text.size()), base_(base), ends_(ends) {}

  void run() {
    std::size_t start = 0, at = 0;
    while (at < size_) {
      const Char c = look(at);
      if (!(c.cls & (kNumber | kKana))) {
        at += c.length;
        continue;
      }
      third(start, at);
      at = start = (c.cls & kNumber) ? numbers(at) : kana(at);
    }
    third(start, size_);
  }

 private:
  struct Char {
    std::uint8_t cls;
    std::uint8_t length;
  };
  Char look(std::size_t at) const {
    const auto byte = static_cast<unsigned char>(text_[at]);
    if (byte < 0x80) return {table_.ascii(byte), 1};
    const CodePoint c = code_point(text_ + at);
    return {table_[c.value], std::uint8_t(c.length)};
  }
  std::size_t skip(std::size_t at, std::size_t end, unsigned classes) const {
    while (at < end) {
      const Char c = look(at);
      if (!(c.cls & classes)) break;
      at += c.length;
    }
    return at;
  }
  void piece(std::size_t end) { ends_.push_back(base_ + end); }

  // \p{N}{1,3}, over and over: groups of three from the left of the run. Returns the run's end.
  std::size_t numbers(std::size_t at) {
    int n = 0;
    for (; at < size_;) {
      const Char c = look(at);
      if (!(c.cls & kNumber)) break;
      if (n == 3) {
        piece(at);
        n = 0;
      }
      at += c.length;
      ++n;
    }
    piece(at);
    return at;
  }

  std::size_t kana(std::size_t at) {
    const std::size_t end = skip(at, size_, kKana);
    third(at, end);  // the ranges hold a few symbols and unassigned code points, so this may cut
                     // again
    return end;
  }

  // The third pattern over [begin, end), which it sees as a whole text.
  void third(std::size_t begin, std::size_t end) {
    std::size_t at = begin, gap = begin;
    while (at < end) {
      const Char c = look(at);
      const std::size_t stop = match(at, end, c);
      if (stop == at) {  // no alternative matches here: the character joins the gap
        at += c.length;
        continue;
      }
      if (gap < at) piece(at);
      piece(stop);
      at = gap = stop;
    }
    if (gap < end) piece(end);
  }

  // Where the match at `at` ends; `at` itself when there is none. The alternatives in their order.
  std::size_t match(std::size_t at, std::size_t end, Char c) const {
    const char first = text_[at];
    const std::size_t next = at + c.length;
    if (c.cls & (kLetter | kMark)) return skip(next, end, kLetter | kMark);
    if (c.cls & (kPunctuation | kSymbol)) {
      // Of ASCII, exactly the characters the first alternative lists are punctuation or symbols.
      if (c.length == 1 && next < end && is_ascii_letter(text_[next])) {
        std::size_t stop = next + 1;
        while (stop < end && is_ascii_letter(text_[stop])) ++stop;
        return stop;
      }
      return newlines(skip(next, end, kPunctuation | kSymbol), end);
    }
    if (next < end && !is_newline(first)) {
      const Char second = look(next);
      if (second.cls & (kLetter | kMark)) return skip(next + second.length, end, kLetter | kMark);
      if (first == ' ' && second.cls & (kPunctuation | kSymbol)) {
        return newlines(skip(next + second.length, end, kPunctuation | kSymbol), end);
      }
    }
    if (!(c.cls & kSpace)) return at;
    return space(at, end);
  }

  std::size_t newlines(std::size_t at, std::size_t end) const {
    while (at < end && is_newline(text_[at])) ++at;
    return at;
  }

  // \s*[\r\n]+ | \s+(?!\S) | \s+ : up to the last line break of the run; else the run without its
  // last character, which stays with the word after it; else that one character.
  std::size_t space(std::size_t at, std::size_t end) const {
    std::size_t run = at, last = at, after_newline = at;
    while (run < end) {
      const Char c = look(run);
      if (!(c.cls & kSpace)) break;
      last = run;
      run += c.length;
      if (is_newline(text_[last])) after_newline = run;
    }
    if (after_newline != at) return after_newline;
    if (run == end || last == at) return run;
    return last;
  }

  const CharTable& table_ = CharTable::instance();
  const char* text_;
  std::size_t size_, base_;
  std::vector<std::size_t>& ends_;
};

void split_by(const Regex& regex, std::string_view text, std::size_t base, Regex::Scratch& scratch,
              std::vector<std::size_t>& ends) {
  std::size_t done = 0;  // everything before it has been cut
  for (std::size_t at = 0; at < text.size();) {
    const auto match = regex.find(text, at, scratch);
    if (!match) break;
    if (match->begin == match->end) {  // an empty match cuts nothing
      at = match->end + (match->end < text.size()
                             ? std::size_t(code_point(text.data() + match->end).length)
                             : 1);
      continue;
    }
    if (match->begin > done) ends.push_back(base + match->begin);
    ends.push_back(base + match->end);
    at = done = match->end;
  }
  if (done < text.size()) ends.push_back(base + text.size());
}

}  // namespace

Result<Pretokenizer> Pretokenizer::make(const std::vector<SplitPattern>& splits) {
  Pretokenizer result;
  result.official_ = std::equal(
      splits.begin(), splits.end(), std::begin(kOfficialSplits), std::end(kOfficialSplits),
      [](const SplitPattern& s, const char* p) { return !s.literal && s.pattern == p; });
  if (result.official_) return result;
  for (const SplitPattern& split : splits) {
    auto regex = Regex::compile(split.pattern, split.literal);
    if (!regex) return tl::unexpected(std::move(regex.error()));
    result.splits_.push_back(std::move(*regex));
  }
  return result;
}

void Pretokenizer::pieces(std::string_view text, std::vector<std::size_t>& ends) const {
  std::vector<std::size_t> before, after;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t valid = valid_utf8_prefix(text.substr(at));
    if (valid > 0 && official_) {
      OfficialScanner(text.substr(at, valid), at, ends).run();
    } else if (valid > 0) {
      before.assign(1, at + valid);
      for (const Regex& regex : splits_) {
        Regex::Scratch scratch(regex);
        after.clear();
        std::size_t begin = at;
        for (std::size_t end : before) {
          split_by(regex, text.substr(begin, end - begin), begin, scratch, after);
          begin = end;
        }
        std::swap(before, after);
      }
      ends.insert(ends.end(), before.begin(), before.end());
    }
    at += valid;
    std::size_t bad = at;
    while (bad < text.size() && utf8_sequence(text.substr(bad, 4)) == 0) ++bad;
    if (bad > at) ends.push_back(bad);
    at = bad;
  }
}

}  // namespace lares::engine
