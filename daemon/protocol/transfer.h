// Sessions as files, and sampled again: a part of the protocol (protocol.h) of its own, with its
// JSON.
//
// An export is text, one JSON object a line:
//   {"format": "lares-session", "version": 1, "session", "root", "server", "frames",
//    "model": {"name", "type", "fingerprint", "vocabulary"}}
//   {"frame": {"method", "params"}}     one for each frame of the session's journal (session.h), in
//                                       order, as it is there
//   {"sha256": "..."}                   of every byte before this line
// It holds what the session saw and said, token ids included: secrets that were in it are in the
// file.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/protocol/protocol.h"
#include "daemon/protocol/wire.h"

namespace lares::daemon::protocol {

// Writes a session to a new file, which only its owner may read. An existing one is left alone:
// invalid_params.
struct SessionExport {
  static constexpr std::string_view kMethod = "session/export";
  std::string session_id;
  std::string path;  // absolute
};
struct SessionExportResult {
  std::string path;
  std::int64_t bytes = 0, frames = 0;
};

// Makes a session with a new id from an export. Rules and rights that it had elsewhere it does not
// have here, prompts that waited are withdrawn, and its calls cannot be undone: it can be read,
// gone back in as far as the model is concerned, forked and continued. Result: SessionInfo. Errors:
// invalid_params where the file is damaged or of another vocabulary; not_found where there is no
// such root.
struct SessionImport {
  static constexpr std::string_view kMethod = "session/import";
  std::string path;  // absolute
  std::string root;  // empty: the one it was about
};

// Samples every recorded answer again, from the recorded prompt with the recorded settings, and
// compares token by token; no tool runs. Running turns take turns with it. The answer comes when it
// has ended: at the first difference, or when all are equal.
struct SessionReplay {
  static constexpr std::string_view kMethod = "session/replay";
  std::string session_id;             // or:
  std::string path;                   // of an export; absolute
  std::optional<std::uint64_t> seed;  // instead of the recorded one
};
struct SessionReplayResult {
  bool equal = false;
  std::int64_t turns = 0, steps = 0, tokens = 0, facts = 0;  // that were compared
  std::string difference;                                    // of what, in words; empty: none
  std::int64_t turn_id = 0, step = 0, token = 0;  // where; token: within its answer, from 0
  std::int64_t expected = -1, got = -1;           // token ids; -1: it is no token that differs
  std::string expected_text, got_text;
  std::string note;  // what may explain it, or what was not compared
};

// The title is the first line of this. -> {}
struct SessionSetTitle {
  static constexpr std::string_view kMethod = "session/set_title";
  std::string session_id, title;
};

template <class V>
void fields(V& v, SessionExport& x) {
  v.r("sessionId", x.session_id);
  v.r("path", x.path);
}
template <class V>
void fields(V& v, SessionExportResult& x) {
  v.r("path", x.path);
  v.r("bytes", x.bytes);
  v.r("frames", x.frames);
}
template <class V>
void fields(V& v, SessionImport& x) {
  v.r("path", x.path);
  v.o("root", x.root);
}
template <class V>
void fields(V& v, SessionReplay& x) {
  v.o("sessionId", x.session_id);
  v.o("path", x.path);
  v.o("seed", x.seed);
}
template <class V>
void fields(V& v, SessionReplayResult& x) {
  v.r("equal", x.equal);
  v.o("turns", x.turns);
  v.o("steps", x.steps);
  v.o("tokens", x.tokens);
  v.o("facts", x.facts);
  v.o("difference", x.difference);
  v.o("turnId", x.turn_id);
  v.o("step", x.step);
  v.o("token", x.token);
  v.o("expected", x.expected);
  v.o("got", x.got);
  v.o("expectedText", x.expected_text);
  v.o("gotText", x.got_text);
  v.o("note", x.note);
}
template <class V>
void fields(V& v, SessionSetTitle& x) {
  v.r("sessionId", x.session_id);
  v.r("title", x.title);
}

}  // namespace lares::daemon::protocol
