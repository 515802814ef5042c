// lares tokenize: text to token ids and back, with a checkpoint's tokenizer. Needs no daemon and no
// weights.
#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <charconv>
#include <cstdint>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <sstream>
#include <string>
#include <vector>

#include "daemon/cli/commands/commands.h"
#include "daemon/cli/exit_status.h"
#include "daemon/cli/options.h"
#include "daemon/cli/terminal/print.h"
#include "daemon/protocol/nano_directory.h"
#include "daemon/utf8.h"
#include "engine/tokenizer.h"

namespace lares::cli {
namespace {

constexpr std::size_t kInputBytesMax = 1u << 30;

Result<std::string> read_all(const std::string& path) {
  std::string text;
  std::FILE* const file = path == "-" ? stdin : std::fopen(path.c_str(), "rb");
  if (!file)
    return tl::unexpected(Error{
        fmt::format("read {}: {}; name a file that you may read", path, std::strerror(errno))});
  char block[65536];
  for (std::size_t n; (n = std::fread(block, 1, sizeof block, file)) > 0;) {
    text.append(block, n);
    if (text.size() > kInputBytesMax) break;
  }
  const bool failed = std::ferror(file) != 0;
  if (file != stdin) std::fclose(file);
  if (failed)
    return tl::unexpected(Error{fmt::format("read {}: it cannot be read as a file", path)});
  if (text.size() > kInputBytesMax)
    return tl::unexpected(Error{fmt::format("read {}: more than {} bytes", path, kInputBytesMax)});
  return text;
}

// A JSON array of ids, or ids with blanks or single commas between.
Result<std::vector<engine::Token>> read_ids(const std::string& text, int vocab_size) {
  std::vector<engine::Token> ids;
  const auto take = [&](const std::string& word, long long id) -> Result<> {
    if (id < 0 || id >= vocab_size) {
      return tl::unexpected(
          Error{fmt::format("decode: {} is no token id; they are 0 to {}", word, vocab_size - 1)});
    }
    ids.push_back(static_cast<engine::Token>(id));
    return {};
  };
  const auto begin = text.find_first_not_of(" \t\r\n");
  if (begin == std::string::npos) return ids;
  if (text[begin] == '[') {
    const auto json = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
    if (!json.is_array())
      return tl::unexpected(
          Error{"decode: the input begins with [ and is no JSON array; give [1, 2, 3] or 1 2 3"});
    for (const auto& id : json) {
      if (auto taken = take(id.dump(), id.is_number_integer() ? id.get<long long>() : -1); !taken)
        return tl::unexpected(taken.error());
    }
    return ids;
  }
  std::istringstream parts(text + ",");  // getline does not see an empty part behind the last comma
  for (std::string part; std::getline(parts, part, ',');) {
    std::istringstream words(part);
    const std::size_t before = ids.size();
    for (std::string word; words >> word;) {
      long long id = -1;
      const auto [end, ec] = std::from_chars(word.data(), word.data() + word.size(), id);
      const bool whole = ec == std::errc() && end == word.data() + word.size();
      if (auto taken = take(word, whole ? id : -1); !taken) return tl::unexpected(taken.error());
    }
    if (ids.size() == before)
      return tl::unexpected(
          Error{"decode: a token id is missing before or behind a comma; give [1, 2, 3] or 1 2 3"});
  }
  return ids;
}

}  // namespace

int tokenize_command(int argc, const char* const* argv) {
  CLI::App app("Turns text into token ids, or token ids into text.", "lares tokenize");
  std::string text, file, model;
  bool added = false, decode = false, json = false, count = false;
  auto* given = app.add_option("text", text, "the text (default: stdin)");
  app.add_option("--file", file, "read the text from this file; - is stdin")->excludes(given);
  app.add_option("--model", model, "checkpoint directory, or a tokenizer.json (default: nano's)");
  app.add_flag("--added", added, "control tokens spelled in the text become those tokens");
  app.add_flag("--decode", decode, "the input is token ids; prints their text");
  app.add_flag("--count", count, "print only how many tokens there are");
  app.add_flag("--json", json, "print an object with ids and the text of each");
  app.footer(kShortExitStatusHelp);
  if (const auto over = parse(app, argc, argv)) return *over;

  if (given->count() == 0) {
    auto read = read_all(file.empty() ? "-" : file);
    if (!read) return fail(read.error(), json);
    text = std::move(*read);
  }
  std::error_code ec;
  std::string path = model.empty() ? daemon::nano_directory() : model;
  if (std::filesystem::is_directory(path, ec)) path += "/tokenizer.json";
  const auto tokenizer = engine::Tokenizer::from_file(path);
  if (!tokenizer)
    return fail(Error{tokenizer.error().message +
                      "; name a checkpoint's directory or its tokenizer.json with --model"},
                json);

  std::vector<engine::Token> ids;
  if (decode) {
    auto read = read_ids(text, (*tokenizer)->vocab_size());
    if (!read) return fail(read.error(), json);
    ids = std::move(*read);
  } else {
    (*tokenizer)->encode(text, added, ids);
  }
  if (json) {
    nlohmann::ordered_json out;
    out["count"] = ids.size();
    out["ids"] = ids;
    auto pieces = nlohmann::ordered_json::array();
    for (const engine::Token id : ids)
      pieces.push_back(daemon::valid_utf8((*tokenizer)->bytes(id)));
    out["pieces"] = std::move(pieces);
    print_out("{}\n", out.dump());
  } else if (count) {
    print_out("{}\n", ids.size());
  } else if (decode) {
    const std::string whole = (*tokenizer)->decode(ids);
    std::fwrite(whole.data(), 1, whole.size(), stdout);
    if (::isatty(STDOUT_FILENO) == 1 && !whole.ends_with('\n')) std::fputc('\n', stdout);
  } else {
    print_out("{}\n", nlohmann::json(ids).dump());
  }
  return std::fflush(stdout) == 0 ? kExitFinished : kExitError;
}

}  // namespace lares::cli
