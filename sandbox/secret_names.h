// Which files hold secrets: the one list, for commands, which must not read them, and for whoever
// shows or commits files. Where a name says little, the text does.
#pragma once

#include <cstddef>
#include <string_view>

namespace lares::sandbox {

enum class SecretName {
  no,
  by_text,  // keys and certificates share these names, for one: holds_secret_mark() of the file's
            // beginning decides
  likely,   // the same, but not worth showing without a look: commands need certificates and a
            // registry's settings, readers do not
  yes,
};
// Of a file, in which a mark is looked for
inline constexpr std::size_t kSecretMarkBytes = 64 << 10;

// A directory with a file of this name in it is Lares' own, whichever daemon's: what a command
// wrote there would be run with the user's rights.
inline constexpr std::string_view kOwnMark = ".lares-own";

// Of a file's or directory's own name. A template (.env.example) is none.
SecretName secret_name(std::string_view name);
// A directory of secrets: what lies in it has no name of its own to go by.
bool is_secret_directory(std::string_view name);
// Of a path, its directories counting.
SecretName secret_path(std::string_view path);
bool holds_secret_mark(std::string_view text);

}  // namespace lares::sandbox
