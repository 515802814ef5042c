// str_replace and insert against a model: on the text as it is shown, an edit is a plain string
// replacement; and every byte that the edit does not touch stays as it was on disk. Random files:
// LF, CRLF and both, with and without a final line end, byte order mark, Unicode.
#include <atomic>
#include <random>
#include <thread>

#include "tests/tools/scratch.h"
#include "tools/edit/edit_tool.h"
#include "tools/edit/match.h"
#include "tools/text.h"

namespace lares::tools {
namespace {

using nlohmann::json;

class Random {
 public:
  explicit Random(unsigned seed) : engine_(seed) {}
  std::size_t below(std::size_t n) { return n == 0 ? 0 : engine_() % n; }
  // Few pieces, so that stretches of a text often occur twice.
  std::string words(std::size_t n_max) {
    static const char* kPieces[] = {
        "a",          "b",      "  ", "\t",  "x = 1", "f(", ")",  "\u00e9",       "\u4e2d\u6587",
        "\U0001f600", "\u2028", "$1", "\\n", "\\0",   ".*", "\"", "\u201cq\u201d"};
    std::string out;
    for (std::size_t n = below(n_max + 1); n > 0; --n) out += kPieces[below(std::size(kPieces))];
    return out;
  }
  std::string text(std::size_t n_lines_max) {
    std::string out;
    for (std::size_t n = below(n_lines_max + 1); n > 0; --n) out += words(4) + "\n";
    return out + words(2);
  }
  std::string file() {
    const std::string shown = text(12);
    const std::size_t kind = below(3);
    std::string out = below(4) == 0 ? std::string(kBom) : "";
    for (const char c : shown) {
      if (c == '\n' && (kind == 1 || (kind == 2 && below(2)))) out += '\r';
      out += c;
    }
    return out;
  }

