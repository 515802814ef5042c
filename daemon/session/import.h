// What an export says, as the journal of another session.
#pragma once

#include <string>
#include <vector>

#include <tl/expected.hpp>

#include "daemon/session/export.h"

namespace lares::daemon {

// The payloads of a journal of the session `id` about `root`. The file is somebody's word: what it
// may not decide here (rules, rights, what waits, snapshots) is taken out, and its token ids must
// be below `vocab_size`, but for those of other vocabularies than the one that the file names.
tl::expected<std::vector<std::string>, std::string> frames_to_import(const Export& file,
                                                                     const std::string& id,
                                                                     const std::string& root,
                                                                     int vocab_size);

}  // namespace lares::daemon
