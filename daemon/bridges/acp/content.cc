#include "daemon/bridges/acp/content.h"

#include <utility>

#include <fmt/format.h>

#include "daemon/percent.h"

namespace lares::cli::acp {
namespace {

// As the repository calls it, with the lines that a fragment such as "#L10:20" names.
std::string name_of(const std::string& uri, const Root& root) {
  const std::string path = path_of_uri(uri);
  if (path.empty()) return uri;
  const std::size_t hash = uri.find('#');
  const std::string fragment = hash == std::string::npos ? "" : uri.substr(hash);
  return root.below(path) + fragment;
}

}  // namespace

std::string path_of_uri(const std::string& uri) {
  constexpr std::string_view kScheme = "file://";
  if (!uri.starts_with(kScheme)) return "";
  const std::size_t begin = uri.find('/', kScheme.size());  // behind the host, which is this one
  if (begin == std::string::npos) return "";
  return daemon::percent_decoded(
      std::string_view(uri).substr(begin, uri.find_first_of("?#", begin) - begin));
}

Reply<Prompt> read_prompt(const Json& blocks, const Root& root) {
  if (!blocks.is_array() || blocks.empty())
    return tl::unexpected(
        Fault{kInvalidParams, "session/prompt: prompt must be a list of content blocks"});
  Prompt out;
  std::string attached;
  const auto names = [&](const std::string& uri) {
    if (auto path = path_of_uri(uri); !path.empty()) out.files.push_back(std::move(path));
  };
  for (const Json& block : blocks) {
    const std::string type = string_at(block, "type");
    if (type == "text") {
      out.text += string_at(block, "text");
    } else if (type == "resource_link") {
      const std::string uri = string_at(block, "uri");
      names(uri);
      out.text += fmt::format("`{}`", path_of_uri(uri).empty()
                                          ? fmt::format("{} ({})", string_at(block, "name"), uri)
                                          : name_of(uri, root));
    } else if (type == "resource" && at(at(block, "resource"), "text").is_string()) {
      const Json& resource = at(block, "resource");
      const std::string uri = string_at(resource, "uri"), name = name_of(uri, root),
                        text = string_at(resource, "text");
      names(uri);
      out.text += fmt::format("`{}`", name);
      attached += fmt::format("\n\n<attached name=\"{}\">\n{}{}</attached>", name, text,
                              text.empty() || text.ends_with('\n') ? "" : "\n");
    } else {
      return tl::unexpected(
          Fault{kInvalidParams,
                fmt::format("session/prompt: the model reads text, links and embedded text, not {}",
                            type.empty()         ? "a block without a type"
                            : type == "resource" ? "binary resources"
                                                 : type)});
    }
  }
  out.text += attached;
  if (out.text.size() > protocol::kPromptBytesMax)
    return tl::unexpected(
        Fault{kInvalidParams,
              fmt::format("session/prompt: with what it embeds the prompt is {} bytes long, and {} "
                          "at most are taken; link to files instead of embedding them",
                          out.text.size(), protocol::kPromptBytesMax)});
  if (out.text.find_first_not_of(" \t\r\n") == std::string::npos)
    return tl::unexpected(Fault{kInvalidParams, "session/prompt: the prompt says nothing"});
  return out;
}

}  // namespace lares::cli::acp
