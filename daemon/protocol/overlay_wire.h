// The part of the protocol that is about what an editor holds of files and has not saved; see
// protocol.h.
#pragma once

#include <cstddef>
#include <string_view>

namespace lares::daemon::protocol {

// Files of one session; of more the oldest is forgotten
inline constexpr std::size_t kOverlaysMax = 32;

// session/hold_files {sessionId}: this connection, which has subscribed to the session, is an
// editor's: it may hold text of files that is not on the disk, and answers session/overlay_wanted.
// It takes the place of an editor before it; a subscription that ends or is made anew ends it. ->
// {}. Errors: invalid_params where it has not subscribed, not_found.
inline constexpr std::string_view kSessionHoldFiles = "session/hold_files";

// session/overlay {sessionId, path, text?, told?}: what the editor holds of a file. path: relative
// to the session's root; text: absent or null where it holds what is on disk, else at most
// tools::kUnsavedBytesMax bytes; told: the model reads of it in a prompt that follows. Until the
// editor says something else, leaves or saves the file, `view` and edits work on this text;
// commands see the disk. -> {}. Errors: invalid_params, not_found. Nothing of it is kept on disk
// but what the model is shown.
inline constexpr std::string_view kSessionOverlay = "session/overlay";

// Notification session/overlay_wanted {sessionId, path, save}, ephemeral, to that connection alone:
// a tool is about to read the file, or with `save` to change it: then the editor is to write its
// text to the disk first, if it can. It answers with session/overlay; a tool does not wait longer
// than kOverlayWithin.
inline constexpr std::string_view kSessionOverlayWanted = "session/overlay_wanted";

}  // namespace lares::daemon::protocol
