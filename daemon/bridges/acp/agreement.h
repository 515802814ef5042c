// Where the editor's texts and the files on disk were last seen alike. A text of the editor that
// is not on disk may be the user's own, or an old one that the editor has not read again; only what
// was seen before tells them apart. One for all sessions of an editor.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <string>

namespace lares::cli::acp {

inline constexpr std::size_t kAgreementsMax = 1024;  // files that are remembered: those asked last
inline constexpr std::size_t kAgreedBytesMax = 16u << 20;  // of their texts; of others only hashes

class Agreement {
 public:
  Agreement();  // files that change from now on change under the editor

  enum class Standing : std::uint8_t {
    same,     // the editor holds what is on disk
    stale,    // it holds what was on disk; nobody has written in it
    unsaved,  // the user's own, over what is on disk
    behind,   // the user's own, over what was on disk before edits of ours that it has not got
    parted,   // the user's own, and the disk has, or may have, what the user did not see
  };
  // `changed_ns`: when the file's inode was written last, of the system's clock. Where nothing is
  // known of a file and its texts differ, a file that has not changed since the start cannot have
  // changed under this editor's session, so the text counts as unsaved. One that has, may have:
  // that is parted, which writes neither text over the other and costs the user one save, where
  // the guess could cost a file. (A file changed before the start and not read again by the editor
  // is still taken for unsaved.)
  // Where the disk has changed and all of that is in the editor's text too, that text was saved and
  // typed on in, or is as good as that: it goes over the disk and nothing is lost.
  // A newline more or less at the end is no other text. Of a file that is not UTF-8 the editor has
  // decoded the bytes as it thinks best: the same is what has the same ASCII in it, and anything
  // else is left to the user to save, for it may have been decoded with losses.
  Standing of(const std::string& path, const std::string& held, const std::string& disk,
              std::int64_t changed_ns);
  // A call of ours has changed the file, of these names as git's blobs: not behind the editor's
  // back, for it was asked before. The user may still go on writing in what was there before.
  void edited(const std::string& path, const std::string& before, const std::string& after);
  // What the editor's text is over, as shown, where edits of ours are all that made `disk` of it.
  // Nothing: others wrote too, or it is not known any more.
  std::optional<std::string> before_edits(const std::string& path, const std::string& disk) const;

 private:
  struct Known {
    std::string path;
    std::string agreed;  // the text at which both were alike, by its hash; empty: never seen
    std::string disk;    // the bytes on disk that the editor's text is over, by theirs
    std::optional<std::string> over;  // themselves, as shown; nothing: not known any more
    std::string edited = {};  // the bytes that our edits made of `disk`, by their hash; empty: none
  };
  Known* find(const std::string& path);
  void know(Known known);
  void forget_texts();

  const std::int64_t since_ns_;
  std::deque<Known> known_;  // the last first
};

}  // namespace lares::cli::acp
