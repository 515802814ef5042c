// What a person can do about a missing layer, by the layer's name as the launcher reports it.
#pragma once

#include <string>
#include <string_view>

namespace lares::sandbox {

std::string fix_for(std::string_view layer, const std::string& launcher);

}  // namespace lares::sandbox
