#include "daemon/cli/interactive/whole_output.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <optional>
#include <string_view>

#include "daemon/shown/text.h"
#include "tools/clip.h"
#include "tools/fd.h"

namespace lares::cli {
namespace {

// Enough to find where the file begins and ends in what the model was given: before and behind that
// stands what the tool remarks.
constexpr std::size_t kKnownBytes = 64;

struct Clipped {
  std::string_view head, left_out, path, tail;
};

std::optional<Clipped> parse(std::string_view output) {
  const std::string_view note = tools::kClippedNote;
  const std::size_t at = output.find(note);
  if (at == std::string_view::npos) return std::nullopt;
  constexpr std::string_view kBegins = "\n[", kIsIn = " is in ", kEnds = "]\n";
  const std::string_view rest = output.substr(at + note.size());
  const std::size_t end = rest.find(kEnds);
  if (!rest.starts_with(kBegins) || end == std::string_view::npos) return std::nullopt;
  const std::string_view told = rest.substr(kBegins.size(), end - kBegins.size());
  Clipped out{.head = output.substr(0, at),
              .left_out = told.substr(0, told.find(';')),
              .path = {},
              .tail = rest.substr(end + kEnds.size())};
  if (const std::size_t path = told.find(kIsIn); path != std::string_view::npos) {
    const std::string_view from = told.substr(path + kIsIn.size());
    out.path = from.substr(0, from.rfind(", which"));
  }
  return out;
}

struct Read {
  std::string text;
  std::size_t n_bytes = 0;  // that the file has
};

// No other file than one of the daemon's: what a command printed may look like this, too.
std::optional<Read> read_beginning(const std::string& path, const std::string& state_dir) {
  if (state_dir.empty() || !path.starts_with(state_dir + "/") ||
      path.find("/../") != std::string::npos)
    return std::nullopt;
  const tools::Fd from(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW));
  struct stat at {};
  if (!from || ::fstat(from.get(), &at) != 0 || !S_ISREG(at.st_mode)) return std::nullopt;
  Read out{.text = {}, .n_bytes = static_cast<std::size_t>(at.st_size)};
  out.text.resize(std::min(out.n_bytes, kWholeOutputBytesMax));
  std::size_t have = 0;
  while (have < out.text.size()) {
    const ssize_t n = ::read(from.get(), out.text.data() + have, out.text.size() - have);
    if (n <= 0) break;
    have += static_cast<std::size_t>(n);
  }
  out.text.resize(have);
  return out;
}

}  // namespace

std::string whole_output(const std::string& output, const std::string& state_dir) {
  const auto clipped = parse(output);
  if (!clipped) return output;
  const std::string path(clipped->path);
  auto whole = read_beginning(path, state_dir);
  if (!whole || whole->text.empty())
    return fmt::format("{}[{}]\n{}", clipped->head, clipped->left_out, clipped->tail);
  std::string& text = whole->text;
  const std::size_t begin = clipped->head.find(text.substr(0, kKnownBytes));
  std::string out(clipped->head.substr(0, begin == std::string_view::npos ? 0 : begin));
  if (text.size() < whole->n_bytes) {
    text.erase(text.rfind('\n') + 1);
    if (text.empty()) text = clipped->head.substr(out.size());  // one line
    return out + text + fmt::format("[more in {}; the end of all:]\n{}", path, clipped->tail);
  }
  const std::string last = text.substr(text.size() - std::min(text.size(), kKnownBytes));
  const std::size_t end = clipped->tail.rfind(last);
  out += text;
  if (end != std::string_view::npos) out += clipped->tail.substr(end + last.size());
  return out;
}

}  // namespace lares::cli
