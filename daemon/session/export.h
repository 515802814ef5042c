// Sessions as files: the format is described in transfer.h. Blocks on the disk; any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <tl/expected.hpp>

#include "engine/engine.h"

namespace lares::daemon {

inline constexpr int kExportVersion = 1;
inline constexpr std::uint64_t kExportBytesMax = 2ull << 30;

struct ExportModel {
  std::string name, type;
  std::string fingerprint;  // of all that decides what is sampled; empty: not known
  std::string vocabulary;   // of what its token ids mean
  int vocab_size = 0;       // not in the file
};
std::string vocabulary_of(const engine::Engine& engine);
ExportModel model_of(const engine::Engine* engine);  // null: nothing is known

// Why its ids are of no use here
std::string other_vocabulary(const ExportModel& file, const ExportModel& ours);

struct Export {
  std::string session, root;
  ExportModel model;
  std::vector<std::string> frames;  // the journal's payloads
};

struct Exported {
  std::uint64_t bytes = 0, frames = 0;
};
// The first `journal_bytes` of the journal, which may be in use, as a new file that appears whole
// or not at all.
tl::expected<Exported, std::string> write_export(const std::string& path, const Export& about,
                                                 const std::string& journal_path,
                                                 std::uint64_t journal_bytes);

// Every line is checked; what is wrong is one line.
tl::expected<Export, std::string> read_export(const std::string& path);

}  // namespace lares::daemon
