// What a call of the edit tool would make of its file, before it runs.
#pragma once

#include <optional>
#include <string>

#include <nlohmann/json_fwd.hpp>

#include "daemon/turn/toolbox.h"

namespace lares::daemon {

inline constexpr const char* kEditTool = "str_replace_editor";

struct ForeseenEdit {
  std::string path;  // as the model wrote it
  // Both as the model is shown the file; nothing: the edit makes it
  std::optional<std::string> before;
  std::string after;
};

// nullopt: no edit, or one of which that is not known: it will fail, or the file is not text, or
// its kind is another. Reads the file.
std::optional<ForeseenEdit> foresee(const Tools& tools, const std::string& tool,
                                    const nlohmann::json& arguments);

std::string text_at(const nlohmann::json& arguments, const char* key);  // empty where there is none

}  // namespace lares::daemon