 private:
  std::mt19937 engine_;
};

std::size_t count(std::string_view text, std::string_view part) {
  std::size_t n = 0;
  for (std::size_t at = text.find(part); at != std::string_view::npos; at = text.find(part, at + 1))
    ++n;
  return n;
}

// Where the n-th byte of the shown text lies in the file.
std::size_t raw_offset(std::string_view bytes, std::size_t n) {
  std::size_t at = bytes.starts_with(kBom) ? kBom.size() : 0;
  for (; n > 0; --n) at += bytes.substr(at).starts_with("\r\n") ? 2 : 1;
  return at;
}

struct Edit {
  std::string old_str, new_str;
  std::size_t at = 0;  // in the shown text
};
Edit random_edit(Random& random, const std::string& shown) {
  const std::size_t from = utf8_floor(shown, random.below(shown.size() + 1)),
                    to = utf8_floor(shown, from + random.below(shown.size() - from + 1));
  return {shown.substr(from, std::max(from, to) - from), random.text(2), from};
}

class EditModel : public testing::Test {
 protected:
  static Outcome run(EditTool& tool, json args) {
    asio::io_context io;
    return test::call(io, tool, std::move(args)).value_or(Outcome{"BROKEN", false, {}});
  }
  EditTool make() {
    return EditTool(BuiltinOptions{.root = dir_.root(), .state_dir = state_.root()});
  }
  test::Scratch dir_, state_;
};

TEST_F(EditModel, AReplacementIsAStringReplacementAndTouchesNothingElse) {
  int n_done = 0, n_refused = 0;
  for (unsigned seed = 0; seed < 4000; ++seed) {
    Random random(seed);
    const std::string bytes = random.file(), shown = shown_text(bytes);
    const Edit edit = random_edit(random, shown);
    if (edit.old_str.empty() || edit.old_str == edit.new_str) continue;
    SCOPED_TRACE(seed);
    const auto done = replace_unique(bytes, edit.old_str, edit.new_str);
    if (count(shown, edit.old_str) > 1) {
      ASSERT_FALSE(done);
      EXPECT_FALSE(done.error().lines.empty());
      ++n_refused;
      continue;
    }
    ASSERT_TRUE(done);
    EXPECT_EQ(done->relaxed, "");
    EXPECT_EQ(shown_text(done->bytes), shown.substr(0, edit.at) + edit.new_str +
                                           shown.substr(edit.at + edit.old_str.size()));
    const std::string_view head = std::string_view(bytes).substr(0, raw_offset(bytes, edit.at));
    const std::string_view tail =
        std::string_view(bytes).substr(raw_offset(bytes, edit.at + edit.old_str.size()));
    EXPECT_TRUE(done->bytes.starts_with(head));
    EXPECT_TRUE(done->bytes.ends_with(tail));
    ++n_done;
  }
  EXPECT_GT(n_done, 1000);
  EXPECT_GT(n_refused, 200);
}

TEST_F(EditModel, InsertionsAndUndoThroughTheTool) {
  for (unsigned seed = 0; seed < 25; ++seed) {
    SCOPED_TRACE(seed);
    Random random(seed);
    auto tool = make();
    const std::string begun = random.file();
    const auto path = dir_.write("f", begun);
    if (is_binary(begun)) continue;
    int n_edits = 0;
    for (int i = 0; i < 8; ++i) {
      const std::string bytes = dir_.read("f"), shown = shown_text(bytes);
      if (random.below(2)) {
        const Edit edit = random_edit(random, shown);
        if (edit.old_str.empty() || edit.old_str == edit.new_str || count(shown, edit.old_str) != 1)
          continue;
        ASSERT_TRUE(run(tool, {{"command", "str_replace"},
                               {"path", path},
                               {"old_str", edit.old_str},
                               {"new_str", edit.new_str}})
                        .ok);
        EXPECT_EQ(shown_text(dir_.read("f")), shown.substr(0, edit.at) + edit.new_str +
                                                  shown.substr(edit.at + edit.old_str.size()));
      } else {
        const auto lines = split_lines(shown);
        const std::size_t after = random.below(lines.size() + 1);
        std::string text = random.text(2), want;
        if (text.empty()) continue;
        ASSERT_TRUE(
            run(tool,
                {{"command", "insert"}, {"path", path}, {"insert_line", after}, {"new_str", text}})
                .ok);
        // Without a final line end, before and after
        const bool open = !shown.empty() && !shown.ends_with('\n');
        if (!text.ends_with('\n')) text += '\n';
        for (std::size_t k = 0; k < after; ++k) want += std::string(lines[k]) + "\n";
        want += text;
        for (std::size_t k = after; k < lines.size(); ++k) want += std::string(lines[k]) + "\n";
        if (open) want.pop_back();
        EXPECT_EQ(shown_text(dir_.read("f")), want);
      }
      ++n_edits;
    }
    for (; n_edits > 0; --n_edits)
      ASSERT_TRUE(run(tool, {{"command", "undo_edit"}, {"path", path}}).ok);
    EXPECT_EQ(dir_.read("f"), begun);
  }
}

// Two sessions add lines to one file at once, each as often as it is told that the other was there.
// Nothing that was said to be done is lost.
TEST_F(EditModel, SessionsAtOnceLoseNothing) {
  const auto path = dir_.write("f", "begin\nend\n");
  constexpr int kEdits = 60;
  std::atomic<int> n_refused{0};
  const auto work = [&](const std::string& name) {
    auto tool = make();
    for (int i = 0; i < kEdits;) {
      const Outcome out = run(tool, {{"command", "str_replace"},
                                     {"path", path},
                                     {"old_str", "end\n"},
                                     {"new_str", name + std::to_string(i) + "\nend\n"}});
      if (out.ok)
        ++i;
      else
        ++n_refused;
    }
  };
  std::thread other([&] { work("a"); });
  work("b");
  other.join();
  const std::string text = dir_.read("f");
  for (int i = 0; i < kEdits; ++i) {
    for (const char* name : {"a", "b"})
      EXPECT_EQ(count(text, std::string("\n").append(name).append(std::to_string(i)).append("\n")),
                1u)
          << name << i;
  }
  EXPECT_GT(n_refused.load(), 0);
}

}  // namespace
}  // namespace lares::tools
