#include "tools/clip.h"

#include <algorithm>

#include <fmt/format.h>

#include "tools/characters.h"
#include "tools/text.h"

namespace lares::tools {

void OutputCleaner::end_character(std::string& out) {
  if (pending_.empty()) return;
  line_ += to_utf8(pending_);
  pending_.clear();
  if (line_.size() > kLineBytesMax) {
    out += line_;
    line_.clear();
  }
}

void OutputCleaner::put(char c, std::string& out) {
  const auto byte = static_cast<unsigned char>(c);
  if ((byte & 0xC0) == 0x80 && !pending_.empty()) {
    pending_ += c;
    const auto lead = static_cast<unsigned char>(pending_[0]);
    const std::size_t want = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : lead >= 0xC0 ? 2 : 1;
    if (pending_.size() >= want) end_character(out);
    return;
  }
  end_character(out);
  if (c == '\n') {
    carriage_return_ = false;
    out += line_;
    out += '\n';
    line_.clear();
    return;
  }
  if (c == '\r') {
    carriage_return_ = true;
    return;
  }
  if (carriage_return_) {  // the line is drawn anew: what stood there was progress
    carriage_return_ = false;
    line_.clear();
  }
  if (c == '\b') {
    if (!line_.empty()) line_.resize(utf8_floor(line_, line_.size() - 1));
    return;
  }
  if (byte < 0x20 && c != '\t') return;
  if (byte == 0x7f) return;
  if (byte >= 0x80) {
    pending_ = c;
    if (byte < 0xC0) end_character(out);
    return;
  }
  line_ += c;
  if (line_.size() > kLineBytesMax) {
    out += line_;
    line_.clear();
  }
}

std::string OutputCleaner::feed(std::string_view bytes) {
  std::string out;
  for (char c : bytes) {
    switch (state_) {
      case State::text:
        if (c == '\x1b')
          state_ = State::escape;
        else
          put(c, out);
        break;
      case State::escape:
        if (c == '[')
          state_ = State::csi;
        else if (c == ']' || c == 'P' || c == '_' || c == '^')
          state_ = State::osc;
        else if (c >= 0x20 && c <= 0x2f)
          state_ = State::escape;  // an intermediate byte: one more follows
        else if (c == '\n')
          state_ = State::text, put(c, out);
        else
          state_ = State::text;
        break;
      case State::csi:
        if (c >= 0x40 && c <= 0x7e)
          state_ = State::text;
        else if (c == '\n')
          state_ = State::text, put(c, out);  // a broken sequence must not eat the lines after it
        break;
      case State::osc:
        if (c == '\a')
          state_ = State::text;
        else if (c == '\x1b')
          state_ = State::osc_escape;
        else if (c == '\n')
          state_ = State::text, put(c, out);
        break;
      case State::osc_escape:
        state_ = State::text;
        break;
    }
  }
  return out;
}

std::string OutputCleaner::finish() {
  std::string out;
  end_character(out);
  out += line_;
  line_.clear();
  carriage_return_ = false;
  state_ = State::text;
  return out;
}

std::string cleaned(std::string text) {
  const bool plain = std::ranges::all_of(text, [](char c) {
    return c == '\n' || c == '\t' || (static_cast<unsigned char>(c) >= 0x20 && c != 0x7f);
  });
  if (plain) return text;
  OutputCleaner cleaner;
  std::string out = cleaner.feed(text);
  out += cleaner.finish();
  return out;
}

void Clip::append(std::string_view text) {
  n_bytes_ += text.size();
  if (!spill_ && n_bytes_ <= kOutputBytesMax) {
    head_ += text;
    return;
  }
  if (!spill_) {  // the first byte too many: from here on the head is fixed and the rest rolls
    spill_ = SpillFile::make(state_dir_, tool_);
    spill_->append(head_);
    tail_ = head_;
  }
  spill_->append(text);
  if (head_.size() < kOutputBytesMax) head_ += text.substr(0, kOutputBytesMax - head_.size());
  if (text.size() >= 2 * kTailBytes) tail_.clear();
  tail_ += text.size() > 2 * kTailBytes ? text.substr(text.size() - 2 * kTailBytes) : text;
  if (tail_.size() > 4 * kTailBytes) tail_.erase(0, tail_.size() - 2 * kTailBytes);
}

std::string Clip::finish() {
  if (!spill_) return std::move(head_);
  const std::size_t head_end = utf8_floor(head_, kHeadBytes);
  const std::size_t tail_begin = utf8_ceiling(tail_,
                                              tail_.size() - std::min(tail_.size(), kTailBytes));
  const std::size_t n_tail = tail_.size() - tail_begin;
  std::string out = head_.substr(0, head_end);
  if (!out.ends_with('\n')) out += '\n';
  out += kClippedNote;
  out += fmt::format("\n[{} bytes left out here", n_bytes_ - head_end - n_tail);
  if (!spill_->path().empty()) {
    out += fmt::format("; {} is in {}, which `str_replace_editor view` can read",
                       spill_->n_dropped() ? "the output's beginning" : "the full output",
                       spill_->path());
  }
  out += "]\n";
  return out + tail_.substr(tail_begin);
}

std::string clipped(const std::string& state_dir, std::string_view tool, std::string_view text) {
  Clip clip(state_dir, tool);
  clip.append(text);
  return clip.finish();
}

}  // namespace lares::tools
