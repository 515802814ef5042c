#define PCRE2_CODE_UNIT_WIDTH 8
#include "engine/text/tokenizer/regex.h"

#include <fmt/format.h>
#include <pcre2.h>

#include "engine/text/python_json.h"

namespace lares::engine {

struct Regex::Code {
  pcre2_code* code = nullptr;
  ~Code() { pcre2_code_free(code); }
};

Regex::Regex(std::unique_ptr<Code> code) : code_(std::move(code)) {}
Regex::Regex(Regex&&) noexcept = default;
Regex::~Regex() = default;

Result<Regex> Regex::compile(const std::string& pattern, bool literal) {
  int error = 0;
  PCRE2_SIZE at = 0;
  const std::uint32_t options = PCRE2_UTF | (literal ? PCRE2_LITERAL : PCRE2_UCP);
  auto code = std::make_unique<Code>();
  code->code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(), options,
                             &error, &at, nullptr);
  if (!code->code) {
    PCRE2_UCHAR why[256] = {};
    pcre2_get_error_message(error, why, sizeof why);
    return tl::unexpected(Error{
        Errc::unsupported, fmt::format("compile the pattern {}: {} at offset {}", shown(pattern),
                                       reinterpret_cast<const char*>(why), at)});
  }
  pcre2_jit_compile(code->code, PCRE2_JIT_COMPLETE);  // where it fails, pcre2_match interprets
  return Regex(std::move(code));
}

Regex::Scratch::Scratch(const Regex& regex)
    : data_(pcre2_match_data_create_from_pattern(regex.code_->code, nullptr)) {}
Regex::Scratch::~Scratch() { pcre2_match_data_free(static_cast<pcre2_match_data*>(data_)); }

std::optional<Regex::Match> Regex::find(std::string_view text, std::size_t from,
                                        Scratch& scratch) const {
  auto* data = static_cast<pcre2_match_data*>(scratch.data_);
  const auto* subject = reinterpret_cast<PCRE2_SPTR>(text.data());
  int n = pcre2_match(code_->code, subject, text.size(), from, PCRE2_NO_UTF_CHECK, data, nullptr);
  if (n == PCRE2_ERROR_JIT_STACKLIMIT) {
    n = pcre2_match(code_->code, subject, text.size(), from, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT,
                    data, nullptr);
  }
  if (n < 0) return std::nullopt;
  const PCRE2_SIZE* ends = pcre2_get_ovector_pointer(data);
  return Match{ends[0], ends[1]};
}

}  // namespace lares::engine
